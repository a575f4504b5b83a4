"""Read the API's responses: bounded, and as errors that can be shown unchanged."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2

from sluicegate_cli.auth.refusals import refusal_of_gateway
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.failures import UnusableResponse

RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})
_CHUNK: Final = 256 * 1024  # bytes
_MAX_BODY: Final = 10_000_000  # bytes of a response; the limit of API Gateway
_ENCODING_HEADERS: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


@dataclass(frozen=True)
class ClientResponse:
    """A 2xx response: its status and its JSON object. `replayed`: the request had been made before.

    `pause` is the seconds after which the API wants to be asked again, 0 where it does not say.
    """

    status: int
    document: Mapping[str, Any]
    replayed: bool
    pause: float


def error_of(response: httpx2.Response, skew: float, *, signed: bool) -> ApiError:
    """Turn a response into an error. For those of proxies and API Gateway, build the document here.

    `skew`: seconds that the API's clock is ahead of this one. `signed`: the request was.
    """
    status = response.status_code
    document = json_of(response)
    error_type = response.headers.get("x-amzn-errortype", "")
    sent = document if isinstance(document, dict) else {}
    if signed and (refused := refusal_of_gateway(status, error_type, sent, skew=skew)):
        return ApiError(ExitCode.REFUSED, refused)
    said = sent.get("message", sent.get("Message"))
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        detail = f"the endpoint responded with {status} {response.reason_phrase}"
        document = {
            "status": status,
            "code": "unexpected_answer",
            "title": "Unexpected response",
            "detail": f"{detail}: {said}" if isinstance(said, str) else detail,
        }
    if status in (401, 403):
        return ApiError(ExitCode.REFUSED, document)
    rejected = 400 <= status < 500 and status not in RETRYABLE
    return ApiError(ExitCode.UNACCEPTABLE if rejected else ExitCode.UNAVAILABLE, document)


def read_limited(answer: httpx2.Response) -> httpx2.Response:
    """Read the response up to the size limit, so that no server can fill the memory."""
    body = bytearray()
    try:
        for chunk in answer.iter_bytes(_CHUNK):
            body += chunk
            if len(body) > _MAX_BODY:
                raise UnusableResponse("the response is too large")
    except httpx2.DecodingError:
        raise UnusableResponse("the response cannot be decompressed") from None
    # The body is decompressed now, so its encoding headers are no longer true.
    headers = [pair for pair in answer.headers.multi_items() if pair[0].lower() not in _ENCODING_HEADERS]
    reason = {name: answer.extensions[name] for name in ("reason_phrase",) if name in answer.extensions}
    return httpx2.Response(answer.status_code, headers=headers, content=bytes(body), extensions=reason)


def json_of(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def retry_after(response: httpx2.Response) -> float:
    """Return the seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3), or 0 without one."""
    value = response.headers.get("retry-after", "")
    try:
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
