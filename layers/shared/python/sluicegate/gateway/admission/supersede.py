"""Supersede the deployment that holds an alias: which records change, and when the new one may start."""

from sluicegate.deployment.model import Deployment, Reason
from sluicegate.deployment.ordering import ordered_by, proven_pipeline
from sluicegate.gateway.context import Context
from sluicegate.gateway.problems import Problem, conflict
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.errors import Busy
from sluicegate.store.locks import AliasLock, Supersession


def supersede(context: Context, deployment: Deployment, lock: AliasLock, *, allowed: bool) -> Supersession:
    """Return what changes for the lock's holder and its successor. Raises Busy, or 409 `outdated`.

    A proposal ends nothing before it is approved: it becomes the lock's successor, unless there is one. And
    as long as it waits for that, a proposed rollback stands in nobody's way.

    A holder that has ended frees its lock in the same transaction. Should such a lock ever be left over, it
    protects nothing, and must not block the alias: it is taken even where superseding is not `allowed`.
    """
    holder = context.store.deployments.get(lock.deployment)
    successor = context.store.deployments.get(lock.successor) if lock.successor else None
    if holder is None or holder.status.final:
        if successor is not None and not successor.status.final and not allowed:
            raise Busy(successor.id)
    elif not allowed or _is_rollback(holder):
        # A rollback takes a second, and the deployment that it undoes must not end it.
        raise Busy(holder.id)
    if (
        successor is not None
        and not successor.status.final
        and (deployment.plan.proposed or (_is_rollback(successor) and deployment.action != "rollback"))
    ):
        # It waits until what it undoes has restored the alias. Only another rollback takes its place.
        raise Busy(successor.id)
    message = f"deployment {deployment.id} supersedes it"
    reason = Reason("superseded", message, {"by": deployment.id})
    changes = []
    for before in (holder, successor):
        if before is None or before.status.final:
            continue
        if deployment.plan.ordered and deployment.action != "rollback" and _is_newer(before, deployment):
            raise outdated(deployment.stage)
        if deployment.plan.proposed:
            continue
        after = request_abort(before, reason, message, context.clock())
        if after is not before:
            changes.append((before, after))
    at_once = (
        holder is None
        or holder.status.final
        or any(before is holder and after.status.final for before, after in changes)
    )
    return Supersession(lock, tuple(changes), at_once)


def _is_rollback(deployment: Deployment) -> bool:
    """Return whether it is a rollback that nobody has to approve first, or somebody has approved."""
    return deployment.action == "rollback" and not (deployment.plan.proposed and not deployment.is_approved)


def has_ended(context: Context, deployment_id: str) -> bool:
    """Return whether the deployment is final, or there is none."""
    deployment = context.store.deployments.get(deployment_id)
    return deployment is None or deployment.status.final


def outdated(stage: str) -> Problem:
    """409: the pipeline is older than one that has deployed there."""
    return conflict("outdated", f"a newer pipeline of this project has been deployed to {stage}")


def _is_newer(running: Deployment, deployment: Deployment) -> bool:
    """Return whether the running deployment is of a proven, newer pipeline of the same owner."""
    same = ordered_by(running).owner == ordered_by(deployment).owner
    return same and proven_pipeline(running) > proven_pipeline(deployment)
