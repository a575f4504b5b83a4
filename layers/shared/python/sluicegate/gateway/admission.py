"""Accepting a request: what it comes to, by the record and the gate file in force, and the one transaction.

`Acceptance.resolve` says what a request would do, or raises the Problem that says why it cannot be done;
`Acceptance.commit` writes all that the promises need, or nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Entry, Reason, Status
from sluicegate.deployment.plan import ALL_AT_ONCE, Plan, Target
from sluicegate.deployment.strategy import is_at_least_as_cautious
from sluicegate.deployment.ulid import new_id
from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate, Placement, Rule
from sluicegate.gateway.problems import Problem, conflict, unavailable, unprocessable
from sluicegate.gateway.requester import may_see, named, requester
from sluicegate.gateway.requests import DeploymentAction, DeploymentRequest
from sluicegate.oidc.identity import Identity
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.errors import Busy, Outdated, ServingChanged, StaleRevision, TokenUsed
from sluicegate.store.holds import Hold
from sluicegate.store.keys import digest
from sluicegate.store.locks import AliasLock, Supersession
from sluicegate.store.requests import PermanentClaim, TokenUse
from sluicegate.store.store import Store
from sluicegate.store.versions import ServedVersion, Serving
from sluicegate.text import clean

_TRIES: Final = 6

_MOVING: Final = frozenset({Status.SHIFTING, Status.BAKING, Status.ROLLING_BACK})
"""Statuses in which the alias may serve what the record does not call served yet."""


@dataclass(frozen=True)
class Resolved:
    """What a request comes to. `version` is known where none has to be published; `source` is an alias.

    `leaves` is what the stage serves, where that alone says what is the way back.
    """

    action: DeploymentAction
    sha256: str
    plan: Plan
    rule: Rule
    version: str | None = None
    source: str | None = None
    leaves: Serving | None = None


@dataclass(frozen=True)
class Acceptance:
    """For requests that a rule allows. `own` is the account and region of a stage without target."""

    gate: Gate
    store: Store
    own: Target
    clock: Callable[[], float]

    # What a request comes to

    def actions(self, wanted: DeploymentRequest, placement: Placement | None) -> tuple[str, ...]:
        """All that one rule has to grant."""
        loosens = (
            wanted.strategy is not None
            and placement is not None
            and not is_at_least_as_cautious(wanted.strategy, placement.steps)
        )
        return (wanted.action, "override-strategy") if loosens else (wanted.action,)

    def resolve(
        self, wanted: DeploymentRequest, rule: Rule, placement: Placement, identity: Identity
    ) -> Resolved:
        """422, 412 and most 409: what the record shows to be impossible, or not now."""
        target = self.target(placement)
        serving = self._serving(target, wanted.function, placement.alias)
        match wanted.action:
            case "deploy":
                resolved = self._deploy(wanted, rule, placement, serving, identity)
            case "promote":
                resolved = self._promote(wanted, rule, placement, identity)
            case "rollback":
                resolved = self._rollback(wanted, rule, placement, serving)
        _check_expected(wanted, serving)
        if resolved.action != "rollback":
            self._check_required(resolved, wanted.function)
            self._check_held(wanted.function, wanted.stage)
        return resolved

    def target(self, placement: Placement) -> Target:
        """Where the placement is."""
        target = placement.target
        return Target(target.account or self.own.account, target.region or self.own.region)

    def _deploy(
        self,
        wanted: DeploymentRequest,
        rule: Rule,
        placement: Placement,
        serving: Serving | None,
        identity: Identity,
    ) -> Resolved:
        """GitLab's buttons run an old job again: with a rule that also grants it, that is a rollback."""
        sha256 = wanted.sha256 or ""
        if not self.store.uploads.is_registered(wanted.function, sha256):
            raise unprocessable(
                f"no artifact {sha256[:12]} of {wanted.function} is there: POST /v1/artifacts first"
            )
        served = self._served(wanted.function, placement)
        before = next((one for one in served if one.sha256 == sha256 and not one.withdrawn), None)
        if before and serving and serving.sha256 != sha256 and wanted.strategy is None:
            decision = self.gate.decide(
                identity, actions=("deploy", "rollback"), function=wanted.function, stage=wanted.stage
            )
            if decision.rule:
                plan = self._at_once(placement)
                return Resolved("rollback", sha256, plan, decision.rule, before.version)
        return Resolved("deploy", sha256, self._plan(wanted, placement), rule)

    def _promote(
        self, wanted: DeploymentRequest, rule: Rule, placement: Placement, identity: Identity
    ) -> Resolved:
        """What another stage serves, exactly: a promise about bytes that somebody has tried there."""
        stage = wanted.source or ""
        source = self.gate.place(wanted.function, stage)
        if source is None:
            raise unprocessable(f"the gate file has no stage {stage}")
        target = self.target(source)
        serving = self._serving(target, wanted.function, source.alias)
        what = f"version {wanted.version}" if wanted.version else f"artifact {(wanted.sha256 or '')[:12]}"
        if (
            serving is None
            or not may_see(self.gate, identity, serving)
            or wanted.version not in (None, serving.version)
            or wanted.sha256 not in (None, serving.sha256)
        ):
            raise conflict("source_changed", f"{stage} does not serve {what} of {wanted.function}")
        holder = self._rolling_out(target, wanted.function, source.alias)
        if holder and holder.status in _MOVING:
            raise conflict("source_changed", f"{stage} is being rolled out at the moment")
        plan = self._plan(wanted, placement)
        if plan.target != target:
            return Resolved("promote", serving.sha256, plan, rule)
        return Resolved("promote", serving.sha256, plan, rule, serving.version, source.alias)

    def _rollback(
        self,
        wanted: DeploymentRequest,
        rule: Rule,
        placement: Placement,
        serving: Serving | None,
    ) -> Resolved:
        """To what was served before; while something else is under way, to what is served without it."""
        where = f"{wanted.function} in {wanted.stage}"
        if serving is None:
            raise unprocessable(f"nothing has been deployed of {where}: there is nothing to roll back to")
        served = self._served(wanted.function, placement)
        if wanted.version is not None:
            found = next((one for one in served if one.version == wanted.version), None)
            if found is None:
                raise unprocessable(f"version {wanted.version} never succeeded for {where}")
        else:
            holder = self._rolling_out(self.target(placement), wanted.function, placement.alias)
            undone = holder is not None and _under_way(holder)
            found = next(
                (
                    one
                    for one in served
                    if (one.version == serving.version if undone else _earlier(one, serving))
                ),
                None,
            )
            if found is None:
                raise unprocessable(f"there is no earlier version of {where} that was not withdrawn")
        leaves = serving if wanted.version is None else None
        return Resolved(
            "rollback", found.sha256, self._at_once(placement), rule, found.version, leaves=leaves
        )

    def _plan(self, wanted: DeploymentRequest, placement: Placement) -> Plan:
        return Plan(
            target=self.target(placement),
            alias=placement.alias,
            steps=wanted.strategy or placement.steps,
            gate=self.gate.digest,
            smoke=placement.smoke,
            watch=placement.watch,
            approval=placement.approval,
            requires=placement.requires,
            ordered=placement.ordered,
        )

    def _at_once(self, placement: Placement) -> Plan:
        """A way back waits for nobody: it was there before."""
        return Plan(self.target(placement), placement.alias, ALL_AT_ONCE, self.gate.digest)

    def _serving(self, target: Target, function: str, alias: str) -> Serving | None:
        """By whatever stage it was deployed: the gate file may have had another name for it."""
        here = (target.account, target.region, alias)
        found = [
            one
            for one in self.store.versions.serving(function)
            if (one.account, one.region, one.alias) == here
        ]
        return max(found, key=lambda one: one.deployment, default=None)

    def _served(self, function: str, placement: Placement) -> list[ServedVersion]:
        """The versions that succeeded there, the last one first."""
        return self.store.versions.served(self.target(placement), function, placement.alias)

    def _rolling_out(self, target: Target, function: str, alias: str) -> Deployment | None:
        lock = self.store.locks.alias_lock(target, function, alias)
        return self.store.deployments.get(lock.deployment) if lock else None

    def _check_required(self, resolved: Resolved, function: str) -> None:
        stage = resolved.plan.requires
        if stage is None:
            return
        placement = self.gate.place(function, stage)
        if placement:
            served = self._served(function, placement)
            if any(one.sha256 == resolved.sha256 and not one.withdrawn for one in served):
                return
        raise unprocessable(f"artifact {resolved.sha256[:12]} has not succeeded in {stage} first")

    def _check_held(self, function: str, stage: str) -> None:
        if hold := self.held(function, stage):
            raise held(hold)

    def held(self, function: str, stage: str) -> Hold | None:
        """The hold that stops new deployments of this function to this stage."""
        for hold in self.store.holds.of_stage(stage):
            if any(patterns.compile(text).matches(function) for text in hold.functions):
                return hold
        return None

    # The record

    def deployment(self, wanted: DeploymentRequest, resolved: Resolved, identity: Identity) -> Deployment:
        """The first revision of a deployment."""
        now = self.clock()
        moment, by, rule = timestamp(now), requester(identity), clean(resolved.rule.name)
        message = f"accepted by rule {rule!r} for {named(by)}"
        if resolved.action != wanted.action:
            message += f"; version {resolved.version} served this stage before: back to it"
        return Deployment(
            id=new_id(now),
            revision=1,
            status=Status.ACCEPTED,
            action=resolved.action,
            function=wanted.function,
            stage=wanted.stage,
            sha256=resolved.sha256,
            plan=resolved.plan,
            rule=resolved.rule.name,
            requested_by=by,
            created_at=moment,
            updated_at=moment,
            since=moment,
            timeline=(Entry(1, moment, Status.ACCEPTED, clean(message)),),
            release=wanted.release and clean(wanted.release),
            description=wanted.description and clean(wanted.description),
            expected_version=wanted.expected_version,
            promoted_from=wanted.source,
            source=resolved.source,
            version=resolved.version,
        )

    def commit(
        self,
        deployment: Deployment,
        identity: Identity,
        *,
        supersede: bool,
        request_key: str,
        fingerprint: str,
        actions: tuple[str, ...],
        leaves: Serving | None = None,
        once: PermanentClaim | None = None,
    ) -> tuple[Deployment, tuple[Deployment, ...]]:
        """Write it, and what it supersedes; `once` is a webhook's.

        Raises RequestKnown, TokenUsed, TagMoved, Busy, Contended or a Problem.

        Gives the deployment as it was written, and the records that changed with it.
        """
        plan = deployment.plan
        first = binding = self._binding(deployment, identity, fingerprint)
        take = supersede
        for _ in range(_TRIES):
            lock = self.store.locks.alias_lock(plan.target, deployment.function, plan.alias) if take else None
            takeover = self._takeover(deployment, lock, supersede=supersede) if lock else None
            written = deployment
            if takeover and not takeover.at_once:
                written = replace(deployment, supersedes=takeover.lock.deployment)
            try:
                self.store.deployments.accept(
                    written,
                    request_key=request_key,
                    fingerprint=fingerprint,
                    token_use=binding,
                    supersession=takeover,
                    identity=_kept(identity, actions) if plan.approval is not None else None,
                    still_serving=leaves,
                    claim=once,
                )
            except StaleRevision:
                continue
            except Busy as busy:
                # Somebody took the alias since the lock was read; or a lock was left over.
                take = supersede or self._has_ended(busy.deployment)
                if not take:
                    raise
                continue
            except ServingChanged:
                raise unavailable("what the stage serves has just changed: send it again", 1) from None
            except Outdated:
                raise outdated(deployment.stage) from None
            except TokenUsed as used:
                # Once: what is bound as the way back is bound for good.
                if binding is None or binding is not first or not self._way_back(deployment, used):
                    raise
                binding = replace(binding, key=digest("way back", binding.key))
                continue
            return written, tuple(after for _, after in takeover.changes) if takeover else ()
        raise unavailable("too many requests for this stage at once: send it again", 1)

    def _takeover(self, deployment: Deployment, lock: AliasLock, *, supersede: bool) -> Supersession:
        """What becomes of who has the alias, and of who was to have it next. Raises Busy.

        A holder that has ended leaves its lock in the same transaction. Should one ever be left over, it
        protects nothing, and does not keep the stage for ever.
        """
        holder = self.store.deployments.get(lock.deployment)
        successor = self.store.deployments.get(lock.successor) if lock.successor else None
        if holder is None or holder.status.final:
            if successor is not None and not successor.status.final and not supersede:
                raise Busy(successor.id)
        elif not supersede or holder.action == "rollback":
            # A way back takes a second, and is nobody's to end by what it leads away from.
            raise Busy(holder.id)
        message = f"deployment {deployment.id} takes its place"
        reason = Reason("superseded", message, {"by": deployment.id})
        changes = []
        for before in (holder, successor):
            if before is None or before.status.final:
                continue
            if deployment.plan.ordered and deployment.action != "rollback" and _newer(before, deployment):
                raise outdated(deployment.stage)
            after = request_abort(before, reason, message, self.clock())
            if after is not before:
                changes.append((before, after))
        at_once = (
            holder is None
            or holder.status.final
            or any(before is holder and after.status.final for before, after in changes)
        )
        return Supersession(lock, tuple(changes), at_once)

    def _has_ended(self, deployment_id: str) -> bool:
        holder = self.store.deployments.get(deployment_id)
        return holder is None or holder.status.final

    def _way_back(self, deployment: Deployment, used: TokenUsed) -> bool:
        """Whether the token's own deployment is what is rolled back: the one more thing it is good for.

        To go back to what it deployed would only end what somebody else is rolling out.
        """
        if deployment.action != "rollback":
            return False
        plan = deployment.plan
        serving = self._serving(plan.target, deployment.function, plan.alias)
        return (
            serving is not None
            and serving.deployment == used.request.deployment
            and serving.version != deployment.version
        )

    def _binding(self, deployment: Deployment, identity: Identity, fingerprint: str) -> TokenUse | None:
        key = token_key(identity, deployment)
        return None if key is None else TokenUse(key, fingerprint, identity.expires_at)


def token_key(identity: Identity, deployment: Deployment) -> str | None:
    """(issuer, jti) with account, region, function and alias; never the token's bytes, which can vary."""
    plan = deployment.plan
    if identity.jti is None:
        return None
    return digest(
        identity.issuer,
        identity.jti,
        plan.target.account,
        plan.target.region,
        deployment.function,
        plan.alias,
    )


def held(hold: Hold) -> Problem:
    """409: a stage takes no new deployments."""
    members = {"since": hold.since, "reason": clean(hold.reason)}
    detail = f"{hold.stage} is held since {hold.since}: {clean(hold.reason)}"
    return conflict("held", detail, members)


def outdated(stage: str) -> Problem:
    """409: a pipeline comes too late."""
    return conflict("outdated", f"a newer pipeline of this project has been deployed to {stage}")


def _under_way(deployment: Deployment) -> bool:
    """Whether a way back undoes it: not what waits for a person, nor what leads back itself."""
    waits = deployment.status.final or deployment.status is Status.AWAITING_APPROVAL
    return not waits and deployment.action != "rollback"


def _earlier(one: ServedVersion, serving: Serving) -> bool:
    return not one.withdrawn and one.version != serving.version


def _newer(running: Deployment, deployment: Deployment) -> bool:
    """Whether a running deployment is of a newer pipeline of the same project."""
    theirs, ours = running.requested_by, deployment.requested_by
    same = (theirs.issuer, theirs.project_id) == (ours.issuer, ours.project_id)
    return same and int(theirs.pipeline_id or 0) > int(ours.pipeline_id or 0)


def _check_expected(wanted: DeploymentRequest, serving: Serving | None) -> None:
    if wanted.expected_version is None or serving is None or serving.version == wanted.expected_version:
        return
    detail = f"{wanted.stage} serves version {serving.version}, not {wanted.expected_version}"
    raise Problem(412, "not_as_expected", detail, {"version": serving.version})


def _kept(identity: Identity, actions: tuple[str, ...]) -> dict[str, Any]:
    """Who asked, and for what: the actions that a rule must grant them still when it is approved."""
    return {
        "actions": actions,
        "via": identity.via,
        "issuer": identity.issuer,
        "jti": identity.jti,
        "claims": dict(identity.claims),
    }
