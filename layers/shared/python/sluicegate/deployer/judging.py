"""Ask a user's function what it thinks of a version. Whatever it does, it never ends a look."""

from typing import Any

from sluicegate.aws.lambda_ import (
    FunctionApi,
    InvocationTimeout,
    LambdaAccessDenied,
    LambdaError,
    LambdaNotFound,
)
from sluicegate.deployment.plan import Judge
from sluicegate.rollout import judge_function
from sluicegate.rollout.readings import JudgeAnswer
from sluicegate.text import clean


def ask(
    function: FunctionApi, judge: Judge, fields: dict[str, Any], observation: dict[str, Any]
) -> JudgeAnswer:
    """Invoke the function once with the deployment's fields and the observation, and return its verdict.

    A turn that runs twice asks twice. A function that is slow, wrong, failing, throttled or gone is unclear.
    """
    payload = judge_function.payload(fields, observation)
    try:
        result = function.invoke(None, payload, timeout=judge.timeout, limit=judge_function.MAX_RESPONSE + 1)
    except InvocationTimeout as error:
        return judge_function.unclear(error.message)
    except LambdaNotFound:
        return judge_function.unclear("it does not exist")
    except LambdaAccessDenied as error:
        return judge_function.unclear(clean(f"the target role may not invoke it: {error.message}"))
    except LambdaError as error:
        return judge_function.unclear(clean(f"it could not be invoked: {error.code}: {error.message}"))
    return judge_function.read_answer(result.payload, result.error)
