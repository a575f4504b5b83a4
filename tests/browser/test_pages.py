"""The board's pages in Chromium: what they show, to whom, and that nothing on them is in anybody's way."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from support.browsers import Person, Story
from support.template import ROOT

People = Callable[..., Person]

PICTURES: Final = ROOT / "docs" / "pictures"
TAKES_PICTURES: Final = bool(os.environ.get("PICTURES"))
"""`make pictures` sets it: the pictures of the documentation are taken again."""

PICTURED: Final = {("", "light"), ("deployment", "light"), ("approve", "light"), ("function", "dark")}

MAIN: Final = ("", "deployment", "approve", "function", "activity", "holds", "delivery", "evidence")


def path_of(story: Story, name: str) -> str:
    """The address of a main page."""
    return {
        "deployment": f"deployments/{story.baking.id}",
        "approve": f"deployments/{story.waiting.id}/approve",
        "function": "functions/orders",
    }.get(name, name)


@pytest.fixture(scope="module")
def several(chromium: Any, story: Story) -> Iterator[dict[str, Person]]:
    """Grace in light and in dark, signed in once."""
    found = {}
    for scheme in ("light", "dark"):
        context = chromium.new_context(
            viewport={"width": 1180, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
        )
        one = found[scheme] = Person(story.board, context, context.new_page())
        one.page.clock.set_system_time(story.board.site.gateway.clock() + 180)
        one.sign_in()
    yield found
    for one in found.values():
        one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", MAIN)
def test_axe_finds_nothing(
    several: dict[str, Person], story: Story, axe: str, name: str, scheme: str
) -> None:
    person = several[scheme]
    person.go(path_of(story, name))
    person.page.evaluate(axe)
    found = person.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems = [
        f"{one['id']}: {one['help']}: {node['html'][:120]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert problems == []
    if TAKES_PICTURES and (name, scheme) in PICTURED:
        take(person, f"board-{name or 'overview'}.png")


def take(person: Person, name: str) -> None:
    """Write a picture for the documentation."""
    person.page.screenshot(path=PICTURES / name, full_page=True, animations="disabled")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(people: People, story: Story) -> None:
    phone = people(story.board, viewport={"width": 375, "height": 720}, device_scale_factor=2)
    phone.page.clock.set_system_time(story.board.site.gateway.clock() + 180)
    for name in MAIN:
        phone.go(path_of(story, name))
        width = phone.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, name
        if TAKES_PICTURES and name == "":
            take(phone, "board-phone.png")


def test_the_keyboard_reaches_the_button(people: People, story: Story) -> None:
    grace = people(story.board)
    grace.go(f"deployments/{story.waiting.id}/approve")
    grace.page.keyboard.press("Tab")
    assert grace.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        grace.page.keyboard.press("Tab")
        if grace.page.evaluate("document.activeElement.id") == "reason":
            break
    grace.page.keyboard.type("by keyboard")
    grace.page.keyboard.press("Tab")
    assert grace.page.evaluate("document.activeElement.textContent") == "Approve"


def test_a_person_without_rights_sees_nothing_and_the_same_as_nothing(people: People, story: Story) -> None:
    eve = people(story.board, "eve")
    eve.go()
    assert "orders" not in eve.page.inner_text("main")
    texts = set()
    for path in (f"deployments/{story.baking.id}", f"deployments/01K{'0' * 23}", "functions/orders"):
        assert eve.go(path).status == 404
        texts.add(eve.page.inner_text("main"))
    assert len(texts) == 1


def test_a_reader_has_no_buttons(people: People, story: Story) -> None:
    ada = people(story.board, "ada")
    for path in (f"deployments/{story.waiting.id}", "functions/orders", "holds"):
        assert ada.go(path).status == 200
        offered = ada.page.locator("main a.button").all_inner_texts()
        assert offered == [], path


def test_pictures_are_shown() -> None:
    """Every picture of the board is on the guide's page, and no other is."""
    guide = (ROOT / "docs" / "guides" / "board.md").read_text()
    shown = set(re.findall(r"\.\./pictures/(board-[a-z]+\.png)", guide))
    assert shown == {picture.name for picture in PICTURES.glob("board-*.png")}
