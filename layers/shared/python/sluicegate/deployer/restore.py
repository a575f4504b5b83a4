"""Move the alias back to what it served before the deployment."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Final

from sluicegate.aws.lambda_ import (
    Alias,
    FunctionApi,
    LambdaAccessDenied,
    LambdaError,
    LambdaNotFound,
    LambdaRejected,
)
from sluicegate.deployer.lookups import find_missing, read_alias
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment
from sluicegate.rollout.actions import Restore
from sluicegate.rollout.outcomes import (
    AliasFound,
    Denied,
    Outcome,
    PermanentFailure,
    Restored,
    Settling,
    TransientFailure,
)
from sluicegate.store.locks import Locks

SETTLE_SECONDS: Final = 45
"""Seconds after which a call of which no answer came has taken effect, or never will.

AWS documents no such time. A client waits 10 s for an answer, and the time counts from the end of that.
"""


@dataclass(frozen=True)
class AliasRestorer:
    """Restores exactly the original state, unless someone else has moved the alias since.

    guarantees.md#4-failure-restores-the-alias
    """

    locks: Locks
    clock: Callable[[], float]

    def restore(self, deployment: Deployment, function: FunctionApi, action: Restore) -> Outcome:
        """Restore the alias, or say what it serves if that cannot be done any more."""
        try:
            return self._restore(deployment, function, action)
        except (LambdaNotFound, LambdaRejected) as error:
            return _not_restored(deployment, function, action, error)

    def _restore(self, deployment: Deployment, function: FunctionApi, action: Restore) -> Outcome:
        name = deployment.plan.alias
        try:
            alias = read_alias(function, name, action.original, *action.applied)
        except LambdaNotFound:  # the function was deleted, and its aliases with it
            return Restored(AliasOutcome.LEFT_TO_OTHER, None)
        current = alias.state if alias else None
        if current == action.original:
            if action.original is None and (settling := self._settling(deployment)):
                return settling
            if action.was_moved:
                return Restored(AliasOutcome.RESTORED if action.original else AliasOutcome.REMOVED, current)
            if alias is not None:
                _fence(function, name, alias)
            return Restored(AliasOutcome.UNTOUCHED, current)
        if alias is None or current not in action.applied:
            return Restored(AliasOutcome.LEFT_TO_OTHER, current)
        if current != action.current or alias.revision != action.revision:
            return AliasFound(alias.state, alias.revision)
        if not self.locks.holds_alias(deployment):
            return TransientFailure("LockLost", "this deployment does not hold the alias lock")
        if action.original is None:
            function.delete_alias(name)
            return self._settling(deployment) or Restored(AliasOutcome.REMOVED, None)
        function.update_alias(name, action.original, alias.revision)
        return Restored(AliasOutcome.RESTORED, action.original)

    def _settling(self, deployment: Deployment) -> Settling | None:
        """Return how long a call of the deployment may still be on its way, or None if none can be."""
        left = _settles_at(deployment) - self.clock()
        return Settling(ceil(left)) if left > 0 else None


def _settles_at(deployment: Deployment) -> float:
    """Return the time from which no call of a deployment is on its way that found no alias, in epoch seconds.

    Nothing can reject such a call: Lambda creates an alias that does not exist, and deletes one that does,
    another deployment's too. It was sent before the version had traffic, before the way back began, or in an
    attempt at it that failed.
    """
    last = seconds(deployment.traffic_since or deployment.since)
    if deployment.failures:
        last = max(last, seconds(deployment.updated_at))
    return last + SETTLE_SECONDS


def _not_restored(
    deployment: Deployment, function: FunctionApi, action: Restore, error: LambdaError
) -> Outcome:
    """Read the alias again after Lambda refused to restore it, and say what it serves and why."""
    try:
        alias = read_alias(function, deployment.plan.alias, action.original, *action.applied)
        missing = find_missing(function, action.original)
    except LambdaNotFound:  # the function was deleted meanwhile
        return Restored(AliasOutcome.LEFT_TO_OTHER, None)
    if alias is None or alias.state not in action.applied:
        return TransientFailure(error.code, "someone else is changing the alias")
    if missing is not None:
        because = f"version {missing}, which it served before, no longer exists"
    elif isinstance(error, LambdaNotFound):
        return TransientFailure(error.code, "what Lambda did not find is there by now")
    else:
        because = f"Lambda refused: {error.code}: {error.message}"
    return Restored(AliasOutcome.NOT_RESTORED, alias.state, because)


def look_again(deployment: Deployment, function: FunctionApi, action: Restore, failed: Outcome) -> Outcome:
    """Return what the alias serves after the last attempt to restore it has `failed`."""
    alias = read_alias(function, deployment.plan.alias, action.original, *action.applied)
    state = alias.state if alias else None
    if state == action.original:
        back = AliasOutcome.RESTORED if action.original else AliasOutcome.REMOVED
        return Restored(back if action.was_moved else AliasOutcome.UNTOUCHED, state)
    if state not in action.applied:
        return Restored(AliasOutcome.LEFT_TO_OTHER, state)
    because = failed.message if isinstance(failed, PermanentFailure | Denied | TransientFailure) else ""
    return Restored(AliasOutcome.NOT_RESTORED, state, because)


def _fence(function: FunctionApi, name: str, alias: Alias) -> None:
    """Give the alias a new revision, so that a move that is still on its way is rejected.

    A role that may not move the alias has not moved it. Weights that Lambda itself has set are not written.
    """
    with suppress(LambdaAccessDenied, LambdaRejected):
        if not function.has_provisioned_concurrency(name):
            function.update_alias(name, alias.state, alias.revision)
