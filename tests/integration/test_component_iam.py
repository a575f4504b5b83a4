"""The component's job with the credentials of a role, against the whole system."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sluicegate_cli.exit_codes import ExitCode
from stand import Stand, callers, component, package
from stand.callers import CallerRole
from stand.shells import SHELLS, Ended, Machine

pytestmark = pytest.mark.extended


@dataclass(frozen=True)
class Project:
    """A project whose jobs have a role."""

    stand: Stand
    machine: Machine
    function: str
    role: CallerRole

    def run(self, *, sts: dict[str, Any] | None = None, job_id: str = "302", **inputs: Any) -> Ended:
        """Run a job. `sts` are other claims of its token for STS."""
        about: dict[str, Any] = {
            "url": self.stand.endpoint,
            "audience": self.stand.audience,
            "auth": "iam",
            "role_arn": self.role.arn,
            "sts_audience": callers.STS_AUDIENCE,
            "sts_url": self.stand.aws_endpoint_url,
            "region": self.stand.region,
        }
        job = component.job(**{**about, "function": self.function, "stage": "dev", **inputs})
        sts_token = callers.sts_token(self.stand, **(sts or {}))
        token = self.stand.token()
        ended = self.machine.run(job, token, sts_token=sts_token, job_id=job_id)
        for secret in (token, sts_token, token.split(".")[2], sts_token.split(".")[2], "X-Amz"):
            assert secret not in ended.log
        return ended

    def build(self) -> str:
        """What an earlier job leaves: a package that was never there before; what it answers."""
        release = uuid4().hex
        code = package(f"def handler(event, context):\n    return {release!r}\n")
        (self.machine.directory / "orders.zip").write_bytes(code)
        return release

    def requested_by(self) -> dict[str, Any]:
        id_ = self.machine.dotenv()["SLUICEGATE_ID"]
        answer = self.stand.http("GET", f"/deployments/{id_}", token=self.stand.token())
        requested: dict[str, Any] = answer.raise_for_status().json()["requested_by"]
        return requested


def project_in(shell: str, stand: Stand, function: str, directory: Path) -> Project:
    role = callers.existing(stand, callers.JOB)
    assert role
    return Project(stand, Machine.with_shell(shell, directory), function, role)


@pytest.fixture(params=SHELLS)
def project(request: pytest.FixtureRequest, stand: Stand, function: str, tmp_path: Path) -> Project:
    """In each of the shells."""
    return project_in(request.param, stand, function, tmp_path)


@pytest.fixture
def in_dash(stand: Stand, function: str, tmp_path: Path) -> Project:
    """In one, where the shell makes no difference."""
    return project_in("dash", stand, function, tmp_path)


def test_a_job_sees_who_it_is_deploys_and_rolls_back_by_its_role(project: Project) -> None:
    seen = project.run(action="whoami")
    assert seen.code == ExitCode.OK, seen.log
    assert project.role.principal_id in seen.log

    releases = []
    for job_id in ("302", "303"):
        releases.append(project.build())
        deployed = project.run(zip="orders.zip", job_id=job_id)
        assert deployed.code == ExitCode.OK, deployed.log
        assert project.stand.invoke(project.function, alias="dev") == releases[-1]
    by = project.requested_by()
    assert (by["via"], by["actor"], by["principal_id"]) == ("iam", "pipeline", project.role.principal_id)
    assert by["session_name"].startswith("project-4213-job-")
    back = project.run(action="rollback", job_id="304")
    assert back.code == ExitCode.OK, back.log
    assert project.stand.invoke(project.function, alias="dev") == releases[0]


def test_both_credentials_reach_production(project: Project) -> None:
    release = project.build()
    refused = project.run(zip="orders.zip", stage="prod")
    assert refused.code == ExitCode.REFUSED, refused.log
    assert "not_allowed" in refused.log
    for stage in ("dev", "prod"):
        deployed = project.run(zip="orders.zip", stage=stage, auth="iam+token", job_id="303")
        assert deployed.code == ExitCode.OK, deployed.log
        assert project.stand.invoke(project.function, alias=stage) == release
    by = project.requested_by()
    assert (by["via"], by["project_id"]) == ("iam+id_token", "4213")
    assert by["principal_id"] == project.role.principal_id


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"sub": "project_path:acme/orders:ref_type:branch:ref:main"}, "ref_type:branch:ref:main"),
        ({"aud": "https://deploy.example.com"}, "aud  https://deploy.example.com"),
        ({"iss": "https://gitlab.example.com"}, "iss  https://gitlab.example.com"),
        ({"exp": int(time.time()) - 60, "iat": int(time.time()) - 120}, "has expired"),
    ],
    ids=["sub", "aud", "iss", "exp"],
)  # fmt: skip
def test_a_refusal_of_sts_shows_what_the_job_presented(
    in_dash: Project, claims: dict[str, Any], said: str
) -> None:
    ended = in_dash.run(action="whoami", sts=claims)
    assert ended.code == ExitCode.REFUSED, ended.log
    assert "AWS STS did not give the credentials of the role" in ended.log
    assert said in ended.log


def test_a_call_that_the_role_was_not_given_is_refused_before_sluicegate(in_dash: Project) -> None:
    approval: dict[str, Any] = {
        "action": "approve",
        "deployment": "01M83C6AM7KY87WNER1QH3A4Y7",
        "function": "",
        "stage": "",
    }
    ended = in_dash.run(**approval)
    assert ended.code == ExitCode.REFUSED, ended.log
    assert "The role may not call POST /iam/deployments/01M83C6AM7KY87WNER1QH3A4Y7/approve" in ended.log


def test_another_region_makes_another_signature(in_dash: Project) -> None:
    ended = in_dash.run(action="whoami", region="eu-west-1")
    assert ended.code == ExitCode.REFUSED, ended.log
    assert "API Gateway refused the signature: check the input region (eu-west-1)" in ended.log
