"""Errors as botocore raises them."""

from typing import Any

from botocore.exceptions import ClientError


def refused(code: str, message: str, status: int = 400, call: str = "Call", **more: Any) -> ClientError:
    """Return the error that a client raises for such an answer. `more` is a part of the answer."""
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, call)
