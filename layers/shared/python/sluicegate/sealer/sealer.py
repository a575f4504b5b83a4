"""Seal facts into the chain, publish what is sealed, and sign the head every hour.

Each step is written down before the next one, and each can be done twice: the next run finishes one that dies
anywhere. Where the bucket has other bytes than the table, one of both is not what it was: nothing is sealed
from then on, and an alarm says so (guarantees.md#12-tampering-shows).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sluicegate.aws.evidence_bucket import EvidenceBucket
from sluicegate.aws.kms import SigningKey
from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.chain import SIZE_DIGITS, entries, segment_key
from sluicegate.evidence.facts import gate_seen
from sluicegate.evidence.line import line
from sluicegate.evidence.notes import NoteError, SignedHead, note, read_note, signature_line
from sluicegate.store.evidence_log import EvidenceLog, HeadMoved, LogState, StaleFacts, UnsealedFact
from sluicegate.store.facts import fact_item

_RACES: Final = 10
"""How often another sealer may be faster before this one leaves the rest to it."""


class Forked(Exception):
    """The bucket, or the table, has something else than it must have. The message says what."""


@dataclass(frozen=True)
class SealedGate:
    """The gate file of this version of the layer, and which pipeline built it, if that is known."""

    digest: str
    data: bytes
    origin: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SealingReport:
    """What a run has done. `lag` is how long the oldest fact has waited (seconds), `left` whether some wait.

    `fork` says what does not fit, None where all does. `size` is that of the log.
    """

    size: int = 0
    sealed: int = 0
    lag: float = 0.0
    left: bool = False
    signed: bool = False
    signed_hour: str | None = None
    fork: str | None = None


class Sealer:
    """The sealer of a stack's log. `keys` sign the head, all of them: one, or during a change two."""

    def __init__(
        self,
        log: EvidenceLog,
        bucket: EvidenceBucket,
        keys: Sequence[SigningKey],
        *,
        stack: str,
        prefix: str,
        gate: SealedGate,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._bucket = bucket
        self._keys = keys
        self._stack = stack
        self._prefix = prefix
        self._gate = gate
        self._clock = clock
        self._gate_noted = False
        self._compared = False

    def run(self, until: float) -> SealingReport:
        """Seal until nothing is left, or until that time (epoch seconds). Errors of AWS are raised.

        Raises nothing for a fork: that is in the report of this run and of every later one.
        """
        state = self._log.read(self._stack)
        if state.fork is not None:
            return SealingReport(state.chain.size, fork=state.fork, signed_hour=state.signed_hour)
        try:
            return self._run(state, until)
        except Forked as fork:
            state = self._log.stop(self._log.read(self._stack), str(fork))
            return SealingReport(state.chain.size, fork=state.fork, signed_hour=state.signed_hour)

    def _run(self, state: LogState, until: float) -> SealingReport:
        if state.stack != self._stack:
            raise Forked(f"the table has the log of {state.stack}, and this is {self._stack}")
        state = self._publish(state)
        if not self._compared:
            self._compare(state)
            self._compared = True
        self._note_gate()
        started, size, races = self._clock(), state.chain.size, 0
        facts = self._log.unsealed(started)
        lag = max((started - fact.since for fact in facts), default=0.0)
        while facts and self._clock() < until and races < _RACES:
            try:
                state = self._publish(self._log.seal(state, self._sealing(facts), facts))
            except HeadMoved:
                state, races = self._publish(self._log.read(self._stack)), races + 1
            except StaleFacts:
                races += 1
                if facts := self._log.still_unsealed(facts):
                    continue
            facts = self._log.unsealed(self._clock())
        signed = self._sign(state)
        return SealingReport(
            size=state.chain.size,
            sealed=state.chain.size - size,
            lag=max(0.0, lag),
            left=bool(facts),
            signed=signed is not state,
            signed_hour=signed.signed_hour,
        )

    def _sealing(self, facts: Sequence[UnsealedFact]) -> str:
        """Return the line that says when the lines after it were sealed, and in which log."""
        return line("sealed", self._clock(), {"stack": self._stack, "count": len(facts)})

    # Publishing

    def _publish(self, state: LogState) -> LogState:
        """Write what was sealed last to the bucket, unless it is there. The same bytes as any other time."""
        if state.fork is not None:
            raise Forked(state.fork)
        if state.pending is None:
            return state
        before = state.pending.before
        lines = self._log.lines(state.pending)
        texts = entries(before, lines)
        if len(texts) != state.chain.size - before.size or state.chain.head not in texts[-1]:
            raise Forked(f"the table's facts of {before.size + 1} to {state.chain.size} are not those sealed")
        key = self._prefix + segment_key(before.size + 1)
        self._put(key, "".join(f"{text}\n" for text in texts).encode())
        try:
            return self._log.note_published(state)
        except HeadMoved:
            return self._log.read(self._stack)

    def _put(self, key: str, body: bytes) -> None:
        found = self._bucket.put_once(key, body)
        if found not in (None, body):
            raise Forked(f"{key} is in the bucket with other bytes than the table has for it")

    def _compare(self, state: LogState) -> None:
        """Look for segments that the table does not know: after it was restored from an earlier time."""
        beyond = self._bucket.has_after(
            f"{self._prefix}segments/", self._prefix + segment_key(state.chain.size)
        )
        if beyond is not None:
            raise Forked(f"{beyond} is in the bucket, and the table ends at {state.chain.size}")

    # Gate files and heads

    def _note_gate(self) -> None:
        """Keep the gate file at its first sight: the file first, then the fact that it came into force."""
        if self._gate_noted:
            return
        if not self._log.knows_gate(self._gate.digest):
            self._put(f"gates/{self._gate.digest}.json", self._gate.data)
            fact = gate_seen(self._gate.digest, dict(self._gate.origin), self._clock())
            self._log.note_gate(fact_item(fact))
        self._gate_noted = True

    def _sign(self, state: LogState) -> LogState:
        """Sign the head, once an hour. Returns the state unchanged where this hour has a signed head."""
        now = self._clock()
        hour = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H")
        if state.signed_hour == hour or state.chain.size == 0 or state.pending is not None:
            return state
        self._compare(state)
        head = SignedHead(self._stack, state.chain.size, state.chain.head, timestamp(now))
        lines = [signature_line(key.arn, key.public, key.sign(head.text)) for key in self._keys]
        key = f"{self._prefix}heads/{head.size:0{SIZE_DIGITS}d}-{hour}.note"
        found = self._bucket.put_once(key, note(head, lines).encode())
        if found is not None and not self._is_ours(found, head):
            raise Forked(f"{key} is in the bucket, and is not a note of this head by the log's key")
        try:
            return self._log.note_signed(state, hour)
        except HeadMoved:
            return replace(state, signed_hour=hour)

    def _is_ours(self, data: bytes, expected: SignedHead) -> bool:
        """Return whether a note that was there already says the same, at whatever time of the hour."""
        try:
            head, signatures = read_note(data.decode())
        except (NoteError, UnicodeDecodeError):
            return False
        return replace(head, time=expected.time) == expected and any(
            key.public.signed(one) and key.public.verifies(one, head.text)
            for key in self._keys
            for one in signatures
        )
