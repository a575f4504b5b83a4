"""A newcomer's walk: who deployed what to production yesterday, why one went back, and an approval.

Only what is visible is read and clicked. The browser is in Berlin, whose days begin an hour before UTC's.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from support.browsers import Person
from support.company_history import NOW, Company, company

BERLIN: Final = {"timezone_id": "Europe/Berlin", "locale": "en-GB"}


@pytest.fixture
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


def yesterday_in_production(person: Person) -> Any:
    """The page with what was asked for yesterday in production, as a person filters it."""
    page = person.page
    page.get_by_role("link", name="Activity").click()
    page.get_by_label("Stage").select_option("prod")
    page.get_by_label("Asked from").fill("2026-11-25")
    page.get_by_label("Asked to").fill("2026-11-25")
    page.get_by_role("button", name="Filter").click()
    return page


def test_yesterday_is_the_readers_own(newcomer: Callable[..., Person], of: Company) -> None:
    page = yesterday_in_production(newcomer())
    page.get_by_text("Asked for from 25/11/2026, 00:00:00 until 26/11/2026, 00:00:00").wait_for()
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


def test_who_deployed_what_to_production_yesterday_and_why_one_went_back(
    newcomer: Callable[..., Person],
) -> None:
    page = yesterday_in_production(newcomer())
    page.get_by_role("link", name="Show all").wait_for()
    by_hand, bad, by_tag, _ = rows(page)
    assert by_hand.startswith("orders-mail → prod rollback · to version 1 succeeded mails were sent twice")
    assert by_hand.endswith("grace · person yesterday 16:46")
    assert bad.startswith("checkout → prod deploy · v3.3.0 rolled back errors: 7.4 % of 204")
    assert bad.endswith("mary · pipeline yesterday 13:59")
    assert by_tag.startswith("orders-api → prod deploy · v1.5.0 succeeded")
    assert by_tag.endswith("ada · pipeline yesterday 10:02")
    # By which rule, and who approved it.
    page.get_by_role("link", name="orders-api → prod").click()
    page.get_by_text("approved by grace, job").first.wait_for()
    page.go_back()
    page.get_by_role("link", name="orders-mail → prod").first.click()
    page.get_by_text("grace, signed in").wait_for()
    # Why one went back, with its numbers.
    page.get_by_role("link", name="Activity").click()
    page.get_by_label("Status").select_option("rolled back")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="checkout → prod").click()
    page.get_by_text("Rolled back by its watch: errors: 7.4 % of 204").wait_for()
    row = page.locator("tbody tr").first.inner_text()
    for number in ("bad", "7.4 % of 204", "0.49 % of 1,836", "×15", "×2"):
        assert number in row
    main = page.inner_text("main")
    assert "The alias serves what it served before." in main
    assert "errors at most 2% and at most 2 times the previous version's" in main


def approved(at: Company) -> tuple[str | None, str | None]:
    """By whom, and why."""
    with at.board.lock:
        approval = at.board.site.gateway.now(at.waiting).approval
    assert approval is not None
    return approval.by.user_login, approval.reason


@pytest.mark.parametrize("width", [1180, 375])
def test_the_next_one_is_approved(newcomer: Callable[..., Person], of: Company, width: int) -> None:
    page = newcomer(viewport={"width": width, "height": 720}).page
    page.get_by_role("region", name="Waiting for you").get_by_role("link").click()
    page.get_by_role("link", name="Approve").click()
    page.get_by_text("checkout prod: 2 → a new version, 10% for 5m, 100% for 5m").wait_for()
    page.get_by_label("Reason, for the record (needed)").fill("checked on dev")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved, and about to go on.").wait_for()
    page.get_by_text("approved by grace, signed in: checked on dev").wait_for()
    assert page.locator(".badge").first.inner_text() == "approved"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert approved(of) == ("grace", "checked on dev")


def test_the_next_one_is_approved_by_keyboard(newcomer: Callable[..., Person], of: Company) -> None:
    page = newcomer().page
    focused = "(document.activeElement.innerText || document.activeElement.id).trim()"

    def tab_to(text: str) -> None:
        for _ in range(25):
            page.keyboard.press("Tab")
            if page.evaluate(focused).startswith(text):
                return
        raise AssertionError(f"{text} is out of reach")

    tab_to("checkout → prod")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="checkout → prod").wait_for()
    tab_to("Skip to content")
    page.keyboard.press("Enter")
    tab_to("Approve")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Approve this deployment").wait_for()
    tab_to("reason")
    page.keyboard.type("checked on dev")
    page.keyboard.press("Enter")
    page.get_by_text("Approved, and about to go on.").wait_for()
    assert approved(of) == ("grace", "checked on dev")
