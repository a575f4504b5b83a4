"""Resolve an authorized request by the record and the gate file in force: what would it do, and can it?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sluicegate.deployment.model import Deployment, EarlierVersion, Origin, origin_of
from sluicegate.deployment.plan import ALL_AT_ONCE, Plan, Target
from sluicegate.deployment.strategy import is_at_least_as_cautious
from sluicegate.gate import patterns
from sluicegate.gate.model import Placement
from sluicegate.gate.rules import Rule
from sluicegate.gateway.admission.ways_back import WayBack, named_version, way_back
from sluicegate.gateway.authorization import may_see
from sluicegate.gateway.context import Context
from sluicegate.gateway.limits import limited, proposes
from sluicegate.gateway.persons import check_can_be_approved
from sluicegate.gateway.problems import Problem, conflict, function_not_covered, pruned, unprocessable
from sluicegate.gateway.requests.bodies import DeploymentRequest
from sluicegate.oidc.identity import Identity
from sluicegate.store.grounds import Ground
from sluicegate.store.history import PastVersion, ServedVersion
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving
from sluicegate.text import clean


@dataclass(frozen=True)
class Resolved:
    """What a request would do. `version` is set where none has to be published; `built` says who built it.

    `still_serving` is what must not have changed until it is accepted: what the source of a promotion serves,
    or what the stage does, where the version to go back to depends on it. `fallbacks` are tried if `version`
    cannot be served, and `notes` are for the timeline.
    """

    sha256: str
    plan: Plan
    rule: Rule
    version: str | None = None
    built: Origin | None = None
    still_serving: Serving | None = None
    fallbacks: tuple[EarlierVersion, ...] = ()
    notes: tuple[str, ...] = ()


def required_actions(request: DeploymentRequest, placement: Placement | None) -> tuple[str, ...]:
    """Return all the actions that one rule has to grant."""
    actions: tuple[str, ...] = (request.action,)
    if request.fix_forward:
        actions += ("fix-forward",)
    loosens = (
        request.strategy is not None
        and placement is not None
        and not is_at_least_as_cautious(
            request.strategy, placement.steps, watched=placement.watch is not None
        )
    )
    return (*actions, "override-strategy") if loosens else actions


def resolve(
    context: Context,
    request: DeploymentRequest,
    rule: Rule,
    placement: Placement | None,
    identity: Identity,
    ground: Ground | None = None,
) -> Resolved:
    """Return what the request would do. Raises 422, 412 or 409 where the record shows that it cannot.

    `ground` is what has been read for it; a rehearsal, which writes nothing, has none.
    """
    _check_fix_forward(request)
    if placement is None:
        raise function_not_covered(request.function)
    serving = None
    if request.action == "rollback" or request.expected_version is not None:
        serving = serving_of(context, target_of(context, placement), request.function, placement.alias)
    match request.action:
        case "deploy":
            resolved = _deploy(context, request, rule, placement, ground)
        case "promote":
            resolved = _promote(context, request, rule, placement, identity)
        case "rollback":
            resolved = _rollback(context, request, rule, placement, serving)
    proposed = proposes(context.gate, identity, rule, placement)
    # Overlooking an alarm is a judgement: an agent's waits for a person's, whatever the rule grants.
    proposed = proposed or (request.fix_forward and context.gate.principals.actor(identity) == "agent")
    plan = limited(resolved.plan, rule, placement, action=request.action, proposed=proposed)
    resolved = replace(resolved, plan=plan)
    _check_expected(request, serving)
    if request.action != "rollback":
        check_required(context, request.function, resolved.sha256, resolved.plan.requires, identity)
        holds = ground.holds() if ground else context.store.holds.of_stage(request.stage)
        if hold := hold_on(holds, request.function):
            raise held(hold)
    if resolved.plan.approval is not None:
        actions = required_actions(request, placement)
        check_can_be_approved(context.gate, identity, actions, request.function, request.stage)
    return resolved


def target_of(context: Context, placement: Placement) -> Target:
    """Return the account and region of the placement."""
    target = placement.target
    return Target(target.account or context.own.account, target.region or context.own.region)


def serving_of(context: Context, target: Target, function: str, alias: str) -> Serving | None:
    """Return what the alias serves, under any stage: the gate file may have renamed the stage since.

    A consistent read: what was withdrawn a moment ago is neither promoted nor taken for what is expected.
    """
    here = (target.account, target.region, alias)
    found = [
        one
        for one in context.store.versions.serving(function, consistent=True)
        if (one.account, one.region, one.alias) == here
    ]
    return max(found, key=lambda one: one.position, default=None)


def hold_on(holds: Iterable[Hold], function: str) -> Hold | None:
    """Return the hold of a stage's that stops new deployments of this function."""
    for hold in holds:
        if any(patterns.compile(text).matches(function) for text in hold.functions):
            return hold
    return None


def held(hold: Hold) -> Problem:
    """409: new deployments of a stage are held."""
    members = {"since": hold.since, "reason": clean(hold.reason)}
    detail = f"{hold.stage} is held since {hold.since}: {clean(hold.reason)}"
    return conflict("held", detail, members)


# The three actions


def _deploy(
    context: Context,
    request: DeploymentRequest,
    rule: Rule,
    placement: Placement,
    ground: Ground | None,
) -> Resolved:
    """Resolve a deploy: with all that the plan says, whether or not the stage served the artifact before.

    Only a request for a rollback has a rollback's privileges (security.md#what-an-action-includes).
    """
    sha256 = request.sha256 or ""
    announced = ground or context.store.uploads
    if not announced.is_registered(request.function, sha256):
        raise unprocessable(
            f"artifact {sha256[:12]} of {request.function} does not exist: POST /v1/artifacts first"
        )
    return Resolved(sha256, _plan(context, request, placement), rule)


def _promote(
    context: Context, request: DeploymentRequest, rule: Rule, placement: Placement, identity: Identity
) -> Resolved:
    """Resolve a promotion: of exactly what another stage serves, whose code was tried there."""
    stage = request.source or ""
    source = context.gate.place(request.function, stage)
    if source is None:
        raise unprocessable(f"the gate file has no stage {stage}")
    target = target_of(context, source)
    serving = serving_of(context, target, request.function, source.alias)
    if (
        serving is None
        or not may_see(context.gate, identity, serving)
        or request.version not in (None, serving.version)
        or request.sha256 not in (None, serving.sha256)
    ):
        wanted = (
            f"version {request.version}" if request.version else f"artifact {(request.sha256 or '')[:12]}"
        )
        raise conflict("source_changed", f"{stage} does not serve {wanted} of {request.function}")
    holder = _rolling_out(context, target, request.function, source.alias)
    if holder and holder.may_have_moved:
        raise conflict("source_changed", f"a deployment to {stage} is rolling out")
    plan = _plan(context, request, placement)
    built = serving.built or _published_for(context, target, serving)
    if plan.target != target:
        check_artifact(context, plan.target, request.function, serving.sha256)
        return Resolved(serving.sha256, plan, rule, built=built, still_serving=serving)
    if since := context.store.versions.gone_since(target, request.function, serving.version, serving.sha256):
        raise unprocessable(gone_detail(serving.version, request.function, since))
    return Resolved(serving.sha256, plan, rule, serving.version, built, still_serving=serving)


def _published_for(context: Context, target: Target, serving: Serving) -> Origin | None:
    """Return who built what is served, where the record of that is older than origins are kept."""
    known = context.store.versions.published(target, serving.function, serving.sha256)
    if known is None or known.version != serving.version:
        return None
    deployment = context.store.deployments.get(known.deployment)
    return (deployment.built or origin_of(deployment)) if deployment else None


def _rollback(
    context: Context,
    request: DeploymentRequest,
    rule: Rule,
    placement: Placement,
    serving: Serving | None,
) -> Resolved:
    """Resolve a rollback: to the named version, or to the one that the stage served before."""
    target = target_of(context, placement)
    past = context.store.versions.past(target, request.function, placement.alias)
    holder = _rolling_out(context, target, request.function, placement.alias)
    if request.version is not None:
        back = WayBack(_named(request, request.version, past, holder))
    else:
        back = _default(request, past, serving, holder)
    return Resolved(
        back.version.sha256,
        _rollback_plan(context, placement),
        rule,
        back.version.version,
        back.version.built,
        still_serving=serving if request.version is None else None,
        fallbacks=back.fallbacks,
        notes=back.notes,
    )


def _named(
    request: DeploymentRequest, version: str, past: list[PastVersion], holder: Deployment | None
) -> EarlierVersion:
    found = named_version(version, past, holder)
    if found is None:
        raise unprocessable(f"{request.stage} has never served version {version} of {request.function}")
    if isinstance(found, EarlierVersion):
        return found
    if found.gone_since is not None and found.pruned:
        raise pruned(version, request.function, found.gone_since)
    if found.gone_since is not None:
        raise unprocessable(gone_detail(version, request.function, found.gone_since))
    return EarlierVersion(found.version, found.sha256, found.built)


def _default(
    request: DeploymentRequest, past: list[PastVersion], serving: Serving | None, holder: Deployment | None
) -> WayBack:
    back = way_back(past, serving, holder)
    if back is not None:
        return back
    if serving is None and not past:
        raise unprocessable(
            f"{request.function} has never been deployed to {request.stage}: there is nothing to roll back to"
        )
    raise unprocessable(
        f"there is no earlier version of {request.function} in {request.stage} that still exists and was"
        " not withdrawn"
    )


def gone_detail(version: str, function: str, since: str) -> str:
    """Say that a version was found to be gone at `since` (RFC 3339), and what to do."""
    found = f"version {version} of {function} no longer exists, as was found at {since}"
    return f"{found}: deploy its artifact again"


# Parts


def check_artifact(context: Context, target: Target, function: str, sha256: str) -> None:
    """Raise 422 unless a version of the digest is known in the target, or can still be published there.

    A version exists in one account and region only; to another one, the same bytes are published again.
    """
    if context.store.versions.published(target, function, sha256):
        return
    if context.artifacts.find(function, sha256) is None:
        raise unprocessable(
            f"artifact {sha256[:12]} of {function} has expired, and was never published in {target.account}"
            f" {target.region}: upload it again (POST /v1/artifacts), or build and deploy the commit again"
        )


def _plan(context: Context, request: DeploymentRequest, placement: Placement) -> Plan:
    return Plan(
        target=target_of(context, placement),
        alias=placement.alias,
        steps=request.strategy or placement.steps,
        gate=context.gate.digest,
        smoke=placement.smoke,
        watch=placement.watch,
        approval=placement.approval,
        requires=placement.requires,
        ordered=placement.ordered,
        role=placement.target.role,
        external_id=placement.target.external_id,
        target_name=placement.target.name,
    )


def _rollback_plan(context: Context, placement: Placement) -> Plan:
    """Return the plan of a rollback: at once, for the version was served before. Only a proposal waits."""
    return Plan(
        target_of(context, placement),
        placement.alias,
        ALL_AT_ONCE,
        context.gate.digest,
        role=placement.target.role,
        external_id=placement.target.external_id,
        target_name=placement.target.name,
    )


def _served(context: Context, function: str, placement: Placement) -> list[ServedVersion]:
    """Return the versions that succeeded there, the latest first."""
    return context.store.versions.served(target_of(context, placement), function, placement.alias)


def _rolling_out(context: Context, target: Target, function: str, alias: str) -> Deployment | None:
    lock = context.store.locks.alias_lock(target, function, alias)
    return context.store.deployments.get(lock.deployment) if lock else None


def _check_fix_forward(request: DeploymentRequest) -> None:
    """Raise 422 unless `fix_forward` and `reason` come together, and with a deploy.

    A promotion needs neither: a deploy of the artifact that the other stage serves is the same code.
    """
    if request.fix_forward and request.action != "deploy":
        raise unprocessable(
            f"only a deploy can be a `fix_forward`, not a {request.action}: deploy the artifact of the fix"
        )
    if request.fix_forward and not (request.reason or "").strip():
        raise unprocessable(
            "`fix_forward` needs a `reason`, for the record: why the alarms that are firing may be overlooked"
        )
    if request.reason is not None and not request.fix_forward:
        raise unprocessable(
            "`reason` is for `fix_forward`: send both, or for a deployment as any other a `description`"
        )


def _check_expected(request: DeploymentRequest, serving: Serving | None) -> None:
    if request.expected_version is None or serving is None or serving.version == request.expected_version:
        return
    detail = f"{request.stage} serves version {serving.version}, not {request.expected_version}"
    raise Problem(412, "not_as_expected", detail, {"version": serving.version})


def check_required(
    context: Context, function: str, sha256: str, stage: str | None, identity: Identity | None = None
) -> None:
    """Raise 422 unless the digest has succeeded in the stage, if any, and is not withdrawn there.

    If the `identity` may see what the stage serves, the refusal names it: most often the package was built
    again.
    """
    if stage is None:
        return
    placement = context.gate.place(function, stage)
    hint = ""
    if placement:
        served = _served(context, function, placement)
        if any(one.sha256 == sha256 and not one.withdrawn for one in served):
            return
        serving = serving_of(context, target_of(context, placement), function, placement.alias)
        if serving and identity and may_see(context.gate, identity, serving):
            hint = (
                f"; it serves artifact {serving.sha256[:12]} (version {serving.version}). If that is of the"
                " same commit, the package was built again and its bytes differ:"
                f" promote from {stage}, or build once"
            )
    raise unprocessable(f"artifact {sha256[:12]} must succeed in {stage} first{hint}")
