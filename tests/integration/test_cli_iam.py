"""The command line with AWS credentials against the running stand: as a job with a role, and as a person."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from stand import Stand, callers, package
from stand.callers import Credentials

pytestmark = pytest.mark.extended

SOURCE = "def handler(event, context):\n    return {'release': %r}\n"
INHERITED = ("AWS_", "GITLAB", "CI_", "SLUICEGATE_")


class SignedJob:
    """A job that assumes the usual role by its token for STS; or, with credentials, who has those."""

    def __init__(self, stand: Stand, credentials: Credentials | None = None, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
        self.secrets = [stand.token()]
        self._environment = kept | {
            "SLUICEGATE_URL": stand.iam_endpoint,
            "SLUICEGATE_AUTH": "iam",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "AWS_ENDPOINT_URL": stand.aws_endpoint_url,
            "AWS_REGION": stand.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if credentials is None:
            found = callers.existing(stand, callers.JOB)
            assert found
            token = callers.sts_token(stand)
            self.secrets.append(token)
            self._environment |= {"SLUICEGATE_STS_TOKEN": token, "SLUICEGATE_ROLE_ARN": found.arn}
            self._environment |= {"CI_PROJECT_ID": "4213", "CI_JOB_ID": "302"}
        else:
            self.secrets.append(credentials.secret_key)
            self._environment |= {
                "AWS_ACCESS_KEY_ID": credentials.access_key,
                "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            }
            if credentials.token:
                self._environment["AWS_SESSION_TOKEN"] = credentials.token
        self._environment |= environment

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-c", "from sluicegate_cli.main import main; main()", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert not any(secret in ended.stdout + ended.stderr for secret in self.secrets)
        return ended


def test_a_job_is_recognised_by_the_role_that_it_assumes(stand: Stand) -> None:
    ended = SignedJob(stand)("whoami", "--json")

    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["via"] == "iam"
    assert found["claims"]["principal_id"] == callers.JOB_ID
    assert found["claims"]["session_name"] == "project-4213-job-302"
    assert found["credentials"]["source"] == "assume-role-with-web-identity"
    assert found["expires_at"] == found["credentials"]["expires_at"]


def test_both_credentials_at_once(stand: Stand) -> None:
    ended = SignedJob(stand, SLUICEGATE_AUTH="iam+token", SLUICEGATE_ID_TOKEN=stand.token())(
        "whoami", "--json"
    )

    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["via"] == "iam+id_token"
    assert found["claims"]["project_id"] == "4213"
    assert found["claims"]["principal_id"] == callers.JOB_ID


def test_a_job_deploys_by_its_role_and_finds_its_deployment_again(
    stand: Stand, function: str, tmp_path: Path
) -> None:
    zipped = tmp_path / "orders.zip"
    zipped.write_bytes(package(SOURCE % uuid4().hex))
    job = SignedJob(stand)

    ended = job("deploy", function, "dev", "--zip", zipped)

    assert ended.returncode == 0, ended.stderr
    assert stand.alias(function, "dev") == "1"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret_key": "x" * 40}, "invalid_signature"),
        ({"access_key": "AKIANOBODYKNOWSTHISK"}, None),
    ],
)
def test_credentials_that_are_wrong(stand: Stand, changes: dict[str, str], code: str | None) -> None:
    from dataclasses import replace

    found = callers.existing(stand, callers.JOB)
    assert found
    session = replace(callers.assume(stand, found), **changes)

    ended = SignedJob(stand, session)("whoami", "--json")

    assert ended.returncode in (3, 4), ended.stderr
    document = json.loads(ended.stdout)
    assert code is None or document["code"] == code


def test_a_token_that_sts_refuses_is_shown_by_its_claims(stand: Stand) -> None:
    token = stand.gitlab.token({"project_path": "mallory/orders"}, audience=callers.STS_AUDIENCE)

    ended = SignedJob(stand, SLUICEGATE_STS_TOKEN=token)("whoami", "--json")

    assert ended.returncode == 3
    document = json.loads(ended.stdout)
    assert document["code"] == "role_refused"
    assert "sub project_path:mallory/orders:" in document["detail"]
    assert token not in ended.stdout + ended.stderr


def test_doctor_examines_the_role_of_the_template(stand: Stand) -> None:
    found = callers.existing(stand, callers.JOB)
    assert found
    root = Credentials(stand.aws_access_key_id, stand.aws_secret_access_key)

    ended = SignedJob(stand, root)("doctor", "--role", found.arn, "--json")

    checks = {one["check"]: one["verdict"] for one in json.loads(ended.stdout)["findings"]}
    assert checks["the role trusts certain jobs only"] == "ok", ended.stdout
    assert checks["the role may call what it needs only"] == "ok", ended.stdout
    assert checks["audience is restricted"] == "ok", ended.stdout
