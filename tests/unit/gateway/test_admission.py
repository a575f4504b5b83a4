"""What requests come to, by the record and the gate file in force: every 403, 409, 412 and 422 of them."""

from typing import Any

import pytest

from sluicegate.deployment.model import Status
from sluicegate.deployment.plan import ALL_AT_ONCE, TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.admission import service
from sluicegate.gateway.admission.resolve import resolve
from stand.claims import retried
from support.gateway_simulation import (
    APPROVERS,
    OTHER,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    problem,
    refused,
    rule,
)
from support.signing import ISSUER
from support.simulation import OWN

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CANARY = (TrafficStep(10, 300), TrafficStep(100, 0))
ADA = {"issuer": ISSUER, "claims": {"user_id": ["7"]}}
"""An entry of `deny`: the requester in these tests, unless they say otherwise."""

CAREFUL = {"type": "canary", "percent": 10, "bake": "10m"}
OTHERS = rule("others", "deploy", "promote", "rollback", claims={"project_id": ["99"]})


# Who


def test_only_whom_a_rule_allows_may_deploy(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    for claims in (
        at.job(project_id="4214"),
        at.job(iss=OTHER),
        at.job(pipeline_source="merge_request_event"),
    ):
        refused(403, "not_allowed", at.deploy, sha256, claims)
    at.gate = gate_of(deny=[ADA])
    refused(403, "not_allowed", at.deploy, sha256)


def test_a_ref_that_was_protected_too_late_is_explained(at: GatewaySimulation) -> None:
    """A retried job has the `ref_protected` of its pipeline; only a new pipeline has another."""
    sha256 = artifact(at, b"new")
    at.gate = gate_of(rules=(rule("protected", "deploy", claims={"ref_protected": ["true"]}),))
    job = at.job(ref_protected="false")
    retry = at.job(**{**retried(job), "jti": "another"})
    for claims in (job, retry):
        assert "a retried job keeps the old" in refused(403, "not_allowed", at.deploy, sha256, claims)
    other = at.job(ref_protected="false", pipeline_source="api")
    assert "retried" not in refused(403, "not_allowed", at.deploy, sha256, other)


# Deploy


def test_a_package_that_was_built_again_is_explained(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(requires="dev")})
    first, again = artifact(at, b"zip at noon"), artifact(at, b"zip at one")
    assert refused(422, "unprocessable", at.deploy, again).endswith("must succeed in dev first")
    at.release(first, stage="dev")
    detail = refused(422, "unprocessable", at.deploy, again)
    assert f"it serves artifact {first[:12]} (version 1)" in detail
    assert "promote from dev" in detail
    stranger = rule("others", "deploy", claims={"project_id": ["99"]}, stages=["prod"])
    at.gate = gate_of({"prod": Rollout(requires="dev")}, rules=(stranger,))
    unseen = refused(422, "unprocessable", at.deploy, again, at.job(project_id="99"))
    assert first[:12] not in unseen


def test_what_nobody_uploaded_cannot_be_deployed(at: GatewaySimulation) -> None:
    refused(422, "unprocessable", at.deploy, "0" * 64)


def test_a_digest_must_have_succeeded_in_the_stage_before(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(requires="dev")})
    sha256 = artifact(at, b"new")
    refused(422, "unprocessable", at.deploy, sha256)
    running = at.deploy(sha256, stage="dev")
    refused(422, "unprocessable", at.deploy, sha256)
    at.finish(running)
    assert at.release(sha256).status is Status.SUCCEEDED


def test_what_was_withdrawn_in_the_stage_before_has_not_succeeded_there(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(requires="dev")})
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old, stage="dev")
    at.release(new, stage="dev")
    at.finish(at.rollback(stage="dev"))
    refused(422, "unprocessable", at.deploy, new)
    assert at.release(old).status is Status.SUCCEEDED


def test_an_older_pipeline_does_not_overwrite_a_newer_one(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(ordered=True)}, (rule("deployers", "deploy"), OTHERS))
    one, two, three = (artifact(at, code) for code in (b"1", b"2", b"3"))
    at.finish(at.deploy(two, at.job(pipeline_id="20")))
    refused(409, "outdated", at.deploy, one, at.job(pipeline_id="9"))
    at.finish(at.deploy(three, at.job(pipeline_id="20")))
    assert at.finish(at.deploy(one, at.job(pipeline_id="100"))).status is Status.SUCCEEDED
    other = at.finish(at.deploy(two, at.job(pipeline_id="3", project_id="99")))
    assert other.status is Status.SUCCEEDED  # pipelines of several projects have no order
    refused(409, "outdated", at.deploy, three, at.job(pipeline_id="99"))


def test_only_what_succeeded_is_newer(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(ordered=True, approval=3_600)})
    one, two = artifact(at, b"1"), artifact(at, b"2")
    at.decide("reject", at.deploy(two, at.job(pipeline_id="20")))
    assert at.deploy(one, at.job(pipeline_id="9")).status is Status.ACCEPTED


def test_an_older_pipeline_takes_no_newer_ones_place_but_the_way_back_does(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY, ordered=True)})
    one, two, three = (artifact(at, code) for code in (b"1", b"2", b"3"))
    at.finish(at.deploy(one, at.job(pipeline_id="1")))
    running = at.run_until(at.deploy(two, at.job(pipeline_id="20")), "baking")
    refused(409, "outdated", at.deploy, three, at.job(pipeline_id="9"), on_busy="supersede")
    assert at.now(running).abort is None
    back = at.finish(at.rollback(at.job(pipeline_id="2")))
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")


def test_one_alias_has_one_rollout_at_a_time(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, OTHERS, APPROVERS))
    running = at.deploy(artifact(at, b"old"))
    new = artifact(at, b"new")
    found = problem(at.deploy, new)
    assert (found.status, found.code, found.members) == (409, "busy", {"deployment": running.id})
    at.decide("reject", running)
    assert at.deploy(new).status is Status.ACCEPTED


def test_the_version_that_is_expected_must_be_served(at: GatewaySimulation) -> None:
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old)
    refused(412, "not_as_expected", at.deploy, new, expect={"version": "7"})
    assert at.release(new, expect={"version": "1"}).status is Status.SUCCEEDED
    refused(412, "not_as_expected", at.rollback, expect={"version": "1"})
    assert at.finish(at.rollback(expect={"version": "2"})).status is Status.SUCCEEDED


def test_a_strategy_may_be_more_careful_and_less_only_with_the_right_to(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    new = artifact(at, b"new")
    at.release(artifact(at, b"old"))
    refused(403, "not_allowed", at.deploy, new, strategy={"type": "all-at-once"})
    careful = at.deploy(new, strategy=CAREFUL)
    assert careful.plan.steps == (TrafficStep(10, 600), TrafficStep(100, 0))
    at.decide("abort", careful, at.job())
    at.machine.run()
    more = rule("releasers", *RELEASERS["actions"], "override-strategy")
    at.gate = gate_of({"prod": Rollout(steps=CANARY)}, (RELEASERS, {**more, "name": "bold"}))
    bold = at.deploy(new, strategy={"type": "all-at-once"})
    assert (bold.plan.steps, bold.rule) == (ALL_AT_ONCE, "bold")


def test_rights_of_two_rules_never_add_up(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)}, (RELEASERS, rule("bold", "override-strategy")))
    refused(403, "not_allowed", at.deploy, artifact(at, b"new"), strategy={"type": "all-at-once"})


# Again


@pytest.mark.parametrize("actions", [("deploy",), ("deploy", "rollback")])
def test_an_older_digest_is_deployed_again_with_all_the_plan_says(
    at: GatewaySimulation, actions: tuple[str, ...]
) -> None:
    """GitLab's button runs an old job again: that is a deploy, whatever else its rule grants."""
    only = rule("deployers", *actions)
    at.gate = gate_of({"prod": Rollout(steps=CANARY, approval=3_600)}, (only, APPROVERS))
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old)
    at.release(new)
    dry = at.request(action="deploy", artifact={"sha256": old}, dry_run=True)
    assert (dry.value["action"], dry.value["version"]) == ("deploy", None)
    again = at.deploy(old)
    assert (again.action, again.plan.steps, again.plan.approval) == ("deploy", CANARY, 3_600)


def test_a_deploy_of_what_was_served_before_passes_every_check(at: GatewaySimulation) -> None:
    """Only a request for a rollback has a rollback's privileges."""
    checks = Rollout(steps=CANARY, approval=3_600, requires="dev", ordered=True)
    at.gate = gate_of({"prod": checks})
    old, new = artifact(at, b"old"), artifact(at, b"new")
    for sha256 in (old, new):
        at.release(sha256, stage="dev")
        at.release(sha256)
    refused(409, "outdated", at.deploy, old, at.job(pipeline_id="1"))
    at.hold()
    refused(409, "held", at.deploy, old)
    at.ask("DELETE", "/stages/{stage}/hold", at.job(), stage="prod")
    at.finish(at.rollback(stage="dev", version="1"))
    at.finish(at.rollback(stage="dev", version="2"))
    refused(422, "unprocessable", at.deploy, old)  # it is withdrawn in the stage that is required
    back = at.rollback()
    assert (back.plan.approval, at.finish(back).version) == (None, "1")


def test_what_a_rollback_left_is_deployed_again_as_anything_new(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old)
    at.release(new)
    at.finish(at.rollback())
    again = at.deploy(new)
    assert (again.action, again.plan.steps) == ("deploy", CANARY)
    assert at.finish(again).version == "2"
    # It has succeeded again, and is one that can be gone back to.
    assert at.finish(at.rollback()).version == "1"


def test_a_digest_that_is_served_is_deployed_once_more(at: GatewaySimulation) -> None:
    old = artifact(at, b"old")
    at.release(old)
    again = at.release(old)
    assert (again.action, again.version, again.status) == ("deploy", "1", Status.SUCCEEDED)


# Promote


def test_a_promotion_is_of_exactly_what_the_source_serves(at: GatewaySimulation) -> None:
    old, new = artifact(at, b"old"), artifact(at, b"new")
    refused(409, "source_changed", at.promote, version="1")
    at.release(old, stage="dev")
    refused(409, "source_changed", at.promote, version="2")
    refused(409, "source_changed", at.promote, artifact={"sha256": new})
    refused(422, "unprocessable", at.promote, **{"from": "nowhere"}, version="1")
    promoted = at.finish(at.promote(artifact={"sha256": old}))
    assert (promoted.status, promoted.version, promoted.sha256) == (Status.SUCCEEDED, "1", old)


def test_what_the_source_goes_back_from_meanwhile_is_not_promoted(at: GatewaySimulation) -> None:
    """A rollback there ends after the promotion has looked, and before it is accepted."""
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old, stage="dev")
    at.release(new, stage="dev")
    left = [at.rollback]

    def meanwhile(model: Any, **_: Any) -> None:
        if model.name == "TransactWriteItems" and left:
            at.finish(left.pop()(stage="dev"))

    at.listen("before-call.dynamodb", meanwhile)
    refused(503, "unavailable", at.promote, version="2")
    assert not left
    refused(409, "source_changed", at.promote, version="2")
    assert at.finish(at.promote(version="1")).sha256 == old


def test_what_an_alias_serves_is_read_consistently_for_a_decision(at: GatewaySimulation) -> None:
    """A replica may be behind a rollback that has ended."""
    at.release(artifact(at, b"old"), stage="dev")
    reads: list[bool] = []

    def reading(model: Any, params: Any, **_: Any) -> None:
        if model.name == "Query" and params["ExpressionAttributeValues"].get(":pk") == {"S": "serving"}:
            reads.append(params["ConsistentRead"])

    at.listen("before-call.dynamodb", reading)
    at.promote(version="1")
    assert reads
    assert all(reads)


def test_nothing_is_promoted_from_a_stage_that_is_moving(at: GatewaySimulation) -> None:
    at.gate = gate_of({"dev": Rollout(steps=CANARY)})
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old, stage="dev")
    running = at.run_until(at.deploy(new, stage="dev"), "baking")
    refused(409, "source_changed", at.promote, version="1")
    at.decide("abort", running, at.job())
    at.machine.run()
    assert at.finish(at.promote(version="1")).status is Status.SUCCEEDED


def test_what_the_source_serves_is_told_to_nobody_who_may_not_see_it(at: GatewaySimulation) -> None:
    blind = rule("blind", "promote", claims={"project_id": ["99"]}, stages=["prod"])
    at.gate = gate_of(rules=(RELEASERS, blind))
    at.release(artifact(at, b"old"), stage="dev")
    right = refused(409, "source_changed", at.promote, at.job(project_id="99"), version="1")
    at.model.functions["orders"]["versions"].clear()
    assert refused(409, "source_changed", at.promote, at.job(project_id="99"), version="1") == right


# Roll back


def test_there_must_be_something_to_go_back_to(at: GatewaySimulation) -> None:
    refused(422, "unprocessable", at.rollback)
    at.release(artifact(at, b"old"))
    refused(422, "unprocessable", at.rollback)
    refused(422, "unprocessable", at.rollback, version="9")
    at.release(artifact(at, b"new"), stage="dev")
    refused(422, "unprocessable", at.rollback, version="2")  # never in this stage


def test_a_rollback_may_name_any_version_that_succeeded_there(at: GatewaySimulation) -> None:
    digests = [artifact(at, code) for code in (b"1", b"2", b"3")]
    for sha256 in digests:
        at.release(sha256)
    assert at.finish(at.rollback(version="1")).version == "1"
    forth = at.finish(at.rollback(version="3"))  # withdrawn, and asked for by name
    assert (forth.status, forth.version, forth.sha256) == (Status.SUCCEEDED, "3", digests[2])


@pytest.mark.parametrize("reached", ["accepted", "baking"])
def test_a_rollback_undoes_what_is_under_way_however_far_it_is(at: GatewaySimulation, reached: str) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    for code in (b"1", b"2"):
        at.release(artifact(at, code))
    under_way = at.deploy(artifact(at, b"3"))
    if reached != "accepted":
        under_way = at.run_until(under_way, reached)
    assert at.finish(at.rollback()).version == "2"
    assert at.now(under_way).status is Status.ABORTED
    assert at.finish(at.rollback()).version == "1"


def test_a_rollback_goes_back_although_something_waits_for_approval(at: GatewaySimulation) -> None:
    for code in (b"1", b"2"):
        at.release(artifact(at, code))
    at.gate = gate_of({"prod": Rollout(approval=3_600)})
    at.run_until(at.deploy(artifact(at, b"3")), "awaiting_approval")
    assert at.finish(at.rollback()).version == "1"


def test_two_clicks_on_rollback_go_back_once(at: GatewaySimulation) -> None:
    for code in (b"1", b"2", b"3"):
        at.release(artifact(at, code))
    first = at.rollback()
    refused(409, "busy", at.rollback)
    assert at.finish(first).version == "2"


def test_a_rollback_waits_for_nobody(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY, approval=3_600, requires="dev", ordered=True)})
    for code in (b"1", b"2"):
        sha256 = artifact(at, code)
        at.release(sha256, stage="dev")
        at.release(sha256)
    at.hold()
    began = at.clock.now
    back = at.finish(at.rollback(at.job(pipeline_id="1")))
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")
    assert at.clock.now - began < 5


# Tokens and repetitions


def test_a_token_asks_for_one_thing_of_a_stage(at: GatewaySimulation) -> None:
    old, new = artifact(at, b"old"), artifact(at, b"new")
    claims = at.job()
    at.finish(at.deploy(old, claims))
    refused(409, "token_used", at.deploy, new, claims)
    again = at.request(claims, "another-key", action="deploy", artifact={"sha256": old})
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert at.finish(at.deploy(new, claims, stage="dev")).status is Status.SUCCEEDED


def test_the_same_token_with_another_job_is_still_the_same_token(at: GatewaySimulation) -> None:
    """Every replay check is on (issuer, jti): project and job are no part of it."""
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.finish(at.deploy(old, at.job(jti="leaked")))
    refused(409, "token_used", at.deploy, new, at.job(jti="leaked"))


def test_a_token_may_abort_what_it_started(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    at.release(artifact(at, b"old"))
    claims = at.job()
    running = at.run_until(at.deploy(artifact(at, b"new"), claims), "baking")
    assert at.decide("abort", running, claims).status == 202
    assert at.decide("abort", running, claims).status == 200


def test_a_token_may_roll_back_what_it_deployed_once(at: GatewaySimulation) -> None:
    for code in (b"1", b"2"):
        at.release(artifact(at, code))
    claims = at.job()
    at.finish(at.deploy(artifact(at, b"3"), claims))
    back = at.finish(at.rollback(claims))
    assert (back.status, back.version) == (Status.SUCCEEDED, "2")
    again = at.request(claims, action="rollback")
    assert (again.status, again.value["id"]) == (200, back.id)
    refused(409, "token_used", at.rollback, claims, description="once more")
    refused(409, "token_used", at.rollback, claims, version="1")


def test_a_token_rolls_back_nobody_elses_release(at: GatewaySimulation) -> None:
    for code in (b"1", b"2"):
        at.release(artifact(at, code))
    claims = at.job()
    at.finish(at.deploy(artifact(at, b"3"), claims))
    at.release(artifact(at, b"4"))
    refused(409, "token_used", at.rollback, claims)


def test_a_refused_or_dry_request_binds_nothing(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    claims = at.job()
    refused(422, "unprocessable", at.deploy, "0" * 64, claims)
    dry = at.request(claims, action="deploy", artifact={"sha256": sha256}, dry_run=True)
    assert (dry.status, dry.value["allowed"]) == (200, True)
    assert any("has been uploaded" in what for what in dry.value["not_checked"])
    assert dry.lines[-1].startswith("not checked: function orders and its alias prod in 111111111111")
    assert at.finish(at.deploy(sha256, claims)).status is Status.SUCCEEDED


def test_a_repetition_is_answered_by_the_present_state_and_authorised_again(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    claims = at.job()
    first = at.request(claims, "key", action="deploy", artifact={"sha256": sha256})
    at.machine.run()
    again = at.request(claims, "key", action="deploy", artifact={"sha256": sha256})
    assert (first.status, again.status, again.value["status"]) == (202, 200, "succeeded")
    other = {"action": "deploy", "artifact": {"sha256": sha256}, "description": "other"}
    refused(409, "key_reused", at.request, claims, "key", **other)
    at.gate = gate_of(rules=(APPROVERS,))
    body = {"action": "deploy", "artifact": {"sha256": sha256}}
    refused(403, "not_allowed", at.request, claims, "key", **body)


def test_a_repetition_starts_what_was_not_started(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    claims = at.job()
    started = at.machine.start
    at.machine.start = lambda _: 1 / 0  # type: ignore[assignment, method-assign]
    refused(503, "unavailable", at.deploy, sha256, claims)
    at.machine.start = started  # type: ignore[method-assign]
    deployment = at.deploy(sha256, claims)
    assert at.finish(deployment).status is Status.SUCCEEDED
    assert len(at.machine.executions) == 1


@pytest.mark.parametrize(
    "body",
    [{"action": "rollback"}, {"action": "rollback", "expect": {"version": "3"}}, {"action": "promote"}],
    ids=["busy", "not_as_expected", "held"],
)
def test_a_request_that_arrives_twice_at_once_is_answered_by_what_it_started(
    at: GatewaySimulation, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    """The second one is refused for what the first one has done: for the deployment itself, for example."""
    for code in (b"1", b"2", b"3"):
        sha256 = artifact(at, code)
        at.release(sha256, stage="dev")
        at.release(sha256)
    if body["action"] == "promote":
        at.release(artifact(at, b"4"), stage="dev")
        body = {**body, "from": "dev", "version": at.store.versions.served(OWN, "orders", "dev")[0].version}
    claims = at.job()
    started: list[str] = []

    def after_the_other(*args: Any) -> Any:
        monkeypatch.setattr(service, "resolve", resolve)
        first = at.request(claims, **body)
        started.append(first.value["id"])
        if body["action"] == "promote":
            at.hold()
        elif "expect" in body:
            at.finish(at.of(first))
        return resolve(*args)

    monkeypatch.setattr(service, "resolve", after_the_other)
    second = at.request(claims, **body)
    assert (second.status, second.value["id"]) == (200, started[0])
