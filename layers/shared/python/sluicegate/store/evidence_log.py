"""The log of sealed lines: its head, the facts that wait to be sealed, and the lines that were sealed last.

One transaction moves the head and marks the facts. What was sealed last is kept with the head, so that the
same bytes can be published again until they are in the bucket.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.evidence.chain import ChainState, extend, genesis
from sluicegate.evidence.line import line
from sluicegate.store import keys
from sluicegate.store.codec import Item
from sluicegate.store.errors import StoreError
from sluicegate.store.keys import Key
from sluicegate.store.table import ABSENT, Condition, Resolution, Table

MAX_FACTS: Final = 99
"""Facts that one transaction seals: it takes 100 items, and the head is one of them (DynamoDB API reference,
TransactWriteItems, read on 2026-11-26)."""

_KEPT: Final = 90 * 86_400
"""Seconds for which a sealed fact stays in the table. The bucket has it for longer."""

_IS_UNSEALED: Final = Condition("unsealed = :yes", {":yes": keys.UNSEALED})


class HeadMoved(StoreError):
    """Another sealer has moved the head: read it again."""


class StaleFacts(StoreError):
    """Some of the facts are sealed already, or have changed: the index was a moment old."""


@dataclass(frozen=True)
class PendingSegment:
    """What was sealed last: the state before it, the line of kind `sealed`, and the keys of its facts."""

    before: ChainState
    sealing: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LogState:
    """The log as the table has it. `published` is the size up to which the bucket has it.

    `signed_hour` is the last hour with a signed head. `fork` says what did not fit, and stops the log.
    """

    stack: str
    chain: ChainState
    pending: PendingSegment | None = None
    published: int = 0
    signed_hour: str | None = None
    fork: str | None = None


@dataclass(frozen=True)
class UnsealedFact:
    """A fact that is not sealed: its key and line, since when it waits (epoch seconds), and its condition."""

    key: Key
    line: str
    since: float
    condition: Condition


class EvidenceLog:
    """The log `name` of a stack."""

    def __init__(self, table: Table, name: str, clock: Callable[[], float]) -> None:
        self._table = table
        self._key = keys.evidence_head(name)
        self._clock = clock

    def read(self, stack: str) -> LogState:
        """Return the log as it is now; an empty one of this stack where there is none yet."""
        item = self._table.get(self._key)
        return _state(item) if item else LogState(stack, ChainState(0, genesis(stack)))

    def unsealed(self, now: float) -> list[UnsealedFact]:
        """Return the oldest facts that are not sealed (an index, so a moment old), as many as fit."""
        condition = Condition(
            "unsealed = :yes AND #at <= :now", {":yes": keys.UNSEALED, ":now": timestamp(now)}
        )
        found = self._table.query(condition, index="unsealed", names={"#at": "at"}, page=MAX_FACTS)
        return [_unsealed(item) for item in islice(found, MAX_FACTS)]

    def still_unsealed(self, facts: Sequence[UnsealedFact]) -> list[UnsealedFact]:
        """Return those of the facts that are not sealed, as they are now."""
        items = (self._table.get(fact.key) for fact in facts)
        return [_unsealed(item) for item in items if item and "unsealed" in item]

    def seal(self, state: LogState, sealing: str, facts: Sequence[UnsealedFact]) -> LogState:
        """Put the line `sealing` and these facts at the end of the chain. Raises HeadMoved or StaleFacts."""
        pending = PendingSegment(
            state.chain, sealing, tuple((fact.key["pk"], fact.key["sk"]) for fact in facts)
        )
        chain = extend(state.chain, [sealing, *(fact.line for fact in facts)])
        after = replace(state, chain=chain, pending=pending)
        tx = self._table.transaction()
        tx.put(self._item(after), _at(state), on_conflict=lambda: self._moved(after))
        for number, fact in enumerate(facts, state.chain.size + 2):
            changes = {"seq": number, "line": fact.line, "expires_at": int(self._clock()) + _KEPT}
            tx.update(fact.key, changes, fact.condition, on_conflict=StaleFacts, remove=("unsealed",))
        tx.commit()
        return after

    def lines(self, pending: PendingSegment) -> list[str]:
        """Return the lines that were sealed, in their order."""
        items = [self._table.get({"pk": pk, "sk": sk}) for pk, sk in pending.facts]
        return [pending.sealing, *(str(item["line"]) for item in items if item)]

    def note_published(self, state: LogState) -> LogState:
        """Note that the bucket has all that is sealed."""
        after = replace(state, pending=None, published=state.chain.size)
        self._save(state, after)
        return after

    def note_signed(self, state: LogState, hour: str) -> LogState:
        """Note that the hour has a signed head."""
        after = replace(state, signed_hour=hour)
        self._save(state, after)
        return after

    def stop(self, state: LogState, reason: str) -> LogState:
        """Stop the log for good. What was sealed and not published is unsealed again, for another log."""
        pending = state.pending
        after = replace(state, fork=reason, pending=None, chain=pending.before if pending else state.chain)
        tx = self._table.transaction()
        tx.put(self._item(after), _at(state), on_conflict=lambda: self._moved(after))
        for pk, sk in pending.facts if pending else ():
            changes = {"unsealed": keys.UNSEALED}
            tx.update(
                {"pk": pk, "sk": sk},
                changes,
                Condition("attribute_exists(seq)"),
                on_conflict=Resolution.DROP,
                remove=("seq", "expires_at"),
            )
        tx.commit()
        return after

    def note_gate(self, item: Item) -> None:
        """Write the fact of a gate file, unless it is there."""
        tx = self._table.transaction()
        tx.put(item, ABSENT, on_conflict=Resolution.TOOK_EFFECT)
        tx.commit()

    def knows_gate(self, digest: str) -> bool:
        """Return whether the gate file was seen before."""
        return self._table.get({"pk": "fact#gate", "sk": digest}) is not None

    def _save(self, before: LogState, after: LogState) -> None:
        tx = self._table.transaction()
        tx.put(self._item(after), _at(before), on_conflict=lambda: self._moved(after))
        tx.commit()

    def _moved(self, after: LogState) -> StoreError | Resolution:
        item = self._table.get(self._key)
        return Resolution.TOOK_EFFECT if item and _state(item) == after else HeadMoved()

    def _item(self, state: LogState) -> Item:
        item: Item = {
            **self._key,
            "stack": state.stack,
            "size": state.chain.size,
            "head": state.chain.head,
            "published": state.published,
        }
        if state.signed_hour:
            item["signed_hour"] = state.signed_hour
        if state.fork:
            item["fork"] = state.fork
        if pending := state.pending:
            item["pending"] = {
                "size": pending.before.size,
                "head": pending.before.head,
                "sealing": pending.sealing,
                "facts": [[pk, sk] for pk, sk in pending.facts],
            }
        return item


def _at(state: LogState) -> Condition:
    """The log is still in this state: nothing that a sealer decides on has changed."""
    if state.chain.size == 0 and not state.fork and state.pending is None and state.signed_hour is None:
        return ABSENT
    return Condition(
        "#size = :size AND head = :head AND published = :published AND attribute_not_exists(fork)",
        {":size": state.chain.size, ":head": state.chain.head, ":published": state.published},
        {"#size": "size"},
    )


def _state(item: Mapping[str, Any]) -> LogState:
    pending = item.get("pending")
    return LogState(
        stack=item["stack"],
        chain=ChainState(item["size"], item["head"]),
        pending=PendingSegment(
            ChainState(pending["size"], pending["head"]),
            pending["sealing"],
            tuple((pk, sk) for pk, sk in pending["facts"]),
        )
        if pending
        else None,
        published=item["published"],
        signed_hour=item.get("signed_hour"),
        fork=item.get("fork"),
    )


def _unsealed(item: Mapping[str, Any]) -> UnsealedFact:
    """Return the fact in an item. An hour's number becomes a line here."""
    key = {"pk": item["pk"], "sk": item["sk"]}
    since = seconds(item["at"])
    if "counted" not in item:
        same = Condition("unsealed = :yes AND line = :same", {":yes": keys.UNSEALED, ":same": item["line"]})
        return UnsealedFact(key, item["line"], since, same)
    text = line(
        item.get("counts", "refusals"), since, {**item["counted"], "count": item["count"], "hour": item["sk"]}
    )
    same = Condition(
        "unsealed = :yes AND #count = :same",
        {":yes": keys.UNSEALED, ":same": item["count"]},
        {"#count": "count"},
    )
    return UnsealedFact(key, text, since, same)
