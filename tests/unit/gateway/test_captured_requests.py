"""Attacks with a captured request: guarantees.md#10-a-captured-request-repeats-only-itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.deployment.model import Status
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.http import GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.store.requests import LONGEST_SESSION
from support.gateway_simulation import (
    APPROVERS,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    problem,
    refused,
    rule,
)
from support.signed_requests import (
    ACCOUNT,
    ORG,
    ROLE_ID,
    SSO_ID,
    USER_ID,
    person,
    principal_rule,
    session,
    signed,
    user,
)
from support.signing import ISSUER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

Json = dict[str, Any]

ALL = ("deploy", "promote", "rollback", "abort", "hold")
PRINCIPALS = (ROLE_ID, USER_ID, SSO_ID)
PERSONS = [{"account": ACCOUNT, "principal_id": SSO_ID, "org": ORG}]
ADA = {"principal_id": [SSO_ID], "session_name": ["ada@example.com"]}
RULES = (
    RELEASERS,
    APPROVERS,
    principal_rule("roles", *ALL),
    principal_rule("users", *ALL, claims={"principal_id": [USER_ID]}),
    principal_rule("ada", *ALL, "approve", "reject", claims=ADA),
    rule("both", *ALL, via="iam+id_token", claims={"account": [ACCOUNT], "principal_id": list(PRINCIPALS)}),
)
PEOPLE = [
    {"name": "grace", "gitlab": [{"issuer": ISSUER, "user_id": "7"}], "iam": []},
    {"name": "ada", "gitlab": [], "iam": [{"org": ORG, "session_name": "ada@example.com"}]},
]
KEY = "a-key-of-16-chars-or-more"


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate_of(rules=RULES, sso=PERSONS)) as made:
        yield made


def send(at: GatewaySimulation, identity: Json, body: Json, **how: Any) -> GatewayResponse:
    """`POST /deployments`; no two deployments are of one millisecond."""
    at.clock.now += 0.002
    wanted = {"function": "orders", "stage": "prod", **body}
    return signed(at, "POST", "/deployments", identity, wanted, **how)


def attempt(at: GatewaySimulation, identity: Json, body: Json, **how: Any) -> tuple[int, str | None]:
    """The status of the answer, and the deployment that it is about, if any."""
    try:
        answer = send(at, identity, body, **how)
    except Problem as found:
        return found.status, None
    return answer.status, answer.value["id"]


def deploy(sha256: str, **more: Any) -> Json:
    return {"action": "deploy", "artifact": {"sha256": sha256}, **more}


def served(at: GatewaySimulation) -> str | None:
    return next((one.sha256 for one in at.store.versions.serving("orders") if one.stage == "prod"), None)


# A deployment


@pytest.mark.parametrize("identity", [session(), person()])
@pytest.mark.parametrize("key", [{}, {"idempotency_key": KEY}])
def test_a_captured_deploy_finds_what_it_started(at: GatewaySimulation, identity: Json, key: Json) -> None:
    old, new = artifact(at, b"old"), artifact(at, b"new")
    captured = deploy(old, **key)
    first = send(at, identity, captured)
    at.finish(at.of(first))
    at.finish(at.deploy(new))
    again = send(at, identity, captured)
    assert (again.status, again.value["id"]) == (200, first.value["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    at.machine.run()
    assert served(at) == new


def test_a_captured_request_that_was_refused_has_its_one_effect_later(at: GatewaySimulation) -> None:
    captured = deploy(artifact(at, b"one"), idempotency_key=KEY)
    at.hold()
    refused(409, "held", send, at, session(), captured)
    at.ask("DELETE", "/stages/{stage}/hold", at.job(), stage="prod")
    first = send(at, session(), captured)
    assert (first.status, send(at, session(), captured).value["id"]) == (202, first.value["id"])


def test_a_captured_rollback_goes_back_once(at: GatewaySimulation) -> None:
    versions = [at.finish(at.deploy(artifact(at, code))) for code in (b"1", b"2", b"3")]
    captured = {"action": "rollback", "idempotency_key": KEY}
    at.finish(at.of(send(at, person(), captured)))
    assert served(at) == versions[1].sha256
    assert send(at, person(), captured).status == 200
    at.machine.run()
    assert served(at) == versions[1].sha256


@pytest.mark.parametrize(
    "headers",
    [
        {"idempotency-key": ["another-key-of-the-attackers"]},
        {"idempotency-key": [KEY]},
        {"idempotency-key": [KEY, KEY]},
        {"accept": ["text/plain"]},
        {"content-type": ["text/plain"]},
        {"authorization": ["Bearer x"]},
        {"x-http-method-override": ["DELETE"], "x-amz-date": ["20261126T000000Z"]},
        {"x-forwarded-for": ["192.0.2.9"], "x-original-url": ["/iam/whoami"]},
    ],
)
@pytest.mark.parametrize("key", [{}, {"idempotency_key": KEY}])
def test_no_header_makes_another_request_of_it(at: GatewaySimulation, headers: Json, key: Json) -> None:
    new = artifact(at, b"new")
    first = send(at, person(), deploy(new, **key))
    at.finish(at.of(first))
    at.finish(at.deploy(artifact(at, b"newer")))
    status, found = attempt(at, person(), deploy(new, **key), headers=headers)
    assert (status, found) in [(400, None), (415, None), (200, first.value["id"])]
    assert at.store.locks.alias_lock(at.of(first).plan.target, "orders", "prod") is None


@pytest.mark.parametrize("identity", [session(), person(), user()])
@pytest.mark.parametrize("order", [(None, "own"), ("own", None), ("own", "other")])
def test_a_token_that_is_added_or_removed_makes_no_other_request(
    at: GatewaySimulation, identity: Json, order: tuple[str | None, str | None]
) -> None:
    tokens = {None: None, "own": at.job(), "other": at.job(user_id="666")}
    captured = deploy(artifact(at, b"new"), idempotency_key=KEY)
    first = send(at, identity, captured, beside=tokens[order[0]])
    at.finish(at.of(first))
    again = send(at, identity, captured, beside=tokens[order[1]])
    assert (again.status, again.value["id"]) == (200, first.value["id"])


def test_a_users_own_key_needs_an_idempotency_key(at: GatewaySimulation) -> None:
    new = artifact(at, b"new")
    refused(400, "invalid_request", send, at, user(), deploy(new))
    refused(400, "invalid_request", send, at, user(), deploy(new), headers={"idempotency-key": [KEY]})
    assert send(at, user(), deploy(new, idempotency_key=KEY)).status == 202
    temporary = user(key="ASIATEMPORARY1111111")
    assert send(at, temporary, deploy(new, dry_run=True)).status == 200


def test_an_idempotency_key_stands_for_one_body(at: GatewaySimulation) -> None:
    one, two = artifact(at, b"one"), artifact(at, b"two")
    send(at, person(), deploy(one, idempotency_key=KEY))
    refused(409, "key_reused", send, at, person(), deploy(two, idempotency_key=KEY))
    refused(409, "key_reused", send, at, person(), deploy(one, idempotency_key=KEY, agent=True))


@pytest.mark.parametrize("key", ["short", "x" * 65, "with spaces in the key", "ümlaut-ümlaut-ümlaut", 7])
def test_a_malformed_idempotency_key_is_refused(at: GatewaySimulation, key: object) -> None:
    refused(400, "invalid_request", send, at, person(), deploy("0" * 64, idempotency_key=key))


def test_two_principals_with_one_key_make_two_requests(at: GatewaySimulation) -> None:
    new = artifact(at, b"new")
    first = send(at, session(), deploy(new, idempotency_key=KEY))
    at.finish(at.of(first))
    others = send(at, user(), deploy(new, idempotency_key=KEY))
    assert others.value["id"] != first.value["id"]


# A session


def test_a_session_deploys_one_thing_to_a_stage(at: GatewaySimulation) -> None:
    one, two = artifact(at, b"one"), artifact(at, b"two")
    at.finish(at.of(send(at, session(), deploy(one))))
    refused(409, "session_used", send, at, session(), deploy(two))
    refused(409, "session_used", send, at, session(), deploy(one, release="again"))
    refused(409, "session_used", send, at, session(), deploy(two, idempotency_key=KEY))
    # Another stage, function or session has a use of its own.
    assert send(at, session(), deploy(one, stage="dev")).status == 202
    assert send(at, session(key="ASIAANOTHER111111111"), deploy(two)).status == 202


def test_a_users_key_is_free_again_after_half_a_day(at: GatewaySimulation) -> None:
    one, two = artifact(at, b"one"), artifact(at, b"two")
    at.finish(at.of(send(at, user(), deploy(one, idempotency_key=KEY))))
    at.clock.now += LONGEST_SESSION
    refused(409, "session_used", send, at, user(), deploy(two, idempotency_key=f"{KEY}-2"))
    at.clock.now += 3_700
    assert send(at, user(), deploy(two, idempotency_key=f"{KEY}-3")).status == 202


def test_a_session_rolls_back_its_own_once(at: GatewaySimulation) -> None:
    for code in (b"older", b"old"):
        at.finish(at.deploy(artifact(at, code)))
    at.finish(at.of(send(at, session(), deploy(artifact(at, b"new")))))
    assert send(at, session(), {"action": "rollback"}).status == 202
    at.machine.run()
    refused(409, "session_used", send, at, session(), {"action": "rollback", "description": "again"})


def test_a_person_is_not_bound(at: GatewaySimulation) -> None:
    at.finish(at.of(send(at, person(), deploy(artifact(at, b"one")))))
    assert send(at, person(), deploy(artifact(at, b"two"))).status == 202


def test_an_agent_of_a_person_is_bound(at: GatewaySimulation) -> None:
    at.finish(at.of(send(at, person(), deploy(artifact(at, b"one"), agent=True))))
    refused(409, "session_used", send, at, person(), deploy(artifact(at, b"two"), agent=True))


@pytest.mark.parametrize("identity", [session(), person()])
def test_the_token_beside_a_signature_is_used_up_too(at: GatewaySimulation, identity: Json) -> None:
    job = at.job()
    at.finish(at.of(send(at, identity, deploy(artifact(at, b"one")), beside=job)))
    two = artifact(at, b"two")
    refused(409, "token_used", at.deploy, two, job)
    fresh = session(key="ASIAANOTHER111111111")
    refused(409, "token_used", send, at, fresh, deploy(two), beside=job)


def test_both_roll_back_their_own_once(at: GatewaySimulation) -> None:
    for code in (b"older", b"old"):
        at.finish(at.deploy(artifact(at, code)))
    job = at.job()
    at.finish(at.of(send(at, session(), deploy(artifact(at, b"new")), beside=job)))
    assert send(at, session(), {"action": "rollback"}, beside=job).status == 202
    at.machine.run()
    again = {"action": "rollback", "description": "again"}
    assert problem(send, at, session(), again, beside=job).status == 409
    assert problem(send, at, session(), again).status == 409
    assert problem(at.rollback, job, description="again").status == 409


# Holds and decisions


def hold(at: GatewaySimulation, identity: Json, **body: Any) -> GatewayResponse:
    at.clock.now += 1
    return signed(at, "POST", "/stages/{stage}/hold", identity, {"reason": "freeze", **body}, stage="prod")


def release(at: GatewaySimulation, identity: Json, hold_id: str | None) -> GatewayResponse:
    query = {"id": [hold_id]} if hold_id else {}
    return signed(at, "DELETE", "/stages/{stage}/hold", identity, query=query, stage="prod")


def test_a_captured_release_lifts_no_later_hold(at: GatewaySimulation) -> None:
    [first] = hold(at, person(), idempotency_key=KEY).value["holds"]
    assert release(at, person(), first["id"]).value["holds"] == []
    [second] = hold(at, person(), idempotency_key=f"{KEY}-2").value["holds"]
    assert second["id"] != first["id"]
    assert release(at, person(), first["id"]).value["holds"] == [second]
    refused(400, "invalid_request", release, at, person(), None)
    refused(400, "invalid_request", release, at, person(), "*")
    assert release(at, person(), second["id"]).value["holds"] == []


@pytest.mark.parametrize("key", [{}, {"idempotency_key": KEY}])
def test_a_captured_hold_holds_once(at: GatewaySimulation, key: Json) -> None:
    [first] = hold(at, session(), **key).value["holds"]
    again = hold(at, session(), **key)
    assert (again.value["holds"], again.headers["Idempotent-Replayed"]) == ([first], "true")
    release(at, session(), first["id"])
    refused(409, "wrong_state", hold, at, session(), **key)
    assert at.store.holds.of_stage("prod") == []
    assert len(hold(at, session(), idempotency_key=f"{KEY}-2").value["holds"]) == 1


def test_a_holds_key_stands_for_one_reason(at: GatewaySimulation) -> None:
    hold(at, session(), idempotency_key=KEY)
    refused(409, "key_reused", hold, at, session(), idempotency_key=KEY, reason="another")


def test_a_token_releases_all_or_one(at: GatewaySimulation) -> None:
    [first] = hold(at, session()).value["holds"]
    job = at.job()
    assert at.ask("DELETE", "/stages/{stage}/hold", job, stage="prod").value["holds"] == []
    assert first["by"]["session_name"] == "job-302"


def test_a_captured_approval_approves_nothing_else(at: GatewaySimulation) -> None:
    rules = tuple(each for each in RULES if each["name"] not in ("roles", "users"))
    at.gate = gate_of({"prod": Rollout(approval=3_600)}, rules, sso=PERSONS, people=PEOPLE)
    one = at.deploy(artifact(at, b"one"))
    body = {"reason": "fine", "revision": one.revision}

    def approve() -> GatewayResponse:
        return signed(at, "POST", "/deployments/{id}/approve", person(), body, id=one.id)

    assert approve().status == 202
    done = at.finish(one)
    assert done.status is Status.SUCCEEDED
    two = at.deploy(artifact(at, b"two"))
    again = approve()
    assert (again.status, again.value["id"]) == (200, one.id)
    assert at.now(two).approval is None


# Any order


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["first", "second"]),
        st.sampled_from([None, "own", "attacker"]),
        st.sampled_from([None, KEY, "another-key-of-16-chars"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15)
@given(st.sampled_from([session(), person(), user()]), STEPS)
def test_no_sequence_of_captured_requests_starts_more_than_they_did(identity: Json, steps: list[Any]) -> None:
    """Two requests were captured. However they are sent again, with headers of the attacker's choice and
    other rollouts in between, each has made one deployment at most, of its own body."""
    with gateway_simulation(gate=gate_of(rules=RULES, sso=PERSONS)) as at:
        one, two = artifact(at, b"one"), artifact(at, b"two")
        captured = {
            "first": deploy(one, idempotency_key="the-first-captured-request"),
            "second": deploy(two, idempotency_key="the-second-captured-request"),
        }
        tokens = {None: None, "own": at.job(), "attacker": at.job(user_id="666")}
        made: dict[str, set[str]] = {"first": set(), "second": set()}
        for name, beside, header, between in steps:
            headers = {"idempotency-key": [header]} if header else {}
            status, found = attempt(at, identity, captured[name], beside=tokens[beside], headers=headers)
            assert status in (200, 202, 400, 409)
            if found:
                made[name].add(found)
                deployment = at.store.deployments.get(found)
                assert deployment is not None
                assert deployment.sha256 == {"first": one, "second": two}[name]
            if between:
                at.machine.run()
        assert all(len(ids) <= 1 for ids in made.values())
