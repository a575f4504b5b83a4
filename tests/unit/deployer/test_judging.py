"""The user's function that judges: asked once a look, and unclear whatever goes wrong with it."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployer.judging import ask
from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Judge
from sluicegate.rollout.readings import JudgeAnswer
from support.lambda_model import LambdaModel, error, timeout

JUDGE = Judge("orders-judge", 7)
FIELDS = {"deployment": "01J", "version": "7"}
OBSERVATION = {"verdict": "unclear", "findings": []}


@pytest.fixture
def model() -> LambdaModel:
    made = LambdaModel()
    made.add("orders-judge", b"code")
    return made


def answer(model: LambdaModel) -> JudgeAnswer:
    def single_attempt_client(timeout: int) -> Any:
        model.timeout = timeout
        return model

    function = FunctionApi(cast(Any, model), JUDGE.function, single_attempt_client, CallMeter())
    return ask(function, JUDGE, FIELDS, OBSERVATION)


def test_its_answer_counts(model: LambdaModel) -> None:
    model.responses["orders-judge"] = b'{"verdict": "bad", "reason": "half of the baskets are empty"}'
    assert answer(model) == JudgeAnswer(Verdict.BAD, "half of the baskets are empty")
    assert model.timeout == 7
    assert model.invoked == [("orders-judge", {"sluicegate": 1, **FIELDS, "observation": OBSERVATION})]


def denied(model: LambdaModel) -> None:
    message = "User: arn:aws:sts::111111111111:assumed-role/r/s is not authorized"
    model.responses["orders-judge"] = error("AccessDeniedException", 403, message)


def throttled(model: LambdaModel) -> None:
    model.responses["orders-judge"] = error("TooManyRequestsException", 429, "Rate Exceeded.")


def unreachable(model: LambdaModel) -> None:
    model.responses["orders-judge"] = EndpointConnectionError(endpoint_url="https://lambda")


def busy(model: LambdaModel) -> None:
    model.responses["orders-judge"] = error("ResourceConflictException", 409, "The function is Pending")


def without_code(model: LambdaModel) -> None:
    model.responses["orders-judge"] = error("InvalidRuntimeException", 502, "no such runtime")


def slow(model: LambdaModel) -> None:
    model.responses["orders-judge"] = timeout()


def gone(model: LambdaModel) -> None:
    model.functions.clear()


def fails(model: LambdaModel) -> None:
    model.responses["orders-judge"] = (
        b'{"errorType": "KeyError", "errorMessage": "canary-value"}',
        "Unhandled",
    )


def endless(model: LambdaModel) -> None:
    model.responses["orders-judge"] = b'{"verdict": "good", "reason": "' + b"x" * 10_000_000 + b'"}'


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (slow, "no answer within 7 s"),
        (gone, "it does not exist"),
        (denied, "the target role may not invoke it: User: "),
        (throttled, "it could not be invoked: TooManyRequestsException: Rate Exceeded."),
        (unreachable, "it could not be invoked: EndpointConnectionError"),
        (busy, "it could not be invoked: ResourceConflictException"),
        (without_code, "it could not be invoked: InvalidRuntimeException"),
        (fails, "it failed (Unhandled): KeyError; see its log"),
        (endless, "its answer is longer than 16384 bytes"),
    ],
)
def test_whatever_goes_wrong_is_unclear(
    model: LambdaModel, break_it: Callable[[LambdaModel], object], reason: str
) -> None:
    break_it(model)
    found = answer(model)
    assert found.verdict is Verdict.UNCLEAR
    assert found.reason.startswith(reason)
    assert len(found.reason) < 600
    assert "canary-value" not in found.reason
    assert len(model.invoked) <= 1
