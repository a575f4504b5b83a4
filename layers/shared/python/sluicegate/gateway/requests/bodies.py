"""Read and check request bodies, field by field, before anything is decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sluicegate.deployment import strategy as strategies
from sluicegate.deployment.durations import parse_duration
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gateway.problems import invalid_request
from sluicegate.gateway.requests.fields import (
    Fields,
    check_boolean,
    check_duration,
    check_function,
    check_idempotency_key,
    check_percent,
    check_revision,
    check_sha256,
    check_size,
    check_stage,
    check_steps,
    check_version,
    one_of,
    text_of,
)
from sluicegate.strict_json import StrictJsonError, loads

MAX_DEPTH: Final = 16
"""Levels of arrays and objects in a body."""

DeploymentAction: TypeAlias = Literal["deploy", "promote", "rollback"]


@dataclass(frozen=True)
class ArtifactRequest:
    """An artifact to upload: `size` in bytes, `sha256` in hex. `agent`: the caller says that it is one."""

    function: str
    sha256: str
    size: int
    agent: bool = False


@dataclass(frozen=True)
class DecisionRequest:
    """A decision, or a hold. `revision` is the one that it is about; None is for any.

    `dry_run`: decide, and change nothing.
    """

    reason: str | None
    revision: int | None = None
    idempotency_key: str | None = None
    agent: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class DeploymentRequest:
    """What to deploy to a function's stage.

    `deploy` has `sha256`; `promote` has `source` (a stage) with `version` or `sha256`; `rollback` may have
    `version`. `strategy` None leaves it to the gate file. `fix_forward`: overlook the alarms that are firing
    before the first move, for a `reason`. `agent`: the caller says that it is one.
    `announced_pipeline` is in no body: it is the pipeline that announced what a webhook deploys, 0 if
    unknown.
    """

    action: DeploymentAction
    function: str
    stage: str
    sha256: str | None = None
    source: str | None = None
    version: str | None = None
    strategy: tuple[TrafficStep, ...] | None = None
    supersede: bool = False
    expected_version: str | None = None
    release: str | None = None
    description: str | None = None
    dry_run: bool = False
    fix_forward: bool = False
    reason: str | None = None
    announced_pipeline: int = 0
    idempotency_key: str | None = None
    agent: bool = False

    @property
    def effect(self) -> tuple[str | None, ...]:
        """Everything that the request would do: the input of its fingerprint."""
        steps = (
            None
            if self.strategy is None
            else ",".join(f"{step.percent}:{step.bake}" for step in self.strategy)
        )
        plain = not self.fix_forward and self.reason is None
        return (
            self.action,
            self.function,
            self.stage,
            self.sha256,
            self.source,
            self.version,
            steps,
            str(self.supersede),
            self.expected_version,
            self.release,
            self.description,
            *(("agent",) if self.agent else ()),
            *(() if plain else ("fix_forward", str(self.fix_forward), self.reason)),
        )


def parse(data: bytes) -> Any:
    """Return the body's JSON value, read strictly."""
    try:
        return loads(data, max_depth=MAX_DEPTH)
    except StrictJsonError as error:
        raise invalid_request([("", str(error))]) from None


def artifact(value: Any) -> ArtifactRequest:
    """Read the body of `POST /artifacts`."""
    fields = Fields(value)
    function = fields.take("function", check_function, needed=True)
    sha256 = fields.take("sha256", check_sha256, needed=True)
    size = fields.take("size", check_size, needed=True)
    _, agent = _sender(fields)
    fields.done()
    return ArtifactRequest(function, sha256, size, agent)


def decision(value: Any) -> DecisionRequest:
    """Read the body of approve, reject and abort."""
    fields = Fields(value)
    text: str | None = fields.take("reason", text_of(256))
    revision: int | None = fields.take("revision", check_revision)
    dry_run = bool(fields.take("dry_run", check_boolean))
    key, agent = _sender(fields)
    fields.done()
    return DecisionRequest(text, revision, key, agent, dry_run)


def hold(value: Any) -> DecisionRequest:
    """Read the body of a hold, which has a reason."""
    fields = Fields(value)
    text: str | None = fields.take("reason", text_of(256), needed=True)
    dry_run = bool(fields.take("dry_run", check_boolean))
    key, agent = _sender(fields)
    fields.done()
    return DecisionRequest(text, None, key, agent, dry_run)


def _sender(fields: Fields) -> tuple[str | None, bool]:
    """Take what any body may say of its sender: the idempotency key, and that it is an agent."""
    key: str | None = fields.take("idempotency_key", check_idempotency_key)
    return key, bool(fields.take("agent", check_boolean))


_ACTIONS_OF: Final[Mapping[str, tuple[DeploymentAction, ...]]] = {
    "artifact": ("deploy", "promote"),
    "from": ("promote",),
    "version": ("promote", "rollback"),
    "strategy": ("deploy", "promote"),
}
"""Fields that only some actions have."""


def deployment(value: Any) -> DeploymentRequest:
    """Read the body of `POST /deployments`."""
    fields = Fields(value)
    action: DeploymentAction = fields.take("action", one_of("deploy", "promote", "rollback"), needed=True)
    function = fields.take("function", check_function, needed=True)
    stage = fields.take("stage", check_stage, needed=True)
    for name, actions in _ACTIONS_OF.items():
        if action and action not in actions and fields.has(name):
            fields.take(name, lambda _: f"cannot be combined with {action}")
    source = fields.take("from", check_stage, needed=action == "promote")
    version = fields.take("version", check_version)
    artifact = fields.nested("artifact", needed=action == "deploy")
    sha256 = _sha256(artifact) if artifact else None
    if action == "promote" and (artifact is None) == (version is None) and not fields.errors:
        fields.errors.append(("/version", "specify what to promote: either version or artifact"))
    if source is not None and source == stage:
        fields.errors.append(("/from", "is the stage itself"))
    strategy = _strategy(fields)
    on_busy = fields.take("on_busy", one_of("fail", "supersede"))
    expect = fields.nested("expect")
    expected = expect.take("version", check_version, needed=True) if expect else None
    release = fields.take("release", text_of(128))
    description = fields.take("description", text_of(256))
    dry_run = fields.take("dry_run", check_boolean)
    fix_forward = fields.take("fix_forward", check_boolean)
    reason = fields.take("reason", text_of(256))
    key, agent = _sender(fields)
    fields.done(artifact, expect)
    return DeploymentRequest(
        action=action,
        function=function,
        stage=stage,
        sha256=sha256,
        source=source,
        version=version,
        strategy=strategy,
        supersede=(on_busy or ("supersede" if action == "rollback" else "fail")) == "supersede",
        expected_version=expected,
        release=release,
        description=description,
        dry_run=bool(dry_run),
        fix_forward=bool(fix_forward),
        reason=reason,
        idempotency_key=key,
        agent=agent,
    )


def _sha256(artifact: Fields) -> str | None:
    image = artifact.has("image")
    if image:
        artifact.take("image", lambda _: "is not supported yet: send the sha256 of a zip")
    sha256: str | None = artifact.take("sha256", check_sha256, needed=not image)
    return sha256


def _strategy(fields: Fields) -> tuple[TrafficStep, ...] | None:
    """Return the steps of the field `strategy`, which has the gate file's form; errors go to `fields`."""
    given = fields.nested("strategy")
    if given is None:
        return None
    listed: list[Fields] = []
    steps: tuple[TrafficStep, ...] | None = None
    try:
        match given.take("type", one_of(*strategies.TYPES), needed=True):
            case "all-at-once":
                steps = strategies.all_at_once(_duration(given, "bake"))
            case "canary":
                percent = given.take("percent", check_percent, needed=True)
                bake = _duration(given, "bake", needed=True)
                steps = strategies.canary(percent, bake) if percent and bake else None
            case "linear":
                percent = given.take("percent", check_percent, needed=True)
                every = _duration(given, "every", needed=True)
                steps = strategies.linear(percent, every) if percent and every else None
            case "steps":
                items = given.take("steps", check_steps, needed=True) or []
                listed = [Fields(item, f"{given.pointer}/steps/{i}") for i, item in enumerate(items)]
                taken = [_step(one) for one in listed]
                if not any(one.errors for one in listed):
                    steps = strategies.checked(taken)
    except strategies.StrategyError as error:
        given.errors.append((given.pointer, str(error)))
    for one in (given, *listed):
        fields.errors += one.errors + one.unknown()
    return steps


def _step(fields: Fields) -> TrafficStep:
    return TrafficStep(fields.take("percent", check_percent, needed=True) or 0, _duration(fields, "bake"))


def _duration(fields: Fields, name: str, *, needed: bool = False) -> int:
    return parse_duration(fields.take(name, check_duration, needed=needed) or "") or 0
