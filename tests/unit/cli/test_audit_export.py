"""`sluicegate audit export`: what is in the bucket, in a file that can be verified."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from click.testing import CliRunner, Result

from sluicegate.evidence.chain import segment_key
from sluicegate.evidence.line import canonical
from sluicegate_cli.audit.verification import VerifiedEvidence, verify
from sluicegate_cli.commands.audit import command
from sluicegate_cli.exit_codes import ExitCode
from support.aws_account import ENDINGS, REGION, Answer, AwsAccount
from support.evidence_files import BEGAN, STACK, EvidenceFile, evidence_file, public

BUCKET = "sluicegate-evidencebucket"
MINUTE = 60
Export = Callable[..., Result]


class Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, most: int) -> bytes:
        return self._data[:most]


class Bucket:
    """A bucket of versions: by key, each with its time and data; None is a delete marker."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[float, bytes | None]]] = {}

    def put(self, key: str, at: float, data: bytes | None) -> None:
        self.versions.setdefault(key, []).append((at, data))

    def list(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, list[dict[str, Any]]] = {"Versions": [], "DeleteMarkers": []}
        for key, versions in sorted(self.versions.items()):
            for number, (at, data) in enumerate(versions):
                if key.startswith(given["Prefix"]):
                    one = {
                        "Key": key,
                        "VersionId": f"v{number}",
                        "LastModified": datetime.fromtimestamp(at, UTC),
                        "IsLatest": number == len(versions) - 1,
                    }
                    found["DeleteMarkers" if data is None else "Versions"].append(one)
        return {"IsTruncated": False, **found}

    def get(self, given: Mapping[str, Any]) -> dict[str, Any]:
        data = self.versions[given["Key"]][int(given["VersionId"][1:])][1]
        assert data is not None
        return {"Body": Body(data)}


def fill(bucket: Bucket, file: EvidenceFile) -> None:
    """Put a file's entries into segments of four, and its signed heads."""
    for first in range(1, len(file.entries), 4):
        at = BEGAN + (first // 4 + 1) * MINUTE
        texts = [canonical(one) for one in file.entries[first - 1 : first + 3]]
        bucket.put(segment_key(first), at + 1, "".join(f"{text}\n" for text in texts).encode())
    for size, note in file.notes.items():
        bucket.put(f"heads/{size:012d}-2026-09-21T14.note", BEGAN, note["note"].encode())


@pytest.fixture
def bucket() -> Bucket:
    made = Bucket()
    fill(made, evidence_file())
    return made


@pytest.fixture
def export(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Export:
    stack = {
        "StackName": "sluicegate",
        "StackId": f"arn:aws:cloudformation:{REGION}:111111111111:stack/sluicegate/1",
        "StackStatus": "UPDATE_COMPLETE",
        "CreationTime": datetime.now(UTC),
        "Outputs": [{"OutputKey": "EvidenceBucket", "OutputValue": BUCKET}],
        "Parameters": [],
    }
    account = AwsAccount(
        {
            "cloudformation:DescribeStacks": {"Stacks": [stack]},
            "cloudformation:ListStackResources": {"StackResourceSummaries": []},
            "s3:ListObjectVersions": bucket.list,
            "s3:GetObject": bucket.get,
        }
    )
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: account.calls())

    def run(*options: str, since: str = "2026-09-01", until: str = "2026-10-01") -> Result:
        return CliRunner().invoke(command, ["export", "--from", since, "--to", until, *options])

    return run


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat()


def verified(result: Result) -> VerifiedEvidence:
    assert result.exit_code == ExitCode.OK, result.output
    return verify(result.stdout_bytes.splitlines(keepends=True), [public()])


def test_everything_is_exported_and_verifies(export: Export) -> None:
    found = verified(export())
    assert (found.ok, found.stack, found.entries, found.omitted) == (True, STACK, 16, 0)
    assert found.signed_to == 16


def test_a_part_goes_on_to_the_next_signed_head(export: Export) -> None:
    """The third segment's lines: what is sealed until the head at 16 comes as hashes."""
    found = verified(export(since=moment(110), until=moment(170)))
    assert found.ok
    assert (found.first, found.signed_to) == (5, 16)
    assert found.omitted == 6


def test_filters_leave_hashes(export: Export) -> None:
    for options in (("--stage", "dev"), ("--project", "9999"), ("--actor", "agent")):
        found = verified(export(*options))
        assert (found.ok, found.entries, found.omitted) == (True, 4, 12)
    assert verified(export("--stage", "prod", "--project", "4213")).omitted == 0


def test_nothing_of_that_time_is_an_empty_file_and_proves_nothing(export: Export) -> None:
    found = verified(export(since="2025-01-01", until="2025-01-02"))
    assert {one.code for one in found.findings} == {"unsigned"}
    assert found.entries == 0


def test_a_replaced_object_is_read_as_it_was_and_named(export: Export, bucket: Bucket) -> None:
    bucket.put(segment_key(5), BEGAN + 9_000, b"{}\n")
    found = verified(export())
    assert [one.code for one in found.findings] == ["replaced"]
    assert found.signed_to == 16


def test_a_deleted_object_is_read_as_it_was_and_named(export: Export, bucket: Bucket) -> None:
    bucket.put(segment_key(5), BEGAN + 9_000, None)
    assert [one.code for one in verified(export()).findings] == ["replaced"]


def test_a_segment_that_is_gone_is_missed(export: Export, bucket: Bucket) -> None:
    del bucket.versions[segment_key(5)]
    assert {"dropped"} <= {one.code for one in verified(export()).findings}


def test_csv_is_for_reading_and_runs_nothing(export: Export, bucket: Bucket) -> None:
    file = evidence_file(1)
    file.entry(2)["line"] |= {"rule": "=cmd()", "stage": "+1", "function": "@x\u2028y\n"}
    file.rechain()
    bucket.versions.clear()
    fill(bucket, file)
    rows = list(csv.DictReader(io.StringIO(export("--format", "csv").stdout)))
    assert len(rows) == 4
    assert rows[1]["rule"] == "'=cmd()"
    assert rows[1]["stage"] == "'+1"
    assert "\n" not in rows[1]["function"]
    assert "\u2028" not in rows[1]["function"]
    assert rows[2]["user_id"] == "7"


def test_it_is_written_to_a_file(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "file.ndjson"
    assert export("--output", str(path)).exit_code == ExitCode.OK
    assert json.loads(path.read_text().splitlines()[0])["stack"] == STACK
    path.write_text("kept")
    assert export("--output", str(path)).exit_code == ExitCode.USAGE
    assert path.read_text() == "kept"
    assert export("--output", str(path), "--force").exit_code == ExitCode.OK


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "30", ""])
def test_a_time_that_is_none_is_a_mistake(export: Export, since: str) -> None:
    assert export(since=since).exit_code == ExitCode.USAGE


def test_a_time_that_ends_before_it_begins_is_a_mistake(export: Export) -> None:
    assert export(since="1d", until="2d").exit_code == ExitCode.USAGE


def test_what_the_credentials_may_not_read_is_said(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: AwsAccount().calls())
    result = export()
    assert result.exit_code == ExitCode.REFUSED
    assert "cloudformation:DescribeStacks" in result.output


@pytest.mark.parametrize("command_line", [("key",), ("export", "--from", "1d")])
@pytest.mark.parametrize(("answer", "code"), ENDINGS)
def test_how_it_ends_where_aws_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, command_line: tuple[str, ...], answer: Answer, code: int
) -> None:
    account = AwsAccount({"cloudformation:DescribeStacks": answer})
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: account.calls())
    result = CliRunner().invoke(command, command_line)
    assert (result.exit_code, "The evidence cannot be read" in result.output) == (code, True), result.output


def test_a_connection_that_ends_within_an_object_is_no_answer(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://x")

    monkeypatch.setattr(Body, "read", fail)
    result = export()
    assert (result.exit_code, "s3:GetObject" in result.output) == (ExitCode.UNAVAILABLE, True)
