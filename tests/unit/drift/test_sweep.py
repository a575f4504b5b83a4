"""The look for drift, over a real table and a model of Lambda: what it tells, when, and how often."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.deployment.call_budget import START_RATE, CallClass
from sluicegate.deployment.drift import Drift
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.drift.places import LookApi
from sluicegate.drift.sweep import DriftReport, DriftSweep
from sluicegate.gate.model import TargetReference
from sluicegate.pacing import PARCEL
from sluicegate.store.call_budget import CallClaim
from sluicegate.store.errors import StaleRevision
from support.gateway_simulation import gate_of
from support.lambda_quota import OWN_QUOTA
from support.lambda_triggers_model import TriggersModel, permission
from support.line_model import take
from support.refusals import refused
from support.simulation import OWN, Simulation, simulation

FUNCTION = "arn:aws:lambda:eu-central-1:111111111111:function:orders"


@dataclass
class OnePlace:
    """The stack's own account. `refusal` is what assuming the role raises."""

    model: TriggersModel
    refusal: Exception | None = None
    entered: int = 0

    def target(self, reference: TargetReference) -> Target:
        return Target(reference.account or OWN.account, reference.region or OWN.region)

    def enter(self, _: TargetReference) -> LookApi:
        self.entered += 1
        if self.refusal is not None:
            raise self.refusal
        return LookApi(cast(Any, self.model))


@dataclass
class Here:
    at: Simulation
    model: TriggersModel
    place: OnePlace
    gate: Any = field(default_factory=gate_of)

    def deploy(self, code: bytes = b"new", function: str = "orders", **fields: Any) -> Deployment:
        done = self.at.run(self.at.accept(self.at.upload(function, code), function=function, **fields))
        assert done.status == "succeeded"
        return done

    def look(self, until: float | None = None) -> DriftReport:
        clock = self.at.clock
        clock.now += 3600
        sweep = DriftSweep(self.at.store, self.gate, cast(Any, self.place), clock, clock.sleep)
        return sweep.run(clock.now + 720 if until is None else until)

    def codes(self) -> list[str]:
        found = self.at.store.drift.get(OWN, "orders", "prod")
        return [one.code for one in found.findings] if found else []


@pytest.fixture
def here() -> Iterator[Here]:
    with simulation() as at:
        model = TriggersModel()
        at.model = model
        at.__post_init__()
        for name in ("orders", "orders-b", "orders-c"):
            model.add(name)
        yield Here(at, model, OnePlace(model))


def reported(report: DriftReport) -> list[tuple[str, list[str], list[str]]]:
    return [
        (one.status, [each.code for each in one.began], [each.code for each in one.ended])
        for one in report.saved
    ]


def test_what_serves_as_recorded_is_no_drift(here: Here) -> None:
    here.deploy()
    report = here.look()
    assert (report.looked, report.saved, report.unseen, report.finished) == (1, [], [], True)
    assert here.at.store.drift.current() == {}


def test_an_alias_that_somebody_moves_is_told_once_and_so_is_its_return(here: Here) -> None:
    here.deploy()
    moved = here.deploy(b"newer")
    here.model.set_alias("orders", "prod", "1")
    [began] = here.look().saved
    assert (began.status, began.deployment, began.revision) == ("began", moved.id, 1)
    assert [one.code for one in began.began] == ["alias_moved"]
    assert began.findings[0].data == {"version": "1", "weights": {}, "expected": "2"}
    assert here.look().saved == []
    assert here.look().saved == []
    here.model.set_alias("orders", "prod", "2")
    [ended] = here.look().saved
    assert (ended.status, ended.id, ended.revision) == ("ended", began.id, 2)
    assert [one.code for one in ended.ended] == ["alias_moved"]
    assert here.look().saved == []
    assert here.at.store.drift.current() == {}


def test_drift_that_comes_again_is_another_one(here: Here) -> None:
    here.deploy()
    here.deploy(b"newer")
    ids = []
    for version in ("1", "2", "1"):
        here.model.set_alias("orders", "prod", version)
        ids += [(one.id, one.revision) for one in here.look().saved]
    assert ids[0][0] == ids[1][0] != ids[2][0]
    assert ids[2][1] == 1


def test_weights_are_drift_too(here: Here) -> None:
    here.deploy()
    here.deploy(b"newer")
    here.model.set_alias("orders", "prod", "2", {"1": 0.1})
    [began] = here.look().saved
    assert began.began[0].message == (
        "the alias serves version 2, 10 % of it version 1; by the record it serves version 2"
    )
    assert here.look().saved == []


def test_an_alias_or_a_function_that_is_gone_is_drift(here: Here) -> None:
    here.deploy()
    here.model.functions["orders"]["aliases"].clear()
    assert reported(here.look()) == [("began", ["alias_gone"], [])]
    del here.model.functions["orders"]
    assert reported(here.look()) == [("changed", ["function_gone"], ["alias_gone"])]


def test_a_function_that_was_made_anew_has_other_code_under_the_same_number(here: Here) -> None:
    here.deploy()
    here.model.functions["orders"]["versions"]["1"]["CodeSha256"] = "b3RoZXI="
    assert reported(here.look()) == [("began", ["other_code"], [])]


SECRET = "hunter2-and-more"


def test_settings_that_the_next_version_would_ship_are_told_by_name(here: Here) -> None:
    here.model.configure("orders", Environment={"Variables": {"MODE": SECRET, "KEPT": "1"}})
    here.deploy()
    variables = {"KEPT": "1", "MODE": SECRET + "!", "NEW": SECRET}
    here.model.configure("orders", MemorySize=512, Environment={"Variables": variables})
    [began] = here.look().saved
    assert [one.code for one in began.began] == ["settings_changed"]
    assert began.began[0].data == {
        "version": "1",
        "changed": ["environment", "memory_size"],
        "variables": ["MODE", "NEW"],
    }
    assert SECRET not in repr(began)
    assert here.look().saved == []
    here.deploy(b"newer")  # ships them
    assert reported(here.look()) == [("ended", [], ["settings_changed"])]


def test_a_rollback_leaves_the_newer_settings_for_the_next_version(here: Here) -> None:
    here.deploy()
    here.model.configure("orders", Timeout=9)
    here.deploy(b"newer")
    assert here.look().saved == []
    here.model.functions["orders"]["latest"]["LastUpdateStatus"] = "InProgress"
    here.model.functions["orders"]["latest"]["Timeout"] = 10
    assert here.look().saved == []  # not settled


def test_a_new_deployment_makes_what_was_said_of_alias_and_settings_void(here: Here) -> None:
    here.deploy()
    here.model.configure("orders", Timeout=9)
    here.model.urls["orders", ""] = "NONE"
    here.look()
    drift = here.at.store.drift.current()[OWN.account, OWN.region, "orders", "prod"]
    assert [one.code for one in drift.of_deployment(drift.deployment)] == ["function_url", "settings_changed"]
    later = here.deploy(b"newer")
    assert [one.code for one in drift.of_deployment(later.id)] == ["function_url"]
    here.look()
    drift = here.at.store.drift.current()[OWN.account, OWN.region, "orders", "prod"]
    assert drift.deployment == later.id


def test_the_same_drift_under_a_new_deployment_is_noted_and_told_to_nobody(here: Here) -> None:
    here.model.urls["orders", ""] = "NONE"
    here.deploy()
    here.look()
    later = here.deploy(b"newer")
    [noted] = here.look().saved
    assert (noted.began, noted.ended, noted.deployment, noted.revision) == ((), (), later.id, 2)
    assert here.look().saved == []


TRIGGERS = [
    ("a mapping on $LATEST", {"sources": [("orders", "arn:q", "Enabled")]}, ["event_source"]),
    ("a mapping of $LATEST by name", {"sources": [("orders:$LATEST", "arn:q", "Enabled")]}, ["event_source"]),
    ("a mapping on the alias", {"sources": [("orders:prod", "arn:q", "Enabled")]}, []),
    ("a mapping on a version", {"sources": [("orders:1", "arn:q", "Creating")]}, ["event_source"]),
    ("a mapping that is off", {"sources": [("orders", "arn:q", "Disabled")]}, []),
    ("a mapping of another function", {"sources": [("orders-b", "arn:q", "Enabled")]}, []),
    (
        "mappings on the third page",
        {"sources": [("x", "arn:q", "Enabled")] * 5 + [("orders", "arn:z", "Enabled")]},
        ["event_source"],
    ),
    ("a URL of $LATEST", {"urls": {("orders", ""): "NONE"}}, ["function_url"]),
    ("a URL of the alias", {"urls": {("orders", "prod"): "AWS_IAM"}}, []),
    ("a URL of another alias", {"urls": {("orders", "mine"): "AWS_IAM"}}, ["function_url"]),
    ("API Gateway on $LATEST", {"policies": {("orders", ""): [permission("api")]}}, ["permission"]),
    ("API Gateway on the alias", {"policies": {("orders", "prod"): [permission("api")]}}, []),
    (
        "SNS and S3 on $LATEST",
        {"policies": {("orders", ""): [permission("a", "sns"), permission("b", "s3", "arn:b")]}},
        ["permission", "permission"],
    ),
    (
        "reading alone",
        {"policies": {("orders", ""): [permission("a", action="lambda:GetFunction")]}},
        [],
    ),
    (
        "a pattern of actions",
        {"policies": {("orders", ""): [permission("a", action=["lambda:Get*", "lambda:inv*"])]}},
        ["permission"],
    ),
    (
        "a denial",
        {"policies": {("orders", ""): [permission("a") | {"Effect": "Deny"}]}},
        [],
    ),
    (
        "no action at all",
        {"policies": {("orders", ""): [{"Effect": "Allow", "Principal": "*", "NotAction": "lambda:Get*"}]}},
        ["permission"],
    ),
]


@pytest.mark.parametrize(
    ("given", "codes"), [case[1:] for case in TRIGGERS], ids=[case[0] for case in TRIGGERS]
)
def test_what_bypasses_the_alias_is_drift(here: Here, given: dict[str, Any], codes: list[str]) -> None:
    vars(here.model).update(given)
    here.deploy()
    here.look()
    assert here.codes() == codes
    assert here.look().saved == []


def test_the_policy_of_an_alias_that_nobody_deploys_to_counts(here: Here) -> None:
    here.deploy()
    here.model.set_alias("orders", "mine", "1")
    here.model.policies["orders", "mine"] = [permission("api", source="arn:aws:execute-api:x")]
    here.look()
    [drift] = here.at.store.drift.current().values()
    assert drift.findings[0].message == (
        "a resource policy lets apigateway.amazonaws.com arn:aws:execute-api:x invoke mine: statement api"
    )


def test_a_policy_that_is_none_leaves_the_function_unseen(here: Here) -> None:
    here.deploy()
    here.model.raw_policy = "[]"
    report = here.look()
    assert (report.unseen, report.saved) == ([("orders", "UnreadableAnswer")], [])


# Deployments


def test_a_deployment_under_way_is_no_drift(here: Here) -> None:
    here.deploy()
    running = here.at.accept(here.at.upload("orders", b"newer"))
    here.model.set_alias("orders", "prod", "1", {"1": 0.1})
    assert here.look().saved == []
    assert running.id


def test_a_deployment_that_begins_during_the_look_is_no_drift(here: Here) -> None:
    here.deploy()
    here.deploy(b"newer")

    def begin(call: str) -> None:
        if call == "ListAliases":
            here.model.before = lambda _: None
            here.at.accept(here.at.upload("orders", b"third"))
            here.model.set_alias("orders", "prod", "1")

    here.model.before = begin
    assert here.look().saved == []


@pytest.mark.parametrize("call", ["GetFunction", "GetPolicy", "ListFunctionUrlConfigs"])
def test_a_deployment_that_ends_during_the_look_is_no_drift(here: Here, call: str) -> None:
    here.deploy()

    def deploy(made: str) -> None:
        if made == call:
            here.model.before = lambda _: None
            here.deploy(b"newer")

    here.model.before = deploy
    assert here.look().saved == []
    assert here.look().saved == []


# What the gate file deploys


def test_what_the_gate_file_no_longer_deploys_is_nobodys(here: Here) -> None:
    here.deploy()
    here.model.urls["orders", ""] = "NONE"
    here.look()
    entry: dict[str, Any] = {"pattern": "payments", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}
    here.gate = gate_of(functions=[entry])
    assert reported(here.look()) == [("ended", [], ["function_url"])]
    assert here.look().looked == 0


def test_the_alias_of_a_stage_that_was_renamed_is_looked_at_once(here: Here) -> None:
    """Both items say `live`; the newer deployment's counts."""
    here.deploy(stage="dev", alias="dev")
    here.deploy(b"newer")
    here.look()
    assert here.at.store.drift.current() == {}


# What lets nobody look


def denied() -> ClientError:
    return refused("AccessDenied", "is not authorized to perform: sts:AssumeRole", 403)


def test_a_place_that_lets_nobody_in_is_told_once_and_so_is_its_end(here: Here) -> None:
    here.deploy()
    here.deploy(function="orders-b")
    here.place.refusal = denied()
    [began] = here.look().saved
    assert (began.function, began.alias, began.account) == ("", "", OWN.account)
    assert began.findings[0].data == {"action": "sts:AssumeRole", "error": "AccessDenied"}
    assert here.place.entered == 2  # once more, as a change of IAM's takes seconds
    assert here.look().saved == []
    here.place.refusal = None
    assert reported(here.look()) == [("ended", [], ["denied"])]
    assert here.look().saved == []


def test_one_refused_call_leaves_the_rest_of_the_look(here: Here) -> None:
    here.deploy()
    here.deploy(b"newer")
    here.model.set_alias("orders", "prod", "1")
    here.model.urls["orders", ""] = "NONE"
    here.look()

    def refuse(call: str) -> None:
        if call == "GetPolicy":
            raise refused("AccessDeniedException", "no", 403)

    here.model.before = refuse
    here.model.set_alias("orders", "prod", "2")
    here.model.urls.clear()
    # The alias is back. Of the triggers nobody knows, so what was found stays.
    assert reported(here.look()) == [("began", ["denied"], []), ("changed", [], ["alias_moved"])]
    assert here.codes() == ["function_url"]
    assert here.look().saved == []


def test_a_throttled_call_is_tried_again_and_slower(here: Here) -> None:
    here.deploy()
    left = [3]

    def throttle(call: str) -> None:
        if call == "ListAliases" and left[0]:
            left[0] -= 1
            raise refused("TooManyRequestsException", "Rate exceeded", 429)

    here.model.before = throttle
    before = here.at.clock.now + 3600
    report = here.look()
    assert (report.looked, report.unseen) == (1, [])
    assert here.at.clock.now - before > 1


def test_a_place_that_throttles_all_calls_is_left_and_the_others_are_not(here: Here) -> None:
    names = ("orders", "orders-b", "orders-c", "orders-d")
    here.model.add("orders-d")
    for name in names:
        here.deploy(function=name)

    def throttle(_: str) -> None:
        raise refused("TooManyRequestsException", "Rate exceeded", 429)

    here.model.before = throttle
    report = here.look()
    assert report.unseen == [(name, "TooManyRequestsException") for name in names[:3]]
    assert report.finished


# Runs


def test_a_run_whose_time_is_over_goes_on_with_the_next(here: Here) -> None:
    for name in ("orders", "orders-b", "orders-c"):
        here.deploy(function=name)
        here.model.urls[name, ""] = "NONE"
    seen = []
    for _ in range(3):
        report = here.look(until=here.at.clock.now + 3600 + 0.5)
        seen.append((report.looked, report.finished))
        if report.finished:
            break
    assert len(seen) > 1
    assert seen[-1][1]
    assert len(here.at.store.drift.current()) == 3
    assert here.at.store.drift.position().after == ""


def test_two_runs_at_once_write_one_change(here: Here) -> None:
    here.deploy()
    here.model.urls["orders", ""] = "NONE"
    inner: list[DriftReport] = []

    def again(call: str) -> None:
        if call == "GetPolicy":
            here.model.before = lambda _: None
            inner.append(here.look())

    here.model.before = again
    outer = here.look()
    assert reported(inner[0]) == [("began", ["function_url"], [])]
    assert (outer.saved, outer.unseen) == ([], [("orders", "StaleRevision")])


def test_a_change_is_written_on_what_was_read(here: Here) -> None:
    here.deploy()
    here.model.urls["orders", ""] = "NONE"
    [drift] = here.look().saved
    drifts = here.at.store.drift
    drifts.save(drift, drift.changed((), drift.deployment, here.at.clock()))
    with pytest.raises(StaleRevision):
        drifts.save(drift, replace(drift, revision=2))
    assert isinstance(drifts.get(OWN, "orders", "prod"), Drift)


# The quota that deployments use too


def test_the_calls_of_a_look_are_taken_from_the_budget(here: Here) -> None:
    here.deploy()
    taken: list[int] = []
    budget = here.at.store.calls
    take = budget.take_if_free

    def count(target: Target, calls: int) -> bool:
        taken.append(calls)
        return take(target, calls)

    vars(budget)["take_if_free"] = count
    here.model.calls.clear()
    here.look()
    shared = [name for name in here.model.calls if name not in OWN_QUOTA]
    assert 0 <= sum(taken) - len(shared) < PARCEL


def test_a_look_waits_for_deployments_in_line_and_goes_on_after_a_minute(here: Here) -> None:
    here.deploy()
    for number in range(3):
        claim = CallClaim(f"other-{number}", f"owner-{number}", CallClass.DEPLOY, 14)
        take(here.at.store.calls, OWN, claim, in_line=False)
    here.at.clock.now -= 3600
    began = here.at.clock.now
    first: list[float] = []
    here.model.before = lambda _: first.append(here.at.clock.now)
    here.look()
    # Those in line never come for theirs, and block nobody when they are late.
    assert 5 < first[0] - began - 3600 < 12


def test_a_throttled_look_leaves_deployments_more(here: Here) -> None:
    here.deploy()
    failed: list[str] = []

    def throttle(name: str) -> None:
        if name == "ListAliases" and not failed:
            failed.append(name)
            raise refused("TooManyRequestsException", "Rate exceeded", 429)

    here.model.before = throttle
    here.look()
    here.at.store.calls.line(OWN)
    claim = CallClaim("one", "one", CallClass.DEPLOY, 4)
    assert here.at.store.calls.take(OWN, claim, in_line=False) is None
    item = here.at.client.get_item(
        TableName="sluicegate",
        Key={"pk": {"S": f"budget#{OWN.account}#{OWN.region}"}, "sk": {"S": "bucket"}},
    )["Item"]
    assert float(item["rate"]["N"]) < START_RATE
