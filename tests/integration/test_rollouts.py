"""Every way that a rollout can go by itself, on the stand, with its alias watched."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stand.api import OFTEN
from stand.metric_traffic import MetricTraffic
from stand.paths import HURRIED, RAISES, Path, Paths, frozen, together
from stand.rollouts import HOOK
from stand.traffic import Traffic


def shares(done: dict[str, Any]) -> list[int]:
    """The percentages that the new version had, one after the other, as the timeline says."""
    return [
        int(entry["message"].partition(", ")[2].partition("%")[0] or 100)
        for entry in done["timeline"]
        if " serves version " in entry["message"] and entry["status"] in ("baking", "succeeded")
    ]


def ended(done: dict[str, Any]) -> tuple[str, str, str]:
    """Status, reason's code and what became of the alias."""
    return done["status"], done["reason"]["code"], done["alias"]["outcome"]


def version(number: str, **weights: float) -> dict[str, Any]:
    return {"version": number, "weights": {name.removeprefix("v"): share for name, share in weights.items()}}


# An engine that dies


@pytest.mark.extended
def test_a_rollout_whose_execution_was_stopped_goes_on_in_another(paths: Paths) -> None:
    with paths("long") as path:
        strategy = {"type": "canary", "percent": 10, "bake": "30s"}
        deployment = path.deploy("next", by=HURRIED, strategy=strategy)
        path.until(deployment, "baking")
        execution = paths.stand.state_machine_arn.replace(":stateMachine:", ":execution:")
        paths.stand.client("stepfunctions").stop_execution(executionArn=f"{execution}:{deployment}-1")
        time.sleep(46)  # what has not changed for 45 s is looked at, unless it waits for its bake to end
        paths.stand.invoke("sluicegate-janitor")
        record = path.until(deployment, "baking", "succeeded")
        assert record["attempt"] == 2, record["timeline"]
        done = path.done(deployment)
        assert (done["status"], shares(done)) == ("succeeded", [10, 100])
        assert any("starting it again" in entry["message"] for entry in done["timeline"])


# Whether the watching watches


def test_an_alias_that_serves_what_its_record_does_not_say_is_seen(paths: Paths) -> None:
    def walk() -> None:
        with paths("long") as path:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            weights = {"AdditionalVersionWeights": {"2": 0.5}}
            paths.stand.client("lambda").update_alias(
                FunctionName=path.function, Name=path.stage, FunctionVersion="1", RoutingConfig=weights
            )
            time.sleep(2)
            path.abort(deployment)

    with pytest.raises(AssertionError, match="and not one of"):
        walk()


# Strategies


def test_each_strategy_takes_its_steps_and_ends_with_all_traffic(paths: Paths) -> None:
    def walk(stage: str, expected: list[int]) -> None:
        with paths(stage) as path:
            done = path.released("next")
            assert shares(done) == expected, done["timeline"]
            assert path.serves == version("2") == done["alias"]["current"]
            assert (done["alias"]["original"], done["alias"]["outcome"]) == (version("1"), "moved")

    together(
        lambda: walk("at-once", [100]),
        lambda: walk("baked", [100]),
        lambda: walk("gradual", [10, 100]),
        lambda: walk("linear", [40, 80, 100]),
        lambda: walk("stepped", [5, 50, 100]),
    )


def test_the_first_release_of_a_stage_has_nothing_to_share_traffic_with(paths: Paths) -> None:
    with paths("gradual", served=False) as path:
        done = path.released("first")
        assert shares(done) == [100]
        assert (done["alias"]["original"], path.serves) == (None, version("1"))


def test_a_request_may_be_more_careful_than_its_stage_and_not_more_careless(paths: Paths) -> None:
    careful = {"type": "steps", "steps": [{"percent": 1, "bake": "2s"}, {"percent": 100}]}
    careless = {"type": "canary", "percent": 50, "bake": "2s"}
    with paths("gradual") as path:
        artifact = {"sha256": path.upload("next")}
        refused = path.ask("deploy", artifact=artifact, strategy=careless)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert "override-strategy" in refused.json()["detail"]
        done = path.done(path.start("deploy", artifact=artifact, strategy=careful))
        assert (done["status"], shares(done)) == ("succeeded", [1, 100])
        hurried = path.done(path.deploy("one more", by=HURRIED, strategy=careless))
        assert (hurried["status"], shares(hurried)) == ("succeeded", [50, 100])
        assert hurried["rule"] == "paths in a hurry"


# Before traffic


def test_a_version_that_fails_its_smoke_test_gets_no_traffic(paths: Paths) -> None:
    lambda_ = paths.stand.client("lambda")

    def walk(body: str, message: str) -> None:
        with paths("smoked") as path:
            lambda_.update_function_configuration(FunctionName=path.function, Timeout=10)
            done = path.done(path.deploy("next", body))
            assert ended(done) == ("failed", "smoke_failed", "untouched")
            assert message in done["reason"]["message"]
            assert path.serves == version("1")

    def passes() -> None:
        with paths("smoked") as path:
            done = path.released("next", body="assert event == {'ping': True}")
            assert any("the smoke test passed" in entry["message"] for entry in done["timeline"])

    together(
        passes,
        lambda: walk(RAISES, "the version failed (Unhandled)"),
        lambda: walk('return {"status": "broken"}', "not as expected"),
        lambda: walk("import time; time.sleep(8)", "no answer within 6 s"),
    )


@pytest.fixture(scope="module")
def hook(paths: Paths) -> Iterator[None]:
    """A function that says no to every second version, and remembers nothing."""
    source = """\
def handler(event, context):
    missing = {"sluicegate", "deployment", "function", "version", "stage", "alias", "sha256"} - event.keys()
    if missing or event["stage"] != "hooked":
        raise ValueError(f"missing: {missing}")
    return {"ok": event["version"] != "3", "message": "not version 3"}
"""
    paths.stand.create_function(HOOK, source)
    yield
    paths.stand.delete_function(HOOK)


@pytest.mark.usefixtures("hook")
def test_a_hook_says_yes_or_no_before_traffic(paths: Paths) -> None:
    with paths("hooked") as path:
        done = path.released("yes")
        assert any("the hook accepted it" in entry["message"] for entry in done["timeline"])
        done = path.done(path.deploy("no"))
        assert ended(done) == ("failed", "smoke_failed", "untouched")
        assert "the hook rejected it: not version 3" in done["reason"]["message"]
        assert path.serves == version("2")


def test_weights_that_lambda_would_refuse_are_seen_before_anything_moves(paths: Paths) -> None:
    lambda_ = paths.stand.client("lambda")

    def provisioned(path: Path) -> None:
        lambda_.put_provisioned_concurrency_config(
            FunctionName=path.function, Qualifier=path.stage, ProvisionedConcurrentExecutions=1
        )

    def weights(path: Path) -> None:
        lambda_.update_function_configuration(FunctionName=path.function, Description="another version")
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=path.function, WaiterConfig=OFTEN)
        lambda_.publish_version(FunctionName=path.function)
        path.serve_by_hand("1", v2=0.5)

    def role(path: Path) -> None:
        lambda_.update_function_configuration(FunctionName=path.function, Role=another_role(paths))
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=path.function, WaiterConfig=OFTEN)

    def walk(why: str, prepare: Callable[[Path], None]) -> None:
        with paths("gradual") as path:
            prepare(path)
            before = path.serves
            done = path.done(path.deploy("next"))
            assert ended(done) == ("failed", "weights_refused", "untouched")
            assert done["reason"]["data"] == {"because": why}
            assert path.serves == before
            done = path.done(path.deploy("at once", by=HURRIED, strategy={"type": "all-at-once"}))
            assert (done["status"], done["alias"]["original"]) == ("succeeded", before), done
            assert path.serves == done["alias"]["current"] == version(done["version"])

    together(
        lambda: walk("provisioned_concurrency", provisioned),
        lambda: walk("weights", weights),
        lambda: walk("role", role),
    )


def another_role(paths: Paths) -> str:
    iam = paths.stand.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    try:
        role = iam.create_role(RoleName="stand-another-role", AssumeRolePolicyDocument=document)
    except iam.exceptions.EntityAlreadyExistsException:
        role = iam.get_role(RoleName="stand-another-role")
    return str(role["Role"]["Arn"])


# While it bakes


def test_an_alarm_ends_a_bake_before_the_next_look(paths: Paths) -> None:
    with paths("alarmed") as path, paths.stand.alarm(f"{path.function}-alarmed") as alarm:
        deployment = path.deploy("next")
        path.until(deployment, "baking")
        time.sleep(1)  # the rollout waits, and the next look is half a minute away
        alarm.set("ALARM")
        done = path.done(deployment)
        assert path.was_woken(deployment)
        assert ended(done) == ("rolled_back", "alarm", "restored")
        assert done["reason"]["data"]["alarm"] == f"{path.function}-alarmed"
        assert path.serves == version("1")
        done = path.done(path.deploy("once more"))
        assert ended(done) == ("failed", "alarm", "untouched")


def test_an_alarm_in_the_moment_of_a_move_is_not_slept_through(paths: Paths) -> None:
    with paths("alarmed") as path, paths.stand.alarm(f"{path.function}-alarmed") as alarm:
        for attempt in range(10):
            deployment = path.deploy(f"next {attempt}")
            with frozen(path, deployment, "shifting") as in_time:
                if in_time:
                    alarm.set("ALARM")
            if in_time:
                done = path.done(deployment)
                assert path.was_woken(deployment)
                assert ended(done) == ("rolled_back", "alarm", "restored")
                return
            path.abort(deployment)
    raise AssertionError("no deployer was ever stopped in the moment")


def test_an_alarm_that_is_missing_or_goes_missing_stops_a_rollout(paths: Paths) -> None:
    def from_the_start() -> None:
        with paths("alarmed") as path:
            done = path.done(path.deploy("next"))
            assert ended(done) == ("failed", "alarm_missing", "untouched")

    def while_it_bakes() -> None:
        with paths("judged") as path, paths.stand.alarm(f"{path.function}-judged") as alarm:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            alarm.delete()
            done = path.done(deployment)
            assert ended(done) == ("rolled_back", "alarm_missing", "restored")

    together(from_the_start, while_it_bakes)


def test_a_release_whose_code_raises_is_rolled_back_by_what_its_callers_meet(paths: Paths) -> None:
    with paths("metered") as path, Traffic(paths.stand, path.function, path.stage) as traffic:
        deployment = path.deploy("next", RAISES)
        done = path.done(deployment)
        assert ended(done) == ("rolled_back", "metric", "restored")
        data = done["reason"]["data"]
        assert (data["metric"], data["value"]) == ("errors", 100)
        # Which of the two it is depends on how many requests the first look with enough of them has.
        assert data["because"] in {"gross", "max_percent"}, data
        assert traffic.errors.get("2", 0) >= 5
        assert traffic.errors.get("1", 0) == 0
        assert path.serves == version("1")


def test_a_release_that_does_well_under_traffic_goes_on(paths: Paths) -> None:
    with (
        paths("judged") as path,
        paths.stand.alarm(f"{path.function}-judged"),
        Traffic(paths.stand, path.function, path.stage) as traffic,
    ):
        done = path.released("next")
        assert shares(done) == [50, 100]
        assert any("errors: 0 % of" in entry["message"] for entry in done["timeline"]), done["timeline"]
        assert traffic.served.get("2", 0) >= 5


def test_a_bake_without_requests_passes_fails_or_goes_on_as_the_gate_file_says(paths: Paths) -> None:
    def passes() -> None:
        with paths("no-data-passes") as path:
            done = path.released("next")
            assert any("an unclear verdict pass" in entry["message"] for entry in done["timeline"])

    def fails() -> None:
        with paths("no-data-fails") as path:
            done = path.done(path.deploy("next"))
            assert ended(done) == ("rolled_back", "unclear", "restored")

    def extends() -> None:
        with paths("no-data-extends") as path:
            done = path.done(path.deploy("next"))
            assert ended(done) == ("rolled_back", "unclear", "restored")
            assert sum("extending the bake" in entry["message"] for entry in done["timeline"]) == 3

    def extends_until_there_are_some() -> None:
        with paths("no-data-extends") as path:
            deployment = path.deploy("next")
            path.once(deployment, lambda record: record["extended"] == 1)
            with MetricTraffic(paths.stand, path.function, path.stage, rate=40, exact=True):
                done = path.done(deployment)
            assert done["status"] == "succeeded", done["timeline"]

    together(passes, fails, extends, extends_until_there_are_some)


# What others do meanwhile


def test_an_alias_that_somebody_else_moves_is_left_alone(paths: Paths) -> None:
    def while_it_bakes() -> None:
        with paths("gradual") as path:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            path.serve_by_hand("1", v2=0.25)
            done = path.done(deployment)
            assert ended(done) == ("failed", "alias_moved", "left_to_other")
            assert path.serves == done["alias"]["current"] == version("1", v2=0.25)

    def before_the_way_back() -> None:
        with paths("long") as path:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            path.serve_by_hand("2")
            done = path.abort(deployment)
            assert ended(done) == ("aborted", "aborted", "left_to_other")
            assert path.serves == version("2")

    def by_deleting_it() -> None:
        with paths("gradual") as path:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            path.watched.moves_by_hand(None)
            paths.stand.client("lambda").delete_alias(FunctionName=path.function, Name=path.stage)
            done = path.done(deployment)
            assert ended(done) == ("failed", "alias_moved", "left_to_other")
            assert path.serves is None

    together(while_it_bakes, before_the_way_back, by_deleting_it)


def test_a_function_that_is_deleted_while_its_release_bakes_ends_it(paths: Paths) -> None:
    with paths("gradual") as path:
        deployment = path.deploy("next")
        path.until(deployment, "baking")
        path.watched.moves_by_hand(None)
        paths.stand.delete_function(path.function)
        done = path.done(deployment)
        assert ended(done) == ("failed", "alias_moved", "left_to_other")
        assert done["alias"]["current"] is None
