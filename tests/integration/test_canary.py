"""A canary in every secret place is found nowhere afterwards.

guarantees.md#7-no-secret-in-any-output., whichever way it went.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest

from stand import Stand, package
from stand.listener import Listener, listening
from stand.reports import table_items

pytestmark = pytest.mark.extended

JSON = {"Content-Type": "application/json"}
TEXT = {"Accept": "text/plain"}


def canary(place: str) -> str:
    return f"canary-{place}-{uuid4().hex}"


@dataclass
class LeakDetector:
    """Each secret by where it was put, and everything that the API answered: no secret may be in it."""

    secrets: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    deployments: list[str] = field(default_factory=list)

    def keep(self, place: str, secret: str) -> str:
        self.secrets[place] = secret
        return secret

    def keep_token(self, place: str, token: str) -> str:
        """Whole, and each part by itself: a signature alone suffices if the rest can be guessed."""
        for name, part in zip(("header", "payload", "signature"), token.split("."), strict=False):
            if name != "header":  # the same in every token
                self.keep(f"{place}, its {name}", part)
        return token

    def escaped(self, where: str, text: str) -> list[str]:
        return [f"{place} in {where}" for place, secret in self.secrets.items() if secret in text]


@pytest.fixture(scope="module")
def began() -> int:
    return int(time.time() * 1000)


@pytest.fixture(scope="module")
def listener(stand: Stand) -> Iterator[Listener]:
    with listening(stand) as listener:
        yield listener


@pytest.fixture(scope="module")
def leaks(stand: Stand, began: int, listener: Listener) -> Iterator[LeakDetector]:
    """Everything that a job can do, done with canaries, and everything that can go wrong with it."""
    assert began
    assert not listener.events
    leaks, function = LeakDetector(), f"orders-{uuid4().hex[:8]}"
    stand.create_function(function, env={"PASSWORD": leaks.keep("environment", canary("environment"))})
    try:
        succeed(stand, leaks, function)
        fail(stand, leaks, function)
        be_refused(stand, leaks, function)
        look(stand, leaks, function)
        yield leaks
    finally:
        stand.delete_function(function)


def call(stand: Stand, leaks: LeakDetector, method: str, path: str, **how: Any) -> httpx2.Response:
    answer = stand.http(method, path, **how)
    # What a presigned URL is answered with is for its caller, and for nobody else.
    if answer.status_code != 201:
        leaks.answers.append(f"{answer.headers}\n{answer.text}")
    return answer


def upload(stand: Stand, leaks: LeakDetector, function: str, token: str) -> str:
    """Announce and upload an artifact whose content is a canary too; its SHA-256."""
    data = package(f"x = {leaks.keep('artifact', canary('artifact'))!r}\n")
    sha256 = hashlib.sha256(data).hexdigest()
    body = {"function": function, "sha256": sha256, "size": len(data)}
    for headers in (TEXT, {}):
        result = call(stand, leaks, "POST", "/artifacts", json=body, token=token, headers=headers)
    url = result.json()["upload"]["url"]
    query = parse_qs(urlsplit(url).query)
    leaks.keep("presigned URL, its signature", query["X-Amz-Signature"][0])
    leaks.keep("presigned URL, its session", query["X-Amz-Security-Token"][0])
    put = httpx2.put(url, content=data, headers=result.json()["upload"]["headers"], trust_env=False)
    assert put.status_code == 200
    call(stand, leaks, "POST", "/artifacts", json=body, token=token)
    return sha256


def deploy(
    stand: Stand, leaks: LeakDetector, function: str, stage: str, sha256: str, token: str
) -> dict[str, Any]:
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}}
    for more in ({"dry_run": True}, {}, {}):
        answer = call(stand, leaks, "POST", "/deployments", json={**body, **more}, token=token)
    id_ = answer.json()["id"]
    leaks.deployments.append(id_)
    done = stand.wait(id_, token=token)
    leaks.answers.append(json.dumps(done))
    return done


def succeed(stand: Stand, leaks: LeakDetector, function: str) -> None:
    """Published; reused; and published again for an environment that changed."""
    token = leaks.keep_token("token", stand.token())
    sha256 = upload(stand, leaks, function, token)
    assert deploy(stand, leaks, function, "dev", sha256, token)["status"] == "succeeded"
    assert deploy(stand, leaks, function, "staging", sha256, token)["status"] == "succeeded"
    stand.client("lambda").update_function_configuration(
        FunctionName=function,
        Environment={"Variables": {"PASSWORD": leaks.keep("new environment", canary("environment"))}},
    )
    again = deploy(stand, leaks, function, "prod", sha256, token)
    assert "configuration changed" in json.dumps(again["timeline"])


def fail(stand: Stand, leaks: LeakDetector, function: str) -> None:
    """No such function; a target that does not publish; an artifact that never came."""
    token = leaks.keep_token("failing token", stand.token())
    nowhere = f"orders-none-{uuid4().hex[:8]}"
    done = deploy(stand, leaks, nowhere, "dev", upload(stand, leaks, nowhere, token), token)
    assert done["reason"]["code"] == "function_not_found"
    token = leaks.keep_token("denied token", stand.token())
    sha256 = upload(stand, leaks, function, token)
    with target_may_not(stand, "lambda:PublishVersion"):
        done = deploy(stand, leaks, function, "dev", sha256, token)
    assert done["reason"]["code"] == "target_denied"
    assert done["alias"]["outcome"] == "untouched"


@contextmanager
def target_may_not(stand: Stand, action: str) -> Iterator[None]:
    iam = stand.client("iam")
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_role_policy(RoleName="sluicegate-target", PolicyName="denied-by-test", PolicyDocument=policy)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName="sluicegate-target", PolicyName="denied-by-test")


def be_refused(stand: Stand, leaks: LeakDetector, function: str) -> None:
    """By every answer from 413 to 409, with canaries wherever a caller might put a secret by mistake."""
    token = leaks.keep_token("refused token", stand.token(project_id="999"))
    expired = int(time.time()) - 7200
    for place, bad in (
        ("expired token", stand.token(iat=expired, exp=expired + 600)),
        ("token for another audience", stand.token(aud="https://vault.example.com")),
        ("token with a bad signature", stand.token()[:-6] + "AAAAAA"),
        ("token that is none", canary("token") * 3),
        (
            "token in a header of a token",
            stand.gitlab.sign(json.dumps({"x": canary("claim")}), header=canary("header")),
        ),
    ):
        leaks.keep_token(place, bad)
        for method, path in (("GET", "/whoami"), ("POST", "/deployments"), ("GET", f"/functions/{function}")):
            call(stand, leaks, method, path, token=bad, **({"json": {}} if method == "POST" else {}))
    good = leaks.keep_token("token of malformed bodies", stand.token())
    body = leaks.keep("body", canary("body"))
    for content in (
        f'{{"password": "{body}"',
        f'["{body}"]',
        f'{{"action": "{body}"}}',
        f'{{"release": "{body}',
        body,
    ):
        call(stand, leaks, "POST", "/deployments", token=good, content=content.encode(), headers=JSON)
        call(stand, leaks, "POST", "/artifacts", token=good, content=content.encode(), headers=JSON)
    call(stand, leaks, "POST", "/deployments", token=good, content=body.encode() * 2000, headers=JSON)
    call(
        stand,
        leaks,
        "POST",
        "/deployments",
        token=good,
        content=body.encode(),
        headers={"Content-Type": "text/plain"},
    )
    whole = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": "0" * 64}}
    for request in (whole, {**whole, "stage": "prod"}):
        call(stand, leaks, "POST", "/deployments", token=token, json=request)
        call(stand, leaks, "POST", "/deployments", token=good, json=request)
    key = leaks.keep("idempotency key", canary("key"))
    call(stand, leaks, "POST", "/deployments", token=good, json=whole, headers={"Idempotency-Key": key})
    in_query = leaks.keep("query", canary("query"))
    call(stand, leaks, "GET", "/deployments", token=good, params={"cursor": in_query})
    call(stand, leaks, "GET", "/deployments", token=good, params={"status": in_query})
    call(stand, leaks, "GET", f"/functions/{in_query}", token=good)
    call(stand, leaks, "GET", f"/deployments/{in_query}", token=good)
    cookie = leaks.keep("cookie", canary("cookie"))
    call(stand, leaks, "GET", "/whoami", token=good, headers={"Cookie": cookie, "X-Gitlab-Token": cookie})


def look(stand: Stand, leaks: LeakDetector, function: str) -> None:
    """Everything that reads, as JSON and as text."""
    token = leaks.keep_token("looking token", stand.token())
    paths = [f"/deployments/{id_}" for id_ in leaks.deployments]
    for path in (*paths, "/deployments", f"/functions/{function}", "/functions", "/whoami", "/health"):
        for headers in ({}, TEXT):
            call(stand, leaks, "GET", path, token=token, headers=headers)


def test_there_are_canaries_everywhere(leaks: LeakDetector) -> None:
    """The search below finds what is there: a canary that was never put anywhere would pass too."""
    assert len(leaks.secrets) > 20
    assert len(leaks.deployments) == 5
    assert len(leaks.answers) > 60
    assert leaks.escaped("itself", leaks.secrets["environment"]) == ["environment in itself"]


def test_none_is_in_an_answer(leaks: LeakDetector) -> None:
    assert [found for answer in leaks.answers for found in leaks.escaped(answer[:200], answer)] == []


def test_none_is_in_a_log(stand: Stand, leaks: LeakDetector, began: int) -> None:
    logs = stand.client("logs")
    listed = logs.get_paginator("describe_log_groups").paginate()
    groups = [group["logGroupName"] for page in listed for group in page["logGroups"]]
    ours = [group for group in groups if "sluicegate" in group]
    assert {"/aws/lambda/sluicegate-gateway", "/aws/lambda/sluicegate-deployer"} <= set(ours)
    read = 0
    for group in ours:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=began - 1000)
        text = "\n".join(event["message"] for page in pages for event in page["events"])
        read += len(text)
        assert leaks.escaped(group, text) == []
    assert read > 10_000


def test_none_is_in_the_table(stand: Stand, leaks: LeakDetector) -> None:
    text = json.dumps(table_items(stand), default=str, ensure_ascii=False)
    assert all(id_ in text for id_ in leaks.deployments)
    assert leaks.escaped("the table", text) == []


def test_none_is_in_an_event(stand: Stand, leaks: LeakDetector, listener: Listener) -> None:
    for id_ in leaks.deployments:
        result = stand.http("GET", f"/deployments/{id_}", token=stand.token()).json()
        assert len(listener.until(id_, result["revision"])) >= result["revision"]
    assert leaks.escaped("an event", json.dumps(listener.events, ensure_ascii=False)) == []


def test_none_is_in_an_execution(stand: Stand, leaks: LeakDetector) -> None:
    states = stand.client("stepfunctions")
    for id_ in leaks.deployments:
        arn = f"{stand.state_machine_arn.replace(':stateMachine:', ':execution:')}:{id_}-1"
        described = states.describe_execution(executionArn=arn)
        pages = states.get_paginator("get_execution_history")
        history = list(pages.paginate(executionArn=arn, includeExecutionData=True))
        text = json.dumps([described, history], default=str, ensure_ascii=False)
        assert "TaskSucceeded" in text
        assert leaks.escaped(f"execution {id_}", text) == []


def test_none_names_an_object_or_is_written_on_one(stand: Stand, leaks: LeakDetector) -> None:
    s3 = stand.client("s3")
    versions = s3.list_object_versions(Bucket=stand.artifact_bucket)
    text = json.dumps(versions, default=str)
    for one in versions["Versions"][-5:]:
        head = s3.head_object(Bucket=stand.artifact_bucket, Key=one["Key"])
        text += json.dumps(head, default=str)
    assert leaks.escaped("the bucket", text) == []


def test_none_is_in_what_versions_and_aliases_say(stand: Stand, leaks: LeakDetector) -> None:
    """Descriptions that Sluicegate wrote to the function; its own environment is its own."""
    lambda_ = stand.client("lambda")
    functions = [name["FunctionName"] for name in lambda_.list_functions()["Functions"]]
    for name in (name for name in functions if name.startswith("orders-")):
        versions = lambda_.list_versions_by_function(FunctionName=name)["Versions"]
        said = [version["Description"] for version in versions]
        said += [alias["Description"] for alias in lambda_.list_aliases(FunctionName=name)["Aliases"]]
        assert leaks.escaped(name, "\n".join(said)) == []


def test_none_is_a_metric_or_in_the_stacks_own_configuration(stand: Stand, leaks: LeakDetector) -> None:
    metrics = stand.client("cloudwatch").list_metrics()["Metrics"]
    lambda_ = stand.client("lambda")
    own = [lambda_.get_function_configuration(FunctionName=name) for name in stand.own_functions()]
    assert leaks.escaped("metrics and configuration", json.dumps([metrics, own], default=str)) == []
