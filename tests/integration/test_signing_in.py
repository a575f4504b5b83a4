"""People on the stand sign in with GitLab, on the board and from a terminal, with each role's real policy."""

import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sluicegate_cli.auth import signing_in, stored
from sluicegate_cli.auth.signing_in import SignInTerms
from stand import HANDLER, Stand, StandError, package, places
from stand.sign_ins import Browser, hidden, signed_in

pytestmark = pytest.mark.extended


def whoami(stand: Stand, bearer: str) -> Any:
    return stand.http("GET", "/whoami", token=bearer)


def test_a_person_signs_in_is_known_to_the_api_and_signs_out(stand: Stand) -> None:
    browser = signed_in(stand.board, "grace")
    me = whoami(stand, browser.session).json()
    assert (me["via"], me["actor"], me["claims"]["user_login"]) == ("session", "person", "grace")
    assert me["claims"]["email"] == "grace@example.com"
    bearer = browser.session
    assert browser.post("logout", {}).status_code == 303
    refused = whoami(stand, bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_required")


def test_a_blocked_user_does_not_sign_in(stand: Stand) -> None:
    browser = Browser(stand.board)
    stand.gitlab.change_user("eve", state="blocked")
    try:
        with pytest.raises(StandError, match="asks without end"):
            browser.sign_in("eve")
        assert browser.session == ""
    finally:
        stand.gitlab.change_user("eve", state="active")


def test_a_second_person_approves_by_their_session_and_nobody_their_own(stand: Stand) -> None:
    function = f"orders-people-{uuid4().hex[:8]}"
    stand.create_function(function)
    try:
        token = stand.token(user_id="7", user_login="ada")
        sha256 = stand.upload(function, package(HANDLER % "signed-in"), token=token)
        body = {
            "action": "deploy",
            "function": function,
            "stage": "approved",
            "artifact": {"sha256": sha256},
        }
        asked = stand.http("POST", "/deployments", body, token=token)
        assert asked.status_code == 202, asked.text
        path = f"/deployments/{asked.json()['id']}/approve"
        stand.gitlab.change_user("ada", groups=["acme", "acme/release-managers"])
        own = stand.http("POST", path, {}, token=signed_in(stand.board, "ada").session)
        assert (own.status_code, "different person" in own.json()["detail"]) == (403, True)
        given = stand.http("POST", path, {"reason": "looked"}, token=signed_in(stand.board, "grace").session)
        assert given.status_code in (200, 202), given.text
        done = stand.wait(asked.json()["id"], token=token, patience=180)
        assert done["status"] == "succeeded"
        assert (done["approval"]["by"]["via"], done["approval"]["by"]["user_id"]) == ("session", "8")
        for_people(stand, function, done["version"])
    finally:
        stand.gitlab.change_user("ada", groups=["acme", "acme/platform"])
        stand.delete_function(function)


def for_people(stand: Stand, function: str, version: str) -> None:
    """What that very person may do with it besides: promote, and deploy nothing."""
    bearer = signed_in(stand.board, "grace").session
    promote = {
        "action": "promote",
        "function": function,
        "stage": "staging",
        "from": "approved",
        "version": version,
    }
    key = {"Idempotency-Key": uuid4().hex}
    made = stand.http("POST", "/deployments", promote, token=bearer, headers=key)
    assert made.status_code == 202, made.text
    done = stand.wait(made.json()["id"], token=bearer, patience=180)
    assert (done["status"], done["built"]["project_id"]) == ("succeeded", "4213")
    artifact = {"sha256": done["artifact"]["sha256"]}
    deploy = {"action": "deploy", "function": function, "stage": "dev", "artifact": artifact}
    assert stand.http("POST", "/deployments", deploy, token=bearer, headers=key).status_code == 403


def test_a_terminal_signs_in_by_typed_codes_and_all_commands_use_it(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(stand.board)
    said: list[str] = []

    def code() -> str:
        page = browser.sign_in_at(f"{stand.board}/cli", "grace")
        name = next(line for line in said if "enter the code" in line).rpartition(" ")[2].rstrip(".")
        answer = browser.post("cli", {**hidden(page.text), "terminal": name})
        return answer.text.partition("<output>")[2].partition("</output>")[0]

    terms = SignInTerms(said.append, lambda _: False, code)
    made = signing_in.with_typed_code(stand.endpoint, terms)
    assert made.user_login == "grace"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "SLUICEGATE_URL": stand.endpoint,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(places.VENV / "bin" / "sluicegate"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    stored.save(made)
    who = run("whoami")
    assert (who.returncode, "grace (user 8)" in who.stdout) == (0, True), who.stderr
    assert run("history").returncode == 0
    assert "signed out grace" in run("logout").stdout
    assert run("whoami").returncode == 2
    assert whoami(stand, made.token).status_code == 401


def test_a_manager_ends_the_sessions_of_another_person(stand: Stand) -> None:
    manager, eve = signed_in(stand.board, "grace").session, signed_in(stand.board, "eve").session
    assert stand.http("DELETE", "/sessions/8", token=eve).status_code == 403
    ended = stand.http("DELETE", "/sessions/10", token=manager)
    assert (ended.status_code, ended.json()["ended"] >= 1) == (200, True)
    assert whoami(stand, eve).status_code == 401
