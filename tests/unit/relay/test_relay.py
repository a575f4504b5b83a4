"""Each change of a deployment is an event, published at least once and in order, whatever fails."""

import itertools
import json
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.drift import Drift, DriftFinding, drift_of_alias
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Reason, Status
from sluicegate.deployment.observations import LimitFinding, Observation, Verdict
from sluicegate.deployment.plan import Target, TrafficStep
from sluicegate.deployment.views import view
from sluicegate.relay import event as events
from sluicegate.relay.relay import Relay
from sluicegate.store import codec as records
from support.simulation import START, new_deployment

BOARD = "https://deploy.example.com/v1/board"

ROOT = Path(__file__).parents[3]
STREAM = "arn:aws-cn:dynamodb:eu-central-1:111111111111:table/sluicegate/stream/2026-11-01T00:00:00.000"


def image(deployment: Deployment) -> dict[str, Any]:
    """The deployment's record as DynamoDB has it."""
    return records.marshal(records.record(deployment))


def record(deployment: Deployment, sequence: str = "1", name: str = "MODIFY") -> dict[str, Any]:
    """The record of the table's stream for this revision, as Lambda gives it to a function."""
    return {
        "eventID": "e",
        "eventName": name,
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "eventSourceARN": STREAM,
        "dynamodb": {
            "ApproximateCreationDateTime": 1_780_000_000,
            "Keys": {"pk": {"S": f"deployment#{deployment.id}"}, "sk": {"S": "record"}},
            "NewImage": image(deployment),
            "OldImage": {},
            "SequenceNumber": sequence,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def history(function: str = "orders", revisions: int = 2) -> list[Deployment]:
    """A deployment, revision by revision."""
    found = [new_deployment(START, "a" * 64, function)]
    while len(found) < revisions:
        found.append(found[-1].changed(START + len(found), "on it", Status.PUBLISHING))
    return found


def event(deployment: Deployment) -> events.DeploymentEvent:
    found = events.from_record(record(deployment), BOARD)
    assert found is not None
    return found


# The event


def test_the_first_revision_has_nothing_before_it() -> None:
    [accepted] = history(revisions=1)
    detail = json.loads(event(accepted).detail)
    assert (detail["status"], detail["previous_status"], detail["final"]) == ("accepted", None, False)
    assert detail["entry"] == view(accepted)["timeline"][0]


def test_a_change_says_what_was_before_and_the_newest_entry_alone() -> None:
    changed = history()[-1]
    detail = json.loads(event(changed).detail)
    assert (detail["previous_status"], detail["status"], detail["revision"]) == ("accepted", "publishing", 2)
    assert detail["entry"] == view(changed)["timeline"][-1]
    assert "timeline" not in detail


def test_a_write_that_makes_no_revision_is_no_event() -> None:
    """The janitor notes when a record is due."""
    [accepted] = history(revisions=1)
    put_off = record(accepted)
    put_off["dynamodb"]["OldImage"] = image(accepted)
    put_off["dynamodb"]["NewImage"] = {**image(accepted), "due": {"S": "2030-01-01T00:00:00.000Z"}}
    assert events.from_record(put_off, BOARD) is None
    put_off["dynamodb"]["OldImage"] = {}
    assert events.from_record(put_off, BOARD) is not None


def test_everything_else_has_the_names_and_values_of_the_api() -> None:
    ended = replace(
        history()[-1].changed(START + 9, "the alias was moved by somebody else", Status.FAILED),
        version="42",
        weight=10,
        original=AliasState("41"),
        current=AliasState("41", {"42": 0.1}),
        outcome=AliasOutcome.LEFT_TO_OTHER,
        reason=Reason(
            "alias_moved", "somebody else was here", {"ratio": 0.5, "count": 3, "of": [None, True]}
        ),
        release="2026.11",
    )
    detail, shown = json.loads(event(ended).detail), view(ended)
    assert (detail.pop("version"), detail.pop("previous_status")) == (events.VERSION, "publishing")
    assert detail.pop("board") == f"{BOARD}/deployments/{ended.id}"
    assert detail.pop("deployed_version") == shown.pop("version") == "42"
    assert detail.pop("entry") == shown.pop("timeline")[-1]
    assert detail == shown


def test_the_event_is_of_the_function_and_of_when_the_change_was_made() -> None:
    entry = event(history()[-1]).entry("a-bus")
    assert entry["EventBusName"] == "a-bus"
    assert (entry["Source"], entry["DetailType"]) == ("sluicegate", "Sluicegate Deployment")
    assert entry["Resources"] == ["arn:aws-cn:lambda:eu-central-1:111111111111:function:orders"]
    assert entry["Time"] == datetime.fromtimestamp(START + 1, UTC)


def test_the_same_record_makes_the_same_event() -> None:
    changed = history()[-1]
    assert event(changed) == event(changed)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"pk": "request#0", "sk": "request"}, "INSERT"),
        ({"pk": "lock#1#eu#orders", "sk": "alias#prod"}, "INSERT"),
        ({"pk": "versions#1#eu#orders", "sk": "a" * 64}, "MODIFY"),
        ({"pk": "serving", "sk": "orders#prod"}, "MODIFY"),
    ],
)
def test_what_is_no_deployment_makes_no_event(keys: dict[str, str], name: str) -> None:
    other = record(history()[0], name=name)
    other["dynamodb"]["Keys"] = {key: {"S": value} for key, value in keys.items()}
    assert events.from_record(other, BOARD) is None


def test_a_removed_record_makes_no_event() -> None:
    removed = record(history()[0], name="REMOVE")
    removed["dynamodb"]["OldImage"] = removed["dynamodb"].pop("NewImage")
    assert events.from_record(removed, BOARD) is None


def test_data_without_bounds_is_left_out() -> None:
    def ended(data: dict[str, Any]) -> Any:
        deployment = replace(history()[-1], reason=Reason("metric", "too slow", data))
        return json.loads(event(deployment).detail)["reason"]

    assert ended({"x": "y" * 1_000})["data"] == {"x": "y" * 1_000}
    assert ended({"x": "y" * 100_000}) == {"code": "metric", "message": "too slow", "data": {}}


def test_an_event_has_the_newest_observation_and_of_a_large_one_the_verdict() -> None:
    def observed(findings: int) -> Any:
        finding = LimitFinding("errors", "max_ratio", Verdict.UNCLEAR, "m" * 512)
        looks = tuple(
            Observation(f"2026-11-26T14:00:0{index}.000Z", 0, 0.1, Verdict.UNCLEAR, (finding,) * findings)
            for index in (1, 2)
        )
        return json.loads(event(replace(history()[-1], observations=looks)).detail)

    small, large = observed(3), observed(500)

    assert small["observation"]["at"] == "2026-11-26T14:00:02.000Z"
    assert len(small["observation"]["findings"]) == 3
    assert "observations" not in small
    assert (large["observation"]["verdict"], large["observation"]["findings"]) == ("unclear", [])
    assert len(json.dumps(large)) < events.MAX_BATCH_BYTES


def test_the_largest_deployment_fits_with_room_to_spare() -> None:
    long = "\U0001f600" * 256
    one = history("f" * 64)[-1]
    by = replace(
        one.requested_by,
        **dict.fromkeys(("issuer", "project_id", "project_path", "user_login", "job_id", "ref"), long),
    )
    largest = replace(
        one,
        rule=long,
        release=long,
        description=long,
        requested_by=by,
        plan=replace(one.plan, steps=tuple(TrafficStep(percent, 86_399) for percent in range(1, 101))),
        reason=Reason("metric", long, {"x": "y" * 16_000}),
        timeline=tuple(replace(entry, message=long) for entry in one.timeline) * 500,
    )
    assert event(largest).size < events.MAX_BATCH_BYTES / 4


# The publication


def numbered(deployments: list[Deployment]) -> list[dict[str, Any]]:
    return [record(deployment, str(100 + i)) for i, deployment in enumerate(deployments)]


class FakeBus:
    """The PutEvents of EventBridge; `fate` decides which entries of each call succeed."""

    def __init__(self, fate: Any = lambda entries: [True] * len(entries)) -> None:
        self.fate = fate
        self.heard: list[tuple[str, int]] = []
        self.calls: list[list[tuple[str, int]]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        details = [json.loads(entry["Detail"]) for entry in Entries]
        call = [(detail["id"], detail["revision"]) for detail in details]
        self.calls.append(call)
        results = []
        for heard, taken in zip(call, self.fate(Entries), strict=True):
            if taken:
                self.heard.append(heard)
            results.append({"EventId": "e"} if taken else {"ErrorCode": "ThrottlingException"})
        return {"Entries": results, "FailedEntryCount": sum("ErrorCode" in one for one in results)}


class Notes:
    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, code: str, **fields: Any) -> None:
        self.taken.append((code, fields))


def test_a_batch_of_many_goes_out_ten_at_a_time() -> None:
    bus = FakeBus()
    deployments = [history(f"orders-{i}", 1)[0] for i in range(23)]
    assert Relay(cast(Any, bus), "bus", BOARD, Notes()).relay(numbered(deployments)) is None
    assert [len(call) for call in bus.calls] == [10, 10, 3]
    assert bus.heard == [(deployment.id, 1) for deployment in deployments]


def test_two_revisions_of_a_deployment_are_never_in_one_call() -> None:
    bus = FakeBus()
    one, other = history("one", 3), history("other", 1)
    Relay(cast(Any, bus), "bus", BOARD, Notes()).relay(numbered([one[0], *other, one[1], one[2]]))
    assert [len(call) for call in bus.calls] == [2, 1, 1]


def test_a_call_is_never_too_large() -> None:
    large = Reason("metric", "m", {"x": "y" * 16_000})
    queued = [
        events.DeploymentEvent(str(i), str(i), 1, datetime.now(UTC), "f", "x" * 60_000) for i in range(9)
    ]  # fmt: skip
    assert [len(call) for call in events.batches(queued)] == [4, 4, 1]
    assert sum(len(call) for call in events.batches([event(replace(history()[0], reason=large))])) == 1


def test_a_batch_without_changes_publishes_nothing() -> None:
    bus = FakeBus()
    other = record(history()[0])
    other["dynamodb"]["Keys"]["sk"] = {"S": "request"}
    assert Relay(cast(Any, bus), "bus", BOARD, Notes()).relay([other]) is None
    assert bus.calls == []


def test_the_first_of_those_that_failed_comes_again_and_nothing_after_its_call_was_sent() -> None:
    fates = iter([[True] * 10, [True, False, True, False] + [True] * 6])
    bus, notes = FakeBus(lambda _: next(fates)), Notes()
    deployments = [history(f"orders-{i}", 1)[0] for i in range(25)]
    assert Relay(cast(Any, bus), "bus", BOARD, notes).relay(numbered(deployments)) == "111"
    assert len(bus.calls) == 2
    assert [(code, fields["sequence"]) for code, fields in notes.taken] == [
        ("ThrottlingException", "111"),
        ("ThrottlingException", "113"),
    ]
    assert notes.taken[0][1]["deployment"] == deployments[11].id


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "PutEvents"), "ThrottlingException"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutEvents"), "AccessDeniedException"),
        (ReadTimeoutError(endpoint_url="https://events"), "ReadTimeoutError"),
    ],
)
def test_a_call_that_fails_comes_again_from_its_first_record(error: Exception, code: str) -> None:
    calls = itertools.count()

    def fate(entries: list[Any]) -> list[bool]:
        if next(calls) == 1:
            raise error
        return [True] * len(entries)

    bus, notes = FakeBus(fate), Notes()
    deployments = [history(f"orders-{i}", 1)[0] for i in range(25)]
    assert Relay(cast(Any, bus), "bus", BOARD, notes).relay(numbered(deployments)) == "110"
    assert [code for code, _ in notes.taken] == [code]


def test_a_record_that_is_no_deployment_stops_what_comes_after_it_alone() -> None:
    bus, notes = FakeBus(), Notes()
    records = numbered([history(f"orders-{i}", 1)[0] for i in range(4)])
    del records[2]["dynamodb"]["NewImage"]["plan"]
    assert Relay(cast(Any, bus), "bus", BOARD, notes).relay(records) == "102"
    assert len(bus.heard) == 2
    assert notes.taken == [("ValidationError", {"sequence": "102"})]


@st.composite
def _streams(draw: st.DrawFn) -> list[Deployment]:
    """Changes of a few deployments, each one's in order, mixed."""
    stories = [
        history(f"orders-{i}", draw(st.integers(1, 6))) for i in range(draw(st.integers(1, 14)))
    ]  # fmt: skip
    mixed: list[Deployment] = []
    while any(stories):
        story = draw(st.sampled_from([story for story in stories if story]))
        mixed.append(story.pop(0))
    return mixed


@given(_streams(), st.data())
def test_whatever_fails_nothing_is_lost_and_each_deployment_is_heard_in_order(
    stream: list[Deployment], data: st.DataObject
) -> None:
    """Lambda's part is to give the batch again from the record that the answer names, or all of it."""
    patience = iter(range(40))

    def fate(entries: list[Any]) -> list[bool]:
        if next(patience, None) is None:
            return [True] * len(entries)
        taken = data.draw(
            st.one_of(st.none(), st.lists(st.booleans(), min_size=len(entries), max_size=len(entries)))
        )
        if taken is None:
            raise ClientError({"Error": {"Code": "InternalException"}}, "PutEvents")
        return list(taken)

    bus = FakeBus(fate)
    records = numbered(stream)
    sequences = [one["dynamodb"]["SequenceNumber"] for one in records]
    batch, start = data.draw(st.integers(1, 20)), 0
    while start < len(records):
        given = records[start : start + batch]
        failed = Relay(cast(Any, bus), "bus", BOARD, Notes()).relay(given)
        start = start + len(given) if failed is None else sequences.index(failed)
    assert {(one.id, one.revision) for one in stream} == set(bus.heard)
    for deployment in {one.id for one in stream}:
        heard = [revision for id_, revision in bus.heard if id_ == deployment]
        assert heard == sorted(heard)


def test_the_relay_starts_with_little() -> None:
    """It runs at every change; none of the gateway's packages is of use to it."""
    unwanted = {"jwt", "pydantic", "yaml", "sluicegate.gate.policy"}
    code = (
        "import sys; sys.path[:0] = ['layers/shared/python', 'functions/relay']; import app; "
        f"print({unwanted} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


# Drift


def drift_record(drift: Drift, sequence: str = "7") -> dict[str, Any]:
    item = {"pk": "drift", "sk": "orders#111111111111#eu-central-1#prod", **asdict(drift)}
    item["name"] = item.pop("function")
    found = record(history()[0], sequence)
    found["dynamodb"]["Keys"] = {"pk": {"S": "drift"}, "sk": {"S": item["sk"]}}
    image_ = {name: value for name, value in item.items() if value is not None}
    found["dynamodb"]["NewImage"] = records.marshal(image_)
    return found


MOVED = DriftFinding("alias", "alias_moved", "the alias serves version 1", {"version": "1", "weights": {}})
BEGAN = drift_of_alias(
    Target("111111111111", "eu-central-1"), None, "orders", "prod", "prod", "01A", (MOVED,), START
)


def test_drift_is_an_event_when_it_begins_and_when_it_ends() -> None:
    began = events.from_record(drift_record(BEGAN), BOARD)
    ended = events.from_record(drift_record(BEGAN.changed((), "01A", START + 60)), BOARD)
    assert began is not None
    assert ended is not None
    assert began.entry("bus")["DetailType"] == "Sluicegate Drift"
    assert began.function == "arn:aws-cn:lambda:eu-central-1:111111111111:function:orders"
    detail = json.loads(began.detail)
    assert (detail["status"], detail["revision"], detail["id"]) == ("began", 1, BEGAN.id)
    assert [one["code"] for one in detail["findings"]] == ["alias_moved"]
    detail = json.loads(ended.detail)
    assert (detail["status"], detail["revision"], detail["findings"]) == ("ended", 2, [])
    assert [one["code"] for one in detail["ended"]] == ["alias_moved"]


def test_drift_that_is_only_noted_under_a_new_deployment_is_no_event() -> None:
    noted = BEGAN.changed((MOVED,), "01B", START + 60)
    assert events.from_record(drift_record(noted), BOARD) is None
    removed = drift_record(BEGAN)
    del removed["dynamodb"]["NewImage"]
    assert events.from_record(removed, BOARD) is None


def test_drift_of_a_place_names_no_function() -> None:
    drift = replace(BEGAN, function="", alias="", stage="", deployment="")
    event = events.from_record(drift_record(drift), BOARD)
    assert event is not None
    detail = json.loads(event.detail)
    assert (detail["function"], detail["alias"], detail["deployment"]) == (None, None, None)
