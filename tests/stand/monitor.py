"""Looks at aliases all the time, and says where one does not serve what the record says that it serves.

It reads the table and Lambda directly, and knows the record's form but none of the code that writes it. What
sessions touch is watched by `stand.session_monitor`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from stand.api import Stand
from stand.background import Background

PAUSE: Final = 0.02
"""Seconds between two looks by default: faster ones take the stand's processors from what they look at."""

Record = dict[str, Any]
State = dict[str, Any] | None
"""What an alias serves, `{"version": "41", "weights": {"42": 0.1}}`; None where there is none."""

_BEFORE: Final = ("accepted", "queued", "awaiting_approval", "publishing")
"""Statuses in which a deployment has not looked at the alias yet."""


@dataclass
class Watched:
    """One alias under watch. `differences` says what was seen that must not be."""

    function: str
    alias: str
    looks: int = 0
    moments: set[str] = field(default_factory=set)
    """The statuses in which the record was when record and alias were compared."""

    differences: list[str] = field(default_factory=list)
    by_hand: list[State] = field(default_factory=list)
    _settled: State = None
    _latest: str | None = None
    _holder: str | None = None
    _asking: int = 0
    _asked: int = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a request is under way, nobody knows yet which deployment is the latest."""
        self._asking += 1
        try:
            yield
        finally:
            self._asked += 1
            self._asking -= 1

    def accepted(self, deployment: str) -> None:
        """A request was accepted as this deployment. To be said while it is `asking`."""
        self._latest = max(self._latest or "", deployment)

    def moves_by_hand(self, state: State) -> None:
        """Somebody else is about to make the alias serve this, which the record need not know."""
        self.by_hand.append(state)


class Monitor(Background):
    """One thread that compares each watched alias in turn with the record of the deployment that has it.

    The record is read before and after the alias; where it has changed in between, the look says nothing.
    """

    def __init__(self, stand: Stand, pause: float = PAUSE) -> None:
        self._stand, self._pause = stand, pause
        self._watched: list[Watched] = []
        super().__init__("monitor")

    @contextmanager
    def watching(self, function: str, alias: str) -> Iterator[Watched]:
        """Watch an alias that nothing rolls out yet, as long as the block runs.

        Raises AssertionError at its end where the alias has served what the record did not say.
        """
        watched = Watched(function, alias)
        watched._settled = self._alias(watched)
        self._watched.append(watched)
        try:
            yield watched
        finally:
            self._watched.remove(watched)
        assert not watched.differences, "\n".join(watched.differences)
        assert watched.looks, f"nobody looked at {function}:{alias}"

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            for watched in tuple(self._watched):
                with suppress(BotoCoreError, ClientError):
                    self._look(watched)

    def _look(self, watched: Watched) -> None:
        asked = watched._asked, watched._asking
        holder, record = self._record(watched)
        alias = self._alias(watched)
        again, later = self._record(watched)
        if (holder, record and record["revision"]) != (again, later and later["revision"]):
            return
        if holder is None and (asked[1] or asked != (watched._asked, watched._asking)):
            return
        watched.looks += 1
        watched.moments.add(record["status"] if record else "none")
        allowed = [*_allowed(record, watched._settled), *watched.by_hand]
        if alias not in allowed:
            what = f"{record['id']} at revision {record['revision']}, {record['status']}" if record else "-"
            difference = (
                f"{watched.function}:{watched.alias} serves {alias} and not one of {allowed} ({what})"
            )
            watched.differences.append(difference)

    def _record(self, watched: Watched) -> tuple[str | None, Record | None]:
        """The holder of the alias' lock and its record, else the latest record, read at one moment."""
        lock = {
            "pk": f"lock#{self._stand.account_id}#{self._stand.region}#{watched.function}",
            "sk": f"alias#{watched.alias}",
        }
        latest = watched._latest
        while True:
            wanted = [lock] + ([{"pk": f"deployment#{latest}", "sk": "record"}] if latest else [])
            found = self._read(wanted)
            holder = found[0]["deployment"] if found[0] else None
            record = found[1] if latest else None
            if holder not in (None, latest):
                latest = holder
                continue
            if watched._holder not in (None, holder):
                (left,) = self._read([{"pk": f"deployment#{watched._holder}", "sk": "record"}])
                watched._settled = _settled(left, watched._settled)
            watched._holder = holder
            if holder is None:
                watched._settled = _settled(record, watched._settled)
            return holder, record

    def _read(self, keys: list[dict[str, str]]) -> list[Record | None]:
        """Items, all as they are at one moment."""
        keyed = [{name: {"S": value} for name, value in key.items()} for key in keys]
        gets = [{"Get": {"TableName": self._stand.table, "Key": key}} for key in keyed]
        answer = self._stand.client("dynamodb").transact_get_items(TransactItems=gets)
        return [plain(one["Item"]) if one.get("Item") else None for one in answer["Responses"]]

    def _alias(self, watched: Watched) -> State:
        state = self._stand.alias_state(watched.function, watched.alias)
        return {**state} if state else None


def plain(item: Any) -> Record:
    """An item of the table as plain values, with `final` said."""
    values = TypeDeserializer()
    read = {name: _numbers(values.deserialize(value)) for name, value in item.items()}
    return read | {"final": "finished_at" in read and read["finished_at"] is not None}


def _numbers(value: Any) -> Any:
    match value:
        case dict():
            return {key: _numbers(item) for key, item in value.items()}
        case list():
            return [_numbers(item) for item in value]
        case str() | bool() | None:
            return value
        case _:
            return int(value) if value == int(value) else float(value)


def _settled(record: Record | None, before: State) -> State:
    """What the alias serves once a deployment is final."""
    if record is None or record["outcome"] in (None, "untouched"):
        return before
    return _state(record["current"])


def _allowed(record: Record | None, settled: State) -> list[State]:
    """What the alias may serve while this is the record.

    What the record says; between a move and its note in the record, what that one move makes of it.
    """
    # A version may have a share of the traffic while it waits for an approval.
    waits_with_traffic = record is not None and record["status"] == "awaiting_approval" and record["weight"]
    if record is None or record["final"] or (record["status"] in _BEFORE and not waits_with_traffic):
        return [settled]
    now, status = _state(record["current"]), record["status"]
    match status:
        case "shifting":
            return [now, _wanted(record)]
        case "rolling_back":
            # A shift that was stopped may have taken effect unseen, until the way back sees it.
            before = next(one["status"] for one in reversed(record["timeline"]) if one["status"] != status)
            stopped = [_wanted(record)] if before == "shifting" else []
            return [now, _state(record["original"]), *stopped]
        case _:
            return [now]


def _wanted(record: Record) -> State:
    found, version = record["original"], record["version"]
    percent = record["plan"]["steps"][record["step"]]["percent"]
    if found is None or percent == 100:
        return {"version": version, "weights": {}}
    return {"version": found["version"], "weights": {version: percent / 100}}


def _state(value: Any) -> State:
    return {"version": value["version"], "weights": value["weights"]} if value else None
