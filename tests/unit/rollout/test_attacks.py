"""Attacks on rollouts that once worked: each is what an attacker, a crash or a race did, and must not do."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from sluicegate.deployment.deaths import Deaths
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import Smoke
from sluicegate.gate.policy import Gate
from sluicegate.gateway.app import endpoint
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.identity import Identity
from sluicegate.owner import Owner
from sluicegate.recovery.janitor import GIVES_UP_AFTER, SOON, Janitor
from sluicegate.rollout import smoke
from sluicegate.store.uploads import Upload
from sluicegate.store.waits import Wait
from sluicegate_gatefile import compile as gatefile
from support.lambda_model import error
from support.simulation import OWN, Simulation, simulation

ISSUER = "https://gitlab.example.com"
OLD, NEW, NEWEST = (hashlib.sha256(code).hexdigest() for code in (b"old", b"new", b"newest"))

GATE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com, jwks: discovery, max_age: 1h}
stages:
  dev: {}
  prod:
    strategy: {type: canary, percent: 10, bake: 5m}
  asked:
    max_age: 5m
    strategy: {type: canary, percent: 10, bake: 5m}
    approval: {expires: 1h}
functions:
  orders: {}
rules:
  - name: everything
    claims: {project_id: "4213", ref_type: branch, ref: main, ref_protected: "true"}
    allow:
      actions: [deploy, promote, rollback, abort, hold, override-strategy]
      functions: [orders]
      stages: [dev, prod, asked]
  - name: others
    claims: {project_id: "4214", ref_type: branch, ref: main, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders], stages: [dev, prod, asked]}
  - name: second person
    claims: {project_id: "4213", ref_type: branch, ref: main, ref_protected: "true", pipeline_source: web}
    allow: {actions: [approve, reject], functions: [orders], stages: [asked]}
"""


def gate(directory: Path, text: str = GATE) -> Gate:
    path = directory / "sluicegate.yaml"
    path.write_text(text)
    report = gatefile.check(path)
    assert report.gate is not None, report
    return report.gate


def unheard(event: str, **facts: Any) -> None:
    """What the gateway notes."""


@dataclass
class Engine:
    """Step Functions, as far as a test needs it: what was started and woken, and what runs."""

    started: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    states: dict[str, str | Exception | None] = field(default_factory=dict)

    def start(self, deployment: Deployment) -> None:
        self.started.append(deployment.id)

    def wake(self, token: str, **_: bool) -> None:
        self.woken.append(token)

    def state(self, deployment: Deployment) -> str | None:
        found = self.states.get(deployment.id, "RUNNING")
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class Stand:
    """A simulation with a gateway before it."""

    simulation: Simulation
    gate: Gate
    engine: Engine = field(default_factory=Engine)

    @property
    def context(self) -> Context:
        at = self.simulation
        return Context(
            self.gate,
            cast(Any, None),
            at.store,
            cast(Any, None),
            cast(Any, self.engine),
            cast(Any, None),
            OWN,
            unheard,
            4,
            at.clock,
            at.clock.sleep,
        )

    def job(self, number: int, **claims: str) -> Identity:
        now = int(self.simulation.clock())
        whole = {
            "project_id": "4213",
            "project_path": "acme/orders",
            "user_id": "7",
            "user_login": "ada",
            "pipeline_id": str(500 + number),
            "pipeline_source": "push",
            "job_id": str(number),
            "ref": "main",
            "ref_type": "branch",
            "ref_protected": "true",
        } | claims
        return Identity("id_token", ISSUER, whole, f"jti-{number}", now, now + 3_600)

    def call(
        self, method: str, resource: str, identity: Identity, body: Any = None, **path: str
    ) -> GatewayResponse:
        data = b"" if body is None else json.dumps(body).encode()
        call = GatewayRequest(method, resource, path, {}, {}, data, "request")
        return endpoint((method, resource))(self.context, call, identity)

    def ask(self, identity: Identity, **body: Any) -> Deployment:
        answer = self.call("POST", "/deployments", identity, {"function": "orders", **body})
        found = self.simulation.store.deployments.get(answer.value["id"])
        assert found is not None
        return found

    def deploy(self, identity: Identity, sha256: str, stage: str = "prod", **more: Any) -> Deployment:
        return self.ask(identity, action="deploy", stage=stage, artifact={"sha256": sha256}, **more)

    def turn(self, deployment: Deployment) -> Deployment:
        self.simulation.deployer.run_turn(deployment.id)
        return self.simulation.now(deployment)


def second(at: Stand, number: int) -> Identity:
    """Somebody else's job, who may approve."""
    return at.job(number, user_id="8", user_login="bob", pipeline_source="web")


def replaced(at: Stand, deployment: Deployment, **fields: Any) -> Deployment:
    """The record with other fields, as an earlier gate file would have had them."""
    after = replace(deployment, revision=deployment.revision + 1, **fields)
    at.simulation.store.deployments.save(deployment, after)
    return after


def no_provisioned_concurrency(**_: str) -> Any:
    raise error("ProvisionedConcurrencyConfigNotFoundException", 404)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Stand]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        setattr(made.model, "get_provisioned_concurrency_config", no_provisioned_concurrency)  # noqa: B010
        for code in (b"old", b"new", b"newest"):
            sha256 = made.upload("orders", code)
            made.store.uploads.add(Upload("orders", sha256, 1, Owner("project", ISSUER, "4213"), "main", "0"))
        yield Stand(made, gate(tmp_path))


# Waits


def test_an_approved_deployment_that_bakes_is_not_woken_every_minute(at: Stand) -> None:
    """A bake of days was woken each minute, until executions ran out of history, and it was given up."""
    asked = at.deploy(at.job(1), NEW, "asked")
    at.turn(asked)
    at.simulation.store.waits.add(asked.id, Wait("token"))
    janitor = Janitor(at.simulation.store, cast(Any, at.engine), at.simulation.clock)
    at.call("POST", "/deployments/{id}/approve", second(at, 2), {}, id=asked.id)
    at.engine.woken.clear()
    at.simulation.clock.sleep(60)
    assert janitor.sweep().running == 1
    assert at.engine.woken == ["token"]  # the gateway may have died between the approval and the wake-up
    baking = replace(at.simulation.now(asked), status=Status.BAKING, revision=99)
    at.simulation.store.deployments.save(at.simulation.now(asked), baking)
    at.engine.woken.clear()
    for _ in range(10):
        at.simulation.clock.sleep(60)
        janitor.sweep()
    assert at.engine.woken == []


def test_an_unavailable_table_is_waited_for(at: Stand) -> None:
    """An answer without a revision ended its own wait: turns without a pause, up to the history's end."""
    deployment = at.deploy(at.job(1), NEW)
    at.simulation.deployer.register_wait(deployment.id, 0, "token", 5)
    assert at.simulation.waits.woken == []


# The janitor


def test_one_deployment_that_cannot_be_swept_keeps_no_other_from_it(at: Stand) -> None:
    long_ago = Deaths(SOON, timestamp(at.simulation.clock() - GIVES_UP_AFTER), revision=1)
    stuck, other, lost = (
        at.simulation.accept(NEW, alias=alias, deaths=deaths)
        for alias, deaths in {"a": None, "b": None, "c": long_ago}.items()
    )
    at.engine.states = {
        stuck.id: error("ThrottlingException", 400),
        other.id: None,
        lost.id: "FAILED",
    }
    at.simulation.clock.sleep(60)
    swept = Janitor(at.simulation.store, cast(Any, at.engine), at.simulation.clock).sweep()
    assert swept.started == [other.id]
    assert [deployment.id for deployment in swept.abandoned] == [lost.id]


# Rollbacks


def test_a_stage_with_a_new_name_is_rolled_back_from_what_it_serves(at: Stand) -> None:
    """What the old name last served came first, so the way back led to where the stage was already."""
    at.simulation.run(replaced(at, at.deploy(at.job(1), OLD), stage="an-old-name"))
    for number, sha256 in enumerate((NEW, NEWEST), 2):
        at.simulation.run(at.deploy(at.job(number), sha256))
    back = at.ask(at.job(4), action="rollback", stage="prod")
    assert back.version == "2"


def test_a_rollback_goes_one_step_back_although_the_release_ends_at_the_same_time(at: Stand) -> None:
    for number, sha256 in enumerate((OLD, NEW), 1):
        at.simulation.run(at.deploy(at.job(number), sha256))
    release = at.deploy(at.job(3), NEWEST)
    while at.turn(release).status is not Status.BAKING:
        pass
    read = at.simulation.store.locks.alias_lock

    def ends_first(*key: Any) -> Any:
        setattr(at.simulation.store.locks, "alias_lock", read)  # noqa: B010
        at.simulation.run(release)
        return read(*key)

    setattr(at.simulation.store.locks, "alias_lock", ends_first)  # noqa: B010
    with pytest.raises(Problem) as refused:
        at.ask(at.job(4), action="rollback", stage="prod")
    assert (refused.value.status, at.simulation.locks()) == (503, [])
    back = at.simulation.run(at.ask(at.job(4), action="rollback", stage="prod"))
    assert at.simulation.model.serves("orders", "prod") == ("2", {}), back.timeline


def test_the_way_back_of_a_token_ends_nobody_elses_release(at: Stand) -> None:
    """A token that has deployed may undo that; with a rollback to the very same it ended the next release."""
    at.simulation.run(at.deploy(at.job(1), OLD))
    first = at.job(2)
    at.simulation.run(at.deploy(first, NEW))
    release = at.deploy(at.job(3), NEWEST)
    while at.turn(release).status is not Status.BAKING:
        pass
    with pytest.raises(Problem) as refused:
        at.ask(first, action="rollback", stage="prod")
    assert refused.value.code == "token_used"
    assert at.simulation.now(release).abort is None


# Approvals


def test_an_approval_counts_only_while_the_override_is_allowed_too(at: Stand, tmp_path: Path) -> None:
    asked = at.deploy(at.job(1), NEW, "asked", strategy={"type": "all-at-once"})
    at.turn(asked)
    at.gate = gate(tmp_path, GATE.replace(", override-strategy", ""))
    with pytest.raises(Problem) as refused:
        at.call("POST", "/deployments/{id}/approve", second(at, 2), {}, id=asked.id)
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")


# Holds


def test_a_token_too_old_for_a_stage_neither_holds_nor_releases_it(at: Stand) -> None:
    old = at.job(1)
    at.call("POST", "/stages/{stage}/hold", old, {"reason": "an incident"}, stage="asked")
    at.simulation.clock.sleep(301)
    for method, body in (("DELETE", None), ("POST", {"reason": "again"})):
        with pytest.raises(Problem) as refused:
            at.call(method, "/stages/{stage}/hold", old, body, stage="asked")
        assert refused.value.code == "invalid_token"


# The alias


def test_a_delayed_move_has_no_effect_once_the_deployment_has_ended(at: Stand) -> None:
    """The call was under way, in a retry or a slow network, while the deployment ended `untouched`."""
    at.simulation.run(at.simulation.accept(OLD))
    deployment = at.simulation.accept(NEW)
    model = at.simulation.model

    def ends_first(name: str) -> None:
        if name != "UpdateAlias":
            return
        model.before = lambda _: None
        at.call("POST", "/deployments/{id}/abort", at.job(9), {}, id=deployment.id)
        at.simulation.run(deployment)

    model.before = ends_first
    at.turn(deployment)
    ended = at.simulation.now(deployment)
    assert (ended.status, ended.outcome) == (Status.ABORTED, AliasOutcome.UNTOUCHED)
    assert model.serves("orders", "prod") == ("1", {})


@pytest.mark.parametrize(
    ("response", "error", "expected"),
    [
        (
            b'{"errorMessage": "no way to postgres://app:s3cret@db", "errorType": "OperationalError"}',
            "Unhandled",
            "the version failed (Unhandled): OperationalError; see its log",
        ),
        (b'{"errorType": "s3cret s3cret"}', "Unhandled", "an error without a type"),
    ],
)
def test_only_the_type_of_a_function_error_is_quoted(response: bytes, error: str, expected: str) -> None:
    """An error message may hold values from the environment, and many may read the record.

    guarantees.md#7-no-secret-in-any-output
    """
    why = smoke.find_failure(Smoke(10, payload="{}", expect='{"status": "ok"}'), response, error)
    assert why is not None
    assert expected in why
    assert "s3cret" not in why


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b'{"status": "down"}', 'not as expected: {"status": "down"}'),
        (b"<p>\x1b[2Jdown</p>", "not JSON"),
        (b'"' + b"x" * 9_000 + b'"', "x" * 100),
    ],
)
def test_a_response_of_a_function_is_quoted_cut_and_cleaned(response: bytes, expected: str) -> None:
    why = smoke.find_failure(Smoke(10, payload="{}", expect='{"status": "ok"}'), response, None)
    assert why is not None
    assert expected in why
    assert len(why) < 400
    assert "\x1b" not in why
