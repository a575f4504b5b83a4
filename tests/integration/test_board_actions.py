"""A person acts on the stand's board: over real HTTP, and with the real policy of the board's role."""

import html
import time
from uuid import uuid4

import pytest

from stand import HANDLER, Stand, package
from stand.sign_ins import hidden, signed_in

pytestmark = pytest.mark.extended


def test_a_second_person_approves_rolls_back_and_holds_on_the_board(stand: Stand) -> None:
    function = f"orders-acted-{uuid4().hex[:8]}"
    stand.create_function(function)
    try:
        token = stand.token(user_id="7", user_login="ada")
        sha256 = stand.upload(function, package(HANDLER % "acted"), token=token)
        wanted = {
            "action": "deploy",
            "function": function,
            "stage": "approved",
            "artifact": {"sha256": sha256},
        }
        asked = stand.http("POST", "/deployments", wanted, token=token)
        assert asked.status_code == 202, asked.text
        identity, grace = asked.json()["id"], signed_in(stand.board, "grace")
        asks_for_approval(stand, identity, token)
        address = f"deployments/{identity}/approve"
        page = grace.get(address)
        assert page.status_code == 200, page.text
        assert f"{function} approved: nothing → a new version" in html.unescape(page.text)
        form = {**hidden(page.text), "reason": "looked at it"}
        evil = grace.post(address, form, Origin="https://evil.example.net")
        assert evil.status_code == 403
        for _ in range(2):
            done = grace.post(address, form)
            assert (done.status_code, done.headers["location"]) == (303, f"/v1/board/deployments/{identity}")
        ended = stand.wait(identity, token=token)
        assert ended["status"] == "succeeded"
        assert (ended["approval"]["by"]["user_id"], ended["approval"]["reason"]) == ("8", "looked at it")
        # There is no version to go back to: the API says so, and there is no button.
        back = grace.get(f"functions/{function}/rollback/approved")
        assert back.status_code == 422
        assert "intent" not in hidden(back.text)
    finally:
        stand.delete_function(function)


def asks_for_approval(stand: Stand, deployment: str, token: str) -> None:
    """Wait until a person may approve it: the rollout looks at the artifact first."""
    until = time.monotonic() + 60
    while (
        stand.http("GET", f"/deployments/{deployment}", token=token).json()["status"] != "awaiting_approval"
    ):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_person_holds_and_releases_a_stage_on_the_board(stand: Stand) -> None:
    grace = signed_in(stand.board, "grace")
    form = hidden(grace.get("stages/canary/hold").text)
    assert grace.post("stages/canary/hold", {**form, "reason": "freeze"}).status_code == 303
    held = stand.http("GET", "/stages/canary/hold", token=grace.session).json()["holds"]
    [mine] = [one for one in held if one["reason"] == "freeze"]
    address = f"stages/canary/release/{mine['id']}"
    assert grace.post(address, hidden(grace.get(address).text)).status_code == 303
    left = stand.http("GET", "/stages/canary/hold", token=grace.session).json()["holds"]
    assert mine["id"] not in [one["id"] for one in left]
