"""Ids of deployments: sorting by id is sorting by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.ulid import is_id, least_id, new_id

TIMES = st.integers(0, 2**48 - 1)


@given(TIMES, TIMES)
def test_ids_sort_by_time(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    if earlier < later:
        assert new_id(earlier / 1000) < new_id((later + 1) / 1000)


@given(TIMES, TIMES)
def test_the_least_id_is_a_bound(at: int, bound: int) -> None:
    assert (new_id(at / 1000) < least_id(bound / 1000)) == (int(at / 1000 * 1000) < int(bound / 1000 * 1000))
    assert is_id(least_id(bound / 1000))


@given(TIMES)
def test_each_id_is_new_and_has_its_form(at: int) -> None:
    first, second = new_id(at / 1000), new_id(at / 1000)
    assert is_id(first)
    assert is_id(second)
    assert first != second


@pytest.mark.parametrize(
    "text",
    ["", "01KSR49200TX8S74SPHBEA8D1", "01KSR49200TX8S74SPHBEA8D1GX", "81KSR49200TX8S74SPHBEA8D1G"]
    + [f"01KSR49200TX8S74SPHBEA8D1{character}" for character in "ilouIL OU/#\n"],
)
def test_what_has_another_form_is_no_id(text: str) -> None:
    assert not is_id(text)
