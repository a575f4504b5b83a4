"""The gateway with webhooks of every scheme, a table in memory and real signatures."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from sluicegate.aws.secrets import Secrets
from sluicegate.deployment.model import Deployment, Status
from sluicegate.gate.policy import Gate
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.jwks import Keyring
from sluicegate.owner import Owner
from sluicegate.store.uploads import Upload
from sluicegate_gatefile import compile as gatefile
from support.deliveries import ISSUER, SECRET, SHA, headers, raw, sign
from support.signing import AUDIENCE, jwk, jwks
from support.simulation import OWN, TABLE, Simulation, new_deployment, simulation

GATE = f"""\
version: 1
issuers:
  corp: {{url: "{ISSUER}", audience: "{AUDIENCE}", jwks: keys.json}}
stages:
  dev: {{}}
  next: {{requires: {{succeeded_in: dev}}, order: pipeline}}
  young: {{max_age: 1m}}
functions:
  orders-*: {{}}
rules:
  - name: by webhook
    via: webhook
    claims: {{project_id: ["4213", "9"], ref: ["v*", main], ref_type: [tag, branch]}}
    allow: {{actions: [deploy], functions: [orders-*], stages: [dev, next]}}
  - name: by job
    claims: {{project_id: "4213"}}
    allow: {{actions: [deploy], functions: [orders-*], stages: [dev, young]}}
deny:
  - {{pipeline_id: "666"}}
webhooks:
"""

ENTRIES = {
    "tags": ("signature", "a", "tag_push", "v*", "dev"),
    "any": ("signature", "a", "tag_push", "**", "dev"),
    "main": ("signature", "a", "pipeline", "main", "dev"),
    "next": ("signature", "a", "tag_push", "v*", "next"),
    "clear": ("token", "b", "tag_push", "v*", "dev"),
    "jobs": ("id_token", None, "tag_push", "v*", "dev"),
    "young": ("id_token", None, "tag_push", "v*", "young"),
}
CLEAR = "a secret token"
JSON = {"content-type": ["application/json"]}
PROJECT = Owner("project", ISSUER, "4213")


def gate_file() -> str:
    text = GATE
    for name, (scheme, secret, event, ref, stage) in ENTRIES.items():
        kept = f"secret: sluicegate/webhooks/{secret}, " if secret else ""
        text += f'  {name}: {{project_id: "4213", scheme: {scheme}, {kept}event: {event}, ref: "{ref}", '
        text += f"deploy: {{function: orders-api, stage: {stage}}}}}\n"
    return text


def hooked_gate(directory: Path) -> Gate:
    """The gate file with the entries, compiled."""
    path = directory / "sluicegate.yaml"
    path.write_text(gate_file())
    (directory / "keys.json").write_bytes(jwks(jwk()))
    report = gatefile.check(path)
    assert report.gate is not None, report.diagnostics
    return report.gate


@dataclass
class Manager:
    """Secrets Manager: by name the secrets, the current one first, and when that was made."""

    clock: Callable[[], float]
    secrets: dict[str, list[str]] = field(
        default_factory=lambda: {"sluicegate/webhooks/a": [SECRET], "sluicegate/webhooks/b": [CLEAR]}
    )
    rotated_at: float = 0
    calls: int = 0

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        kept = self.secrets.get(SecretId, [])
        index = {"AWSCURRENT": 0, "AWSPREVIOUS": 1}[VersionStage]
        if index >= len(kept):
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        return {"SecretString": kept[index], "CreatedDate": datetime.fromtimestamp(self.rotated_at, UTC)}


@dataclass
class Started:
    deployments: list[str] = field(default_factory=list)
    failing: bool = False

    def start(self, deployment: Deployment) -> None:
        if self.failing:
            raise TimeoutError
        self.deployments.append(deployment.id)


@dataclass
class Bucket:
    there: set[str] = field(default_factory=set)

    def find(self, function: str, sha256: str) -> object | None:
        return object() if f"{function}/{sha256}" in self.there else None


@dataclass
class Hooks:
    """A gateway, and deliveries to it."""

    simulation: Simulation
    gate: Gate
    manager: Manager
    started: Started = field(default_factory=Started)
    bucket: Bucket = field(default_factory=Bucket)
    noted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = Context(
            gate=self.gate,
            keys=Keyring(clock=self.simulation.clock),
            store=self.simulation.store,
            artifacts=cast(Any, self.bucket),
            executions=cast(Any, self.started),
            secrets=Secrets(lambda: cast(Any, self.manager), self.simulation.clock),
            own=OWN,
            log=lambda event, **facts: self.noted.append((event, facts)),
            waits=4,
            clock=self.simulation.clock,
            sleep=self.simulation.clock.sleep,
        )

    def send(
        self, name: str, body: Any, *, secret: str = SECRET, data: bytes | None = None, **more: Any
    ) -> dict[str, Any]:
        """A signed delivery's answer; of a Problem its members, with its status."""
        data = raw(body) if data is None else data
        known = body if isinstance(body, dict) else {}
        return self.call(name, data, headers(known, **more) | sign(data, secret, at=self.simulation.clock()))

    def call(self, name: str, data: bytes, sent: dict[str, list[str]], **more: Any) -> dict[str, Any]:
        call = GatewayRequest(
            "POST", "/webhooks/gitlab/{name}", {"name": name}, more.get("query", {}), sent, data, "r1"
        )
        try:
            answer: GatewayResponse = dispatch(self.context, call)
        except Problem as problem:
            return problem.body("r1")
        return {"status": answer.status, **answer.value}

    def upload(self, sha: str = SHA, sha256: str = "a" * 64, *, there: bool = True, **changes: Any) -> str:
        self.simulation.clock.now += 1
        self.simulation.store.uploads.add(
            replace(
                Upload("orders-api", sha256, 10, PROJECT, "v1.0.0", sha, "tag"),
                **changes,
            )
        )
        if there:
            self.bucket.there.add(f"orders-api/{sha256}")
        return sha256

    def deployment(self, answer: dict[str, Any]) -> Deployment:
        found = self.simulation.store.deployments.get(answer["deployment"])
        assert found is not None
        return found

    def finish(self, answer: dict[str, Any], status: Status = Status.SUCCEEDED) -> Deployment:
        before = self.deployment(answer)
        after = before.changed(self.simulation.clock(), "done", status, version="1")
        self.simulation.store.deployments.save(before, after)
        return after

    def job(self, like: Deployment, pipeline: int) -> Deployment:
        """The same deployment, asked for by a job of this pipeline, succeeds."""
        by = replace(like.requested_by, webhook=None, job_id="302", pipeline_id=str(pipeline))
        now = self.simulation.clock()
        made = replace(new_deployment(now, like.sha256, like.function, like.plan.alias), plan=like.plan)
        made = replace(made, stage=like.stage, requested_by=by)
        store = self.simulation.store.deployments
        store.accept(made, request_key=made.id, fingerprint="f", uses=())
        after = made.changed(now, "done", Status.SUCCEEDED, version="1")
        store.save(made, after)
        return after

    def items(self, prefix: str) -> list[dict[str, Any]]:
        items = self.simulation.client.scan(TableName=TABLE)["Items"]
        return [item for item in items if item["pk"]["S"].startswith(prefix)]


@contextmanager
def hooks_simulation(gate: Gate) -> Iterator[Hooks]:
    """A gateway with this gate, and an empty table."""
    with simulation() as made:
        made.clock.now = time.time()  # the library has a clock of its own
        yield Hooks(made, gate, Manager(made.clock, rotated_at=made.clock.now - 86_400))
