"""The command line against an STS and an API that verify what it sends: over HTTP, as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sluicegate
import sluicegate_cli
from sluicegate.deployment.views import view
from support.cli_server import ID, TOKEN, publishing, succeeded
from support.signed_api import REGION, ROLE, Answer, Call, Refusal, Session, SignedApi, served

STS_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2dpdGxhYi5leGFtcGxlLmNvbSJ9.canary-of-the-sts-token"


@contextmanager
def job(
    respond: Callable[[Call], Answer], sts: Callable[[dict[str, str]], Session | Refusal]
) -> Iterator[tuple[SignedApi, Callable[..., subprocess.CompletedProcess[str]]]]:
    """A job with a token for STS, its API, and what runs `sluicegate` in it; no secret may be seen."""
    with served(SignedApi(respond, sts)) as api:
        packages = [str(Path(str(package.__file__)).parents[2]) for package in (sluicegate, sluicegate_cli)]
        packages.append(str(Path(str(sluicegate_cli.__file__)).parents[1]))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(packages),
            "SLUICEGATE_URL": api.url,
            "SLUICEGATE_AUTH": "iam",
            "SLUICEGATE_ROLE_ARN": ROLE,
            "SLUICEGATE_STS_TOKEN": STS_TOKEN,
            "CI_SERVER_URL": "https://gitlab.example.com",
            "CI_PROJECT_ID": "4213",
            "CI_JOB_ID": "302",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_STS": api.sts_url,
        }

        def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
            ended = subprocess.run(
                [sys.executable, "-c", "from sluicegate_cli.main import main; main()", *arguments],
                env=environment | more,
                capture_output=True,
                text=True,
                check=False,
            )
            for secret in (STS_TOKEN, TOKEN, "canary", *api.canaries):
                assert secret not in ended.stdout + ended.stderr
            return ended

        yield api, run


def answer(document: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document)


def test_a_job_assumes_its_role_and_signs_with_the_session() -> None:
    whoami: dict[str, Any] = {
        "via": "iam",
        "issuer": "",
        "project_id": None,
        "expires_at": None,
        "claims": {},
        "rules": [],
    }

    with job(lambda _: answer(whoami), lambda _: Session.new(900)) as (api, run):
        ended = run("whoami", "--json")

    assert ended.returncode == 0, ended.stderr
    [assumed] = api.assumed
    assert assumed["RoleArn"] == ROLE
    assert assumed["RoleSessionName"] == "project-4213-job-302"
    assert assumed["DurationSeconds"] == "900"
    assert assumed["WebIdentityToken"] == STS_TOKEN
    found = json.loads(ended.stdout)
    assert found["credentials"]["source"] == "assume-role-with-web-identity"
    assert found["expires_at"]


def test_the_same_command_in_the_same_job_is_the_same_request() -> None:
    def respond(call: Call) -> Answer:
        return answer(view(publishing() if call.method == "POST" else succeeded()), 202)

    deploy = ("deploy", "orders-api", "dev", "--artifact", "ab" * 32, "--release", "v1.4.0 ä")
    with job(respond, lambda _: Session.new(900)) as (api, run):
        first, second = run(*deploy), run(*deploy)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    one, other = (call.json for call in api.calls if call.method == "POST")
    assert one == other
    assert f"deployment {ID} accepted" in first.stdout
    assert not api.refused


def test_a_session_that_ends_early_is_renewed_and_the_follow_goes_on() -> None:
    seen: list[str] = []

    def respond(call: Call) -> Answer:
        seen.append(call.session.access_key)
        if len(set(seen)) == 1:
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        return answer(view(succeeded()))

    with job(respond, lambda _: Session.new(900)) as (api, run):
        ended = run("watch", ID)

    assert ended.returncode == 0, ended.stderr
    assert len(api.assumed) == 2
    assert "trying again with new ones" in ended.stderr


def test_both_at_once_have_the_token_in_the_signature() -> None:
    with job(lambda _: answer(view(succeeded())), lambda _: Session.new(900)) as (api, run):
        ended = run("status", ID, SLUICEGATE_AUTH="iam+token", SLUICEGATE_ID_TOKEN=TOKEN)

    assert ended.returncode == 0, ended.stderr
    [call] = api.calls
    assert call.headers["Sluicegate-Id-Token"] == TOKEN
    assert "sluicegate-id-token" in call.headers["Authorization"]


def test_what_sts_answers_is_read_as_it_sends_it() -> None:
    refusal = Refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")

    with job(lambda _: answer({}), lambda _: refusal) as (api, run):
        ended = run("whoami", "--json")

    assert ended.returncode == 3
    document = json.loads(ended.stdout)
    assert document["code"] == "role_refused"
    assert "iss https://gitlab.example.com" in document["detail"]
    assert not api.calls
