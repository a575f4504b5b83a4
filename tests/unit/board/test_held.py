"""What the board's process holds of its reads, however much is asked for."""

import gc
import weakref
from dataclasses import replace
from typing import Any, Final

import pytest

from sluicegate.board.held import Held
from sluicegate.board.reads import CHUNK, HELD, Reads
from support.signing import NOW
from support.simulation import Clock, new_deployment


class Chunk(list[int]):
    """A list that can be watched."""


def chunk(weight: int) -> Chunk:
    return Chunk(range(weight - 1))


def test_what_is_over_is_let_go_of_whenever_something_is_kept() -> None:
    clock, kept = Clock(float(NOW)), []
    values = Held(clock)
    for number in range(600):
        value = chunk(100)
        kept.append(weakref.ref(value))
        values.keep(number, 5, value)
        del value
        clock.now += 0.1
    gc.collect()
    valid = 50
    assert len(values) <= valid + 1
    assert values.weight == 100 * len(values)
    assert sum(one() is not None for one in kept) == len(values)
    assert values.get(599) is not None
    assert values.get(500) is None


def test_within_one_lifetime_the_weight_is_bounded_and_the_oldest_go() -> None:
    values = Held(Clock(float(NOW)), most=1_000)
    for number in range(60):
        values.keep(number, 5, chunk(100))
        assert values.weight <= 1_000
    assert [number for number in range(60) if values.get(number)] == list(range(50, 60))


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ([("a", 5, 1), ("b", 300, 2), ("a", 5, 3)], {"a": 3, "b": 2}),
        ([("a", 5, None)], {"a": None}),
        (
            [("long", 300, [0] * 5), *((str(n), 5, [0] * 5) for n in range(3))],
            {"long": [0] * 5, "2": [0] * 5},
        ),
        ([("a", 5, [0] * 50)], {"a": [0] * 50}),
        ([("a", 5, [0] * 50), ("b", 5, 1)], {"b": 1}),
    ],
)
def test_the_newest_value_of_a_key_is_held_until_it_is_over(
    kept: list[tuple[str, float, Any]], found: dict[str, Any]
) -> None:
    clock = Clock(float(NOW))
    values = Held(clock, most=15)
    for key, seconds, value in kept:
        values.keep(key, seconds, value)
    assert {key: one[0] for key, _, _ in kept if (one := values.get(key))} == found
    assert len(values) == len(found)
    clock.now += 300
    assert not any(values.get(key) for key, _, _ in kept)
    values.clear()
    assert (len(values), values.weight) == (0, 0)


def test_a_deployment_is_as_heavy_as_what_it_tells() -> None:
    one = new_deployment(NOW, "b" * 64)
    values = Held(Clock(float(NOW)))
    values.keep("one", 5, replace(one, timeline=one.timeline * 40))
    assert values.weight == 1 + 40 * len(one.timeline)


class Endless:
    """A store with as many deployments as anybody asks for. It is every part of itself."""

    deployments = versions = property(lambda self: self)

    def summaries(self, *_: object, **__: object) -> range:
        return range(10 * CHUNK)

    def places(self) -> list[int]:
        return [0] * 3_000


BOUND: Final = 20 * CHUNK


def test_pages_of_ever_other_addresses_hold_no_more() -> None:
    clock = Clock(float(NOW))
    reads = Reads(Endless(), ("dev",), clock)  # type: ignore[arg-type]
    reads._held = Held(clock, BOUND)
    # There is one list of all aliases: however long, it is held for its time.
    places = reads.places()
    for number in range(600):
        reads.chunk("by_time", "deployment", f"01K{number:023}")
        assert reads._held.weight <= BOUND
        clock.now += 0.01
    assert reads.places() is places
    clock.now += HELD
    reads.chunk("by_time", "deployment")
    assert len(reads._held) == 2
