"""BatchGetItem as it answers where DynamoDB is busy: of one item, and that the others are left.

"If at least one of the items is successfully processed, then BatchGetItem completes successfully, while
returning the keys of the unread items in UnprocessedKeys" (DynamoDB API reference, read on 2026-11-27).
"""

from typing import Any

from support.simulation import TABLE, Simulation


def leave(at: Simulation, times: int) -> list[Any]:
    """Have so many calls read one item. Return what each call asks for, as it is made."""
    calls: list[Any] = []
    at.listen(
        "before-call.dynamodb.BatchGetItem",
        lambda params, **_: calls.append(params["RequestItems"][TABLE]),
    )
    at.client.choose = lambda what, most: most if what == "unprocessed" and len(calls) <= times else 0
    return calls
