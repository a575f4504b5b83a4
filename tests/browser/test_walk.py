"""A newcomer's walk: who deployed what to production yesterday, why one went back, and the next one's approval.

Only what is visible is read and clicked. The browser is in Berlin, where yesterday begins an hour before UTC's.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from support.browsers import Person
from support.company_history import NOW, Company, company

BERLIN: Final = {"timezone_id": "Europe/Berlin", "locale": "en-GB"}


@pytest.fixture(scope="module")
def of() -> Iterator[Company]:
    with company() as made:
        yield made


@pytest.fixture
def newcomer(of: Company, people: Callable[..., Person]) -> Callable[..., Person]:
    """Signs in at the end of the history, by the buttons."""

    def signed_in(**options: Any) -> Person:
        one = people(of.board, None, **BERLIN, **options)
        one.page.clock.set_system_time(NOW)
        one.sign_in()
        return one

    return signed_in


def rows(page: Any) -> list[str]:
    """What the list says, row by row."""
    return [" ".join(text.split()) for text in page.locator("tbody tr").all_inner_texts()]


def test_times_say_the_day_and_the_zone(newcomer: Callable[..., Person]) -> None:
    """`1 d ago` may be any time of two days."""
    page = newcomer().page
    page.get_by_role("link", name="Activity").click()
    page.get_by_text("yesterday 16:46").wait_for()
    found = rows(page)
    assert "15 min ago" in found[0]
    assert "1 h ago" in found[1]
    # Asked for on 24 November by UTC's clock, at 23:18.
    night = next(row for row in found if "orders-mail → prod" in row and "v2.1.0" in row)
    assert "yesterday 00:18" in night
    assert "24 Nov 2026, 10:12" in found[-1]
    assert "Times in Europe/Berlin" in page.inner_text("footer")
