"""`sluicegate audit key`: what it prints is what `audit verify` takes."""

import json
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sluicegate.evidence.notes import read_key, read_note
from sluicegate_cli.commands.audit import command
from sluicegate_cli.exit_codes import ExitCode
from support.aws_account import REGION, AwsAccount, Refusal
from support.cli_running import Run
from support.evidence_files import FOREIGN, NAME, PRIVATE, evidence_file, public, signed

OLD = NAME.replace("0b1c", "9f9f")


def der(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> AwsAccount:
    stack = {
        "StackName": "sluicegate",
        "StackId": f"arn:aws:cloudformation:{REGION}:111111111111:stack/sluicegate/1",
        "StackStatus": "UPDATE_COMPLETE",
        "Outputs": [{"OutputKey": "EvidenceKeyArn", "OutputValue": NAME}],
        "Parameters": [{"ParameterKey": "EvidencePreviousKeyArn", "ParameterValue": ""}],
    }
    keys = {NAME: der(PRIVATE), OLD: der(FOREIGN)}
    made = AwsAccount(
        {
            "cloudformation:DescribeStacks": {"Stacks": [stack]},
            "cloudformation:ListStackResources": {"StackResourceSummaries": []},
            "kms:GetPublicKey": lambda given: {"PublicKey": keys[given["KeyId"]]},
        }
    )
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: made.calls())
    return made


def take(*options: str) -> Result:
    return CliRunner().invoke(command, ["key", *options])


def changing(account: AwsAccount) -> None:
    """Have the stack sign by two keys."""
    stack: Any = account.answers["cloudformation:DescribeStacks"]
    stack["Stacks"][0]["Parameters"][0]["ParameterValue"] = OLD


@pytest.mark.usefixtures("account")
def test_it_is_one_line_under_the_keys_own_name() -> None:
    done = take()
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert read_key(done.stdout) == public()
    name, key_id, data = done.stdout.strip().split("+", 2)
    assert (name, key_id) == (NAME, public().key_id(NAME).hex())
    assert b64decode(data) == b"\x01" + PRIVATE.public_key().public_bytes_raw()


@pytest.mark.usefixtures("account")
def test_verify_takes_the_file_that_it_writes(tmp_path: Path) -> None:
    exported, key = tmp_path / "all.ndjson", tmp_path / "evidence.pub"
    exported.write_bytes(b"".join(evidence_file().lines))
    done = take("--output", str(key))
    assert (done.exit_code, done.output) == (0, f"wrote {key}: 1 key\n")
    verified = CliRunner().invoke(command, ["verify", str(exported), "--key", str(key)])
    assert (verified.exit_code, "nothing was changed" in verified.stdout) == (0, True)


@pytest.mark.parametrize("arguments", [("audit", "verify", "all.ndjson"), ("replay", "--from", "all.ndjson")])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gone.pub", "there is no file gone.pub, and it is not a key itself (not a public key: give PEM"),
        ("a+b+c", "there is no file a+b+c, and it is not a key itself"),
        (b64encode(der(ec.generate_private_key(ec.SECP256R1()))).decode(), "itself (not an Ed25519 key)"),
        ("text.pub", "text.pub: not a public key: give PEM"),
        ("ec.pub", "ec.pub: not an Ed25519 key"),
        ("empty.pub", "empty.pub: not a public key"),
        ("large.pub", "large.pub: larger than 64 KiB"),
        ("folder", "folder: cannot read it: not a regular file"),
        ("fifo", "fifo: cannot read it: not a regular file"),
        ("x" * 5_000, "there is no file xxx"),
        ("", "it is empty: is a variable unset in this job?"),
    ],
)
def test_what_is_no_key_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], key: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("all.ndjson").write_bytes(b"".join(evidence_file().lines))
    Path("text.pub").write_text("no key")
    Path("ec.pub").write_bytes(b64encode(der(ec.generate_private_key(ec.SECP256R1()))))
    Path("empty.pub").touch()
    Path("large.pub").write_text("x" * 70_000)
    Path("folder").mkdir()
    os.mkfifo("fifo")

    ended = run(*arguments, "--key", key)

    assert ended.code == ExitCode.USAGE
    assert said in " ".join(ended.err.split())


def test_a_key_that_is_pinned_is_replaced_with_force_alone(account: AwsAccount, tmp_path: Path) -> None:
    key = tmp_path / "evidence.pub"
    key.write_text("pinned")
    refused = take("--output", str(key))
    assert (refused.exit_code, "--force" in refused.output, account.asked) == (ExitCode.USAGE, True, [])
    assert key.read_text() == "pinned"
    assert take("--output", str(key), "--force").exit_code == 0
    assert read_key(key.read_text()) == public()


@pytest.mark.usefixtures("account")
def test_a_dash_is_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_key(take("--output", "-").stdout) == public()
    assert take("--output", "-", "--json").exit_code == ExitCode.USAGE
    assert take("--output", "").exit_code == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []


def test_both_keys_of_a_change_verify_from_one_file(account: AwsAccount, tmp_path: Path) -> None:
    changing(account)
    key = tmp_path / "evidence.pub"
    assert take("--output", str(key)).exit_code == 0
    assert len(key.read_text().splitlines()) == 2
    exported = tmp_path / "all.ndjson"
    for private, name in ((PRIVATE, NAME), (FOREIGN, OLD)):
        file = evidence_file()
        for size, one in file.notes.items():
            head, _ = read_note(one["note"])
            file.notes[size] = signed(head, private, name)
        exported.write_bytes(b"".join(file.lines))
        done = CliRunner().invoke(command, ["verify", str(exported), "--key", str(key)])
        assert done.exit_code == 0, done.output


def test_as_json_it_has_ids_and_arns(account: AwsAccount) -> None:
    changing(account)
    found = json.loads(take("--json").stdout)
    assert [one["arn"] for one in found["keys"]] == [NAME, OLD]
    assert read_key(found["keys"][1]["key"]) == public(FOREIGN, OLD)


@pytest.mark.parametrize(
    ("call", "answer", "code", "text"),
    [
        ("kms:GetPublicKey", Refusal("AccessDeniedException", status=400), 3, "kms:GetPublicKey"),
        ("kms:GetPublicKey", Refusal("NotFoundException"), 4, "AWS does not know it"),
        (
            "kms:GetPublicKey",
            {"PublicKey": der(ec.generate_private_key(ec.SECP256R1()))},
            4,
            "not an Ed25519",
        ),
        ("kms:GetPublicKey", {"PublicKey": b"x"}, 4, "not a public key"),
        (
            "cloudformation:DescribeStacks",
            Refusal("ValidationError", "Stack with id x does not exist"),
            2,
            "no stack",
        ),
    ],
)
def test_what_is_no_key_is_said(account: AwsAccount, call: str, answer: Any, code: int, text: str) -> None:
    account.answers[call] = answer
    done = take()
    assert (done.exit_code, text in done.output) == (ExitCode(code), True), done.output
