"""The API's client: timeouts everywhere, bounded retries, and errors that can be shown as they are.

Every request may be sent again, because the same request again has one effect
(guarantees.md#5-one-request-one-effect). Neither the token nor a presigned URL is in any message, repr or
exception of this module.
"""

import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import click
import httpx2

import sluicegate
from sluicegate.text import clean
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode

_TRIES: Final = 6
_LONGEST_PAUSE: Final = 10.0  # seconds
_PATIENCE: Final = 120.0  # seconds of pauses for one request, Retry-After included
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_COARSE: Final = 1.5  # seconds by which `Date` may be off
_CHUNK: Final = 256 * 1024  # bytes
_LARGEST: Final = 10_000_000  # bytes of an answer; API Gateway sends no more
_PACKING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_AGENT: Final = {"User-Agent": f"sluicegate/{sluicegate.__version__}"}

# API Gateway ends a call after 29 s, and `wait` is at most 20 s.
_TIMEOUT: Final = httpx2.Timeout(connect=5, read=32, write=30, pool=5)
_UPLOAD_TIMEOUT: Final = httpx2.Timeout(connect=5, read=60, write=60, pool=5)


def _refused(response: httpx2.Response) -> ApiError:
    """The answer as an error. Proxies and API Gateway do not speak RFC 9457: theirs get a document here."""
    status = response.status_code
    document = _json(response)
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        said = document.get("message") if isinstance(document, dict) else None
        detail = f"the endpoint answered {status} {response.reason_phrase}"
        document = {
            "status": status,
            "code": "unexpected_answer",
            "title": "Not an answer of the API",
            "detail": f"{detail}: {said}" if isinstance(said, str) else detail,
        }
    if status in (401, 403):
        return ApiError(ExitCode.REFUSED, document)
    rejected = 400 <= status < 500 and status not in _AGAIN
    return ApiError(ExitCode.REJECTED if rejected else ExitCode.UNAVAILABLE, document)


def not_uploaded(detail: str, exit_code: ExitCode) -> ApiError:
    """The error of an upload that did not end well."""
    return ApiError(exit_code, {"code": "upload_failed", "title": "Not uploaded", "detail": detail})


@dataclass(frozen=True)
class ApiResponse:
    """A 2xx answer: its status, and the object that it carries."""

    status: int
    document: Mapping[str, Any]
    replayed: bool


class _Unusable(httpx2.ReadError):
    """An answer that cannot be read; its message is ours."""


class ApiClient:
    """Calls the API, and uploads to where it says. `notice` is told each time it tries again.

    Without a token, none is sent. `tries` is how often one request is sent at most.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        notice: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        tries: int = _TRIES,
    ) -> None:
        self._most = tries
        self._url = url
        self._token = token
        self._notice = notice
        self._sleep = sleep
        self._ahead = 0.0  # seconds that the API's clock is before ours
        # A loopback endpoint is spoken to in the clear: never through a proxy of the environment.
        # No redirect is followed: it would carry the token to a host that nobody configured.
        self._http = httpx2.Client(
            timeout=_TIMEOUT, trust_env=not _is_loopback(url), follow_redirects=False, headers=_AGENT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, *path: str, **query: str | int | None) -> Mapping[str, Any]:
        """The document at a path, whose parts are escaped here. Raises ApiError."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", path, params=given).document

    def items(self, path: str, **query: str | int | None) -> Iterator[Mapping[str, Any]]:
        """The items of a list, page by page as they are taken. Raises ApiError."""
        cursor = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def post(self, *path: str, body: Mapping[str, Any], key: str | None = None) -> ApiResponse:
        """Posts a JSON body, with an Idempotency-Key if there is one. Raises ApiError."""
        return self._call("POST", path, json=body, headers={"Idempotency-Key": key} if key else {})

    def delete(self, *path: str) -> Mapping[str, Any]:
        """Deletes what is at a path, and answers what is left. Raises ApiError."""
        return self._call("DELETE", path).document

    def now(self) -> float:
        """Epoch seconds by the API's clock, as its last answer told it; ours before the first one."""
        return time.time() + self._ahead

    def upload(self, upload: Mapping[str, Any], file: Path, sent: Callable[[int], None]) -> str | None:
        """Puts the file where an answer of `POST /artifacts` says; `sent` is told how many bytes have gone.

        None once it is there; the store's word for it when it refused, as it does when the permission ran out
        first: ask for another. Raises ApiError.
        """
        url = str(upload["url"])
        if not (url.startswith("https://") or (_is_loopback(url) and _is_loopback(self._url))):
            raise not_uploaded("the address that the API gave for it is not https", ExitCode.REJECTED)
        headers = {str(name): str(value) for name, value in upload["headers"].items()}
        headers["content-length"] = str(file.stat().st_size)

        def put() -> httpx2.Response:
            return self._http.put(url, content=_chunks(file, sent), headers=headers, timeout=_UPLOAD_TIMEOUT)

        # 409: another upload of the same bytes is under way at this very moment (S3, conditional writes).
        response = self._tries(put, _AGAIN | {409}, "the upload")
        # 412: `if-none-match: *` met an object. Its key is its digest, so what is there is what we have.
        if response.is_success or response.status_code == 412:
            return None
        # S3's error documents quote the signed request: of those, only the code's own letters are taken.
        found = re.search(r"<Code>([A-Za-z]{1,64})</Code>", response.text)
        answer = f"{response.status_code} {found[1]}" if found else str(response.status_code)
        if response.status_code == 403:
            return answer
        raise not_uploaded(
            f"the artifact store answered {answer}",
            ExitCode.REJECTED if response.status_code not in _AGAIN else ExitCode.UNAVAILABLE,
        )

    def _call(self, method: str, path: tuple[str, ...], **request: Any) -> ApiResponse:
        url = "/".join((self._url, *(quote(part, safe="") for part in path)))
        headers = {**request.pop("headers", {}), "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"

        def send() -> httpx2.Response:
            with self._http.stream(method, url, headers=headers, **request) as answer:
                return _read(answer)

        response = self._tries(send, _AGAIN, "the API")
        self._set_clock(response)
        if not response.is_success:
            raise _refused(response)
        document = _json(response)
        if not isinstance(document, dict):  # a proxy's page, most likely
            raise _refused(response)
        return ApiResponse(
            response.status_code, document, response.headers.get("idempotent-replayed", "").lower() == "true"
        )

    def _set_clock(self, response: httpx2.Response) -> None:
        """Takes the API's time from the `Date` of an answer.

        It tells whole seconds, and is as old as the way here: a small difference is no news, and following it
        would let a countdown jump with every answer.
        """
        try:
            date = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except ValueError:
            return
        if abs(date + 0.5 - self.now()) > _COARSE:
            self._ahead = date + 0.5 - time.time()

    def _tries(
        self, send: Callable[[], httpx2.Response], again: frozenset[int], whom: str
    ) -> httpx2.Response:
        """Sends until there is an answer that trying again would not change, `tries` times at most.

        Raises ApiError when there was never an answer; an answer that stays bad is returned as it is.
        """
        waited = 0.0
        for attempt in range(1, self._most + 1):
            pause = random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 2 ** (attempt - 2))  # noqa: S311 (jitter)
            try:
                response = send()
            except httpx2.TransportError as error:
                if attempt == self._most or _is_hopeless(error):
                    detail = f"{whom} could not be reached: {_trouble(error)}"
                    document = {"code": "unreachable", "title": "No answer", "detail": detail}
                    raise ApiError(ExitCode.UNAVAILABLE, document) from None
                trouble = _trouble(error)
            else:
                pause += _retry_after(response)
                if response.status_code not in again or attempt == self._most or waited + pause > _PATIENCE:
                    return response
                trouble = f"answered {response.status_code}"
            self._notice(f"{whom}: {trouble}; again in {pause:.1f} s ({attempt} of {self._most - 1})")
            self._sleep(pause)
            waited += pause
        raise AssertionError("the last try returns or raises")


def endpoint(url: str) -> str:
    """The API's URL without a slash at its end. Raises UsageError unless a token may be sent there."""
    if not url:
        raise click.UsageError("no endpoint. Set SLUICEGATE_URL or give --url, up to and including /v1.")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError for a port that is none)
    except ValueError:
        raise click.UsageError("the endpoint is not a URL") from None
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise click.UsageError("the endpoint is a plain URL such as https://deploy.example.com/v1")
    if parts.scheme != "https" and not _is_loopback(url):
        raise click.UsageError("the endpoint must be https: an ID token is never sent in the clear")
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _read(answer: httpx2.Response) -> httpx2.Response:
    """The answer with its body, as far as an answer of the API can go: nobody may fill our memory."""
    body = bytearray()
    try:
        for chunk in answer.iter_bytes(_CHUNK):
            body += chunk
            if len(body) > _LARGEST:
                raise _Unusable("the answer is too large")
    except httpx2.DecodingError:
        raise _Unusable("the answer cannot be unpacked") from None
    # What told how the body was packed is not true of it any more.
    headers = [pair for pair in answer.headers.multi_items() if pair[0].lower() not in _PACKING]
    reason = {name: answer.extensions[name] for name in ("reason_phrase",) if name in answer.extensions}
    return httpx2.Response(answer.status_code, headers=headers, content=bytes(body), extensions=reason)


def _json(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _chunks(file: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    """The file in pieces. Each try reads it from its beginning."""
    total = 0
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            yield chunk
            total += len(chunk)
            sent(total)


def _retry_after(response: httpx2.Response) -> float:
    """Seconds of a Retry-After header, as a number or as a date (RFC 9110, 10.2.3); 0 where there is none."""
    value = response.headers.get("retry-after", "")
    try:
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _is_hopeless(error: httpx2.TransportError) -> bool:
    """Whether trying again cannot help: a certificate stays as it is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return isinstance(error, (_Unusable, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError))


def _trouble(error: httpx2.TransportError) -> str:
    """What went wrong, in the library's words where they can have nothing of the request in them."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx2.ConnectError):
        return clean(str(error)) or "no connection"
    if isinstance(error, _Unusable):
        return str(error)
    return "the connection was lost"
