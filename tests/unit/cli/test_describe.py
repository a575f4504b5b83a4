"""Parts of a deployment in words."""

from typing import Any

import pytest

from sluicegate.documents import describe


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ({"name": "prod-west"}, "prod-west (222222222222, eu-west-1)"),
        ({"name": "default"}, "222222222222, eu-west-1"),
        ({}, "222222222222, eu-west-1"),  # an older API
    ],
)
def test_a_target_has_its_name_where_it_is_not_the_stacks_own(name: dict[str, str], shown: str) -> None:
    assert describe.target({"account": "222222222222", "region": "eu-west-1"} | name) == shown


OVERLOOKED = {"name": "5xx", "since": "2026-11-26T14:02:11.000Z", "reason": "Threshold Crossed", "link": None}


def test_a_fix_says_what_it_overlooks_and_what_fell_silent() -> None:
    assert describe.fix_forward(None) == ""
    fix: dict[str, Any] = {"reason": "v1.4 fails", "overlooked": [], "silent_by": None}
    assert describe.fix_forward(fix) == "v1.4 fails"
    assert describe.still_firing(fix) == ()
    fix["overlooked"] = [OVERLOOKED | {"silent_at": None}]
    firing = "overlooks alarm 5xx, firing since 2026-11-26T14:02:11.000Z (Threshold Crossed)"
    assert describe.fix_forward(fix) == f"v1.4 fails; {firing}"
    assert describe.still_firing(fix | {"silent_by": "T"}) == (f"{firing}, must be silent by T",)
    fix["overlooked"] = [{"name": "5xx", "since": None, "reason": None, "link": None, "silent_at": "T"}]
    assert describe.fix_forward(fix) == "v1.4 fails; overlooks alarm 5xx, firing, silent at T"
    assert describe.still_firing(fix) == ()
