"""The gate file's own metrics, presets, and the function that judges: what they are, and what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Better, CustomMetric, Judge, MetricSource, Watch
from sluicegate.rollout.presets import NAMES, PresetOptions, expand
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile.compile import Report
from sluicegate_gatefile.schema.editors import json_schema

FILE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  prod:
    strategy: {type: canary, percent: 50, bake: 30m}
    watch:
      WATCH
functions:
  orders-*: {stages: {prod: {ENTRY}}}
rules:
  - name: orders
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [orders-*], stages: [prod]}
"""
LINE = 8
REFUSED = (
    "{name: refused, expression: refused/calls, max_ratio: 2, metrics: {"
    'refused: {namespace: Shop, metric: Refused, stat: Sum, dimensions: {Version: "{version}"}}, '
    'calls: {namespace: Shop, metric: Calls, stat: Sum, dimensions: {Version: "{version}"}}}}'
)
AGE = "{name: age, max: 5, metrics: {age: {namespace: Shop, metric: Age, stat: p99.9}}}"

Check = Callable[..., Report]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def check(watch: str, entry: str = "") -> Report:
        path = tmp_path / "sluicegate.yaml"
        path.write_text(FILE.replace("WATCH", watch).replace("ENTRY", entry))
        return gatefile.check(path)

    return check


def watched(report: Report) -> Watch:
    assert report.gate is not None, report.diagnostics
    placement = report.gate.place("orders-api", "prod")
    assert placement is not None
    assert placement.watch is not None
    return placement.watch


def message(report: Report, line: int = LINE) -> str:
    """The message of the only error."""
    [diagnostic] = report.diagnostics
    assert (diagnostic.line, diagnostic.severity) == (line, "error")
    assert report.gate is None
    return diagnostic.message


def test_a_metric_comes_to_its_sources_and_its_limit(check: Check) -> None:
    watch = watched(check(f"metrics: [{REFUSED}, {AGE}]"))
    version = (("Version", "{version}"),)
    assert watch.metrics == (
        CustomMetric(
            "refused",
            (
                MetricSource("refused", "Shop", "Refused", "Sum", version),
                MetricSource("calls", "Shop", "Calls", "Sum", version),
            ),
            "refused/calls",
            max_ratio=2,
        ),
        CustomMetric("age", (MetricSource("age", "Shop", "Age", "p99.9", ()),), most=5),
    )
    assert watch.metrics[0].share


def test_a_metric_may_be_better_higher_and_say_more(check: Check) -> None:
    more = "better: higher, min: 0.97, missing: bad, minutes: 5, min_samples: 20, mode: observe"
    [metric] = watched(check("metrics: [" + AGE.replace("max: 5", more) + "]")).metrics
    assert (metric.better, metric.most, metric.missing) == (Better.HIGHER, 0.97, Verdict.BAD)
    assert (metric.minutes, metric.min_samples, metric.observe) == (5, 20, True)


def test_dimensions_are_filled_in_when_the_plan_is_made(check: Check) -> None:
    text = AGE.replace(
        "stat: p99.9", 'stat: p99.9, dimensions: {At: "{function}:{alias}@{stage}/{version}/{event_source}"}'
    ).replace("p99.9", "Maximum")
    [metric] = watched(check(f"metrics: [{text}]")).metrics
    assert metric.sources[0].dimensions == (("At", "orders-api:prod@prod/{version}/{event_source}"),)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "api"])
def test_a_preset_is_a_name(check: Check, name: str) -> None:
    found = [metric.name for metric in watched(check(f"presets: [{name}]")).metrics]
    assert found == [metric.name for metric in expand(name)]


def test_a_preset_may_have_options(check: Check) -> None:
    rest = "{name: api, api: orders, api_stage: '{stage}'}"
    queue = "{name: batch, dead_letter_queue: '{function}-dead'}"
    watch = watched(check(f"presets: [{rest}, {queue}, durable]"))
    assert {metric.preset for metric in watch.metrics} == {"api", "batch", "durable"}
    [api] = [metric for metric in watch.metrics if metric.preset == "api"]
    assert api.sources[0].dimensions == (("ApiName", "orders"), ("Stage", "prod"))
    [dead] = [metric for metric in watch.metrics if metric.name == "batch_dead_letters"]
    assert dead.sources[0].dimensions == (("QueueName", "orders-api-dead"),)


def test_a_metric_of_ones_own_replaces_that_of_a_preset(check: Check) -> None:
    text = AGE.replace("name: age", "name: batch_iterator_age")
    metrics = watched(check(f"presets: [batch]\n      metrics: [{text}]")).metrics
    assert [metric.preset for metric in metrics if metric.name == "batch_iterator_age"] == [None]
    assert len(metrics) == len(expand("batch"))


def test_a_list_of_presets_replaces_the_stages(check: Check) -> None:
    watch = watched(check("presets: [batch]", "watch: {presets: [async]}"))
    assert {metric.preset for metric in watch.metrics} == {"async"}


def test_a_function_judges(check: Check) -> None:
    assert watched(check("judge: {function: orders-judge}")).judge == Judge("orders-judge", 10)
    assert watched(check("judge: {function: orders-judge, timeout: 30s}")).judge == Judge("orders-judge", 30)


def test_a_watch_says_how_long_alarms_may_ring_after_a_fix(check: Check) -> None:
    alarms = "alarms: [orders-5xx]"
    assert watched(check(alarms)).silent_within == 600
    longer = f"{alarms}\n      fix_forward: {{silent_within: 20m}}"
    assert watched(check(longer)).silent_within == 1_200
    assert watched(check(longer, "watch: {fix_forward: {silent_within: 5m}}")).silent_within == 300
    for wrong in ("25h", "0s", "10"):
        assert not check(longer.replace("20m", wrong)).ok


@pytest.mark.parametrize(
    ("watch", "reason"),
    [
        ("presets: [kafka]", "batch"),
        ("presets: [batch, batch]", "the preset `batch` is here already"),
        ("presets: [api]", "`api` needs"),
        ("presets: [{name: api, api: orders}]", "`api` needs"),
        ("presets: [{name: url, api: orders}]", "`url` takes no `api`"),
        ("presets: [{name: batch, dead_letter_queue: '{queue}'}]", "has a brace that is not a placeholder"),
        ("presets: [{api: orders}]", "name"),
        ("presets: [5]", "expected a string"),
        (f"metrics: [{REFUSED}, {REFUSED}]", "there is a metric `refused` already"),
        ("metrics: [" + AGE.replace("name: age", "name: errors") + "]", "there is a metric `errors` already"),
        ("metrics: [" + AGE.replace("max: 5, ", "") + "]", "has no limit: give `max`, `max_ratio` or both"),
        ("metrics: [" + AGE.replace("max: 5", "min: 5") + "]", "where lower is better, the limit is `max`"),
        ("metrics: [" + AGE.replace("max: 5", "max_ratio: 2") + "]", "every source needs `{version}`"),
        ("metrics: [" + AGE.replace("p99.9", "p101") + "]", "is not a statistic"),
        ("metrics: [" + AGE.replace("p99.9", "sum") + "]", "is not a statistic"),
        ("metrics: [" + AGE.replace("{age:", "{Age:") + "]", "`Age` cannot be an id"),
        ("metrics: [" + AGE.replace("Shop", '":Shop"') + "]", "is not a namespace"),
        ("metrics: [" + REFUSED.replace("refused/calls", "refused/all") + "]", "names `all`"),
        (
            "metrics: [" + REFUSED.replace("refused/calls", "refused * 2") + "]",
            "does not use the metric `calls`",
        ),
        (
            "metrics: [" + REFUSED.replace("refused/calls", "SUM(refused)/SUM(calls)") + "]",
            "gives one number",
        ),
        ("metrics: [" + REFUSED.replace("refused/calls", "METRICS()") + "]", "uses `METRICS`"),
        ("metrics: [" + REFUSED.replace("expression: refused/calls, ", "") + "]", "has several sources"),
        (
            "metrics: [" + REFUSED.replace(', dimensions: {Version: "{version}"}}}', "}}") + "]",
            "every source needs `{version}`",
        ),
        (
            "metrics: [" + AGE.replace("p99.9", 'p99.9, dimensions: {M: "{event_source}"}') + "]",
            "has `{event_source}` with `p99.9`; it takes Sum, SampleCount, Maximum, Minimum",
        ),
        (
            "metrics: [" + AGE.replace("p99.9", 'p99.9, dimensions: {":M": x}') + "]",
            "has a dimension `:M`, which CloudWatch cannot have",
        ),
        ("judge: {function: sluicegate-gateway}", "is a function of Sluicegate itself"),
        ("judge: {function: orders-judge, timeout: 31s}", "is not a duration"),
        ("judge: {timeout: 5s}", "function"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_reason(check: Check, watch: str, reason: str) -> None:
    assert reason in message(check(watch))


def test_an_empty_list_of_presets_watches_nothing(check: Check) -> None:
    assert "nothing is watched" in message(check("presets: []"), LINE - 1)


def test_a_watch_has_twenty_metrics_at_most(check: Check) -> None:
    own = ", ".join(AGE.replace("name: age", f"name: age{i}") for i in range(17))
    assert "the limit is 20" in message(check(f"presets: [batch]\n      metrics: [{own}]"), LINE + 1)


def test_options_of_a_preset_may_hold_every_placeholder_of_a_dimension(check: Check) -> None:
    text = "{name: batch, dead_letter_queue: '{function}-{stage}-{alias}'}"
    [*_, dead] = watched(check(f"presets: [{text}]")).metrics
    assert dead.sources == (
        MetricSource(
            "value",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "Maximum",
            (("QueueName", "orders-api-prod-prod"),),
        ),
    )
    assert dead.expression == expand("batch", PresetOptions(dead_letter_queue="q"))[-1].expression


def test_editors_know_a_preset_by_its_name_and_as_a_mapping() -> None:
    text = json.dumps(json_schema())
    assert '"enum": ["batch", "async", "durable", "url", "api"]' in text
