"""The board of `board_site` on loopback, for real browsers. Its clock, table and gate file are the test's."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sluicegate.board.app import respond
from sluicegate.board.context import ROOT, BoardContext
from sluicegate.board.responses import proxy_response
from sluicegate.gateway.http import GatewayRequest
from stand.gitlab_oauth import Application
from support.board_site import BoardSite, board_site
from support.gitlab_site import BACK, CLIENT, CLIENT_SECRET


@dataclass
class LoopbackBoard:
    """A board that answers at `address`. `lock` keeps the test's changes and the requests apart."""

    site: BoardSite
    address: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)
    _context: tuple[Any, BoardContext] | None = None

    @property
    def context(self) -> BoardContext:
        """The context, as long as the gate file is the same: reads are held as in one process of Lambda."""
        gate = self.site.gateway.gate
        if self._context is None or self._context[0] is not gate:
            self._context = (gate, self.site.context)
        return self._context[1]

    def answer(self, request: GatewayRequest) -> dict[str, Any]:
        with self.lock:
            self.requests.append((request.method, request.path.get("proxy", "")))
            # The browser's time passes, and a read is held for seconds of it.
            self.site.gateway.clock.now += 0.5
            return proxy_response(respond(request, lambda: self.context))


@contextmanager
def loopback_board(**gate: Any) -> Iterator[LoopbackBoard]:
    """A board at `http://127.0.0.1:PORT/v1/board`, and its GitLab, which asks nobody for consent."""
    with board_site(**gate) as site:
        made = LoopbackBoard(site)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
        site.origin = f"http://127.0.0.1:{server.server_address[1]}"
        made.address = f"{site.origin}{ROOT}"
        back = f"{made.address}/callback/corp"
        site.site.gitlab.oauth.applications[CLIENT] = Application(
            CLIENT, CLIENT_SECRET, [back, BACK], trusted=True
        )
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(board: LoopbackBoard) -> type[BaseHTTPRequestHandler]:
    class OfBoard(BaseHTTPRequestHandler):
        """API Gateway's part: it matches the path, and knows its own domain."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            at = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not at.path.startswith(ROOT):
                self._send({"statusCode": 403, "headers": {}, "body": "{}"})
                return
            proxy = unquote(at.path.removeprefix(ROOT)).strip("/")
            headers: dict[str, list[str]] = {}
            for name, value in self.headers.items():
                headers.setdefault(name.lower(), []).append(value)
            request = GatewayRequest(
                self.command,
                "/board/{proxy+}" if proxy else "/board",
                {"proxy": proxy} if proxy else {},
                parse_qs(at.query, keep_blank_values=True),
                headers,
                body,
                "request",
                {"domainName": board.site.origin.removeprefix("http://"), "stage": "v1"},
            )
            self._send(board.answer(request))

        def _send(self, answer: dict[str, Any]) -> None:
            text = answer["body"] or ""
            body = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
            self.send_response(answer["statusCode"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            for value in answer.get("multiValueHeaders", {}).get("Set-Cookie", []):
                self.send_header("Set-Cookie", value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if answer["statusCode"] != 304:
                self.wfile.write(body)

    return OfBoard
