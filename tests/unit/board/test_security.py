"""Headers on every answer, and hostile text in every field."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import quote

import pytest

from sluicegate.board import app
from sluicegate.board.responses import BoardResponse, content_security_policy, proxy_response
from sluicegate.deployment.model import Deployment, Status
from sluicegate.store.codec import record
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving, serving_item
from support.board import FILES, Board
from support.board_history import History

HOSTILE: Final = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"`{{7*7}}\u202e\x1b\x00\n%0a"
)
"""As a release's name, and in every other field that a person or a program outside fills."""

TEMPLATES: Final = sorted((FILES / "templates").glob("*.html"))

REQUIRED: Final = {
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
}


def answers(board: Board, history: History) -> Iterator[Any]:
    """Answers of every kind."""
    for path in (
        *("", "activity", "holds", "delivery", "evidence", "nothing", "assets/nothing"),
        f"deployments/{history.baking.id}",
        "functions/orders",
        f"assets/{board.context.assets.name('board.css')}",
    ):
        yield board.proxied(path)
        yield board.proxied(path, hx_request="true")
    yield replace(board, viewer=None).proxied()
    yield replace(board, viewer=None).proxied("activity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "dispatch", None)
        yield board.proxied()
    yield board.proxied("nothing", "POST")


def test_every_answer_has_the_headers(board: Board, history: History) -> None:
    for answer in answers(board, history):
        headers = answer["headers"]
        assert headers.keys() >= REQUIRED
        assert headers["X-Frame-Options"] == "DENY"
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
        kept = headers["Cache-Control"]
        assert kept == "no-store" or (
            answer["statusCode"] == 200 and "text/html" not in headers["Content-Type"]
        )


def test_a_form_may_lead_elsewhere_only_where_its_page_says_so() -> None:
    assert "form-action 'self';" in content_security_policy()
    response = BoardResponse(200, form_targets=("http://127.0.0.1:4001",))
    policy = proxy_response(response)["headers"]["Content-Security-Policy"]
    assert "form-action 'self' http://127.0.0.1:4001;" in policy


class Page(HTMLParser):
    """What a browser would run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.found: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inside = tag
        self.found += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        self.found += [f"{tag} {name}" for name in given if name.startswith("hx-on") or name == "hx-vals"]
        if tag in ("style", "iframe", "object", "embed", "base", "template"):
            self.found.append(tag)
        if tag == "script":
            self.scripts.append(given.get("src") or "inline")
        for name in ("href", "src", "action", "hx-get"):
            address = given.get(name)
            if address and not address.startswith(("/v1/board", "https://", "#")):
                self.found.append(f"{tag} {name}={address}")
        if tag == "img" and not (given.get("src") or "").startswith("/v1/board/assets/"):
            self.found.append(f"img {given}")

    def handle_data(self, data: str) -> None:
        if self.inside == "script" and data.strip():
            self.found.append(f"script with {data[:40]!r}")

    def handle_endtag(self, _: str) -> None:
        self.inside = ""


def harmless(page: str) -> None:
    """Require that nothing is run but our own two files, and that what was hostile is text."""
    found = Page(page)
    assert found.found == []
    assert all(re.fullmatch(r"/v1/board/assets/[a-z.]+\.[0-9a-f]{16}\.js", one) for one in found.scripts)
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\x00" not in page


def poisoned(value: Any, kept: frozenset[str]) -> Any:
    """The same value with each text in it hostile, at any depth, but for the fields that are kept."""
    if isinstance(value, str) and not isinstance(value, Status):
        return HOSTILE
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: poisoned(getattr(value, field.name), kept)
            for field in fields(value)
            if field.name not in kept
        }
        return replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(poisoned(one, kept) for one in value)
    if isinstance(value, dict):
        return {f"{HOSTILE}{index}": poisoned(one, kept) for index, one in enumerate(value.values())}
    return value


KEPT: Final = frozenset(
    # What Sluicegate itself writes, in forms of its own.
    {"id", "status", "at", "created_at", "updated_at", "since", "finished_at", "traffic_since", "weights"}
    | {
        "stage",
        "region",
        "verdict",
        "rule_kind",
        "metric",
        "unclear",
        "better",
        "state",
        "outcome",
        "via",
        "actor",
    }
)


@pytest.fixture
def hostile(history: History, board: Board) -> Iterator[tuple[Board, Deployment]]:
    """A board on which everything that was there before has hostile text in every field."""
    store, at = history.at.store, history.at
    before = history.baking
    # By one who is vouched for by the known issuer, so that links are made.
    after = poisoned(before, KEPT)
    requester = replace(after.requested_by, issuer=before.requested_by.issuer)
    after = replace(
        after,
        function="orders",
        requested_by=requester,
        plan=replace(after.plan, target=before.plan.target, alias=before.plan.alias, steps=before.plan.steps),
    )
    store.deployments._table.put(record(after))
    serving = poisoned(next(iter(store.versions.serving("orders"))), KEPT | {"function", "account", "alias"})
    assert isinstance(serving, Serving)
    store.deployments._table.put(serving_item(serving))
    hold = Hold(
        "prod", HOSTILE, ("orders*",), HOSTILE, at.now(history.waiting).created_at, {"user_login": HOSTILE}
    )
    store.holds.place(hold)
    yield board, after
    store.holds.release(hold)
    store.deployments._table.put(record(before))


def test_hostile_text_is_text_in_every_field(hostile: tuple[Board, Deployment]) -> None:
    board, deployment = hostile
    for path in ("", "activity", "holds", "functions/orders", f"deployments/{deployment.id}"):
        page = board.text(path)
        harmless(page)
        assert "alert(1)" in page, path
        assert "{{7*7}}" in page, path
    harmless(board.text("delivery"))


@pytest.mark.parametrize(
    "name", ["search", "function", "person", "release", "stage", "status", "before", "page"]
)
def test_hostile_text_in_the_address_is_text(board: Board, name: str) -> None:
    for path in ("", "activity", "delivery"):
        harmless(board.text(f"{path}?{name}={quote(HOSTILE)}"))
        harmless(board.text(f"{path}?{name}={quote('javascript:alert(1)')}"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.name)
def test_templates_escape_everything(template: Any) -> None:
    text = template.read_text()
    for banned in (
        r"\|\s*safe\b",
        "autoescape",
        r"<style",
        r"\bstyle=",
        r"\son\w+=",
        "hx-on",
        "hx-vals",
        "javascript:",
    ):
        assert not re.search(banned, text), banned
    for script in re.findall(r"<script[^>]*>", text):
        assert 'src="{{ root }}/assets/' in script


def test_links_lead_to_gitlab_and_aws_alone(board: Board, history: History) -> None:
    page = board.text(f"deployments/{history.baking.id}")
    for address in re.findall(r'href="(https://[^"]+)"', page):
        assert address.startswith(
            (history.baking.requested_by.issuer, "https://eu-central-1.console.aws.amazon.com/")
        )
    assert page.count('rel="noreferrer noopener"') == len(re.findall(r'href="https://', page))
