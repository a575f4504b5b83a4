"""The pruner: look at each function whose versions may be pruned, report, and delete a few versions.

It looks in the stack's own account and region. A run goes on where the last one stopped.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import ValidationError

from sluicegate.aws.errors import error_code
from sluicegate.aws.lambda_ import LambdaError, LambdaNotFound
from sluicegate.aws.lambda_versions import CodeStorage
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.ulid import new_id
from sluicegate.gate.policy import Gate
from sluicegate.gate.pruning import Prune
from sluicegate.pacing import BudgetShare, Pace
from sluicegate.pruning.decision import Keep, KeepReason, decide
from sluicegate.pruning.deletion import Deleted, Deletion, DeletionInterrupted
from sluicegate.pruning.look import VersionsLook
from sluicegate.pruning.places import PrunePlace
from sluicegate.store.errors import Busy, Spared, StoreError
from sluicegate.store.prunings import CondemnedVersion, report_of
from sluicegate.store.store import Store

INTERVAL: Final = 0.5
"""Seconds between two calls: two a second leave 13 of the quota to deployments.

Lambda allows 15 a second of all calls but Invoke, GetFunction and GetPolicy, in an account and region. The
quota cannot be raised (developer guide, "Lambda quotas", read on 2026-11-26).
"""

MOST_DELETIONS: Final = 20
"""Versions that one run deletes, and as many again may be refused."""

MOST_LOOKED_AT: Final = 100
"""Versions of a function at which one run looks, each with calls of its own: the oldest that may go."""

_LOOKED_AT: Final = frozenset({KeepReason.POLICY, KeepReason.INVOKED, KeepReason.REFUSED, KeepReason.UNKNOWN})
"""Why a version stays that could go as far as the record and lists say."""


@dataclass
class PruneRun:
    """What one run did. `unseen` has functions that could not be looked at, with an error's code."""

    looked: int = 0
    deleted: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    unseen: list[tuple[str, str]] = field(default_factory=list)
    storage: CodeStorage | None = None
    finished: bool = True


class Pruner:
    """Prunes versions. `clock` gives epoch seconds, `sleep` waits."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        place: PrunePlace,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._gate = gate
        self._place = place
        self._clock = clock
        self._pace = Pace(clock, sleep, INTERVAL, BudgetShare(store.calls, place.target, sleep))
        self._look = VersionsLook(store, place.target, place.look, self._pace, clock)
        self._run = PruneRun()
        self._deletion = self._new_deletion()

    def run(self, until: float) -> PruneRun:
        """Prune until that time, or until every function was looked at."""
        self._run, self._deletion = PruneRun(), self._new_deletion()
        self._measure()
        self._resume(until)
        before, full_at = self._store.prunings.position(), ""
        for function in self._functions(before):
            if self._clock() >= until:
                self._run.finished = False
                return self._run
            self._guarded(function, partial(self._prune, function))
            if not full_at and self._room <= 0:
                full_at = function  # the next run deletes from those after it first
            self._store.prunings.note_position(full_at or function)
        self._store.prunings.note_position(full_at)
        return self._run

    @property
    def _room(self) -> int:
        """How many versions the run may still delete, or try to."""
        return MOST_DELETIONS - max(len(self._run.deleted), len(self._run.refused))

    def _new_deletion(self) -> Deletion:
        pass_id = f"prune-{new_id(self._clock())}"
        return Deletion(
            self._store, self._place, self._look, self._pace, pass_id, self._gate.digest, self._clock
        )

    def _functions(self, after: str) -> list[str]:
        """Return the functions that are pruned here, by name, those after this one first."""
        if not any(entry.prune for entry in self._gate.functions):
            return []
        target = self._place.target
        here = [
            one.function
            for one in self._store.versions.places()
            if (one.account, one.region) == (target.account, target.region)
        ]
        names = [name for name, _ in groupby(sorted(here)) if self._gate.prune(name)]
        return [name for name in names if name > after] + [name for name in names if name <= after]

    def _guarded(self, function: str, act: Callable[[], None]) -> None:
        """Act on a function; what AWS or the table refuses is noted, and the others go on."""
        try:
            act()
        except LambdaNotFound:
            pass
        except LambdaError as error:
            self._run.unseen.append((function, error.code))
        except DeletionInterrupted as error:
            self._run.unseen.append((function, error.code))
        except (StoreError, ValidationError) as error:  # contended, or a record that cannot be read
            self._run.unseen.append((function, type(error).__name__))
        except (ClientError, BotoCoreError) as error:
            self._run.unseen.append((function, error_code(error)))

    def _measure(self) -> None:
        def measure() -> None:
            self._run.storage = self._pace.call(self._place.storage)

        self._guarded("", measure)

    # One function

    def _prune(self, function: str) -> None:
        prune = self._gate.prune(function)
        if prune is None:
            return
        now = self._clock()
        known = self._look.at(function)
        reasons = decide(known, prune, now)
        candidates = [version for version, keep in reversed(reasons.items()) if not keep]
        candidates = self._tried_last(function, candidates)
        going: list[str] = []
        if candidates:
            attached, names = self._look.attached(function, candidates), known.alias_names
            for number, version in enumerate(candidates):
                reasons[version] = attached[version]
                if not attached[version]:
                    # Each look costs: no more than this run can delete.
                    enough = not prune.dry_run and len(going) >= self._room
                    later = enough or number >= MOST_LOOKED_AT
                    reasons[version] = (
                        (Keep(KeepReason.LATER),) if later else self._look.used(function, version, names)
                    )
                if not reasons[version]:
                    going.append(version)
        self._run.looked += 1
        deleted: list[str] = []
        digests = {one.version: one.sha256 for one in known.listed}
        try:
            if not prune.dry_run:
                for version in going:
                    if self._room <= 0:
                        break
                    end = self._delete(function, version, digests[version], prune.rollbacks)
                    if end.keep is None:
                        deleted.append(version)
                    else:
                        reasons[version] = (end.keep,)
                    if end.is_in_the_way:
                        break
        except Busy:
            pass  # a deployment publishes: the next run goes on
        finally:
            self._report(function, prune, reasons, deleted, now)

    def _tried_last(self, function: str, candidates: list[str]) -> list[str]:
        """Put those last that stayed when they were looked at closely: they must not hold up the others."""
        report = self._store.prunings.report(self._place.target, function)
        stayed = {
            one.version
            for one in (report.versions if report else ())
            if any(reason in _LOOKED_AT for reason, _ in one.keep)
        }
        return sorted(candidates, key=lambda version: version in stayed)

    def _delete(self, function: str, version: str, sha256: str, rollbacks: int) -> Deleted:
        target = self._place.target
        condemned = CondemnedVersion(
            function, target.account, target.region, version, sha256, timestamp(self._clock())
        )
        try:
            end = self._deletion.delete(condemned, rollbacks)
        except Spared:
            another = "another run has it, or the record says that it is gone"
            return Deleted(Keep(KeepReason.UNKNOWN, another))
        self._noted(condemned, end.keep)
        return end

    def _noted(self, version: CondemnedVersion, keep: Keep | None) -> None:
        if keep is None:
            self._run.deleted.append((version.function, version.version))
        elif keep.reason is KeepReason.REFUSED:
            self._run.refused.append((version.function, version.version, keep.detail))

    def _report(
        self,
        function: str,
        prune: Prune,
        reasons: dict[str, tuple[Keep, ...]],
        deleted: Iterable[str],
        now: float,
    ) -> None:
        gone = set(deleted)
        versions = {
            version: [(one.reason.value, one.detail) for one in keep]
            for version, keep in reasons.items()
            if version not in gone
        }
        report = report_of(
            self._place.target, function, timestamp(now), versions, deleted, dry_run=prune.dry_run
        )
        self._store.prunings.note_report(report)

    # What an earlier run left

    def _resume(self, until: float) -> None:
        """End the deletions that an earlier run did not: delete, or spare what nobody wants deleted now."""
        for version in self._store.prunings.condemned():
            if self._clock() >= until:
                return
            if version.target == self._place.target:
                self._guarded(version.function, partial(self._resume_one, version))

    def _resume_one(self, version: CondemnedVersion) -> None:
        prune = self._gate.prune(version.function)
        try:
            if prune is None or prune.dry_run or self._is_kept(version, prune):
                self._deletion.spare(version)
            else:
                self._noted(version, self._deletion.delete(version, prune.rollbacks).keep)
        except (Busy, Spared):
            pass  # the next run goes on

    def _is_kept(self, version: CondemnedVersion, prune: Prune) -> bool:
        """Return whether nothing is to be deleted: it stays, or it is gone already."""
        function, number = version.function, version.version
        try:
            known = self._look.at(function)
        except LambdaNotFound:
            return True
        reasons = decide(known, prune, self._clock())
        if number not in reasons:
            return True
        # It may have been condemned long ago: all is looked at again.
        return bool(
            reasons[number]
            or self._look.attached(function, [number])[number]
            or self._look.used(function, number, known.alias_names)
        )
