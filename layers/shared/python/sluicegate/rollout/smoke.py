"""Whether a smoke test passed: pure decisions over what a function answered."""

import json
import re
from typing import Any, Final

from sluicegate.deployment.plan import Smoke
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

MAX_RESPONSE: Final = 65_536
"""Bytes of a response that are read."""

MAX_QUOTED: Final = 200
"""Characters of an unexpected response that the record keeps."""

_ERROR_TYPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:$]{0,99}", re.ASCII)


def payload(smoke: Smoke, deployment_fields: dict[str, Any]) -> bytes:
    """Return what to invoke with: the plan's payload, or for a hook the fields of the deployment."""
    if smoke.hook is None:
        return (smoke.payload or "{}").encode()
    return json.dumps({"sluicegate": 1, **deployment_fields}, separators=(",", ":")).encode()


def find_failure(smoke: Smoke, response: bytes, error: str | None) -> str | None:
    """Return why the smoke test failed, or None if it passed.

    `error` is Lambda's `FunctionError`. A response that the function chose is quoted, cut and cleaned. Of an
    error only the type is quoted: its message and trace were not written for readers of the record, and may
    hold values from the environment (guarantees.md#7-no-secret-in-any-output).
    """
    quoted = clean(response[: 4 * MAX_QUOTED].decode("utf-8", "replace"), MAX_QUOTED)
    if error is not None:
        subject = "the hook" if smoke.hook else "the version"
        return f"{subject} failed ({clean(error)}): {error_type(response)}; see its log"
    if smoke.hook is None and smoke.expect is None:
        return None
    try:
        value = loads(response, max_depth=32)
    except StrictJsonError as problem:
        return f"the response is not JSON ({problem}): {quoted}"
    if smoke.hook is not None:
        return _find_rejection(value, quoted)
    expected = json.loads(smoke.expect or "null")
    return None if contains(value, expected) else f"the response is not as expected: {quoted}"


def contains(value: Any, expected: Any) -> bool:
    """Return whether a response has what is expected: the named members of an object, every item of a list.

    Everything else must be equal and of the same kind: 1 is not true, but 1.0 is 1.
    """
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], member) for name, member in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(contains, value, expected))
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    return bool(value == expected)


def error_type(response: bytes) -> str:
    """Return Lambda's `errorType`, if it looks like the name of a type."""
    try:
        value = loads(response, max_depth=32)
    except StrictJsonError:
        value = None
    name = value.get("errorType") if isinstance(value, dict) else None
    return name if isinstance(name, str) and _ERROR_TYPE.fullmatch(name) else "an error without a type"


def _find_rejection(value: Any, quoted: str) -> str | None:
    """A hook answers `{"ok": true}` or `{"ok": false, "message": "..."}`. Anything else is a rejection."""
    ok = value.get("ok") if isinstance(value, dict) else None
    if ok is True:
        return None
    message = value.get("message") if ok is False else None
    if isinstance(message, str):
        return f"the hook rejected it: {clean(message, MAX_QUOTED)}"
    return f'the hook did not answer {{"ok": true}}: {quoted}'
