"""moto's DynamoDB without what takes a third of its time and changes no answer of these tests."""

import json
from typing import Any, Final

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
