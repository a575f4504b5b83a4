"""The look at every alias that Sluicegate has moved: seen and reported, never changed.

A deployment that is under way is no drift. What begins or ends is believed after two looks, between which
no deployment had the alias's lock, the record said the same, and the alias kept its revision: at that moment
the alias was as it was seen, and nothing of ours was moving it.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code
from sluicegate.aws.lambda_ import LambdaAccessDenied, LambdaError
from sluicegate.deployment.drift import Drift, DriftFinding, DriftKind, drift_of_alias
from sluicegate.deployment.plan import Target
from sluicegate.drift.comparison import SeenFunction, agreed, compare
from sluicegate.drift.look import Paces, PlaceLook
from sluicegate.drift.places import LookApi, Places
from sluicegate.gate.model import TargetReference
from sluicegate.gate.policy import Gate
from sluicegate.pacing import FUNCTIONS_INTERVAL, SHARED_INTERVAL, BudgetShare, Pace
from sluicegate.store.drift import DriftPass, DriftPlace
from sluicegate.store.errors import StaleRevision
from sluicegate.store.serving import Serving
from sluicegate.store.store import Store

MOST_FAILURES: Final = 3
"""Functions of one place that fail one after the other before the place is left until the next run."""

NOTED_EVERY: Final = 25
"""Functions after which the position is noted: so many are looked at again if a run dies."""

DENIED_AGAIN: Final = 10
"""Seconds after which what was denied is tried once more: a change of IAM's takes seconds to spread."""

_KINDS: Final = (DriftKind.ALIAS, DriftKind.TRIGGER, DriftKind.SETTINGS)


@dataclass
class DriftReport:
    """What one run saw. `unseen` has functions that could not be looked at, with an error's code."""

    looked: int = 0
    saved: list[Drift] = field(default_factory=list)
    unseen: list[tuple[str, str]] = field(default_factory=list)
    finished: bool = True


@dataclass(frozen=True)
class _Group:
    """A function in one account and region, and its aliases with a record: the newest of each."""

    reference: TargetReference
    target: Target
    function: str
    servings: tuple[Serving, ...]


class DriftSweep:
    """Looks at aliases, function by function, and notes what changes. `clock` gives epoch seconds."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        places: Places,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._gate = gate
        self._places = places
        self._clock = clock
        self._sleep = sleep

    def run(self, until: float) -> DriftReport:
        """Look from where the last run stopped, until that time or the last function."""
        run = _Run(self._store, self._gate, self._places, self._clock, self._sleep)
        return run.run(until)


class _Run:
    """One run."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        places: Places,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._gate = gate
        self._places = places
        self._clock = clock
        self._sleep = sleep
        self._report = DriftReport()
        self._looks: dict[Target, PlaceLook] = {}
        self._failures: dict[Target, int] = {}
        self._left: set[Target] = set()
        self._denied: dict[Target, dict[str, str]] = {}
        self._current: dict[DriftPlace, Drift] = {}

    def run(self, until: float) -> DriftReport:
        before = self._store.drift.position()
        self._current = self._store.drift.current()
        for place, actions in before.denied.items():
            account, _, region = place.partition("#")
            self._denied[Target(account, region)] = dict(actions)
        last, number = before.after, 0
        aliases = self._store.versions.serving_like("", before.after or None)
        for function, servings in groupby(aliases, key=lambda one: one.function):
            if self._clock() >= until:
                self._note(last)
                self._report.finished = False
                break
            for group in self._groups(function, list(servings)):
                self._look(group)
            last, number = function, number + 1
            if number % NOTED_EVERY == 0:
                self._note(last)
        else:
            self._end_access()
            self._store.drift.note_position(DriftPass())
        self._end_uncovered()
        return self._report

    def _note(self, last: str) -> None:
        denied = {f"{one.account}#{one.region}": actions for one, actions in self._denied.items()}
        self._store.drift.note_position(DriftPass(last, denied))

    def _groups(self, function: str, servings: list[Serving]) -> Iterator[_Group]:
        """Yield the function's aliases by place, those alone that the gate file deploys."""
        newest: dict[tuple[Target, str], Serving] = {}
        references: dict[Target, TargetReference] = {}
        for serving in servings:
            target = Target(serving.account, serving.region)
            reference = self._reference(serving.function, serving.stage, serving.alias, target)
            if reference is not None:
                references[target] = reference
                known = newest.get((target, serving.alias))
                if known is None or known.position < serving.position:
                    newest[target, serving.alias] = serving
        for target, reference in references.items():
            mine = tuple(one for (place, _), one in sorted_by_alias(newest) if place == target)
            yield _Group(reference, target, function, mine)

    def _reference(self, function: str, stage: str, alias: str, target: Target) -> TargetReference | None:
        """Return how an alias's place is entered, or None where the gate file does not deploy it there."""
        placement = self._gate.place(function, stage)
        if placement is None or placement.alias != alias:
            return None
        return placement.target if self._places.target(placement.target) == target else None

    # One function

    def _look(self, group: _Group) -> None:
        target = group.target
        if target in self._left:
            return
        try:
            if target not in self._looks and not self._enter(group):
                return
            self._settle(group)
            self._report.looked += len(group.servings)
            self._failures[target] = 0
        except (LambdaError, ClientError, BotoCoreError, StaleRevision) as error:
            code = error.code if isinstance(error, LambdaError) else error_code(error)
            self._report.unseen.append((group.function, code))
            self._failures[target] = self._failures.get(target, 0) + 1
            if self._failures[target] >= MOST_FAILURES:
                self._left.add(target)

    def _enter(self, group: _Group) -> bool:
        """Enter the group's place for the first time; return False where that is refused."""

        def enter() -> LookApi:
            return self._places.enter(group.reference)

        try:
            enter()
        except (ClientError, BotoCoreError) as first:
            if classify(first) not in (ErrorKind.DENIED, ErrorKind.PERMANENT):
                raise
            self._sleep(DENIED_AGAIN)
            try:
                enter()
            except (ClientError, BotoCoreError) as again:
                if classify(again) not in (ErrorKind.DENIED, ErrorKind.PERMANENT):
                    raise
                self._left.add(group.target)
                self._refused(group, "sts:AssumeRole", error_code(again))
                return False

        def denied(action: str, error: LambdaAccessDenied) -> None:
            self._refused(group, action, error.code)

        share = BudgetShare(self._store.calls, group.target, self._sleep)
        paces = Paces(
            shared=Pace(self._clock, self._sleep, SHARED_INTERVAL, share),
            functions=Pace(self._clock, self._sleep, FUNCTIONS_INTERVAL),
            policies=Pace(self._clock, self._sleep, SHARED_INTERVAL),
        )
        self._looks[group.target] = PlaceLook(enter, paces, denied, self._clock)
        self._denied.setdefault(group.target, {})
        return True

    def _settle(self, group: _Group) -> None:
        look, known = self._looks[group.target], [one.alias for one in group.servings]
        idle = [one for one in group.servings if not self._is_moving(group, one)]
        if not idle:
            return
        first = look.at(group.function, [one.version for one in idle], known)
        for serving in idle:
            open_ = self._current.get(_place(group, serving))
            found = compare(serving, first, known)
            kept = open_.findings if open_ else ()
            if _same(agreed(kept, found, found, _KINDS), kept) and (
                open_ is None or open_.deployment == serving.deployment
            ):
                continue
            second = self._again(group, serving, first, known)
            if second is not None:
                findings = agreed(kept, found, compare(serving, second, known), _KINDS)
                self._save(group, serving, open_, findings)

    def _again(
        self, group: _Group, serving: Serving, first: SeenFunction, known: list[str]
    ) -> SeenFunction | None:
        """Look once more; None where a deployment was under way between both looks, or moved the alias.

        The lock is read before the record: whatever ended before the lock was free is in the record then.
        """
        if self._is_moving(group, serving):
            return None
        now = self._store.versions.serving_again(serving)
        if now is None or now.deployment != serving.deployment:
            return None
        second = self._looks[group.target].at(group.function, [serving.version], known)
        return second if _revision(first, serving) == _revision(second, serving) else None

    def _is_moving(self, group: _Group, serving: Serving) -> bool:
        return self._store.locks.alias_lock(group.target, group.function, serving.alias) is not None

    def _save(
        self, group: _Group, serving: Serving, open_: Drift | None, findings: tuple[DriftFinding, ...]
    ) -> None:
        """Write what has changed. What another run has written meanwhile stays: raises StaleRevision."""
        if open_ is None and not findings:
            return
        now = self._clock()
        if open_ is not None:
            self._write(open_, open_.changed(findings, serving.deployment, now))
            return
        ended = self._store.drift.get(group.target, group.function, serving.alias)
        if ended is not None and ended.ended_at is None:
            raise StaleRevision
        place = (group.target, serving.target_name, group.function, serving.alias, serving.stage)
        self._write(ended, drift_of_alias(*place, serving.deployment, findings, now))

    def _write(self, before: Drift | None, after: Drift) -> None:
        self._store.drift.save(before, after)
        place = (after.account, after.region, after.function, after.alias)
        self._current.pop(place, None)
        if after.ended_at is None:
            self._current[place] = after
        self._report.saved.append(after)

    # What lets nobody look, and what is nobody's any more

    def _refused(self, group: _Group, action: str, code: str) -> None:
        """Note a refused call of a place, once."""
        target = group.target
        if action in self._denied.setdefault(target, {}):
            return
        self._denied[target][action] = code
        open_ = self._current.get((target.account, target.region, "", ""))
        known = {one.key: one for one in (open_.findings if open_ else ())}
        found = _access(action, code)
        if found.key not in known:
            self._save_access(target, group.reference.name, (*known.values(), found))

    def _save_access(self, target: Target, name: str | None, findings: tuple[DriftFinding, ...]) -> None:
        open_ = self._current.get((target.account, target.region, "", ""))
        now = self._clock()
        if open_ is not None:
            self._write(open_, open_.changed(findings, "", now))
        elif findings:
            ended = self._store.drift.get(target, "", "")
            self._write(ended, drift_of_alias(target, name, "", "", "", "", findings, now))

    def _end_access(self) -> None:
        """After a whole pass: end what was refused before and is not any more."""
        for target, actions in self._denied.items():
            open_ = self._current.get((target.account, target.region, "", ""))
            if open_ is None or (target in self._left and "sts:AssumeRole" not in actions):
                continue
            findings = tuple(_access(action, code) for action, code in sorted(actions.items()))
            if not _same(findings, open_.findings):
                self._save_access(target, open_.target_name, findings)

    def _end_uncovered(self) -> None:
        """End the drift of what the gate file no longer deploys: nobody looks at it any more."""
        deployed = {self._places.target(stage.target) for stage in self._gate.stages.values()}
        for drift in list(self._current.values()):
            target = Target(drift.account, drift.region)
            if drift.function:
                covered = self._reference(drift.function, drift.stage, drift.alias, target) is not None
            else:
                covered = target in deployed
            if not covered:
                self._write(drift, drift.changed((), drift.deployment, self._clock()))


def sorted_by_alias(newest: dict[tuple[Target, str], Serving]) -> list[tuple[tuple[Target, str], Serving]]:
    """Return the aliases by name."""
    return sorted(newest.items(), key=lambda one: one[0][1])


def _place(group: _Group, serving: Serving) -> DriftPlace:
    return (group.target.account, group.target.region, group.function, serving.alias)


def _revision(seen: SeenFunction, serving: Serving) -> str | None:
    alias = (seen.aliases or {}).get(serving.alias)
    return alias.revision if alias else None


def _same(some: Iterable[DriftFinding], others: Iterable[DriftFinding]) -> bool:
    return {one.key for one in some} == {one.key for one in others}


def _access(action: str, code: str) -> DriftFinding:
    message = f"{action} is refused there ({code}): this cannot be looked at"
    return DriftFinding(DriftKind.ACCESS, "denied", message, {"action": action, "error": code})
