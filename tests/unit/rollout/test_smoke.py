"""When a smoke test passes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.plan import Smoke
from sluicegate.rollout.smoke import MAX_QUOTED, MAX_RESPONSE, contains, find_failure, payload

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PING = Smoke(10, '{"ping":true}', '{"status":"ok"}')
ANY = Smoke(10, '{"ping":true}')
HOOK = Smoke(10, hook="check")


@pytest.mark.parametrize(
    ("value", "expected", "found"),
    [
        ({"status": "ok", "took": 12}, {"status": "ok"}, True),
        ({"status": "ok"}, {"status": "ok", "took": 12}, False),
        ({"body": {"status": "ok", "x": 1}}, {"body": {"status": "ok"}}, True),
        ({"status": None}, {"status": None}, True),
        ({}, {"status": None}, False),
        ([1, {"a": 1, "b": 2}], [1, {"a": 1}], True),
        ([1, 2], [1], False),
        ([1], [1, 2], False),
        ([2, 1], [1, 2], False),
        (1, True, False),
        (True, 1, False),
        (0, False, False),
        (1.0, 1, True),
        ("1", 1, False),
        ([], {}, False),
        ({}, [], False),
        (None, {}, False),
        ({"a": 1}, {}, True),
        ("ok", "ok", True),
        ("ok", "OK", False),
    ],
)
def test_a_response_contains_what_is_expected(value: Any, expected: Any, found: bool) -> None:
    assert contains(value, expected) is found


@given(json_values)
def test_everything_contains_itself(value: Any) -> None:
    assert contains(value, value)
    assert contains(value, json.loads(json.dumps(value)))


@given(st.dictionaries(st.text(), json_values), st.dictionaries(st.text(), json_values))
def test_additional_members_are_ignored(expected: dict[str, Any], more: dict[str, Any]) -> None:
    assert contains(more | expected, expected)


@given(json_values, json_values, json_values)
def test_containing_is_transitive(one: Any, other: Any, third: Any) -> None:
    if contains(one, other) and contains(other, third):
        assert contains(one, third)


@pytest.mark.parametrize(
    ("smoke", "answer", "error", "why"),
    [
        (PING, b'{"status":"ok"}', None, None),
        (PING, b' {"status": "ok", "n": [1]} ', None, None),
        (PING, b'{"status":"no"}', None, "not as expected"),
        (PING, b'{"status":"ok","status":"ok"}', None, "not JSON"),
        (PING, b"NaN", None, "not JSON"),
        (PING, b"", None, "not JSON"),
        (PING, b"\xff", None, "not JSON"),
        (PING, b'{"status":"ok"}', "Unhandled", "the version failed (Unhandled)"),
        (ANY, b"whatever", None, None),
        (ANY, b"", None, None),
        (ANY, b"{}", "Handled", "the version failed (Handled)"),
        (Smoke(10, "{}", "null"), b"null", None, None),
        (Smoke(10, "{}", "null"), b"{}", None, "not as expected"),
        (HOOK, b'{"ok":true}', None, None),
        (HOOK, b'{"ok":true,"message":"fine"}', None, None),
        (HOOK, b'{"ok":1}', None, "did not answer"),
        (HOOK, b'{"ok":"true"}', None, "did not answer"),
        (HOOK, b'{"ok":false}', None, "did not answer"),
        (HOOK, b'{"ok":false,"message":"too old"}', None, "the hook rejected it: too old"),
        (HOOK, b"true", None, "did not answer"),
        (HOOK, b"null", None, "did not answer"),
        (HOOK, b'{"ok":true}', "Unhandled", "the hook failed (Unhandled)"),
    ],
)
def test_a_response_passes_or_fails(smoke: Smoke, answer: bytes, error: str | None, why: str | None) -> None:
    failure = find_failure(smoke, answer, error)
    assert failure is None if why is None else failure is not None and why in failure


@given(st.binary(max_size=2_000), st.none() | st.text(), st.sampled_from([PING, ANY, HOOK]))
def test_every_failure_can_be_stored(answer: bytes, error: str | None, smoke: Smoke) -> None:
    failure = find_failure(smoke, answer, error)
    assert failure is None or (len(failure) < 2 * MAX_QUOTED + 256 and "\n" not in failure)


def test_a_truncated_response_fails() -> None:
    long = json.dumps({"status": "ok", "more": "x" * MAX_RESPONSE}).encode()
    assert "not JSON" in (find_failure(PING, long[:MAX_RESPONSE], None) or "")


def test_a_deeply_nested_response_fails() -> None:
    assert "not JSON" in (find_failure(PING, b"[" * 5_000 + b"]" * 5_000, None) or "")


def test_a_version_gets_the_plans_payload_and_a_hook_the_deployment() -> None:
    assert payload(PING, {"deployment": "1"}) == b'{"ping":true}'
    assert json.loads(payload(HOOK, {"deployment": "1"})) == {"sluicegate": 1, "deployment": "1"}
