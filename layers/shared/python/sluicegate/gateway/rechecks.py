"""What acceptance checks, and which of it an approval checks again: time has passed between the two.

security.md#what-an-approval-checks-again
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, get_args

from sluicegate.deployment.model import Deployment
from sluicegate.gate.policy import Gate
from sluicegate.gateway.admission.resolve import check_required, gone_detail, held, hold_on, target_of
from sluicegate.gateway.admission.supersede import outdated
from sluicegate.gateway.context import Context
from sluicegate.gateway.persons import check_can_be_approved
from sluicegate.gateway.problems import not_allowed, unprocessable
from sluicegate.oidc.identity import Identity, Principal, Via
from sluicegate.store.codec import Item, read

Recheck: TypeAlias = Callable[[Context, Deployment], None]
"""Raises a Problem where the deployment would not be accepted any more."""


@dataclass(frozen=True)
class AcceptanceCheck:
    """One thing that acceptance checks. `again` repeats it at an approval; None where `why` says why not.

    `stops_no_rollback`: it is for deployments of new code only.
    """

    name: str
    why: str
    again: Recheck | None = None
    stops_no_rollback: bool = False


def check_again(context: Context, deployment: Deployment) -> None:
    """Raise the Problem of the first check that the waiting deployment no longer passes.

    Some stop no rollback, at its acceptance or later: a proposed one is approved without them.
    """
    for check in ACCEPTANCE:
        if check.again and not (check.stops_no_rollback and deployment.action == "rollback"):
            check.again(context, deployment)


def _requester(context: Context, deployment: Deployment) -> None:
    """Deny list and rules of the gate file in force, for the identity that asked, and whether it is a bot."""
    kept = context.store.deployments.identity(deployment.id)
    where = {"function": deployment.function, "stage": deployment.stage}
    actions = tuple((kept or {}).get("actions") or (deployment.action,))
    identity = _identity(context.gate, kept) if kept else None
    if identity is None or context.gate.decide(identity, actions=actions, **where).rule is None:
        raise not_allowed(
            "the gate file in force does not allow this deployment to its requester",
            title="The requester may not deploy this any more",
        )
    check_can_be_approved(context.gate, identity, actions, **where)


def _placement(context: Context, deployment: Deployment) -> None:
    placement = context.gate.place(deployment.function, deployment.stage)
    plan = deployment.plan
    if placement is None or (target_of(context, placement), placement.alias) != (plan.target, plan.alias):
        raise unprocessable(
            f"the gate file in force does not place {deployment.function} in {deployment.stage} at alias"
            f" {plan.alias} in {plan.target.account} {plan.target.region} any more: request it again"
        )
    if (placement.target.role, placement.target.external_id) != (plan.role, plan.external_id):
        raise unprocessable(
            f"the gate file in force enters target {placement.target.name} by another role or external id:"
            " request it again"
        )


def _requires(context: Context, deployment: Deployment) -> None:
    """The stage that the plan names, and the one that the gate file in force names."""
    placement = context.gate.place(deployment.function, deployment.stage)
    for stage in {deployment.plan.requires, placement.requires if placement else None}:
        check_required(context, deployment.function, deployment.sha256, stage)


def _order(context: Context, deployment: Deployment) -> None:
    placement = context.gate.place(deployment.function, deployment.stage)
    ordered = deployment.plan.ordered or (placement is not None and placement.ordered)
    if ordered and context.store.versions.is_outdated(deployment):
        raise outdated(deployment.stage)


def _hold(context: Context, deployment: Deployment) -> None:
    if hold := hold_on(context.store.holds.of_stage(deployment.stage), deployment.function):
        raise held(hold)


def _version(context: Context, deployment: Deployment) -> None:
    """The version of a promotion may have been found deleted since."""
    version, plan = deployment.version, deployment.plan
    if version is None:
        return
    since = context.store.versions.gone_since(plan.target, deployment.function, version, deployment.sha256)
    if since:
        raise unprocessable(gone_detail(version, deployment.function, since))


_LOCKED: Final = "nothing else moves the alias while the deployment has its lock"

ACCEPTANCE: Final = (
    AcceptanceCheck("requester", "`deny`, rules and bots may have changed", _requester),
    AcceptanceCheck("placement", "`functions`, alias and target of the stage may have changed", _placement),
    AcceptanceCheck(
        "requires", "a rollback may have withdrawn it there, or `requires` changed", _requires, True
    ),
    AcceptanceCheck("order", "`order` may have been added", _order, True),
    AcceptanceCheck("hold", "the stage may be held since", _hold, True),
    AcceptanceCheck("version", "another deployment may have found that it was deleted", _version),
    AcceptanceCheck("limits", "they limit what is asked for, and the approver is the person they ask for"),
    AcceptanceCheck("max_age", "the request came in time; the approver's token has to be as young"),
    AcceptanceCheck("strategy", "the plan is fixed, and is what is approved; `requester` has its actions"),
    AcceptanceCheck("artifact", "it was looked for before anybody was asked; publishing compares its digest"),
    AcceptanceCheck("source", "a version does not change, and its digest is compared again"),
    AcceptanceCheck("expect", f"{_LOCKED}; the deployer compares the alias itself"),
    AcceptanceCheck("busy", _LOCKED),
    AcceptanceCheck("token", "the request has used its token; the approval uses the approver's"),
)


def _identity(gate: Gate, kept: Item) -> Identity:
    """Return the requester's identity as it was verified. The gate file in force says who is a person."""
    via = next(via for via in get_args(Via) if via == kept["via"])
    claims = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept["claims"].items()
    }
    principal = read(kept["principal"], Principal) if kept.get("principal") else None
    if (
        principal
        and principal.principal_type == "sso"
        and not gate.principals.is_sso(principal.account, principal.principal_id, principal.org)
    ):
        principal = replace(principal, principal_type="role")
    return Identity(
        via=via,
        issuer=kept["issuer"],
        claims={**claims, **(principal.claims if principal else {})},
        jti=kept["jti"],
        issued_at=0,
        expires_at=0,
        principal=principal,
        agent=kept.get("agent", False),
    )
