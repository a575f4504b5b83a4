"""Which alarm rings, since when and why, as CloudWatch says it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from sluicegate.aws.alarms import MAX_MATCHES, MAX_PAGES, MAX_REASON
from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.metric_data import LookFailed
from sluicegate.deployment.observations import AlarmReading, AlarmState
from support.cloudwatch_model import CloudWatchModel

RANG = datetime(2026, 11, 26, 14, 2, 3, 456_000, tzinfo=UTC)
LATER = datetime(2026, 11, 26, 15, tzinfo=UTC)
CONSOLE = "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#alarmsV2:alarm/"
OK, ALARM, MISSING = AlarmState.OK, AlarmState.ALARM, AlarmState.MISSING


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client(
        "cloudwatch", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def model(*names: str, state: AlarmState = OK, **details: Any) -> CloudWatchModel:
    return CloudWatchModel(
        alarms=dict.fromkeys(names, state), details={name: dict(details) for name in names}
    )


def read(model: CloudWatchModel, *names: str) -> tuple[AlarmReading, ...]:
    return CloudWatch(cast(Any, model)).alarm_readings(names)


def test_metric_and_composite_alarms_are_read_in_one_call_in_order(client: Any, stub: Stubber) -> None:
    stub.add_response(
        "describe_alarms",
        {
            "MetricAlarms": [{"AlarmName": "b", "StateValue": "OK"}],
            "CompositeAlarms": [{"AlarmName": "a", "StateValue": "ALARM"}],
        },
        {"AlarmNames": ["a", "missing", "b"], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]},
    )
    found = CloudWatch(client).alarm_readings(["a", "missing", "b"])
    assert [(alarm.name, alarm.state) for alarm in found] == [("a", ALARM), ("missing", MISSING), ("b", OK)]


def test_without_alarms_there_is_no_call(client: Any, stub: Stubber) -> None:
    assert stub is not None
    assert CloudWatch(client).alarm_readings([]) == ()


def test_alarms_on_a_second_page_exist() -> None:
    at = model("a", "b")
    at.composites["b"] = []
    assert [alarm.name for alarm in read(at, "b", "a")] == ["b", "a"]


def test_the_time_is_that_of_the_state() -> None:
    """StateUpdatedTimestamp also moves where the state stays the same (CompositeAlarm, 2026-11-26)."""
    at = model("orders-5xx", state=ALARM, StateTransitionedTimestamp=RANG, StateUpdatedTimestamp=LATER)
    [alarm] = read(at, "orders-5xx")
    assert alarm.since == "2026-11-26T14:02:03.456Z"
    del at.details["orders-5xx"]["StateTransitionedTimestamp"]
    [alarm] = read(at, "orders-5xx")
    assert alarm.since == "2026-11-26T15:00:00.000Z"


def test_the_reason_is_cloudwatchs_own() -> None:
    text = "Threshold Crossed: 1 datapoint [7.0 (26/11/26 14:01:00)] was greater than the threshold (5.0)."
    [alarm] = read(model("orders-5xx", state=ALARM, StateReason=text), "orders-5xx")
    assert alarm.reason == text


def test_the_reason_is_bounded_and_clean() -> None:
    [alarm] = read(model("a", state=ALARM, StateReason="\x1b[31m" + "x" * 5_000), "a")
    assert alarm.reason is not None
    assert len(alarm.reason) == MAX_REASON
    assert alarm.reason.isprintable()
    [alarm] = read(model("a", StateReason=""), "a")
    assert alarm.reason is None


def test_a_composite_alarms_reason_names_the_child() -> None:
    """CloudWatch user guide, "Alarm events and EventBridge", read on 2026-11-26."""
    reason = (
        "arn:aws:cloudwatch:eu-central-1:111111111111:alarm:orders-5xx transitioned to ALARM at "
        "Friday 22 July, 2022 15:57:45 UTC"
    )
    at = model("orders", state=ALARM, StateReason=reason, ActionsSuppressedBy="Alarm")
    at.composites["orders"] = []
    [alarm] = read(at, "orders")
    assert alarm.state is ALARM
    assert alarm.reason == "orders-5xx transitioned to ALARM at Friday 22 July, 2022 15:57:45 UTC"


@pytest.mark.parametrize(
    ("arn", "name", "link"),
    [
        ("arn:aws:cloudwatch:eu-central-1:111111111111:alarm:a", "a", CONSOLE + "a"),
        ("arn:aws:cloudwatch:eu-central-1:111111111111:alarm:x", "a b/#?&", CONSOLE + "a%20b%2F%23%3F%26"),
        (
            "arn:aws-cn:cloudwatch:cn-north-1:111111111111:alarm:a",
            "a",
            "https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1#alarmsV2:alarm/a",
        ),
        ("arn:aws-iso:cloudwatch:us-iso-east-1:111111111111:alarm:a", "a", None),
        ("arn:aws:cloudwatch:evil.example/:111111111111:alarm:a", "a", None),
        ("", "a", None),
    ],
)
def test_the_link_leads_to_the_alarm_and_nowhere_else(arn: str, name: str, link: str | None) -> None:
    [alarm] = read(model(name, AlarmArn=arn), name)
    assert alarm.link == link


@pytest.mark.parametrize(
    "details",
    [
        {"StateValue": "INSUFFICIENT_DATA", "EvaluationState": "EVALUATION_ERROR"},
        {"StateValue": "OK", "EvaluationState": "EVALUATION_FAILURE"},
        {"StateValue": "NEW_STATE"},
    ],
)
def test_an_alarm_that_cloudwatch_cannot_evaluate_is_not_taken_for_a_silent_one(
    details: dict[str, str],
) -> None:
    """MetricAlarm's EvaluationState (API reference, read on 2026-11-26)."""
    at = model("orders-a")
    at.details["orders-a"] = details
    for name in ("orders-a", "orders-*"):
        with pytest.raises(LookFailed):
            read(at, name)
    assert read(at, "orders-b*")[0].state is MISSING  # an alarm that nobody watches is no concern


def test_an_alarm_that_does_not_exist_is_missing() -> None:
    assert read(model("a"), "b") == (AlarmReading("b", MISSING),)


def test_a_pattern_stands_for_every_alarm_that_it_matches() -> None:
    at = model("orders-api-5xx", "orders-api-slow", "orders-web-5xx", "orders-api/deep", "other")
    at.alarms["orders-api-5xx"] = ALARM
    at.composites["orders-api-5xx"] = []
    found = read(at, "other", "orders-api-*", "orders-*-5xx")
    assert [(alarm.name, alarm.state) for alarm in found] == [
        ("other", OK),
        ("orders-api-5xx", ALARM),
        ("orders-api-slow", OK),
        ("orders-web-5xx", OK),
    ]
    assert at.reads == 3
    assert [alarm.name for alarm in read(at, "orders-api**")][-1] == "orders-api/deep"


def test_a_pattern_that_matches_nothing_is_missing() -> None:
    """It would warn nobody, as an alarm that does not exist."""
    [alarm] = read(model("another"), "orders-*")
    assert (alarm.name, alarm.state) == ("orders-*", MISSING)
    assert alarm.reason


def test_a_pattern_finds_so_many_alarms_at_most() -> None:
    names = [f"orders-{index:04}" for index in range(MAX_MATCHES)]
    assert len(read(model(*names), "orders-*")) == MAX_MATCHES
    with pytest.raises(LookFailed, match=r"narrower"):
        read(model(*names, "orders-more"), "orders-*")
    with pytest.raises(LookFailed, match=r"narrower"):
        read(model(*names), "orders-0*", "orders-00*")


def test_a_prefix_finds_so_many_alarms_at_most() -> None:
    """Pages are read up to a bound. An alarm that was not read is never taken for one that is silent."""
    names = [f"a-{index:05}" for index in range(100 * MAX_PAGES)]
    assert [alarm.name for alarm in read(model(*names, "b"), "a*99999", "b")] == ["a*99999", "b"]
    with pytest.raises(LookFailed, match="longer beginning"):
        read(model(*names, "a-zzzzz"), "a-*zz")
