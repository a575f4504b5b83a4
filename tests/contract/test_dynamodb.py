"""DynamoDB as AWS answers it: what the store's transactions and reads rest on.

Documented: DynamoDB API reference, TransactWriteItems and Query, read on 26 November 2026.
"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from contract.witness import Witness, refusal, unique

ABSENT = "attribute_not_exists(pk)"


@pytest.fixture(scope="module")
def table(witness: Witness) -> str:
    name, dynamodb = unique(), witness.client("dynamodb")
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name


def item(pk: str, sk: str = "a", **more: str) -> dict[str, Any]:
    return {name: {"S": value} for name, value in {"pk": pk, "sk": sk, **more}.items()}


def put(table: str, what: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": what, **more}}


def stored(witness: Witness, table: str, pk: str) -> Any:
    key = {"pk": {"S": pk}, "sk": {"S": "a"}}
    return witness.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")


def test_a_failed_condition_has_a_code_of_its_own(witness: Witness, table: str) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    dynamodb.put_item(TableName=table, Item=item(pk), ConditionExpression=ABSENT)
    answer = refusal(dynamodb.put_item, TableName=table, Item=item(pk), ConditionExpression=ABSENT)
    assert answer[:2] == ("ConditionalCheckFailedException", 400)


def test_a_cancelled_transaction_gives_a_reason_for_each_write_and_writes_nothing(
    witness: Witness, table: str
) -> None:
    dynamodb, old, new = witness.client("dynamodb"), unique(), unique()
    dynamodb.put_item(TableName=table, Item=item(old))
    writes = [
        put(table, item(new), ConditionExpression=ABSENT),
        put(table, item(old, changed="yes"), ConditionExpression=ABSENT),
    ]
    with pytest.raises(ClientError) as raised:
        dynamodb.transact_write_items(TransactItems=writes)
    response: Any = raised.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    codes = [reason.get("Code") for reason in response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed"]
    assert stored(witness, table, new) is None
    assert stored(witness, table, old) == item(old)


def test_a_transaction_sent_again_with_its_token_has_one_effect(witness: Witness, table: str) -> None:
    """Documented: idempotent for 10 minutes with the same ClientRequestToken and the same parameters."""
    dynamodb, pk = witness.client("dynamodb"), unique()
    request: dict[str, Any] = {
        "ClientRequestToken": unique(),
        "TransactItems": [put(table, item(pk), ConditionExpression=ABSENT)],
    }
    dynamodb.transact_write_items(**request)
    dynamodb.transact_write_items(**request)
    assert stored(witness, table, pk) == item(pk)


def test_the_token_of_another_transaction_is_refused(witness: Witness, table: str) -> None:
    """Documented: IdempotentParameterMismatchException."""
    dynamodb, token = witness.client("dynamodb"), unique()
    dynamodb.transact_write_items(ClientRequestToken=token, TransactItems=[put(table, item(unique()))])
    answer = refusal(
        dynamodb.transact_write_items,
        ClientRequestToken=token,
        TransactItems=[put(table, item(unique()))],
    )
    assert answer[:2] == ("IdempotentParameterMismatchException", 400)


def test_one_transaction_takes_an_item_once(witness: Witness, table: str) -> None:
    """Documented: ValidationException where two writes of a transaction have one item."""
    pk = unique()
    answer = refusal(
        witness.client("dynamodb").transact_write_items,
        TransactItems=[put(table, item(pk)), put(table, item(pk, changed="yes"))],
    )
    assert answer[:2] == ("ValidationException", 400)


def test_a_query_pages_by_its_limit_and_goes_on_where_it_stopped(witness: Witness, table: str) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    for sk in "abc":
        dynamodb.put_item(TableName=table, Item=item(pk, sk))
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
        "ConsistentRead": True,
        "ScanIndexForward": False,
        "Limit": 2,
    }
    first = dynamodb.query(**query)
    rest = dynamodb.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [each["sk"]["S"] for each in (*first["Items"], *rest["Items"])] == ["c", "b", "a"]
    assert "LastEvaluatedKey" not in rest


def test_an_empty_value_of_a_key_is_refused(witness: Witness, table: str) -> None:
    answer = refusal(witness.client("dynamodb").put_item, TableName=table, Item=item("", "a"))
    assert answer[:2] == ("ValidationException", 400)
