"""The board's own calls of the API, over a real connection."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from sluicegate.board.api import ApiAnswer, Call, send


class Api(BaseHTTPRequestHandler):
    """Answers what the test says, and remembers what it was asked."""

    answer: ClassVar[tuple[int, bytes]] = (200, b"{}")
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = {"method": self.command, "path": self.path, "body": body}
        Api.asked.append(sent | {"bearer": self.headers["Authorization"], "cookie": self.headers["Cookie"]})
        self.send_response(Api.answer[0])
        self.send_header("Content-Length", str(len(Api.answer[1])))
        self.end_headers()
        self.wfile.write(Api.answer[1])

    def do_DELETE(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    Api.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_call_has_the_sessions_bearer_and_its_parts_are_no_path_of_their_own(origin: str) -> None:
    Api.answer = (202, b'{"id": "x"}')
    call = Call("POST", ("deployments", "../holds", "approve"), {"reason": "ok"})
    assert send(origin, "sgs_a_b", call) == ApiAnswer(202, {"id": "x"})
    [asked] = Api.asked
    assert asked["path"] == "/v1/deployments/..%2Fholds/approve"
    assert json.loads(asked["body"]) == {"reason": "ok"}
    assert (asked["bearer"], asked["cookie"]) == ("Bearer sgs_a_b", None)
    send(origin, "sgs_a_b", Call("DELETE", ("stages", "prod", "hold"), None, {"id": "A&b"}))
    assert (Api.asked[1]["path"], Api.asked[1]["body"]) == ("/v1/stages/prod/hold?id=A%26b", b"")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"a"'])
def test_an_answer_that_is_no_json_object_says_nothing(origin: str, body: bytes) -> None:
    Api.answer = (200, body)
    assert send(origin, "sgs_a_b", Call("POST", ("deployments",), {})) == ApiAnswer(0, {})


def test_a_lost_answer_is_no_refusal() -> None:
    answer = send("http://127.0.0.1:9", "sgs_a_b", Call("POST", ("deployments",), {}))
    assert (answer.status, answer.is_lasting) == (0, False)


def test_a_session_leaves_this_machine_over_tls_alone() -> None:
    assert send("http://board.example.com", "sgs_a_b", Call("GET", ("whoami",))).status == 0


@pytest.mark.parametrize(
    ("status", "lasting"), [(202, True), (403, True), (409, True), (401, False), (503, False)]
)
def test_what_is_asked_again(status: int, *, lasting: bool) -> None:
    assert ApiAnswer(status, {}).is_lasting is lasting
