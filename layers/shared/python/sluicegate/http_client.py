"""An HTTP client for one bounded request: one deadline, a size limit, no redirects and no proxy.

The other side is not trusted: a slow, endless or malformed answer is an error after a known time.
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
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sluicegate.text import clean

MAX_BODY: Final = 64 * 1024
"""Bytes of a response's body."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class FetchError(Exception):
    """There is no usable response. The message says why, in bounded and printable text."""


class TooLargeError(FetchError):
    """The response is larger than it may be."""


@dataclass(frozen=True)
class HttpResponse:
    """A complete response of any status."""

    status: int
    headers: Message
    body: bytes


def exchange(
    url: str,
    method: str = "GET",
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    most: int = MAX_BODY,
) -> HttpResponse:
    """Send one request and return the response of at most `most` bytes, within `seconds` altogether.

    Raises FetchError if the response is incomplete; the server may have processed the request all the same.
    """
    deadline = time.monotonic() + seconds
    with _fetch_errors():
        return _exchange(urlsplit(url), method, deadline, headers or {}, body, most)


def get(url: str, *, seconds: float) -> bytes:
    """Return the body of a GET response with status 200, within `seconds`, as its origin has it now.

    A cache in between must ask the origin (RFC 9111, 5.2.1.4). What the body is, its content says: a bucket
    serves a file of any name as `binary/octet-stream`. Raises FetchError for every other response.
    """
    response = exchange(url, seconds=seconds, headers={"Cache-Control": "no-cache", "Pragma": "no-cache"})
    if 300 <= response.status < 400:
        raise FetchError(f"status {response.status}: a redirect, and none is followed")
    if response.status != 200:
        raise FetchError(f"status {response.status}")
    return response.body


def origin(url: str) -> tuple[str, str | None, int]:
    """Return the URL's scheme, host and port (the scheme's own where none is given). Raises ValueError."""
    return _origin(urlsplit(url))


def is_allowed(url: SplitResult) -> bool:
    """Return whether requests go there: over https, or to this machine. Raises ValueError."""
    scheme, host, _ = _origin(url)
    return host is not None and (scheme == "https" or (scheme == "http" and host in _LOOPBACK))


@contextmanager
def _fetch_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a malformed URL
        raise FetchError(clean(f"{type(error).__name__}: {error}")) from error


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme, 0)


def _exchange(
    url: SplitResult,
    method: str,
    deadline: float,
    headers: Mapping[str, str],
    body: bytes | None,
    most: int,
) -> HttpResponse:
    """Send one request. http.client follows no redirect and knows no proxies."""
    scheme, host, port = _origin(url)
    if host is None or not is_allowed(url):
        raise FetchError("not an https URL")
    with _connect(scheme, host, port, deadline) as sock:
        connection = HTTPConnection(host, port)
        connection.sock = _TimedSocket(sock, deadline)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        own = {"Host": url.netloc, "Accept": "application/json"}
        connection.request(method, target, body=body, headers={**own, **headers})
        response = connection.getresponse()
        content = response.read(most + 1)
    if len(content) > most:
        raise TooLargeError(f"more than {most} bytes")
    return HttpResponse(response.status, response.headers, content)


def _connect(scheme: str, host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address that answers; TLS is verified against the system's certificates."""
    addresses = _resolve(host, port, deadline)
    while True:
        # A share of the time for each, so that an address that drops packets leaves some for the next.
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
    """Return the host's addresses. getaddrinfo has no timeout: it runs in a thread that can be abandoned."""
    found: Future[list[tuple[str, int]]] = Future()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result([(str(info[4][0]), port) for info in infos])
        except Exception as error:  # every error is passed on to the waiting thread
            found.set_exception(error)

    Thread(target=look_up, daemon=True).start()
    return found.result(_left(deadline))


class _TimedSocket:
    """The part of a socket that http.client uses, with one deadline for all of it.

    A socket's own timeout restarts with every byte: a server that sends one byte a second could hold a
    request for hours.
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
        """Do nothing: http.client closes early and still reads the body. `_exchange` closes the socket."""


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
