"""What the board writes, against its role's policy in template.yaml: all of that, and nothing else.

A transaction needs the permissions of the writes in it (DynamoDB developer guide, "Using IAM with DynamoDB
transactions", read on 2026-11-26). Whether `dynamodb:LeadingKeys` has the keys of all its items then, or for
each write its own, is not documented: both are tried.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from sluicegate.oidc.pkce import challenge_of, terminal_code
from support.board_site import BoardSite, board_site, made_gate
from support.iam_model import allowed
from support.template import statements

TABLE: Final = "arn:aws:dynamodb:eu-central-1:111111111111:table/sluicegate"
_WRITES: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


def policy() -> dict[str, Any]:
    """The statements about the table, with its ARN."""
    found = []
    for statement in statements("BoardRole"):
        if "dynamodb:" in json.dumps(statement["Action"]):
            found.append({**statement, "Resource": TABLE})
    return {"Statement": found}


def may(action: str, *keys: str) -> bool:
    return allowed([policy()], f"dynamodb:{action}", TABLE, {"dynamodb:LeadingKeys": keys})


class Watched:
    """A client of DynamoDB with the board's role."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.writes: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        single = {"put_item": "PutItem", "update_item": "UpdateItem", "delete_item": "DeleteItem"}

        def call(**arguments: Any) -> Any:
            if name == "transact_write_items":
                written = [
                    (_WRITES[kind], (given.get("Key") or given["Item"])["pk"]["S"])
                    for item in arguments["TransactItems"]
                    for kind, given in item.items()
                ]
            elif name in single:
                key = arguments.get("Key") or arguments["Item"]
                written = [(single[name], key["pk"]["S"])]
            else:
                written = []
            everything = [key for _, key in written]
            for action, key in written:
                assert may(action, key), f"{action} of {key}"
                assert may(action, *everything), f"{action} beside {everything}"
            self.writes += written
            return real(**arguments)

        return call if callable(real) and not name.startswith("_") else real


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site() as made:
        yield made


@pytest.fixture
def watched(at: BoardSite) -> Watched:
    """The table's client, for all repositories of the board's store."""
    table = at.gateway.store.sessions._table
    client = Watched(table._client)
    table._client = client  # type: ignore[assignment]
    return client


def terminal(at: BoardSite) -> None:
    verifier = "v" * 43
    browser = at.browser()
    browser.sign_in()
    query = {"challenge": challenge_of(verifier), "port": "5000", "state": "s" * 22}
    form = browser.get(f"cli?{urlencode(query)}").body.decode()
    intent = form.partition('name="intent" value="')[2].partition('"')[0]
    given = browser.post("cli", {"intent": intent, "terminal": terminal_code(challenge_of(verifier))})
    code = parse_qs(urlsplit(given.headers["Location"]).query)["code"][0]
    body = json.dumps({"verifier": verifier, "code": code}).encode()
    answer = browser.send("POST", "session", body, {"content-type": "application/json"})
    assert answer.status == 200, answer.body


def signs_in_and_out(at: BoardSite) -> None:
    browser = at.browser()
    browser.sign_in()
    browser.sign_in()
    assert browser.post("logout", {}).status == 303


def floods(at: BoardSite) -> None:
    browser = at.browser()
    for _ in range(102):  # nobody's rule: it shares the hundred lines of strangers
        browser.sign_in("eve")
    assert browser.session


def is_refused(at: BoardSite) -> None:
    issuer = next(one.url for one in at.gateway.gate.issuers.values() if one.name == "corp")
    at.gateway.gate = made_gate(at.site, deny=[{"issuer": issuer, "claims": {"user_id": ["7"]}}])
    assert at.browser().sign_in().status == 403
    at.site.gitlab.oauth.changed_claims = {"nonce": None}
    assert at.browser().sign_in().status == 400
    assert not [event for event, _ in at.notes if event == "refusal_not_recorded"]


@pytest.mark.parametrize("story", [terminal, signs_in_and_out, floods, is_refused])
def test_the_role_is_enough(at: BoardSite, watched: Watched, story: Callable[[BoardSite], None]) -> None:
    story(at)
    assert [key for _, key in watched.writes if key.startswith("fact#")]


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("PutItem", "fact#01KAQ3ZV6N8T4R1F0C2H7M5XWE"),
        ("PutItem", "fact#hold#H1"),
        ("PutItem", "fact#refused#s"),
        ("UpdateItem", "fact#refusals#s"),
        ("PutItem", "fact#gate"),
        ("PutItem", "evidence"),
        ("UpdateItem", "evidence"),
        ("PutItem", "deployment#D"),
        ("UpdateItem", "hold#prod"),
        ("DeleteItem", "fact#sign-in#s"),
        ("DeleteItem", "fact#sign-ins#s"),
        ("DeleteItem", "session#s"),
        ("DeleteItem", "grant#s"),
        ("DeleteItem", "deployment#D"),
    ],
)
def test_and_is_for_nothing_else(action: str, key: str) -> None:
    assert not may(action, key)
    assert not may(action, "session#s", key)
