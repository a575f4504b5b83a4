"""DynamoDB as AWS answers it: what the store's transactions and reads rest on.

Documented: DynamoDB API reference (each call), developer guide, "Item sizes and formats", "Using update
expressions", "Reserved words" and "Global secondary indexes", read on 26 November 2026.
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
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "team", "id")
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": "team", "KeyType": "HASH"},
                    {"AttributeName": "id", "KeyType": "RANGE"},
                ],
                "Projection": projection,
            }
            for name, projection in (
                ("by_team", {"ProjectionType": "ALL"}),
                ("in_short", {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kept"]}),
            )
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


# One item


def update(witness: Witness, table: str, pk: str, expression: str, **values: Any) -> Any:
    more: dict[str, Any] = (
        {"ExpressionAttributeValues": {f":{n}": v for n, v in values.items()}} if values else {}
    )
    return witness.client("dynamodb").update_item(
        TableName=table, Key=item(pk), UpdateExpression=expression, ReturnValues="UPDATED_NEW", **more
    )["Attributes"]


def test_an_update_sets_removes_and_adds_at_once_and_answers_what_it_changed(
    witness: Witness, table: str
) -> None:
    pk = unique()
    witness.client("dynamodb").put_item(TableName=table, Item=item(pk, former="x", kept="y"))
    found = update(witness, table, pk, "SET a = :a REMOVE former ADD n :one", a={"S": "b"}, one={"N": "1"})
    assert found == {"a": {"S": "b"}, "n": {"N": "1"}}
    assert update(witness, table, pk, "ADD n :one", one={"N": "1"}) == {"n": {"N": "2"}}
    assert stored(witness, table, pk) == item(pk, kept="y", a="b") | {"n": {"N": "2"}}


def test_an_update_makes_the_item_that_is_not_there(witness: Witness, table: str) -> None:
    pk = unique()
    update(witness, table, pk, "SET a = :a", a={"S": "b"})
    assert stored(witness, table, pk) == item(pk, a="b")


def test_every_action_of_an_update_reads_the_item_as_it_was(witness: Witness, table: str) -> None:
    pk = unique()
    update(witness, table, pk, "SET n = :n", n={"N": "5"})
    update(witness, table, pk, "SET n = n - :two, m = n, o = if_not_exists(o, :two)", two={"N": "2"})
    found = stored(witness, table, pk)
    assert {name: found[name] for name in "nmo"} == {"n": {"N": "3"}, "m": {"N": "5"}, "o": {"N": "2"}}


def test_a_set_that_loses_its_last_member_is_gone(witness: Witness, table: str) -> None:
    pk = unique()
    update(witness, table, pk, "ADD members :m", m={"SS": ["a", "b"]})
    update(witness, table, pk, "ADD members :m", m={"SS": ["b", "c"]})
    assert sorted(stored(witness, table, pk)["members"]["SS"]) == ["a", "b", "c"]
    key = {"TableName": table, "Key": item(pk), "UpdateExpression": "DELETE members :m"}
    members: Any = {":m": {"SS": ["a", "b", "c", "d"]}}
    witness.client("dynamodb").update_item(**key, ExpressionAttributeValues=members)
    assert stored(witness, table, pk) == item(pk)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("SET a = :a, a = :b", {"a": {"S": "1"}, "b": {"S": "2"}}),
        ("SET pk = :a", {"a": {"S": "1"}}),
        ("SET status = :a", {"a": {"S": "1"}}),
        ("SET a = :a", {"a": {"S": "1"}, "unused": {"S": "2"}}),
        ("SET a = :missing", {"a": {"S": "1"}}),
        ("SET a = b", {}),
        ("ADD a :a", {"a": {"S": "1"}}),
        ("ADD kept :a", {"a": {"N": "1"}}),
        ("SET a = :a", {"a": {"SS": []}}),
        ("SET team = :a", {"a": {"N": "1"}}),
        ("SET team = :a", {"a": {"S": ""}}),
    ],
    ids=[
        "twice",
        "key",
        "reserved",
        "unused",
        "undefined",
        "absent",
        "text",
        "mixed",
        "empty-set",
        "index",
        "empty",
    ],
)
def test_an_update_that_is_wrong_is_refused_and_writes_nothing(
    witness: Witness, table: str, expression: str, values: Any
) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, kept="y"))
    answer = refusal(update, witness=witness, table=table, pk=pk, expression=expression, **values)
    assert answer[:2] == ("ValidationException", 400)
    assert stored(witness, table, pk) == item(pk, kept="y")


def test_a_number_has_no_zeros_that_say_nothing(witness: Witness, table: str) -> None:
    """Documented: leading and trailing zeroes are trimmed."""
    pk = unique()
    for written, read in (("1.50", "1.5"), ("007", "7"), ("2.0", "2"), ("1E2", "100"), ("0.10", "0.1")):
        update(witness, table, pk, "SET n = :n", n={"N": written})
        assert stored(witness, table, pk)["n"] == {"N": read}


@pytest.mark.parametrize("wanted", ["NONE", "ALL_OLD"])
def test_a_failed_condition_answers_the_item_where_it_is_asked_to(
    witness: Witness, table: str, wanted: str
) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, a="b"))
    condition = {"ConditionExpression": ABSENT, "ReturnValuesOnConditionCheckFailure": wanted}
    shown = item(pk, a="b") if wanted == "ALL_OLD" else None
    with pytest.raises(ClientError) as raised:
        dynamodb.put_item(TableName=table, Item=item(pk), **condition)
    response: Any = raised.value.response
    assert response.get("Item") == shown
    with pytest.raises(ClientError) as raised:
        dynamodb.transact_write_items(TransactItems=[put(table, item(pk), **condition)])
    response = raised.value.response
    assert response["CancellationReasons"][0].get("Item") == shown


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("n <= :five", True),
        ("n < :five", False),
        ("n = :five", True),
        ("n > :text", False),
        ("n BETWEEN :five AND :five", True),
        ("attribute_not_exists(zzz) OR zzz > :five", True),
        ("zzz = :five OR NOT n = :five", False),
        ("attribute_exists(n) AND (zzz = :five OR n >= :five)", True),
        ("begins_with(word, :text)", True),
        ("contains(word, :text)", True),
        ("zzz < :five", False),
    ],
)
def test_a_condition_holds_or_does_not(witness: Witness, table: str, condition: str, holds: bool) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, word="abc") | {"n": {"N": "5.0"}})
    values = {name: v for name, v in {":five": {"N": "5"}, ":text": {"S": "ab"}}.items() if name in condition}
    request: dict[str, Any] = {"TableName": table, "Key": item(pk), "ConditionExpression": condition}
    if values:
        request["ExpressionAttributeValues"] = values
    if holds:
        dynamodb.delete_item(**request)
        assert stored(witness, table, pk) is None
    else:
        assert refusal(dynamodb.delete_item, **request)[0] == "ConditionalCheckFailedException"


# What is too large


def test_an_item_has_400_kb(witness: Witness, table: str) -> None:
    """Documented: 400 KB, names included."""
    dynamodb, pk = witness.client("dynamodb"), unique()
    rest = 409_600 - len("pk") - len(pk) - len("sk") - len("a") - len("text")
    dynamodb.put_item(TableName=table, Item=item(pk, text="x" * rest))
    too_large = {"TableName": table, "Item": item(pk, text="x" * (rest + 1))}
    assert refusal(dynamodb.put_item, **too_large)[:2] == ("ValidationException", 400)


def test_a_transaction_that_makes_an_item_too_large_says_which(witness: Witness, table: str) -> None:
    """Documented: TransactionCanceledException, ValidationError."""
    dynamodb, pk, other = witness.client("dynamodb"), unique(), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, text="x" * 300_000))
    grow = {
        "TableName": table,
        "Key": item(pk),
        "UpdateExpression": "SET more = :more",
        "ExpressionAttributeValues": {":more": {"S": "x" * 200_000}},
    }
    with pytest.raises(ClientError) as raised:
        dynamodb.transact_write_items(TransactItems=[put(table, item(other)), {"Update": grow}])
    response: Any = raised.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    assert [reason["Code"] for reason in response["CancellationReasons"]] == ["None", "ValidationError"]
    assert stored(witness, table, other) is None


def test_a_page_has_1_mb(witness: Witness, table: str) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    for sk in "abcd":
        dynamodb.put_item(TableName=table, Item=item(pk, sk, text="x" * 350_000))
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
    }
    first = dynamodb.query(**query)
    assert 2 <= len(first["Items"]) <= 3
    rest = dynamodb.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [each["sk"]["S"] for each in (*first["Items"], *rest["Items"])] == list("abcd")


def test_a_transaction_has_100_writes_at_most(witness: Witness, table: str) -> None:
    many = [put(table, item(unique())) for _ in range(101)]
    answer = refusal(witness.client("dynamodb").transact_write_items, TransactItems=many)
    assert answer[:2] == ("ValidationException", 400)


# Many items


def test_a_batch_answers_the_items_that_there_are(witness: Witness, table: str) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    for sk in "ab":
        dynamodb.put_item(TableName=table, Item=item(pk, sk))
    asked = {"Keys": [item(pk, sk) for sk in "abc"], "ConsistentRead": True}
    answer = dynamodb.batch_get_item(RequestItems={table: asked})
    assert sorted(each["sk"]["S"] for each in answer["Responses"][table]) == ["a", "b"]
    assert answer["UnprocessedKeys"] == {}


@pytest.mark.parametrize("keys", [["a", "a"], [str(number) for number in range(101)]], ids=["twice", "101"])
def test_a_batch_takes_100_keys_each_once(witness: Witness, table: str, keys: list[str]) -> None:
    asked = {table: {"Keys": [item("p", key) for key in keys]}}
    answer = refusal(witness.client("dynamodb").batch_get_item, RequestItems=asked)
    assert answer[:2] == ("ValidationException", 400)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("begins_with(sk, :low)", ["b1", "b2"]),
        ("sk BETWEEN :low AND :high", ["b1", "b2", "c"]),
        ("sk > :high", ["d"]),
        ("sk <= :high", ["a", "b1", "b2", "c"]),
        ("sk = :high", ["c"]),
    ],
)
def test_a_query_finds_a_range(witness: Witness, table: str, condition: str, found: list[str]) -> None:
    dynamodb, pk = witness.client("dynamodb"), unique()
    for sk in ("b2", "d", "a", "c", "b1"):
        dynamodb.put_item(TableName=table, Item=item(pk, sk))
    bounds = {name: v for name, v in {":low": {"S": "b"}, ":high": {"S": "c"}}.items() if name in condition}
    answer = dynamodb.query(
        TableName=table,
        KeyConditionExpression=f"pk = :pk AND {condition}",
        ExpressionAttributeValues={":pk": {"S": pk}, **bounds},
        ProjectionExpression="sk",
    )
    assert list(answer["Items"]) == [{"sk": {"S": sk}} for sk in found]


def test_an_index_has_the_items_that_have_its_keys(witness: Witness, table: str) -> None:
    dynamodb, pk, team = witness.client("dynamodb"), unique(), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, "a", team=team, id="2"))
    dynamodb.put_item(TableName=table, Item=item(pk, "b", team=team))
    dynamodb.put_item(TableName=table, Item=item(pk, "c", team=team, id="1"))
    query: dict[str, Any] = {
        "TableName": table,
        "IndexName": "by_team",
        "KeyConditionExpression": "#team = :team",
        "ExpressionAttributeNames": {"#team": "team"},
        "ExpressionAttributeValues": {":team": {"S": team}},
    }
    assert [each["sk"]["S"] for each in dynamodb.query(**query)["Items"]] == ["c", "a"]
    first = dynamodb.query(**query, Limit=1)
    assert set(first["LastEvaluatedKey"]) == {"pk", "sk", "team", "id"}
    rest = dynamodb.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [each["sk"]["S"] for each in rest["Items"]] == ["a"]
    key = item(pk, "c")
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression="REMOVE team")
    assert [each["sk"]["S"] for each in dynamodb.query(**query)["Items"]] == ["a"]
    answer = refusal(dynamodb.query, **query, ConsistentRead=True)
    assert answer[:2] == ("ValidationException", 400)


def test_an_index_has_no_more_than_it_includes(witness: Witness, table: str) -> None:
    dynamodb, pk, team = witness.client("dynamodb"), unique(), unique()
    dynamodb.put_item(TableName=table, Item=item(pk, team=team, id="1", kept="x", other="y"))
    query: dict[str, Any] = {
        "TableName": table,
        "IndexName": "in_short",
        "KeyConditionExpression": "team = :team",
        "ExpressionAttributeValues": {":team": {"S": team}},
    }
    assert dynamodb.query(**query)["Items"] == [item(pk, team=team, id="1", kept="x")]
    assert dynamodb.query(**query, ProjectionExpression="kept")["Items"] == [{"kept": {"S": "x"}}]
    answer = refusal(dynamodb.query, **query, ProjectionExpression="kept, other")
    assert answer[:2] == ("ValidationException", 400)
