"""moto's DynamoDB, quicker, and with the idempotent transactions that it lacks.

It goes without what takes a third of its time and changes no answer of these tests.
"""

import base64
import copy
import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Final, cast

from botocore.parsers import create_parser
from moto.core import responses
from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

_PLAIN: Final = {"DeleteItem", "GetItem", "PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem"}
"""Calls whose answers are JSON but for values of moto's own type."""


ACCOUNT: Final = "123456789012"
"""moto's own, for keys that it did not give out."""

_PARSER: Final = create_parser("json")


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
        return 200, headers, json.dumps(answer.result, default=_to_json)

    DynamoHandler.serialized = serialized  # type: ignore[method-assign, assignment]
    transact: Callable[[DynamoHandler], Any] = DynamoHandler.transact_write_items

    def transact_write_items(self: DynamoHandler) -> Any:
        return _once(self, transact)

    DynamoHandler.transact_write_items = transact_write_items  # type: ignore[method-assign]
    # It lists the class's methods for every call.
    vars(responses)["method_names_from_class"] = cache(method_names_from_class)
    # It keeps a copy of every item of the table for each write of a transaction, in case that one fails.
    update: Callable[..., Any] = DynamoDBBackend.update_item

    def update_item(self: DynamoDBBackend, table_name: str, key: Any, *args: Any, **more: Any) -> Any:
        _renew(self.get_table(table_name), key)
        return update(self, table_name, key, *args, **more)

    DynamoDBBackend.update_item = update_item  # type: ignore[method-assign]
    Table.__deepcopy__ = _with_the_same_items  # type: ignore[attr-defined]


def _to_json(value: DynamoType | bytes) -> Any:
    """Return a value of moto's, or a binary one, as DynamoDB's JSON has it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.to_json()


def connect(client: Any) -> None:
    """Let a client's plain calls reach moto's DynamoDB without HTTP, signature and URL matching.

    Listeners of `before-call` come first, and can answer instead.
    """
    client.meta.events.register_last("before-call.dynamodb", partial(_directly, client.meta.region_name))


def _directly(region: str, model: Any, params: Any, **_: Any) -> tuple[Any, dict[str, Any]] | None:
    """Answer a call, or return None for one that is not plain, or that has binary values."""
    if model.name not in _PLAIN or b'"B"' in params["body"]:
        return None
    handler = DynamoHandler()
    handler.headers, handler.querystring, handler.response_headers = params["headers"], {}, {}
    handler.region, handler.current_account = region, ACCOUNT
    handler.params = handler.body = json.loads(params["body"])
    status, headers, text = BaseResponse.call_action(handler)
    text = text if isinstance(text, str) else text.decode()
    http = SimpleNamespace(status_code=int(status), headers=headers)
    if status == 200 and '"B"' not in text:
        return http, {**json.loads(text), "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}
    answer = {"status_code": int(status), "headers": headers, "body": text.encode()}
    parsed = _PARSER.parse(answer, model.output_shape)
    # As botocore's Endpoint: what an error has besides code and message, such as reasons of a cancellation.
    shape = model.service_model.shape_for_error_code(parsed.get("Error", {}).get("Code"))
    return http, parsed if shape is None else {**parsed, **_PARSER.parse(answer, shape)}


def _with_the_same_items(table: Table, memo: dict[int, Any]) -> Table:
    """Return a copy that shares its items: no call changes an item where it is, as `_renew` comes first."""
    assert table.stream_shard is None, "what a stream holds would have to be copied as well"
    items: Any = defaultdict(dict)
    items.update({key: dict(each) for key, each in table.items.items()})
    made: Any = object.__new__(type(table))
    made.__dict__ |= {**table.__dict__, "items": items}
    memo[id(table)] = made
    return cast(Table, made)


def _renew(table: Table, key: Any) -> None:
    """Put a copy in the place of an item that is about to be changed."""
    assert table.range_key_attr is not None
    by_range = table.items[DynamoType(key[table.hash_key_attr])]
    at = DynamoType(key[table.range_key_attr])
    if at in by_range:
        by_range[at] = copy.deepcopy(by_range[at])


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
