"""A user's function that judges: its answer counts if it is one, and everything else is unclear."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.observations import Verdict
from sluicegate.rollout import judge_function
from sluicegate.rollout.judge_function import MAX_REASON, MAX_RESPONSE, read_answer
from sluicegate.rollout.readings import JudgeAnswer
from sluicegate.text import clean


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_answer_is_a_verdict_with_a_reason(verdict: Verdict) -> None:
    response = json.dumps({"verdict": verdict.value, "reason": "orders as usual", "more": [1]}).encode()
    assert read_answer(response, None) == JudgeAnswer(verdict, "orders as usual")


def test_the_reason_may_be_left_out() -> None:
    assert read_answer(b'{"verdict": "good"}', None) == JudgeAnswer(Verdict.GOOD, "")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "is not JSON"),
        (b"null", "is not `{"),
        (b"good", "is not JSON"),
        (b'"good"', "is not `{"),
        (b"[]", "is not `{"),
        (b'{"reason": "fine"}', "is not `{"),
        (b'{"verdict": "GOOD"}', "is not `{"),
        (b'{"verdict": true}', "is not `{"),
        (b'{"verdict": ["good"]}', "is not `{"),
        (b'{"verdict": "good", "reason": 5}', "is not `{"),
        (
            b'{"verdict": "bad", "verdict": "good"}',
            "is not JSON",
        ),  # which of them it is, depends on the reader
        (b'{"verdict": NaN}', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 2_000, "is not JSON"),
        (b'{"verdict": "good", "reason": "' + b"x" * MAX_RESPONSE + b'"}', "is longer than 16384 bytes"),
    ],
)
def test_anything_else_is_unclear_and_quoted(response: bytes, reason: str) -> None:
    answer = read_answer(response, None)
    assert answer.verdict is Verdict.UNCLEAR
    assert reason in answer.reason
    assert len(answer.reason) < 2 * MAX_REASON


def test_of_an_error_only_the_type_is_quoted() -> None:
    response = json.dumps(
        {"errorType": "KeyError", "errorMessage": "canary-value", "stackTrace": ["canary-value"]}
    ).encode()
    answer = read_answer(response, "Unhandled")
    assert answer == JudgeAnswer(Verdict.UNCLEAR, "it failed (Unhandled): KeyError; see its log")


def test_a_reason_is_cut_and_cleaned() -> None:
    response = json.dumps({"verdict": "bad", "reason": "\x1b[2J\n" + "x" * 1_000}).encode()
    answer = read_answer(response, None)
    assert answer.verdict is Verdict.BAD
    assert answer.reason.isprintable()
    assert len(answer.reason) == MAX_REASON


@given(st.binary(max_size=200), st.sampled_from([None, "Unhandled"]))
def test_no_answer_raises(response: bytes, error: str | None) -> None:
    answer = read_answer(response, error)
    assert clean(answer.reason, 1_000) == answer.reason


def test_it_gets_the_deployment_and_the_observation() -> None:
    sent = json.loads(
        judge_function.payload({"deployment": "01J", "version": "7"}, {"verdict": "unclear", "findings": []})
    )
    assert sent == {
        "sluicegate": 1,
        "deployment": "01J",
        "version": "7",
        "observation": {"verdict": "unclear", "findings": []},
    }
