"""A small API on loopback for the command line's tests: sends prepared replies, and records the requests."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Entry, Reason, Requester, Status
from sluicegate.deployment.plan import Plan, Target, TrafficStep
from sluicegate.deployment.views import view

TOKEN = "eyJhbGciOiJSUzI1NiJ9.canary-of-the-token.c2lnbmF0dXJl"
SIGNATURE = "canary-of-the-signature"
ID = "01KAQ3ZV6N8T4R1F0C2H7M5XWE"
BEGAN = 1_790_000_000.0


@dataclass(frozen=True)
class Reply:
    """An answer: `document` as JSON or, where it is bytes, as it is. A lost one is never sent."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it arrived; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Answers each (method, path) with its replies in turn, the last one again and again; else 404.

    `clock` is what its `Date` says, in epoch seconds.
    """

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/v1"
        self.replies: dict[tuple[str, str], list[Reply]] = {}
        self.asked: list[ReceivedRequest] = []
        self.clock: Callable[[], float] = time.time

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self.replies[method, path] = list(replies)

    def calls(self, method: str, path: str) -> list[ReceivedRequest]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def take(self, asked: ReceivedRequest) -> Reply:
        self.asked.append(asked)
        replies = self.replies.get((asked.method, asked.path))
        if not replies:
            return Reply(404, problem(404, "not_found", "there is no such thing, or you may not see it"))
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def serving() -> Iterator[Server]:
    """A server for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.take(ReceivedRequest(self.command, path.removeprefix("/v1"), query, headers, body))
            if reply.lost:
                self.close_connection = True
                return
            data = (
                reply.document if isinstance(reply.document, bytes) else json.dumps(reply.document).encode()
            )
            self.send_response_only(reply.status)
            ours = {"Content-Length": str(len(data)), "Date": formatdate(server.clock(), usegmt=True)}
            for name, value in {**ours, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(http.server_address[1])
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Problem details as the API sends them."""
    return {
        "type": f"urn:sluicegate:problem:{code}",
        "title": f"title of {code}",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "request-1",
        **members,
    }


def accepted() -> Deployment:
    """A deployment that has just been accepted."""
    moment = timestamp(BEGAN)
    return Deployment(
        id=ID,
        revision=1,
        status=Status.ACCEPTED,
        action="deploy",
        function="orders-api",
        stage="prod",
        sha256="ab" * 32,
        plan=Plan(Target("000000000000", "eu-central-1"), "prod", (TrafficStep(100, 0),), "cd" * 32),
        rule="orders to prod",
        requested_by=Requester(
            "https://gitlab.example.com",
            "4213",
            "acme/orders",
            "7",
            "ada",
            "302",
            "574",
            "v1.4.0",
            "714a629c",
        ),
        created_at=moment,
        updated_at=moment,
        since=moment,
        timeline=(Entry(1, moment, Status.ACCEPTED, "accepted by rule 'orders to prod'"),),
    )


def publishing() -> Deployment:
    return accepted().changed(BEGAN + 0.3, "publishing", Status.PUBLISHING)


def succeeded() -> Deployment:
    return publishing().changed(
        BEGAN + 1.9,
        "alias prod serves version 42",
        Status.SUCCEEDED,
        version="42",
        weight=100,
        original=AliasState("41"),
        current=AliasState("42"),
        outcome=AliasOutcome.MOVED,
    )


def failed() -> Deployment:
    return publishing().changed(
        BEGAN + 0.9,
        "the function is not there",
        Status.FAILED,
        outcome=AliasOutcome.UNTOUCHED,
        reason=Reason("function_not_found", "there is no function orders-api"),
    )


def shown(deployment: Deployment, status: int = 200, **headers: str) -> Reply:
    """The deployment as an answer."""
    return Reply(status, document(deployment), headers)


def document(deployment: Deployment, **members: Any) -> dict[str, Any]:
    """The deployment as the API shows it; `members` replace what it has."""
    shape = view(deployment)
    for name, value in {
        "since": deployment.since,
        "until": None,
        "step": None,
        "approval": None,
        "smoke": False,
        "watch": None,
        "from": None,
    }.items():
        shape.setdefault(name, value)
    return {**shape, **members}


STEPS = [{"percent": 10, "bake": "5m"}, {"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "0s"}]


def baking(**members: Any) -> dict[str, Any]:
    """A deployment whose first step of three bakes: 10 percent, since 4.9 s, for five minutes."""
    deployment = publishing().changed(
        BEGAN + 4.9,
        "alias prod: 10% on version 42",
        Status.BAKING,
        version="42",
        weight=10,
        original=AliasState("41"),
        current=AliasState("41", {"42": 0.1}),
    )
    return document(deployment, **{"steps": STEPS, "step": 0, "until": timestamp(BEGAN + 304.9)} | members)


def awaiting(**members: Any) -> dict[str, Any]:
    """A deployment that awaits its approval since 0.2 s, for a day."""
    deployment = accepted().changed(
        BEGAN + 0.2, "a second person has to approve it", Status.AWAITING_APPROVAL
    )
    approval = {"expires": "24h", "decision": None, "by": None, "reason": None}
    waits = {"steps": STEPS, "approval": approval, "until": timestamp(BEGAN + 86_400.2)}
    return document(deployment, **waits | members)


def ended(status: Status, code: str, message: str, **members: Any) -> dict[str, Any]:
    """A deployment that moved its alias, and ended so after 65 seconds with the alias as it was found."""
    deployment = publishing().changed(
        BEGAN + 65.0,
        "alias prod serves what it served before",
        status,
        version="42",
        original=AliasState("41"),
        current=AliasState("41"),
        outcome=AliasOutcome.RESTORED,
        reason=Reason(code, message),
    )
    return document(deployment, **members)
