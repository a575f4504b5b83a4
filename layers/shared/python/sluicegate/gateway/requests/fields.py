"""Take an object's fields one by one, and check each. A check returns what is wrong, or None."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sluicegate.aws.s3 import MAX_SIZE
from sluicegate.deployment import strategy
from sluicegate.deployment.durations import DURATION
from sluicegate.gateway.problems import invalid_request

FieldCheck: TypeAlias = Callable[[Any], str | None]

FUNCTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
STAGE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_IDEMPOTENCY_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_HOLD: Final = re.compile(r"[A-Za-z0-9]{26}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Fields:
    """An object's fields. Errors are collected, so that one response lists all of them."""

    def __init__(self, value: Any, pointer: str = "") -> None:
        self.pointer = pointer
        self.errors: list[tuple[str, str]] = []
        self._left: dict[str, Any] = {}
        if isinstance(value, dict):
            self._left = dict(value)
        else:
            self.errors.append((pointer, "must be an object"))

    def take(self, name: str, check: FieldCheck, *, needed: bool = False) -> Any:
        """Return the field's value, or None if it is absent or fails the check."""
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
        """Return whether the field was sent and is not taken yet."""
        return name in self._left

    def nested(self, name: str, *, needed: bool = False) -> "Fields | None":
        """Return an inner object's fields; pass them to `done` for their errors."""
        if name in self._left and (self._left[name] is not None or needed):
            return Fields(self._left.pop(name), f"{self.pointer}/{name}")
        self.take(name, lambda _: None, needed=needed)
        return None

    def done(self, *nested: "Fields | None") -> None:
        """Raise a Problem if any field is wrong or unknown."""
        for fields in nested:
            if fields is not None:
                self.errors += fields.errors + fields.unknown()
        self.errors += self.unknown()
        if self.errors:
            raise invalid_request(self.errors)

    def unknown(self) -> list[tuple[str, str]]:
        """Return an error for each field that was not taken."""
        return [
            (f"{self.pointer}/{name.replace('~', '~0').replace('/', '~1')}", "is not a known field")
            for name in self._left
        ]


def _matching(pattern: re.Pattern[str], what: str) -> FieldCheck:
    return lambda value: None if isinstance(value, str) and pattern.fullmatch(value) else f"must be {what}"


check_function = _matching(
    FUNCTION, "the name of a function: 1 to 64 letters, digits, `-` and `_`, without an ARN"
)
check_stage = _matching(STAGE, "the name of a stage")
check_sha256 = _matching(_SHA256, "a SHA-256 as 64 lower-case hexadecimal digits")
check_version = _matching(_VERSION, 'the number of a version, as a string: "42"')
check_cursor = _matching(_CURSOR, "the next_cursor of an earlier response")
check_idempotency_key = _matching(_IDEMPOTENCY_KEY, "16 to 64 letters, digits, `-` and `_`")
check_hold = _matching(_HOLD, "the id of a hold")
check_number = _matching(_NUMBER, "a whole number")
check_duration = _matching(DURATION, 'a duration such as "90s", "5m" or "2h"')


def check_limit(value: Any) -> str | None:
    """The digits of a number from 1 to 100."""
    return None if _NUMBER.fullmatch(value) and 1 <= int(value) <= 100 else "must be a number from 1 to 100"


def check_size(value: Any) -> str | None:
    """A number of bytes that an artifact can have."""
    fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIZE
    return None if fine else f"must be a number of bytes from 1 to {MAX_SIZE}"


def check_revision(value: Any) -> str | None:
    """The number of a revision."""
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if fine else "must be the number of a revision"


def check_percent(value: Any) -> str | None:
    """A whole number from 1 to 100."""
    fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100
    return None if fine else "must be a whole number from 1 to 100"


def check_steps(value: Any) -> str | None:
    """A list of as many items as a strategy can have steps."""
    fine = isinstance(value, list) and 1 <= len(value) <= strategy.MAX_STEPS
    return None if fine else f"must be a list of 1 to {strategy.MAX_STEPS} steps"


def check_boolean(value: Any) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "must be true or false"


def text_of(limit: int) -> FieldCheck:
    """Return the check of a string of 1 to `limit` characters."""

    def check(value: Any) -> str | None:
        fine = isinstance(value, str) and 1 <= len(value) <= limit
        return None if fine else f"must be a string of 1 to {limit} characters"

    return check


def one_of(*names: str) -> FieldCheck:
    """Return the check of a string that is one of these."""
    allowed = tuple(map(str, names))
    return lambda value: (
        None if isinstance(value, str) and value in allowed else f"must be {' or '.join(allowed)}"
    )
