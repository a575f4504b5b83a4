"""Authorize an identity by the gate file: the deny list, rules, a stage's maximum age, and visibility."""

from typing import Final

from sluicegate.deployment.durations import duration
from sluicegate.deployment.model import Deployment
from sluicegate.gate import patterns
from sluicegate.gate.model import Placement, Stage
from sluicegate.gate.policy import Gate
from sluicegate.gate.rules import Rule
from sluicegate.gate.sessions import NOT_GRANTED
from sluicegate.gateway import sessions
from sluicegate.gateway.context import Context
from sluicegate.gateway.problems import Problem, invalid_token, not_allowed
from sluicegate.gateway.requester import log_fields
from sluicegate.oidc.identity import Identity
from sluicegate.owner import Owner
from sluicegate.store.deployments import DeploymentSummary
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving

AGENTS_MAY_NOT: Final = "Agents may not do this"
"""The title of a refusal that no rule can change."""
_BRING: Final = ("deploy", "promote")
"""Actions that bring something new to a stage."""


def check_denied(context: Context, identity: Identity) -> None:
    """Raise 403 if the gate file's `deny` lists the identity."""
    if denied := context.gate.denied(identity):
        context.log(
            "request_refused", code="not_allowed", denied=denied, **log_fields(context.gate, identity)
        )
        problem = not_allowed(f"the gate file denies this {denied}", title="The gate file denies this")
        problem.identity = identity
        raise problem


def authorize(
    context: Context, identity: Identity, actions: tuple[str, ...], function: str, stage: str | None
) -> Rule:
    """Return the rule that grants all of the actions. Raises 403 if there is none."""
    if identity.via == "session" and (needed := [one for one in actions if one in NOT_GRANTED]):
        context.log(
            "request_refused",
            code="not_allowed",
            action=" and ".join(needed),
            function=function,
            stage=stage,
            **log_fields(context.gate, identity),
        )
        raise not_allowed(
            f"a signed-in person cannot {' and '.join(needed)}: a job of a pipeline builds what is deployed,"
            " and people promote it or roll it back",
            title="A signed-in person may not do this",
        )
    decision = context.gate.decide(identity, actions=actions, function=function, stage=stage)
    if decision.rule is not None:
        return decision.rule
    action = " and ".join(actions)
    context.log(
        "request_refused",
        code="not_allowed",
        action=action,
        function=function,
        stage=stage,
        **log_fields(context.gate, identity),
    )
    where = f" in {stage}" if stage else ""
    if decision.withheld:
        raise not_allowed(
            f"agents may not {action} {function}{where}, whatever their rules grant",
            title=AGENTS_MAY_NOT,
        )
    hint = ""
    if any([failed.claim for failed in rule.failed] == ["ref_protected"] for rule in decision.nearest):
        # `protected` is among `clone_accessors` in GitLab's app/models/ci/build.rb (read on 2026-11-26).
        hint = (
            ". If the ref was protected since, run a new pipeline: a retried job keeps the old ref_protected"
        )
    raise not_allowed(f"no rule allows this identity to {action} {function}{where}{hint}", decision.nearest)


def check_age(
    context: Context, identity: Identity, placement: Placement | Stage | None, action: str = ""
) -> None:
    """Raise 401 if the token, or a person's sign-in, is older than the stage's own `max_age`, without leeway.

    Nothing tells how old AWS credentials are: alone they bring nothing new there (403), and whatever else
    they may do stays open, as the way in for emergencies. Call it after `authorize`: only callers that may
    act there learn the limit.
    """
    limit = placement.max_age if placement else None
    if limit is None:
        return
    if identity.via == "iam":
        if action in _BRING:
            context.log(
                "request_refused", code="not_allowed", check="max_age", **log_fields(context.gate, identity)
            )
            raise not_allowed(
                f"the stage takes credentials of at most {duration(limit)}, and nothing tells how old these"
                " are: send the job's ID token too",
                title="AWS credentials alone are not enough here",
            )
        return
    if identity.via == "session":
        check_fresh(context, identity, limit)
    elif context.clock() - identity.issued_at > limit:
        context.log(
            "request_refused", code="invalid_token", check="max_age", **log_fields(context.gate, identity)
        )
        raise invalid_token("max_age", f"the token is older than the stage allows ({duration(limit)})")


def check_fresh(context: Context, identity: Identity, limit: int = sessions.FRESH_SECONDS) -> None:
    """Raise 401 unless GitLab has signed the person in within `limit` seconds."""
    try:
        sessions.check_fresh(identity, context.clock(), limit)
    except Problem as problem:
        context.log("request_refused", code=problem.code, check="fresh", **log_fields(context.gate, identity))
        raise


def may_see(gate: Gate, identity: Identity, item: Deployment | DeploymentSummary | Serving) -> bool:
    """Return whether the identity may see it: its owner may, and a rule there lets others."""
    by = item.requested_by if isinstance(item, Deployment) else item.requester
    return is_own(identity, by.owner) or gate.may_see(identity, function=item.function, stage=item.stage)


def is_own(identity: Identity, owner: Owner) -> bool:
    """Return whether this is the identity's owner. One without a name is nobody's."""
    return bool(owner.realm and owner.id) and owner == identity.owner


def visible_deployment(context: Context, deployment_id: str, identity: Identity) -> Deployment | None:
    """Return the deployment, or None if there is none that the identity may see."""
    deployment = context.store.deployments.get(deployment_id)
    return deployment if deployment and may_see(context.gate, identity, deployment) else None


def overlaps(rule: Rule, hold: Hold) -> bool:
    """Return whether the rule is on any function that is held."""
    return any(
        patterns.overlap(pattern, patterns.compile(text))
        for pattern in rule.functions
        for text in hold.functions
    )


def covers(rule: Rule, hold: Hold) -> bool:
    """Return whether the rule is on every function that is held."""
    granted = {str(pattern) for pattern in rule.functions}
    return bool(granted & {"*", "**"}) or granted.issuperset(hold.functions)
