"""Delete one version, fenced against every deployment that could need it.

First the version is condemned, in one transaction with the function's publishing lock. Every transaction by
which a deployment begins to need an existing version has a condition on that. Then open deployments, aliases
and what they served are read again: whatever was accepted before is among them. A crash leaves the version
condemned, and the next run goes on at that reading.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code
from sluicegate.aws.lambda_ import LambdaAccessDenied, LambdaError, LambdaNotFound, LambdaUnavailable
from sluicegate.aws.lambda_versions import NumberedVersion
from sluicegate.pacing import Pace
from sluicegate.pruning.decision import Keep, KeepReason, uses
from sluicegate.pruning.look import VersionsLook
from sluicegate.pruning.places import PrunePlace
from sluicegate.store.prunings import CondemnedVersion
from sluicegate.store.store import Store

MAX_AGE: Final = 20
"""Seconds after which the condemnation, and what was read since, is too old to delete by."""


class DeletionInterrupted(Exception):
    """It is not known whether the version is deleted. It stays condemned, and the next pass goes on."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


CALLS: Final = 2
"""Calls while the lock is held, at least: ListAliases and DeleteFunction."""


@dataclass(frozen=True)
class Deleted:
    """The end of a deletion: why the version stays after all, None where it is deleted.

    `is_in_the_way`: a deployment waits for the function's publishing lock.
    """

    keep: Keep | None
    is_in_the_way: bool = False


@dataclass(frozen=True)
class Deletion:
    """Deletes versions in one pass. `gate` is the digest of the gate file that has them deleted."""

    store: Store
    place: PrunePlace
    look: VersionsLook
    pace: Pace
    pass_id: str
    gate: str
    clock: Callable[[], float] = time.time

    def delete(self, version: CondemnedVersion, rollbacks: int) -> Deleted:
        """Delete a version, unless something needs it after all. Each alias keeps `rollbacks` to go to.

        Raises Busy where a deployment publishes the function, Spared, and DeletionInterrupted.
        """
        self.pace.prepare(CALLS)  # deployments wait for the lock, and it for no calls
        began = self.clock()  # before the lease of the lock: it outlives what may be deleted by it
        self.store.prunings.condemn(version, self.pass_id)
        try:
            keep = self._used(version, rollbacks) or self._delete(version, began)
        except LambdaUnavailable as error:
            raise DeletionInterrupted(error.code) from None
        if keep is not None:
            return Deleted(keep, self.store.prunings.spare(version, self.pass_id))
        return Deleted(None, self.store.prunings.note_pruned(version, self.pass_id, self.gate, self.clock()))

    def spare(self, version: CondemnedVersion) -> None:
        """End a deletion that an earlier pass began and that nobody wants any more.

        The version may be deleted already. Raises as `delete` does.
        """
        self.store.prunings.condemn(version, self.pass_id)
        try:
            is_there = any(one.version == version.version for one in self.look.listed(version.function))
        except LambdaNotFound:
            is_there = False
        except LambdaAccessDenied:
            # The gate file has it pruned no more. A rollback finds out; for ever condemned, it could not.
            is_there = True
        except LambdaError as error:
            raise DeletionInterrupted(error.code) from None
        if is_there:
            self.store.prunings.spare(version, self.pass_id)
        else:
            self.store.prunings.note_pruned(version, self.pass_id, self.gate, self.clock())

    def _used(self, version: CondemnedVersion, rollbacks: int) -> Keep | None:
        # In this order: one that has ended by then has moved its alias before, and is in the history.
        open_ = self.store.prunings.open(version.target, version.function)
        try:
            aliases = self.look.aliases(version.function)
        except LambdaNotFound:  # the function is gone, and the version with it
            return None
        except LambdaUnavailable:
            raise
        except LambdaError as error:
            return Keep(KeepReason.UNKNOWN, error.code)
        known = self.store.prunings.known(version.target, version.function)
        histories = self.look.histories(version.function, open_, known.gone)
        used = uses(aliases, histories, open_, rollbacks)
        return next((keep for number, keep in used if number == version.version), None)

    def _delete(self, version: CondemnedVersion, began: float) -> Keep | None:
        try:
            deleter = self.place.deleter(version.function, NumberedVersion(version.version))
        except (ClientError, BotoCoreError) as error:
            if classify(error) in (ErrorKind.DENIED, ErrorKind.PERMANENT):
                return Keep(KeepReason.REFUSED, error_code(error))
            raise DeletionInterrupted(error_code(error)) from None

        def delete() -> None:
            # A process that was stopped here for long must not delete what was spared meanwhile.
            if self.clock() - began > MAX_AGE:
                raise DeletionInterrupted("TooLate")
            deleter.delete()

        try:
            self.pace.call(delete)
        except LambdaUnavailable:
            raise
        except LambdaError as error:
            return Keep(KeepReason.REFUSED, f"{error.code}: {error.message}")
        return None
