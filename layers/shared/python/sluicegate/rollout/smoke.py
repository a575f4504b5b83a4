"""What a smoke test's answer comes to: pure decisions over what a function answered."""

import json
import re
from typing import Any, Final

from sluicegate.deployment.plan import Smoke
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

LARGEST: Final = 65_536
"""Bytes of an answer that are read."""

SHOWN: Final = 200
"""Characters of an answer that the record keeps where it was not as it must be."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:$]{0,99}", re.ASCII)
"""What can be the type of an error."""


def request(smoke: Smoke, facts: dict[str, Any]) -> bytes:
    """The payload to send: the plan's own to the version, or `facts` of the deployment to a hook."""
    if smoke.hook is None:
        return (smoke.payload or "{}").encode()
    return json.dumps({"sluicegate": 1, **facts}, separators=(",", ":")).encode()


def failed(smoke: Smoke, answer: bytes, error: str | None) -> str | None:
    """Why the version is not good enough; None where it answered as it must.

    `error` is Lambda's `FunctionError`. What the function chose to answer is told, cut and cleaned. Of an
    error only its type is: messages and traces are nobody's choice, and may hold what is in the environment
    (guarantees.md#7-no-secret-in-any-output).
    """
    told = clean(answer[: 4 * SHOWN].decode("utf-8", "replace"), SHOWN)
    if error is not None:
        what = "the hook" if smoke.hook else "the version"
        return f"{what} failed ({clean(error)}): {_type_of(answer)}; its log says more"
    if smoke.hook is None and smoke.expect is None:
        return None
    try:
        value = loads(answer, max_depth=32)
    except StrictJsonError as problem:
        return f"the answer is not JSON ({problem}): {told}"
    if smoke.hook is not None:
        return _refused(value, told)
    expected = json.loads(smoke.expect or "null")
    return None if contains(value, expected) else f"the answer is not as expected: {told}"


def contains(value: Any, expected: Any) -> bool:
    """Whether an answer has what is expected: of an object the members named, of a list every item in turn.

    Everything else must be equal, and of one kind: 1 is not true, though 1.0 is 1.
    """
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], wanted) for name, wanted in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(contains, value, expected))
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    return bool(value == expected)


def _type_of(answer: bytes) -> str:
    """An error's type, by Lambda's word for it."""
    try:
        value = loads(answer, max_depth=32)
    except StrictJsonError:
        value = None
    found = value.get("errorType") if isinstance(value, dict) else None
    return found if isinstance(found, str) and _NAME.fullmatch(found) else "an error without a type"


def _refused(value: Any, told: str) -> str | None:
    """A hook says `{"ok": true}`, or `{"ok": false, "message": "..."}`; anything else is no yes."""
    ok = value.get("ok") if isinstance(value, dict) else None
    if ok is True:
        return None
    message = value.get("message") if ok is False else None
    if isinstance(message, str):
        return f"the hook said no: {clean(message, SHOWN)}"
    return f"the hook did not say ok: {told}"
