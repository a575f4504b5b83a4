"""What a user's own function says of a version: pure decisions over its answer.

The function gets one observation, and answers `{"verdict": "good", "reason": "..."}`. Whatever else happens
is unclear: nothing that the function does, or fails to do, ends a rollout by itself.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.deployment.observations import LimitFinding, Verdict
from sluicegate.rollout.readings import JudgeAnswer
from sluicegate.rollout.smoke import error_type
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

MAX_RESPONSE: Final = 16_384
"""Bytes of a response. One more is read, to see that it is longer."""

MAX_REASON: Final = 200
"""Characters of a reason, or of an unexpected response, that the record keeps."""

_WANTED: Final = '`{"verdict": "good", "reason": "..."}`, or `bad` or `unclear`'


def answered(function: str, answer: JudgeAnswer, *, observe: bool) -> LimitFinding:
    """Return what the function said, as a finding beside those of the limits."""
    return LimitFinding(
        "judge",
        "judge",
        answer.verdict,
        f"judge {function}: {answer.verdict.value}: {answer.reason}",
        observe=observe,
        beyond_doubt=answer.verdict is Verdict.GOOD,
    )


def payload(deployment_fields: Mapping[str, Any], observation: Mapping[str, Any]) -> bytes:
    """Return what the function is invoked with: the deployment's fields, and the observation as in the API.

    Both are in the record already, and readable by everybody who may see the deployment.
    """
    found = {"sluicegate": 1, **deployment_fields, "observation": dict(observation)}
    return json.dumps(found, separators=(",", ":")).encode()


def read_answer(response: bytes, error: str | None) -> JudgeAnswer:
    """Return the verdict in a response. `error` is Lambda's `FunctionError`.

    The reason is cut and cleaned. Of an error only the type is quoted, as its message and trace were not
    written for readers of the record (guarantees.md#7-no-secret-in-any-output).
    """
    if error is not None:
        return unclear(f"it failed ({clean(error)}): {error_type(response)}; see its log")
    quoted = clean(response[: 4 * MAX_REASON].decode("utf-8", "replace"), MAX_REASON)
    if len(response) > MAX_RESPONSE:
        return unclear(f"its answer is longer than {MAX_RESPONSE} bytes: {quoted}")
    try:
        value = loads(response, max_depth=32)
    except StrictJsonError as problem:
        return unclear(f"its answer is not JSON ({problem}): {quoted}")
    if not isinstance(value, dict):
        return unclear(f"its answer is not {_WANTED}: {quoted}")
    verdict, reason = value.get("verdict"), value.get("reason", "")
    if verdict not in tuple(Verdict) or not isinstance(reason, str):
        return unclear(f"its answer is not {_WANTED}: {quoted}")
    return JudgeAnswer(Verdict(verdict), clean(reason, MAX_REASON))


def unclear(reason: str) -> JudgeAnswer:
    """Return the answer for a function that gave none."""
    return JudgeAnswer(Verdict.UNCLEAR, reason)
