"""Run seeds: `make simulate SEEDS=2000`, or one of them with its trace: `make simulate SEED=7`."""

import argparse
import gc
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count
from time import monotonic

from simulation.broken import VARIANTS, broken
from simulation.runs import Outcome, simulate
from simulation.shrink import shrink

_LINES = 2000
"""Lines of a trace that are printed, the last ones."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="so many")
    parser.add_argument("--first", type=int, default=0, help="from this one on")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    parser.add_argument("--broken", choices=sorted(VARIANTS), help="with this variant of the product")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="processes; 0: this one alone")
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed, given.broken)
    began, statuses, failed, steps = monotonic(), Counter[str](), [], 0
    seeds = [(seed, given.broken) for seed in range(given.first, given.first + given.seeds)]
    # What is there before is not searched for garbage again and again: that took a sixth of the time.
    with ProcessPoolExecutor(given.workers or 1, initializer=gc.freeze) as pool:
        outcomes = pool.map(short, seeds, chunksize=4) if given.workers else map(short, seeds)
        for (seed, _), (violation, ended, taken) in zip(seeds, outcomes, strict=True):
            statuses.update(ended)
            steps += taken
            if violation:
                failed.append(seed)
                print(f"seed {seed}: {violation}")
    seconds = monotonic() - began
    ends = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
    print(f"{given.seeds} seeds in {seconds:.0f} s: {steps} steps, {statuses.total()} deployments: {ends}")
    return one(failed[0], given.broken) if failed else 0


def short(asked: tuple[int, str | None]) -> tuple[str | None, list[str], int]:
    """Run a seed, and return what it costs little to send to another process."""
    outcome = run(*asked)
    return outcome.violation, outcome.statuses, outcome.steps


def run(seed: int, variant: str | None) -> Outcome:
    """Run a seed of a variant of the product, or of the product itself."""
    with broken(variant):
        return simulate(seed)


def one(seed: int, variant: str | None) -> int:
    """Run a seed, and print what happened; of a failure, the simplest that is found."""
    outcome = run(seed, variant)
    if outcome.violation is None:
        show(outcome)
        print(f"seed {seed} holds: {outcome.digest}")
        return 0
    with broken(variant):
        simplest = shrink(outcome, lambda choices: simulate(replay=choices))
    show(simplest)
    print(
        f"{simplest.violation}\nagain: make simulate SEED={seed}" + (f" BROKEN={variant}" if variant else "")
    )
    return 1


def show(outcome: Outcome) -> None:
    """Print the trace: when, who, what."""
    began = outcome.trace[0][0] if outcome.trace else 0.0
    if len(outcome.trace) > _LINES:
        print(f"… {len(outcome.trace) - _LINES} lines before")
    for now, name, line in outcome.trace[-_LINES:]:
        print(f"{now - began:9.3f} {name:<20} {line}")


if __name__ == "__main__":
    sys.exit(main())
