"""What a stage can go back to and take over: of versions that were pruned, rest, or are somebody else's."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import ALL_AT_ONCE, Smoke, TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.rollout import transitions
from sluicegate.store import keys
from sluicegate.store.history import PastVersion
from support.gateway_simulation import (
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    refused,
)
from support.lambda_model import error
from support.simulation import OWN

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

APPROVAL = Rollout(approval=3_600)
SMOKE = Smoke(10, '{"ping":true}', '{"ok":true}')


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    """Prod served versions 1 and 2, and serves 3."""
    with gateway_simulation() as made:
        for code in (b"one", b"two", b"three"):
            made.release(artifact(made, code))
        yield made


@pytest.fixture
def adopted() -> Iterator[GatewaySimulation]:
    """Somebody else's alias prod, which serves version 1 of somebody else's code."""
    with gateway_simulation() as made:
        publish(made, b"somebody else's")
        made.model.set_alias("orders", "prod", "1")
        yield made


def publish(at: GatewaySimulation, code: bytes) -> str:
    """A version that somebody else publishes."""
    sha256 = at.upload("orders", code)
    latest = at.model.functions["orders"]["latest"]
    updated = at.model.update_function_code(
        FunctionName="orders", RevisionId=latest["RevisionId"], S3Key=f"orders/{sha256}.zip"
    )
    while at.model.get_function(FunctionName="orders", Qualifier="$LATEST")["Configuration"][
        "LastUpdateStatus"
    ] != ("Successful"):
        pass
    made = at.model.publish_version(
        FunctionName="orders",
        CodeSha256=updated["CodeSha256"],
        RevisionId=latest["RevisionId"],
        Description="",
    )
    return str(made["Version"])


def story(deployment: Deployment) -> str:
    return "\n".join(entry.message for entry in deployment.timeline)


def code(deployment: Deployment) -> str | None:
    return deployment.reason.code if deployment.reason else None


# In order


@pytest.mark.parametrize("seconds", [2, 3_600])
def test_a_clock_that_goes_back_changes_no_order(at: GatewaySimulation, seconds: int) -> None:
    """The next deployment's id sorts before that of version 3, but it serves after it."""
    at.clock.now -= seconds
    four = at.release(artifact(at, b"four"))
    assert four.id < min(one.deployment for one in past(at) if one.version == "3")
    assert [one.version for one in past(at)] == ["4", "3", "2", "1"]
    assert at.finish(at.rollback()).version == "3"
    assert [(one.version, one.withdrawn) for one in past(at)][:2] == [("3", False), ("4", True)]


def test_what_an_earlier_release_noted_is_in_the_order_of_its_ids(at: GatewaySimulation) -> None:
    """And what is noted since then comes after it."""
    table = at.store.versions._table
    served = [keys.served(OWN, "orders", "prod", version) for version in "123"]
    for key in (*served, keys.serving(OWN, "orders", "prod", "prod")):
        table._client.update_item(**table.update_arguments(key, {}, remove=["order"]))
    at.release(artifact(at, b"four"))
    assert [one.version for one in past(at)] == ["4", "3", "2", "1"]


def test_what_an_earlier_release_published_takes_its_end_for_its_position(
    at: GatewaySimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been accepted long before what succeeded before it."""
    published = transitions.published
    monkeypatch.setattr(transitions, "published", lambda *args: replace(published(*args), order=0))
    four = at.release(artifact(at, b"four"))
    ended = round(seconds(four.updated_at) * 1_000)
    assert next((one.version, one.position) for one in past(at)) == ("4", (ended, four.id))
    monkeypatch.undo()
    at.release(artifact(at, b"five"))
    assert [one.version for one in past(at)] == ["5", "4", "3", "2", "1"]


def past(at: GatewaySimulation) -> list[PastVersion]:
    return at.store.versions.past(OWN, "orders", "prod")


# Pruned


def test_a_rollback_goes_on_to_the_version_before_one_that_was_pruned(at: GatewaySimulation) -> None:
    at.model.prune("orders", "2")
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")
    assert at.model.code_of("orders", "1") == back.sha256
    assert [(one.version, one.code) for one in back.unusable] == [("2", "version_not_found")]
    assert "version 2 no longer exists: going back to version 1 instead" in story(back)


def test_the_record_knows_what_was_pruned_the_next_time(at: GatewaySimulation) -> None:
    at.model.prune("orders", "2")
    at.finish(at.rollback())
    at.release(artifact(at, b"four"))
    at.model.calls.clear()
    back = at.finish(at.rollback())
    assert (back.status, back.version, back.unusable) == (Status.SUCCEEDED, "1", ())
    assert "no longer exists" in refused(422, "unprocessable", at.rollback, version="2")


def test_a_rollback_with_nothing_left_says_so(at: GatewaySimulation) -> None:
    at.model.prune("orders", "1")
    at.model.prune("orders", "2")
    back = at.finish(at.rollback())
    assert (back.status, back.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert code(back) == "version_not_found"
    assert at.model.serves("orders", "prod") == ("3", {})
    assert "still exists" in refused(422, "unprocessable", at.rollback)


def test_a_named_version_that_was_pruned_is_never_another_one(at: GatewaySimulation) -> None:
    at.model.prune("orders", "2")
    back = at.finish(at.rollback(version="2"))
    assert (back.status, code(back)) == (Status.FAILED, "version_not_found")
    assert at.model.serves("orders", "prod") == ("3", {})


def test_a_deploy_of_a_version_that_was_pruned_publishes_it_anew(at: GatewaySimulation) -> None:
    at.model.prune("orders", "2")
    at.finish(at.rollback())
    again = at.finish(at.deploy(artifact(at, b"two")))
    assert (again.status, again.version) == (Status.SUCCEEDED, "4")


@pytest.mark.parametrize("failure", ["TooManyRequestsException", "AccessDeniedException", "ServiceException"])
def test_an_error_never_makes_a_version_count_as_gone(at: GatewaySimulation, failure: str) -> None:
    def fail(name: str) -> None:
        if name == "GetFunction":
            raise error(failure, 429 if failure.startswith("Too") else 403 if "Denied" in failure else 500)

    at.model.before = fail
    back = at.finish(at.rollback())
    assert (back.status, back.unusable) == (Status.FAILED, ())
    at.model.before = lambda _: None
    assert at.finish(at.rollback()).version == "2"


def test_a_single_answer_never_makes_a_version_count_as_gone(at: GatewaySimulation) -> None:
    answered: list[str] = []

    def once(name: str) -> None:
        if name == "GetFunction" and not answered:
            answered.append(name)
            raise error("ResourceNotFoundException", 404, "Function not found: arn:…:orders:2")

    at.model.before = once
    back = at.finish(at.rollback())
    assert (back.status, back.version, back.unusable) == (Status.SUCCEEDED, "2", ())


def test_what_is_seen_again_is_not_gone(at: GatewaySimulation) -> None:
    kept = at.model.functions["orders"]["versions"].pop("2")
    at.finish(at.rollback())
    at.model.functions["orders"]["versions"]["2"] = kept
    refused(422, "unprocessable", at.rollback, version="2")
    assert at.finish(at.deploy(artifact(at, b"two"))).version == "2"
    at.release(artifact(at, b"four"))
    assert at.finish(at.rollback(version="2")).status is Status.SUCCEEDED


def test_a_function_that_was_made_anew_has_other_code_in_its_old_numbers(at: GatewaySimulation) -> None:
    at.model.functions["orders"]["versions"]["2"]["CodeSha256"] = at.model.functions["orders"]["versions"][
        "3"
    ]["CodeSha256"]
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")
    assert [(one.version, one.code) for one in back.unusable] == [("2", "code_mismatch")]


def test_a_function_that_was_deleted_is_no_version_that_was(at: GatewaySimulation) -> None:
    accepted = at.rollback()
    at.model.functions.clear()
    back = at.finish(accepted)
    assert (back.status, code(back), back.unusable) == (Status.FAILED, "function_not_found", ())


def test_a_version_that_is_pruned_right_before_it_would_serve(at: GatewaySimulation) -> None:
    accepted = at.rollback(version="2")

    def prune(name: str) -> None:
        if name == "UpdateAlias" and "2" in at.model.functions["orders"]["versions"]:
            at.model.prune("orders", "2")

    at.model.before = prune
    back = at.finish(accepted)
    assert (back.status, back.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert code(back) == "version_not_found"
    assert at.finish(at.rollback()).version == "1"


def test_an_old_version_that_is_pruned_while_the_new_one_bakes(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=(TrafficStep(100, 300),))})
    baking = at.run_until(at.deploy(artifact(at, b"four")), "baking")
    at.model.prune("orders", "3")
    at.decide("abort", baking, at.job())
    ended = at.finish(baking)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.NOT_RESTORED)
    assert ended.current is not None
    assert (ended.current.version, at.model.serves("orders", "prod")) == ("4", ("4", {}))
    assert "still serves version 4: version 3, which it served before, no longer exists" in story(ended)
    assert at.finish(at.rollback()).version == "2"


def test_an_alias_that_can_only_be_read_is_not_unknown(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))})
    baking = at.run_until(at.deploy(artifact(at, b"four")), "baking")

    def deny(name: str) -> None:
        if name == "UpdateAlias":
            raise error("AccessDeniedException", 403, "not authorized to perform: lambda:UpdateAlias")

    at.model.before = deny
    at.decide("abort", baking, at.job())
    ended = at.finish(baking)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.NOT_RESTORED)
    assert ended.current is not None
    assert (ended.current.version, ended.current.weights) == ("3", {"4": 0.1})
    assert "lambda:UpdateAlias" in story(ended)


def test_a_new_version_that_is_pruned_while_it_bakes_is_told_from_the_function(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))})
    baking = at.run_until(at.deploy(artifact(at, b"four")), "baking")
    at.model.prune("orders", "4")
    ended = at.finish(baking)
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert code(ended) == "version_not_found"
    assert at.model.serves("orders", "prod") == ("3", {})


# States


@pytest.mark.parametrize("state", ["Failed", "Deactivated", "Deleting", "ActiveNonInvocable", "SomethingNew"])
def test_a_rollback_passes_a_version_that_cannot_run(at: GatewaySimulation, state: str) -> None:
    at.model.set_state("orders", "2", state, "InvalidImage")
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")
    assert f"{state} (InvalidImage)" in story(back)
    at.release(artifact(at, b"four"))
    at.model.set_state("orders", "2", "Active")
    assert at.finish(at.rollback(version="2")).status is Status.SUCCEEDED


def test_a_rollback_to_an_inactive_version_warns(at: GatewaySimulation) -> None:
    at.model.set_state("orders", "2", "Inactive")
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "2")
    assert "its first requests fail" in story(back)


def test_a_rollback_waits_for_a_version_that_wakes_up(at: GatewaySimulation) -> None:
    at.model.set_state("orders", "2", "Pending")
    at.model.functions["orders"]["pending"]["2"] = 3
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "2")


def test_a_rollback_waits_no_longer_than_a_minute_where_it_can_go_further_back(at: GatewaySimulation) -> None:
    at.model.set_state("orders", "2", "Pending")
    back = at.finish(at.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")


def test_a_version_whose_last_update_failed_is_not_rolled_back_to(at: GatewaySimulation) -> None:
    at.model.set_state("orders", "2", "Active", "", LastUpdateStatus="Failed", LastUpdateStatusReasonCode="X")
    assert at.finish(at.rollback()).version == "1"


@pytest.mark.parametrize(
    ("state", "reason"),
    [("Failed", "version_unusable"), ("Inactive", "version_inactive"), ("SomethingNew", "version_unusable")],
)
def test_a_promotion_of_a_version_that_cannot_run_is_refused(
    at: GatewaySimulation, state: str, reason: str
) -> None:
    tried = at.release(artifact(at, b"four"), stage="dev")
    at.model.set_state("orders", "4", state)
    ended = at.finish(at.promote(version=tried.version))
    assert (ended.status, code(ended)) == (Status.FAILED, reason)
    assert at.model.serves("orders", "prod") == ("3", {})


def test_a_smoke_test_wakes_an_inactive_version(at: GatewaySimulation) -> None:
    tried = at.release(artifact(at, b"four"), stage="dev")
    at.model.set_state("orders", "4", "Inactive")
    at.gate = gate_of({"prod": Rollout(smoke=SMOKE)})
    ended = at.finish(at.promote(version=tried.version))
    assert (ended.status, ended.failures) == (Status.SUCCEEDED, 0)
    assert at.model.functions["orders"]["versions"]["4"]["State"] == "Active"


def test_a_state_that_changes_before_the_alias_moves_is_seen(at: GatewaySimulation) -> None:
    accepted = at.rollback(version="2")
    looks: list[str] = []

    def fail_later(name: str) -> None:
        looks.append(name)
        if looks.count("GetFunction") == 2:
            at.model.set_state("orders", "2", "Failed")

    at.model.before = fail_later
    ended = at.finish(accepted)
    assert (ended.status, code(ended)) == (Status.FAILED, "version_unusable")
    assert at.model.serves("orders", "prod") == ("3", {})


# What somebody else had put there


def test_the_first_deployment_of_an_adopted_function_can_be_rolled_back(adopted: GatewaySimulation) -> None:
    first = adopted.release(artifact(adopted, b"ours"))
    assert [(one.version, one.share) for one in first.found] == [("1", 1)]
    assert first.found[0].sha256 == adopted.model.code_of("orders", "1")
    accepted = adopted.rollback()
    assert "somebody else had put version 1 there" in story(accepted)
    back = adopted.finish(accepted)
    assert (back.status, back.version, back.sha256) == (Status.SUCCEEDED, "1", first.found[0].sha256)
    assert back.built is None


def test_an_adopted_version_can_be_named(adopted: GatewaySimulation) -> None:
    adopted.release(artifact(adopted, b"ours"))
    adopted.release(artifact(adopted, b"more"))
    assert adopted.finish(adopted.rollback(version="1")).status is Status.SUCCEEDED


def test_a_version_that_never_served_the_stage_cannot_be_named(adopted: GatewaySimulation) -> None:
    adopted.release(artifact(adopted, b"ours"))
    secret = publish(adopted, b"never served")
    assert "never served" in refused(422, "unprocessable", adopted.rollback, version=secret)


def test_the_first_deployment_that_bakes_badly_is_undone_by_a_rollback(adopted: GatewaySimulation) -> None:
    adopted.gate = gate_of({"prod": Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))})
    baking = adopted.run_until(adopted.deploy(artifact(adopted, b"ours")), "baking")
    back = adopted.finish(adopted.rollback())
    assert (back.status, back.version) == (Status.SUCCEEDED, "1")
    assert adopted.now(baking).status is Status.ABORTED


def test_a_version_that_was_moved_to_by_hand_is_what_the_next_rollback_restores(
    at: GatewaySimulation,
) -> None:
    other = publish(at, b"hotfix by hand")
    at.model.set_alias("orders", "prod", other)
    released = at.release(artifact(at, b"five"))
    assert f"alias prod serves version {other}: someone else has moved it" in story(released)
    assert at.finish(at.rollback()).version == other
    assert at.finish(at.rollback()).version == "3"


def test_an_alias_with_weights_served_its_larger_share(adopted: GatewaySimulation) -> None:
    canary = publish(adopted, b"their canary")
    adopted.model.set_alias("orders", "prod", "1", {canary: 0.1})
    released = adopted.release(artifact(adopted, b"ours"))
    assert [(one.version, one.share) for one in released.found] == [("1", 0.9), (canary, 0.1)]
    refused(422, "unprocessable", adopted.rollback, version=canary)
    assert adopted.finish(adopted.rollback()).version == "1"
    refused(422, "unprocessable", adopted.rollback)


def test_weights_of_one_half_each_count_both(adopted: GatewaySimulation) -> None:
    other = publish(adopted, b"their other half")
    adopted.model.set_alias("orders", "prod", "1", {other: 0.5})
    adopted.release(artifact(adopted, b"ours"))
    assert adopted.finish(adopted.rollback(version=other)).status is Status.SUCCEEDED


def test_a_canary_of_somebody_else_cannot_be_named_while_it_is_replaced(adopted: GatewaySimulation) -> None:
    canary = publish(adopted, b"their canary")
    adopted.model.set_alias("orders", "prod", "1", {canary: 0.1})
    adopted.gate = gate_of({"prod": Rollout(steps=(TrafficStep(100, 300),))})
    adopted.run_until(adopted.deploy(artifact(adopted, b"ours")), "baking")
    refused(422, "unprocessable", adopted.rollback, version=canary)
    assert adopted.finish(adopted.rollback(version="1")).status is Status.SUCCEEDED


def test_weights_by_hand_take_no_version_from_those_that_served(at: GatewaySimulation) -> None:
    """Neither one that succeeded nor one that somebody had moved the alias to."""
    other = publish(at, b"hotfix by hand")
    at.model.set_alias("orders", "prod", other)
    at.release(artifact(at, b"five"))
    at.model.set_alias("orders", "prod", "5", {other: 0.1})
    at.release(artifact(at, b"six"))
    at.model.set_alias("orders", "prod", "6", {"2": 0.1})
    at.release(artifact(at, b"seven"))
    assert at.finish(at.rollback(version=other)).status is Status.SUCCEEDED
    assert at.finish(at.rollback(version="2")).status is Status.SUCCEEDED


def test_what_a_person_rejected_is_no_way_back_although_its_removal_failed(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))})
    baking = at.run_until(at.deploy(artifact(at, b"bad")), "baking")

    def deny(name: str) -> None:
        if name == "UpdateAlias":
            raise error("AccessDeniedException", 403, "not authorized to perform: lambda:UpdateAlias")

    at.model.before = deny
    at.decide("abort", baking, at.job())
    ended = at.finish(baking)
    assert (ended.outcome, ended.current and ended.current.weights) == (
        AliasOutcome.NOT_RESTORED,
        {"4": 0.1},
    )
    at.model.before = lambda _: None
    refused(422, "unprocessable", at.rollback, version="4")
    at.gate = gate_of({"prod": Rollout(steps=ALL_AT_ONCE)})
    released = at.release(artifact(at, b"good"))
    assert [(one.version, one.share) for one in released.found] == [("3", 0.9), ("4", 0.1)]
    refused(422, "unprocessable", at.rollback, version="4")
    assert at.finish(at.rollback()).version == "3"
    assert at.finish(at.rollback()).version == "2"


def test_latest_is_never_gone_back_to(adopted: GatewaySimulation) -> None:
    adopted.model.set_alias("orders", "prod", "$LATEST")
    adopted.gate = gate_of({"prod": Rollout(steps=ALL_AT_ONCE)})
    released = adopted.release(artifact(adopted, b"ours"))
    assert (released.status, released.found) == (Status.SUCCEEDED, ())
    refused(422, "unprocessable", adopted.rollback)


def test_a_move_by_hand_does_not_bring_back_what_a_rollback_withdrew(at: GatewaySimulation) -> None:
    at.finish(at.rollback())
    at.model.set_alias("orders", "prod", "3")
    at.release(artifact(at, b"four"))
    accepted = at.rollback()
    assert accepted.version == "2"
    assert "put version 3 there again, which a rollback had withdrawn" in story(accepted)


def test_a_rollback_by_hand_that_is_confirmed_withdraws_what_was_recorded(at: GatewaySimulation) -> None:
    at.model.set_alias("orders", "prod", "2")
    assert at.finish(at.rollback()).version == "2"
    assert at.rollback().version == "1"  # and not forward to version 3


def test_what_was_found_has_not_succeeded_there(adopted: GatewaySimulation) -> None:
    adopted.gate = gate_of({"prod": Rollout(requires="dev")})
    sha256 = artifact(adopted, b"somebody else's")
    adopted.model.set_alias("orders", "dev", "1")
    adopted.release(artifact(adopted, b"ours"), stage="dev")
    refused(422, "unprocessable", adopted.deploy, sha256)


def test_a_deployment_that_finds_what_the_record_says_reads_nothing_more(at: GatewaySimulation) -> None:
    at.model.calls.clear()
    at.release(artifact(at, b"four"))
    assert at.model.calls.count("GetFunction") == 3  # $LATEST, and twice until its update has settled


# Promotions that wait


def test_a_promotion_outlives_a_deployment_to_its_source(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": APPROVAL})
    tried = at.release(artifact(at, b"four"), stage="dev")
    waiting = at.run_until(at.promote(version=tried.version), "awaiting_approval")
    at.run_until(at.deploy(artifact(at, b"five"), stage="dev"), "succeeded", waits=False)
    at.decide("approve", waiting)
    ended = at.finish(waiting)
    assert (ended.status, ended.version) == (Status.SUCCEEDED, tried.version)


@pytest.mark.parametrize("how", ["pruned", "Failed"])
def test_what_can_no_longer_succeed_asks_nobody_for_approval(at: GatewaySimulation, how: str) -> None:
    at.gate = gate_of({"prod": APPROVAL})
    tried = at.release(artifact(at, b"four"), stage="dev")
    at.model.set_alias("orders", "dev", "3")
    if how == "pruned":
        at.model.prune("orders", "4")
    else:
        at.model.set_state("orders", "4", how)
    ended = at.finish(at.promote(version=tried.version))
    assert (ended.status, ended.approval) == (Status.FAILED, None)
    assert Status.AWAITING_APPROVAL not in [entry.status for entry in ended.timeline]


def test_what_can_no_longer_succeed_ends_while_it_waits(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(approval=86_400)})
    tried = at.release(artifact(at, b"four"), stage="dev")
    waiting = at.run_until(at.promote(version=tried.version), "awaiting_approval")
    began = at.clock.now
    at.model.set_alias("orders", "dev", "3")
    at.model.prune("orders", "4")
    ended = at.finish(waiting)
    assert (ended.status, code(ended)) == (Status.FAILED, "version_not_found")
    assert at.clock.now - began < 7_200


def test_an_outage_of_lambda_does_not_end_what_waits(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": APPROVAL})
    tried = at.release(artifact(at, b"four"), stage="dev")

    def down(_: str) -> None:
        raise error("ServiceException", 500)

    waiting = at.run_until(at.promote(version=tried.version), "awaiting_approval")
    at.model.before = down
    assert at.deployer.run_turn(waiting.id)["next"] == "wait"
    assert at.now(waiting).status is Status.AWAITING_APPROVAL
    at.model.before = lambda _: None
    at.decide("approve", waiting)
    assert at.finish(waiting).status is Status.SUCCEEDED
