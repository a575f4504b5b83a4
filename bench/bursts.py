"""Real rollouts on the stand whose errors come in bursts: how many good versions go back, and bad ones.

Nobody sends the requests: their metrics are drawn by lot, from seeds, while real rollouts read them. Each has
a canary of half of 1,000 requests a second for one minute, 3 % of which fail, in bursts of five on average,
and a limit of twice the old rate with `false_rollbacks: 0.1`. The same traffic simulated (`watch-plan`'s own
trials, 26 November 2026): of 10,000 versions as good as the old one, none went back.

It takes five minutes on an idle machine: PYTHONPATH=layers/shared/python:tests:. python bench/bursts.py
"""

import argparse
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path as Directory
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.results import record
from bench.stands import running_stand

from stand import rollouts
from stand.metric_traffic import Behaviour, MetricTraffic
from stand.monitor import Monitor
from stand.paths import JOB, Paths

PAUSE: Final = 2.0
"""Seconds between two writes of metrics, between two looks at a record, and at all aliases."""

RATE: Final = 1_000.0
RATE_BEFORE: Final = 100.0
"""Requests a second in the past: fewer are drawn more quickly."""

ERRORS: Final = 0.03
CLUSTER: Final = 5.0
"""Errors of a burst on average: the kind of traffic that `make bench` measures the promise on."""

BEFORE: Final = 60
"""Minutes of the old version alone, from which the dispersion is estimated."""

PATIENCE: Final = 300
"""Seconds until a rollout ends, at most, on a busy machine."""

_ASKING: Final = threading.Lock()
"""One is asked for at a time: many at once would start a process each on the stand."""


@dataclass(frozen=True)
class Ended:
    """What became of one rollout: its status, and the newest finding of its last look."""

    status: str
    newest: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=50, help="versions as good as the old one")
    parser.add_argument("--bad", type=int, default=3, help="versions that fail five times as often")
    parser.add_argument("--at-once", type=int, default=12, help="rollouts under way at the same time")
    given = parser.parse_args()
    with (
        running_stand() as stand,
        TemporaryDirectory() as directory,
        Monitor(stand, PAUSE) as monitor,
    ):
        rollouts.install(stand, Directory(directory))
        crowd = Paths(stand, monitor, given.at_once)
        good = [lambda seed=seed: rollout(crowd, 1, seed) for seed in range(given.good)]
        bad = [lambda seed=seed: rollout(crowd, 5, given.good + seed) for seed in range(given.bad)]
        ended = walk(given.at_once, [*bad, *good])
    show("as good as the old one", "bursts.good", ended[given.bad :])
    show("failing five times as often", "bursts.bad", ended[: given.bad])


def walk(at_once: int, calls: Sequence[Callable[[], Ended]]) -> list[Ended]:
    with ThreadPoolExecutor(at_once) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def rollout(crowd: Paths, ratio: float, seed: int) -> Ended:
    """Roll out a version that fails `ratio` times as often, while errors of both come in bursts of each.

    Raises AssertionError where the alias has ever served what the record did not say.
    """
    old, new = (Behaviour(ERRORS * times, spread=0, cluster=CLUSTER) for times in (1, ratio))
    with crowd("bursty") as path:
        traffic = MetricTraffic(
            path.stand,
            path.function,
            path.stage,
            rate=RATE_BEFORE,
            otherwise=old,
            behaviours={"2": new},
            seed=seed,
            tick=PAUSE,
        )
        traffic.remember(BEFORE)
        traffic.flow(RATE)
        with traffic:
            with _ASKING:
                deployment = path.deploy("next")
            path.once(deployment, lambda record: record["final"], patience=PATIENCE, pause=PAUSE)
        done = path.done(deployment)
        shown = path.stand.http(
            "GET",
            f"/deployments/{deployment}",
            token=path.stand.token(**JOB),
            params={"observations": "all"},
        )
        looks = shown.raise_for_status().json()["observations"]
    findings = [finding for look in looks for finding in look["findings"]]
    return Ended(done["status"], findings[-1])


def show(what: str, name: str, ended: Sequence[Ended]) -> None:
    statuses = Counter(one.status for one in ended)
    record({f"{name}_rollouts": len(ended), f"{name}_rolled_back": statuses["rolled_back"]})
    print(f"{what}: {', '.join(f'{count} {status}' for status, count in statuses.items())}")
    found = [one.newest for one in ended if one.newest["ratio"]]
    if found:
        estimates = sorted(one["ratio"]["value"] for one in found)
        widths = sorted(spread(one) for one in found)
        print(f"  estimated ratio {estimates[0]:.2f} to {estimates[-1]:.2f}")
        print(f"  interval {widths[0]:.1f} to {widths[-1]:.1f} times as wide as for independent errors")


def spread(finding: dict[str, Any]) -> float:
    """How many times as wide the interval of a ratio is as for requests that fail independently."""
    ratio = finding["ratio"]
    alone = math.sqrt(1 / finding["new"]["hits"] + 1 / finding["old"]["hits"])
    return (math.log(ratio["high"]) - math.log(ratio["low"])) / (2 * 1.96 * alone)


if __name__ == "__main__":
    main()
