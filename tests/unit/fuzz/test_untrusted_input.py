"""Whatever comes from outside is read or refused: no crash, no 5xx, and nothing of it in a log.

What is mutated is a sound input, so that most examples get past the first check.
"""

import json
import re
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError, UndeliverableError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.gateway.app import respond
from sluicegate.gateway.http import GatewayRequest
from sluicegate.http_client import HttpResponse
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.oidc.identity import Identity, Issuer
from sluicegate.oidc.jwks import InvalidKeySet, Keyring, parse_jwks
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.oidc.token import verify
from sluicegate.text import clean
from sluicegate_gatefile import compile as gatefile
from support.deliveries import OTHER_EVENTS, SECRET, headers, pipeline, sign, tag_push
from support.fuzzing import fuzz
from support.hooks_simulation import CLEAR, Hooks, gate_file, hooked_gate, hooks_simulation
from support.signing import AUDIENCE, CLAIMS, ISSUER, NOW, jwk, jwks, signed, token

CANARY = "c4n4ry-that-no-log-may-have"

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=24)
    | st.sampled_from(["", "*", "0", "\x00", "\u202e", "../..", "${jndi:x}", "9" * 400, "é" * 300, CANARY])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def members(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Other values for a few members."""
    return st.dictionaries(st.sampled_from(sorted(names)), VALUES, min_size=1, max_size=3)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The same with a part cut out, doubled or replaced."""
    at, length = draw(st.integers(0, len(sound))), draw(st.integers(0, 12))
    middle = draw(
        st.binary(max_size=6) | st.sampled_from([b"", sound[at : at + length] * 2, b"\xff\xfe", b"}}"])
    )
    return sound[:at] + middle + sound[at + length :]


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "replace")


# Tokens

CORP = Issuer("corp", ISSUER, AUDIENCE, 3600, jwks(jwk()))
HEADER = {"alg": "RS256", "kid": "k1", "typ": "JWT"}


def verified(*authorization: str) -> Identity | InvalidToken:
    try:
        return verify(authorization, issuers={ISSUER: CORP}, keys=Keyring(), now=NOW)
    except InvalidToken as error:
        refused = error
    assert len(refused.detail) <= 400
    assert clean(refused.detail, 400) == refused.detail
    return refused


@fuzz(
    "tokens",
    claims=members(*CLAIMS, "x"),
    header=st.none() | members("alg", "kid", "typ", "crit", "jwk", "x"),
)
def test_a_signed_token_with_odd_members(claims: dict[str, Any], header: dict[str, Any] | None) -> None:
    found = verified("Bearer " + signed(encoded(HEADER | (header or {})), encoded(CLAIMS | claims)))
    if isinstance(found, Identity):
        assert found.issuer == ISSUER
        assert all(isinstance(value, str | tuple) for value in found.claims.values())


@fuzz(
    "tokens",
    data=damaged(token().encode()),
    scheme=st.sampled_from(["Bearer ", "bearer ", "Bearer", "", "Basic "]),
)
def test_a_damaged_token(data: bytes, scheme: str) -> None:
    text = data.decode("latin-1")
    found = verified(scheme + text)
    assert isinstance(found, InvalidToken) or text == token()
    if isinstance(found, InvalidToken):
        assert token()[-40:] not in str(found)


@fuzz("key sets", odd=members(*jwk(), "key_ops", "d", "x"), data=damaged(jwks(jwk(), jwk("k2"))))
def test_a_key_set_with_odd_members(odd: dict[str, Any], data: bytes) -> None:
    assert "k2" in parse_jwks(jwks(jwk() | odd, jwk("k2"))) or odd.get("kid") == "k2"
    try:
        found = parse_jwks(data)
    except InvalidKeySet:
        return
    assert found
    assert all(one.key_size >= 2048 for one in found.values())


# The gateway


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    with hooks_simulation(hooked_gate(tmp_path_factory.mktemp("gate"))) as made:
        yield made


def answered(hooks: Hooks, call: GatewayRequest) -> int:
    """The status of an answer; what is logged holds no canary and no secret."""
    hooks.noted.clear()
    answer = respond(call, lambda: hooks.context)
    logged = repr(hooks.noted)
    assert CANARY not in logged
    assert CLEAR not in logged
    assert SECRET.removeprefix("whsec_") not in logged
    assert not re.search(r"eyJ[\w-]{10,}\.", logged)
    return answer.status


BODIES = [tag_push(), pipeline(), *OTHER_EVENTS.values()]
ATTRIBUTES = sorted(pipeline()["object_attributes"])


@fuzz(
    "webhook bodies",
    body=st.sampled_from(BODIES),
    own=members(*tag_push(), *pipeline()),
    attributes=members(*ATTRIBUTES) | st.none(),
    event=st.sampled_from(["Tag Push Hook", "Pipeline Hook", CANARY]),
)
def test_a_delivery_with_odd_members(
    hooks: Hooks, body: dict[str, Any], own: dict[str, Any], attributes: dict[str, Any] | None, event: str
) -> None:
    whole = body | own
    if attributes and isinstance(body.get("object_attributes"), dict):
        whole["object_attributes"] = body["object_attributes"] | attributes
    deliver(hooks, encoded(whole), event)


@fuzz("webhook bodies", data=damaged(encoded(pipeline())) | st.binary(max_size=60))
def test_a_damaged_delivery(hooks: Hooks, data: bytes) -> None:
    deliver(hooks, data, "Pipeline Hook")


def deliver(hooks: Hooks, data: bytes, event: str) -> None:
    sent = headers({}, x_gitlab_event=event)
    path = {"name": "clear"}
    right = sent | {"x-gitlab-token": [CLEAR]}
    route = ("POST", "/webhooks/gitlab/{name}")
    assert answered(hooks, GatewayRequest(*route, path, {}, right, data, "r")) == 200
    wrong = sent | {"x-gitlab-token": [f"{CLEAR}{CANARY}"]}
    assert answered(hooks, GatewayRequest(*route, path, {}, wrong, data, "r")) == 401


HEADER_VALUES = st.lists(st.text(max_size=40) | st.sampled_from(["", "v1,", "1", "nan", CANARY]), max_size=2)


HEADER_NAMES = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "idempotency-key",
    "x-gitlab-instance",
]


@fuzz(
    "webhook headers",
    odd=st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_VALUES, min_size=1, max_size=3),
)
def test_a_delivery_with_odd_headers(hooks: Hooks, odd: dict[str, list[str]]) -> None:
    data = encoded(tag_push(object_kind="release"))
    sent = headers({}) | sign(data, at=hooks.simulation.clock()) | odd
    call = GatewayRequest("POST", "/webhooks/gitlab/{name}", {"name": "tags"}, {}, sent, data, "r")
    assert answered(hooks, call) in (200, 401)


# Gate files

SOUND = (
    gate_file()
    + """\
tests:
  - name: a test
    identity: {project_id: "4213", pipeline_source: push, ref_type: branch, ref: main, groups_direct: [acme]}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: true, rule: by job}
"""
)
LINES = SOUND.splitlines(keepends=True)
WORDS = [
    "",
    "*",
    "'",
    '"',
    "{",
    "[",
    "- ",
    ": ",
    "&a",
    "*a",
    "<<: ",
    "!!int ",
    "|",
    "\t",
    "\x00",
    "null",
    "1e999",
    "%TAG ",
]


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A sound gate file in which a few lines were lost, moved, or typed over."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        where = draw(st.integers(0, len(line)))
        word = draw(st.sampled_from(WORDS) | st.text(max_size=6))
        lines[at] = draw(
            st.sampled_from(
                ["", line * 2, "  " + line, line.lstrip(), line[:where] + word + line[where:], line[:where]]
            )
        )
    return "".join(lines)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gates")
    (made / "keys.json").write_bytes(jwks(jwk()))
    return made


@fuzz("gate files", text=edited())
def test_an_edited_gate_file(directory: Path, text: str) -> None:
    path = directory / "sluicegate.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    report = gatefile.check(path)
    errors = [found for found in report.diagnostics if found.severity == "error"]
    assert (report.gate is None) == bool(errors)
    for found in report.diagnostics:
        assert clean(found.message, 1_000) == found.message
        assert 1 <= found.line <= text.count("\n") + 2


# What GitLab answers


def refusal(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except (TransientError, PermanentError, UndeliverableError) as error:
        return error
    return None


@fuzz(
    "GitLab's answers",
    status=st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 599]),
    body=damaged(b'{"message": {"target_url": ["is blocked"]}, "id": 7}')
    | VALUES.map(encoded)
    | st.binary(max_size=40),
    after=st.text(max_size=20) | st.sampled_from(["60", "9" * 30, "-1"]),
)
def test_an_odd_answer_of_gitlab(status: int, body: bytes, after: str) -> None:
    message = Message()
    message["Retry-After"] = message["RateLimit-Reset"] = after.encode("ascii", "replace").decode()
    secret = "glpat-0123456789abcdef"

    class Secrets:
        def get_secret_value(self, **_: Any) -> dict[str, str]:
            return {"SecretString": secret}

    gitlab = GitLab("https://gitlab.example.com", "s", CachedSecrets(cast(Any, Secrets())), 10.0, lambda: 1.0)
    fields = {"state": "running", "target_url": "https://x", "pipeline_id": 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", lambda *_, **__: HttpResponse(status, message, body))
        calls: list[Callable[[], object]] = [
            lambda: gitlab.set_status("1", "a" * 40, fields, "main"),
            lambda: gitlab.create_deployment("1", {}),
            lambda: gitlab.update_deployment("1", 7, "success"),
            lambda: gitlab.find_deployment("1", {"environment": "e", "status": "s", "sha": "a", "ref": "b"}),
        ]
        for call in calls:
            error = refusal(call)
            assert 0 <= getattr(error, "retry_after", 0) <= 99_999
            detail = str(getattr(error, "detail", ""))
            assert secret not in detail
            assert clean(detail) == detail
