"""Actions on the board, and the attacks on them: security.md#actions-on-the-board."""

import html
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest

from sluicegate.board.actions import MAX_FORM
from sluicegate.board.api import Call
from sluicegate.board.responses import BoardResponse
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.sessions import person_of
from sluicegate.store.intents import INTENT_SECONDS
from sluicegate.store.sessions import bearer_of, new_secret
from support.board_site import BoardSite, Browser, board_site, made_gate, session_rule
from support.gateway_simulation import APPROVERS, RELEASERS, Json, artifact, rule
from support.signing import ISSUER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

STEPS: Final = (TrafficStep(10, 300), TrafficStep(100, 0))
ASKS: Final = {"prod": Rollout(steps=STEPS, approval=3_600)}
PLAIN: Final = {"prod": Rollout(steps=STEPS)}
MANAGERS: Final = session_rule(
    "managers", "approve", "reject", "abort", "hold", "rollback", "promote", claims={"user_id": ["8"]}
)
WATCHERS: Final = session_rule("watchers", "abort", claims={"user_id": ["7"]})
RULES: Final = (
    RELEASERS,
    APPROVERS,
    MANAGERS,
    WATCHERS,
    rule("others", "deploy", claims={"project_id": ["9"]}),
)


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site(stages=ASKS, rules=RULES) as made:
        yield made


def grace(at: BoardSite) -> Browser:
    """A release manager, user 8, who has just signed in."""
    browser = at.browser()
    assert browser.sign_in("grace").status == 303
    return browser


def waiting(at: BoardSite) -> Deployment:
    return at.gateway.run_until(at.gateway.deploy(artifact(at.gateway, b"new")), "awaiting_approval")


def secret_of(page: BoardResponse) -> str:
    found = re.search(r'name="intent" value="([^"]+)"', page.body.decode())
    assert found, page
    return found[1]


def text(page: BoardResponse) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.body.decode()))


def pressed(at: BoardSite) -> list[Call]:
    """The calls that were no rehearsals."""
    return [one for one in at.calls if not (one.body or one.query).get("dry_run")]


def approve(deployment: Deployment) -> str:
    return f"deployments/{deployment.id}/approve"


# What works


def test_a_second_person_approves_and_the_page_says_exactly_what_will_happen(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    page = browser.get(approve(deployment))
    assert page.status == 200
    assert "orders prod: nothing → a new version, 10% for 5m, 100%" in text(page)
    assert "alias prod gets 10% for 5m, then 100% of the traffic on the new version" in text(page)
    assert at.gateway.now(deployment) == deployment
    answer = browser.post(approve(deployment), {"intent": secret_of(page), "reason": "numbers are fine"})
    assert (answer.status, answer.headers["Location"]) == (303, f"/v1/board/deployments/{deployment.id}")
    approval = at.gateway.now(deployment).approval
    assert approval is not None
    assert (approval.by.user_id, approval.by.via, approval.reason) == ("8", "session", "numbers are fine")
    assert at.gateway.finish(deployment).status is Status.SUCCEEDED


@pytest.mark.parametrize(("action", "status"), [("reject", Status.REJECTED), ("abort", Status.ABORTED)])
def test_a_person_ends_a_deployment(at: BoardSite, action: str, status: Status) -> None:
    deployment, browser = waiting(at), grace(at)
    address = f"deployments/{deployment.id}/{action}"
    page = browser.get(address)
    assert browser.post(address, {"intent": secret_of(page), "reason": "no"}).status == 303
    assert at.gateway.finish(deployment).status is status


def test_a_person_rolls_back_and_promotes(at: BoardSite) -> None:
    at.gateway.gate = made_gate(at.site, stages={"dev": Rollout(), **PLAIN}, rules=RULES)
    old, new = (artifact(at.gateway, code) for code in (b"old", b"new"))
    for sha256 in (old, new):
        at.gateway.release(sha256)
    browser = grace(at)
    page = browser.get("functions/orders/rollback/prod")
    assert "orders prod: 2 → 1, 100%" in text(page)
    done = browser.post("functions/orders/rollback/prod", {"intent": secret_of(page), "reason": "5xx"})
    assert done.status == 303
    back = at.gateway.store.deployments.get(done.headers["Location"].rpartition("/")[2])
    assert back
    assert (back.action, back.version, back.description) == ("rollback", "1", "5xx")
    assert at.gateway.finish(back).status is Status.SUCCEEDED
    at.gateway.release(new, stage="dev")
    address = "functions/orders/promote/prod?from=dev"
    page = browser.get(address)
    address = f"{address}&version=2"
    assert "orders prod: 1 → 2, 10% for 5m, 100%" in text(page)
    done = browser.post(address, {"intent": secret_of(page), "reason": "fixed"})
    assert done.status == 303
    forward = at.gateway.store.deployments.get(done.headers["Location"].rpartition("/")[2])
    assert forward
    assert (forward.action, forward.promoted_from, forward.version) == ("promote", "dev", "2")


def test_a_person_holds_and_releases_a_stage(at: BoardSite) -> None:
    browser = grace(at)
    page = browser.get("stages/prod/hold")
    assert "prod: hold orders*" in text(page)
    assert browser.post("stages/prod/hold", {"intent": secret_of(page), "reason": "freeze"}).status == 303
    [hold] = at.gateway.store.holds.of_stage("prod")
    assert hold.reason == "freeze"
    assert f"stages/prod/release/{hold.name}" in browser.get("holds").body.decode()
    address = f"stages/prod/release/{hold.name}"
    page = browser.get(address)
    assert browser.post(address, {"intent": secret_of(page)}).status == 303
    assert at.gateway.store.holds.of_stage("prod") == []


# Once


def test_pressed_twice_it_happens_once_and_answers_the_same(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    form = {"intent": secret_of(browser.get(approve(deployment))), "reason": "first"}
    one, two = browser.post(approve(deployment), form), browser.post(approve(deployment), form)
    assert (one.status, one.headers) == (two.status, two.headers)
    assert len(pressed(at)) == 1


def test_a_lost_answer_is_asked_for_again_by_the_same_key(at: BoardSite) -> None:
    at.gateway.gate = made_gate(at.site, stages=PLAIN, rules=RULES)
    for code in (b"old", b"new"):
        at.gateway.release(artifact(at.gateway, code))
    browser, address = grace(at), "functions/orders/rollback/prod"
    form = {"intent": secret_of(browser.get(address)), "reason": "5xx"}

    def lose(call: Call) -> None:
        at.lost = not (call.body or {}).get("dry_run") and len(pressed(at)) == 1

    at.before_call = lose
    page = browser.post(address, form)
    assert page.status == 503
    assert secret_of(page) == form["intent"]
    # The second time says another reason: what was recorded stands.
    again = browser.post(address, {**form, "reason": "another"})
    assert again.status == 303
    assert {str((call.body or {})["idempotency_key"]) for call in pressed(at)} == {
        str((pressed(at)[0].body or {})["idempotency_key"])
    }
    found = [at.gateway.store.deployments.get(one.id) for one in at.gateway.store.deployments.unfinished()]
    assert [(one.action, one.description) for one in found if one] == [("rollback", "5xx")]


def test_two_tabs_have_two_forms_and_the_second_says_that_it_is_done(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    first, second = (secret_of(browser.get(approve(deployment))) for _ in range(2))
    assert browser.post(approve(deployment), {"intent": first, "reason": "a"}).status == 303
    late = browser.post(approve(deployment), {"intent": second, "reason": "b"})
    assert late.status == 409
    assert len(pressed(at)) == 1


def test_a_moved_revision_shows_a_new_page_with_what_was_typed(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    page = browser.get(approve(deployment))
    moved = at.gateway.now(deployment).changed(at.gateway.clock(), "somebody looked")
    at.gateway.store.deployments.save(at.gateway.now(deployment), moved)
    answer = browser.post(approve(deployment), {"intent": secret_of(page), "reason": "typed at length"})
    assert answer.status == 409
    assert 'value="typed at length"' in answer.body.decode()
    assert pressed(at) == []
    assert secret_of(answer) != secret_of(page)


def test_a_revision_that_moves_under_the_press_is_refused_by_the_api(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    page = browser.get(approve(deployment))

    def move(call: Call) -> None:
        if not (call.body or {}).get("dry_run"):
            at.before_call = None
            now = at.gateway.now(deployment)
            at.gateway.store.deployments.save(now, now.changed(at.gateway.clock(), "somebody looked"))

    at.before_call = move
    form = {"intent": secret_of(page), "reason": "fine"}
    assert browser.post(approve(deployment), form).status == 409
    assert at.gateway.now(deployment).approval is None
    # The form is used up: it stays refused, whatever comes.
    assert browser.post(approve(deployment), form).status == 409
    assert len(pressed(at)) == 1


def test_an_abort_does_not_race_with_what_is_measured(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    address = f"deployments/{deployment.id}/abort"
    page = browser.get(address)
    now = at.gateway.now(deployment)
    at.gateway.store.deployments.save(now, now.changed(at.gateway.clock(), "looked"))
    assert browser.post(address, {"intent": secret_of(page), "reason": "now"}).status == 303


# Attacks


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.net"},
        {"origin": "null"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": ""},
        {"content_type": "text/plain"},
        {"content_type": "multipart/form-data; boundary=x"},
    ],
)
def test_a_form_of_another_site_does_nothing(at: BoardSite, headers: dict[str, str]) -> None:
    """With the victim's cookie, and even with an intent of the victim's own."""
    deployment, browser = waiting(at), grace(at)
    form = {"intent": secret_of(browser.get(approve(deployment))), "reason": "x"}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = browser.post(approve(deployment), form, **sent)
    assert answer.status == 403
    assert pressed(at) == []


def test_nothing_is_in_a_frame(at: BoardSite) -> None:
    from sluicegate.board.responses import proxy_response

    deployment, browser = waiting(at), grace(at)
    headers = proxy_response(browser.get(approve(deployment)))["headers"]
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_an_intent_is_of_one_session_one_action_and_an_hour(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    secret = secret_of(browser.get(approve(deployment)))
    other = grace(at)
    attempts: list[tuple[Browser, str, Json]] = [
        (other, approve(deployment), {"intent": secret, "reason": "x"}),
        (browser, f"deployments/{deployment.id}/reject", {"intent": secret, "reason": "x"}),
        (browser, "stages/prod/hold", {"intent": secret, "reason": "x"}),
        (browser, approve(deployment), {"intent": "x", "reason": "x"}),
        (browser, approve(deployment), {"reason": "x"}),
    ]
    for who, address, form in attempts:
        assert who.post(address, form).status == 409
    at.gateway.clock.now += INTENT_SECONDS
    again = browser.post(approve(deployment), {"intent": secret, "reason": "x"})
    assert again.status in (401, 409)
    assert pressed(at) == []


def test_a_form_that_is_too_long_or_repeats_a_field_is_no_form(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    secret = secret_of(browser.get(approve(deployment)))
    long = {"intent": secret, "reason": "x" * MAX_FORM}
    assert browser.post(approve(deployment), long).status == 409
    headers = {
        "origin": "https://board.example.com",
        "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded",
    }
    body = f"intent={secret}&intent={secret}&reason=x".encode()
    assert browser.send("POST", approve(deployment), body, headers).status == 409
    assert browser.post(approve(deployment), {"intent": secret, "reason": "x" * 257}).status == 422
    assert browser.post(approve(deployment), {"intent": secret, "reason": " "}).status == 422
    assert pressed(at) == []


def test_who_may_not_gets_no_button_and_the_api_decides(at: BoardSite) -> None:
    deployment, ada = waiting(at), at.browser()
    ada.sign_in("ada")
    page = ada.get(approve(deployment))
    assert page.status == 403
    assert 'name="intent"' not in page.body.decode()
    shown = ada.get(f"deployments/{deployment.id}").body.decode()
    assert f"{deployment.id}/abort" in shown
    assert f"{deployment.id}/approve" not in shown
    assert "hold" not in re.findall(r"stages/prod/(\w+)", ada.get("holds").body.decode())


def test_what_a_person_may_not_see_is_the_same_as_nothing(at: BoardSite) -> None:
    deployment = waiting(at)
    at.gateway.gate = made_gate(at.site, stages=ASKS, rules=(RELEASERS, APPROVERS))
    browser = grace(at)
    hidden = browser.get(approve(deployment))
    missing = browser.get(f"deployments/01K{'0' * 23}/approve")
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert hidden.status == 404


def test_the_cookie_of_another_stack_is_no_session(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    assert browser.get(approve(deployment)).status == 200
    # Well formed, and of the same person: another stack's table has it.
    browser.cookies["__Host-sg"] = bearer_of(ISSUER, "8", new_secret())
    assert browser.get(approve(deployment)).status == 401


def test_a_session_that_ends_while_typing_keeps_the_reason(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    secret = secret_of(browser.get(approve(deployment)))
    assert browser.session
    at.gateway.store.sessions.end(browser.bearer, person_of(at.gateway.gate, browser.session))
    asked = browser.post(approve(deployment), {"intent": secret, "reason": "looks right to me"})
    assert asked.status == 401
    assert "looks right" not in asked.body.decode()
    [back] = re.findall(r"return=([^\"&]+)", asked.body.decode())
    assert back == quote(f"{approve(deployment)}?kept={secret}", safe="/")
    browser.sign_in("grace", f"{approve(deployment)}?kept={secret}")
    page = browser.get(f"{approve(deployment)}?kept={secret}")
    assert 'value="looks right to me"' in page.body.decode()
    # Nobody else gets it, and the old form does nothing.
    assert browser.post(approve(deployment), {"intent": secret, "reason": "x"}).status == 409
    other = at.browser()
    other.sign_in("ada")
    assert "looks right" not in other.get(f"deployments/{deployment.id}/abort?kept={secret}").body.decode()
    assert pressed(at) == []


def test_approving_on_a_protected_stage_leads_through_gitlab_when_the_sign_in_is_old(at: BoardSite) -> None:
    at.gateway.gate = made_gate(at.site, stages=ASKS, rules=RULES, protected=("prod",))
    deployment, browser = waiting(at), grace(at)
    secret = secret_of(browser.get(approve(deployment)))
    at.gateway.clock.now += 16 * 60
    led = browser.get(approve(deployment))
    assert led.status == 303
    assert led.headers["Location"].startswith("/v1/board/login?issuer=corp&return=deployments")
    # A form's answer must lead nowhere else: Chromium holds redirects of forms to form-action.
    answer = browser.post(approve(deployment), {"intent": secret, "reason": "typed"})
    assert answer.status == 401
    assert f"kept%3D{secret}" in answer.body.decode()
    browser.sign_in("grace")
    page = browser.get(f"{approve(deployment)}?kept={secret}")
    assert 'value="typed"' in page.body.decode()
    assert browser.post(approve(deployment), {"intent": secret_of(page), "reason": "ok"}).status == 303


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "nothing"),
        ("GET", "no/such/page"),
        ("GET", "a/b/c/d/e/f"),
        ("GET", "deployments/x/approve"),
        ("GET", f"deployments/01K{'0' * 23}/deploy"),
        ("GET", "stages/prod/hold/all"),
        ("GET", "functions/a.b/promote/prod"),
        ("POST", "activity"),
        ("POST", "no/such/page"),
        ("DELETE", "functions/orders/rollback/prod"),
    ],
)
def test_no_session_is_read_for_what_is_no_address(at: BoardSite, method: str, address: str) -> None:
    """Anybody can send a cookie of the right form: what there is not costs no read."""
    forged = at.browser()
    forged.cookies["__Host-sg"] = bearer_of(ISSUER, "8", new_secret())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at.gateway, "store", None)
        answer = forged.send(method, address)
    assert answer.status == 404
    assert b"Sign out" not in answer.body


def test_a_session_is_read_once_for_a_page(at: BoardSite, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = at.browser()
    browser.sign_in("grace")
    found: list[str] = []
    find = at.gateway.store.sessions.find

    def finding(bearer: str) -> Any:
        found.append(bearer)
        return find(bearer)

    monkeypatch.setattr(at.gateway.store.sessions, "find", finding)
    # The last one is of an action's form, and does not say from where to promote.
    for address in ("holds", f"deployments/01K{'0' * 23}", "functions/orders/promote/prod"):
        found.clear()
        browser.get(address)
        assert found == [browser.bearer], address


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_looked_up_for_strangers(at: BoardSite, method: str) -> None:
    """Else anybody could make the table pay, and learn by the time that it takes."""
    stranger = at.browser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at.gateway.store, "versions", None)
        patch.setattr(at.gateway.store, "deployments", None)
        for address in (
            "functions/orders/promote/prod?from=dev",
            "functions/orders/rollback/prod",
            f"deployments/01K{'0' * 23}/approve",
            "stages/prod/hold",
        ):
            if method == "GET":
                assert stranger.get(address).status == 401
            else:
                assert stranger.post(address, {"intent": "x", "reason": "y"}).status == 401
    assert at.calls == []


@pytest.mark.parametrize(
    ("method", "status", "address"),
    [
        ("GET", 403, "functions/orders/promote/prod?from=dev"),
        ("GET", 403, "functions/orders/promote/prod?from=dev&version=1"),
        ("GET", 403, "functions/orders/rollback/prod"),
        ("GET", 403, "functions/orders/rollback/prod?version=1"),
        ("GET", 403, "stages/prod/hold"),
        ("POST", 404, "functions/orders/promote/prod?from=dev"),
        ("POST", 409, "functions/orders/promote/prod?from=dev&version=1"),
        ("POST", 409, "functions/orders/rollback/prod"),
        ("POST", 409, "stages/prod/hold"),
    ],
)
def test_nothing_is_looked_up_for_people_without_a_rule(
    at: BoardSite, method: str, status: int, address: str
) -> None:
    """They have signed in, and the API refuses them before it looks at anything."""
    eve = at.browser()
    eve.sign_in("eve")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at.gateway.store, "versions", None)
        patch.setattr(at.gateway.store, "deployments", None)
        if method == "GET":
            assert eve.get(address).status == status
        else:
            assert eve.post(address, {"intent": "x", "reason": "y"}).status == status
    assert pressed(at) == []


@pytest.mark.parametrize(
    ("user", "stages"), [("none", ["dev", "prod"]), ("8", ["prod"])], ids=["without a rule", "of prod alone"]
)
def test_a_page_does_not_tell_what_a_stage_serves_that_is_not_seen(
    at: BoardSite, user: str, stages: list[str]
) -> None:
    promoters = session_rule("promoters", "promote", claims={"user_id": [user]}, stages=stages)
    gate = made_gate(at.site, stages={"dev": Rollout(), **PLAIN}, rules=(RELEASERS, promoters))
    at.gateway.gate = gate
    browser, address = grace(at), "functions/orders/promote/prod?from=dev"
    pages = [browser.get(address)]
    for code in (b"a", b"b"):
        at.gateway.release(artifact(at.gateway, code), stage="dev")
        pages.append(browser.get(address))
    assert len({(page.status, page.body) for page in pages}) == 1
    assert "version=" not in pages[0].body.decode()
    assert f'href="/v1/board/{address}"' in html.unescape(pages[0].body.decode())


def test_who_is_denied_meanwhile_presses_nothing(at: BoardSite) -> None:
    deployment, browser = waiting(at), grace(at)
    secret = secret_of(browser.get(approve(deployment)))
    deny: Any = [{"issuer": "https://gitlab.example.com", "claims": {"user_id": ["8"]}}]
    at.gateway.gate = made_gate(at.site, stages=ASKS, rules=RULES, deny=deny)
    assert browser.post(approve(deployment), {"intent": secret, "reason": "x"}).status == 401
    assert pressed(at) == []
