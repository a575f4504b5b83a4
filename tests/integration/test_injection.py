"""Text of an attacker's choosing, wherever it is taken: it ends no line and adds no header."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from stand import Stand, package
from stand.claims import job_claims
from stand.reports import log_lines

# What a terminal or a reader of lines would act on; the last three a token's strings may not hold at all.
NASTY = "a\u2028b\u2029c\u202ed\u200be\u2066f\ufeffg\U000e0041h"
NASTIER = NASTY + "\r\ni\x1b[2Jj\x00k\x85l\tm"
MARKS = "\u2028\u2029\u202e\u200b\u2066\ufeff\U000e0041\r\x1b\x00\x85"
TEXT = {"Accept": "text/plain"}


@dataclass(frozen=True)
class Written:
    """A deployment whose every free text is nasty."""

    stand: Stand
    function: str
    token: str
    accepted: httpx2.Response
    done: dict[str, Any]

    def get(self, path: str, **params: str | int) -> tuple[Any, list[str]]:
        """An answer in both forms: its JSON, and its lines as the strictest reader would split them."""
        as_json = self.stand.http("GET", path, token=self.token, params=params)
        as_text = self.stand.http("GET", path, token=self.token, params=params, headers=TEXT)
        assert (as_json.status_code, as_text.status_code) == (200, 200)
        for answer in (as_json, as_text):
            assert not set(answer.text) & set(MARKS)
        return as_json.json(), as_text.text.splitlines()


@pytest.fixture(scope="module")
def began() -> float:
    return time.time()


@pytest.fixture(scope="module")
def written(stand: Stand, began: float) -> Iterator[Written]:
    assert began
    function = f"orders-{uuid4().hex[:8]}"
    stand.create_function(function)
    nasty = ("user_login", "project_path", "user_email", "namespace_path", "sha", "user_id", "environment")
    token = stand.token(**dict.fromkeys(nasty, NASTY), ref=f"v{NASTY}", sub=NASTY, **{f"x{NASTY}": NASTY})
    sha256 = stand.upload(function, package("one = 1\n"), token=token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    body |= {"release": NASTIER, "description": NASTIER}
    accepted = stand.http("POST", "/deployments", body, token=token)
    assert accepted.status_code == 202, accepted.text
    yield Written(stand, function, token, accepted, stand.wait(accepted.json()["id"], token=token))
    stand.delete_function(function)


def test_what_is_stored_is_clean(written: Written) -> None:
    assert written.done["status"] == "succeeded"
    texts = [written.done["release"], written.done["description"], *written.done["requested_by"].values()]
    texts = [text for text in texts if text is not None]
    assert all("\ufffd" in text for text in texts[:2])
    for text in texts:
        assert not set(text) & set(MARKS + "\n\t")
    key = {"pk": {"S": f"deployment#{written.done['id']}"}, "sk": {"S": "record"}}
    item = written.stand.client("dynamodb").get_item(TableName=written.stand.table, Key=key)["Item"]
    assert not set(json.dumps(item, ensure_ascii=False)) & set(MARKS)


def test_lines_for_shells_cannot_be_forged(written: Written) -> None:
    result, lines = written.get(f"/deployments/{written.done['id']}")
    assert len(lines) == len(result["timeline"])
    result, lines = written.get("/deployments", function=written.function)
    assert len(lines) == 1 + len(result["items"])
    assert {line.count("\t") for line in lines} == {8}
    result, lines = written.get(f"/functions/{written.function}")
    assert len(lines) == 1 + len(result["stages"])
    assert {line.count("\t") for line in lines} == {5}
    result, lines = written.get("/whoami")
    assert len(lines) == len(("via", "actor")) + len(result["claims"]) + len(result["rules"])


def test_a_refusal_that_repeats_claims_stays_on_its_lines(written: Written) -> None:
    """`nearest` gives the caller's own values; pretending to be a rule that matched is not among them."""
    stand = written.stand
    token = stand.token(ref=f"x{NASTY}", ref_protected=NASTY)
    body = {"action": "deploy", "function": "orders-x", "stage": "prod", "artifact": {"sha256": "0" * 64}}
    as_json = stand.http("POST", "/deployments", body, token=token)
    as_text = stand.http("POST", "/deployments", body, token=token, headers=TEXT)
    assert (as_json.status_code, as_text.status_code) == (403, 403)
    assert not set(as_json.text + as_text.text) & set(MARKS)
    assert len(as_text.text.splitlines()) == 1 + len(as_json.json()["nearest"])


@pytest.mark.parametrize("text", [True, False])
def test_a_refusal_that_repeats_names_stays_on_its_lines(text: bool, written: Written) -> None:
    stand, name = written.stand, f"{NASTIER}\naccepted"
    headers = TEXT if text else {}
    typed = {**headers, "Content-Type": "application/json"}

    def post(content: bytes) -> httpx2.Response:
        return stand.http("POST", "/deployments", token=written.token, content=content, headers=typed)

    def get(**params: str) -> httpx2.Response:
        return stand.http("GET", "/deployments", token=written.token, params=params, headers=headers)

    answers = [
        post(json.dumps({name: 1, "artifact": {name: 1}}).encode()),
        post(f'{{"{name}'.encode()),
        post(b'{"a\\u2028": 1, "a\\u2028": 1}'),
        get(**{name: "1"}),
        get(status=name),
        get(cursor=name),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert not set(answer.text) & set(MARKS)
        if text:
            lines = answer.text.splitlines()
            assert lines[0].startswith("invalid_request: ")
            assert all(": " in line for line in lines)
            assert not any(line.startswith("accepted") for line in lines)
        else:
            assert len(answer.text.splitlines()) == 1


SPLIT = "x%0d%0aSet-Cookie:%20forged=1%0d%0aLocation:%20https://attacker.example.com%0d%0a%0d%0aforged"


@pytest.mark.parametrize(
    "path",
    [
        f"/deployments/{SPLIT}",
        f"/functions/{SPLIT}",
        f"/deployments?cursor={SPLIT}",
        f"/deployments?release={SPLIT}",
        f"/deployments?{SPLIT}=1",
        f"/functions?stage={SPLIT}",
        f"/whoami?{SPLIT}",
    ],
)
def test_a_header_cannot_be_added(path: str, written: Written) -> None:
    for headers in ({}, TEXT):
        answer = written.stand.http("GET", path, token=written.token, headers=headers)
        # 403: the emulator reads an escape in a path before it looks for a route. API Gateway does not.
        assert answer.status_code in (200, 400, 403, 404)
        assert "set-cookie" not in answer.headers
        assert "attacker" not in str(answer.headers)
        assert not any(line.startswith(("Set-Cookie", "forged")) for line in answer.text.splitlines())


def test_headers_of_proxies_and_of_old_habits_change_nothing(written: Written) -> None:
    spoofed = {
        "X-Forwarded-Host": "attacker.example.com",
        "X-Forwarded-Prefix": "/x",
        "X-Original-URL": "/v1/health",
        "X-Rewrite-URL": "/v1/health",
        "X-HTTP-Method-Override": "DELETE",
        "X-Amzn-Trace-Id": f"Root={'x' * 300}",
    }
    path = f"/deployments/{written.done['id']}"
    answer = written.stand.http("GET", path, token=written.token, headers=spoofed)
    assert answer.headers["location"] == f"/v1{path}"
    assert answer.json() == written.done


def test_no_answer_is_kept_or_guessed_at(written: Written) -> None:
    for answer in (
        written.accepted,
        written.stand.http("GET", "/whoami", token=written.token),
        written.stand.http("GET", "/whoami"),
        written.stand.http("GET", "/whoami", headers={"Accept": "text/html", "Origin": "https://x.example"}),
        written.stand.http("GET", "/health"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("text", ["release", "description"])
@pytest.mark.parametrize("value", ["x" * 257, "", 7, ["x"], {"x": "y"}])
def test_a_label_that_is_none(text: str, value: Any, written: Written) -> None:
    body = {
        "action": "deploy",
        "function": written.function,
        "stage": "dev",
        "artifact": {"sha256": "0" * 64},
    }
    answer = written.stand.http("POST", "/deployments", {**body, text: value}, token=written.token)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"/{text}")


def test_an_event_in_the_log_is_one_line_of_json(written: Written, began: float) -> None:
    """After all of the above: a line that is not the gateway's own would be one that somebody else wrote."""
    for name in ("gateway", "watcher", "deployer"):
        messages = log_lines(written.stand, name, since=began)
        # Lambda's own lines are none of ours.
        ours = [text for text in messages if not text.startswith(("START ", "END ", "REPORT "))]
        assert messages
        for message in ours:
            assert isinstance(json.loads(message), dict)
            assert not set(message) & set(MARKS + "\n\t")


def test_a_token_cannot_bring_claims_that_look_like_others(stand: Stand) -> None:
    """Names that differ only in what cannot be seen are other names: no rule reads them."""
    claims = {**job_claims(stand.issuer, stand.audience, {"project_id": "999"}), "project_id\u200b": "4213"}
    result = stand.http("GET", "/whoami", token=stand.gitlab.sign(json.dumps(claims))).json()
    assert (result["project_id"], result["rules"]) == ("999", [])
