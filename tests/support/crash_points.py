"""Where a process can die: before and after each call to AWS, counted from the beginning of a story.

A process that dies before a call might as well have died after the one before it: only time has passed. After
a call that only reads, it might as well have died before that: nothing has happened. So `every` has the
beginnings of processes and the ends of calls, and `distinct` those of calls that change something.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from support.simulation import Killed

Phase = Literal["before", "after"]
Point = tuple[int, Phase]

CHANGES: Final = frozenset(
    {
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "TransactWriteItems",
        "StartExecution",
        "SendTaskSuccess",
        "UpdateFunctionCode",
        "PublishVersion",
        "CreateAlias",
        "UpdateAlias",
        "DeleteAlias",
        "Invoke",
        "PutObject",
    }
)
"""Calls that change something. Others only read: a process that dies at them has done no more than before."""


@dataclass
class CrashPoints:
    """Counts the calls of a story, and does `what` at those of `plan`."""

    plan: frozenset[Point] = frozenset()
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    calls: list[tuple[str, bool]] = field(default_factory=list)
    """Each call by its name, and whether a process made it as its first one."""

    struck: set[Point] = field(default_factory=set)
    first: bool = True
    paused: bool = False
    """While it is true nothing counts: somebody else is at work."""

    def called(self, name: str) -> None:
        """A call is about to be made."""
        if self.paused:
            return
        self.calls.append((name, self.first))
        self.first = False
        self._strike("before", self.before)

    def answered(self) -> None:
        """The last call has taken effect."""
        if not self.paused:
            self._strike("after", self.after)

    def _strike(self, phase: Phase, what: Callable[[], None] | None) -> None:
        point: Point = (len(self.calls) - 1, phase)
        if point in self.plan and point not in self.struck:
            self.struck.add(point)
            self.paused = True
            try:
                (what or _die)()
            finally:
                self.paused = False

    def every(self) -> list[Point]:
        """Return where a process can die in the story that was played."""
        return self._points(lambda _: True)

    def distinct(self, since: Point | None = None) -> list[Point]:
        """Return those of these points after `since` at which something else has happened."""
        return [point for point in self._points(CHANGES.__contains__) if since is None or point[0] > since[0]]

    def _points(self, counts: Callable[[str], bool]) -> list[Point]:
        found: list[Point] = []
        for number, (name, first) in enumerate(self.calls):
            if first:
                found.append((number, "before"))
            if counts(name):
                found.append((number, "after"))
        return found

    def trace(self) -> str:
        """Return where it struck, for the message of a failure."""
        return ", ".join(
            f"{phase} {self.calls[number][0]} ({number})" for number, phase in sorted(self.struck)
        )


def _die() -> None:
    raise Killed


class Counted:
    """A client whose calls are counted."""

    def __init__(self, client: Any, points: CrashPoints) -> None:
        self._client = client
        self._points = points

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found) or name == "get_paginator":
            return found
        called = "".join(part.title() for part in name.split("_"))

        def call(**given: Any) -> Any:
            self._points.called(called)
            try:
                return found(**given)
            finally:
                self._points.answered()

        return call
