"""The sealer: what it seals stays sealed, whatever dies, and what does not fit stops it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.evidence.chain import ChainState, extend, genesis, leaf
from sluicegate.evidence.line import canonical
from sluicegate.evidence.notes import PublicKey, read_note
from sluicegate.sealer.sealer import SealedGate
from sluicegate.store import evidence_log
from support.refusals import refused
from support.sealer_simulation import GATE, KEY, STACK, SealerSimulation, sealer_simulation
from support.simulation import TABLE


@pytest.fixture
def of() -> Iterator[SealerSimulation]:
    with sealer_simulation() as made:
        yield made


class Killed(BaseException):
    """The process is gone: nothing catches it."""


def check(of: SealerSimulation, facts: int, *, prefix: str = "", stack: str = STACK) -> None:
    """Check that the bucket has an unbroken chain with so many facts, each once, and nothing waits."""
    entries = of.segments(prefix)
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    lines = [canonical(entry["line"]) for entry in entries]
    assert [entry["hash"] for entry in entries] == [leaf(text) for text in lines]
    state = ChainState(0, genesis(stack))
    for entry, text in zip(entries, lines, strict=True):
        state = extend(state, [text])
        assert entry["head"] == state.head
    sealed = [entry["line"]["deployment"] for entry in entries if entry["line"]["kind"] == "ended"]
    assert len(sealed) == len(set(sealed)) == facts
    items = of.at.client.scan(TableName=TABLE)["Items"]
    assert not [item for item in items if "unsealed" in item]
    for text in of.notes(prefix):
        head, (signature,) = read_note(text)
        public = PublicKey(of.kms.keys[KEY].public_key().public_bytes_raw(), KEY)
        assert public.signed(signature)
        assert public.verifies(signature, head.text)
        assert (head.stack, head.head) == (stack, entries[head.size - 1]["head"])


def test_facts_are_sealed_in_their_order_after_a_line_that_says_when(of: SealerSimulation) -> None:
    of.write(3)
    report = of.run()
    kinds = [entry["line"]["kind"] for entry in of.segments()]
    assert kinds == ["sealed", "ended", "ended", "ended", "gate"]
    sealing = of.segments()[0]["line"]
    assert (sealing["stack"], sealing["count"]) == (STACK, 4)
    assert [entry["line"].get("deployment") for entry in of.segments()][1:4] == ["D1", "D2", "D3"]
    assert (report.sealed, report.size, report.left, report.fork) == (5, 5, False, None)
    check(of, 3)


def test_a_run_goes_on_until_nothing_is_left(of: SealerSimulation) -> None:
    of.write(250)
    report = of.run()
    assert len([key for key in of.bucket.objects if key.startswith("segments/")]) == 3
    assert not report.left
    check(of, 250)


def test_a_run_that_has_no_more_time_says_so(of: SealerSimulation) -> None:
    of.write(1)
    report = of.sealer().run(of.at.clock())
    assert report.left
    of.run()
    check(of, 1)


def test_the_lag_is_that_of_the_oldest(of: SealerSimulation) -> None:
    of.write(2)
    of.at.clock.now += 400
    assert 399 < of.run().lag < 402
    assert of.run().lag == 0


def test_the_head_is_signed_once_an_hour_even_if_nothing_happens(of: SealerSimulation) -> None:
    of.write(1)
    assert of.run().signed
    assert not of.run().signed
    of.at.clock.now += 3_600
    assert of.run().signed
    assert len(of.notes()) == 2
    check(of, 1)


def test_the_gate_file_is_kept_at_first_sight(of: SealerSimulation) -> None:
    of.run()
    of.run()
    other = SealedGate("8" * 64, b'{"format":8,"rules":[]}')
    of.run(gate=other)
    of.run()
    assert of.bucket.current(f"gates/{GATE.digest}.json") == GATE.data
    assert of.bucket.current(f"gates/{other.digest}.json") == other.data
    seen = [entry["line"] for entry in of.segments() if entry["line"]["kind"] == "gate"]
    assert [(one["gate"], one.get("commit")) for one in seen] == [(GATE.digest, "abc"), (other.digest, None)]


def test_both_keys_sign_during_a_change_of_keys(of: SealerSimulation) -> None:
    other = KEY.replace("0b1c", "1c2d")
    of.kms.add(other, b"\x02" * 32)
    of.write(1)
    of.run(keys=(other, KEY))
    _, signatures = read_note(of.notes()[0])
    assert [one.name for one in signatures] == [other, KEY]


def test_the_number_of_an_hours_refusals_is_sealed_after_the_hour(of: SealerSimulation) -> None:
    for _ in range(15):
        counted = {"code": "not_allowed", "by": {"project_id": "4213"}}
        of.at.store.facts.refuse("s", 10, counted, of.at.clock(), lambda: {"code": "x"})
    of.run()
    assert "refusals" not in {entry["line"]["kind"] for entry in of.segments()}
    of.at.clock.now += 3_800
    of.run()
    (found,) = [entry["line"] for entry in of.segments() if entry["line"]["kind"] == "refusals"]
    assert (found["count"], found["code"], found["by"]) == (15, "not_allowed", {"project_id": "4213"})
    check(of, 0)


# Deaths


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(9))
def test_killed_at_each_write_the_next_run_finishes_it(
    of: SealerSimulation, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    monkeypatch.setattr(evidence_log, "MAX_FACTS", 3)
    of.write(4)
    made: list[str] = []

    def hit() -> None:
        if len(made) == number + 1:
            raise Killed

    class Bucket:
        def __getattr__(self, name: str) -> Any:
            return getattr(of.bucket, name)

        def put_object(self, **given: Any) -> Any:
            made.append(given["Key"])
            if not after:
                hit()
            answer = of.bucket.put_object(**given)
            hit()
            return answer

    def before_call(**_: Any) -> None:
        made.append("table")
        if not after:
            hit()

    def after_call(**_: Any) -> None:
        hit()

    events = "dynamodb.TransactWriteItems"
    of.at.client.meta.events.register(f"before-call.{events}", before_call)
    of.at.client.meta.events.register(f"after-call.{events}", after_call)
    try:
        of.sealer(bucket=Bucket()).run(of.at.clock() + 40)
        assert number >= len(made)
    except Killed:
        pass
    finally:
        of.at.client.meta.events.unregister(f"before-call.{events}", before_call)
        of.at.client.meta.events.unregister(f"after-call.{events}", after_call)
    assert of.run().fork is None
    check(of, 4)
    assert of.notes()
    assert all(len(versions) == 1 for versions in of.bucket.objects.values())


def test_two_sealers_at_once_make_one_chain(of: SealerSimulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_log, "MAX_FACTS", 3)
    of.write(10)
    rival = of.sealer()
    busy: list[int] = []

    def interfere(**_: Any) -> None:
        if len(busy) < 3:
            busy.append(1)
            rival.run(of.at.clock() + 40)

    events = "before-call.dynamodb.TransactWriteItems"
    of.at.client.meta.events.register(events, interfere)
    try:
        of.run()
    finally:
        of.at.client.meta.events.unregister(events, interfere)
    of.run()
    assert busy
    check(of, 10)


@pytest.mark.parametrize("took_effect", [False, True])
def test_what_s3_refuses_is_tried_again_by_the_next_run(of: SealerSimulation, took_effect: bool) -> None:
    of.run()
    of.write(5)
    of.bucket.failures = [("SlowDown", 503, took_effect)]
    with pytest.raises(ClientError):
        of.run()
    assert of.run().fork is None
    check(of, 5)


def test_a_conflict_of_two_writes_is_no_fork(of: SealerSimulation) -> None:
    of.run()
    of.write(1)
    sealer = of.sealer()
    sealer.run(0)
    of.bucket.failures = [("ConditionalRequestConflict", 409, False)]
    with pytest.raises(ClientError):
        sealer.run(of.at.clock() + 40)
    assert of.run().fork is None
    check(of, 1)


def test_what_kms_refuses_leaves_the_hour_unsigned_until_it_does_not(of: SealerSimulation) -> None:
    of.write(1)
    of.kms.failures = [("ThrottlingException", 400)]
    with pytest.raises(ClientError):
        of.run()
    assert of.notes() == []
    assert of.run().signed
    check(of, 1)


def test_a_throttled_table_leaves_everything_to_the_next_run(of: SealerSimulation) -> None:
    of.write(5)

    def throttle(**_: Any) -> Any:
        raise refused("ThrottlingException", "Rate exceeded", 400, "TransactWriteItems")

    events = "before-call.dynamodb.TransactWriteItems"
    of.at.client.meta.events.register(events, throttle)
    with pytest.raises(ClientError):
        of.run()
    of.at.client.meta.events.unregister(events, throttle)
    of.run()
    check(of, 5)


# What does not fit


def restore(of: SealerSimulation, items: list[dict[str, Any]]) -> None:
    """Restore the table to what it was."""
    for item in of.at.client.scan(TableName=TABLE)["Items"]:
        of.at.client.delete_item(TableName=TABLE, Key={name: item[name] for name in ("pk", "sk")})
    for item in items:
        of.at.client.put_item(TableName=TABLE, Item=item)


def backup(of: SealerSimulation) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = of.at.client.scan(TableName=TABLE)["Items"]
    return items


@pytest.mark.parametrize("warm", [False, True])
def test_a_restored_table_stops_the_log_and_loses_no_fact(of: SealerSimulation, warm: bool) -> None:
    of.write(3)
    sealer = of.sealer()
    sealer.run(of.at.clock() + 40)
    of.write(2)
    items = backup(of)
    of.at.clock.now += 60
    sealer.run(of.at.clock() + 40)
    published = dict(of.bucket.objects)
    restore(of, items)
    of.at.clock.now += 60
    report = (sealer if warm else of.sealer()).run(of.at.clock() + 40)
    assert "segments/000000000006.ndjson" in (report.fork or "")
    assert of.run().fork == report.fork, "it stays stopped"
    assert {key: value for key, value in of.bucket.objects.items() if key in published} == published
    # The operator begins another log, which seals what the restored table has unsealed.
    stack = f"{STACK}/2"
    assert of.run(log="2", stack=stack).fork is None
    check(of, 2, prefix="log-2/", stack=stack)


def test_a_segment_with_other_bytes_stops_the_log(of: SealerSimulation) -> None:
    of.run()
    size = of.log().read(STACK).chain.size
    of.bucket.overwrite(f"segments/{size + 1:012d}.ndjson", b"{}\n")
    of.write(1)
    assert "segments/" in (of.run().fork or "")


def test_a_foreign_note_for_the_hour_stops_the_log(of: SealerSimulation) -> None:
    of.write(1)
    of.run()
    (key,) = [key for key in of.bucket.objects if key.startswith("heads/")]
    of.at.clock.now += 3_600
    hour = int(key[-7:-5]) + 1
    of.bucket.overwrite(f"{key[:-7]}{hour:02d}.note", b"forged")
    assert "not a note of this head" in (of.run().fork or "")


def test_the_log_of_another_stack_stops_it(of: SealerSimulation) -> None:
    of.write(1)
    of.run()
    report = of.run(stack="111111111111/eu-central-1/other")
    assert STACK in (report.fork or "")


def test_a_fact_that_changed_after_it_was_sealed_stops_the_log(of: SealerSimulation) -> None:
    of.write(1)
    sealer = of.sealer()
    sealer.run(of.at.clock() + 40)
    of.write(1)
    of.bucket.failures = [("SlowDown", 503, False)]
    with pytest.raises(ClientError):
        sealer.run(of.at.clock() + 40)
    of.at.client.update_item(
        TableName=TABLE,
        Key={"pk": {"S": "fact#D2"}, "sk": {"S": "00000001#ended"}},
        UpdateExpression="SET line = :line",
        ExpressionAttributeValues={":line": {"S": "{}"}},
    )
    assert "are not those sealed" in (of.run().fork or "")


def test_a_replaced_object_stays_in_the_bucket_and_the_log_goes_on(of: SealerSimulation) -> None:
    of.write(1)
    of.run()
    key = "segments/000000000001.ndjson"
    first = of.bucket.current(key)
    of.bucket.overwrite(key, b"{}\n")
    of.write(1)
    assert of.run().fork is None
    assert of.bucket.objects[key][0].body == first
    with pytest.raises(ClientError, match="object lock"):
        of.bucket.delete_object(Bucket="evidence", Key=key, VersionId="v0")


def test_heads_grow_and_agree(of: SealerSimulation) -> None:
    for _ in range(4):
        of.write(2)
        of.run()
        of.at.clock.now += 3_600
    heads = [read_note(text)[0] for text in of.notes()]
    assert all(one.size < other.size and one.time < other.time for one, other in pairwise(heads))
    check(of, 8)


def test_what_is_sealed_is_forgotten_by_the_table_after_a_while(of: SealerSimulation) -> None:
    of.write(1)
    of.run()
    item = of.table.get({"pk": "fact#D1", "sk": "00000001#ended"})
    assert item is not None
    assert item["expires_at"] > of.at.clock() + 80 * 86_400
    assert "unsealed" not in item
    assert json.loads(item["line"])["deployment"] == "D1"


def test_an_unchanged_state_is_equal_after_it_was_read(of: SealerSimulation) -> None:
    of.write(1)
    of.run()
    state = of.log().read(STACK)
    assert state == of.log().read(STACK)
    assert replace(state, fork="x") != state
