"""People act on the board in Chromium."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from support.browsers import ADA, GATE, Person
from support.gateway_simulation import artifact
from support.loopback_board import LoopbackBoard, loopback_board

People = Callable[..., Person]


@pytest.fixture
def board() -> Iterator[LoopbackBoard]:
    """A board of the test's own."""
    with loopback_board(**GATE) as made:
        yield made


def waiting(board: LoopbackBoard, release: str = "v1.1.0") -> Deployment:
    """A deployment that waits for a second person, beside v1.0.0, which serves."""
    with board.lock:
        at = board.site.gateway
        at.release(artifact(at, b"v1.0.0"), release="v1.0.0")
        asked = at.deploy(artifact(at, release.encode()), at.job(**ADA, ref=release), release=release)
        return at.run_until(asked, "awaiting_approval")


def pressed(board: LoopbackBoard) -> list[Any]:
    return [one for one in board.site.calls if not (one.body or one.query).get("dry_run")]


def test_a_second_person_approves_what_waits_for_them(board: LoopbackBoard, people: People) -> None:
    deployment = waiting(board)
    grace = people(board)
    grace.page.get_by_role("heading", name="Waiting for you").wait_for()
    grace.page.locator(f"a[href$='deployments/{deployment.id}']").first.click()
    grace.page.get_by_role("link", name="Approve").click()
    assert "orders prod: 1 → a new version, 10% for 5m, 100%" in grace.page.inner_text("main")
    grace.page.get_by_label("Reason").fill("numbers are fine")
    grace.page.get_by_role("button", name="Approve").click()
    grace.page.wait_for_url(f"{board.address}/deployments/{deployment.id}")
    with board.lock:
        approval = board.site.gateway.now(deployment).approval
        assert approval is not None
        assert (approval.by.user_login, approval.reason) == ("grace", "numbers are fine")
        board.site.gateway.run_until(deployment, "baking")
    # The page that is open shows it by itself.
    grace.page.get_by_text("10 % of the traffic goes to version 2").wait_for()


def test_a_double_click_presses_once(board: LoopbackBoard, people: People) -> None:
    deployment, grace = waiting(board), people(board)
    grace.go(f"deployments/{deployment.id}/approve")
    grace.page.get_by_label("Reason").fill("twice")
    grace.page.get_by_role("button", name="Approve").dblclick()
    grace.page.wait_for_url(f"{board.address}/deployments/{deployment.id}")
    with board.lock:
        timeline = [entry.message for entry in board.site.gateway.now(deployment).timeline]
    assert sum("approved by" in message for message in timeline) == 1


def test_two_tabs_decide_once(board: LoopbackBoard, people: People) -> None:
    deployment, one = waiting(board), people(board)
    two = one.tab()
    for tab in (one, two):
        tab.go(f"deployments/{deployment.id}/{'approve' if tab is one else 'reject'}")
        tab.page.get_by_label("Reason").fill("from this tab")
    one.page.get_by_role("button", name="Approve").click()
    one.page.wait_for_url(f"{board.address}/deployments/{deployment.id}")
    two.page.get_by_role("button", name="Reject").click()
    two.page.get_by_role("alert").wait_for()
    with board.lock:
        decided = board.site.gateway.now(deployment).approval
    assert decided is not None
    assert decided.decision == "approved"
    assert two.wrong == []


def test_a_session_that_ends_while_typing_keeps_the_reason(board: LoopbackBoard, people: People) -> None:
    deployment, grace = waiting(board), people(board)
    grace.go(f"deployments/{deployment.id}/approve")
    grace.page.get_by_label("Reason").fill("I looked at every plot, <b>honestly</b>")
    with board.lock:
        board.site.gateway.clock.now += 9 * 3_600
    grace.page.get_by_role("button", name="Approve").click()
    grace.page.get_by_role("heading", name="Sign in").wait_for()
    with board.lock:
        assert board.site.gateway.now(deployment).approval is None
    grace.page.get_by_role("link", name="Sign in with").click()
    assert grace.page.get_by_label("Reason").input_value() == "I looked at every plot, <b>honestly</b>"
    grace.page.get_by_role("button", name="Approve").click()
    grace.page.wait_for_url(f"{board.address}/deployments/{deployment.id}")
    with board.lock:
        assert board.site.gateway.now(deployment).is_approved


def test_a_form_of_another_site_does_nothing(board: LoopbackBoard, people: People) -> None:
    """A page at another origin posts to the board with the victim's browser, and puts it into a frame."""
    deployment, grace = waiting(board), people(board)
    other = grace.tab()
    address = f"{board.address}/deployments/{deployment.id}/approve"
    form = (
        f'<form method="post" action="{address}"><input name="reason" value="x"><button>Win</button></form>'
    )
    # A site of its own: another port of 127.0.0.1 would be the same site.
    other.page.route(
        "https://evil.example.net/", lambda route: route.fulfill(body=form, content_type="text/html")
    )
    other.page.goto("https://evil.example.net/")
    other.page.get_by_role("button", name="Win").click()
    other.page.get_by_text("Not sent from this board").wait_for()
    framed = f'<iframe src="{address}" width="600" height="400"></iframe>'
    other.page.route(
        "https://evil.example.net/f", lambda route: route.fulfill(body=framed, content_type="text/html")
    )
    other.page.goto("https://evil.example.net/f")
    other.page.wait_for_load_state("networkidle")
    assert all("Approve this" not in frame.content() for frame in other.page.frames)
    other.wrong.clear()  # what the frame was refused by
    assert pressed(board) == []


def test_a_rollback_and_a_hold(board: LoopbackBoard, people: People) -> None:
    with board.lock:
        at = board.site.gateway
        for release in ("v1.0.0", "v1.1.0"):
            asked = at.deploy(artifact(at, release.encode()), at.job(**ADA, ref=release), release=release)
            at.decide("approve", asked)
            at.finish(asked)
    grace = people(board)
    grace.go("functions/orders")
    grace.page.get_by_role("link", name="Roll back").click()
    assert "orders prod: 2 → 1, 100%" in grace.page.inner_text("main")
    grace.page.get_by_label("Reason").fill("prices without tax")
    grace.page.get_by_role("button", name="Roll back").click()
    grace.page.wait_for_url(f"{board.address}/deployments/0*")
    with board.lock:
        back = board.site.gateway.store.deployments.get(grace.page.url.rpartition("/")[2])
        assert back
        assert board.site.gateway.finish(back).status is Status.SUCCEEDED
    grace.go("holds")
    grace.page.get_by_role("link", name="Hold prod").click()
    grace.page.get_by_label("Reason").fill("freeze")
    grace.page.get_by_role("button", name="Hold").click()
    grace.page.wait_for_url(f"{board.address}/holds")
    grace.page.get_by_text("freeze").wait_for()
    grace.page.get_by_role("link", name="Release").click()
    grace.page.get_by_role("button", name="Release").click()
    grace.page.get_by_text("Nothing is held").wait_for()
