"""HTTP with an issuer, within one deadline and without trusting the other side's manners.

Its key set is read here; `gitlab_api` tells it how deployments went.
"""

import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException
from threading import Thread
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

DEADLINE = 3.0  # seconds, for discovery and key set together
_LIMIT = 64 * 1024  # bytes of one answer
_MAX_DEPTH = 8
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class FetchError(Exception):
    """No usable answer. The message says why, in bounded and printable text."""


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status; the body has at most 64 KiB."""

    status: int
    headers: Message
    body: bytes

    @property
    def is_json(self) -> bool:
        """By its content type."""
        kind = self.headers.get_content_type()
        return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def exchange(
    url: str,
    method: str = "GET",
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """One request and its answer, within `seconds` altogether; no redirect is followed, no proxy used.

    Raises FetchError where there is no whole answer: what was sent may have been received all the same.
    """
    deadline = time.monotonic() + seconds
    with _as_fetch_error():
        return _exchange(urlsplit(url), method, deadline, headers or {}, body)


def key_set(issuer: str, *, seconds: float = DEADLINE) -> bytes:
    """The issuer's JWKS, by discovery (OpenID Connect Discovery 1.0, section 4), within `seconds` altogether.

    Raises FetchError unless discovery names this very issuer, and a `jwks_uri` on its scheme, host and port:
    whoever can answer in discovery's place must not be able to send us elsewhere for keys.
    """
    deadline = time.monotonic() + seconds
    with _as_fetch_error():
        origin = urlsplit(issuer)
        discovery = urlsplit(issuer.removesuffix("/") + "/.well-known/openid-configuration")
        document = loads(_get(discovery, deadline), max_depth=_MAX_DEPTH)
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise FetchError("discovery: `issuer` is not this issuer")
        jwks_uri = document.get("jwks_uri")
        if not isinstance(jwks_uri, str) or _origin(urlsplit(jwks_uri)) != _origin(origin):
            raise FetchError("discovery: `jwks_uri` is not on the issuer's scheme, host and port")
        return _get(urlsplit(jwks_uri), deadline)


@contextmanager
def _as_fetch_error() -> Iterator[None]:
    try:
        yield
    except StrictJsonError as error:
        raise FetchError(f"discovery: {error}") from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a URL that cannot be one
        raise FetchError(clean(f"{type(error).__name__}: {error}")) from error


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme, 0)


def _get(url: SplitResult, deadline: float) -> bytes:
    """The body of one answer: 200, JSON, small."""
    answer = _exchange(url, "GET", deadline, {}, None)
    if answer.status != 200:
        raise FetchError(f"status {answer.status}")
    if not answer.is_json:
        raise FetchError("not JSON by its content type")
    return answer.body


def _exchange(
    url: SplitResult, method: str, deadline: float, headers: Mapping[str, str], body: bytes | None
) -> Answer:
    """One request and its answer. http.client follows no redirect and knows no proxies."""
    scheme, host, port = _origin(url)
    if host is None or not (scheme == "https" or (scheme == "http" and host in _LOOPBACK)):
        raise FetchError("not an https URL")
    with _connect(scheme, host, port, deadline) as sock:
        connection = HTTPConnection(host, port)
        connection.sock = _TimedSocket(sock, deadline)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        own = {"Host": url.netloc, "Accept": "application/json"}
        connection.request(method, target, body=body, headers={**own, **headers})
        answer = connection.getresponse()
        content = answer.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise FetchError(f"more than {_LIMIT} bytes")
    return Answer(answer.status, answer.headers, content)


def _connect(scheme: str, host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the first address that answers; TLS is verified against the system's certificates."""
    addresses = _resolve(host, port, deadline)
    while True:
        # A share of the time for each, so that an address that swallows packets leaves some for the next.
        share = _left(deadline) / len(addresses)
        try:
            plain = socket.create_connection(addresses.pop(0), share)
            break
        except OSError:
            if not addresses:
                raise
    plain.settimeout(_left(deadline))
    return (
        plain if scheme == "http" else ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    )


def _resolve(host: str, port: int, deadline: float) -> list[tuple[str, int]]:
    """The host's addresses. getaddrinfo has no timeout: it runs in a thread that can be left behind."""
    found: Future[list[tuple[str, int]]] = Future()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result([(str(info[4][0]), port) for info in infos])
        except Exception as error:  # whatever it is, it is for the thread that waits
            found.set_exception(error)

    Thread(target=look_up, daemon=True).start()
    return found.result(_left(deadline))


class _TimedSocket:
    """What http.client needs of a socket, over at one deadline.

    A socket's own timeout starts anew with every byte: a server that sends one a second would hold us for
    hours.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        """Leaves the socket to whoever opened it: http.client closes early, and goes on reading the body."""


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline")
    return left
