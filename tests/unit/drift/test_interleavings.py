"""A deployment under way is never drift, wherever between two reads of the look its steps fall."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hypothesis import event, given, settings
from hypothesis import strategies as st

from sluicegate.aws.lambda_ import Alias, FunctionVersion
from sluicegate.deployment.drift import DriftKind
from sluicegate.deployment.model import AliasState
from sluicegate.drift.sweep import DriftSweep
from sluicegate.store.drift import DriftPass
from sluicegate.store.locks import AliasLock
from sluicegate.store.serving import Serving
from support.gateway_simulation import gate_of
from support.simulation import OWN

FIRST = Serving(
    *("orders", "prod", "prod", OWN.account, OWN.region, "1", "", {}, "01A", "", "", ""),
    *(None, None, None, None),
)

Deployment = tuple[str, bool, str]
"""How a deployment moves the alias, whether it succeeds, and its version: several may have one."""


@dataclass
class World:
    """An alias, its lock and its record, which deployments change step by step between the look's reads.

    `script` are deployments that are still to come, and `steps` how many steps pass before each read.
    `hands` are the reads before which somebody moves the alias by hand while nothing else does.
    """

    script: list[Deployment]
    steps: list[int]
    hands: set[int] = field(default_factory=set)
    version: str = "1"
    revision: int = 0
    locked: bool = False
    serving: Serving = FIRST
    next: int = 2
    reads: int = 0
    drifted: bool = False
    saved: list[Any] = field(default_factory=list)
    ahead: list[Callable[[], None]] = field(default_factory=list)

    def read(self) -> None:
        """Let time pass."""
        for _ in range(self.steps[self.reads % len(self.steps)]):
            if not self.ahead and self.script:
                self._begin(*self.script.pop(0))
            if self.ahead:
                self.ahead.pop(0)()
        if self.reads in self.hands and not self.locked:
            self._move("9")
        self.reads += 1
        self.drifted |= not self.locked and self.version != self.serving.version

    def _begin(self, way: str, succeeds: bool, mine: str) -> None:
        found = self.version
        self.next += 1
        moves = {"at once": [mine], "canary": [f"{found}+{mine}", mine], "untouched": []}[way]
        self.ahead = [self._lock, *[lambda to=to: self._move(to) for to in moves]]
        if succeeds and moves:
            self.ahead.append(lambda: self._succeed(mine))
        else:
            self.ahead += [lambda: self._move(found)] if moves else []
            self.ahead.append(self._unlock)

    def _lock(self) -> None:
        self.locked = True

    def _unlock(self) -> None:
        self.locked = False

    def _move(self, version: str) -> None:
        self.version = version
        self.revision += 1

    def _succeed(self, version: str) -> None:
        """One transaction: the record and the lock."""
        self.serving = replace(self.serving, version=version, deployment=f"01A{self.next:04}")
        self.locked = False

    # The table

    def alias_lock(self, *_: Any) -> AliasLock | None:
        self.read()
        return AliasLock("01B") if self.locked else None

    def serving_like(self, *_: Any) -> list[Serving]:
        self.read()
        return [self.serving]

    def serving_again(self, _: Serving) -> Serving:
        self.read()
        return self.serving

    def get(self, *_: Any) -> None:
        return None

    def current(self) -> dict[Any, Any]:
        return {}

    def save(self, _: None, after: Any) -> None:
        self.saved.append(after)

    def position(self) -> DriftPass:
        return DriftPass()

    def note_position(self, _: DriftPass) -> None:
        """Nobody asks."""

    # Lambda

    def aliases(self, _: str) -> dict[str, Alias]:
        self.read()
        return {"prod": Alias(AliasState(self.version), str(self.revision))}

    def function(self, _: str) -> Any:
        return self

    def version_of(self, version: str = "$LATEST") -> FunctionVersion:
        self.read()
        return FunctionVersion(version, "r", "", "Active", "", "Successful", "", {})

    def nothing(self, *_: Any) -> tuple[()]:
        return ()

    def take_if_free(self, *_: Any) -> bool:
        return True


def look(world: World) -> None:
    store = type("Store", (), dict.fromkeys(("locks", "versions", "drift", "calls"), world))
    api: Any = type(
        "Api",
        (),
        {
            "triggers": type(
                "Triggers",
                (),
                {
                    "aliases": staticmethod(world.aliases),
                    "urls": staticmethod(world.nothing),
                    "permissions": staticmethod(world.nothing),
                    "event_sources": staticmethod(dict),
                    "__init__": lambda *_: None,
                },
            ),
            "function": staticmethod(
                lambda _: type("Function", (), {"version": staticmethod(world.version_of)})
            ),
        },
    )
    places = type(
        "Places",
        (),
        {
            "target": staticmethod(lambda _: OWN),
            "enter": staticmethod(lambda _: api),
        },
    )
    DriftSweep(cast(Any, store), GATE, cast(Any, places), lambda: 0.0, lambda _: None).run(1.0)


GATE = gate_of()
WAYS = st.tuples(
    st.sampled_from(["at once", "canary", "untouched"]), st.booleans(), st.sampled_from(["2", "3"])
)
SCRIPTS = st.lists(WAYS, max_size=6)
STEPS = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 7]), min_size=8, max_size=14)


@settings(max_examples=300, deadline=None)
@given(SCRIPTS, STEPS)
def test_a_deployment_under_way_is_never_drift(script: list[Deployment], steps: list[int]) -> None:
    world = World(list(script), steps)
    look(world)
    assert world.saved == []


@settings(max_examples=300, deadline=None)
@given(SCRIPTS, STEPS, st.sets(st.integers(0, 12), max_size=2))
def test_what_is_reported_was_so_while_nothing_of_ours_moved_the_alias(
    script: list[Deployment], steps: list[int], hands: set[int]
) -> None:
    world = World(list(script), steps, hands)
    look(world)
    found = [one for drift in world.saved for one in drift.findings if one.kind == DriftKind.ALIAS]
    event(f"reported: {bool(found)}")
    assert not found or world.drifted


def test_a_hand_is_seen_where_nothing_else_happens() -> None:
    world = World([], [0], {0})
    look(world)
    assert [one.code for one in world.saved[0].findings] == ["alias_moved"]


def test_a_move_that_one_deployment_took_back_and_the_next_repeats_is_no_drift() -> None:
    """Both looks see version 2, with nothing under way between them; only the revision tells."""
    world = World([("at once", False, "2"), ("at once", False, "2")], [0, 0, 2, 0, 0, 2, 0, 2])
    look(world)
    assert world.saved == []


def test_a_deployment_that_holds_the_alias_through_both_looks_is_no_drift() -> None:
    world = World([("at once", True, "2")], [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    look(world)
    assert world.saved == []
