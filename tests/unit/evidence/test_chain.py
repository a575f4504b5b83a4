"""The chain: heads that stand for all lines before them, in their order, of one stack."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.evidence.chain import ChainState, entries, extend, genesis, leaf, next_head, stub
from sluicegate.evidence.line import canonical, line

STACK = "111111111111/eu-central-1/sluicegate"
START = ChainState(0, genesis(STACK))


def test_the_hashes_are_those_of_the_page() -> None:
    """Computed by `sha256sum`: `printf '\\0{}' | sha256sum`, and so on."""
    assert leaf("{}") == "28a3a18f6cd6406b086e9ffda1f9b8a13dbcf44b0f3f32cb9031a11fd053acf9"
    assert (
        next_head("00" * 32, "11" * 32) == "a7b6a88afe611b23a8bb9836e3cd13ba706cb05d6de647d92bf05bb0aace72ee"
    )
    assert genesis("a/b/c") == "2bec642ea4f4c1a7ec56495bd4cd49f9d2a2c7b9131eea8ec72ca21fd089ffdc"


def test_entries_are_canonical_and_say_their_place() -> None:
    lines = [line("ended", 0, {"n": n}) for n in range(3)]
    texts = entries(START, lines)
    found = [json.loads(text) for text in texts]
    assert [canonical(entry) for entry in found] == texts
    assert [entry["seq"] for entry in found] == [1, 2, 3]
    assert [canonical(entry["line"]) for entry in found] == lines
    assert found[-1]["head"] == extend(START, lines).head
    assert json.loads(stub(found[1])) == {name: found[1][name] for name in ("seq", "hash", "head")}


lines_of = st.lists(st.integers(0, 5).map(lambda n: canonical({"n": n})), min_size=1, max_size=12)


@given(lines_of, lines_of)
def test_a_head_stands_for_its_lines_alone(one: list[str], other: list[str]) -> None:
    assert (extend(START, one) == extend(START, other)) == (one == other)


@given(lines_of, st.integers(0, 12))
def test_a_chain_can_be_extended_in_parts(lines: list[str], cut: int) -> None:
    assert extend(extend(START, lines[:cut]), lines[cut:]) == extend(START, lines)


@given(lines_of)
def test_the_lines_of_one_stack_never_fit_another(lines: list[str]) -> None:
    other = ChainState(0, genesis("111111111111/eu-central-1/sluicegate2"))
    assert extend(START, lines).head != extend(other, lines).head
