"""Check a request before its token is read and anything is parsed."""

from typing import Final

from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.problems import Problem

MAX_BODY: Final = 65_536
"""Bytes of a request's body."""


def check_size_and_type(request: GatewayRequest, limit: int = MAX_BODY) -> None:
    """Raise 413 if the body has more than `limit` bytes, 415 if it is not JSON by its content type."""
    if len(request.body) > limit:
        raise Problem(413, "too_large", f"the body has more than {limit} bytes")
    if request.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")
