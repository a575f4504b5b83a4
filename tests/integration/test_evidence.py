"""The evidence on the stand: the real sealer, its real role, and the commands of an auditor."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from stand import Stand, package
from stand.stack import look_up

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(stand: Stand) -> Run:
    environment = stand.emulator.environment() | {"PYTHONPATH": ":".join(sys.path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from sluicegate_cli.main import main; main()", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def seal(stand: Stand) -> dict[str, Any]:
    """Run the sealer now, as its schedule does each minute; the schedule's own run may be faster."""
    report: dict[str, Any] = stand.invoke("sluicegate-sealer")
    assert report.get("fork", "missing") is None, report
    return report


def test_a_deployment_is_sealed_exported_and_verified(
    stand: Stand, function: str, run: Run, tmp_path: Path
) -> None:
    token = stand.token()
    sha256 = stand.upload(function, package(f"# {uuid4()}\ndef handler(e, c):\n    return 1\n"), token=token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    accepted = stand.http("POST", "/deployments", body, token=token).json()
    stand.wait(accepted["id"], token=token)
    refused = stand.http("POST", "/deployments", body, token=stand.token(project_id="999999"))
    assert refused.status_code == 403
    seal(stand)

    made = look_up(stand.emulator)
    public = stand.client("kms").get_public_key(KeyId=made.evidence_key)["PublicKey"]
    key, file = tmp_path / "evidence.pub", tmp_path / "all.ndjson"
    key.write_text(base64.b64encode(public).decode())
    exported = run("audit", "export", "--from", "1h", "--output", str(file))
    assert exported.returncode == 0, exported.stderr
    verified = run("audit", "verify", str(file), "--key", str(key), "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    found = json.loads(verified.stdout)
    assert found["findings"] == []
    assert found["signed_to"] > 0

    lines = [json.loads(text).get("line", {}) for text in file.read_text().splitlines()]
    mine = [one for one in lines if one.get("deployment") == accepted["id"]]
    assert [(one["kind"], one["n"]) for one in mine] == [("accepted", 1), ("ended", 2)]
    assert mine[0]["gate"] in {one.get("gate") for one in lines if one.get("kind") == "gate"}
    assert "999999" in {one["by"].get("project_id") for one in lines if one.get("kind") == "refused"}

    text = file.read_text().replace('"stage":"dev"', '"stage":"prd"', 1)
    file.write_text(text)
    changed = run("audit", "verify", str(file), "--key", str(key), "--json")
    assert changed.returncode == 4
    assert {one["code"] for one in json.loads(changed.stdout)["findings"]} == {"flipped"}


def test_what_is_sealed_cannot_be_replaced_or_deleted(stand: Stand) -> None:
    seal(stand)
    made = look_up(stand.emulator)
    s3 = stand.client("s3")
    listed = s3.list_object_versions(Bucket=made.evidence_bucket, Prefix="segments/")["Versions"]
    first = listed[0]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=made.evidence_bucket, Key=first["Key"], VersionId=first["VersionId"])
    retention = s3.get_object_retention(
        Bucket=made.evidence_bucket, Key=first["Key"], VersionId=first["VersionId"]
    )["Retention"]
    assert retention["Mode"] == "GOVERNANCE"
