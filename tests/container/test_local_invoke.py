"""Every event in `events/` does what its name says, run by `sam local invoke` in a container."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stand import Stand, places, stack

EVENTS = sorted(places.ROOT.glob("events/*.json"))
FUNCTIONS = {
    "deployer-step": "DeployerFunction",
    "alarm": "WakerFunction",
    "iam-accepted": "GatewayIamFunction",
    "iam-person": "GatewayIamFunction",
    "iam-and-id-token": "GatewayIamFunction",
}
OUT_OF_REACH = {"ClientError"}
"""AWS itself refuses sam's made-up credentials, where it can be reached; where not, the step asks to wait."""
NO_TABLE = {*OUT_OF_REACH, "EndpointConnectionError", "ConnectTimeoutError", "NoRegionError"}
"""The waker has nothing to look into: EventBridge would call it again."""


def make_invoke(event: str) -> dict[str, Any]:
    """What `make invoke EVENT=…` prints."""
    done = subprocess.run(
        ["make", "--silent", "invoke", f"EVENT={event}"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def body(answer: Mapping[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(answer["body"])
    return parsed


def test_accepted_starts_a_deployment_that_succeeds(stand: Stand) -> None:
    answer = make_invoke("accepted")
    assert answer["statusCode"] == 202, answer
    ended = stand.wait(body(answer)["id"], token=stand.token())
    assert ended["status"] == "succeeded"
    assert stand.alias("orders-api", "dev") == ended["version"]


@pytest.mark.usefixtures("stand")
def test_refused_names_the_claims_that_failed() -> None:
    answer = make_invoke("refused")
    assert answer["statusCode"] == 403, answer
    failed = {item["claim"]: item["value"] for rule in body(answer)["nearest"] for item in rule["failed"]}
    assert failed["ref_type"] == "branch"


@pytest.mark.usefixtures("stand")
def test_an_expired_token_is_refused_for_that() -> None:
    answer = make_invoke("expired-token")
    assert answer["statusCode"] == 401, answer
    assert "exp" in body(answer)["detail"]


@pytest.mark.usefixtures("stand")
def test_a_malformed_body_is_refused_after_the_token_was_accepted() -> None:
    answer = make_invoke("malformed-body")
    assert (answer["statusCode"], body(answer)["code"]) == (400, "invalid_request")


def test_whoami_names_the_job(stand: Stand) -> None:
    answer = make_invoke("whoami")
    assert (answer["statusCode"], body(answer)["issuer"]) == (200, stand.issuer)


@pytest.mark.usefixtures("stand")
def test_a_deployer_step_that_runs_again_changes_nothing() -> None:
    make_invoke("accepted")
    answer = make_invoke("deployer-step")
    assert (answer["next"], answer["seconds"]) == ("end", 0)


def test_approve_lets_a_deployment_go_on_that_waits(stand: Stand) -> None:
    answer = make_invoke("approve")
    assert answer["statusCode"] == 202, answer
    ended = stand.wait(body(answer)["id"], token=stand.token())
    assert (ended["status"], ended["approval"]["by"]["user_login"]) == ("succeeded", "grace")


def test_a_role_deploys_with_its_own_credentials(stand: Stand) -> None:
    answer = make_invoke("iam-accepted")
    assert answer["statusCode"] == 202, answer
    ended = stand.wait(body(answer)["id"], token=stand.token())
    by = ended["requested_by"]
    assert (ended["status"], by["via"], by["principal_id"]) == ("succeeded", "iam", "AROACALLER11111111111")


def test_a_role_deploys_with_a_jobs_token_beside_it(stand: Stand) -> None:
    answer = make_invoke("iam-and-id-token")
    assert answer["statusCode"] == 202, answer
    ended = stand.wait(body(answer)["id"], token=stand.token())
    by = ended["requested_by"]
    assert (ended["status"], by["via"], by["project_id"]) == ("succeeded", "iam+id_token", "4213")


@pytest.mark.usefixtures("stand")
def test_a_person_of_identity_center_is_known_by_name() -> None:
    answer = make_invoke("iam-person")
    assert (answer["statusCode"], body(answer)["via"], body(answer)["actor"]) == (200, "iam", "person")


@pytest.mark.usefixtures("stand")
def test_an_alarm_that_nobody_watches_wakes_nobody() -> None:
    assert make_invoke("alarm") == {"woken": []}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as `sam build` leaves it for AWS."""
    directory = tmp_path_factory.mktemp("build")
    stack.sam(
        "build", "--build-dir", directory, environment={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"}
    )
    return directory / "template.yaml"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.stem)
def test_plain_sam_local_invoke_works_with_no_stand_behind_it(event: Path, built: Path) -> None:
    function = FUNCTIONS.get(event.stem, "GatewayFunction")
    command: list[str | Path] = [places.VENV / "bin/sam", "local", "invoke", function, "--event", event]
    done = subprocess.run(
        [*command, "--template", built, "--skip-pull-image"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **stack.own_environment(), "AWS_DEFAULT_REGION": "eu-central-1"},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if event.stem == "deployer-step":
        assert answer.get("next") == "wait" or answer["errorType"] in OUT_OF_REACH, answer
    elif event.stem == "alarm":
        assert answer["errorType"] in NO_TABLE, answer
    elif event.stem == "iam-accepted":
        assert answer["statusCode"] == 403, "no rule of the repository's gate file is for its role"
    elif event.stem == "iam-person":
        assert (answer["statusCode"], body(answer)["via"]) == (200, "iam")
    else:
        assert answer["statusCode"] == 401, "its token is of long ago"
