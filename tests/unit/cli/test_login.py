"""Signing in from a terminal: security.md#the-command-line."""

import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
import httpx2
import pytest

from sluicegate.store.grants import GRANT_SECONDS
from sluicegate_cli.auth import choosing, signing_in, stored
from sluicegate_cli.auth.signing_in import SignInTerms
from sluicegate_cli.auth.stored import StoredSession
from sluicegate_cli.errors import ApiError
from sluicegate_cli.output_file import CannotWrite
from stand.sign_ins import Browser, hidden
from support.board_server import serving
from support.board_site import BoardSite, board_site, session_rule
from support.cli_running import Run, running

URL = "https://deploy.example.com/v1"
RULES = (session_rule("readers", "read", "rollback", claims={"groups_direct": ["acme"]}),)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("SLUICEGATE_ID_TOKEN", "SLUICEGATE_TOKEN", "CI_JOB_ID", "SLUICEGATE_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return running(monkeypatch, capsys)


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site(rules=RULES) as made:
        yield made


@pytest.fixture
def url(at: BoardSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(at) as address:
        monkeypatch.setenv("SLUICEGATE_URL", address)
        yield address


def session(url: str = URL, **changes: str) -> StoredSession:
    made = {"token": f"sgs_{'A' * 22}_{'A' * 43}", "issuer": "https://gitlab.example.com", "user_id": "7"}
    return StoredSession(
        url=url, **{**made, "user_login": "ada", "expires_at": "2026-11-26T20:00:00Z"} | changes
    )


class Person:
    """A person with a browser, who signs in as one user and says yes to the terminal."""

    def __init__(self, url: str, username: str = "ada") -> None:
        self.browser = Browser(f"{url}/board")
        self.username = username
        self.notices: list[str] = []
        self.code = ""

    def open(self, address: str) -> bool:
        threading.Thread(target=self.confirm, args=(address,), daemon=True).start()
        return True

    def confirm(self, address: str) -> httpx2.Response:
        """Sign in where the board asks, compare, and press the button."""
        page = self.browser.sign_in_at(address, self.username)
        form = hidden(page.text)
        if 'name="terminal"' in page.text:
            form["terminal"] = self.shown().lower()
        answer = self.browser.post("cli", form)
        if found := re.search(r"<output>([A-Z2-7]{4}-[A-Z2-7]{4})</output>", answer.text):
            self.code = found[1]
            return answer
        return self.browser.follow(answer)

    def ask(self) -> str:
        self.confirm(f"{self.browser.board}/cli")
        return self.code.lower()

    def shown(self) -> str:
        """The code that the terminal shows."""
        return next(
            found[0] for one in self.notices if (found := re.search(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){2}", one))
        )

    @property
    def terms(self) -> SignInTerms:
        return SignInTerms(self.notices.append, self.open, self.ask)


# The whole way


def test_a_terminal_signs_in_with_a_browser_of_its_machine(at: BoardSite, url: str) -> None:
    person = Person(url)
    made = signing_in.with_browser(url, person.terms, seconds=30)
    assert (made.url, made.user_id, made.user_login) == (url, "7", "ada")
    found = at.gateway.store.sessions.find(made.token)
    assert found
    assert (found.client, found.user_id) == ("cli", "7")
    assert made.token != person.browser.session


def test_a_terminal_signs_in_with_a_browser_anywhere_by_typed_codes(at: BoardSite, url: str) -> None:
    made = signing_in.with_typed_code(url, Person(url, "grace").terms)
    assert made.user_login == "grace"
    assert at.gateway.store.sessions.find(made.token)


def test_a_mistyped_code_may_be_typed_again(url: str) -> None:
    person = Person(url)
    typed = iter(["abcd-2345", ""])

    def ask() -> str:
        return next(typed) or person.ask()

    terms = SignInTerms(person.notices.append, person.open, ask)
    assert signing_in.with_typed_code(url, terms).user_login == "ada"


def test_the_commands_use_the_session_until_logout(url: str, at: BoardSite, run: Run) -> None:
    stored.save(signing_in.with_typed_code(url, Person(url).terms))
    who = run("whoami", "--json")
    assert (who.code, json.loads(who.out)["claims"]["user_login"]) == (0, "ada")
    assert "ada (user 7)" in run("whoami").out
    done = run("logout")
    assert (done.code, "signed out ada" in done.out) == (0, True)
    again = run("whoami")
    assert (again.code, "sluicegate login" in again.err) == (2, True)
    assert run("logout").code == 0
    assert [event for event, _ in at.gateway.notes if event == "session_ended"] == ["session_ended"]


def test_a_session_that_was_ended_says_to_sign_in_again(url: str, run: Run) -> None:
    made = signing_in.with_typed_code(url, Person(url).terms)
    stored.save(made)
    ended = run("sessions", "end", "7")
    assert (ended.code, "2 sessions of user 7 ended" in ended.out) == (0, True)
    who = run("whoami")
    assert (who.code, "sluicegate login" in who.err) == (3, True)
    assert run("logout").code == 0


def test_each_command_of_a_person_is_a_request_of_its_own(url: str, run: Run) -> None:
    stored.save(signing_in.with_typed_code(url, Person(url).terms))
    for _ in range(2):
        asked = run("rollback", "orders", "dev", "--no-wait")
        assert (asked.code, "never been deployed" in asked.err) == (4, True)


# Attacks


def test_a_code_alone_gives_no_session(url: str) -> None:
    """A person who is talked into entering somebody's code has still to pass on the board's."""
    person = Person(url)
    person.notices.append("enter the code ABCD-EFGH-IJKL")
    person.confirm(f"{url}/board/cli")
    answer = httpx2.post(
        f"{url}/board/session", json={"verifier": "w" * 43, "code": person.code}, trust_env=False
    )
    assert answer.status_code == 401
    assert answer.json()["code"] == "sign_in_required"


def test_the_board_asks_only_a_person_who_has_just_signed_in(at: BoardSite, url: str) -> None:
    browser = Browser(f"{url}/board")
    browser.sign_in("ada", "corp")
    assert browser.get("cli").status_code == 200
    at.gateway.clock.now += GRANT_SECONDS + 1
    answer = browser.get("cli?code=ABCDEFGHIJKL")
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["location"]).query)["return"] == ["cli?code=ABCDEFGHIJKL"]


@pytest.mark.parametrize(
    "query",
    [
        "challenge=x&port=4711&state=" + "s" * 43,
        "challenge=" + "A" * 43 + "&port=80&state=" + "s" * 43,
        "challenge=" + "A" * 43 + "&port=4711",
        "challenge=" + "A" * 43 + "&port=4711@evil&state=" + "s" * 43,
        "challenge=" + "A" * 43 + "&port=%D9%A7000&state=" + "s" * 43,
        "challenge=" + "A" * 43 + "&port=4711&state=" + "s" * 43 + "&next=x",
        "code=ABCDEFGHIJK1",
        "port=4711",
        "code=ABCDEFGHIJKL&code=ABCDEFGHIJKL",
    ],
)
def test_what_no_terminal_sends_is_refused(url: str, query: str) -> None:
    browser = Browser(f"{url}/board")
    browser.sign_in("ada", "corp")
    assert browser.get(f"cli?{query}").status_code == 400


def test_a_yes_is_for_one_session_once_and_from_our_own_page(url: str) -> None:
    ada, eve = Browser(f"{url}/board"), Browser(f"{url}/board")
    ada.sign_in("ada", "corp")
    eve.sign_in("eve", "corp")
    form = hidden(ada.get("cli?code=ABCDEFGHIJKL").text)
    assert ada.post("cli", form, Origin="https://evil.example.net").status_code == 403
    assert ada.post("cli", form, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert eve.post("cli", form).status_code == 409  # and it is used up
    form = hidden(ada.get("cli?code=ABCDEFGHIJKL").text)
    assert ada.post("cli", form).status_code == 200
    assert ada.post("cli", form).status_code == 409  # a double click


def test_no_form_and_no_cookie_takes_a_session(url: str) -> None:
    browser = Browser(f"{url}/board")
    browser.sign_in("ada", "corp")
    assert browser.post("session", {"verifier": "v" * 43, "code": "x"}).status_code == 415
    for body in (
        {},
        {"verifier": "v", "code": "x"},
        {"verifier": "v" * 43, "code": "x" * 65},
        {"verifier": 7},
    ):
        assert httpx2.post(f"{url}/board/session", json=body, trust_env=False).status_code == 400


# The port


def test_the_port_takes_only_the_boards_answer() -> None:
    with signing_in._Listener("s" * 43) as listener:
        at = f"http://127.0.0.1:{listener.port}"
        wrong = ("", "?code=x", "?code=x&state=", f"?code=x&state={'t' * 43}", f"?state={'s' * 43}")
        for query in (*wrong, f"?code=x&code=y&state={'s' * 43}", f"x?code=x&state={'s' * 43}"):
            assert httpx2.get(f"{at}/{query}", trust_env=False).status_code == 404
        renamed = {"Host": "evil.example.net"}
        assert (
            httpx2.get(f"{at}/?code=x&state={'s' * 43}", headers=renamed, trust_env=False).status_code == 404
        )
        assert listener.wait(0.01) is None
        good = httpx2.get(f"{at}/?code=x&state={'s' * 43}", trust_env=False)
        assert (good.status_code, listener.wait(5)) == (200, "x")
        assert good.headers["content-security-policy"].startswith("default-src 'none'")


def test_nobody_waits_for_ever() -> None:
    terms = SignInTerms(lambda _: None, lambda _: False, str)
    with pytest.raises(ApiError) as failed:
        signing_in.with_browser(URL, terms, seconds=0.01)
    assert failed.value.document["code"] == "sign_in_required"


@pytest.mark.parametrize(
    ("environment", "platform", "has"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0", "SSH_CONNECTION": ""}, "linux", True),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "darwin", False),
    ],
)
def test_a_remote_shell_has_no_browser(environment: dict[str, str], platform: str, has: bool) -> None:
    assert signing_in.has_browser(environment, platform) is has


# The file


def test_a_session_is_kept_for_its_owner_alone(home: Path) -> None:
    old = os.umask(0)
    try:
        file = stored.save(session())
    finally:
        os.umask(old)
    assert file.is_relative_to(home / "sluicegate" / "sessions")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stored.load(URL) == session()
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_each_endpoint_has_its_own() -> None:
    stored.save(session())
    other = f"{URL.removesuffix('/v1')}:8443/v1"
    assert stored.load(other) is None
    stored.save(session(other, user_login="grace"))
    assert (stored.load(URL) or session()).user_login == "ada"
    assert stored.forget(other)
    assert not stored.forget(other)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o601])
def test_one_that_others_could_read_is_only_good_to_be_ended(mode: int) -> None:
    stored.save(session()).chmod(mode)
    with pytest.raises(click.UsageError, match="read or written by others"):
        stored.load(URL)
    assert stored.load(URL, to_end_it=True) == session()


def test_a_session_that_cannot_be_kept_says_where(home: Path) -> None:
    (home / "sluicegate").write_text("no directory")
    with pytest.raises(CannotWrite, match=r"cannot write .*/sluicegate/.*: "):
        stored.save(session())


def test_no_link_is_followed(home: Path) -> None:
    file = stored.save(session())
    elsewhere = file.rename(home / "elsewhere.json")
    file.symlink_to(elsewhere)
    with pytest.raises(click.UsageError):
        stored.load(URL)
    stored.save(session(user_login="grace"))
    assert not file.is_symlink()
    assert "ada" in elsewhere.read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense", '{"url": 7}', "x" * 20_000])
def test_a_file_that_has_no_session_is_said_to_have_none(content: str) -> None:
    file = stored.save(session())
    file.write_text(content)
    with pytest.raises(click.UsageError, match="has no session"):
        stored.load(URL)


def test_a_session_of_another_endpoint_is_not_sent_to_this_one() -> None:
    file = stored.save(session("https://other.example.com/v1"))
    file.rename(stored.path_of(URL))
    with pytest.raises(click.UsageError, match="has no session"):
        stored.load(URL)


def test_a_relative_state_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(stored.path_of(URL)).startswith(
        "/home/ada/.local/state/sluicegate/sessions/deploy.example.com-"
    )


# Which credential


def options(**changes: Any) -> choosing.AuthOptions:
    return choosing.AuthOptions(
        **{"way": "token", "token_file": None, "region": None, "role_arn": None} | changes
    )


def test_a_token_comes_before_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    stored.save(session())
    monkeypatch.setenv("SLUICEGATE_ID_TOKEN", "a.b.c")
    made: Any = choosing.authorization(URL, options(), lambda _: "")
    assert (made.token, made.needs_key) == ("a.b.c", False)
    monkeypatch.delenv("SLUICEGATE_ID_TOKEN")
    made = choosing.authorization(URL, options(), lambda _: "")
    assert (made.token, made.needs_key) == (session().token, True)
    made = choosing.authorization(URL, options(token_file=Path("x")), lambda _: "d.e.f")
    assert made.token == "d.e.f"


def test_a_job_never_uses_the_session_of_its_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell runner has the home directory of a user, who may have signed in there."""
    stored.save(session())
    monkeypatch.setenv("CI_JOB_ID", "302")
    with pytest.raises(click.UsageError, match="no ID token"):
        choosing.authorization(URL, options(), lambda _: "")


def test_no_text_shows_the_session() -> None:
    assert session().token not in repr(session())
