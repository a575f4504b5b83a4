"""The simulation: seeds hold, and each is a run that can be had again."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from simulation.broken import broken
from simulation.runs import failures, simulate
from simulation.shrink import shrink

SEEDS = 12
MORE_SEEDS = 2_000
"""Seeds of `make test-all`, in processes of their own. `make simulate` runs any number."""

_DIGESTS = "from simulation.runs import simulate\nfor seed in (0, 1, 2, 50038): print(simulate(seed).digest)"


def test_seeds_hold() -> None:
    assert failures(range(SEEDS)) == []


@pytest.mark.extended
def test_two_thousand_seeds_hold() -> None:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        chunks = [range(first, min(first + 50, MORE_SEEDS)) for first in range(SEEDS, MORE_SEEDS, 50)]
        assert [found for each in pool.map(failures, chunks) for found in each] == []


def test_equal_seeds_are_equal_runs_whatever_python_hashes() -> None:
    def digests(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": hash_seed}
        return subprocess.run(
            [sys.executable, "-c", _DIGESTS], env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert digests("0") == digests("5")


def test_a_run_is_made_again_by_its_choices() -> None:
    made = simulate(5)
    assert simulate(replay=made.choices).digest == made.digest


def test_a_failure_becomes_a_simpler_one_of_the_same_kind() -> None:
    with broken("lock-freed-early"):
        failed = next(found for seed in range(20) if (found := simulate(seed)).violation)
        simpler = shrink(failed, lambda choices: simulate(replay=choices), seconds=3)
    assert failed.violation
    assert simpler.violation
    assert simpler.violation.split(":")[0] == failed.violation.split(":")[0]
    assert sum(map(bool, simpler.choices)) < sum(map(bool, failed.choices))
