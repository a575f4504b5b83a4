"""Records to and from DynamoDB: exact, and readable across versions of Sluicegate."""

from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import AliasState, Approval, Deployment, Reason, Requester, Status
from sluicegate.deployment.observations import Observation, Verdict
from sluicegate.deployment.plan import Watch
from sluicegate.deployment.views import view
from sluicegate.oidc.identity import Principal
from sluicegate.owner import Owner
from sluicegate.rollout.analysis import find_breach, judge
from sluicegate.store.codec import deployment_of, marshal, read, record, shown_deployment, unmarshal
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving, serving_item
from support.plans import ABORTED, plans, possible_readings
from support.simulation import START, new_deployment

SHA = "a" * 64


def returned(deployment: Deployment) -> Deployment:
    return deployment_of(unmarshal(marshal(record(deployment))))


@given(plans(), st.data())
def test_a_record_comes_back_as_it_was(plan: Any, data: st.DataObject) -> None:
    seen = data.draw(possible_readings(plan.watch))
    by = replace(new_deployment(START, SHA).requested_by, user_id="8")
    watch = plan.watch or Watch()
    deployment = replace(new_deployment(START, SHA), plan=plan, status=Status.BAKING)
    observation = judge(deployment, watch, seen, START)
    deployment = replace(
        deployment,
        observations=(observation, observation),
        abort=ABORTED,
        approval=Approval("approved", by, "rule", timestamp(START), None),
        original=AliasState("1", {"2": 0.07}),
        current=AliasState("1"),
        reason=find_breach(watch, observation),
        extended=2,
        step=1,
    )
    assert returned(deployment) == deployment


SCALARS = (
    st.none()
    | st.booleans()
    | st.text()
    | st.binary()
    | st.integers(-(10**38) + 1, 10**38 - 1)
    | st.floats(-1e15, 1e15).filter(lambda number: number == 0 or abs(number) > 1e-20)
    | st.sampled_from(Status)
    | st.sets(st.text(), min_size=1)
    | st.sets(st.integers(-9, 9), min_size=1)
)
VALUES = st.recursive(
    SCALARS, lambda value: st.lists(value) | st.lists(value).map(tuple) | st.dictionaries(st.text(), value)
)


def plain(value: Any, number: Callable[[float], Any]) -> Any:
    """The value with lists for tuples, and with what `number` makes of floats."""
    match value:
        case float():
            return number(value)
        case list() | tuple():
            return [plain(each, number) for each in value]
        case dict():
            return {name: plain(each, number) for name, each in value.items()}
        case _:
            return value


@given(VALUES)
def test_values_are_what_boto3_makes_of_them_and_come_back(value: Any) -> None:
    """boto3 takes decimals for floats, and lists."""
    typed = marshal({"value": value})["value"]
    assert typed == TypeSerializer().serialize(plain(value, lambda number: Decimal(str(number))))
    assert unmarshal({"value": typed})["value"] == plain(value, float)


@pytest.mark.parametrize("value", [10**38, -(10**38), float("inf"), float("nan"), 1e300, object()])
def test_what_dynamodb_does_not_take_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ArithmeticError)):
        marshal({"value": value})


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("-0", 0), ("1E+3", 1_000), ("1.0", 1), ("0.25", 0.25), ("-7.5", -7.5)]
)
def test_numbers_are_read_however_dynamodb_writes_them(text: str, number: float) -> None:
    found = unmarshal({"value": {"N": text}})["value"]
    assert (found, type(found)) == (number, type(number))


@given(plans())
def test_a_record_has_all_that_is_in_it(plan: Any) -> None:
    deployment = replace(new_deployment(START, SHA), plan=plan, original=AliasState("1", {"2": 0.07}))
    item, whole = record(deployment), asdict(deployment)
    assert marshal({name: item[name] for name in whole.keys() - {"observations"}}) == marshal(
        {name: whole[name] for name in whole.keys() - {"observations"}}
    )


def test_what_is_shown_of_a_record_takes_no_earlier_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list or an event shows the newest one: the others are not decoded, however many there are."""
    look = Observation(timestamp(START), 0, 0.1, Verdict.UNCLEAR)
    looks = tuple(replace(look, spend=number / 500) for number in range(500))
    deployment = replace(new_deployment(START, SHA), observations=looks)
    item = unmarshal(marshal(record(deployment)))
    decoded: list[Any] = []
    decode = msgspec.msgpack.decode

    def counting(data: Any, *, type: Any) -> Any:
        decoded.append(type)
        return decode(data, type=type)

    monkeypatch.setattr(msgspec.msgpack, "decode", counting)
    shown = shown_deployment(item)
    assert decoded == [list[msgspec.Raw], Observation]
    assert shown.observations == looks[-1:]
    assert view(shown) == view(deployment)
    assert shown_deployment(record(new_deployment(START, SHA))).observations == ()
    assert deployment_of(item) == deployment


@pytest.mark.parametrize(
    ("written", "read_back"), [(1, "1"), (1.0, "1"), (0.5, "0.5"), (0.1 + 0.2, "0.30000000000000004")]
)
def test_numbers_come_back_exactly_and_whole_ones_as_integers(written: float, read_back: str) -> None:
    data = {"value": written, "list": [written, {"nested": written}]}
    deployment = replace(
        new_deployment(START, SHA), original=AliasState("1", {"2": written}), reason=Reason("c", "m", data)
    )
    found = returned(deployment)
    assert found.original is not None
    assert found.reason is not None
    assert [repr(weight) for weight in found.original.weights.values()] == [read_back]
    assert repr(found.reason.data["list"]) == f"[{read_back}, {{'nested': {read_back}}}]"


def test_a_later_versions_record_is_read_without_what_is_unknown() -> None:
    deployment = new_deployment(START, SHA)
    item = record(deployment)
    item["of_a_later_version"] = {"x": 1}
    item["plan"]["of_a_later_version"] = True
    item["requested_by"]["of_a_later_version"] = "x"
    assert deployment_of(item) == deployment


def test_an_earlier_versions_record_has_the_defaults_of_what_is_missing() -> None:
    deployment = new_deployment(START, SHA)
    item = record(deployment)
    for name in ("approval", "attempt", "failures", "outcome", "supersedes"):
        del item[name]
    del item["plan"]["ordered"]
    assert deployment_of(item) == deployment


def test_a_record_that_lacks_what_it_must_have_is_none() -> None:
    item = record(new_deployment(START, SHA))
    del item["status"]
    with pytest.raises(msgspec.ValidationError):
        deployment_of(item)


@pytest.mark.parametrize(("name", "value"), [("status", "unheard-of"), ("revision", "1"), ("plan", None)])
def test_a_record_of_other_types_is_none(name: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        deployment_of(record(new_deployment(START, SHA)) | {name: value})


def test_only_an_unfinished_deployment_is_in_the_index_of_those() -> None:
    deployment = new_deployment(START, SHA)
    assert record(deployment)["unfinished"] == "yes"
    assert "unfinished" not in record(replace(deployment, status=deployment.status.FAILED))


def test_a_value_is_read_from_its_item() -> None:
    item = {"pk": "hold#prod", "sk": "a", "stage": "prod", "rule": "a", "functions": ["orders*"]}
    hold = read({**item, "reason": "r", "since": "s", "by": {"job_id": None}}, Hold)
    assert hold == Hold("prod", "a", ("orders*",), "r", "s", {"job_id": None})


SINCE_PRINCIPALS = ("via", "actor", *Principal.__dataclass_fields__)


def test_a_record_of_before_principals_is_a_projects_and_says_how_it_came() -> None:
    item = unmarshal(marshal(record(new_deployment(START, SHA))))
    for name in SINCE_PRINCIPALS:
        del item["requested_by"][name]
    read_back = deployment_of(item)
    by = view(read_back)["requested_by"]
    assert (by["via"], by["actor"], by["principal_id"]) == ("id_token", "pipeline", None)
    assert read_back.requested_by.owner == Owner("project", by["issuer"], by["project_id"])


def test_what_served_before_principals_has_the_same_key_and_owner() -> None:
    before = Serving(
        function="orders",
        stage="prod",
        alias="prod",
        account="111111111111",
        region="eu-central-1",
        version="1",
        sha256="0" * 64,
        weights={},
        deployment="",
        since="",
        issuer="https://gitlab.example.com",
        project_id="4213",
        project_path=None,
        user_login="ada",
        ref=None,
        sha=None,
    )
    assert before.requester.owner == Owner("project", "https://gitlab.example.com", "4213")
    assert serving_item(before)["project"] == "serving#4213@https://gitlab.example.com"
    role = Requester("", "", via="iam", account="111111111111", principal_id="AROACALLER11111111111")
    nobody = replace(before, issuer="", project_id="")
    assert serving_item(replace(nobody, by=role))["project"] != serving_item(nobody)["project"]


def test_a_hold_of_before_ids_has_a_name_of_its_own() -> None:
    one = Hold("prod", "rule", ("*",), "freeze", "2026-11-26T10:00:00Z", {})
    other = replace(one, since="2026-11-26T11:00:00Z")
    assert len({one.name, other.name, replace(one, id="A" * 26).name}) == 3
    assert len(one.name) == 26
