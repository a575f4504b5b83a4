"""Parts of a deployment in words."""

import pytest

from sluicegate_cli import describe


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
