"""The API: authenticate, authorise, accept, answer. From its own table, never from a target
(guarantees.md#8-least-privilege).

The order of refusals is the same for every call: 413 and 415, 401, 400, 403, idempotency, 422 and 412, 409.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from sluicegate import __version__
from sluicegate.aws.s3 import UPLOAD_EXPIRES, Artifacts
from sluicegate.aws.secrets import Secrets, SecretsUnavailable
from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.durations import duration, timestamp
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target
from sluicegate.deployment.views import plan_view, view
from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate, Placement, Rule, Stage, Webhook
from sluicegate.gateway import requester as who
from sluicegate.gateway import requests, webhooks
from sluicegate.gateway.admission import Acceptance, Resolved
from sluicegate.gateway.decisions import Decisions
from sluicegate.gateway.http import Answer, Call
from sluicegate.gateway.problems import (
    Problem,
    conflict,
    invalid_token,
    not_allowed,
    not_found,
    unavailable,
    unprocessable,
)
from sluicegate.gateway.requests import MAX_BODY, DeploymentRequest
from sluicegate.gateway.webhooks import Delivery, Nothing
from sluicegate.oidc.identity import Identity
from sluicegate.oidc.jwks import KeySource, KeysUnavailable
from sluicegate.oidc.token import InvalidToken, verify
from sluicegate.store.deployments import Index
from sluicegate.store.errors import Busy, Contended, RequestKnown, TagMoved, TokenUsed
from sluicegate.store.holds import Hold
from sluicegate.store.keys import digest, project_key
from sluicegate.store.store import Store
from sluicegate.store.uploads import Upload
from sluicegate.store.versions import Serving
from sluicegate.text import clean

EXAMINED: Final = 500
"""Records that one list request reads at most; `next_cursor` goes on from there."""


UPLOADS: Final = 5
"""Artifacts of one commit that are looked for in the bucket, the newest first."""


FUNCTIONS: Final = 100
"""Functions in one answer."""


class Note(Protocol):
    """Takes the one event that a decision leaves: what happened, and who, what, which rule."""

    def __call__(self, event: str, **facts: Any) -> None: ...


@dataclass(frozen=True)
class Gateway:
    """What answering needs. `own` is the account and region that a stage without a target means."""

    gate: Gate
    keys: KeySource
    store: Store
    artifacts: Artifacts
    executions: Executions
    secrets: Secrets
    own: Target
    note: Note
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def answer(self, call: Call) -> Answer:
        """Answer a call, or raise the Problem that says why not."""
        if (call.method, call.resource) == WEBHOOK:
            return self.receive(call)
        route = ROUTES.get((call.method, call.resource))
        if route is None:
            raise not_found()
        if call.method == "POST":
            _check_size_and_type(call)
        return route(self, call, self._authenticate(call))

    def _authenticate(self, call: Call) -> Identity:
        """No identity without a credential that verifies, and none that the gate file denies.

        guarantees.md#6-deny-by-default
        """
        try:
            identity = verify(
                call.headers.get("authorization", []),
                issuers=self.gate.issuers,
                keys=self.keys,
                now=self.clock(),
            )
        except InvalidToken as error:
            self.note("refused", code="invalid_token", check=error.check)
            raise invalid_token(error.check, error.detail) from None
        except KeysUnavailable as error:
            self.note("refused", code="unavailable", check="keys")
            raise unavailable("the issuer's keys cannot be had at the moment", error.retry_after) from None
        self._check_denied(identity)
        return identity

    def _check_denied(self, identity: Identity) -> None:
        if denied := self.gate.denied(identity):
            self.note("refused", code="not_allowed", denied=denied, **who.facts(identity))
            raise not_allowed(f"the gate file denies this {denied}")

    # Artifacts

    def create_artifact(self, call: Call, identity: Identity) -> Answer:
        """`POST /artifacts`: a place to upload to, or word that it is there already."""
        requests.no_query(call.query)
        wanted = requests.artifact(requests.body(call.body))
        rule = self._authorise(identity, ("deploy",), wanted.function, None)
        if not self.gate.covers(wanted.function):
            raise _not_covered(wanted.function)
        issuer, project = identity.project
        self.store.uploads.add(
            Upload(
                function=wanted.function,
                sha256=wanted.sha256,
                size=wanted.size,
                issuer=issuer,
                project_id=project or "",
                ref=clean(identity.text("ref") or ""),
                sha=clean(identity.text("sha") or ""),
            )
        )
        artifact = {"function": wanted.function, "sha256": wanted.sha256, "size": wanted.size}
        there = self.artifacts.find(wanted.function, wanted.sha256) is not None
        self.note("artifact", present=there, rule=rule.name, **artifact, **who.facts(identity))
        if there:
            return Answer(200, {"artifact": artifact, "upload": None}, (), {"Sluicegate-Upload": "present"})
        expires = timestamp(self.clock() + UPLOAD_EXPIRES)
        url, headers = self.artifacts.presign(wanted.function, wanted.sha256, wanted.size)
        upload = {"method": "PUT", "url": url, "headers": headers, "expires_at": expires}
        return Answer(
            201,
            {"artifact": artifact, "upload": upload},
            _curl_config(url, headers),
            {"Sluicegate-Upload": "needed"},
        )

    # Deployments

    def create_deployment(self, call: Call, identity: Identity) -> Answer:
        """`POST /deployments`: all that the promises need is written in one transaction, or nothing is."""
        requests.no_query(call.query)
        wanted = requests.deployment(requests.body(call.body))
        key = requests.idempotency_key(call.headers.get("idempotency-key", []))
        placement = self.gate.place(wanted.function, wanted.stage)
        actions = self._acceptance.actions(wanted, placement)
        rule = self._authorise(identity, actions, wanted.function, wanted.stage)
        self._check_age(identity, placement)
        if wanted.dry_run:
            return self._rehearse(wanted, rule, _covered(wanted.function, placement), identity)
        fingerprint = digest(*wanted.effect)
        issuer, project = identity.project
        request_key = digest(
            issuer, project, identity.text("job_id"), "key" if key else "body", key or fingerprint
        )
        if known := self._replayed(request_key, fingerprint, identity):
            return known
        resolved = self._acceptance.resolve(wanted, rule, _covered(wanted.function, placement), identity)
        deployment = self._acceptance.deployment(wanted, resolved, identity)
        try:
            deployment, ended = self._acceptance.commit(
                deployment,
                identity,
                supersede=wanted.supersede,
                request_key=request_key,
                fingerprint=fingerprint,
                actions=actions,
                leaves=resolved.leaves,
            )
        except RequestKnown:  # the same request, at the same time
            if known := self._replayed(request_key, fingerprint, identity):
                return known
            raise unavailable("the same request is being accepted: send it again", 1) from None
        except TokenUsed as used:
            if used.request.fingerprint == fingerprint:
                return self._again(used.request.deployment, identity)
            raise conflict(
                "token_used",
                "this token has asked for something else of this stage: a job deploys one thing to one stage",
            ) from None
        except Busy as busy:
            raise self._busy(busy.deployment, identity) from None
        except Contended:
            raise unavailable("too many requests for this stage at once: send it again", 1) from None
        self.note("accepted", deployment=deployment.id, **_what(deployment), **who.facts(identity))
        for superseded in ended:
            self._wake(superseded)
        self._start(deployment)
        return self._shown(deployment, 202)

    def decide(self, call: Call, identity: Identity) -> Answer:
        """`POST /deployments/{id}/approve`, `/reject`, `/abort`: written first, then the rollout is woken."""
        requests.no_query(call.query)
        action = call.resource.rpartition("/")[2]
        reason = requests.reason(requests.body(call.body))
        wanted = requests.deployment_id(call.path)
        deployment = self._visible(wanted, identity) if wanted else None
        if deployment is None:
            raise not_found()
        rule = self._authorise(identity, (action,), deployment.function, deployment.stage)
        self._check_age(identity, self.gate.place(deployment.function, deployment.stage))
        match action:
            case "approve":
                after, news = self._decisions.approve(deployment, identity, rule, reason)
            case "reject":
                after, news = self._decisions.reject(deployment, identity, rule, reason)
            case _:
                after, news = self._decisions.abort(deployment, identity, reason)
        self.note(
            "decided", decision=action, deployment=after.id, rule=rule.name, news=news, **who.facts(identity)
        )
        self._wake(after)
        if news:
            return self._shown(after, 202)
        return self._shown(after, 200, headers={"Idempotent-Replayed": "true"})

    def read_deployment(self, call: Call, identity: Identity) -> Answer:
        """`GET /deployments/{id}`: at once, or as soon as there is news. It authorises before it waits."""
        wanted = requests.read(call.path, call.query)
        deployment = self._visible(wanted.id, identity) if wanted else None
        if wanted is None or deployment is None:
            raise not_found()
        until, pause = self.clock() + wanted.wait, 0.1
        while deployment.revision <= wanted.after and not deployment.status.final and self.clock() < until:
            self.sleep(min(pause, max(0.0, until - self.clock())))
            pause = min(1.0, pause * 1.25)
            deployment = self.store.deployments.get(wanted.id) or deployment
        return self._shown(deployment, 200, wanted.after)

    def list_deployments(self, call: Call, identity: Identity) -> Answer:
        """`GET /deployments`: newest first, only what the caller may see."""
        wanted = requests.listing(call.query)
        index, key = self._listed(wanted.function, identity)
        items: list[Deployment] = []
        cursor: str | None = None
        for examined, deployment in enumerate(self.store.deployments.newest(index, key, wanted.cursor), 1):
            if _matches(deployment, wanted) and self._may_see(deployment, identity):
                items.append(deployment)
            if len(items) == wanted.limit or examined == EXAMINED:
                cursor = deployment.id
                break
        rows: list[tuple[str, ...]] = [
            ("id", "status", "action", "function", "stage", "version", "created_at", "requested_by")
        ]
        rows += [_row(item) for item in items]
        return Answer(
            200,
            {"items": [view(item) for item in items], "next_cursor": cursor},
            _table(rows),
            _next(cursor),
        )

    def _listed(self, function: str | None, identity: Identity) -> tuple[Index, str]:
        """The index to read, and its key: no wider than it must be, for `next_cursor` tells what was read."""
        rules = self.gate.rules_of(identity)
        if function and any(rule.grants(("read",), function, None) for rule in rules):
            return "by_function", function
        if function or not rules:
            return "by_project", project_key(*identity.project)
        return "by_time", "deployments"

    # Holds

    def put_hold(self, call: Call, identity: Identity) -> Answer:
        """`POST /stages/{stage}/hold`: no new deployments of the functions that the caller's rule names."""
        requests.no_query(call.query)
        reason = requests.reason(requests.body(call.body), needed=True)
        stage, rules = self._holding(call, identity)
        by = who.requester(identity)
        hold = Hold(
            stage=stage,
            rule=rules[0].name,
            functions=tuple(str(pattern) for pattern in rules[0].functions),
            reason=clean(reason or ""),
            since=timestamp(self.clock()),
            by={"project_path": by.project_path, "user_login": by.user_login, "job_id": by.job_id},
        )
        self.store.holds.place(hold)
        self.note("held", stage=stage, rule=hold.rule, reason=hold.reason, **who.facts(identity))
        return self._held(stage, identity)

    def release_hold(self, call: Call, identity: Identity) -> Answer:
        """`DELETE /stages/{stage}/hold`: takes away each hold that a rule of the caller's reaches all of."""
        requests.no_query(call.query)
        stage, rules = self._holding(call, identity)
        for hold in self.store.holds.of_stage(stage):
            if any(_reaches(rule, hold) for rule in rules):
                self.store.holds.release(hold)
                self.note("released", stage=stage, rule=hold.rule, **who.facts(identity))
        return self._held(stage, identity)

    def read_hold(self, call: Call, identity: Identity) -> Answer:
        """`GET /stages/{stage}/hold`: for whoever has a rule, of any action, on that stage."""
        requests.no_query(call.query)
        stage = requests.stage_name(call.path)
        if stage is None or not any(stage in rule.stages for rule in self.gate.rules_of(identity)):
            raise not_found()
        return self._held(stage, identity)

    def _holding(self, call: Call, identity: Identity) -> tuple[str, list[Rule]]:
        """The stage, and the caller's rules that grant `hold` there, in the gate file's order."""
        stage = requests.stage_name(call.path) or ""
        rules = [
            rule for rule in self.gate.rules_of(identity) if "hold" in rule.actions and stage in rule.stages
        ]
        if not rules:
            self.note("refused", code="not_allowed", action="hold", stage=stage, **who.facts(identity))
            raise not_allowed("no rule allows this identity to hold this stage")
        self._check_age(identity, self.gate.stages.get(stage))
        return stage, rules

    def _held(self, stage: str, identity: Identity) -> Answer:
        rules = [rule for rule in self.gate.rules_of(identity) if stage in rule.stages]
        seen = [
            hold for hold in self.store.holds.of_stage(stage) if any(_touches(rule, hold) for rule in rules)
        ]
        items = [
            {
                "rule": hold.rule,
                "functions": list(hold.functions),
                "reason": hold.reason,
                "since": hold.since,
                "by": dict(hold.by),
            }
            for hold in seen
        ]
        rows: list[tuple[str, ...]] = [("functions", "since", "by", "reason")]
        rows += [
            (
                ",".join(hold.functions),
                hold.since,
                clean(hold.by.get("user_login") or "-"),
                clean(hold.reason),
            )
            for hold in seen
        ]
        return Answer(200, {"stage": stage, "holds": items}, _table(rows))

    # Functions

    def read_function(self, call: Call, identity: Identity) -> Answer:
        """`GET /functions/{name}`: what each stage serves, as far as the caller may see it."""
        requests.no_query(call.query)
        name = requests.function_name(call.path)
        served = [s for s in self.store.versions.serving(name) if self._may_see(s, identity)] if name else []
        if not served:
            raise not_found()
        return Answer(200, _function_view(served), _served_table(served))

    def list_functions(self, call: Call, identity: Identity) -> Answer:
        """`GET /functions`: by name, all that the caller may see, or what one stage serves."""
        stage, after = requests.functions(call.query)
        functions: dict[str, list[Serving]] = {}
        cursor: str | None = None
        for serving in self.store.versions.serving(after=after):
            if stage not in (None, serving.stage) or not self._may_see(serving, identity):
                continue
            if serving.function not in functions and len(functions) == FUNCTIONS:
                cursor = next(reversed(functions))
                break
            functions.setdefault(serving.function, []).append(serving)
        listed = [serving for group in functions.values() for serving in group]
        items = [_function_view(group) for group in functions.values()]
        return Answer(200, {"items": items, "next_cursor": cursor}, _served_table(listed), _next(cursor))

    # Who

    def whoami(self, call: Call, identity: Identity) -> Answer:
        """`GET /whoami`: what was verified, and what it may do."""
        requests.no_query(call.query)
        rules = [
            {
                "name": rule.name,
                "actions": sorted(rule.actions),
                "functions": [str(pattern) for pattern in rule.functions],
                "stages": list(rule.stages),
            }
            for rule in self.gate.rules_of(identity)
        ]
        claims = {
            clean(name): list(map(clean, value)) if isinstance(value, tuple) else clean(value)
            for name, value in sorted(identity.claims.items())
        }
        value = {
            "via": identity.via,
            "issuer": identity.issuer,
            "project_id": identity.text("project_id"),
            "expires_at": timestamp(identity.expires_at),
            "claims": claims,
            "rules": rules,
        }
        lines = [f"{name}: {claim}" for name, claim in claims.items()]
        lines += [
            f"rule {rule['name']!r} allows {', '.join(rule['actions'])} of {', '.join(rule['functions'])}"
            f" in {', '.join(rule['stages'])}"
            for rule in rules
        ] or ["no rule allows anything"]
        return Answer(200, value, tuple(lines))

    # Webhooks

    def receive(self, call: Call) -> Answer:
        """`POST /webhooks/gitlab/{name}`: the name chooses what is tried, before anything else is looked at.

        GitLab disables hooks that fail: that there is nothing to do, or not now, is an answer of 200.
        """
        hook = self.gate.webhooks.get(call.path.get("name", ""))
        if hook is None:
            raise not_found()
        _check_size_and_type(call, webhooks.MAX_BODY)
        token = self._authenticate(call) if hook.scheme == "id_token" else None
        self._check_sender(hook, call)
        requests.no_query(call.query)
        body = requests.body(call.body)
        try:
            if token:
                webhooks.check_agrees(hook, body, token)
            told = webhooks.read(hook, call.headers, body)
        except Problem as problem:
            self.note("refused", code=problem.code, webhook=hook.name, check=problem.detail)
            raise
        if isinstance(told, Nothing):
            return self._nothing(hook, told)
        if token:
            identity = replace(token, webhook=hook.name)
        else:
            identity = webhooks.identity(hook, told, self.clock())
            self._check_denied(identity)
        return self._deliver(hook, told, identity)

    def _check_sender(self, hook: Webhook, call: Call) -> None:
        """The entry's scheme, and no other, whatever else a delivery brings.

        guarantees.md#6-deny-by-default
        """
        try:
            webhooks.check_instance(hook, call.headers)
            if hook.secret is None:
                return  # an ID token, which has been verified
            sent = call.headers
            check = webhooks.token(sent) if hook.scheme == "token" else webhooks.signature(sent, call.body)
            if not self.secrets.verifies(hook.secret, check):
                raise InvalidToken(hook.scheme, "does not verify with this webhook's secret")
        except InvalidToken as error:
            self.note("refused", code="invalid_token", check=error.check, webhook=hook.name)
            raise invalid_token(error.check, error.detail) from None
        except SecretsUnavailable as error:
            self.note("refused", code="unavailable", check="secret", webhook=hook.name, error=error.reason)
            raise unavailable("the webhook's secret cannot be had at the moment", 30) from None

    def _deliver(self, hook: Webhook, delivery: Delivery, identity: Identity) -> Answer:
        """Deploy what a job uploaded for the delivery's commit, once and for good."""
        placement = self.gate.place(hook.function, hook.stage)
        rule = self._authorise(identity, ("deploy",), hook.function, hook.stage)
        self._check_age(identity, placement)
        request_key = webhooks.request_key(hook, delivery)
        if known := self.store.requests.get(request_key):
            return self._delivered(known.deployment, identity)
        sha256 = self._uploaded(hook, delivery)
        if sha256 is None:
            what = f"no artifact of {hook.function} was uploaded for this commit by a job of this project yet"
            return self._nothing(hook, Nothing("no_artifact", what))
        wanted = DeploymentRequest("deploy", hook.function, hook.stage, sha256)
        try:
            resolved = self._acceptance.resolve(wanted, rule, _covered(hook.function, placement), identity)
            deployment, _ = self._acceptance.commit(
                self._acceptance.deployment(wanted, resolved, identity),
                identity,
                supersede=False,
                request_key=request_key,
                fingerprint=digest(*wanted.effect),
                actions=(wanted.action,),
                once=webhooks.once(hook, delivery),
            )
        except RequestKnown:  # another delivery of the same, at the same time
            if known := self.store.requests.get(request_key):
                return self._delivered(known.deployment, identity)
            raise unavailable("the same is being accepted: send it again", 1) from None
        except Contended:
            raise unavailable("too many requests for this stage at once: send it again", 1) from None
        except (TagMoved, TokenUsed, Busy, Problem) as error:
            return self._nothing(hook, _not_now(error))
        self.note("accepted", deployment=deployment.id, **_what(deployment), **who.facts(identity))
        self._start(deployment)
        return _told(deployment.id, deployment.id, "started", deployment.timeline[0].message)

    def _uploaded(self, hook: Webhook, delivery: Delivery) -> str | None:
        """What a job of the same project announced for the commit last, and really uploaded."""
        announced = self.store.uploads.of_commit(hook.function, hook.issuer, hook.project_id, delivery.sha)
        there = (sha256 for sha256 in announced[:UPLOADS] if self.artifacts.find(hook.function, sha256))
        return next(there, None)

    def _delivered(self, deployment_id: str, identity: Identity) -> Answer:
        """A delivery of what was done already: another status, another hook, or the same once more."""
        self._again(deployment_id, identity)
        what = "this was deployed already, and is not deployed again"
        return _told(None, deployment_id, "already_done", what)

    def _nothing(self, hook: Webhook, told: Nothing) -> Answer:
        self.note("nothing", code=told.code, webhook=hook.name)
        return _told(None, None, told.code, told.why)

    # Parts

    @property
    def _acceptance(self) -> Acceptance:
        return Acceptance(self.gate, self.store, self.own, self.clock)

    @property
    def _decisions(self) -> Decisions:
        return Decisions(self.gate, self.store, self._acceptance, self.clock)

    def _authorise(
        self, identity: Identity, actions: tuple[str, ...], function: str, stage: str | None
    ) -> Rule:
        decision = self.gate.decide(identity, actions=actions, function=function, stage=stage)
        if decision.rule is not None:
            return decision.rule
        where = f" in {stage}" if stage else ""
        what = " and ".join(actions)
        self.note(
            "refused",
            code="not_allowed",
            action=what,
            function=function,
            stage=stage,
            **who.facts(identity),
        )
        raise not_allowed(f"no rule allows this identity to {what} {function}{where}", decision.nearest)

    def _check_age(self, identity: Identity, placement: Placement | Stage | None) -> None:
        """A stage's own `max_age`, told only to who may deploy there. No leeway."""
        limit = placement.max_age if placement else None
        if limit is not None and self.clock() - identity.issued_at > limit:
            self.note("refused", code="invalid_token", check="max_age", **who.facts(identity))
            raise invalid_token(
                "max_age", f"the token is older than the {duration(limit)} that the stage allows"
            )

    def _rehearse(
        self, wanted: DeploymentRequest, rule: Rule, placement: Placement, identity: Identity
    ) -> Answer:
        """A dry run: the same checks, and nothing bound or written."""
        resolved = self._acceptance.resolve(wanted, rule, placement, identity)
        plan = resolved.plan
        lock = self.store.locks.alias_lock(plan.target, wanted.function, plan.alias)
        busy = lock.deployment if lock and self._visible(lock.deployment, identity) else None
        value = {
            "dry_run": True,
            "allowed": True,
            "rule": resolved.rule.name,
            "action": resolved.action,
            "version": resolved.version,
            "plan": plan_view(plan),
            "busy": lock is not None,
            "deployment": busy,
        }
        lines = [f"allowed by rule {resolved.rule.name!r}", _would(wanted, resolved)]
        lines += [f"  {step.percent} % for {duration(step.bake)}" for step in plan.steps if step.bake]
        if plan.approval is not None:
            lines.append(f"after somebody else's approval, within {duration(plan.approval)}")
        if lock:
            does = "would take its place" if wanted.supersede else "is rolling out"
            lines.append(f"busy: {busy or 'another deployment'} {does}")
        return Answer(200, value, tuple(lines))

    def _replayed(self, request_key: str, fingerprint: str, identity: Identity) -> Answer | None:
        """The same request again finds what it accepted, and starts it if its start failed.

        guarantees.md#5-one-request-one-effect
        """
        known = self.store.requests.get(request_key)
        if known is None:
            return None
        if known.fingerprint != fingerprint:
            raise conflict("key_reused", "this Idempotency-Key came with another body before")
        return self._again(known.deployment, identity)

    def _again(self, deployment_id: str, identity: Identity) -> Answer:
        deployment = self.store.deployments.get(deployment_id)
        if deployment is None:
            raise unavailable("the record of this request cannot be read: send it again")
        self.note("replayed", deployment=deployment.id, **who.facts(identity))
        if deployment.status is Status.ACCEPTED:
            self._start(deployment)
        return self._shown(deployment, 200, headers={"Idempotent-Replayed": "true"})

    def _start(self, deployment: Deployment) -> None:
        """A start that fails loses nothing: the same request again makes up for it, or the sweep does."""
        try:
            self.executions.start(deployment)
        except Exception as error:
            self.note("not started", deployment=deployment.id, error=type(error).__name__)
            raise unavailable(
                f"accepted as {deployment.id}, but not started: send the same request again, or wait a minute"
            ) from None

    def _wake(self, deployment: Deployment) -> None:
        """A wake-up call that fails loses nothing: the wait ends by itself, or the sweep makes up for it."""
        try:
            if token := self.store.waits.token(deployment.id):
                self.executions.wake(token)
        except Exception as error:
            self.note("not woken", deployment=deployment.id, error=type(error).__name__)

    def _busy(self, holder: str, identity: Identity) -> Problem:
        seen = self._visible(holder, identity)
        members = {"deployment": holder} if seen else {}
        return conflict("busy", "another deployment of this function to this stage is not final yet", members)

    def _visible(self, deployment_id: str, identity: Identity) -> Deployment | None:
        deployment = self.store.deployments.get(deployment_id)
        return deployment if deployment and self._may_see(deployment, identity) else None

    def _may_see(self, seen: Deployment | Serving, identity: Identity) -> bool:
        return who.may_see(self.gate, identity, seen)

    def _shown(
        self, deployment: Deployment, status: int, after: int = 0, headers: Mapping[str, str] | None = None
    ) -> Answer:
        value = view(deployment)
        lines = [
            f"{entry.at}  {entry.status.value:<12}  {clean(entry.message)}"
            for entry in deployment.timeline
            if entry.seq > after
        ]
        return Answer(
            status,
            value,
            tuple(lines),
            {
                "Location": value["links"]["self"],
                "Sluicegate-Id": deployment.id,
                "Sluicegate-Status": deployment.status.value,
                "Sluicegate-Revision": str(deployment.revision),
                "Sluicegate-Final": "true" if deployment.status.final else "false",
                **({"Sluicegate-Version": deployment.version} if deployment.version else {}),
                **(headers or {}),
            },
        )


WEBHOOK: Final = ("POST", "/webhooks/gitlab/{name}")
"""The one call that may come without an ID token."""

Route = Callable[[Gateway, Call, Identity], Answer]

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", "/artifacts"): Gateway.create_artifact,
    ("POST", "/deployments"): Gateway.create_deployment,
    ("GET", "/deployments"): Gateway.list_deployments,
    ("GET", "/deployments/{id}"): Gateway.read_deployment,
    ("POST", "/deployments/{id}/approve"): Gateway.decide,
    ("POST", "/deployments/{id}/reject"): Gateway.decide,
    ("POST", "/deployments/{id}/abort"): Gateway.decide,
    ("GET", "/stages/{stage}/hold"): Gateway.read_hold,
    ("POST", "/stages/{stage}/hold"): Gateway.put_hold,
    ("DELETE", "/stages/{stage}/hold"): Gateway.release_hold,
    ("GET", "/functions"): Gateway.list_functions,
    ("GET", "/functions/{name}"): Gateway.read_function,
    ("GET", "/whoami"): Gateway.whoami,
}


def health() -> Answer:
    """`GET /health`: for nobody in particular, so it says nothing but that the gateway answers."""
    return Answer(200, {"status": "ok", "version": __version__}, (f"ok {__version__}",))


def _check_size_and_type(call: Call, most: int = MAX_BODY) -> None:
    """Before the token and before any parsing."""
    if len(call.body) > most:
        raise Problem(413, "too_large", f"the body has more than {most} bytes")
    if call.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")


def _not_covered(function: str) -> Problem:
    return unprocessable(f"no entry of `functions` in the gate file covers {function}")


def _covered(function: str, placement: Placement | None) -> Placement:
    if placement is None:
        raise _not_covered(function)
    return placement


def _what(deployment: Deployment) -> dict[str, str | None]:
    return {
        "rule": deployment.rule,
        "action": deployment.action,
        "function": deployment.function,
        "stage": deployment.stage,
        "sha256": deployment.sha256,
        "version": deployment.version,
    }


def _told(started: str | None, deployment: str | None, code: str, why: str) -> Answer:
    """Small, for GitLab keeps it: `deployment` is what was started now, or by an earlier delivery."""
    value = {"started": started, "deployment": deployment, "code": code, "why": clean(why)}
    return Answer(200, value, (f"{code}: {clean(why)}",), {"Sluicegate-Id": deployment} if deployment else {})


def _not_now(error: Exception) -> Nothing:
    """What a job would be told with 409 or 422. Nothing was written: the next delivery tries again."""
    match error:
        case TagMoved():
            return Nothing("tag_moved", "this tag was deployed at another commit before, and is not followed")
        case TokenUsed():
            return Nothing("token_used", "this token has asked for something else of this stage")
        case Busy():
            return Nothing("busy", "another deployment of this function to this stage is not final yet")
        case Problem(status=409 | 412 | 422):
            return Nothing(error.code, error.detail)
        case _:
            raise error


def _would(wanted: DeploymentRequest, resolved: Resolved) -> str:
    plan = resolved.plan
    what = f"version {resolved.version}" if resolved.version else resolved.sha256[:12]
    where = f"alias {plan.alias} of {wanted.function} in {plan.target.account} {plan.target.region}"
    return f"would {resolved.action} {what} to {where}"


def _reaches(rule: Rule, hold: Hold) -> bool:
    """Whether the rule is on every function that is held."""
    granted = {str(pattern) for pattern in rule.functions}
    return bool(granted & {"*", "**"}) or granted.issuperset(hold.functions)


def _touches(rule: Rule, hold: Hold) -> bool:
    """Whether the rule is on any function that is held."""
    return any(
        patterns.overlap(pattern, patterns.compile(text))
        for pattern in rule.functions
        for text in hold.functions
    )


def _curl_config(url: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """For `curl --config -`: the URL never is an argument that other processes could read."""
    sent = [f'header = "{name}: {value}"' for name, value in headers.items() if name != "content-length"]
    return ('request = "PUT"', f'url = "{url}"', *sent)


def _next(cursor: str | None) -> dict[str, str]:
    return {"Sluicegate-Next-Cursor": cursor} if cursor else {}


def _matches(deployment: Deployment, wanted: requests.ListRequest) -> bool:
    return (
        wanted.function in (None, deployment.function)
        and wanted.stage in (None, deployment.stage)
        and wanted.status in (None, deployment.status)
        and wanted.release in (None, deployment.release)
    )


def _row(item: Deployment) -> tuple[str, ...]:
    by = item.requested_by
    return (
        item.id,
        item.status.value,
        item.action,
        item.function,
        item.stage,
        item.version or "-",
        item.created_at,
        by.user_login or "-",
    )


def _function_view(served: list[Serving]) -> dict[str, Any]:
    stages = {
        serving.stage: {
            "version": serving.version,
            "artifact": {"sha256": serving.sha256},
            "weights": dict(serving.weights),
            "alias": serving.alias,
            "target": {"account": serving.account, "region": serving.region},
            "deployment": serving.deployment,
            "sha": serving.sha,
            "ref": serving.ref,
            "since": serving.since,
            "by": {"project_path": serving.project_path, "user_login": serving.user_login},
        }
        for serving in served
    }
    return {"function": served[0].function, "stages": stages}


def _served_table(served: list[Serving]) -> tuple[str, ...]:
    rows: list[tuple[str, ...]] = [("function", "stage", "version", "since", "ref", "by")]
    rows += [
        (s.function, s.stage, s.version, s.since, clean(s.ref or "-"), clean(s.user_login or "-"))
        for s in served
    ]
    return _table(rows)


def _table(rows: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple("\t".join(row) for row in rows)
