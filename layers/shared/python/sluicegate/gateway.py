"""The API: authenticate, authorise, accept, answer. From its own table, never from a target (promise 8).

The order of refusals is the same for every call: 413 and 415, 401, 400, 403, idempotency, 422 and 412, 409.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sluicegate import __version__, requests
from sluicegate.artifacts import UPLOAD_EXPIRES, Artifacts
from sluicegate.deployment import Deployment, Entry, Requester, Status, duration, plan_view, timestamp, view
from sluicegate.executions import Executions
from sluicegate.gate import Gate, Placement, Rule
from sluicegate.http import Answer, Call
from sluicegate.identity import Identity
from sluicegate.ids import new_id
from sluicegate.keys import KeySource, KeysUnavailable
from sluicegate.plan import Plan, Step, Target
from sluicegate.problems import (
    Problem,
    conflict,
    invalid_token,
    not_allowed,
    not_found,
    unavailable,
    unprocessable,
)
from sluicegate.requests import MAX_BODY, DeployRequest
from sluicegate.store import (
    Busy,
    Contended,
    RequestKnown,
    Serving,
    Store,
    TokenUsed,
    Upload,
    digest,
    project_key,
)
from sluicegate.text import clean
from sluicegate.token import InvalidToken, verify

EXAMINED: Final = 500
"""Records that one list request reads at most; `next_cursor` goes on from there."""


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
    own: Target
    note: Note
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def answer(self, call: Call) -> Answer:
        """Answer a call, or raise the Problem that says why not."""
        route = ROUTES.get((call.method, call.resource))
        if route is None:
            raise not_found()
        if call.method == "POST":
            _check_size_and_type(call)
        return route(self, call, self._authenticate(call))

    def _authenticate(self, call: Call) -> Identity:
        """Promise 6: no identity without a credential that verifies, and none that the gate file denies."""
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
        if denied := self.gate.denied(identity):
            self.note("refused", code="not_allowed", denied=denied, **_who(identity))
            raise not_allowed(f"the gate file denies this {denied}")
        return identity

    # Artifacts

    def create_artifact(self, call: Call, identity: Identity) -> Answer:
        """`POST /artifacts`: a place to upload to, or word that it is there already."""
        requests.no_query(call.query)
        wanted = requests.artifact(requests.body(call.body))
        rule = self._authorise(identity, "deploy", wanted.function, None)
        if not self.gate.covers(wanted.function):
            raise _not_covered(wanted.function)
        issuer, project = identity.project
        self.store.register(
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
        self.note("artifact", present=there, rule=rule.name, **artifact, **_who(identity))
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
        rule = self._authorise(identity, wanted.action, wanted.function, wanted.stage)
        placement = self.gate.place(wanted.function, wanted.stage)
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
        placement = _covered(wanted.function, placement)
        deployment = self._plan(wanted, rule, placement, identity)
        self._check_possible(wanted, placement)
        try:
            self.store.accept(
                deployment,
                request_key=request_key,
                fingerprint=fingerprint,
                token_key=_token_key(identity, deployment),
                token_expires=identity.expires_at,
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
        self.note("accepted", deployment=deployment.id, rule=rule.name, **_what(wanted), **_who(identity))
        self._start(deployment)
        return self._shown(deployment, 202)

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
            deployment = self.store.deployment(wanted.id) or deployment
        return self._shown(deployment, 200, wanted.after)

    def list_deployments(self, call: Call, identity: Identity) -> Answer:
        """`GET /deployments`: newest first, only what the caller may see."""
        wanted = requests.listing(call.query)
        index, key = self._listed(wanted.function, identity)
        items: list[Deployment] = []
        cursor: str | None = None
        for examined, deployment in enumerate(self.store.deployments(index, key, wanted.cursor), 1):
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

    def _listed(self, function: str | None, identity: Identity) -> tuple[str, str]:
        """The index to read, and its key: no wider than it must be, for `next_cursor` tells what was read."""
        rules = self.gate.rules_of(identity)
        if function and any(rule.grants(("read",), function, None) for rule in rules):
            return "by_function", function
        if function or not rules:
            return "by_project", project_key(*identity.project)
        return "by_time", "deployments"

    # Functions

    def read_function(self, call: Call, identity: Identity) -> Answer:
        """`GET /functions/{name}`: what each stage serves, as far as the caller may see it."""
        requests.no_query(call.query)
        name = requests.function_name(call.path)
        served = [s for s in self.store.serving(name) if self._may_see(s, identity)] if name else []
        if not served:
            raise not_found()
        return Answer(200, _function_view(served), _served_table(served))

    def list_functions(self, call: Call, identity: Identity) -> Answer:
        """`GET /functions`: by name, all that the caller may see, or what one stage serves."""
        stage, after = requests.functions(call.query)
        functions: dict[str, list[Serving]] = {}
        cursor: str | None = None
        for serving in self.store.serving(after=after):
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

    # Parts

    def _authorise(self, identity: Identity, action: str, function: str, stage: str | None) -> Rule:
        decision = self.gate.decide(identity, actions=(action,), function=function, stage=stage)
        if decision.rule is not None:
            return decision.rule
        where = f" in {stage}" if stage else ""
        self.note(
            "refused", code="not_allowed", action=action, function=function, stage=stage, **_who(identity)
        )
        raise not_allowed(f"no rule allows this identity to {action} {function}{where}", decision.nearest)

    def _check_age(self, identity: Identity, placement: Placement | None) -> None:
        """A stage's own `max_age`, told only to who may deploy there. No leeway."""
        limit = placement.max_age if placement else None
        if limit is not None and self.clock() - identity.issued_at > limit:
            self.note("refused", code="invalid_token", check="max_age", **_who(identity))
            raise invalid_token(
                "max_age", f"the token is older than the {duration(limit)} that the stage allows"
            )

    def _plan(
        self, wanted: DeployRequest, rule: Rule, placement: Placement, identity: Identity
    ) -> Deployment:
        now = self.clock()
        moment = timestamp(now)
        by = _requester(identity)
        who = f"job {by.job_id} of project {by.project_id}"
        return Deployment(
            id=new_id(now),
            revision=1,
            status=Status.ACCEPTED,
            action=wanted.action,
            function=wanted.function,
            stage=wanted.stage,
            sha256=wanted.sha256,
            plan=self._planned(placement),
            rule=rule.name,
            requested_by=by,
            created_at=moment,
            updated_at=moment,
            since=moment,
            timeline=(Entry(1, moment, Status.ACCEPTED, f"accepted by rule {clean(rule.name)!r} for {who}"),),
            release=wanted.release and clean(wanted.release),
            description=wanted.description and clean(wanted.description),
            expected_version=wanted.expected_version,
        )

    def _planned(self, placement: Placement) -> Plan:
        target = Target(
            placement.target.account or self.own.account, placement.target.region or self.own.region
        )
        return Plan(target, placement.alias, (Step(100, 0),), self.gate.digest)

    def _check_possible(self, wanted: DeployRequest, placement: Placement) -> None:
        """422 and 412: what the gateway's own table shows to be impossible."""
        if not self.store.registered(wanted.function, wanted.sha256):
            raise unprocessable(
                f"no artifact {wanted.sha256[:12]} of {wanted.function} is there: POST /v1/artifacts first"
            )
        if wanted.expected_version is None:
            return
        target = self._planned(placement).target
        for serving in self.store.serving(wanted.function):
            here = (serving.account, serving.region, serving.alias)
            if here == (target.account, target.region, placement.alias):
                if serving.version == wanted.expected_version:
                    return
                raise Problem(
                    412,
                    "not_as_expected",
                    f"{wanted.stage} serves version {serving.version}, not {wanted.expected_version}",
                    {"version": serving.version},
                )

    def _rehearse(
        self, wanted: DeployRequest, rule: Rule, placement: Placement, identity: Identity
    ) -> Answer:
        """A dry run: the same checks, and nothing bound or written."""
        self._check_possible(wanted, placement)
        plan = self._planned(placement)
        holder = self.store.alias_lock(plan.target, wanted.function, plan.alias)
        busy = holder if holder and self._visible(holder, identity) else None
        value = {
            "dry_run": True,
            "allowed": True,
            "rule": rule.name,
            "plan": plan_view(plan),
            "busy": holder is not None,
            "deployment": busy,
        }
        lines = [
            f"allowed by rule {rule.name!r}",
            f"would deploy {wanted.sha256[:12]} to alias {plan.alias} of {wanted.function}"
            f" in {plan.target.account} {plan.target.region}",
        ]
        if holder:
            lines.append(f"busy: {busy or 'another deployment'} is rolling out")
        return Answer(200, value, tuple(lines))

    def _replayed(self, request_key: str, fingerprint: str, identity: Identity) -> Answer | None:
        """Promise 5: the same request again finds what it accepted, and starts it if its start failed."""
        known = self.store.request(request_key)
        if known is None:
            return None
        if known.fingerprint != fingerprint:
            raise conflict("key_reused", "this Idempotency-Key came with another body before")
        return self._again(known.deployment, identity)

    def _again(self, deployment_id: str, identity: Identity) -> Answer:
        deployment = self.store.deployment(deployment_id)
        if deployment is None:
            raise unavailable("the record of this request cannot be read: send it again")
        self.note("replayed", deployment=deployment.id, **_who(identity))
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

    def _busy(self, holder: str, identity: Identity) -> Problem:
        seen = self._visible(holder, identity)
        members = {"deployment": holder} if seen else {}
        return conflict("busy", "another deployment of this function to this stage is not final yet", members)

    def _visible(self, deployment_id: str, identity: Identity) -> Deployment | None:
        deployment = self.store.deployment(deployment_id)
        return deployment if deployment and self._may_see(deployment, identity) else None

    def _may_see(self, seen: Deployment | Serving, identity: Identity) -> bool:
        """Visible to its own (issuer, project), and to who has a rule on that function and stage."""
        by = seen.requested_by if isinstance(seen, Deployment) else seen
        own = (by.issuer, by.project_id) == identity.project
        return own or self.gate.may_see(identity, function=seen.function, stage=seen.stage)

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
                **(headers or {}),
            },
        )


Route = Callable[[Gateway, Call, Identity], Answer]

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", "/artifacts"): Gateway.create_artifact,
    ("POST", "/deployments"): Gateway.create_deployment,
    ("GET", "/deployments"): Gateway.list_deployments,
    ("GET", "/deployments/{id}"): Gateway.read_deployment,
    ("GET", "/functions"): Gateway.list_functions,
    ("GET", "/functions/{name}"): Gateway.read_function,
    ("GET", "/whoami"): Gateway.whoami,
}


def health() -> Answer:
    """`GET /health`: for nobody in particular, so it says nothing but that the gateway answers."""
    return Answer(200, {"status": "ok", "version": __version__}, (f"ok {__version__}",))


def _check_size_and_type(call: Call) -> None:
    """Before the token and before any parsing."""
    if len(call.body) > MAX_BODY:
        raise Problem(413, "too_large", f"the body has more than {MAX_BODY} bytes")
    if call.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")


def _not_covered(function: str) -> Problem:
    return unprocessable(f"no entry of `functions` in the gate file covers {function}")


def _covered(function: str, placement: Placement | None) -> Placement:
    if placement is None:
        raise _not_covered(function)
    return placement


def _token_key(identity: Identity, deployment: Deployment) -> str | None:
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


def _requester(identity: Identity) -> Requester:
    def text(claim: str) -> str | None:
        value = identity.text(claim)
        return None if value is None else clean(value)

    return Requester(
        issuer=identity.issuer,
        project_id=text("project_id") or "",
        project_path=text("project_path"),
        user_id=text("user_id"),
        user_login=text("user_login"),
        job_id=text("job_id"),
        pipeline_id=text("pipeline_id"),
        ref=text("ref"),
        sha=text("sha"),
    )


def _who(identity: Identity) -> dict[str, str | None]:
    by = _requester(identity)
    return {
        "issuer": by.issuer,
        "project_id": by.project_id,
        "pipeline_id": by.pipeline_id,
        "job_id": by.job_id,
        "user_id": by.user_id,
        "ref": by.ref,
    }


def _what(wanted: DeployRequest) -> dict[str, str]:
    return {
        "action": wanted.action,
        "function": wanted.function,
        "stage": wanted.stage,
        "sha256": wanted.sha256,
    }


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
