"""What is asked: bodies and queries, checked field by field before anything is decided."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.artifacts import MAX_SIZE
from sluicegate.deployment import Status
from sluicegate.ids import is_id
from sluicegate.problems import invalid_request
from sluicegate.strict_json import StrictJsonError, loads

MAX_BODY: Final = 65_536
"""Bytes of a request's body."""

MAX_WAIT: Final = 20
"""Seconds that a reading request may wait for news."""

MAX_DEPTH: Final = 16

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
class DeployRequest:
    """A deployment of an artifact to a stage."""

    action: str
    function: str
    stage: str
    sha256: str
    expected_version: str | None = None
    release: str | None = None
    description: str | None = None
    dry_run: bool = False

    @property
    def effect(self) -> tuple[str | None, ...]:
        """What a fingerprint is taken of: everything that the request would do."""
        return (
            self.action,
            self.function,
            self.stage,
            self.sha256,
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
        self._pointer = pointer
        self.errors: list[tuple[str, str]] = []
        self._left: dict[str, Any] = {}
        if isinstance(value, dict):
            self._left = dict(value)
        else:
            self.errors.append((pointer, "must be an object"))

    def take(self, name: str, check: Callable[[Any], str | None], *, needed: bool = False) -> Any:
        """The field's value, or None; `check` says what is wrong with it, or None."""
        if name not in self._left:
            if needed and not (self.errors and self.errors[0][0] == self._pointer):
                self.errors.append((f"{self._pointer}/{name}", "is missing"))
            return None
        value = self._left.pop(name)
        if value is None and not needed:
            return None
        if wrong := check(value):
            self.errors.append((f"{self._pointer}/{name}", wrong))
            return None
        return value

    def has(self, name: str) -> bool:
        """Whether the field was sent and not taken yet."""
        return name in self._left

    def nested(self, name: str, *, needed: bool = False) -> "_Fields | None":
        """An object within; its errors are to be given to `done`."""
        if name in self._left and (self._left[name] is not None or needed):
            return _Fields(self._left.pop(name), f"{self._pointer}/{name}")
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
            (f"{self._pointer}/{name.replace('~', '~0').replace('/', '~1')}", "is not a known field")
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


def deployment(value: Any) -> DeployRequest:
    """Of `POST /deployments`."""
    fields = _Fields(value)
    action = fields.take("action", _action, needed=True)
    function = fields.take("function", _function, needed=True)
    stage = fields.take("stage", _stage, needed=True)
    for later in ("strategy", "on_busy", "from", "version"):
        fields.take(later, lambda _: "is not supported yet")
    source = fields.nested("artifact", needed=True)
    image = source is not None and source.has("image")
    if source and image:
        source.take("image", lambda _: "is not supported yet: send the sha256 of a zip")
    sha256 = source.take("sha256", _sha256, needed=not image) if source else ""
    expect = fields.nested("expect")
    expected = expect.take("version", _version, needed=True) if expect else None
    release = fields.take("release", _text(128))
    description = fields.take("description", _text(256))
    dry_run = fields.take("dry_run", _boolean)
    fields.done(source, expect)
    return DeployRequest(action, function, stage, sha256, expected, release, description, bool(dry_run))


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


def _action(value: Any) -> str | None:
    if value in ("promote", "rollback"):
        return "is not supported yet: this version knows `deploy`"
    return None if value == "deploy" else "must be deploy"


def _cursor(value: Any) -> str | None:
    return None if is_id(value) else "must be a next_cursor of an earlier answer"


def _limit(value: Any) -> str | None:
    return None if _NUMBER.fullmatch(value) and 1 <= int(value) <= 100 else "must be a number from 1 to 100"


def _size(value: Any) -> str | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIZE
    return None if fine else f"must be a number of bytes from 1 to {MAX_SIZE}"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _text(limit: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fine = isinstance(value, str) and 1 <= len(value) <= limit
        return None if fine else f"must be a string of 1 to {limit} characters"

    return check


def _one_of(*names: str) -> Callable[[Any], str | None]:
    allowed = tuple(map(str, names))
    return lambda value: None if value in allowed else f"must be {' or '.join(allowed)}"
