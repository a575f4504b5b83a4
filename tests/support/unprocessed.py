"""BatchGetItem as it answers where DynamoDB is busy: of some keys, only that they are left.

"A single operation can retrieve up to 16 MB ... returns a partial result if ... the table's provisioned
throughput is exceeded ... or an internal processing failure occurs. If a partial result is returned, the
operation returns a value for UnprocessedKeys" (DynamoDB API reference, BatchGetItem, read on 2026-11-27).
"""

import json
from typing import Any

from support.simulation import TABLE, Simulation


def leave(at: Simulation, times: int) -> list[Any]:
    """Have so many calls answer one key and leave the others. Return what each call asks for, as it is made.

    A call for one key leaves that one.
    """
    calls: list[Any] = []
    left: list[Any] = []

    def ask(params: Any, **_: Any) -> None:
        body = json.loads(params["body"])
        asked = body["RequestItems"][TABLE]
        calls.append(json.loads(json.dumps(asked)))
        left.clear()
        if len(calls) <= times:
            keep = 1 if len(asked["Keys"]) > 1 else 0
            left.extend(asked["Keys"][keep:])
            # The call needs one key at least: of one that is not there, nothing is answered.
            asked["Keys"] = asked["Keys"][:keep] or [{"pk": {"S": "-"}, "sk": {"S": "-"}}]
            params["body"] = json.dumps(body).encode()

    def answer(parsed: Any, **_: Any) -> None:
        if left:
            parsed["UnprocessedKeys"] = {TABLE: {"Keys": list(left), "ConsistentRead": True}}

    at.client.meta.events.register_first("before-call.dynamodb.BatchGetItem", ask)
    at.listeners.append(("before-call.dynamodb.BatchGetItem", ask))
    at.listen("after-call.dynamodb.BatchGetItem", answer)
    return calls
