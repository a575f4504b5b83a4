"""docs/openapi.yaml against the running endpoint: what is documented is answered, and nothing else is."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from stand import Stand, package

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"

API = schemathesis.openapi.from_path(FILE)
FORM = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def provoked(method: str, path: str, status: str) -> bool:
    """Not so: throttling, AWS or GitLab being away, and what only another gate file than the stand's has."""
    needs_deny = method == "GET" and status == "403"
    needs_rule_beyond_functions = (path, status) == ("/artifacts", "422")
    return status not in ("429", "503") and not needs_deny and not needs_rule_beyond_functions


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
    case.call_and_validate(
        base_url=stand.endpoint, headers=authorization, excluded_checks=[unsupported_method]
    )


class Calls:
    """Sends requests, and holds each answer against the document."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.seen: set[tuple[str, str, str]] = set()

    def __call__(
        self, method: str, path: str, status: int, body: Any = None, *, of: str | None = None, **more: Any
    ) -> httpx.Response:
        """`of` is the path as it is documented, where that is another."""
        answer = self._stand.http(method, path, body, **more)
        assert answer.status_code == status, answer.text
        documented = of or path.partition("?")[0]
        case = API[documented][method].Case(path_parameters={"id": "any", "name": "any"})
        case.validate_response(answer, checks=FORM)
        self.seen.add((method, documented, str(status)))
        return answer


@pytest.fixture(scope="module")
def calls(stand: Stand) -> Calls:
    return Calls(stand)


@pytest.fixture(scope="module")
def function(stand: Stand) -> Iterator[str]:
    name = f"orders-{uuid4().hex[:8]}"
    stand.create_function(name)
    yield name
    stand.delete_function(name)


def test_each_documented_answer_can_be_had_and_is_as_documented(
    stand: Stand, calls: Calls, function: str
) -> None:
    token, code = stand.token(), package("def handler(event, context):\n    return 1\n")
    digest = hashlib.sha256(code).hexdigest()
    announced = {"function": function, "sha256": digest, "size": len(code)}
    wanted = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": digest}}
    text = {"Accept": "text/plain"}

    calls("POST", "/artifacts", 201, announced, token=token, headers=text)
    upload = calls("POST", "/artifacts", 201, announced, token=token).json()["upload"]
    calls("POST", "/deployments", 422, {**wanted, "artifact": {"sha256": "0" * 64}}, token=token)
    httpx.put(upload["url"], headers=upload["headers"], content=code, trust_env=False).raise_for_status()
    calls("POST", "/artifacts", 200, announced, token=token)
    calls("POST", "/artifacts", 200, announced, token=token, headers=text)

    calls("POST", "/deployments", 200, {**wanted, "dry_run": True}, token=token)
    accepted = calls("POST", "/deployments", 202, {**wanted, "release": "r1"}, token=token).json()
    calls("POST", "/deployments", 200, {**wanted, "release": "r1"}, token=token)
    calls("POST", "/deployments", 409, {**wanted, "release": "r2"}, token=token)
    path = f"/deployments/{accepted['id']}"
    stand.wait(accepted["id"], token=token)
    for headers in ({}, text):
        calls("GET", path, 200, of="/deployments/{id}", token=token, headers=headers)
        calls("GET", "/deployments?limit=2", 200, token=token, headers=headers)
        calls("GET", "/functions", 200, token=token, headers=headers)
        calls("GET", f"/functions/{function}", 200, of="/functions/{name}", token=token, headers=headers)
        calls("GET", "/whoami", 200, token=token, headers=headers)
        calls("GET", "/health", 200, headers=headers)
    calls("POST", "/deployments", 412, {**wanted, "expect": {"version": "999"}}, token=stand.token())

    for method, asked, of in (
        ("POST", "/artifacts", "/artifacts"),
        ("POST", "/deployments", "/deployments"),
        ("GET", "/deployments", "/deployments"),
        ("GET", path, "/deployments/{id}"),
        ("GET", "/functions", "/functions"),
        ("GET", f"/functions/{function}", "/functions/{name}"),
        ("GET", "/whoami", "/whoami"),
    ):
        body: Any = {} if method == "POST" else None
        calls(method, asked, 401, body, of=of)
        calls(method, asked, 401, body, of=of, token="a.b.c", headers=text)
        calls(method, asked, 400, body, of=of, token=token, params={"surely": "not"})
        if method == "POST":
            json = {"Content-Type": "application/json"}
            calls(method, asked, 413, of=of, content=b" " * 65_537, headers=json)
            calls(method, asked, 415, of=of, content=b"{}", headers={"Content-Type": "text/plain"})
    stranger = stand.token(project_id="9999", project_path="other/one")
    calls("POST", "/artifacts", 403, announced, token=stranger)
    calls("POST", "/deployments", 403, wanted, token=stranger)
    calls("POST", "/deployments", 403, {**wanted, "stage": "prod"}, token=stand.token(ref_protected="false"))
    calls("GET", f"/deployments/{accepted['id']}", 404, of="/deployments/{id}", token=stranger)
    calls("GET", f"/functions/{function}", 404, of="/functions/{name}", token=stranger)

    documented = {
        (method.upper(), path, status)
        for path, item in API.raw_schema["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
    }
    assert calls.seen == {one for one in documented if provoked(*one)}
