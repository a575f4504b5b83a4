"""What is asked: bodies and queries, checked field by field before anything is decided."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sluicegate.aws.s3 import MAX_SIZE
from sluicegate.deployment import strategy as strategies
from sluicegate.deployment.durations import DURATION, parse_duration
from sluicegate.deployment.model import Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.deployment.ulid import is_id
from sluicegate.gateway.problems import invalid_request
from sluicegate.strict_json import StrictJsonError, loads

MAX_BODY: Final = 65_536
"""Bytes of a request's body."""

MAX_WAIT: Final = 20
"""Seconds that a reading request may wait for news."""

MAX_DEPTH: Final = 16

DeploymentAction: TypeAlias = Literal["deploy", "promote", "rollback"]

_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_STAGE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class ArtifactRequest:
    """A place for an artifact: `size` in bytes, `sha256` as hex."""

    function: str
    sha256: str
    size: int


@dataclass(frozen=True)
class DeploymentRequest:
    """What a function's stage shall serve.

    `deploy` has `sha256`; `promote` has `source` (a stage) with `version` or `sha256`; `rollback` may have
    `version`. `strategy` None leaves it to the gate file.
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

    @property
    def effect(self) -> tuple[str | None, ...]:
        """What a fingerprint is taken of: everything that the request would do."""
        steps = (
            None
            if self.strategy is None
            else ",".join(f"{step.percent}:{step.bake}" for step in self.strategy)
        )
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
        )


@dataclass(frozen=True)
class ReadRequest:
    """A deployment, as soon as its revision is past `after`; `wait` in seconds."""

    id: str
    after: int
    wait: int


@dataclass(frozen=True)
class ListRequest:
    """Deployments, newest first; those older than the id `cursor`."""

    function: str | None
    stage: str | None
    status: Status | None
    release: str | None
    limit: int
    cursor: str | None


class _Fields:
    """An object's fields, taken one by one; what is wrong is collected, so that all of it is told at once."""

    def __init__(self, value: Any, pointer: str = "") -> None:
        self.pointer = pointer
        self.errors: list[tuple[str, str]] = []
        self._left: dict[str, Any] = {}
        if isinstance(value, dict):
            self._left = dict(value)
        else:
            self.errors.append((pointer, "must be an object"))

    def take(self, name: str, check: Callable[[Any], str | None], *, needed: bool = False) -> Any:
        """The field's value, or None; `check` says what is wrong with it, or None."""
        if name not in self._left:
            if needed and not (self.errors and self.errors[0][0] == self.pointer):
                self.errors.append((f"{self.pointer}/{name}", "is missing"))
            return None
        value = self._left.pop(name)
        if value is None and not needed:
            return None
        if wrong := check(value):
            self.errors.append((f"{self.pointer}/{name}", wrong))
            return None
        return value

    def has(self, name: str) -> bool:
        """Whether the field was sent and not taken yet."""
        return name in self._left

    def nested(self, name: str, *, needed: bool = False) -> "_Fields | None":
        """An object within; its errors are to be given to `done`."""
        if name in self._left and (self._left[name] is not None or needed):
            return _Fields(self._left.pop(name), f"{self.pointer}/{name}")
        self.take(name, lambda _: None, needed=needed)
        return None

    def done(self, *nested: "_Fields | None") -> None:
        """Raise a Problem if anything was wrong or is left over."""
        for fields in nested:
            if fields is not None:
                self.errors += fields.errors + fields.unknown()
        self.errors += self.unknown()
        if self.errors:
            raise invalid_request(self.errors)

    def unknown(self) -> list[tuple[str, str]]:
        """The fields that nobody took."""
        return [
            (f"{self.pointer}/{name.replace('~', '~0').replace('/', '~1')}", "is not a known field")
            for name in self._left
        ]


def body(data: bytes) -> Any:
    """The body's JSON value, strictly."""
    try:
        return loads(data, max_depth=MAX_DEPTH)
    except StrictJsonError as error:
        raise invalid_request([("", str(error))]) from None


def artifact(value: Any) -> ArtifactRequest:
    """Of `POST /artifacts`."""
    fields = _Fields(value)
    function = fields.take("function", _function, needed=True)
    sha256 = fields.take("sha256", _sha256, needed=True)
    size = fields.take("size", _size, needed=True)
    fields.done()
    return ArtifactRequest(function, sha256, size)


_ONLY: Final[Mapping[str, tuple[DeploymentAction, ...]]] = {
    "artifact": ("deploy", "promote"),
    "from": ("promote",),
    "version": ("promote", "rollback"),
    "strategy": ("deploy", "promote"),
}
"""Fields that only some actions have."""


def deployment(value: Any) -> DeploymentRequest:
    """Of `POST /deployments`."""
    fields = _Fields(value)
    action: DeploymentAction = fields.take("action", _action, needed=True)
    function = fields.take("function", _function, needed=True)
    stage = fields.take("stage", _stage, needed=True)
    for name, actions in _ONLY.items():
        if action and action not in actions and fields.has(name):
            fields.take(name, lambda _: f"does not go with {action}")
    source = fields.take("from", _stage, needed=action == "promote")
    version = fields.take("version", _version)
    artifact = fields.nested("artifact", needed=action == "deploy")
    image = artifact is not None and artifact.has("image")
    if artifact and image:
        artifact.take("image", lambda _: "is not supported yet: send the sha256 of a zip")
    sha256 = artifact.take("sha256", _sha256, needed=not image) if artifact else None
    if action == "promote" and (artifact is None) == (version is None) and not fields.errors:
        fields.errors.append(("/version", "say what to promote: one of version and artifact"))
    if source is not None and source == stage:
        fields.errors.append(("/from", "is the stage itself"))
    strategy = _strategy(fields)
    on_busy = fields.take("on_busy", _one_of("fail", "supersede"))
    expect = fields.nested("expect")
    expected = expect.take("version", _version, needed=True) if expect else None
    release = fields.take("release", _text(128))
    description = fields.take("description", _text(256))
    dry_run = fields.take("dry_run", _boolean)
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
    )


def _strategy(fields: _Fields) -> tuple[TrafficStep, ...] | None:
    """The steps of the field `strategy`, which has the gate file's form; errors go to `fields`."""
    given = fields.nested("strategy")
    if given is None:
        return None
    kind = given.take("type", _one_of(*strategies.TYPES), needed=True)
    listed: list[_Fields] = []
    steps: tuple[TrafficStep, ...] | None = None
    try:
        match kind:
            case "all-at-once":
                steps = strategies.all_at_once(_taken_duration(given, "bake"))
            case "canary":
                percent = given.take("percent", _percent, needed=True)
                bake = _taken_duration(given, "bake", needed=True)
                steps = strategies.canary(percent, bake) if percent and bake else None
            case "linear":
                percent = given.take("percent", _percent, needed=True)
                every = _taken_duration(given, "every", needed=True)
                steps = strategies.linear(percent, every) if percent and every else None
            case "steps":
                items = given.take("steps", _steps, needed=True) or []
                listed = [_Fields(item, f"{given.pointer}/steps/{i}") for i, item in enumerate(items)]
                made = [
                    TrafficStep(one.take("percent", _percent, needed=True) or 0, _taken_duration(one, "bake"))
                    for one in listed
                ]
                if not any(one.errors for one in listed):
                    steps = strategies.checked(made)
    except strategies.StrategyError as error:
        given.errors.append((given.pointer, str(error)))
    for one in (given, *listed):
        fields.errors += one.errors + one.unknown()
    return steps


def _taken_duration(fields: _Fields, name: str, *, needed: bool = False) -> int:
    return parse_duration(fields.take(name, _duration, needed=needed) or "") or 0


def reason(value: Any, *, needed: bool = False) -> str | None:
    """Of approve, reject, abort and hold: why."""
    fields = _Fields(value)
    text: str | None = fields.take("reason", _text(256), needed=needed)
    fields.done()
    return text


def deployment_id(path: Mapping[str, str]) -> str | None:
    """Of a path; None where it cannot be one."""
    return path["id"] if is_id(path.get("id", "")) else None


def stage_name(path: Mapping[str, str]) -> str | None:
    """Of a path; None where it cannot be one."""
    name = path.get("stage", "")
    return name if _STAGE.fullmatch(name) else None


def idempotency_key(values: list[str]) -> str | None:
    """Of the header `Idempotency-Key`: at most one, 1 to 128 printable ASCII characters."""
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise invalid_request(
            [("", "Idempotency-Key must be one value of 1 to 128 printable ASCII characters")]
        )
    return values[0]


def read(path: Mapping[str, str], query: Mapping[str, list[str]]) -> ReadRequest | None:
    """Of `GET /deployments/{id}`; None where the id cannot be one."""
    after, wait = _query(query, after=_number, wait=_number)
    if not is_id(path.get("id", "")):
        return None
    return ReadRequest(path["id"], int(after or 0), min(int(wait or 0), MAX_WAIT))


def listing(query: Mapping[str, list[str]]) -> ListRequest:
    """Of `GET /deployments`."""
    function, stage, status, release, limit, cursor = _query(
        query,
        function=_function,
        stage=_stage,
        status=_one_of(*Status),
        release=_text(128),
        limit=_limit,
        cursor=_cursor,
    )
    return ListRequest(function, stage, Status(status) if status else None, release, int(limit or 20), cursor)


def functions(query: Mapping[str, list[str]]) -> tuple[str | None, str | None]:
    """Of `GET /functions`: the stage, and the function after which to go on."""
    stage, cursor = _query(query, stage=_stage, cursor=_function)
    return stage, cursor


def no_query(query: Mapping[str, list[str]]) -> None:
    """Where no parameter has a meaning."""
    _query(query)


def function_name(path: Mapping[str, str]) -> str | None:
    """Of a path; None where it cannot be one."""
    name = path.get("name", "")
    return name if _FUNCTION.fullmatch(name) else None


def _query(query: Mapping[str, list[str]], **checks: Callable[[Any], str | None]) -> tuple[str | None, ...]:
    errors = [(name, "is not a known parameter") for name in query if name not in checks]
    values = []
    for name, check in checks.items():
        given = query.get(name, [])
        wrong = "is given more than once" if len(given) > 1 else check(given[0]) if given else None
        if wrong:
            errors.append((name, wrong))
        values.append(given[0] if given else None)
    if errors:
        raise invalid_request(errors)
    return tuple(values)


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], str | None]:
    return lambda value: None if isinstance(value, str) and pattern.fullmatch(value) else f"must be {what}"


_function = _matching(
    _FUNCTION, "the name of a function: 1 to 64 letters, digits, `-` and `_`, without an ARN"
)
_stage = _matching(_STAGE, "the name of a stage")
_sha256 = _matching(_SHA256, "a SHA-256 as 64 lower-case hexadecimal digits")
_version = _matching(_VERSION, 'the number of a version, as a string: "42"')
_number = _matching(_NUMBER, "a whole number")
_duration = _matching(DURATION, 'a duration such as "90s", "5m" or "2h"')


def _cursor(value: Any) -> str | None:
    return None if is_id(value) else "must be a next_cursor of an earlier answer"


def _limit(value: Any) -> str | None:
    return None if _NUMBER.fullmatch(value) and 1 <= int(value) <= 100 else "must be a number from 1 to 100"


def _size(value: Any) -> str | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIZE
    return None if fine else f"must be a number of bytes from 1 to {MAX_SIZE}"


def _percent(value: Any) -> str | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100
    return None if fine else "must be a whole number from 1 to 100"


def _steps(value: Any) -> str | None:
    fine = isinstance(value, list) and 1 <= len(value) <= strategies.MAX_STEPS
    return None if fine else f"must be a list of 1 to {strategies.MAX_STEPS} steps"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _text(limit: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fine = isinstance(value, str) and 1 <= len(value) <= limit
        return None if fine else f"must be a string of 1 to {limit} characters"

    return check


def _one_of(*names: str) -> Callable[[Any], str | None]:
    allowed = tuple(map(str, names))
    return lambda value: (
        None if isinstance(value, str) and value in allowed else f"must be {' or '.join(allowed)}"
    )


_action = _one_of("deploy", "promote", "rollback")
