"""How often the comparison rolls back an equal version, and how often it catches a worse one, by simulation.

    python bench/verdicts.py                          # named cells, into build/bench.json
    python bench/verdicts.py --table                  # the whole table, which takes hours
    python bench/verdicts.py --table --only bursts    # a part of it

Requests are those of the new version while it shares the traffic. Power stands beside that of the best test
that looks once, at the end: Fisher's exact test on the same counts, with all of the chance of a false
rollback, and the estimate at least `max_ratio`, as the comparison has it. Where the share changes, it is the
exact test share by share: one that adds up the requests of all shares takes a rate that changes for a worse
version.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby, product
from multiprocessing import Pool
from random import Random
from statistics import fmean, median
from typing import Final

from bench.results import record

from sluicegate.deployment.observations import Tally
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.deployment.strategy import linear
from sluicegate.rollout.comparison import is_worse
from sluicegate_cli.planning.chance import seeded
from sluicegate_cli.planning.schedule import plan_of
from sluicegate_cli.planning.traffic import Traffic, TrafficKind
from sluicegate_cli.planning.trials import Trials

MAX_RATIO: Final = 2.0
WATCH: Final = Watch(limits=(Limit(Metric.ERRORS, min_samples=1, max_ratio=MAX_RATIO),))
FALSE_ROLLBACKS: Final = WATCH.false_rollbacks / 100
RUNS: Final = 10_000
CHUNK: Final = 250


@dataclass(frozen=True)
class Schedule:
    """A strategy, and how often the deployer looks in each bake."""

    name: str
    steps: tuple[TrafficStep, ...]
    most: int = 20


def canary(percent: int, bake: int, most: int = 20) -> Schedule:
    name = f"{percent} % for {bake // 60}m, {most} looks"
    return Schedule(name, (TrafficStep(percent, bake), TrafficStep(100, 0)), most)


def rising(*shares: int) -> tuple[TrafficStep, ...]:
    return (*(TrafficStep(share, 600) for share in shares), TrafficStep(100, 0))


CANARY: Final = {percent: canary(percent, 1_800) for percent in (10, 50)}


@dataclass(frozen=True)
class Cell:
    kind: TrafficKind
    percent: int
    errors: float
    requests: int
    ratio: float = 1.0
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        return (
            f"{self.kind.value}, {self.plan.name}, {self.errors:.2%} errors, {self.requests} requests,"
            f" x{self.ratio:g}"
        )

    @property
    def plan(self) -> Schedule:
        return self.schedule or CANARY[self.percent]

    @property
    def traffic(self) -> Traffic:
        shared = sum(step.bake * step.percent for step in self.plan.steps if step.percent < 100) / 6_000
        return Traffic(self.requests / shared, self.errors, self.ratio, self.kind)


BURSTY: Final = (TrafficKind.BURSTS, TrafficKind.LONG_BURSTS)
"""Where Fisher's test does not hold its level, and so is no measure."""

RATES: Final = (0.0001, 0.001, 0.003, 0.005, 0.01, 0.05)
REQUESTS: Final = (200, 800, 2_000, 10_000, 100_000)
RATIOS: Final = (1.0, 2.0, 3.0, 5.0, 10.0)
SCHEDULES: Final = (
    canary(10, 1_800, most=5),
    canary(10, 7_200),
    canary(1, 1_800),
    Schedule("linear 10 % every 5m, 20 looks", linear(10, 300)),
    Schedule("5 % for 10m, 25 % for 10m, 50 % for 10m, 20 looks", rising(5, 25, 50)),
)

CELLS: Final = (
    Cell(TrafficKind.INDEPENDENT, 10, 0.005, 2_000),
    Cell(TrafficKind.INDEPENDENT, 50, 0.005, 2_000),
    Cell(TrafficKind.OUTAGES, 10, 0.005, 2_000),
    Cell(TrafficKind.OUTAGES, 50, 0.005, 2_000),
    Cell(TrafficKind.BURSTS, 10, 0.005, 6_000),
    Cell(TrafficKind.BURSTS, 50, 0.005, 2_000),
    Cell(TrafficKind.BURSTS, 50, 0.0001, 100_000),
    Cell(TrafficKind.INDEPENDENT, 10, 0.001, 2_000, 5),
    Cell(TrafficKind.INDEPENDENT, 10, 0.005, 800, 3),
    Cell(TrafficKind.INDEPENDENT, 10, 0.01, 800, 2),
    Cell(TrafficKind.INDEPENDENT, 10, 0.01, 200, 3),
    Cell(TrafficKind.INDEPENDENT, 10, 0.05, 200, 2),
)
"""For tools: where false rollbacks and gaps are largest in the table."""


@dataclass
class Count:
    """What the runs of a cell gave. `caught` are the looks at which the version went back, from 1."""

    runs: int = 0
    caught: list[int] = field(default_factory=list)
    gross: int = 0
    fixed: int = 0

    def add(self, other: "Count") -> None:
        self.runs += other.runs
        self.caught += other.caught
        self.gross += other.gross
        self.fixed += other.fixed

    @property
    def rate(self) -> float:
        return len(self.caught) / self.runs

    @property
    def gap(self) -> float:
        """Percentage points that the best test is ahead."""
        return 100 * (self.fixed / self.runs - self.rate)


@lru_cache
def trials(schedule: Schedule) -> Trials:
    return Trials(plan_of(schedule.steps, WATCH), schedule.most)


def run(cell: Cell, chance: Random, counted: Count) -> None:
    """Simulate one rollout."""
    ended = trials(cell.plan).run(cell.traffic, chance, whole=cell.ratio != 1)
    counted.runs += 1
    counted.gross += ended.gross
    if ended.look is not None:
        counted.caught.append(ended.look + 1)
    if cell.ratio != 1:
        counted.fixed += best_fixed(ended.counts)


def best_fixed(end: Tally) -> bool:
    """Say whether the best test that looks once, at the end, would have found it at the whole chance."""
    if end.by_share:
        once = replace(end, phi=1.0, phi_alone=1.0)
        return is_worse([once], [1.0], alpha=FALSE_ROLLBACKS, max_ratio=MAX_RATIO, min_samples=1)
    ratio = (end.x + 0.5) / (end.n + 1) * (end.m + 1) / (end.y + 0.5)
    if not end.m or end.x <= end.expected or ratio < MAX_RATIO:
        return False
    return hypergeometric_tail(end.x, end.n, end.m, end.x + end.y) <= FALSE_ROLLBACKS


def hypergeometric_tail(x: int, n: int, m: int, hits: int) -> float:
    """Return the probability that of `hits` among n + m requests at least x are among the n."""

    def choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    term = math.exp(choose(n, x) + choose(m, hits - x) - choose(n + m, hits))
    total = 0.0
    for k in range(x, min(n, hits) + 1):
        total += term
        if term < 1e-12 * total:
            break
        term *= (n - k) * (hits - k) / ((k + 1) * (m - hits + k + 1))
    return total


def chunk(job: tuple[Cell, int, int]) -> Count:
    """Run a part of a cell. The seed is the cell and the part, so that all runs are the same each time."""
    cell, number, runs = job
    chance = seeded(f"{cell.name} {number}")
    counted = Count()
    for _ in range(runs):
        run(cell, chance, counted)
    return counted


def measure(cells: Sequence[Cell], runs: int) -> Iterator[tuple[Cell, Count]]:
    """Yield each cell with its count, on all cores."""
    jobs = [(cell, number, CHUNK) for cell in cells for number in range(-(-runs // CHUNK))]
    with Pool() as pool:
        done = zip(jobs, pool.imap(chunk, jobs), strict=True)
        for cell, parts in groupby(done, key=lambda each: each[0][0]):
            total = Count()
            for _, part in parts:
                total.add(part)
            yield cell, total


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a rate (Wilson's score)."""
    z, rate = 1.96, hits / runs
    centre = (rate + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(rate * (1 - rate) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return max(0.0, centre - half), centre + half


def report(cell: Cell, counted: Count) -> str:
    """Return a cell's line: how often an equal version goes back, or a worse one, beside the best test."""
    low, high = wilson(len(counted.caught), counted.runs)
    if cell.ratio == 1:
        at_once = f", {counted.gross} by the fast path" if counted.gross else ""
        found = f"rolled back {counted.rate:6.2%} ({low:.2%} to {high:.2%}){at_once}"
    else:
        look = f"{median(counted.caught):.0f}" if counted.caught else "-"
        found = f"caught {counted.rate:6.1%} at look {look:>2}"
        if cell.kind not in BURSTY:
            found += f", best {counted.fixed / counted.runs:6.1%}, {counted.gap:+5.1f}"
    return f"{cell.name:<86} {found}"


def named(runs: int) -> None:
    """Measure the named cells, for tools."""
    false_rollbacks, gaps = 0.0, 0.0
    for cell, counted in measure(CELLS, runs):
        print(report(cell, counted), flush=True)
        if cell.ratio == 1:
            false_rollbacks = max(false_rollbacks, counted.rate)
        else:
            gaps = max(gaps, counted.gap)
    print(f"equal versions rolled back, at most            {100 * false_rollbacks:6.2f} %")
    print(f"points behind the best test, at most           {gaps:6.1f}")
    record({"verdict.false_rollback_max": false_rollbacks, "verdict.power_gap_max": gaps})


def table(cells: Sequence[Cell], runs: int) -> None:
    """Measure cells, and sum them up by traffic and schedule."""
    groups: dict[str, list[tuple[Cell, Count]]] = {}
    for cell, counted in measure(cells, runs):
        print(report(cell, counted), flush=True)
        groups.setdefault(f"{cell.kind.value}, {cell.plan.name}", []).append((cell, counted))
    for group, found in groups.items():
        equal = [counted.rate for cell, counted in found if cell.ratio == 1]
        gaps = [counted.gap for cell, counted in found if cell.ratio != 1]
        line = f"{group:<60} equal rolled back at most {max(equal):.2%}, mean {fmean(equal):.2%}"
        if found[0][0].kind not in BURSTY:
            line += f"; behind the best test at most {max(gaps):.1f}, mean {fmean(gaps):.1f} points"
        print(line)


def all_cells() -> Iterator[Cell]:
    """Yield the whole table."""
    for percent, kind in product((10, 50), TrafficKind):
        for errors, requests, ratio in product(RATES, REQUESTS, RATIOS):
            yield Cell(kind, percent, errors, requests, ratio)
    for schedule in SCHEDULES:
        for errors, requests, ratio in product((0.001, 0.005, 0.01, 0.05), (800, 10_000), RATIOS):
            yield Cell(TrafficKind.INDEPENDENT, 10, errors, requests, ratio, schedule)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="the whole table, not the named cells")
    parser.add_argument("--runs", type=int, help=f"of each cell; {RUNS:,}, or for the table 1,000")
    parser.add_argument("--only", default="", metavar="TEXT", help="of the table, cells whose name has this")
    options = parser.parse_args()
    if options.table:
        table([cell for cell in all_cells() if options.only in cell.name], options.runs or 1_000)
    else:
        named(options.runs or RUNS)


if __name__ == "__main__":
    main()
