"""Commit an accepted deployment: everything that must be true together, in one transaction, or nothing."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sluicegate.deployment.model import Deployment
from sluicegate.gate.rules import Rule
from sluicegate.gateway.admission.credentials import uses_of
from sluicegate.gateway.admission.resolve import serving_of
from sluicegate.gateway.admission.supersede import has_ended, outdated, supersede
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import basis_of
from sluicegate.gateway.limits import moment, refusal
from sluicegate.gateway.problems import Problem, unavailable
from sluicegate.oidc.identity import Identity
from sluicegate.store.errors import (
    Busy,
    Condemned,
    CredentialUsed,
    LimitReached,
    Outdated,
    ServingChanged,
    SlotTaken,
    StaleRevision,
)
from sluicegate.store.keys import digest
from sluicegate.store.locks import Supersession
from sluicegate.store.requests import CredentialUse, PermanentClaim
from sluicegate.store.serving import Serving
from sluicegate.store.slots import Allowance, Slot

_TRIES: Final = 6

_SLOT_TRIES: Final = 30
"""Slots that a request may lose to other requests. Each time, it finds fewer that are free."""


@dataclass(frozen=True)
class Acceptance:
    """A deployment to write, and what is written or must still be true with it.

    `actions` are those that a rule must still grant when it is approved; an alias must still serve
    `still_serving`; `claim` keeps the request for good. `rule` allows it, within `allowances`.
    """

    deployment: Deployment
    identity: Identity
    actions: tuple[str, ...]
    request_key: str
    fingerprint: str
    supersede: bool
    still_serving: Serving | None
    claim: PermanentClaim | None
    rule: Rule
    allowances: tuple[Allowance, ...] = ()


def commit(context: Context, acceptance: Acceptance) -> tuple[Deployment, tuple[Deployment, ...]]:
    """Return the deployment as written, and the superseded ones as they are now.

    Raises RequestKnown, CredentialUsed, TagMoved, Busy, Contended or a Problem.
    """
    uses = uses_of(context, acceptance.identity, acceptance.deployment, acceptance.fingerprint)
    rollbacks: set[str] = set()
    take_lock, tries, slots_lost = acceptance.supersede, 0, 0
    while tries < _TRIES and slots_lost < _SLOT_TRIES:
        supersession = _supersession(context, acceptance) if take_lock else None
        try:
            return _write(context, acceptance, uses, supersession)
        except SlotTaken:
            slots_lost += 1
            continue
        except StaleRevision:
            pass
        except Busy as busy:
            # Another deployment took the alias since the lock was read; or a lock was left over.
            take_lock = acceptance.supersede or has_ended(context, busy.deployment)
            if not take_lock:
                raise
        except ServingChanged:
            raise unavailable("What is served has just changed. Retry the request.", 1) from None
        except Condemned:
            raise unavailable("The version is being deleted as an old one. Retry the request.", 1) from None
        except Outdated:
            raise outdated(acceptance.deployment.stage) from None
        except CredentialUsed as used:
            # Only once: the key of the rollback is used up like the first.
            if used.use.key in rollbacks or not _rolls_back_its_own(context, acceptance, used):
                raise
            rollback = replace(used.use, key=digest("rollback", used.use.key))
            rollbacks.add(rollback.key)
            uses = tuple(rollback if use == used.use else use for use in uses)
        tries += 1
    raise contended()


def contended() -> Problem:
    """503: nothing was written."""
    return unavailable("Too many requests for this stage at once. Retry the request.", 1)


def _supersession(context: Context, acceptance: Acceptance) -> Supersession | None:
    deployment, plan = acceptance.deployment, acceptance.deployment.plan
    lock = context.store.locks.alias_lock(plan.target, deployment.function, plan.alias)
    return supersede(context, deployment, lock, allowed=acceptance.supersede) if lock else None


def _write(
    context: Context,
    acceptance: Acceptance,
    uses: tuple[CredentialUse, ...],
    supersession: Supersession | None,
) -> tuple[Deployment, tuple[Deployment, ...]]:
    deployment = acceptance.deployment
    if supersession and not supersession.at_once:
        deployment = replace(deployment, supersedes=supersession.lock.deployment)
    slots = _slots(context, acceptance, uses)
    context.store.deployments.accept(
        deployment,
        request_key=acceptance.request_key,
        fingerprint=acceptance.fingerprint,
        uses=uses,
        supersession=supersession,
        identity=_kept_identity(acceptance) if deployment.plan.approval is not None else None,
        still_serving=acceptance.still_serving,
        claim=acceptance.claim,
        slots=slots,
        basis=basis_of(context, acceptance.identity, acceptance.actions, acceptance.rule),
    )
    return deployment, tuple(after for _, after in supersession.changes) if supersession else ()


def _slots(context: Context, acceptance: Acceptance, uses: tuple[CredentialUse, ...]) -> tuple[Slot, ...]:
    """Return a free slot of each limit. Raises 403 where there is none, CredentialUsed if one has been used.

    A repetition takes no slot, whatever key it has, and is refused for none.
    """
    at = moment(acceptance.deployment)
    try:
        return tuple(context.store.slots.pick(allowance, at) for allowance in acceptance.allowances)
    except LimitReached as reached:
        for use in uses:
            if before := context.store.requests.use_of(use):
                raise CredentialUsed(use, before) from None
        raise refusal(context, acceptance.identity, acceptance.rule, reached) from None


def approval_fingerprint(deployment_id: str) -> str:
    """Return the fingerprint of a credential's use for an approval."""
    return digest("approve", deployment_id)


def _rolls_back_its_own(context: Context, acceptance: Acceptance, used: CredentialUsed) -> bool:
    """Return whether the request rolls back what its credential deployed: the one more use that this has.

    A rollback to what it deployed does not count: it would only end another job's rollout. Nor does a
    credential that approved: it deployed nothing.
    """
    deployment, plan = acceptance.deployment, acceptance.deployment.plan
    approved = used.request.fingerprint == approval_fingerprint(used.request.deployment)
    if deployment.action != "rollback" or approved:
        return False
    serving = serving_of(context, plan.target, deployment.function, plan.alias)
    return (
        serving is not None
        and serving.deployment == used.request.deployment
        and serving.version != deployment.version
    )


def _kept_identity(acceptance: Acceptance) -> dict[str, Any]:
    """Return the requester and the actions, for the check of the rules in force at the approval."""
    identity = acceptance.identity
    return {
        "actions": acceptance.actions,
        "via": identity.via,
        "issuer": identity.issuer,
        "jti": identity.jti,
        "principal": identity.principal and asdict(identity.principal),
        "agent": identity.agent,
        "claims": dict(identity.claims),
    }
