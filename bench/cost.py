"""What the stack costs: while nothing happens, and for 1,000 deployments.

Resources are read from template.yaml. What a deployment asks of AWS is counted while the real gateway, state
machine and deployer run one against models of AWS. Prices are AWS's list prices. Without an argument the page
is printed; `--write` writes it to docs/reference/cost.md.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.generated import write_or_print

from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.endpoints.deployments import LONGEST_PAUSE
from support import template
from support.counted_client import Counted
from support.expanded import expanded
from support.gateway_simulation import artifact, gate_of, gateway_simulation
from support.sealer_simulation import SealerSimulation

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "cost.md"
DAY: Final = "2026-11-26"
REGION: Final = "US East (N. Virginia)"
HOURS: Final = 730
"""Of a month, as AWS's price list counts."""

MILLION: Final = 1_000_000

# Dollars, of the region, without free tiers: aws.amazon.com/REST-of-the-name/pricing, read on DAY.
ALARM: Final = 0.10
KEY: Final = 1.00
LAMBDA_REQUEST: Final = 0.20 / MILLION
LAMBDA_SECOND: Final = 0.0000166667
"""A second of one GB on x86_64."""

API_REQUEST: Final = 3.50 / MILLION
WRITE_UNIT: Final = 0.625 / MILLION
READ_UNIT: Final = 0.125 / MILLION
TRANSITION: Final = 0.025 / 1_000
EVENT: Final = 1.00 / MILLION
QUEUE_REQUEST: Final = 0.40 / MILLION
METRIC_DATA: Final = 0.01 / 1_000
PUT: Final = 0.005 / 1_000
LOG_GB: Final = 0.50
SIGNATURE: Final = 0.15 / 10_000

RECEIVES: Final = 5 * 3 * 60 * HOURS
"""Empty receives of a queue that a function polls: five pollers, each for 20 seconds at a time.

Lambda developer guide, "Using Lambda with Amazon SQS" (five batches at first), read on DAY.
"""

OF_A_LOG: Final = 2
"""Objects that a log begins with, whatever is sealed: the gate file and the first signed head."""

FACTS: Final = 2
"""Lines of a deployment without a decision: its acceptance and its end, minutes apart."""

SCHEDULED_SECONDS: Final = 0.5
GATEWAY_SECONDS: Final = 0.1
DEPLOYER_SECONDS: Final = 0.5
RELAY_SECONDS: Final = 0.1
WATCHER_SECONDS: Final = 0.1
"""Billed for one invocation, above what the stand shows. The watcher's is longer where it waits for news."""

BAKE: Final = 600
WAITING: Final = "GB-seconds of the function that waits with the job"
LOG_BYTES: Final = 1_500
"""Of one invocation: what it logs, and Lambda's own three lines."""


@dataclass(frozen=True)
class Line:
    """A line of the bill: `number` of something at a price each, in dollars."""

    what: str
    number: float
    price: float

    @property
    def dollars(self) -> float:
        return self.number * self.price


def idle() -> list[Line]:
    """Return what a month costs in which nobody asks for anything."""
    kinds = Counter(resource["Type"] for resource in template.RESOURCES.values())
    lines = [
        Line("alarms", _always("AWS::CloudWatch::Alarm"), ALARM),
        Line("KMS keys", kinds["AWS::KMS::Key"], KEY),
        Line("signatures of the evidence, every hour, each with an object", HOURS, SIGNATURE + PUT),
    ]
    for name, every, memory in _schedules():
        runs = HOURS * 3_600 / every
        price = LAMBDA_REQUEST + SCHEDULED_SECONDS * memory / 1_024 * LAMBDA_SECOND
        lines.append(Line(f"runs of the {name}, every {_duration(every)}", runs, price))
    polled = sum(_is_polled(resource) for resource in template.RESOURCES.values())
    lines.append(Line(f"receives of {polled} empty queues", polled * RECEIVES, QUEUE_REQUEST))
    return [line for line in lines if line.number]


def _always(kind: str) -> int:
    """Return how many there are with all parameters as they are by default."""
    return sum(resource["Type"] == kind for resource in expanded()["Resources"].values())


def _schedules() -> list[tuple[str, int, int]]:
    """Return each function that runs by itself: its name, every how many seconds, and its memory in MB."""
    found = []
    for name, resource in template.RESOURCES.items():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Type"] in ("Schedule", "ScheduleV2"):
                found.append((name, event["Properties"]["Schedule"]))
        if resource["Type"] == "AWS::Events::Rule" and "ScheduleExpression" in resource["Properties"]:
            [target] = resource["Properties"]["Targets"]
            found.append((target["Arn"]["Fn::GetAtt"][0], resource["Properties"]["ScheduleExpression"]))
    return [
        (name.removesuffix("Function").lower(), _every(expression), _memory(template.RESOURCES[name]))
        for name, expression in found
    ]


def _every(expression: Any) -> int:
    """Return the seconds of a rate; a parameter has its default."""
    if isinstance(expression, dict):
        expression = template.TEMPLATE["Parameters"][expression["Ref"]]["Default"]
    number, unit = expression.removeprefix("rate(").removesuffix(")").split()
    return int(number) * {"minute": 60, "hour": 3_600, "day": 86_400}[unit.rstrip("s")]


def _memory(resource: Mapping[str, Any]) -> int:
    default = template.TEMPLATE.get("Globals", {}).get("Function", {}).get("MemorySize", 128)
    return int(resource["Properties"].get("MemorySize", default))


def _is_polled(resource: Mapping[str, Any]) -> bool:
    events = resource.get("Properties", {}).get("Events", {}).values()
    return any(event["Type"] == "SQS" for event in events)


def _duration(seconds: int) -> str:
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0:
            number = seconds // size
            return name if number == 1 else f"{number} {name}s"
    return f"{seconds} seconds"


def deployments() -> list[Line]:
    """Return what 1,000 deployments cost: canaries of ten minutes, whose jobs wait for the end."""
    watch = Watch(limits=(Limit(Metric.ERRORS, most=5, max_ratio=2, min_samples=100),))
    steps = (TrafficStep(10, BAKE), TrafficStep(100, 0))
    with gateway_simulation(gate=gate_of({"prod": Rollout(steps=steps, watch=watch)})) as at:
        counted = Counted(at.client)
        at.client = counted
        at.__post_init__()
        first = at.finish(at.deploy(artifact(at, b"the first of all")))
        counted.reset()
        at.changes.clear()
        at.invocations.clear()
        at.cloudwatch.calls.clear()
        answer = at.request(action="deploy", artifact={"sha256": artifact(at, b"the next")})
        at.machine.run()
        writes, reads = counted.writes, counted.reads
        deployment = at.of(answer)
        if not first.status == deployment.status == "succeeded":
            raise SystemExit(f"a deployment did not succeed: {deployment.reason}")
        evidence = SealerSimulation(at)
        evidence.run()
        sealing = counted.writes - writes
        segments = len(evidence.bucket.objects) - OF_A_LOG
        began, ended = (datetime.fromisoformat(d) for d in (deployment.created_at, deployment.updated_at))
        seconds = (ended - began).total_seconds()
        execution = list(at.machine.executions.values())[-1]
        transitions = len(execution.path)
        turns, revisions = len(at.invocations), deployment.revision
        metrics = sum(len(call["MetricDataQueries"]) for call in at.cloudwatch.calls)
    polls = BAKE / LONGEST_PAUSE + revisions
    invocations = 2 + polls + turns + revisions
    gateway, watcher, deployer, relay = (
        _memory(template.RESOURCES[f"{name}Function"]) / 1_024
        for name in ("Gateway", "Watcher", "Deployer", "Relay")
    )
    compute = (
        2 * GATEWAY_SECONDS * gateway
        + turns * DEPLOYER_SECONDS * deployer
        + revisions * RELAY_SECONDS * relay
    )
    of_one = [
        Line(
            "requests to the API: 2, one for each news, and those of a job that waits", 2 + polls, API_REQUEST
        ),
        Line("invocations of functions", invocations, LAMBDA_REQUEST),
        Line(WAITING, (seconds - BAKE + polls * WATCHER_SECONDS) * watcher, LAMBDA_SECOND),
        Line("GB-seconds of all other functions", compute, LAMBDA_SECOND),
        Line("write units of the table and its indexes", writes, WRITE_UNIT),
        Line("write units of sealing the evidence", sealing, WRITE_UNIT),
        Line("segments of the evidence, at most", segments * FACTS, PUT),
        Line("read units, the job's polls with them", reads + polls * 2, READ_UNIT),
        Line("state transitions", transitions, TRANSITION),
        Line("events", revisions, EVENT),
        Line("metrics that are read", metrics, METRIC_DATA),
        Line("GB of logs", invocations * LOG_BYTES / 1e9, LOG_GB),
    ]
    return [Line(line.what, 1_000 * line.number, line.price) for line in of_one]


def page() -> str:
    """Return docs/reference/cost.md."""
    quiet, busy = idle(), deployments()
    month, thousand = (sum(line.dollars for line in lines) for lines in (quiet, busy))
    intro = (
        f"**${month:.2f} a month while nothing happens, and ${thousand:.2f} for 1,000 deployments.** By AWS's"
        f" list prices in {REGION}, read on {DAY}, without free tiers, which cover most of it in a small"
        " account. Resources are counted in `template.yaml` with its default parameters; requests are counted"
        " while the real gateway, state machine and deployer run a deployment against models of AWS."
    )
    storage = (
        "Storage comes on top: the table, logs, artifacts and evidence grow with use. A thousand deployments"
        " are some 10 MB in the table ($0.25 per GB and month), and each secret that you make costs $0.40 a"
        " month."
    )
    what = (
        f"Each is a canary: 10 % of the traffic for {_duration(BAKE)}, watched by Lambda's errors, and a job"
        " that waits for the end."
    )
    rest = (
        "CloudTrail's first copy of management events is free; S3's requests and Secrets Manager's are cents."
    )
    parts = [
        "# What it costs",
        "<!-- `make cost` writes this page. -->",
        _filled(intro),
        "## A month in which nothing happens",
        _table(quiet),
        _filled(storage),
        "## 1,000 deployments",
        _filled(what),
        _table(busy),
        _filled(rest),
    ]
    return "\n\n".join(parts) + "\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _table(lines: list[Line]) -> str:
    rows = [f"| {line.what} | {_number(line.number)} | ${line.dollars:.2f} |" for line in lines]
    total = sum(line.dollars for line in lines)
    return "\n".join(["| | number | dollars |", "| --- | ---: | ---: |", *rows, f"| | | **${total:.2f}** |"])


def _number(number: float) -> str:
    return f"{number:,.2f}" if number < 10 and number != int(number) else f"{round(number):,}"


if __name__ == "__main__":
    write_or_print(PAGE, page)
