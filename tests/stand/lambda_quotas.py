"""A proxy before the emulator's Lambda with AWS's quotas: GetFunction 100 a second, all the rest 15.

The deployer finds it by botocore's own variable, `AWS_ENDPOINT_URL_LAMBDA`. How AWS counts is not documented:
here each quota is a token bucket that holds one second. Invocations have none.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx2

from stand.api import OFTEN, Stand

SHARED: Final = 15.0
GET_FUNCTION: Final = 100.0

_FUNCTION: Final = re.compile(r"/2015-03-31/functions/[^/]+")
_DEPLOYERS: Final = ("sluicegate-deployer", "sluicegate-rollback")
_NOT_SENT_ON: Final = ("connection", "content-length", "date", "server", "transfer-encoding")


@dataclass
class Bucket:
    """A quota of so many calls a second; `passed` and `throttled` have the times of calls."""

    rate: float
    passed: list[float] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    _tokens: float = 0.0
    _at: float = 0.0

    def take(self, *, lifted: bool = False) -> bool:
        now = time.monotonic()
        self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1 and not lifted:
            self.throttled.append(now)
            return False
        self._tokens = max(0, self._tokens - 1)
        self.passed.append(now)
        return True


@dataclass
class LambdaQuotas:
    """The two quotas. While they are `lifted`, calls are counted and all are taken."""

    lifted: bool = False
    shared: Bucket = field(default_factory=lambda: Bucket(SHARED))
    functions: Bucket = field(default_factory=lambda: Bucket(GET_FUNCTION))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, method: str, path: str) -> bool:
        """Count a call, and say whether AWS would take it."""
        path = path.partition("?")[0]
        if path.endswith("/invocations"):
            return True
        bucket = self.functions if method == "GET" and _FUNCTION.fullmatch(path) else self.shared
        with self.lock:
            return bucket.take(lifted=self.lifted)


@contextmanager
def lambda_quotas(stand: Stand) -> Iterator[LambdaQuotas]:
    """Let the deployer reach Lambda through the quotas, while the block runs."""
    quotas = LambdaQuotas()
    server = _Server(("127.0.0.1", 0), _handler(quotas, stand.aws_endpoint_url))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    before = {name: _configure(stand, name, {"AWS_ENDPOINT_URL_LAMBDA": url}) for name in _DEPLOYERS}
    try:
        yield quotas
    finally:
        for name, variables in before.items():
            _configure(stand, name, None, variables)
        server.shutdown()
        server.server_close()


def set_budget(stand: Stand, **numbers: float) -> None:
    """Write the stack's own budget of these calls: `spent_until` (epoch milliseconds), `rate` (a second)."""
    key = {"pk": {"S": f"budget#{stand.account_id}#{stand.region}"}, "sk": {"S": "bucket"}}
    item = key | {name: {"N": str(number)} for name, number in numbers.items()}
    stand.client("dynamodb").put_item(TableName=stand.table, Item=item)


def _configure(
    stand: Stand, name: str, more: dict[str, str] | None, variables: dict[str, str] | None = None
) -> dict[str, str]:
    """Set a function's environment, and return the one before."""
    lambda_ = stand.client("lambda")
    found = lambda_.get_function_configuration(FunctionName=name)
    before: dict[str, str] = found.get("Environment", {}).get("Variables", {})
    wanted = {**before, **more} if more is not None else variables or {}
    lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": wanted})
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=OFTEN)
    return before


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def _handler(quotas: LambdaQuotas, upstream: str) -> type[BaseHTTPRequestHandler]:
    client = httpx2.Client(base_url=upstream, timeout=60, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not quotas.allow(self.command, self.path):
                self._answer(
                    429,
                    {"x-amzn-ErrorType": "TooManyRequestsException", "Content-Type": "application/json"},
                    b'{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}',
                )
                return
            # The host is signed, and so is sent on as it is.
            answer = client.request(self.command, self.path, headers=dict(self.headers), content=data)
            self._answer(answer.status_code, dict(answer.headers), answer.content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 (the base class's names)

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _NOT_SENT_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Write no log."""

    return Handler
