"""Tasks that take turns under a virtual clock, where a seed decides which one goes on.

A task is a greenlet: it runs until it pauses, sleeps or waits, and nothing else runs meanwhile. Time stands
still while any task can run; then it jumps to the next moment at which one can.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

from simulation.choices import Choices

PCT_DEPTH: Final = 3
"""Priority changes of a PCT schedule, and one: so many ordered events are found with a known chance.

Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (ASPLOS 2010).
"""

SCHEDULERS: Final = ("fair", "random", "pct", "starve")
"""`fair` lets a task run on until it waits; `starve` lets one task run only when no other one can."""

_HORIZON: Final = 2_000
"""Steps among which the priority changes of a PCT schedule are."""


@dataclass(eq=False)
class Signal:
    """Something to wait for, once: `value` is what it was set to."""

    is_set: bool = False
    value: Any = None
    waiting: "list[Task]" = field(default_factory=list)


@dataclass(eq=False)
class Task:
    """A thread of one process. `killed` tasks never run again; `done` is set when it ends or dies."""

    number: int
    name: str
    run: greenlet
    at: float
    priority: float
    done: Signal = field(default_factory=Signal)
    killed: bool = False
    ready: bool = False
    error: BaseException | None = None
    result: Any = None
    about: str | None = None
    """What it works for: the id of a deployment, or None."""

    may_fail: bool = False
    """Whether its error is for those that wait for it. Any other is a mistake of the simulation."""


@dataclass
class Engine:
    """`check` is called after each step that has changed something (`changed`)."""

    choices: Choices
    scheduler: str = "fair"
    now: float = 0.0
    check: Callable[[], None] = lambda: None
    changed: bool = False
    steps: int = 0
    current: Task | None = None
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    _ready: list[Task] = field(default_factory=list)
    _asleep: list[tuple[float, int, Task]] = field(default_factory=list)
    _timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _tasks: list[Task] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _entries: Iterator[int] = field(default_factory=count)
    _last: Task | None = None
    _scheduler: greenlet = field(default_factory=getcurrent)
    _changes: set[int] = field(default_factory=set)
    _starved: int = -1

    def __post_init__(self) -> None:
        random = self.choices.random
        if self.scheduler == "pct":
            self._changes = {random.randrange(_HORIZON) for _ in range(PCT_DEPTH - 1)}
        if self.scheduler == "starve":
            self._starved = random.randrange(40)

    # What tasks call

    def pause(self) -> None:
        """Let another task run, if the schedule says so."""
        self._switch(self.now)

    def sleep(self, seconds: float) -> None:
        """Go on after so many seconds."""
        self._switch(self.now + max(0.0, seconds))

    def wait(self, signal: Signal, seconds: float = inf) -> bool:
        """Go on when the signal is set, or after so many seconds; return whether it is set."""
        if not signal.is_set:
            task = self._current()
            signal.waiting.append(task)
            self._switch(self.now + seconds)
            if task in signal.waiting:
                signal.waiting.remove(task)
        return signal.is_set

    def die(self) -> None:
        """End the current task as SIGKILL would: no `finally` of it has an effect."""
        task = self._current()
        self.kill(task)
        self._hub(task)

    # What anything calls

    def set(self, signal: Signal, value: Any = None) -> None:
        """Set the signal, and let those that wait for it go on. A second time does nothing."""
        if signal.is_set:
            return
        signal.is_set, signal.value = True, value
        for task in signal.waiting:
            self._schedule(task, self.now)
        signal.waiting.clear()

    def spawn(
        self,
        name: str,
        call: Callable[[], Any],
        after: float = 0.0,
        about: str | None = None,
        *,
        may_fail: bool = False,
    ) -> Task:
        """Start a task, now or after so many seconds."""
        number = next(self._numbers)

        def body() -> None:
            try:
                task.result = call()
            except GreenletExit:
                return
            except Exception as error:  # for those that wait for the task
                task.error = error
            self.set(task.done)

        priority = -1.0 if number == self._starved else self.choices.random.random()
        task = Task(
            number, name, greenlet(body, self._scheduler), 0.0, priority, about=about, may_fail=may_fail
        )
        self._tasks.append(task)
        self._schedule(task, self.now + after)
        return task

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something after so many seconds, that does not wait itself."""
        heappush(self._timers, (self.now + seconds, next(self._entries), call))

    def kill(self, task: Task) -> None:
        """End a task where it is. Its end is seen only by those that wait for it."""
        if task.done.is_set:
            return
        task.killed = True
        if task.ready:
            self._ready.remove(task)
            task.ready = False
        self.set(task.done)

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now, self.current.name if self.current else "engine", text))

    def run(self, until: float = inf, finished: Callable[[], bool] = lambda: False) -> None:
        """Run until `finished`, or until nothing can happen before `until`."""
        while not finished():
            if not self._ready and not self._advance(until):
                return
            task = self._choose()
            self._ready.remove(task)
            task.ready = False
            self.steps += 1
            self._last = self.current = task
            task.run.switch()
            self.current = None
            if task.error is not None and (not task.may_fail or isinstance(task.error, AssertionError)):
                raise task.error
            if self.changed:
                self.changed = False
                self.check()

    def close(self) -> None:
        """End every task; nothing that they still do has an effect."""
        for task in self._tasks:
            task.killed = True
            if task.run:
                task.run.throw(GreenletExit)

    def digest(self) -> str:
        """Return a hash of all that happened."""
        text = "\n".join(f"{now:.6f} {name} {line}" for now, name, line in self.trace)
        return hashlib.sha256(text.encode()).hexdigest()

    # Parts

    def _current(self) -> Task:
        assert self.current is not None, "only a task can wait"
        return self.current

    def _switch(self, at: float) -> None:
        task = self._current()
        if task.killed:
            raise GreenletExit
        self._schedule(task, at)
        self._hub(task)

    def _hub(self, task: Task) -> None:
        self._scheduler.switch()
        if task.killed:
            raise GreenletExit

    def _schedule(self, task: Task, at: float) -> None:
        if task.killed or task.ready:
            return
        task.at = at
        if at <= self.now:
            task.ready = True
            self._ready.append(task)
        elif at < inf:
            heappush(self._asleep, (at, next(self._entries), task))

    def _advance(self, until: float) -> bool:
        """Move the clock to the next moment at which a task can run; return False if there is none."""
        while not self._ready and (times := [queue[0][0] for queue in (self._asleep, self._timers) if queue]):
            at = min(times)
            if at > until:
                self.now = max(self.now, until)
                return False
            self._wake(at)
        return bool(self._ready)

    def _wake(self, at: float) -> None:
        while self._timers and self._timers[0][0] <= at:
            due, _, call = heappop(self._timers)
            self.now = max(self.now, due)
            call()
        while self._asleep and self._asleep[0][0] <= at:
            due, _, task = heappop(self._asleep)
            if task.at == due and not task.ready and not task.killed and not task.done.is_set:
                self.now = max(self.now, due)
                self._schedule(task, due)

    def _choose(self) -> Task:
        """Return the task that goes on. Choice 0 is the one that ran last, or else the first in the queue."""
        if len(self._ready) == 1:
            return self._ready[0]
        ready = list(self._ready)
        if self._last is not None and self._last.ready:
            ready.remove(self._last)
            ready.insert(0, self._last)
        if self.steps in self._changes:
            ready[0].priority = -self.steps
        return ready[self.choices.take(len(ready), lambda: self._draw(ready))]

    def _draw(self, ready: list[Task]) -> int:
        match self.scheduler:
            case "random":
                return self.choices.random.randrange(len(ready))
            case "pct":
                return max(range(len(ready)), key=lambda number: ready[number].priority)
            case "starve":
                others = [number for number, task in enumerate(ready) if task.number != self._starved]
                return self.choices.random.choice(others) if others else 0
            case _:
                return 0
