"""Hostile text in every field, and as many functions as a large company has, in Chromium."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sluicegate.store.codec import marshal
from sluicegate.store.serving import serving_item
from support.browsers import ADA, GATE, Person
from support.gateway_simulation import artifact
from support.loopback_board import LoopbackBoard, loopback_board
from support.simulation import TABLE

People = Callable[..., Person]

HOSTILE: Final = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"`{{7*7}}"


def test_hostile_text_in_every_field_is_text(people: People) -> None:
    """No script runs, no request leaves, and the policy is not even asked: `people` checks it at the end."""
    with loopback_board(**GATE) as board:
        with board.lock:
            at = board.site.gateway
            claims = {
                **ADA,
                "user_login": HOSTILE,
                "project_path": HOSTILE,
                "ref": HOSTILE,
                "sha": "8c6d3b1a" * 5,
                "pipeline_source": "web",
            }
            asked = at.deploy(
                artifact(at, b"x"), at.job(**claims), release=HOSTILE[:128], description=HOSTILE[:256]
            )
            waits = at.run_until(asked, "awaiting_approval")
            at.ask("POST", "/stages/{stage}/hold", at.job(**claims), {"reason": HOSTILE}, stage="prod")
        grace = people(board)
        outside: list[str] = []
        grace.page.on("request", lambda request: outside.append(request.url))
        for path in (
            *("", "activity", "holds", "delivery", "evidence", "functions/orders"),
            f"deployments/{waits.id}",
            f"deployments/{waits.id}/reject",
            f"activity?release={HOSTILE}",
            f"?search={HOSTILE}",
        ):
            grace.go(path)
            grace.page.wait_for_load_state("networkidle")
        assert [url for url in outside if not url.startswith(board.address)] == []
        grace.go(f"deployments/{waits.id}/reject")
        grace.page.get_by_label("Reason").fill(HOSTILE[:200])
        grace.page.get_by_role("button", name="Reject").click()
        grace.page.wait_for_url(f"{board.address}/deployments/{waits.id}")
        assert "<script>alert(1)</script>" in grace.page.inner_text("main")


def test_two_thousand_functions_are_fifty_a_page_and_found(people: People) -> None:
    with loopback_board(**GATE) as board:
        with board.lock:
            fill(board, 2_000)
        grace = people(board)
        grace.go()
        assert grace.page.locator("tbody tr").count() == 50
        grace.page.get_by_role("searchbox").fill("fn-1234")
        grace.page.get_by_role("searchbox").press("Enter")
        grace.page.get_by_text("fn-1234").first.wait_for()
        assert grace.page.locator("tbody tr").count() == 1


def fill(board: LoopbackBoard, count: int) -> None:
    """Copy what one alias serves to many functions."""
    at = board.site.gateway
    at.release(artifact(at, b"one"), release="v1.0.0")
    [serving] = at.store.versions.serving("orders")
    for number in range(count):
        item = serving_item(replace(serving, function=f"fn-{number:04}"))
        at.client.put_item(TableName=TABLE, Item=marshal(item))
