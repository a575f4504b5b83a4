"""The whole of it in one process: the gateway's answers, the real state machine, the deployer, the janitor.

Tokens are signed with a real key; the table and Lambda are models.
"""

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.model import Deployment
from sluicegate.gate import codec, rollout_settings
from sluicegate.gate.policy import Gate
from sluicegate.gate.records import FORMAT
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.jwks import Keyring
from sluicegate.recovery.janitor import Janitor, Swept
from sluicegate.recovery.waker import Waker
from support.lambda_model import LambdaModel
from support.signing import AUDIENCE, ISSUER, NOW, jwk, jwks, token
from support.simulation import OWN, Clock, Simulation, artifacts_of, dynamodb
from support.state_machine import Machine

OTHER = "https://gitlab.example.org"
ROOT = Path(__file__).parents[2]

_WRITES = (
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "TransactWriteItems",
    "BatchWriteItem",
)

Json = dict[str, Any]


def rule(name: str, *actions: str, **changes: Any) -> Json:
    """A rule of project 4213 for pushes and the web, on all functions and stages."""
    claims = {"project_id": ["4213"], "pipeline_source": ["push", "web"]} | changes.pop("claims", {})
    return {
        "name": name,
        "issuer": ISSUER,
        "via": "id_token",
        "claims": claims,
        "actions": list(actions),
        "functions": ["orders*"],
        "stages": ["dev", "prod"],
        "limits": None,
    } | changes


RELEASERS = rule("releasers", "deploy", "promote", "rollback", "abort", "hold")
PERSON = {"ref_protected": ["true"], "pipeline_source": ["web"]}
APPROVERS = rule("approvers", "approve", "reject", claims=PERSON)


def rule_limits(**limits: Any) -> Json:
    """A rule's limits."""
    nothing = {"per_hour": None, "per_day": None, "unapproved_percent": None, "hours": None, "propose": False}
    return nothing | limits


def gate_of(
    stages: Mapping[str, Rollout] | None = None,
    rules: tuple[Json, ...] = (RELEASERS, APPROVERS),
    *,
    places: Mapping[str, str] | None = None,
    of_agents: Json | None = None,
    protected: tuple[str, ...] = (),
    **more: Any,
) -> Gate:
    """A gate of two issuers with the same keys, the stages `dev` and `prod`, and functions `orders*`.

    `places` are the targets of stages that are not in the stack's own. `of_agents` is
    what the stage `prod` demands of agents.
    """
    rollouts = {"dev": Rollout(), "prod": Rollout()} | dict(stages or {})
    document = {
        "format": FORMAT,
        "issuers": [issuer("corp", ISSUER), issuer("other", OTHER)],
        "targets": [],
        "people": [],
        "sso": [],
        "agents": {"users": [], "principals": []},
        "stages": [
            {
                "name": name,
                "alias": name,
                "target": (places or {}).get(name),
                "protected": name in protected,
                "max_age": None,
                "agents": of_agents if name == "prod" else None,
                "rollout": rollout_settings.document(rollout),
            }
            for name, rollout in rollouts.items()
        ],
        "functions": [{"pattern": "orders*", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}],
        "rules": list(rules),
        "deny": [],
        "webhooks": [],
        "notify": [],
    } | more
    return codec.parse(json.dumps(document).encode(), own_functions=("sluicegate-gateway",))


def issuer(name: str, url: str) -> Json:
    """One whose keys are in the gate file."""
    return {
        "name": name,
        "url": url,
        "audience": AUDIENCE,
        "max_age": None,
        "jwks": keys().decode(),
        "feedback": None,
        "gitlab_url": None,
        "sts_audience": None,
        "groups": None,
        "sign_in": None,
    }


@cache
def keys() -> bytes:
    return jwks(jwk("k1"))


@cache
def function(name: str) -> ModuleType:
    """The module of a function's handler."""
    os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Sluicegate")
    os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "test")
    spec = importlib.util.spec_from_file_location(f"{name}_app", ROOT / "functions" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class GatewaySimulation(Simulation):
    """A simulation with a gateway, whose rollouts run in the real state machine. `gate` may be replaced."""

    gate: Gate = field(default_factory=gate_of)
    notes: list[tuple[str, Json]] = field(default_factory=list)
    jobs: int = 1_000
    polls: int = 4
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.machine = Machine(self.invoke, self.clock)
        self.deployer = Deployer(
            self.store,
            self.runner,
            cast(Any, self.machine),
            lambda d, _: self.changes.append(d),
            self.clock,
            self.clock.sleep,
        )
        self.janitor = Janitor(self.store, cast(Any, self.machine), self.clock)
        self.waker = Waker(self.store, cast(Any, self.machine), self.clock, self.clock.sleep)
        self.invocations: list[Json] = []

    def invoke(self, payload: Json) -> Any:
        """The deployer's function."""
        self.invocations.append(payload)
        if self.failures:
            raise self.failures.pop(0)
        return function("deployer").handler(payload, None)

    @property
    def context(self) -> Context:
        return Context(
            gate=self.gate,
            keys=Keyring(clock=self.clock),
            store=self.store,
            artifacts=artifacts_of(self.model, self.s3),
            executions=cast(Any, self.machine),
            secrets=cast(Any, None),
            own=OWN,
            log=lambda event, **facts: self.notes.append((event, facts)),
            waits=self.polls,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    # Claims

    def job(self, **claims: Any) -> Json:
        """Claims of a new job of project 4213, in a pipeline of its own, unless they say otherwise."""
        self.jobs += 1
        now = int(self.clock())
        return {
            "jti": f"jti-{self.jobs}",
            "job_id": str(self.jobs),
            "pipeline_id": str(self.jobs),
            "iat": now - 5,
            "nbf": now - 10,
            "exp": now + 3_600,
        } | claims

    def person(self, user_id: str = "8", **claims: Any) -> Json:
        """Claims of a job that somebody else started by hand."""
        login = claims.pop("user_login", f"user-{user_id}")
        return self.job(user_id=user_id, user_login=login, pipeline_source="web", **claims)

    # Requests

    def ask(
        self,
        method: str,
        resource: str,
        claims: Json,
        body: Any = None,
        key: str | None = None,
        query: Mapping[str, list[str]] | None = None,
        **path: str,
    ) -> GatewayResponse:
        headers = {
            "authorization": [f"Bearer {self.signed(claims)}"],
            "content-type": ["application/json"],
        }
        if key:
            headers["idempotency-key"] = [key]
        data = json.dumps(body if body is not None else {}).encode()
        return self.answer(GatewayRequest(method, resource, path, query or {}, headers, data, "request"))

    def signed(self, claims: Json) -> str:
        """Return a job's token."""
        return token(claims)

    def answer(self, request: GatewayRequest) -> GatewayResponse:
        return dispatch(self.context, request)

    def request(self, claims: Json | None = None, key: str | None = None, **body: Any) -> GatewayResponse:
        """`POST /deployments` of `orders`. Ids sort by time, so no two are of one millisecond."""
        self.clock.now += 0.002
        wanted = {"function": "orders", "stage": "prod"} | body
        return self.ask("POST", "/deployments", claims or self.job(), wanted, key)

    def deploy(self, sha256: str, claims: Json | None = None, **body: Any) -> Deployment:
        return self.of(self.request(claims, action="deploy", artifact={"sha256": sha256}, **body))

    def promote(self, claims: Json | None = None, **body: Any) -> Deployment:
        return self.of(self.request(claims, action="promote", **{"from": "dev", **body}))

    def rollback(self, claims: Json | None = None, **body: Any) -> Deployment:
        return self.of(self.request(claims, action="rollback", **body))

    def decide(
        self, action: str, deployment: Deployment, claims: Json | None = None, reason: str | None = None
    ) -> GatewayResponse:
        """Decide, after a dry run that must find the same and write nothing."""
        body = {"reason": reason} if reason else {}
        return self._rehearsed(
            f"/deployments/{{id}}/{action}", claims or self.person(), body, id=deployment.id
        )

    def hold(self, claims: Json | None = None, stage: str = "prod") -> GatewayResponse:
        return self._rehearsed(
            "/stages/{stage}/hold", claims or self.job(), {"reason": "freeze"}, stage=stage
        )

    def _rehearsed(self, resource: str, claims: Json, body: Json, **path: str) -> GatewayResponse:
        found: GatewayResponse | Problem
        with self.nothing_written():
            try:
                found = self.ask("POST", resource, claims, {**body, "dry_run": True}, None, None, **path)
            except Problem as refusal:
                found = refusal
        if isinstance(found, Problem):
            with pytest.raises(Problem) as refused:
                self.ask("POST", resource, claims, body, None, None, **path)
            assert found.body("") == refused.value.body("")
            raise refused.value
        answer = self.ask("POST", resource, claims, body, None, None, **path)
        assert found.value["allowed"]
        if "effect" in found.value:
            assert found.value["changes"] is (answer.status == 202), found.value
            if found.value["message"]:
                assert found.value["message"] in [entry["message"] for entry in answer.value["timeline"]]
        return answer

    @contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Fail if anything writes to the table meanwhile."""
        events = self.client.meta.events
        calls = [f"before-call.dynamodb.{name}" for name in _WRITES]

        def refuse(model: Any, **_: Any) -> None:
            raise AssertionError(f"{model.name} in a dry run")

        for call in calls:
            events.register(call, refuse)
        try:
            yield
        finally:
            for call in calls:
                events.unregister(call, refuse)

    def of(self, answer: GatewayResponse) -> Deployment:
        found = self.store.deployments.get(answer.value["id"])
        assert found is not None
        return found

    # Rollouts

    def release(self, sha256: str, **body: Any) -> Deployment:
        """Deploy, approve where it has to be, and run to the end."""
        deployment = self.deploy(sha256, **body)
        if deployment.plan.approval is not None:
            self.decide("approve", deployment)
        return self.finish(deployment)

    def finish(self, deployment: Deployment) -> Deployment:
        """The deployment once no execution runs any more."""
        self.machine.run()
        return self.now(deployment)

    def run_until(self, deployment: Deployment, *statuses: str, waits: bool = True) -> Deployment:
        """The deployment once it is in one of these statuses, and waits there."""

        def there() -> bool:
            return self.now(deployment).status in statuses and (self.machine.waits(deployment) or not waits)

        self.machine.run(there)
        assert there(), self.now(deployment).timeline
        return self.now(deployment)

    def sweep(self) -> Swept:
        return self.janitor.sweep()


@contextmanager
def gateway_simulation(**fields: Any) -> Iterator[GatewaySimulation]:
    """A simulation with the function `orders`, whose handlers are the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(float(NOW))
        model = fields.pop("model", None) or LambdaModel()
        made = GatewaySimulation(dynamodb(clock), model, clock, **fields)
        made.model.add("orders", b"code of somebody")
        patch.setattr(function("deployer"), "service", lambda: made.deployer)
        patch.setattr(function("waker"), "service", lambda: made.waker)
        yield made


def artifact(at: GatewaySimulation, code: bytes, name: str = "orders", **claims: Any) -> str:
    """Uploaded, and known to the gateway, which hears of it from a job with these claims."""
    sha256 = at.upload(name, code)
    body = {"function": name, "sha256": sha256, "size": len(code)}
    answer = at.ask("POST", "/artifacts", at.job(**claims), body)
    assert answer.status == 200
    return sha256


def problem(call: Any, *args: Any, **kwargs: Any) -> Problem:
    """The problem that a call raises."""
    with pytest.raises(Problem) as raised:
        call(*args, **kwargs)
    return raised.value


def refused(status: int, code: str, call: Any, *args: Any, **kwargs: Any) -> str:
    """Return the detail of the problem that the call must raise."""
    found = problem(call, *args, **kwargs)
    assert (found.status, found.code) == (status, code), found
    return found.detail
