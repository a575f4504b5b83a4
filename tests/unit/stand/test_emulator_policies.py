"""Which items a policy is asked about, of a call of DynamoDB."""

from typing import Any

import pytest

from stand.emulator_policies import leading_keys, parsed

FACT = {"pk": {"S": "fact#1"}, "sk": {"S": "1"}}
OTHER = {"pk": {"S": "deployment#1"}, "sk": {"S": "deployment"}}


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ({"TableName": "t", "Key": FACT}, ["fact#1"]),
        ({"TableName": "t", "Item": {**FACT, "kind": {"S": "accepted"}}}, ["fact#1"]),
        ({"RequestItems": {"t": {"Keys": [FACT, OTHER]}}}, ["fact#1", "deployment#1"]),
        (
            {"RequestItems": {"t": [{"PutRequest": {"Item": FACT}}, {"DeleteRequest": {"Key": OTHER}}]}},
            ["fact#1", "deployment#1"],
        ),
        ({"TableName": "t", "KeyConditionExpression": "pk = :pk"}, []),
        ({"TableName": "t"}, []),
        ({"TableName": "unknown", "Key": FACT}, []),
        ({"TableName": "t", "Key": "fact#1", "RequestItems": 5}, []),
    ],
)
def test_the_items_of_a_call_are_those_that_it_names(request_: dict[str, Any], keys: list[str]) -> None:
    assert leading_keys(request_, {"t": "pk"}.get) == keys  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_a_body_that_is_no_request_names_nothing(body: bytes) -> None:
    assert parsed(body) == {}
