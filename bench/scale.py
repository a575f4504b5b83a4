"""What one stack carries, and which limit ends it: the page docs/explanation/scale.md.

What a deployment asks of AWS is counted while the real gateway, state machine and deployer run one against
models of AWS. The limits are AWS's quotas by default, and the stack's own parameters. Without an argument the
page is printed; `--write` writes it.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.generated import write_or_print

from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.endpoints.deployments import LONGEST_PAUSE
from sluicegate.recovery.janitor import TRUSTED
from sluicegate.rollout.machine import ALIAS_EVERY
from sluicegate.store.call_budget import CallBudget
from sluicegate.store.codec import marshal, record
from sluicegate.store.table import Table
from support import template
from support.counted_client import Counted, units
from support.gateway_simulation import GatewaySimulation, artifact, gate_of, gateway_simulation
from support.line_model import LineModel
from support.simulation import TABLE

PAGE: Final = Path(__file__).parents[1] / "docs" / "explanation" / "scale.md"
COSTS: Final = Path("..", "reference", "cost").with_suffix(".md")
DAY: Final = "27 November 2026"

# Quotas per account and region, by default. Sources are in SOURCES; all read on DAY.
CONTROL_PLANE: Final = 15
START_EXECUTION: Final = 150
"""A second, in the smaller regions; 300 in the three largest."""

TRANSITIONS: Final = 800
"""A second, in the smaller regions; 5,000 in the three largest."""

OPEN_EXECUTIONS: Final = 1_000_000
DESCRIBE_EXECUTION: Final = 10
DESCRIBE_ALARMS: Final = 9
GET_METRIC_DATA: Final = 50
PARTITION_WRITES: Final = 1_000
"""Write units a second of one partition of a table or an index."""

PARTITION_READS: Final = 3_000
"""Read units a second of one partition."""

IN_LINE: Final = 200
"""Deployments whose looks are counted while they wait in line."""

GITLAB_CALLS: Final = 2_000 / 60
"""Calls a second of one user of GitLab.com."""

FREE_OF_LAMBDA: Final = frozenset({"GetFunction", "GetPolicy", "Invoke"})
"""Calls with a quota of their own."""

BAKE: Final = 600
SOURCES: Final = (
    ("Lambda quotas", "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"),
    ("Step Functions quotas", "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"),
    (
        "CloudWatch quotas",
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html",
    ),
    (
        "DynamoDB, designing partition keys",
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
    ),
    ("GitLab.com rate limits", "https://docs.gitlab.com/user/gitlab_com/#rate-limits-on-gitlabcom"),
)


@dataclass(frozen=True)
class Asked:
    """What one deployment asks of AWS, from its acceptance to its end."""

    table: Counter[str]
    reads: float
    writes: float
    lambda_calls: Counter[str]
    transitions: int
    revisions: int
    alarms: int
    metrics: int
    record: int
    """Write units of the record at its end."""

    @property
    def looks(self) -> int:
        """Looks at a version with traffic: each reads the alias, as publishing does unless all is at once."""
        return max(0, self.lambda_calls["GetAlias"] - 1)

    @property
    def control_plane(self) -> int:
        """Calls of the quota that all of Lambda's control plane shares."""
        return sum(number for name, number in self.lambda_calls.items() if name not in FREE_OF_LAMBDA)


@contextmanager
def counting(rollout: Rollout) -> Iterator[tuple[GatewaySimulation, Counted]]:
    """A simulation whose calls are counted, in which one version serves already."""
    with gateway_simulation(gate=gate_of({"prod": rollout})) as at:
        counted = Counted(at.client)
        at.client = counted
        at.__post_init__()
        at.cloudwatch.alarms["5xx"] = AlarmState.OK
        at.finish(at.deploy(artifact(at, b"the first of all")))
        at.model.calls.clear()
        at.cloudwatch.calls.clear()
        at.cloudwatch.reads = 0
        counted.reset()
        yield at, counted


def asked(rollout: Rollout) -> Asked:
    """Count one deployment of new code."""
    with counting(rollout) as (at, counted):
        sha256 = artifact(at, b"the next")
        counted.reset()  # an upload is counted by itself
        answer = at.request(action="deploy", artifact={"sha256": sha256})
        at.machine.run()
        calls, reads, writes = Counter(counted.calls), counted.reads, counted.writes
        deployment = at.of(answer)
        if deployment.status != "succeeded":
            raise SystemExit(f"the deployment did not succeed: {deployment.reason}")
        execution = list(at.machine.executions.values())[-1]
        return Asked(
            calls,
            reads,
            writes,
            Counter(at.model.calls),
            len(execution.path),
            deployment.revision,
            at.cloudwatch.reads,
            len(at.cloudwatch.calls),
            units(marshal(record(deployment)), 1_024),
        )


def reads_in_line() -> float:
    """Count the read units a second of one deployment in line: each look reads the line."""
    line = LineModel()
    counted = Counted(line.client)
    line.budgets = [CallBudget(Table(counted, TABLE), lambda: line.now)]  # type: ignore[arg-type]
    for number in range(IN_LINE):
        line.ask(f"{number:026}", owner=f"project-{number % 20}", calls=3)
    waited = sum(one.granted - one.asked for one in line.run())
    return counted.reads / waited


def parameter(name: str) -> int:
    """A parameter's default."""
    return int(template.TEMPLATE["Parameters"][name]["Default"])


@dataclass(frozen=True)
class Bound:
    """One line of the page: what is bounded, by what, at which number, and the way past it."""

    what: str
    limit: str
    carries: str
    past: str


def bounds(plain: Asked, canary: Asked) -> list[Bound]:
    """Return what ends first, by what is asked for."""
    every, in_line = BAKE / canary.looks, reads_in_line()
    released = CONTROL_PLANE / plain.control_plane
    polls = parameter("ApiRate") * LONGEST_PAUSE
    return [
        Bound(
            "new code in one account and region",
            f"Lambda's control plane: {CONTROL_PLANE} calls a second, which AWS does not raise; one takes"
            f" {plain.control_plane}",
            f"{released:.2f} a second, {_number(3_600 * released)} an hour",
            "another target: each account and region has its own quota",
        ),
        Bound(
            "deployments in line for that",
            f"one partition of the table takes {_number(PARTITION_READS)} read units a second; the looks of"
            f" one in line take {in_line:.1f}",
            f"{_number(PARTITION_READS / in_line)} for an account and region; more wait for DynamoDB too",
            "another target",
        ),
        Bound(
            "deployments that start at once",
            f"StartExecution: {START_EXECUTION} to 300 a second",
            f"{START_EXECUTION} a second, in a burst 800",
            "a quota to raise; a start that is refused is made up for by the janitor",
        ),
        Bound(
            "acceptances",
            f"`ApiRate` and `ApiBurst`: {parameter('ApiRate')} a second, {parameter('ApiBurst')} at once",
            f"{_number(3_600 * parameter('ApiRate'))} an hour; the command line waits and sends again",
            "the parameters",
        ),
        Bound(
            "jobs that wait for the end",
            f"`ApiRate`: each asks every {LONGEST_PAUSE} s at most",
            _number(polls),
            "the parameter; `wait: accepted`",
        ),
        Bound(
            "open rollouts that look at their version",
            f"Lambda's control plane: a look reads the alias, every {every:.0f} s in a bake of {BAKE // 60}"
            f" minutes, and every {ALIAS_EVERY * every:.0f} s while others want the calls",
            f"{_number(CONTROL_PLANE * ALIAS_EVERY * every)} for an account and region if nothing else is"
            " released; ten times as many in ten times as long bakes",
            "another target; longer bakes",
        ),
        Bound(
            "open rollouts that watch alarms",
            f"DescribeAlarms: {DESCRIBE_ALARMS} a second, one for a look",
            f"{_number(DESCRIBE_ALARMS * every)} for an account and region",
            "a quota to raise; another target; metrics instead of alarms",
        ),
        Bound(
            "open rollouts that watch metrics",
            f"GetMetricData: {GET_METRIC_DATA} a second, {canary.metrics / canary.looks:.1f} for a look",
            f"{_number(GET_METRIC_DATA * every * canary.looks / canary.metrics)} for an account and region",
            "a quota to raise; another target",
        ),
        Bound(
            "open rollouts in all",
            f"the janitor looks at the execution of a long wait every {TRUSTED // 60} minutes:"
            f" DescribeExecution has {DESCRIBE_EXECUTION} to 15 a second",
            _number(DESCRIBE_EXECUTION * TRUSTED),
            f"a quota to raise; Step Functions itself takes {_number(OPEN_EXECUTIONS)} open executions",
        ),
        Bound(
            "changes of records",
            f"one partition of an index takes {_number(PARTITION_WRITES)} write units a second; a change of"
            f" a record is {plain.record} in each index",
            f"{_number(PARTITION_WRITES / plain.record)} changes a second,"
            f" {_number(PARTITION_WRITES / plain.record / plain.revisions)} deployments a second",
            "several stacks, by team or stage",
        ),
        Bound(
            "turns of the state machine",
            f"{_number(TRANSITIONS)} to 5,000 state transitions a second; a plain deployment takes"
            f" {plain.transitions}, a canary of {BAKE // 60} minutes {canary.transitions}",
            f"{_number(TRANSITIONS / plain.transitions)} deployments a second,"
            f" {_number(TRANSITIONS / canary.transitions)} canaries",
            "a quota to raise",
        ),
        Bound(
            "commit statuses",
            "GitLab.com takes 2,000 calls a minute of one user; a deployment has a status for each of"
            f" {plain.revisions} changes at most",
            f"{_number(60 * GITLAB_CALLS / plain.revisions)} deployments a minute; more wait in the queue,"
            " for a day",
            "a user for each stack",
        ),
        Bound(
            "functions",
            "the look for drift takes two functions a second, for 12 minutes in an hour",
            "1,500 in an hour, 9,000 in the six after which `DriftUnseenAlarm` fires",
            "`DriftRate`; another target",
        ),
    ]


_HEAD: Final = ("| of | the limit | one stack carries | the way past it |", "| --- | --- | --- | --- |")


def page() -> str:
    """Return docs/explanation/scale.md."""
    plain = asked(Rollout())
    watch = Watch(alarms=("5xx",), limits=(Limit(Metric.ERRORS, most=5, max_ratio=2, min_samples=100),))
    canary = asked(Rollout(steps=(TrafficStep(10, BAKE), TrafficStep(100, 0)), watch=watch))
    intro = (
        "What one stack carries, which limit ends it, and the way past that limit. What a deployment asks of"
        " AWS is counted while the real gateway, state machine and deployer run one against models of AWS;"
        f" limits are AWS's quotas by default, for one account and region, read on {DAY}."
    )
    rows = [f"| {one.what} | {one.limit} | {one.carries} | {one.past} |" for one in bounds(plain, canary)]
    parts = [
        "# How far one stack scales",
        "<!-- `make scale` writes this page. -->",
        _filled(intro),
        "## What one deployment asks for",
        _table(plain, canary),
        "## What ends first",
        "\n".join(
            ["| of | the limit | one stack carries | the way past it |", "| --- | --- | --- | --- |", *rows]
        ),
        _filled(
            "The rest grows without a limit of its own: lists are read by the page, an alarm reads the names"
            " of the alarms that are watched in its region, and the janitor reads what is due. What all of it"
            f" costs is in [What it costs]({COSTS})."
        ),
        "Sources: " + ", ".join(f"[{name}]({address})" for name, address in SOURCES) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _table(plain: Asked, canary: Asked) -> str:
    def calls(counted: Counter[str]) -> str:
        return ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))

    lines: list[tuple[str, Any, Any]] = [
        ("calls of the table", sum(plain.table.values()), sum(canary.table.values())),
        ("read units", _number(plain.reads), _number(canary.reads)),
        ("write units, indexes with them", _number(plain.writes), _number(canary.writes)),
        ("calls of Lambda's control plane", plain.control_plane, canary.control_plane),
        ("of these and GetFunction", calls(plain.lambda_calls), calls(canary.lambda_calls)),
        ("state transitions", plain.transitions, canary.transitions),
        ("looks", plain.looks, canary.looks),
        ("DescribeAlarms", plain.alarms, canary.alarms),
        ("GetMetricData", plain.metrics, canary.metrics),
        ("changes of the record, each an event", plain.revisions, canary.revisions),
    ]
    head = ["| | new code at once | a canary of 10 minutes |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {what} | {one} | {other} |" for what, one, other in lines)])


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _number(number: float) -> str:
    """At most two significant digits, rounded down where it is a bound: nobody needs more of a limit."""
    if number < 10:
        return f"{number:.1f}".removesuffix(".0")
    size = 10 ** max(0, int(math.log10(number)) - 1)
    return f"{math.floor(number / size) * size:,}"


if __name__ == "__main__":
    write_or_print(PAGE, page)
