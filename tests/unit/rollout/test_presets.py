"""Presets: each has limits that a gate file could have, on metrics with the dimensions that AWS sends.

Sources of the dimensions: `sluicegate.rollout.presets`.
"""

import pytest

from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import CustomMetric
from sluicegate.gate import metric_names
from sluicegate.rollout.presets import NAMES, PresetError, PresetOptions, expand
from sluicegate_gatefile.metric_math import check

API = PresetOptions(api="orders", api_stage="{stage}")
HTTP_API = PresetOptions(api_id="a1b2c3d4e5", api_stage="$default")
QUEUE = PresetOptions(dead_letter_queue="{function}-dead")
EVERY = [
    *(metric for name in NAMES if name != "api" for metric in expand(name)),
    *expand("api", API),
    *expand("api", HTTP_API),
    *expand("batch", QUEUE),
]
VERSIONS = {"Url5xxCount", "UrlRequestCount"}
ALIASES = {"IteratorAge", "DeadLetterErrors", "DestinationDeliveryFailures"}
MAPPINGS = {
    "FailedInvokeEventCount",
    "InvokedEventCount",
    "DroppedEventCount",
    "OnFailureDestinationDeliveredEventCount",
}
FUNCTIONS = {
    *("AsyncEventsReceived", "AsyncEventAge", "AsyncEventsDropped"),
    *("DurableExecutionStarted", "DurableExecutionFailed", "DurableExecutionTimedOut"),
}
DIMENSIONS = {
    **dict.fromkeys(VERSIONS, ("FunctionName", "Resource", "ExecutedVersion")),
    **dict.fromkeys(ALIASES, ("FunctionName", "Resource")),
    **dict.fromkeys(MAPPINGS, ("EventSourceMappingUUID",)),
    **dict.fromkeys(FUNCTIONS, ("FunctionName",)),
}


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_a_gate_file_could_have_it(metric: CustomMetric) -> None:
    assert metric_names.problem(metric) is None
    if metric.expression:
        check(metric.expression, [source.id for source in metric.sources])


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_it_has_the_dimensions_that_aws_sends(metric: CustomMetric) -> None:
    for source in metric.sources:
        if source.namespace == "AWS/Lambda":
            assert tuple(name for name, _ in source.dimensions) == DIMENSIONS[source.metric]


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_only_what_tells_versions_apart_is_compared_with_the_old_one(metric: CustomMetric) -> None:
    assert (metric.max_ratio is not None) == metric.by_version
    assert metric.most is not None


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_a_share_without_data_is_unclear_and_a_sum_without_data_is_good(metric: CustomMetric) -> None:
    assert metric.missing is (Verdict.UNCLEAR if metric.share else Verdict.GOOD)


def test_names_are_different_and_say_the_preset() -> None:
    for name in NAMES:
        metrics = expand(name, API if name == "api" else PresetOptions())
        assert {metric.preset for metric in metrics} == {name}
        assert all(metric.name.startswith(f"{name}_") for metric in metrics)
    names = [
        metric.name for name in NAMES for metric in expand(name, API if name == "api" else PresetOptions())
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("api", PresetOptions(), "needs"),
        ("api", PresetOptions(api="orders"), "needs"),
        ("api", PresetOptions(api="orders", api_id="a1", api_stage="prod"), "needs"),
        ("api", PresetOptions(api_stage="prod"), "needs"),
        ("url", PresetOptions(api="orders"), "takes no `api`"),
        ("async", PresetOptions(dead_letter_queue="q"), "takes no `dead_letter_queue`"),
    ],
)
def test_options_that_are_missing_or_foreign_are_refused(
    name: str, options: PresetOptions, reason: str
) -> None:
    with pytest.raises(PresetError, match=reason):
        expand(name, options)


def test_there_is_no_other_preset() -> None:
    with pytest.raises(KeyError):
        expand("kafka")
