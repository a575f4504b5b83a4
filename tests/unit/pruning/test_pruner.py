"""The pruner, over a table and a model of Lambda: what it deletes, what it reports, and when it may not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sluicegate.deployment.model import AliasState
from sluicegate.gate.pruning import Prune
from sluicegate.pruning.pruner import MOST_DELETIONS
from sluicegate.store import keys
from sluicegate.store.codec import unmarshal
from sluicegate.store.errors import Contended
from sluicegate.store.prunings import MAX_REASONS, CondemnedVersion, report_of
from support.gateway_simulation import gate_of
from support.lambda_model import error
from support.lambda_triggers_model import permission
from support.pruning import PruningSimulation, gate, pruning
from support.simulation import OWN, TABLE, new_deployment

AT = "2026-01-01T00:00:00Z"
CODES = [f"code {number}" for number in range(1, 9)]


@pytest.fixture
def here() -> Iterator[PruningSimulation]:
    with pruning() as made:
        yield made


def facts(here: PruningSimulation) -> list[dict[str, Any]]:
    items = map(unmarshal, here.at.client.scan(TableName=TABLE)["Items"])
    return [json.loads(one["line"]) for one in items if one["pk"].startswith("fact#pruned#")]


def test_old_versions_go_and_the_others_stay(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    run = here.prune()
    # 8 is served, 8 and 7 are the newest, and a rollback may go to 7 and 6.
    assert here.versions() == ["6", "7", "8"]
    assert run.deleted == [("orders", number) for number in "12345"]
    assert here.place.sessions == run.deleted == here.model.deleted
    assert here.reasons("8") == [("newest", ""), ("alias", "prod"), ("serving", "prod")]
    assert here.reasons("6") == [("rollback", "prod")]
    assert here.at.locks() == []
    assert here.at.store.prunings.condemned() == []
    assert run.storage
    assert (run.storage.used, run.storage.limit) == (1_000, 80_530_636_800)
    assert (run.unseen, run.refused, run.finished) == ([], [], True)
    assert here.prune().deleted == []


def test_each_deletion_is_in_the_evidence_and_in_the_record(here: PruningSimulation) -> None:
    released = here.release(*CODES[:5])
    here.age()
    here.prune()
    lines = sorted(facts(here), key=lambda one: one["version"])
    assert [one["version"] for one in lines] == ["1", "2"]
    assert lines[0] | {"salt": "", "time": ""} == {
        "v": 1,
        "kind": "pruned",
        "function": "orders",
        "target": {"account": OWN.account, "region": OWN.region},
        "version": "1",
        "artifact": released[0].sha256,
        "gate": gate().digest,
        "salt": "",
        "time": "",
    }
    past = {one.version: one for one in here.at.store.versions.past(OWN, "orders", "prod")}
    assert past["1"].gone_since
    assert past["1"].pruned
    assert past["3"].gone_since is None
    assert here.at.store.versions.published(OWN, "orders", released[0].sha256) is None
    assert here.at.store.versions.published(OWN, "orders", released[4].sha256)


def test_what_was_pruned_is_published_again_when_it_is_released_again(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    here.prune()
    [again] = here.release(CODES[0])
    assert again.version == "9"
    assert here.model.serves("orders", "prod") == ("9", {})


def test_a_dry_run_lists_and_deletes_nothing(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    assert here.prune(gate(dry_run=True)).deleted == []
    report = here.at.store.prunings.report(OWN, "orders")
    assert report
    assert report.dry_run
    assert [one.version for one in report.versions if not one.keep] == ["5", "4", "3", "2", "1"]
    assert [one.version for one in report.versions] == list("87654321")
    assert here.versions() == list("12345678")
    assert "DeleteFunction" not in here.model.calls


def test_without_the_key_nothing_is_looked_at(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    here.model.calls.clear()
    assert here.prune(gate_of()).looked == 0
    assert here.model.calls == ["GetAccountSettings"]


@pytest.mark.parametrize(
    ("attach", "reason"),
    [
        (lambda model: model.sources.append(("orders:1", "arn:queue", "Enabled")), "event_source"),
        (lambda model: model.sources.append(("orders:1", "arn:queue", "Disabled")), "event_source"),
        (lambda model: model.policies.update({("orders", "1"): [permission("s")]}), "policy"),
        (lambda model: model.provisioned_versions.add(("orders", "1")), "provisioned"),
        (lambda model: model.invoke_configs.add(("orders", "1")), "invoke_config"),
        (lambda model: model.executions.append(("orders", "1")), "durable"),
    ],
)
def test_what_is_attached_to_a_version_keeps_it(here: PruningSimulation, attach: Any, reason: str) -> None:
    here.release(*CODES)
    here.age()
    attach(here.model)
    here.prune()
    assert here.versions() == ["1", "6", "7", "8"]
    assert [one[0] for one in here.reasons("1")] == [reason]


@pytest.mark.parametrize("qualifier", ["1", "prod", "made-by-hand"])
def test_a_version_that_was_invoked_stays_for_two_weeks(here: PruningSimulation, qualifier: str) -> None:
    here.release(*CODES)
    here.age()
    here.model.set_alias("orders", "made-by-hand", "8")
    dimensions = {"FunctionName": "orders", "Resource": f"orders:{qualifier}"}
    if qualifier != "1":
        dimensions["ExecutedVersion"] = "1"
    here.at.cloudwatch.put("AWS/Lambda", "Invocations", dimensions, here.at.clock.now - 13 * 86_400, 1)
    here.prune()
    assert here.versions() == ["1", "6", "7", "8"]
    assert here.reasons("1") == [("invoked", "")]
    here.age(3 * 86_400)
    here.prune()
    assert here.versions() == ["6", "7", "8"]


@pytest.mark.parametrize(
    "call",
    [
        "ListProvisionedConcurrencyConfigs",
        "ListFunctionEventInvokeConfigs",
        "ListDurableExecutionsByFunction",
        "ListEventSourceMappings",
        "GetPolicy",
    ],
)
def test_what_cannot_be_read_keeps_the_version(here: PruningSimulation, call: str) -> None:
    here.release(*CODES)
    here.age()

    def deny(name: str) -> None:
        if name == call:
            raise error("AccessDeniedException", 403, "no identity-based policy allows the action")

    here.model.before = deny
    assert here.prune().deleted == []
    assert [one[0] for one in here.reasons("1")] == ["unknown"]


def test_metrics_that_cannot_be_read_keep_the_version(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    here.at.cloudwatch.failure = error("AccessDenied", 403, "GetMetricData")
    assert here.prune().deleted == []
    assert [one[0] for one in here.reasons("1")] == ["unknown"]


def test_a_report_fits_into_its_item_whatever_names_a_version(here: PruningSimulation) -> None:
    keep = [("alias", f"preview-{number:0100}") for number in range(500)]
    versions = {str(version): keep for version in range(20, 0, -1)}
    here.at.store.prunings.note_report(report_of(OWN, "orders", AT, versions, dry_run=True))
    assert here.reasons("1") == keep[:MAX_REASONS]


def test_an_alias_or_a_weight_of_anybodys_keeps_a_version(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    for number in range(5):  # so many that pages are turned
        here.model.set_alias("orders", f"hand-{number}", "8")
    here.model.set_alias("orders", "hand-8", "8", {"2": 0.05})
    here.model.set_alias("orders", "hand-9", "1")
    here.prune()
    assert here.versions() == ["1", "2", "6", "7", "8"]


@pytest.mark.parametrize("refused", ["alias", "edge"])
def test_what_lambda_refuses_to_delete_stays_and_holds_up_nothing(
    here: PruningSimulation, refused: str
) -> None:
    here.release(*CODES)
    here.age()
    if refused == "edge":
        here.model.replicated.add(("orders", "1"))
    else:

        def move(name: str) -> None:
            if name == "DeleteFunction":
                here.model.before = lambda _: None
                here.model.set_alias("orders", "hand", "1")

        here.model.before = move
    run = here.prune()
    assert here.versions() == ["1", "6", "7", "8"]
    assert [one[:2] for one in run.refused] == [("orders", "1")]
    [[reason, detail]] = here.reasons("1")
    assert reason == "refused"
    assert ("replicated function" if refused == "edge" else "aliases reference it") in detail
    assert here.at.store.versions.gone_since(OWN, "orders", "1", here.model.code_of("orders", "1")) is None
    assert here.at.locks() == []


def test_versions_that_are_refused_are_tried_last(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    here.model.replicated |= {("orders", "1"), ("orders", "2")}
    here.prune()
    here.release("code 9", "code 10", "code 11")
    here.age()
    here.place.sessions.clear()
    here.prune()
    assert [number for _, number in here.place.sessions] == ["6", "7", "8", "1", "2"]


def test_a_run_deletes_a_few_versions_and_the_next_one_goes_on(here: PruningSimulation) -> None:
    here.release(*[f"code {number}" for number in range(MOST_DELETIONS + 8)])
    here.age()
    began = here.at.clock.now
    here.model.calls.clear()
    assert len(here.prune().deleted) == MOST_DELETIONS
    assert here.model.calls.count("GetPolicy") == MOST_DELETIONS  # what stays for later is not looked at
    assert here.at.clock.now - began >= MOST_DELETIONS * 1.0  # two calls each, at two a second
    assert len(here.prune().deleted) == 5
    assert here.prune().deleted == []


def test_a_function_with_many_old_versions_does_not_hold_up_the_others(here: PruningSimulation) -> None:
    """Nor does one of which Lambda refuses all: the next run begins with those after it."""
    here.model.add("orders-b")
    here.release(*[f"code {number}" for number in range(MOST_DELETIONS + 3)])
    here.release(*CODES[:4], function="orders-b")
    here.model.replicated |= {("orders", number) for number in here.versions()}
    here.age()
    run = here.prune()
    assert (run.deleted, len(run.refused), run.looked) == ([], MOST_DELETIONS, 2)
    assert here.prune().deleted == [("orders-b", "1")]


def test_versions_that_stayed_when_they_were_looked_at_do_not_hold_up_the_others(
    here: PruningSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.pruning.pruner.MOST_LOOKED_AT", 2)
    here.release(*CODES)
    here.age()
    here.model.policies.update({("orders", "1"): [permission("s")], ("orders", "2"): [permission("s")]})
    assert here.prune().deleted == []
    assert here.reasons("3") == [("later", "")]
    assert here.prune().deleted == [("orders", "3"), ("orders", "4")]


def test_each_page_of_a_list_is_a_call_at_the_pace(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    listed: list[float] = []

    def note(name: str) -> None:
        if name == "ListVersionsByFunction":
            listed.append(here.at.clock.now)

    here.model.before = note
    here.prune(gate(dry_run=True))
    assert len(listed) == 5  # the model answers two a page, and lists $LATEST too
    assert all(after - before >= 0.45 for before, after in pairwise(listed))


@pytest.mark.parametrize(
    "attach",
    [
        lambda here: here.model.sources.append(("orders:1", "arn:queue", "Enabled")),
        lambda here: here.model.policies.update({("orders", "1"): [permission("s")]}),
        lambda here: here.at.cloudwatch.put(
            "AWS/Lambda",
            "Invocations",
            {"FunctionName": "orders", "Resource": "orders:1"},
            here.at.clock.now - 60,
            1,
        ),
    ],
)
def test_what_began_to_be_used_since_an_earlier_run_died_is_spared(
    here: PruningSimulation, attach: Any
) -> None:
    [old, *_] = here.release(*CODES)
    here.age()
    version = CondemnedVersion("orders", OWN.account, OWN.region, "1", old.sha256, AT)
    here.at.store.prunings.condemn(version, "prune-earlier")
    here.at.clock.now += 3_600
    attach(here)
    here.prune()
    assert "1" in here.versions()
    assert here.at.store.prunings.condemned() == []


@pytest.mark.parametrize("broken", ["record", "contended"])
def test_a_function_with_a_record_that_cannot_be_read_holds_up_no_other(
    here: PruningSimulation, broken: str
) -> None:
    here.model.add("orders-b")
    here.release(*CODES[:5])
    here.release(*CODES[:5], function="orders-b")
    here.age()
    lock = keys.alias_lock(OWN, "orders", "prod")
    if broken == "record":
        here.at.store.locks._table.put({**lock, "deployment": "broken"})
        here.at.store.locks._table.put({**keys.record("broken"), "observations": None, "id": "broken"})
    else:
        condemn = here.at.store.prunings.condemn

        def contended(version: CondemnedVersion, pass_id: str) -> None:
            if version.function == "orders":
                raise Contended
            condemn(version, pass_id)

        vars(here.at.store.prunings)["condemn"] = contended
    run = here.prune()
    assert [function for function, _ in run.unseen] == ["orders"]
    assert {function for function, _ in run.deleted} == {"orders-b"}


def test_what_many_aliases_served_is_read_once_for_all_deletions(here: PruningSimulation) -> None:
    """Previews: each has an alias, and a history that no deletion changes."""
    here.release(*CODES)
    here.release("old")
    for number in range(30):
        here.release("old", alias=f"preview-{number}")
    here.age()
    read: list[str] = []

    def note(params: Any, **_: Any) -> None:
        if params["ExpressionAttributeValues"].get(":pk", {}).get("S", "").startswith("served#"):
            read.append("served")

    here.at.listen("before-call.dynamodb.Query", note)
    assert len(here.prune().deleted) == 6
    assert len(read) == 31


def test_what_an_earlier_run_began_ends_with_the_run(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    prunings = here.at.store.prunings
    for number in "12":
        digest = here.model.code_of("orders", number)
        version = CondemnedVersion("orders", OWN.account, OWN.region, number, digest, AT)
        prunings.condemn(version, "prune-earlier")
    here.age(3_600)
    assert len(here.prune(until=here.at.clock.now + 1).deleted) == 1
    assert here.prune().deleted[0] == ("orders", "2")


def test_what_may_be_looked_at_no_more_is_not_condemned_for_ever(here: PruningSimulation) -> None:
    """The gate file has the function pruned no more, and the role's policy is from the gate file."""
    [old, *_] = here.release(*CODES)
    version = CondemnedVersion("orders", OWN.account, OWN.region, "1", old.sha256, AT)
    here.at.store.prunings.condemn(version, "prune-earlier")
    here.age(3_600)

    def deny(name: str) -> None:
        if name.startswith("List"):
            raise error("AccessDeniedException", 403, "no identity-based policy allows the action")

    here.model.before = deny
    here.prune(gate_of())
    assert here.at.store.prunings.condemned() == []
    here.model.before = lambda _: None
    assert here.at.run(here.at.accept(old.sha256, action="rollback", version="1")).status == "succeeded"


def test_a_run_that_ends_goes_on_with_the_next_function(here: PruningSimulation) -> None:
    for name in ("orders-b", "orders-c"):
        here.model.add(name)
        here.release(*CODES[:4], function=name)
    here.release(*CODES[:4])
    here.age()
    run = here.prune(until=here.at.clock.now + 1)
    assert (run.looked, run.finished) == (1, False)
    assert here.at.store.prunings.position() == "orders"
    run = here.prune(until=here.at.clock.now + 1)
    assert (run.looked, run.deleted) == (1, [("orders-b", "1")])
    assert here.prune().looked == 3


def test_what_somebody_else_published_stays(here: PruningSimulation) -> None:
    here.model.publish("orders", "by hand")
    here.release(*CODES)
    here.age()
    here.prune()
    assert here.versions() == ["1", "7", "8", "9"]
    assert here.reasons("1") == [("not_recorded", "")]


def test_versions_of_one_digest_with_other_settings_are_all_known(here: PruningSimulation) -> None:
    """The item of a digest has its newest version alone."""
    here.release("same")
    here.model.configure("orders", MemorySize=256)
    here.release("same")
    assert here.versions() == ["1", "2"]
    here.release(*CODES[:5])
    here.age()
    here.prune()
    assert here.versions() == ["5", "6", "7"]


def test_versions_from_before_each_was_noted_are_known_by_their_digest(here: PruningSimulation) -> None:
    here.release(*CODES)
    for number in "12345678":
        here.at.client.delete_item(
            TableName=TABLE,
            Key={name: {"S": value} for name, value in keys.published_version(OWN, "orders", number).items()},
        )
    here.age()
    here.prune()
    assert here.versions() == ["6", "7", "8"]


def test_a_number_with_other_code_is_another_version(here: PruningSimulation) -> None:
    """Somebody deleted the function and made it again: numbers begin from 1."""
    here.release(*CODES)
    here.model.add("orders", b"made again")
    for number in range(8):
        here.model.configure("orders", Description=str(number))
        here.model.publish("orders", "")
    here.age()
    assert here.prune().deleted == []
    assert here.reasons("1")[0][0] == "other_code"


def test_a_function_that_is_gone_holds_up_nothing(here: PruningSimulation) -> None:
    here.model.add("orders-b")
    here.release(*CODES[:5])
    here.release(*CODES[:5], function="orders-b")
    del here.model.functions["orders"]
    here.age()
    assert {name for name, _ in here.prune().deleted} == {"orders-b"}


def test_a_deployment_in_flight_keeps_what_it_names(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    waiting = replace(
        new_deployment(here.at.clock.now, here.model.code_of("orders", "2")),
        action="rollback",
        version="2",
        original=AliasState("3"),
        current=AliasState("3", {"4": 0.1}),
    )
    here.at.store.deployments.accept(waiting, request_key="k", fingerprint="f")
    here.prune()
    assert here.versions() == ["2", "3", "4", "6", "7", "8"]
    assert here.reasons("4") == [("in_flight", "prod")]


def test_a_function_that_is_being_published_is_left_alone(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    sha256 = here.at.upload("orders", b"new")
    deployment = here.at.accept(sha256)
    here.at.client.put_item(
        TableName=TABLE,
        Item={
            "pk": {"S": f"lock#{OWN.account}#{OWN.region}#orders"},
            "sk": {"S": "publish"},
            "deployment": {"S": deployment.id},
            "lease": {"N": str(int(here.at.clock.now) + 120)},
        },
    )
    assert here.prune().deleted == []
    assert here.versions() == list("12345678")
    assert here.at.store.prunings.condemned() == []


def test_a_deployment_that_waits_for_the_lock_is_next(here: PruningSimulation) -> None:
    here.release(*CODES)
    here.age()
    waiting = here.at.accept(here.at.upload("orders", b"new"))

    def wants(name: str) -> None:
        if name == "DeleteFunction":
            assert here.at.deployer.run_turn(waiting.id)["next"] == "wait"

    here.model.before = wants
    assert here.prune().deleted == [("orders", "1")]
    here.model.before = lambda _: None
    assert here.at.run(waiting).status == "succeeded"
    assert here.at.locks() == []


def test_the_lock_waits_for_no_calls(here: PruningSimulation) -> None:
    """A line takes what there is: the pruner waits before it takes the lock that a deployment may need."""
    here.release(*CODES)
    here.age()
    budget, free_at = here.at.store.calls, [0.0]

    def take(*_: Any) -> bool:
        if here.at.clock.now < free_at[0]:
            return False
        free_at[0] = here.at.clock.now + 40
        return True

    vars(budget)["take_if_free"] = take
    condemned: list[float] = []
    here.at.listen("before-call.dynamodb.TransactWriteItems", lambda **_: condemned.append(here.at.clock.now))
    assert len(here.prune().deleted) == 5
    held = [end - began for began, end in zip(condemned[::2], condemned[1::2], strict=True)]
    assert max(held) <= 2


def test_the_policy_of_the_gate_file_decides(here: PruningSimulation) -> None:
    assert gate(keep=7).prune("orders") == Prune(7, 2, 30 * 86_400)
    here.release(*CODES)
    here.age()
    here.prune(gate(keep=7))
    assert here.versions() == list("2345678")
    here.prune(gate(rollbacks=5))
    assert here.versions() == list("345678")
