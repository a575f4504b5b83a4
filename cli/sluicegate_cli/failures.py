"""Say why a request got no answer, in words that name the host and the cause.

A library's own text is used only where it contains nothing of the request: no token and no presigned URL.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx2

from sluicegate.text import clean

_NETWORK: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class UnusableResponse(httpx2.ReadError):
    """A response that cannot be read; the message is the command line's own."""


@dataclass(frozen=True)
class Failure:
    """Why there was no answer. `permanent`: trying again cannot help."""

    reason: str
    sentence: str
    permanent: bool = False


def failure_of(error: httpx2.TransportError, url: str) -> Failure:
    """Return the failure of a request to the URL, of which only host and port are named."""
    if isinstance(error, UnusableResponse):
        return Failure("lost", str(error), permanent=True)
    host = _host(url)
    permanent = isinstance(error, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError))
    if isinstance(error, httpx2.ProxyError):
        return Failure("proxy", f"the proxy {_proxy()}does not let it through: {clean(str(error), 100)}")
    if isinstance(error, (httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return Failure("timeout", f"the request timed out: no connection to {host}")
    if isinstance(error, httpx2.TimeoutException):
        return Failure("lost", f"the request timed out: {host} did not answer in time")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = clean(getattr(cause, "verify_message", "") or "it is not trusted", 150)
            return Failure("certificate", f"certificate verify failed for {host}: {why}", permanent=True)
        if isinstance(cause, ssl.SSLError):
            return Failure("tls", f"no TLS connection to {host}: {clean(str(cause), 100)}")
        if isinstance(cause, socket.gaierror):
            return Failure("dns", f"cannot resolve the host name {_proxied(url, host.partition(':')[0])}")
        if isinstance(cause, ConnectionRefusedError):
            return Failure("refused", f"{_proxied(url, host)} refused the connection")
        if isinstance(cause, OSError) and cause.errno in _NETWORK:
            return Failure("network", f"there is no route to {host}")
    if isinstance(error, httpx2.ConnectError):
        return Failure("network", f"no connection to {_proxied(url, host)}: {clean(str(error), 100)}")
    return Failure("lost", f"the connection to {host} was lost", permanent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it, the innermost cause last."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _host(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return clean(f"{parts.hostname or '?'}{port}", 100)


def _proxied(url: str, host: str) -> str:
    """Name the proxy too, if the environment has one: the name that fails may be its."""
    proxy = _proxy() if url.startswith("https:") else ""
    return f"{host} (or the proxy {proxy.strip()})" if proxy else host


def _proxy(environment: Mapping[str, str] = os.environ) -> str:
    """Return `HOST:PORT ` of the proxy for https, without its credentials; empty if there is none."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if value := environment.get(name):
            try:
                return f"{_host(value if '://' in value else f'http://{value}')} "
            except ValueError:
                return f"of {name} "
    return ""
