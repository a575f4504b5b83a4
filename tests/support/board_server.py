"""The board and the API of a simulation over real HTTP."""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sluicegate.board import app as board_app
from sluicegate.board.responses import proxy_response
from sluicegate.gateway import app as api_app
from sluicegate.gateway import http
from sluicegate.gateway.http import GatewayRequest
from support.board_site import BoardSite

RESOURCES = {
    "/whoami": "/whoami",
    "/session": "/session",
    "/sessions/": "/sessions/{user}",
    "/deployments": "/deployments",
}


@contextmanager
def serving(at: BoardSite) -> Iterator[str]:
    """The address of the API, up to and including `/v1`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_DELETE(self) -> None:
            self.answer()

        def answer(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path).removeprefix("/v1")
            headers: dict[str, list[str]] = {}
            for name, value in self.headers.items():
                headers.setdefault(name.lower(), []).append(value)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            context = {"domainName": f"127.0.0.1:{server.server_address[1]}", "stage": "v1"}
            query = parse_qs(url.query, keep_blank_values=True)
            if path.startswith("/board"):
                proxy = {"proxy": path.removeprefix("/board/")} if path != "/board" else {}
                request = GatewayRequest(
                    self.command, "/board/{proxy+}", proxy, query, headers, body, "r", context
                )
                self.send(proxy_response(board_app.respond(request, lambda: at.context)))
                return
            resource = next(RESOURCES[one] for one in sorted(RESOURCES, reverse=True) if path.startswith(one))
            user = {"user": path.rpartition("/")[2]} if resource.endswith("{user}") else {}
            request = GatewayRequest(self.command, resource, user, query, headers, body, "r", context)
            at.gateway.clock.now += 0.002
            answer = api_app.respond(request, lambda: at.gateway.context)
            self.send(http.proxy_response(answer, text=request.wants_text))

        def send(self, answer: Any) -> None:
            self.send_response(answer["statusCode"])
            content = b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
            many = answer.get("multiValueHeaders") or {}
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            for name, values in many.items():
                for value in values:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    application = next(iter(at.site.gitlab.oauth.applications.values()))
    application.redirect_uris = [f"{address}/board/callback/corp"]
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
