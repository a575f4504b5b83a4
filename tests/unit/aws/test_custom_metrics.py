"""The user's own metrics: read by the minute, evaluated by CloudWatch, and each wrong one by itself."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.custom_metrics import MetricReadings, read_custom_metrics
from sluicegate.aws.metric_data import LookFailed
from sluicegate.aws.version_metrics import BEFORE, SeriesRequest
from sluicegate.deployment.plan import CustomMetric, MetricSource
from sluicegate.rollout.presets import PresetOptions, expand
from sluicegate.rollout.readings import MetricValues, Minute, Series
from support.cloudwatch_model import CloudWatchModel

START = 1_780_000_020  # the beginning of a minute
REQUEST = SeriesRequest("orders", "prod", "7", "6", START, START + 190)
SHOP = "Shop"
VERSION = (("Version", "{version}"),)


def source(name: str, *, stat: str = "Sum", dimensions: Any = VERSION) -> MetricSource:
    return MetricSource(name, SHOP, name.title(), stat, dimensions)


REFUSED = CustomMetric("refused", (source("refused"), source("calls")), "refused/calls", max_ratio=2)


def put(model: CloudWatchModel, name: str, minute: int, value: float, **dimensions: str) -> None:
    model.put(SHOP, name, dimensions, START + 60 * minute, value)


def read(
    model: CloudWatchModel,
    *metrics: CustomMetric,
    event_sources: tuple[str, ...] = (),
    request: SeriesRequest = REQUEST,
) -> MetricReadings:
    return read_custom_metrics(cast(Any, model), request, metrics, event_sources)


def counts(*minutes: tuple[int, int, int, int]) -> tuple[Minute, ...]:
    return tuple(Minute(START + 60 * i, *each) for i, each in enumerate(minutes))


def test_a_share_is_counted_by_the_minute_for_both_versions() -> None:
    model = CloudWatchModel()
    for minute, (n, x, m, y) in {0: (10, 1, 90, 2), 2: (12, 0, 80, 3)}.items():
        put(model, "Calls", minute, n, Version="7")
        put(model, "Refused", minute, x, Version="7")
        put(model, "Calls", minute, m, Version="6")
        put(model, "Refused", minute, y, Version="6")
    put(model, "Calls", -2, 100, Version="6")
    put(model, "Refused", -2, 4, Version="6")
    found = read(model, REFUSED)
    assert found.series["refused"].minutes == counts(
        (10, 1, 90, 2), (0, 0, 0, 0), (12, 0, 80, 3), (0, 0, 0, 0)
    )
    assert found.series["refused"].before == ((100, 4), (0, 0))
    assert not found.values
    [call] = model.calls
    assert call["StartTime"].timestamp() == START - BEFORE
    assert all(set(query) == {"Id", "MetricStat", "ReturnData"} for query in call["MetricDataQueries"])


def test_without_an_old_version_a_share_has_the_new_one_alone() -> None:
    model = CloudWatchModel()
    put(model, "Calls", 0, 10, Version="7")
    found = read(model, REFUSED, request=replace(REQUEST, old=None))
    assert found.series["refused"].minutes[0] == Minute(START, 10, 0, 0, 0)


def test_what_does_not_tell_versions_apart_is_read_once_and_as_the_new_versions() -> None:
    model = CloudWatchModel()
    alias = (("Alias", "prod"),)
    metric = CustomMetric(
        "all",
        (source("refused", dimensions=alias), source("calls", dimensions=alias)),
        "refused/calls",
        most=0.05,
    )
    put(model, "Calls", 1, 10, Alias="prod")
    put(model, "Refused", 1, 4, Alias="prod")
    found = read(model, metric)
    assert found.series["all"].minutes == counts((0, 0, 0, 0), (10, 4, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert len(model.calls[0]["MetricDataQueries"]) == 2


def test_hits_of_a_minute_without_their_trials_move_to_minutes_that_have_some() -> None:
    """FailedInvokeEventCount has the time of the invocation's end, InvokedEventCount that of its begin."""
    model = CloudWatchModel()
    put(model, "Calls", 0, 10, Version="7")
    put(model, "Refused", 1, 6, Version="7")
    put(model, "Calls", 2, 5, Version="7")
    put(model, "Refused", 2, 3, Version="7")
    found = read(model, REFUSED).series["refused"].minutes
    assert [(one.n, one.x) for one in found] == [(10, 4), (0, 0), (5, 5), (0, 0)]


def test_the_values_of_one_metric_are_read_without_an_expression() -> None:
    model = CloudWatchModel()
    metric = CustomMetric("age", (source("age", stat="Maximum"),), most=5)
    put(model, "Age", 0, 3, Version="7")
    put(model, "Age", 0, 7, Version="7")
    put(model, "Age", 2, 4, Version="7")
    put(model, "Age", 1, 2, Version="6")
    put(model, "Age", -5, 99, Version="7")
    assert read(model, metric).values["age"] == MetricValues(
        ((START, 7), (START + 120, 4)), ((START + 60, 2),), until=REQUEST.until
    )
    assert all("Expression" not in query for query in model.calls[0]["MetricDataQueries"])


def test_cloudwatch_evaluates_every_other_expression() -> None:
    model = CloudWatchModel()
    metric = CustomMetric("cost", (source("bill"), source("calls")), "100 * bill / (calls + bill)", most=5)
    for minute in (0, 1):
        put(model, "Bill", minute, 1 + minute, Version="7")
        put(model, "Calls", minute, 3, Version="7")
        put(model, "Calls", minute, 9, Version="6")
    found = read(model, metric).values["cost"]
    assert found == MetricValues(
        ((START, 25), (START + 60, 40)), ((START, 0), (START + 60, 0)), until=REQUEST.until
    )
    queries = model.calls[0]["MetricDataQueries"]
    assert [query["ReturnData"] for query in queries] == [False, False, True] * 2
    assert [query["Expression"] for query in queries if "Expression" in query] == [
        "100 * m0new0_0 / (m0new1_0 + m0new0_0)",
        "100 * m0old0_0 / (m0old1_0 + m0old0_0)",
    ]


def test_event_source_mappings_are_added_up() -> None:
    model = CloudWatchModel()
    for mapping, (failed, every) in {"a-1": (2, 10), "b-2": (3, 30), "foreign": (99, 99)}.items():
        dimensions = {"EventSourceMappingUUID": mapping}
        model.put("AWS/Lambda", "FailedInvokeEventCount", dimensions, START, failed)
        model.put("AWS/Lambda", "InvokedEventCount", dimensions, START, every)
        model.put("AWS/Lambda", "DroppedEventCount", dimensions, START + 60, failed)
    found = read(model, *expand("batch"), event_sources=("a-1", "b-2"))
    assert found.series["batch_failed"].minutes[0] == Minute(START, 40, 5, 0, 0)
    assert found.values["batch_dropped"].new == ((START + 60, 5),)
    assert found.values["batch_iterator_age"] == MetricValues(until=REQUEST.until)


def test_an_alias_without_event_source_mappings_has_no_data() -> None:
    model = CloudWatchModel()
    found = read(model, *expand("batch", PresetOptions(dead_letter_queue="dead")))
    assert all(one == Minute(one.at, 0, 0, 0, 0) for one in found.series["batch_failed"].minutes)
    assert found.values["batch_dropped"] == MetricValues(until=REQUEST.until)
    ids = [query["Id"] for call in model.calls for query in call["MetricDataQueries"]]
    assert len(ids) == 3  # the iterator's age, and the dead letters with their growth


@pytest.mark.parametrize(("max_ratio", "days"), [(None, 1), (2.0, 6)])
def test_values_are_by_the_minute_however_long_the_rollout_lasts(max_ratio: float | None, days: int) -> None:
    """A sum of an hour is another value than that of a minute. Counts add up, and are read by the hour."""
    model = CloudWatchModel()
    metric = CustomMetric("age", (source("age"),), most=50, max_ratio=max_ratio)
    last = 6 * 24 * 60
    for minute in (0, *range(last - 60, last)):
        put(model, "Age", minute, 40, Version="7")
        put(model, "Calls", minute, 1, Version="7")
    request = replace(REQUEST, until=START + 60 * last)
    found = read(model, metric, REFUSED, request=request)
    assert {value for _, value in found.values["age"].new} == {40}
    assert len(found.values["age"].new) == 60 + (days == 6)
    assert sum(one.n for one in found.series["refused"].minutes) == 61
    assert len(found.series["refused"].minutes) < 150
    age = next(call for call in model.calls if call["MetricDataQueries"][0]["MetricStat"]["Period"] == 60)
    assert age["StartTime"].timestamp() == request.until - days * 86_400


def test_the_growth_of_a_queue_is_what_counts() -> None:
    model = CloudWatchModel()
    for minute, visible in enumerate((4, 4, 9, 3)):
        model.put(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": "dead"},
            START + 60 * minute,
            visible,
        )
    [*_, metric] = expand("batch", PresetOptions(dead_letter_queue="dead"))
    found = read(model, metric).values["batch_dead_letters"]
    assert found.new == ((START + 60, 0), (START + 120, 5)), "the fourth minute is not over"


def test_a_wrong_expression_is_that_metrics_problem_alone() -> None:
    model = CloudWatchModel()
    wrong = CustomMetric("wrong", (source("age"),), "NOT_A_FUNCTION(age)", most=5)
    put(model, "Age", 0, 3, Version="7")
    put(model, "Calls", 0, 9, Version="7")
    age = CustomMetric("age", (source("age"),), "age * 2", most=5)
    found = read(model, REFUSED, wrong, age)
    assert found.values["wrong"].problem == (
        "CloudWatch refuses to read it: ValidationError: "
        "Error in expression 'e1new': Function 'NOT_A_FUNCTION' not found"
    )
    assert found.values["age"].new == ((START, 6),)
    assert found.series["refused"].minutes[0].n == 9


@pytest.mark.parametrize("value", [-1.0, 1e13, 1e308])
def test_what_cannot_be_a_count_is_that_metrics_problem_alone(value: float) -> None:
    model = CloudWatchModel()
    put(model, "Calls", 0, value, Version="7")
    put(model, "Age", 0, 3, Version="7")
    age = CustomMetric("age", (source("age"),), most=5)
    found = read(model, REFUSED, age)
    assert "cannot be a count" in (found.values["refused"].problem or "")
    assert "refused" not in found.series
    assert found.values["age"].new == ((START, 3),)


def test_a_wrong_statistic_of_a_share_is_its_problem() -> None:
    model = CloudWatchModel(refused=("SampleCount",))
    metric = CustomMetric(
        "share", (source("refused"), source("calls", stat="SampleCount")), "refused/calls", most=0.1
    )
    found = read(model, metric, REFUSED)
    assert found.values["share"].problem is not None
    assert "share" not in found.series
    assert "refused" in found.series


@pytest.mark.parametrize("code", ["Throttling", "InternalServiceFault", "AccessDenied"])
def test_every_other_error_is_raised(code: str) -> None:
    failure: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    model = CloudWatchModel(failure=ClientError(failure, "GetMetricData"))
    with pytest.raises(ClientError):
        read(model, REFUSED)


def test_an_error_while_the_metrics_are_read_alone_is_raised() -> None:
    """The first metric is wrong, and CloudWatch is throttled before the second one was asked for."""
    model = CloudWatchModel()
    wrong = CustomMetric("wrong", (source("age"),), "NOT_A_FUNCTION(age)", most=5)
    original, asked = model._data, list[Any]()

    def throttled(**request: Any) -> Any:
        asked.append(request)
        if len(asked) == 3:
            failure: Any = {"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(failure, "GetMetricData")
        return original(**request)

    model._data = throttled  # type: ignore[method-assign]
    age = CustomMetric("age", (source("age"),), "age * 2", most=5)
    with pytest.raises(ClientError):
        read(model, wrong, age)


@pytest.mark.parametrize("status", ["InternalError", "PartialData", "Forbidden"])
def test_values_that_are_not_complete_are_no_values(status: str) -> None:
    model = CloudWatchModel(status=lambda _: status)
    with pytest.raises(LookFailed):
        read(model, REFUSED)


def test_a_day_of_minutes_is_read_by_longer_periods() -> None:
    model = CloudWatchModel()
    request = replace(REQUEST, since=START - 2 * 86_400, until=START)
    put(model, "Calls", -1, 9, Version="7")
    found = read(model, REFUSED, request=request).series["refused"].minutes
    assert sum(one.n for one in found) == 9
    assert {later.at - one.at for one, later in pairwise(found)} == {300}
    assert {query["MetricStat"]["Period"] for query in model.calls[0]["MetricDataQueries"]} == {300}


def test_many_mappings_take_several_calls_that_keep_an_expression_with_its_sources() -> None:
    model = CloudWatchModel()
    mappings = tuple(f"m-{i}" for i in range(100))
    metrics = [
        CustomMetric(
            f"metric{i}",
            tuple(
                source(name, dimensions=(("EventSourceMappingUUID", "{event_source}"),))
                for name in ("a", "b")
            ),
            "a + b",
            most=5,
        )
        for i in range(6)
    ]
    read(model, *metrics, event_sources=mappings)
    assert [len(call["MetricDataQueries"]) for call in model.calls] == [402, 402, 402]


def test_nothing_is_asked_for_nothing() -> None:
    model = CloudWatchModel()
    assert read(model) == MetricReadings({}, {})
    assert model.calls == []


def test_pages_are_put_together() -> None:
    model = CloudWatchModel(paged=True)
    for minute in range(4):
        put(model, "Calls", minute, 9, Version="7")
    assert [one.n for one in read(model, REFUSED).series["refused"].minutes] == [9] * 4


def test_an_empty_series_has_every_minute() -> None:
    assert read(CloudWatchModel(), REFUSED).series["refused"] == Series(counts(*[(0, 0, 0, 0)] * 4))
