"""The board's own addresses: where a request came in, and where a person may be led.

Nothing here reads the header `Host`. `requestContext.domainName` is API Gateway's: the name by which it found
the API (developer guide, "Variables for data models", `$context.domainName`, read on 2026-11-26).
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlencode

from sluicegate.board.context import ROOT
from sluicegate.gateway.http import GatewayRequest

_DOMAIN: Final = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?", re.ASCII)
_WITHIN: Final = re.compile(
    r"(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?"
    r"(?:\?[A-Za-z0-9._~%=&+:,*-]*)?",
    re.ASCII,
)
_NOT_BACK: Final = ("login", "callback", "logout", "session", "assets")
"""Addresses of the board that lead nowhere: coming back to one would begin again, or show no page."""

MAX_BACK: Final = 1_000
"""Characters of an address within the board."""


def origin_of(request: GatewayRequest) -> str:
    """Return the origin under which the browser knows the board. Raises ValueError for what is no domain.

    It is https, but for a domain of this machine, which has no TLS.
    """
    domain = str(request.request_context.get("domainName") or "").lower()
    if not _DOMAIN.fullmatch(domain):
        raise ValueError("the event has no domain name")
    host = domain.partition(":")[0]
    return f"{'http' if _is_loopback(host) else 'https'}://{domain}"


def callback_of(request: GatewayRequest, issuer: str) -> str:
    """Return where the GitLab of that name sends people back to.

    Each has an address of its own: a code of one GitLab must never be redeemed at another one (RFC 9700,
    section 4.4, mix-up attacks).
    """
    return f"{origin_of(request)}{ROOT}/callback/{quote(issuer, safe='')}"


def back_within(text: str) -> str:
    """Return an address within the board as it may be led to, from what the request says; "" for any other.

    It is what follows `/v1/board/`, so it can be no other site's.
    """
    if len(text) > MAX_BACK or not _WITHIN.fullmatch(text):
        return ""
    return "" if re.split(r"[/?]", text, maxsplit=1)[0] in _NOT_BACK else text


def here(request: GatewayRequest) -> str:
    """Return the request's own address within the board, with its query."""
    pairs = [(name, value) for name, values in sorted(request.query.items()) for value in values]
    path = "/".join(quote(part, safe="") for part in request.path.get("proxy", "").split("/") if part)
    return back_within(path + (f"?{urlencode(pairs)}" if pairs else ""))


def to(back: str) -> str:
    """Return the path of an address within the board."""
    return f"{ROOT}/{back}" if back and not back.startswith("?") else f"{ROOT}{back}"


def is_same_origin(request: GatewayRequest) -> bool:
    """Return whether a page of the board sent this: both headers say so, which no other site can set.

    Browsers send `Origin` with every POST and `Sec-Fetch-Site` since 2020 (Safari: 2023).
    """
    origins = request.headers.get("origin", [])
    sites = request.headers.get("sec-fetch-site", [])
    return origins == [origin_of(request)] and sites == ["same-origin"]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
