"""One run of one seed: what it lets happen, and what is checked at each step and at the end."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from simulation import handlers
from simulation.budgets import Budget
from simulation.choices import Choices
from simulation.endings import ENDINGS, outcome_is_true
from simulation.feedback import Feedback, gitlab_shows_it
from simulation.gates import features
from simulation.history import begin, history
from simulation.invariants import INVARIANTS, records
from simulation.pruning import Pruning, nothing_condemned
from simulation.streams import Stream, told_in_order
from simulation.traffic import Traffic
from simulation.world import Step, World
from sluicegate.observability import logger
from support.entropy import entropy

RELEASES: Final = 10
"""Deployments that a seed asks for, about."""

CALM: Final = 6 * 3_600.0
"""Seconds after the last fault within which everything has ended, whatever it was waiting for."""

STEPS: Final = 400_000
"""Steps that a run may take."""

FAULTS: Final = ("slow", "throttled", "failed", "lost", "late", "killed before", "killed after", "meanwhile")


@dataclass
class Outcome:
    """What became of a run."""

    violation: str | None
    choices: list[int]
    trace: list[tuple[float, str, str]]
    digest: str
    statuses: list[str] = field(default_factory=list)
    steps: int = 0


class Run:
    """One run."""

    def __init__(self, choices: Choices, releases: int = RELEASES) -> None:
        self.choices = choices
        has = features(choices)
        self.world = World(choices, has.gate(choices))
        self.ledger = begin(self.world)
        self.stream = Stream(self.world)
        self.world.models["events"] = self.stream.bus
        self.gitlab = Feedback(self.world) if has.feedback else None
        self.pruning = Pruning(self.world) if has.prune else None
        if self.gitlab:
            self.stream.bus.targets.append(self.gitlab.queue.send)
        self.before = len(self.ledger.stories)
        self.world.observe = self.observe
        self.budget = Budget(self.world)
        self.traffic = Traffic(self.world, has, releases)
        if has.crowd:
            self.budget.slow_down()
            self.traffic.start_crowd(self.budget.crowd)
        self.has = has

    def observe(self, step: Step) -> None:
        """Check a step, then note it."""
        for invariant in INVARIANTS:
            for wrong in invariant(self.world, self.ledger, step):
                raise AssertionError(
                    f"{(invariant.__doc__ or '').split('.')[0]}. {invariant.__name__}: {wrong}"
                )
        self.budget.check(step, self.ledger)
        if self.pruning:
            self.pruning.check(step, self.ledger)
        self.stream.add(step.changes)
        now = self.world.engine.now
        for _, after in records(self.ledger, step):
            self.ledger.note_record(after, now)
        for move in step.moves:
            self.ledger.note_move(move, step.by, now)
        for _, after in records(self.ledger, step):
            if after.status.final:
                self._check_end(after.id)

    def run(self) -> None:
        """Raise AssertionError at the first violation."""
        world, faults, choices = self.world, self.world.faults, self.choices
        if choices.chance(0.85):
            faults.chances = {
                kind: choices.one_of((0.0, 0.002, 0.01, 0.04)) for kind in FAULTS if choices.chance(0.5)
            }
            faults.kills = choices.below(12)
            faults.meanwhile = self.traffic.meanwhile
            world.skewed = choices.chance(0.3) and not self.has.crowd
            world.table.client.delay = choices.one_of((0.0, 0.0, 0.5, 3.0))
            world.duplicates = 0.05 if choices.chance(0.3) else 0.0
            self.traffic.start_others()
            if self.gitlab and choices.chance(0.6):
                self.gitlab.fail()
            if self.pruning:
                self.pruning.start(self.traffic.need_an_old_version)
        world.sweep_for_ever()
        world.engine.spawn("stream", self.stream.deliver)
        engine = world.engine
        engine.run(until=engine.now + 1_800, finished=lambda: self._over() or self._is_quiet())
        faults.stop()
        world.skewed = False
        world.table.client.delay = 0.0
        engine.run(until=engine.now + CALM, finished=self._over)
        for wrong in told_in_order(self.stream.bus, self.ledger):
            raise AssertionError(f"17. told_in_order: {wrong}")
        if self.gitlab:
            for wrong in gitlab_shows_it(self.gitlab, self.ledger, set(history().ledger.stories)):
                raise AssertionError(f"17. gitlab_shows_it: {wrong}")
        for wrong in self.budget.left():
            raise AssertionError(wrong)
        if self.pruning:
            for wrong in nothing_condemned(self.pruning):
                raise AssertionError(f"15. nothing_condemned: {wrong}")
        for ending in ENDINGS:
            for wrong in ending(world, self.ledger):
                raise AssertionError(f"{(ending.__doc__ or '').split('.')[0]}. {ending.__name__}: {wrong}")

    def _is_quiet(self) -> bool:
        """Return whether nobody does anything any more, and the pruner has had its chance to."""
        return self.traffic.left == 0 and (self.pruning is None or self.pruning.passes > 0)

    def _over(self) -> bool:
        assert self.world.engine.steps < STEPS, "14. it does not end"
        return (
            self.traffic.left == 0
            and self.stream.is_empty
            and (self.gitlab is None or self.gitlab.queue.is_empty)
            and (self.pruning is None or self.pruning.is_over)
            and all(one.record.status.final for one in self.ledger.stories.values())
            and all(one.status != "RUNNING" for one in self.world.executions.running.values())
        )

    def _check_end(self, deployment: str) -> None:
        for wrong in outcome_is_true(self.world, self.ledger, self.ledger.stories[deployment]):
            raise AssertionError(f"16. outcome_is_true: {wrong}")


def simulate(seed: int | None = None, replay: Sequence[int] = (), releases: int = RELEASES) -> Outcome:
    """Run a seed, or a list of choices."""
    with handlers.replaced(), entropy(), quiet():
        history()
    choices = Choices(seed, replay)
    with handlers.replaced(), entropy(), quiet():
        run = Run(choices, releases)
        violation = None
        try:
            run.run()
        except AssertionError as error:
            violation = str(error)
        finally:
            run.world.engine.close()
    engine = run.world.engine
    statuses = [one.record.status.value for one in run.ledger.stories.values()][run.before :]
    return Outcome(violation, choices.made, engine.trace, engine.digest(), statuses, engine.steps)


def failures(seeds: Iterable[int]) -> list[str]:
    """Return what is wrong in these seeds."""
    return [f"seed {seed}: {found}" for seed in seeds if (found := simulate(seed).violation)]


@contextmanager
def quiet() -> Iterator[None]:
    """Let the product log nothing that is not critical."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)
