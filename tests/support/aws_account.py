"""An AWS account of prepared answers behind real boto3 clients, so botocore checks every parameter.

Answers are by permission (`lambda:GetAccountSettings`): a document, a function of the call's parameters, or
an error. A call without an answer is denied, as AWS denies by default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import boto3
from botocore.exceptions import (
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    UnauthorizedSSOTokenError,
)

from sluicegate_cli.doctor.aws_calls import AwsCalls

REGION = "eu-central-1"


@dataclass(frozen=True)
class Refusal:
    """An error response of AWS."""

    code: str
    message: str = "not you"
    status: int = 400


Answer = Mapping[str, Any] | Refusal | Exception | Callable[[Mapping[str, Any]], Any]

DENIED = Refusal("AccessDeniedException", "User: arn:aws:iam::111111111111:user/ada is not authorized", 403)

ENDINGS: list[tuple[Answer, int]] = [
    (DENIED, 3),
    (Refusal("ExpiredToken"), 3),
    (Refusal("InvalidClientTokenId"), 3),
    (NoCredentialsError(), 2),
    (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), 2),
    (CredentialRetrievalError(provider="x", error_msg="x"), 3),
    (UnauthorizedSSOTokenError(), 3),
    (EndpointConnectionError(endpoint_url="https://x"), 5),
    (ReadTimeoutError(endpoint_url="https://x"), 5),
    (Refusal("Throttling", "Rate exceeded"), 5),
    (Refusal("InternalFailure", status=500), 5),
    (Refusal("ValidationError"), 4),
]
"""What a call of AWS may end in, each with the exit code of a command that needs it."""


@dataclass
class AwsAccount:
    """`answers` by `service:Operation`; `asked` has each call with its parameters, in order."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def calls(self) -> AwsCalls:
        """Return the product's way to call this account."""
        return AwsCalls(self.client, REGION)

    def client(self, service: str) -> Any:
        client = _session().client(cast(Any, service))
        parameters: dict[str, Any] = {}

        def keep(params: dict[str, Any], **_: Any) -> None:
            parameters.clear()
            parameters.update(params)

        def answer(model: Any, **_: Any) -> tuple[Any, Any]:
            name = f"{service}:{model.name}"
            given = dict(parameters)
            self.asked.append((name, given))
            found: Any = self.answers.get(name, DENIED)
            if callable(found):
                found = found(given)
            if isinstance(found, Exception):
                raise found
            if isinstance(found, Refusal):
                error = {"Code": found.code, "Message": found.message}
                metadata = {"HTTPStatusCode": found.status}
                return SimpleNamespace(status_code=found.status), {
                    "Error": error,
                    "ResponseMetadata": metadata,
                }
            return SimpleNamespace(status_code=200), {**found, "ResponseMetadata": {"HTTPStatusCode": 200}}

        client.meta.events.register("before-parameter-build", keep)
        client.meta.events.register("before-call", answer)
        return client

    def names(self) -> set[str]:
        """Return the permissions that were used."""
        return {name for name, _ in self.asked}


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=REGION)
