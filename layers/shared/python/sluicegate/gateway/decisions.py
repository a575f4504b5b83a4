"""Approve, reject or abort a deployment. A decision is written to the record before the rollout is woken.

security.md#approvals
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from sluicegate.deployment.approvals import closed_to_approval
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import (
    AbortProposal,
    Approval,
    Deployment,
    Reason,
    Requester,
)
from sluicegate.evidence.basis import Basis
from sluicegate.gate.rules import Rule
from sluicegate.gateway.admission.commit import approval_fingerprint
from sluicegate.gateway.admission.credentials import uses_of
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import basis_of
from sluicegate.gateway.limits import proposes
from sluicegate.gateway.persons import check_approver
from sluicegate.gateway.problems import conflict, credential_used, not_allowed, unavailable
from sluicegate.gateway.rechecks import check_again
from sluicegate.gateway.requester import display_name, requester
from sluicegate.gateway.requests.bodies import DecisionRequest
from sluicegate.oidc.identity import Identity
from sluicegate.owner import Owner
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.errors import CredentialUsed, StaleRevision
from sluicegate.store.requests import CredentialUse
from sluicegate.text import clean

_TRIES: Final = 6


@dataclass(frozen=True)
class Decided:
    """The record before and after a decision; `replayed` if the decision was in it before."""

    before: Deployment
    deployment: Deployment
    replayed: bool


def approve(
    context: Context, deployment: Deployment, identity: Identity, rule: Rule, request: DecisionRequest
) -> Decided:
    """Record a second person's approval. Raises 403 for anybody else, and 409 when it is too late."""

    def change(current: Deployment) -> _Change | None:
        if _decided_by(context, current, "approved", identity):
            return None
        _check_revision(current, request)
        check_open(current, context.clock())
        check_approver(context.gate, current.requested_by, identity, current.function, current.stage)
        check_again(context, current)
        approval = _approval(context, "approved", identity, rule, request.reason)
        message = (
            f"approved by {display_name(approval.by)}, by rule {clean(rule.name)!r}{_suffix(request.reason)}"
        )
        after = current.changed(context.clock(), clean(message), approval=approval)
        # A credential that approved is used up there.
        return after, uses_of(context, identity, current, approval_fingerprint(current.id))

    return _save(
        context, deployment, change, basis_of(context, identity, ("approve",), rule), dry_run=request.dry_run
    )


def reject(
    context: Context, deployment: Deployment, identity: Identity, rule: Rule, request: DecisionRequest
) -> Decided:
    """Record a rejection, which ends the deployment. If it has traffic already, the alias is restored."""

    def change(current: Deployment) -> _Change | None:
        if _decided_by(context, current, "rejected", identity):
            return None
        _check_revision(current, request)
        check_open(current, context.clock())
        if _only_proposes(context, current, identity, rule):
            raise not_allowed(
                "this identity may only propose, and a rejection ends the deployment: a person may reject",
                title="This identity may only propose here",
            )
        approval = _approval(context, "rejected", identity, rule, request.reason)
        message = clean(f"rejected by {display_name(approval.by)}{_suffix(request.reason)}")
        rejected = replace(current, approval=approval)
        return request_abort(rejected, Reason("rejected", message), message, context.clock()), ()

    return _save(
        context, deployment, change, basis_of(context, identity, ("reject",), rule), dry_run=request.dry_run
    )


def abort(
    context: Context, deployment: Deployment, identity: Identity, rule: Rule, request: DecisionRequest
) -> Decided:
    """Record an abort, in any status that is not final; the alias is restored if it was moved.

    Of an identity that may only propose, record that it proposes that: a person aborts.
    """

    def change(current: Deployment) -> _Change | None:
        if current.abort is not None:
            return None
        _check_revision(current, request)
        if current.status.final:
            raise conflict("wrong_state", f"the deployment is {current.status}, which is final")
        if _only_proposes(context, current, identity, rule):
            return _propose_abort(context, current, identity, request.reason)
        by = display_name(requester(context.gate, identity))
        message = clean(f"aborted by {by}{_suffix(request.reason)}")
        after = request_abort(current, Reason("aborted", message), message, context.clock())
        return None if after is current else (after, ())

    actions = ("abort", "rollback") if deployment.action == "rollback" else ("abort",)
    return _save(
        context, deployment, change, basis_of(context, identity, actions, rule), dry_run=request.dry_run
    )


def _propose_abort(
    context: Context, current: Deployment, identity: Identity, reason: str | None
) -> "_Change | None":
    """Record the first proposal to abort it. Later ones change nothing, so that a timeline stays short."""
    if current.abort_proposed is not None:
        return None
    now, by = context.clock(), requester(context.gate, identity)
    proposal = AbortProposal(by, timestamp(now), reason and clean(reason))
    message = clean(f"{display_name(by)} proposes to abort it{_suffix(reason)}")
    return current.changed(now, message, abort_proposed=proposal), ()


def _only_proposes(context: Context, deployment: Deployment, identity: Identity, rule: Rule) -> bool:
    """Return whether a person must decide to end the deployment. A proposal may be withdrawn by its owner."""
    by, principal = deployment.requested_by, identity.principal
    mine = by.owner == identity.owner and by.user_id == identity.text("user_id")
    if principal and principal.principal_type == "sso":  # one role, and as many persons as sessions' names
        mine = mine and by.session_name == principal.session_name
    if mine and deployment.plan.proposed and deployment.is_waiting and not deployment.is_approved:
        return False
    placement = context.gate.place(deployment.function, deployment.stage)
    return proposes(context.gate, identity, rule, placement)


# Writing


_Change: TypeAlias = tuple[Deployment, tuple[CredentialUse, ...]]


def _save(
    context: Context,
    deployment: Deployment,
    change: Callable[[Deployment], _Change | None],
    basis: Basis,
    *,
    dry_run: bool,
) -> Decided:
    """Save what `change` makes of the record, and decide again if another writer was faster.

    `change` returns the next revision and the uses of credentials, or None if there is nothing to change.
    A dry run is refused where that would be, and writes nothing.
    """
    for current in _revisions(context, deployment):
        changed = change(current)
        if changed is None:
            return Decided(current, current, replayed=True)
        after, uses = changed
        if dry_run:
            for use in uses:
                if not context.store.requests.is_free(use):
                    raise credential_used(use)
            return Decided(current, after, replayed=False)
        try:
            context.store.deployments.save(current, after, uses=uses, basis=basis)
        except StaleRevision:
            continue
        except CredentialUsed as used:
            raise credential_used(used.use) from None
        return Decided(current, after, replayed=False)
    raise unavailable("Too many concurrent changes to this deployment. Retry the request.", 1)


def _revisions(context: Context, deployment: Deployment) -> Iterator[Deployment]:
    """Yield the record, then its later revisions, a few times."""
    yield deployment
    for _ in range(_TRIES):
        if current := context.store.deployments.get(deployment.id):
            yield current


# Checks


def _check_revision(deployment: Deployment, request: DecisionRequest) -> None:
    """Raise 409 if the decision is about another revision than the deployment's present one."""
    if request.revision not in (None, deployment.revision):
        detail = (
            f"the deployment is at revision {deployment.revision}, and not {request.revision}: look again"
        )
        raise conflict("wrong_state", detail, {"revision": deployment.revision})


def check_open(deployment: Deployment, now: float) -> None:
    """Raise 409 unless the deployment waits for an approval."""
    if reason := closed_to_approval(deployment, now):
        raise conflict("wrong_state", reason)


def _approval(
    context: Context, decision: str, identity: Identity, rule: Rule, reason: str | None
) -> Approval:
    at = timestamp(context.clock())
    return Approval(decision, requester(context.gate, identity), rule.name, at, reason and clean(reason))


def _decided_by(context: Context, deployment: Deployment, decision: str, identity: Identity) -> bool:
    """Return whether it was this very job, or session, that decided so."""
    given = deployment.approval
    if given is None or given.decision != decision:
        return False
    return _decider(given.by) == _decider(requester(context.gate, identity))


def _decider(by: Requester) -> tuple[Owner, str | None]:
    """Return what tells one who decides from another: the job, or the name of the session."""
    return by.owner, by.session_name if by.via == "iam" else by.job_id


def _suffix(reason: str | None) -> str:
    return f": {clean(reason)}" if reason else ""
