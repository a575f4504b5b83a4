"""docs/reference/openapi.yaml against the running endpoint: no answer is missing there, and none is new."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from stand import Stand, package, webhooks
from stand.sign_ins import Browser

pytestmark = pytest.mark.extended

FILE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.yaml"

API = schemathesis.openapi.from_path(FILE)
API.config.update(rate_limit="40/s")  # of one method the API takes 50 a second, and answers 429 beyond that
FORM = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TEXT: Final = {"Accept": "text/plain"}
READING: Final = ("GET", "DELETE")
"""Methods without a body."""


def provoked(method: str, path: str, status: str) -> bool:
    """Not so: throttling, AWS or GitLab being away, what only another gate file than the stand's has, and the
    repetition of a signed hold.
    """
    needs_deny = method == "GET" and status == "403"
    needs_rule_beyond_functions = (path, status) == ("/artifacts", "422")
    needs_signature = (method, path, status) == ("POST", "/stages/{stage}/hold", "409")
    elsewhere = needs_deny or needs_rule_beyond_functions or needs_signature
    return status not in ("429", "503") and not elsewhere


@pytest.fixture(scope="module")
def authorization(stand: Stand) -> dict[str, str]:
    return {"Authorization": f"Bearer {stand.token()}"}


@API.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_the_answer_is_documented(
    case: schemathesis.Case[Any], stand: Stand, authorization: dict[str, str]
) -> None:
    if isinstance(case.body, dict) and isinstance(size := case.body.get("size"), float):
        case.body["size"] = int(size) if size.is_integer() else size  # 12.0 is an integer to JSON Schema only
    # API Gateway answers for methods that a path does not have, and the emulator not as AWS does.
    excluded = [unsupported_method]
    if case.operation.label == "POST /deployments":
        # No schema says that steps grow up to 100, how long a bake may be, or that `from` is another stage.
        excluded.append(positive_data_acceptance)
    case.call_and_validate(base_url=stand.endpoint, headers=authorization, excluded_checks=excluded)


@dataclass
class Calls:
    """Sends requests, and holds each answer against the document. `conflicts` are the codes of 409s."""

    stand: Stand
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    conflicts: set[str] = field(default_factory=set)

    def __call__(
        self, method: str, path: str, status: int, body: Any = None, *, of: str | None = None, **more: Any
    ) -> httpx2.Response:
        """`of` is the path as it is documented, where that is another."""
        answer = self.stand.http(method, path, body, **more)
        assert answer.status_code == status, answer.text
        documented = of or path.partition("?")[0]
        case = API[documented][method].Case(
            path_parameters=dict.fromkeys(("id", "name", "stage", "user"), "any")
        )
        case.validate_response(answer, checks=FORM)
        self.seen.add((method, documented, str(status)))
        if status == 409:
            self.conflicts.add(answer.json()["code"])
        return answer

    def deploy(self, status: int, body: Any, **more: Any) -> Any:
        """`POST /deployments`; the JSON document. Every job has a token of its own, unless it is given."""
        token = more.pop("token", None) or self.stand.token()
        return self("POST", "/deployments", status, body, token=token, **more).json()

    def conflict(self, code: str, body: Any, **more: Any) -> None:
        """A request for a deployment that is answered 409."""
        assert self.deploy(409, body, **more)["code"] == code

    def decide(self, what: str, id_: str, status: int, body: Any = None, **more: Any) -> httpx2.Response:
        """`POST /deployments/{id}/approve`, `/reject`, `/abort`."""
        of = f"/deployments/{{id}}/{what}"
        return self("POST", f"/deployments/{id_}/{what}", status, body or {}, of=of, **more)

    def hold(
        self, method: str, status: int, body: Any = None, *, stage: str = "approved", **more: Any
    ) -> Any:
        """`/stages/{stage}/hold`; the JSON document."""
        more.setdefault("token", self.stand.token())
        path = f"/stages/{stage}/hold"
        return self(method, path, status, body, of="/stages/{stage}/hold", **more)

    def ended(self, id_: str) -> dict[str, Any]:
        return self.stand.wait(id_, token=self.stand.token())


@dataclass(frozen=True)
class Release:
    """An artifact of a function, and the body that deploys it to dev."""

    function: str
    code: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.code).hexdigest()

    @property
    def announced(self) -> dict[str, Any]:
        return {"function": self.function, "sha256": self.sha256, "size": len(self.code)}

    def wanted(self, stage: str = "dev", **more: Any) -> dict[str, Any]:
        artifact = {"sha256": self.sha256}
        return {"action": "deploy", "function": self.function, "stage": stage, "artifact": artifact, **more}


@pytest.fixture(scope="module")
def function(stand: Stand) -> Iterator[str]:
    name = f"orders-{uuid4().hex[:8]}"
    stand.create_function(name)
    yield name
    stand.delete_function(name)


def test_each_documented_answer_can_be_had_and_is_as_documented(stand: Stand, function: str) -> None:
    calls = Calls(stand)
    first, second = (
        Release(function, package(f"def handler(event, context):\n    return {number}\n"))
        for number in (1, 2)
    )
    deployed = one_release(calls, first)
    stand.upload(function, second.code, token=stand.token())
    a_rollout(calls, first, second)
    two_approvals(calls, second)
    a_hold(calls, second)
    refusals(calls, deployed, first)
    a_webhook(calls)
    sessions(calls)

    documented = {
        (method.upper(), path, status)
        for path, item in API.raw_schema["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
    }
    assert calls.seen == {one for one in documented if provoked(*one)}
    schemas = (API.raw_schema["components"]["responses"][name] for name in ("Conflict", "Undecidable"))
    codes = (
        schema["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        for schema in schemas
    )
    # No stage of the stand has an order, and these calls are not signed.
    unasked = {"outdated", "session_used"}
    assert calls.conflicts == set().union(*codes) - unasked


def one_release(calls: Calls, release: Release) -> str:
    """Announced, uploaded, deployed to dev, and read in every way; the deployment's id."""
    stand, function = calls.stand, release.function
    token, announced, wanted = stand.token(), release.announced, release.wanted()

    calls("POST", "/artifacts", 201, announced, token=token, headers=TEXT)
    upload = calls("POST", "/artifacts", 201, announced, token=token).json()["upload"]
    calls.deploy(422, {**wanted, "artifact": {"sha256": "0" * 64}})
    httpx2.put(
        upload["url"], headers=upload["headers"], content=release.code, trust_env=False
    ).raise_for_status()
    calls("POST", "/artifacts", 200, announced, token=token)
    calls("POST", "/artifacts", 200, announced, token=token, headers=TEXT)

    calls.deploy(200, {**wanted, "dry_run": True}, token=token)
    accepted = calls.deploy(202, {**wanted, "release": "r1"}, token=token)
    calls.deploy(200, {**wanted, "release": "r1"}, token=token)
    calls.conflict("token_used", {**wanted, "release": "r2"}, token=token)
    assert calls.ended(accepted["id"])["status"] == "succeeded"
    for headers in ({}, TEXT):
        calls(
            "GET",
            f"/deployments/{accepted['id']}",
            200,
            of="/deployments/{id}",
            token=token,
            headers=headers,
        )
        calls("GET", "/deployments?limit=2", 200, token=token, headers=headers)
        calls("GET", "/functions", 200, token=token, headers=headers)
        calls("GET", f"/functions/{function}", 200, of="/functions/{name}", token=token, headers=headers)
        calls("GET", "/whoami", 200, token=token, headers=headers)
        calls("GET", "/health", 200, headers=headers)
    calls.deploy(412, {**wanted, "expect": {"version": "999"}})
    return str(accepted["id"])


def a_rollout(calls: Calls, first: Release, second: Release) -> None:
    """Promoted from dev; then a canary that is aborted while it bakes."""
    promote = {"action": "promote", "function": first.function, "stage": "canary", "from": "dev"}
    calls.conflict("source_changed", {**promote, "version": "999"})
    calls.deploy(200, {**promote, "version": "1", "dry_run": True})
    promoted = calls.deploy(202, {**promote, "artifact": {"sha256": first.sha256}})
    assert calls.ended(promoted["id"])["status"] == "succeeded"
    rollback = {"action": "rollback", "function": first.function, "stage": "canary"}
    calls.deploy(422, rollback)
    calls.deploy(200, {**rollback, "version": "1", "dry_run": True})

    slow = [{"percent": 5, "bake": "1h"}, {"percent": 10, "bake": "15s"}, {"percent": 100}]
    steps = {"type": "steps", "steps": slow}
    canary = calls.deploy(202, second.wanted("canary", strategy=steps), headers={"Idempotency-Key": "k"})
    calls.conflict("busy", second.wanted("canary"))
    token = calls.stand.token()
    calls.deploy(200, second.wanted("canary", dry_run=True, on_busy="supersede"), token=token)
    calls.decide("abort", canary["id"], 403, token=calls.stand.token(ref="main", ref_type="branch"))
    calls.decide("abort", canary["id"], 202, {"reason": "enough"}, token=token)
    calls.decide("abort", canary["id"], 200, token=token, headers=TEXT)
    assert calls.ended(canary["id"])["status"] == "aborted"
    calls.decide("abort", promoted["id"], 409, token=token)


def two_approvals(calls: Calls, release: Release) -> None:
    """One deployment that a second person approves, and one that is rejected."""
    stand, wanted = calls.stand, release.wanted("approved")
    grace = {"user_id": "8", "user_login": "grace", "pipeline_id": "600", "pipeline_source": "web"}
    approver = stand.token(ref="main", ref_type="branch", **grace)
    token = stand.token()
    waiting = calls.deploy(202, wanted, token=token, headers={"Idempotency-Key": "k"})["id"]
    calls.conflict("key_reused", {**wanted, "release": "r"}, token=token, headers={"Idempotency-Key": "k"})
    ada = stand.token(ref="main", ref_type="branch", **{**grace, "user_id": "7"})
    calls.decide("approve", waiting, 403, token=ada)
    calls.decide("reject", waiting, 403, token=approver)
    calls.decide("approve", waiting, 202, {"reason": "reviewed"}, token=approver)
    calls.decide("approve", waiting, 200, token=approver)
    calls.decide("reject", waiting, 409, token=token)
    assert calls.ended(waiting)["status"] == "succeeded"

    waiting = calls.deploy(202, wanted)["id"]
    calls.decide("approve", waiting, 409, token=approver)
    calls.decide("reject", waiting, 202, token=token)
    calls.decide("reject", waiting, 200, token=token, headers=TEXT)


def a_hold(calls: Calls, release: Release) -> None:
    """Hold, read, reject, release."""
    calls.hold("GET", 200)
    calls.hold("POST", 200, {"reason": "incident 77"})
    calls.hold("GET", 200, headers=TEXT)
    calls.conflict("held", release.wanted("approved"))
    calls.hold("DELETE", 200, headers=TEXT)
    calls.hold("GET", 404, stage="nowhere")
    for method in ("POST", "DELETE"):
        body = None if method in READING else {"reason": "incident 77"}
        calls.hold(method, 403, body, stage="prod")


def refusals(calls: Calls, deployed: str, release: Release) -> None:
    """What is answered before anything is looked up, and what a stranger gets."""
    stand, function = calls.stand, release.function
    deployment = f"/deployments/{deployed}"
    token, stranger = stand.token(), stand.token(project_id="9999", project_path="other/one")
    for method, asked, of in (
        ("POST", "/artifacts", "/artifacts"),
        ("POST", "/deployments", "/deployments"),
        ("GET", "/deployments", "/deployments"),
        ("GET", deployment, "/deployments/{id}"),
        ("POST", f"{deployment}/approve", "/deployments/{id}/approve"),
        ("POST", f"{deployment}/reject", "/deployments/{id}/reject"),
        ("POST", f"{deployment}/abort", "/deployments/{id}/abort"),
        ("GET", "/stages/dev/hold", "/stages/{stage}/hold"),
        ("POST", "/stages/dev/hold", "/stages/{stage}/hold"),
        ("DELETE", "/stages/dev/hold", "/stages/{stage}/hold"),
        ("GET", "/functions", "/functions"),
        ("GET", f"/functions/{function}", "/functions/{name}"),
        ("GET", "/whoami", "/whoami"),
    ):
        body: Any = None if method in READING else {}
        calls(method, asked, 401, body, of=of)
        calls(method, asked, 401, body, of=of, token="a.b.c", headers=TEXT)
        calls(method, asked, 400, body, of=of, token=token, params={"surely": "not"})
        if method not in READING:
            json = {"Content-Type": "application/json"}
            calls(method, asked, 413, of=of, content=b" " * 65_537, headers=json)
            calls(method, asked, 415, of=of, content=b"{}", headers={"Content-Type": "text/plain"})
    calls("POST", "/artifacts", 403, release.announced, token=stranger)
    calls.deploy(403, release.wanted(), token=stranger)
    calls.deploy(403, release.wanted("prod"), token=stand.token(ref_protected="false"))
    calls("GET", deployment, 404, of="/deployments/{id}", token=stranger)
    for what in ("approve", "reject", "abort"):
        calls.decide(what, deployed, 404, token=stranger)
    calls("GET", f"/functions/{function}", 404, of="/functions/{name}", token=stranger)


def sessions(calls: Calls) -> None:
    """A person who signed in on the board, and ends what they began there."""
    browser, of = Browser(calls.stand.board), "/sessions/{user}"
    for headers in ({}, TEXT):
        browser.sign_in("eve")
        calls("DELETE", "/sessions/10", 200, of=of, token=browser.session, headers=headers)
        calls("DELETE", "/session", 200, token=browser.session, headers=headers)
    browser.sign_in("eve")
    for path, documented in (("/session", "/session"), ("/sessions/10", of)):
        calls("DELETE", path, 400, of=documented, token=browser.session, params={"surely": "not"})
        calls("DELETE", path, 401, of=documented)
    calls("DELETE", "/session", 401, token="a.b.c", headers=TEXT)
    calls("DELETE", "/sessions/10", 401, of=of, token="sgs_nonsense", headers=TEXT)
    calls("DELETE", "/sessions/eve", 404, of=of, token=browser.session)
    calls("DELETE", "/sessions/7", 403, of=of, token=browser.session)


def a_webhook(calls: Calls) -> None:
    """Deliveries with a job's ID token, to the webhook of the stand's own gate file."""
    stand, path, json = calls.stand, "/webhooks/gitlab/orders-tags", {"Content-Type": "application/json"}
    sha, of = uuid4().hex + uuid4().hex[:8], "/webhooks/gitlab/{name}"
    pushed = webhooks.body("tag_push", stand.issuer, {"ref": "refs/tags/v9", "checkout_sha": sha})
    token, event = stand.token(ref="v9", sha=sha), {"X-Gitlab-Event": "Tag Push Hook"}
    for headers in (event, event | TEXT):
        calls("POST", path, 200, pushed, of=of, token=token, headers=headers)
    calls("POST", path, 400, pushed, of=of, token=token)
    calls("POST", path, 401, pushed, of=of, headers=event)
    calls("POST", path, 403, pushed, of=of, token=stand.token(), headers=event)
    calls("POST", "/webhooks/gitlab/nothing", 404, pushed, of=of, token=token, headers=event)
    calls("POST", path, 413, of=of, content=b" " * (512 * 1024 + 1), headers=json)
    calls("POST", path, 415, of=of, content=b"{}", headers={"Content-Type": "text/plain"})
