"""Move the alias to the next share of the traffic."""

from dataclasses import dataclass

from sluicegate.aws.lambda_ import (
    FunctionApi,
    FunctionVersion,
    LambdaConflict,
    LambdaError,
    LambdaNotFound,
    LambdaThrottled,
    StaleLambdaRevision,
)
from sluicegate.deployer.lookups import find_missing, missing_version, read_alias, read_found
from sluicegate.deployer.reuse import read_reused
from sluicegate.deployer.turn import Turn
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.actions import Shift
from sluicegate.rollout.outcomes import (
    AliasFound,
    AliasMoved,
    AliasSeen,
    Outcome,
    Pending,
    Shifted,
    TransientFailure,
    VersionUnusable,
)
from sluicegate.store.deployments import Deployments
from sluicegate.store.locks import Locks


@dataclass(frozen=True)
class AliasMover:
    """Moves an alias only from the state that was found, and only while this deployment holds its lock.

    guarantees.md#4-failure-restores-the-alias
    """

    locks: Locks
    deployments: Deployments

    def shift(self, deployment: Deployment, function: FunctionApi, action: Shift, turn: Turn) -> Outcome:
        """Move the alias from `action.original` to `action.desired`.

        The turn that wrote that the deployment is `shifting` did so on the condition that it has the lock.
        Any other looks.

        The alias moves only at the revision that is recorded: Lambda rejects a stale one. Another that serves
        the same is recorded first. A turn before may have made this move, and somebody else undone it: the
        end that it then wrote may still be under way, and must not come before a second move.

        After a failure the alias is read first, because the move may have taken effect although its response
        was lost.

        What nobody has read yet may have been changed since the deployment before. Only the turn that wrote
        that this one is `shifting` moves it unread, once: if Lambda rejects that, this deployment has moved
        nothing, and what the alias serves is what it found. Any other turn records first that it is as it was
        left.
        """
        is_first = turn.checked == deployment.revision
        if not is_first and not self.locks.holds_alias(deployment):
            return TransientFailure("LockLost", "this deployment does not hold the alias lock")
        if problem := _check_again(deployment, function, action):
            return problem
        rejection: LambdaError | None = None
        knows = is_first or not deployment.unseen
        if action.original != action.desired and not deployment.failures and knows:
            try:
                return self._move(deployment, function, action, action.revision)
            except (StaleLambdaRevision, LambdaConflict, LambdaNotFound) as error:
                rejection = error
                turn.unmoved = is_first and not error.repeated
            except LambdaThrottled as error:  # it had no effect
                turn.unmoved = is_first and not error.repeated
                raise
        alias = read_alias(function, deployment.plan.alias, action.original, action.desired)
        current = alias.state if alias else None
        if alias is not None and current == action.desired:
            return Shifted(action.desired, alias.revision)
        revision = alias.revision if alias else None
        if current != action.original:
            if deployment.unseen and turn.unmoved:
                return AliasSeen(current, revision, read_found(function, current))
            return AliasMoved(current)
        if isinstance(rejection, LambdaNotFound) and (missing := find_missing(function, action.desired)):
            return missing_version(missing)
        if not self._is_current(deployment):
            return TransientFailure("RecordChanged", "the record was changed in the meantime")
        changed = revision != action.revision
        if deployment.unseen and (changed or not is_first):
            return AliasSeen(current, revision)
        if alias is not None and changed:
            return AliasFound(alias.state, alias.revision)
        try:
            return self._move(deployment, function, action, revision)
        except LambdaNotFound as error:
            if missing := find_missing(function, action.desired):
                return missing_version(missing)
            return TransientFailure(error.code, "what Lambda did not find is there by now")

    def _is_current(self, deployment: Deployment) -> bool:
        """Return whether the record is unchanged.

        Without this, an alias that was just restored could be read, and moved again.
        """
        stored = self.deployments.get(deployment.id)
        return stored is not None and stored.revision == deployment.revision

    def _move(
        self, deployment: Deployment, function: FunctionApi, action: Shift, revision: str | None
    ) -> Outcome:
        name = deployment.plan.alias
        if revision is None:
            alias = function.create_alias(name, action.desired.version, f"Sluicegate: {deployment.stage}")
        else:
            alias = function.update_alias(name, action.desired, revision)
        return Shifted(action.desired, alias.revision)


def _check_again(
    deployment: Deployment, function: FunctionApi, action: Shift
) -> Pending | VersionUnusable | None:
    """Look at a reused version again right before it gets traffic: its check may be long ago.

    A version that has just been published was looked at in the same turn.
    """
    first_move = deployment.current == deployment.original and action.original != action.desired
    if deployment.action == "deploy" or not first_move:
        return None
    version = read_reused(deployment, function, deployment.version or "")
    return None if isinstance(version, FunctionVersion) else version
