"""moto's DynamoDB, quicker, and with the idempotent transactions that it lacks.

It goes without what takes a third of its time and changes no answer of these tests.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from moto.core.exceptions import JsonRESTError
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.responses import DynamoHandler

_PLAIN: Final = {"DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"}
"""Calls whose answers are JSON but for values of moto's own type."""


def install() -> None:
    """Once, for the whole process."""
    # It measures the whole item again for each of its attributes.
    LimitedSizeDict.__setitem__ = dict.__setitem__  # type: ignore[method-assign]
    # It looks for every member of an answer by all the names that any service might have for it.
    thorough = DynamoHandler.serialized

    def serialized(self: DynamoHandler, answer: Any) -> Any:
        if self._get_action() not in _PLAIN or not isinstance(answer.result, dict):
            return thorough(self, answer)
        headers = {"Content-Type": "application/x-amz-json-1.0", **self.response_headers}
        return 200, headers, json.dumps(answer.result, default=DynamoType.to_json)

    DynamoHandler.serialized = serialized  # type: ignore[method-assign, assignment]
    transact: Callable[[DynamoHandler], Any] = DynamoHandler.transact_write_items

    def transact_write_items(self: DynamoHandler) -> Any:
        return _once(self, transact)

    DynamoHandler.transact_write_items = transact_write_items  # type: ignore[method-assign]


def _once(handler: DynamoHandler, transact: Callable[[DynamoHandler], Any]) -> Any:
    """Answer a transaction of a known token as its first sending (TransactWriteItems, ClientRequestToken).

    A cancelled transaction may be sent again. DynamoDB forgets a token after ten minutes, longer than a test.
    """
    token, items = handler.body.get("ClientRequestToken"), handler.body["TransactItems"]
    known: dict[str, Any] = handler.dynamodb_backend.__dict__.setdefault("known_tokens", {})
    if token not in known:
        answer = transact(handler)
        if token:
            known[token] = items, answer
        return answer
    if known[token][0] != items:
        raise JsonRESTError(
            "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
            "Request token matches a previous token, but the parameters are different",
        )
    return known[token][1]
