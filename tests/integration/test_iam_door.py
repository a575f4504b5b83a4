"""The door for callers with IAM credentials: whom parameters admit, and what a flood leaves alone.

The stand's stack gets each set of parameters in one update, and is then as it was.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from stand import HANDLER, Stand, callers, package, stack
from stand.callers import Credentials
from stand.emulator import OTHER_ACCOUNT

pytestmark = pytest.mark.extended

OFF = {
    "ApiBurst": "100",
    "ApiRate": "50",
    "CallerAccounts": "",
    "CallerOrganisation": "",
    "CallerVpcEndpoints": "",
}
"""The template's defaults. CloudFormation keeps what is not given."""


@pytest.fixture(scope="module")
def door(stand: Stand) -> Iterator[Callable[..., None]]:
    """Update the stack, which costs a while; in the end it is as it was."""
    yield lambda **parameters: callers.redeploy(stand, OFF | parameters)
    callers.redeploy(stand, OFF)


@pytest.fixture(scope="module")
def at_home(stand: Stand) -> Credentials:
    """A session of the job's role in the stack's own account."""
    found = callers.existing(stand, callers.JOB)
    assert found
    return callers.assume(stand, found)


@pytest.fixture(scope="module")
def abroad(stand: Stand) -> Credentials:
    """A session of its like in another account of the organization."""
    found = callers.existing(stand, callers.JOB, OTHER_ACCOUNT)
    assert found
    return callers.assume(stand, found)


@pytest.fixture(scope="module")
def idle(stand: Stand) -> Iterator[Credentials]:
    """A session of a role of the stack's own account whose policies allow no call."""
    made = callers.role(
        stand,
        f"caller-{uuid4().hex[:8]}",
        methods=("GET/iam/none",),
        trust=callers.account_trust(stand.account_id),
    )
    yield callers.session_of(stand, made, "idle")
    callers.delete_role(stand, made.name)


def whoami(stand: Stand, credentials: Credentials | None) -> tuple[int, str]:
    answer = callers.call(stand, credentials, "GET", "/whoami")
    body: dict[str, Any] = answer.json()
    return answer.status_code, str(body.get("code", body.get("via")))


REFUSED = (403, "not_allowed")


def test_accounts_and_an_organization_admit_and_refuse(
    stand: Stand, door: Callable[..., None], at_home: Credentials, abroad: Credentials, idle: Credentials
) -> None:
    """Callers with an ID token notice none of it, and a policy gives no caller what its own do not."""
    assert (whoami(stand, at_home), whoami(stand, abroad)) == ((200, "iam"), REFUSED)
    for parameters, home, other in (
        ({"CallerAccounts": f"{stand.account_id},{OTHER_ACCOUNT}"}, True, True),
        ({"CallerAccounts": OTHER_ACCOUNT}, False, True),
        ({"CallerOrganisation": "o-z9y8x7w6v5"}, False, False),
    ):
        door(**parameters)
        assert whoami(stand, at_home) == ((200, "iam") if home else REFUSED), parameters
        assert (whoami(stand, abroad) != REFUSED) is other, parameters
        assert whoami(stand, idle) == REFUSED, parameters
        assert whoami(stand, None)[0] == 403
        assert stand.http("GET", "/whoami", token=stand.token()).status_code == 200, parameters
        assert stand.http("GET", "/health").status_code == 200, parameters


def test_with_a_private_api_the_public_one_refuses_signed_calls(
    stand: Stand, door: Callable[..., None], at_home: Credentials
) -> None:
    door(CallerVpcEndpoints="vpce-0123456789abcdef0")
    assert whoami(stand, at_home) == REFUSED
    assert stand.http("GET", "/whoami", token=stand.token()).status_code == 200
    [described] = stand.client("cloudformation").describe_stacks(StackName=stack.NAME)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    private = outputs["IamEndpoint"].partition("//")[2].partition(".")[0]
    assert private != stand.api_id
    assert outputs["IamApiArn"].endswith(f":{private}/v1")


def test_a_rollback_gets_in_while_the_public_calls_are_flooded(
    stand: Stand, door: Callable[..., None], function: str, at_home: Credentials
) -> None:
    token = stand.token()
    for release in ("one", "two"):
        sha256 = stand.upload(function, package(HANDLER % release), token=token)
        body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
        accepted = stand.http("POST", "/deployments", body, token=stand.token())
        assert accepted.status_code == 202, accepted.text
        stand.wait(accepted.json()["id"], token=stand.token())
    door(ApiRate="1", ApiBurst="1")
    flood = [stand.http("POST", "/deployments", {}).status_code for _ in range(10)]
    assert flood.count(429) >= 5, flood
    rollback = {"action": "rollback", "function": function, "stage": "dev", "idempotency_key": uuid4().hex}
    accepted = callers.call(stand, at_home, "POST", "/deployments", rollback)
    assert accepted.status_code == 202, accepted.text
    assert stand.http("POST", "/deployments", {}).status_code in (401, 429)
    door()  # waiting for the end is many calls
    done = stand.wait(accepted.json()["id"], token=stand.token())
    assert done["status"] == "succeeded", done
    assert stand.invoke(function, alias="dev") == {"release": "one"}
