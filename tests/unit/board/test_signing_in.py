"""Signing in on the board, and the attacks on it: security.md#signing-in, security.md#sessions."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from botocore.exceptions import ClientError

from sluicegate.board.addresses import back_within
from sluicegate.board.responses import proxy_response
from sluicegate.store.errors import Contended
from sluicegate.store.sessions import SESSION_SECONDS, bearer_of, new_secret
from stand.gitlab import Fault
from support.board_site import ORIGIN, BoardSite, board_site, made_gate, two_issuers, without_sign_in
from support.gitlab_site import BACK
from support.signing import ISSUER


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site() as made:
        yield made


def test_a_person_signs_in_and_comes_back_to_the_page(at: BoardSite) -> None:
    browser = at.browser()
    answer = browser.sign_in("ada", "deployments/01KAQ3ZV6N8T4R1F0C2H7M5XWE?limit=20")
    assert (answer.status, answer.headers["Location"]) == (
        303,
        "/v1/board/deployments/01KAQ3ZV6N8T4R1F0C2H7M5XWE?limit=20",
    )
    assert browser.session
    assert (browser.session.user_id, browser.session.claims["user_login"]) == ("7", "ada")
    assert browser.session.claims["groups_direct"] == ("acme", "acme/platform")
    assert browser.session.expires_at == int(at.gateway.clock()) + SESSION_SECONDS
    assert [event for event, _ in at.notes] == ["signed_in"]


def test_the_cookies_are_of_this_host_alone_and_of_no_script(at: BoardSite) -> None:
    browser = at.browser()
    begun = browser.get("login?issuer=corp")
    brought = at.site.back(begun.headers["Location"])
    done = browser.get(f"callback/corp?{urlencode(brought)}")
    for line in (*begun.cookies, *done.cookies):
        name, *attributes = re.split("=[^;]*; |; ", line)
        assert name.startswith("__Host-")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(line.split("; ")), attributes
        assert "Domain" not in line


def test_the_way_back_is_made_of_what_api_gateway_says_and_never_of_the_host_header(at: BoardSite) -> None:
    query = parse_qs(urlsplit(at.browser().get("login?issuer=corp").headers["Location"]).query)
    assert query["redirect_uri"] == [BACK]


def test_every_gitlab_has_a_way_back_of_its_own(at: BoardSite) -> None:
    """A code of one GitLab must not be sent to another one: a mix-up attack (RFC 9700, 4.4)."""
    browser = at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    assert browser.get(f"callback/other?{urlencode(brought)}").status == 400
    at.gateway.gate = two_issuers(at.site)  # people sign in with both
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    assert browser.get(f"callback/other?{urlencode(brought)}").status == 400
    assert at.refused() == ["state", "issuer"]
    assert at.secrets.asked == []
    assert browser.session is None


@pytest.mark.parametrize("issuer", ["", "other", "nobody", "corp/../corp"])
def test_nobody_signs_in_with_an_issuer_that_has_no_application(at: BoardSite, issuer: str) -> None:
    assert at.browser().get(f"login?issuer={issuer}").status == 404


def test_the_state_of_another_sign_in_is_refused(at: BoardSite) -> None:
    victim, attacker = at.browser(), at.browser()
    mine = at.site.back(attacker.get("login?issuer=corp").headers["Location"], "eve")
    victim.get("login?issuer=corp")
    # The attacker's own code and state in the victim's browser would sign the victim in as the attacker.
    assert victim.get(f"callback/corp?{urlencode(mine)}").status == 400
    assert at.refused() == ["browser"]
    assert victim.session is None


def test_a_state_without_the_cookie_of_its_browser_is_refused(at: BoardSite) -> None:
    browser, other = at.browser(), at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    assert other.get(f"callback/corp?{urlencode(brought)}").status == 400
    assert browser.get(f"callback/corp?{urlencode(brought)}").status == 303  # nothing was used up


def test_a_callback_that_comes_twice_signs_in_once(at: BoardSite) -> None:
    browser = at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    first = browser.get(f"callback/corp?{urlencode(brought)}")
    bearer = browser.bearer
    again = browser.get(f"callback/corp?{urlencode(brought)}")
    assert (first.status, again.status) == (303, 400)
    assert browser.bearer == bearer
    assert at.refused() == ["state"]


def test_of_two_callbacks_at_once_one_redeems_the_code(at: BoardSite) -> None:
    browser = at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    real = at.gateway.store.tickets.find
    raced: list[bool] = []

    def find(kind: Any, secret: str) -> Any:
        found = real(kind, secret)
        if not raced:
            raced.append(True)
            assert browser.get(f"callback/corp?{urlencode(brought)}").status == 303
        return found

    at.gateway.store.tickets.find = find  # type: ignore[method-assign]
    assert browser.get(f"callback/corp?{urlencode(brought)}").status == 400
    assert len(at.secrets.asked) == 1


def test_a_code_that_is_replayed_with_a_new_state_is_refused(at: BoardSite) -> None:
    browser = at.browser()
    old = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    browser.get(f"callback/corp?{urlencode(old)}")
    thief = at.browser()
    state = parse_qs(urlsplit(thief.get("login?issuer=corp").headers["Location"]).query)["state"][0]
    assert thief.get(f"callback/corp?{urlencode({'code': old['code'], 'state': state})}").status == 400
    assert at.refused() == ["code"]
    assert thief.session is None


def test_a_stolen_code_that_was_not_used_is_of_no_use_in_another_sign_in(at: BoardSite) -> None:
    """PKCE: the code is for one verifier, which never leaves us."""
    stolen = at.site.back(at.browser().get("login?issuer=corp").headers["Location"])["code"]
    thief = at.browser()
    state = parse_qs(urlsplit(thief.get("login?issuer=corp").headers["Location"]).query)["state"][0]
    assert thief.get(f"callback/corp?{urlencode({'code': stolen, 'state': state})}").status == 400
    assert thief.session is None


def test_a_sign_in_is_over_after_ten_minutes(at: BoardSite) -> None:
    browser = at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    at.gateway.clock.now += 600
    assert browser.get(f"callback/corp?{urlencode(brought)}").status == 400


def test_two_tabs_may_sign_in_at_once(at: BoardSite) -> None:
    browser = at.browser()
    one, two = (at.site.back(browser.get("login?issuer=corp").headers["Location"]) for _ in range(2))
    assert browser.get(f"callback/corp?{urlencode(one)}").status == 303
    assert browser.get(f"callback/corp?{urlencode(two)}").status == 303


def test_no_session_from_before_the_sign_in_goes_on(at: BoardSite) -> None:
    """Session fixation: whatever cookie there was, the session is a new one, and the old one ends."""
    browser, other = at.browser(), at.browser()
    other.sign_in("eve")
    planted = other.bearer
    browser.cookies["__Host-sg"] = planted
    browser.sign_in("ada")
    assert browser.bearer != planted
    assert browser.session
    assert browser.session.user_id == "7"
    assert other.session is None


def test_two_cookies_of_one_name_are_none(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in()
    answer = browser.send("POST", "logout", headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"})
    assert answer.status == 303
    browser.sign_in()
    bearer = browser.bearer
    browser.cookies = {"x": f"1; __Host-sg={bearer}; __Host-sg=other"}
    assert browser.get("cli").headers["Location"].startswith("/v1/board/login?")


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example.net",
        "/evil.example.net",
        "\\\\evil.example.net",
        "\\evil.example.net",
        "https://evil.example.net",
        "javascript:alert(1)",
        "data:text/html,x",
        "../../evil",
        "deployments/../../x",
        "deployments//x",
        "./x",
        "@evil.example.net",
        "x\r\nSet-Cookie: a=b",
        "x#y",
        "x" * 1_001,
        "login?issuer=corp",
        "logout",
        "callback/corp",
        "session",
        "é",
        "x?y=<script>",
    ],
)
def test_a_sign_in_leads_nowhere_but_to_the_board(at: BoardSite, back: str) -> None:
    browser = at.browser()
    assert back_within(back) == ""
    assert browser.sign_in("ada", back).headers["Location"] == "/v1/board"


@pytest.mark.parametrize(
    "back", ["activity?stage=prod&page=2", "functions/orders-api", "holds", "cli?code=ABC", "?q=x"]
)
def test_it_leads_to_any_page_of_the_board(at: BoardSite, back: str) -> None:
    location = at.browser().sign_in("ada", back).headers["Location"]
    assert location == ("/v1/board?q=x" if back == "?q=x" else f"/v1/board/{back}")


def test_an_id_token_without_our_nonce_signs_nobody_in(at: BoardSite) -> None:
    for nonce in (None, "another"):
        at.site.gitlab.oauth.changed_claims = {"nonce": nonce}
        browser = at.browser()
        assert browser.sign_in().status == 400
        assert browser.session is None
    assert at.refused() == ["nonce", "nonce"]


@pytest.mark.parametrize("claim", ["jti", "project_id", "job_id", "pipeline_id"])
def test_what_has_a_jobs_claims_signs_nobody_in(at: BoardSite, claim: str) -> None:
    at.site.gitlab.oauth.changed_claims = {claim: "302"}
    assert at.browser().sign_in().status == 400
    assert at.refused() == [claim]


def test_an_email_that_is_verified_as_a_text_is_none(at: BoardSite) -> None:
    at.site.gitlab.oauth.changed_claims = {"email_verified": "true"}
    browser = at.browser()
    browser.sign_in()
    assert browser.session
    assert "email" not in browser.session.claims


def test_three_hundred_groups_fit(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in("many")
    assert browser.session
    assert len(browser.session.claims["groups_direct"]) == 300
    assert len(browser.bearer) == 70


def test_a_person_who_says_no_or_is_blocked_is_not_signed_in(at: BoardSite) -> None:
    browser = at.browser()
    denied = at.site.back(browser.get("login?issuer=corp").headers["Location"], allow="no")
    answer = browser.get(f"callback/corp?{urlencode(denied)}")
    assert (answer.status, b"You did not let GitLab" in answer.body) == (400, True)
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    at.site.gitlab.oauth.users["ada"].state = "blocked"
    assert browser.get(f"callback/corp?{urlencode(brought)}").status == 503
    assert browser.session is None


def test_a_denied_user_gets_no_session_and_loses_what_they_had(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in()
    assert browser.get("cli").status == 200
    denied = {"issuer": gate_issuer(at), "claims": {"user_id": ["7"]}}
    at.gateway.gate = made_gate(at.site, deny=[denied])
    assert browser.get("cli").status == 303
    assert at.browser().sign_in().status == 403
    assert at.refused() == ["denied"]


def gate_issuer(at: BoardSite) -> str:
    return next(one.url for one in at.gateway.gate.issuers.values() if one.name == "corp")


def test_a_session_ends_with_the_issuers_sign_in(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in()
    at.gateway.gate = without_sign_in(at.site)
    assert b"Nobody can sign in yet" in browser.get("cli").body


def test_a_gitlab_that_fails_is_said_to_fail_and_nothing_of_it_is_shown(at: BoardSite) -> None:
    browser = at.browser()
    brought = at.site.back(browser.get("login?issuer=corp").headers["Location"])
    at.site.gitlab.fault = Fault("answer", status=500, body="<b>secret details</b>")
    answer = browser.get(f"callback/corp?{urlencode(brought)}")
    assert answer.status == 503
    assert b"secret details" not in answer.body


def test_a_changed_secret_is_said_to_be_the_operators(at: BoardSite) -> None:
    at.secrets.value = "old"
    browser = at.browser()
    answer = browser.sign_in()
    assert (answer.status, b"application" in answer.body) == (503, True)
    assert at.refused() == ["client"]


def test_no_log_has_a_code_a_state_or_a_secret(at: BoardSite) -> None:
    browser = at.browser()
    begun = browser.get("login?issuer=corp")
    brought = at.site.back(begun.headers["Location"])
    browser.get(f"callback/corp?{urlencode(brought)}")
    at.site.gitlab.oauth.changed_claims = {"nonce": None}
    browser.sign_in()
    noted = json.dumps(at.notes)
    for secret in (brought["code"], brought["state"], browser.bearer, browser.cookies["__Host-sg-login"]):
        assert secret not in noted


# Out again


def test_signing_out_ends_the_session_here_and_everywhere_it_is_used(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in()
    bearer = browser.bearer
    answer = browser.post("logout", {})
    assert (answer.status, answer.headers["Location"]) == (303, "/v1/board/bye")
    assert browser.bearer == ""
    assert at.gateway.store.sessions.find(bearer) is None
    assert b"still signed in to GitLab" in browser.get("bye").body


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.net"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://board.example.com"},
        {"origin": f"{ORIGIN}.evil.example.net"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": ""},
    ],
)
def test_no_other_site_signs_a_person_out(at: BoardSite, headers: dict[str, str]) -> None:
    browser = at.browser()
    browser.sign_in()
    assert browser.post("logout", {}, **headers).status == 403
    assert browser.session


@pytest.mark.parametrize("address", ["login?issuer=corp", "callback/corp?state=x", "bye", "cli", "nothing"])
def test_every_answer_has_the_headers(at: BoardSite, address: str) -> None:
    headers = proxy_response(at.browser().get(address))["headers"]
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_the_cookie_of_another_stack_is_none_here(at: BoardSite) -> None:
    """It has the same form, and the same person in it."""
    browser = at.browser()
    browser.cookies["__Host-sg"] = bearer_of(gate_issuer(at), "7", new_secret())
    assert browser.get("cli").status == 303


# What the evidence has of it


def ids(user_id: str) -> dict[str, str]:
    return {"issuer": ISSUER, "user_id": user_id}


def test_the_evidence_says_who_signed_in_and_out_by_ids_alone(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in("grace")
    at.gateway.clock.now += 1
    browser.post("logout", {})
    began, ended = at.lines("signed_in", "session_ended")
    assert (began["by"], began["client"], began["gate"]) == (ids("8"), "browser", at.gateway.gate.digest)
    assert (ended["code"], ended["owner"], ended["session"]) == ("signed_out", ids("8"), began["session"])
    assert not re.search("grace|acme|@", json.dumps([began, ended]))


def test_a_denied_person_is_in_the_evidence_with_their_id(at: BoardSite) -> None:
    denied = {"issuer": gate_issuer(at), "claims": {"user_id": ["7"]}}
    at.gateway.gate = made_gate(at.site, deny=[denied])
    at.browser().sign_in()
    (line,) = at.lines("signed_in", "sign_in_refused")
    assert (line["kind"], line["code"], line["by"]) == ("sign_in_refused", "denied", ids("7"))


def test_a_token_that_signs_nobody_in_is_in_the_evidence_with_its_gitlab_alone(at: BoardSite) -> None:
    at.site.gitlab.oauth.changed_claims = {"job_id": "302"}
    at.browser().sign_in()
    (line,) = at.lines("signed_in", "sign_in_refused")
    assert (line["code"], line["check"], line["by"]) == ("token", "job_id", {"issuer": ISSUER})


def test_what_anybody_can_send_is_not_in_the_evidence(at: BoardSite) -> None:
    """An invented code, another one's state, a callback out of nothing: no GitLab stands behind them."""
    browser = at.browser()
    state = parse_qs(urlsplit(browser.get("login?issuer=corp").headers["Location"]).query)["state"][0]
    assert at.browser().get(f"callback/corp?{urlencode({'code': 'x', 'state': state})}").status == 400
    assert browser.get(f"callback/corp?{urlencode({'code': 'invented', 'state': state})}").status == 400
    assert browser.get("callback/corp?code=x&state=y").status == 400
    assert at.refused() == ["browser", "code", "state"]
    assert at.lines("signed_in", "sign_in_refused") == []


def test_a_refusal_that_cannot_be_noted_stays_one(at: BoardSite, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = {"issuer": gate_issuer(at), "claims": {"user_id": ["7"]}}
    at.gateway.gate = made_gate(at.site, deny=[denied])

    def fail(*_: Any) -> None:
        raise Contended

    monkeypatch.setattr(at.gateway.store.sessions, "refuse", fail)
    assert at.browser().sign_in().status == 403
    assert ("refusal_not_recorded", {"code": "denied", "error": "Contended"}) in at.notes


def test_nobody_is_signed_in_where_the_fact_cannot_be_written(
    at: BoardSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = at.gateway.client.transact_write_items

    def fail(**arguments: Any) -> Any:
        if any("fact#" in json.dumps(item) for item in arguments["TransactItems"]):
            error = {"Error": {"Code": "InternalServerError", "Message": "no"}}
            raise ClientError(error, "TransactWriteItems")  # type: ignore[arg-type]
        return real(**arguments)

    monkeypatch.setattr(at.gateway.client, "transact_write_items", fail)
    browser = at.browser()
    with pytest.raises(ClientError):
        browser.sign_in()
    assert browser.session is None
    assert at.gateway.store.sessions.of_user(ISSUER, "7") == []
