"""A newcomer's walk: who deployed what to production yesterday, why one went back, and an approval.

Only what is visible is read and clicked. The browser is in Berlin, whose days begin an hour before UTC's.
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


def test_yesterday_is_the_readers_own(newcomer: Callable[..., Person], of: Company) -> None:
    page = newcomer().page
    page.get_by_role("link", name="Activity").click()
    page.get_by_label("Stage").select_option("prod")
    page.get_by_label("Asked from").fill("2026-11-25")
    page.get_by_label("Asked to").fill("2026-11-25")
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("Asked for since 25/11/2026, 00:00:00 before 26/11/2026, 00:00:00").wait_for()
    yesterday = [f"d-{one.id}" for one in (of.back, of.bad, of.tag, of.night)]
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == yesterday
    # The days are still there after a look at one of them, and when the address is opened again.
    page.get_by_role("link", name="checkout → prod").click()
    page.get_by_role("heading", name="checkout → prod v3.3.0").wait_for()
    page.go_back()
    assert page.get_by_label("Asked from").input_value() == "2026-11-25"
    page.reload()
    assert page.locator("tbody tr").count() == 4
    page.get_by_role("link", name="Show all").click()
    page.get_by_text("24 Nov 2026").first.wait_for()
