"""The table's model and moto do the same to the same items, whatever is written: random calls, compared.

Where moto is known to answer otherwise than AWS (`disagreements`), no call of that kind is drawn.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from moto import mock_aws

from support.simulation import TABLE, create_table
from support.table_model import DynamoDbModel

INDEXES = {"by_function": "function", "unfinished": "unfinished"}
KEYS = st.builds(
    lambda pk, sk: {"pk": {"S": pk}, "sk": {"S": sk}}, st.sampled_from("pq"), st.sampled_from("abc")
)
NUMBERS = st.integers(-3, 3).map(lambda number: {"N": str(number)})
TEXTS = st.sampled_from(["", "a", "ab", "b", "ä"]).map(lambda text: {"S": text})
SETS = st.sets(st.sampled_from("abc"), min_size=1).map(lambda members: {"SS": sorted(members)})
VALUES = st.one_of(
    NUMBERS,
    TEXTS,
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.lists(NUMBERS, max_size=2).map(lambda members: {"L": members}),
    st.dictionaries(st.sampled_from("xy"), TEXTS, max_size=2).map(lambda members: {"M": members}),
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "n": NUMBERS,
        "text": TEXTS,
        "content": VALUES,
        "members": SETS,
        "function": st.sampled_from("fg").map(lambda text: {"S": text}),
        "unfinished": st.just({"S": "yes"}),
        "id": st.sampled_from("123").map(lambda text: {"S": text}),
    },
)
_SINGLE = (
    "attribute_not_exists(pk)",
    "attribute_exists(pk)",
    "attribute_not_exists(n)",
    "attribute_exists(members)",
    *(f"n {operator} :n" for operator in ("=", "<", "<=", ">", ">=")),
    "n BETWEEN :low AND :n",
    "#text = :text",
    "#text > :text",
    "begins_with(#text, :text)",
    "contains(members, :text)",
)
"""Conditions whose operands have the types of their attributes: moto fails on others."""

CONDITIONS = st.recursive(
    st.sampled_from(_SINGLE),
    lambda inner: st.one_of(
        st.builds("({} OR {})".format, inner, inner),
        st.builds("{} AND {}".format, inner, inner),
        inner.map("NOT ({})".format),
    ),
    max_leaves=4,
)
UPDATES = st.lists(
    st.sampled_from(
        [
            ("SET", "content = :any"),
            ("SET", "#text = :text"),
            ("SET", "#function = :function"),
            ("SET", "id = if_not_exists(id, :function)"),
            ("REMOVE", "unfinished"),
            ("REMOVE", "#function"),
            ("ADD", "n :n"),
            ("ADD", "members :members"),
            ("DELETE", "members :members"),
        ]
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda action: action[1].split()[0],
)


def expression(actions: list[tuple[str, str]]) -> str:
    """Return an update with one clause of each kind."""
    verbs = dict.fromkeys(verb for verb, _ in actions)
    return " ".join(f"{verb} {', '.join(what for one, what in actions if one == verb)}" for verb in verbs)


def arguments(drawn: dict[str, Any], **texts: str) -> dict[str, Any]:
    """Return the expressions, with the placeholders that they use."""
    text = " ".join(texts.values())
    used_names = {name: name[1:] for name in ("#text", "#function") if name in text}
    names = {"ExpressionAttributeNames": used_names} if used_names else {}
    used = {
        name: value
        for name, value in drawn.items()
        if name in text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    return {**texts, **names, **({"ExpressionAttributeValues": used} if used else {})}


DRAWN = st.fixed_dictionaries(
    {
        ":n": NUMBERS,
        ":low": st.just({"N": "-3"}),
        ":text": TEXTS.filter(lambda value: value["S"]),
        ":any": VALUES,
        ":members": SETS,
        ":function": st.sampled_from("fg").map(lambda text: {"S": text}),
    }
)


_BESIDE = ("ResponseMetadata", "ConsumedCapacity", "ItemCollectionMetrics")


def plain(value: Any) -> Any:
    """Return an answer without what may differ: the order of sets."""
    match value:
        case {"SS": members}:
            return {"SS": sorted(members)}
        case dict():
            return {name: plain(each) for name, each in value.items() if name not in _BESIDE}
        case list():
            return [plain(each) for each in value]
        case _:
            return value


class ModelAndMoto(RuleBasedStateMachine):
    """Each call is made to both."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(pytest.MonkeyPatch.context()).setenv("AWS_ACCESS_KEY_ID", "testing")
        self.stack.enter_context(mock_aws())
        self.model: Any = DynamoDbModel()
        self.moto: Any = boto3.client("dynamodb", region_name="eu-central-1")
        for client in (self.model, self.moto):
            create_table(client)

    def teardown(self) -> None:
        self.stack.close()

    def both(self, call: Callable[[Any], Any]) -> Any:
        """Return the answer of both, or the refusal of both."""
        answers: list[Any] = []
        for client in (self.model, self.moto):
            try:
                answers.append(plain(call(client)))
            except ClientError as error:
                response: Any = error.response
                reasons = [reason.get("Code") for reason in response.get("CancellationReasons", ())]
                answers.append((response["Error"]["Code"], reasons, plain(response.get("Item"))))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(key=KEYS, item=ITEMS, condition=st.none() | CONDITIONS, drawn=DRAWN)
    def put(self, key: Any, item: Any, condition: str | None, drawn: Any) -> None:
        more = arguments(drawn, ConditionExpression=condition) if condition else {}
        self.both(lambda client: client.put_item(TableName=TABLE, Item=key | item, **more))

    @rule(key=KEYS, condition=st.none() | CONDITIONS, drawn=DRAWN)
    def delete(self, key: Any, condition: str | None, drawn: Any) -> None:
        more = arguments(drawn, ConditionExpression=condition) if condition else {}
        self.both(lambda client: client.delete_item(TableName=TABLE, Key=key, **more))

    @rule(key=KEYS, actions=UPDATES, condition=st.none() | CONDITIONS, drawn=DRAWN, old=st.booleans())
    def update(self, key: Any, actions: Any, condition: str | None, drawn: Any, old: bool) -> None:
        texts = {"UpdateExpression": expression(actions)} | (
            {"ConditionExpression": condition} if condition else {}
        )
        more = arguments(drawn, **texts) | ({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if old else {})
        self.both(lambda client: client.update_item(TableName=TABLE, Key=key, ReturnValues="ALL_NEW", **more))

    @rule(data=st.data(), keys=st.lists(KEYS, min_size=1, max_size=3, unique_by=str), drawn=DRAWN)
    def transact(self, data: Any, keys: Any, drawn: Any) -> None:
        writes = []
        for key in keys:
            verb = data.draw(st.sampled_from(["Put", "Update", "Delete", "ConditionCheck"]))
            condition = data.draw(CONDITIONS if verb == "ConditionCheck" else st.none() | CONDITIONS)
            texts = {"ConditionExpression": condition} if condition else {}
            what: dict[str, Any] = {"Key": key}
            if verb == "Put":
                what = {"Item": key | data.draw(ITEMS)}
            elif verb == "Update":
                texts["UpdateExpression"] = expression(data.draw(UPDATES))
            writes.append({verb: {"TableName": TABLE, **what, **arguments(drawn, **texts)}})
        self.both(lambda client: client.transact_write_items(TransactItems=writes))

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4, unique_by=str))
    def batch(self, keys: Any) -> None:
        def call(client: Any) -> Any:
            answer = client.batch_get_item(RequestItems={TABLE: {"Keys": keys}})
            return sorted(map(str, map(plain, map(sorted_item, answer["Responses"][TABLE]))))

        self.both(call)

    @rule(
        where=st.sampled_from(["", *INDEXES]),
        value=st.sampled_from("pqfg"),
        bounds=st.sampled_from(["", "< :high", "> :low", "BETWEEN :low AND :high", "begins"]),
        limit=st.integers(1, 3),
        forward=st.booleans(),
    )
    def query(self, where: str, value: str, bounds: str, limit: int, forward: bool) -> None:
        """Of an index, in any order where the sort keys are equal: so their own keys are left out."""
        value = "yes" if where == "unfinished" else value
        sort, low, high = ("id", "1", "2") if where else ("sk", "a", "b")
        text = (
            f"#key = :value AND begins_with({sort}, :low)"
            if bounds == "begins"
            else f"#key = :value AND {sort} {bounds}"
        )
        condition = text if bounds else "#key = :value"
        values = {":value": value, ":low": low, ":high": high}
        query = {
            "TableName": TABLE,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#key": INDEXES.get(where, "pk")},
            "ExpressionAttributeValues": {n: {"S": v} for n, v in values.items() if n in condition},
            "ScanIndexForward": forward,
        } | ({"IndexName": where} if where else {})

        def call(client: Any) -> Any:
            found: list[Any] = []
            more: dict[str, Any] = {}
            while True:
                page = client.query(**query, Limit=limit, **more)
                found += page["Items"]
                assert len(page["Items"]) <= limit
                if "LastEvaluatedKey" not in page:
                    return [each[sort]["S"] for each in found], sorted(
                        str(sorted_item(plain(each))) for each in found
                    )
                more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

        self.both(call)

    @invariant()
    def they_have_the_same_items(self) -> None:
        def call(client: Any) -> Any:
            return sorted(str(sorted_item(plain(each))) for each in client.scan(TableName=TABLE)["Items"])

        if hasattr(self, "model"):
            self.both(call)


def sorted_item(item: Any) -> Any:
    """Return an item whose attributes are in the order of their names."""
    return {name: item[name] for name in sorted(item)}


TestModelAndMoto = ModelAndMoto.TestCase
TestModelAndMoto.settings = settings(
    phases=[Phase.generate],
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
