"""The client of the API: timeouts everywhere, bounded retries, and errors that can be shown unchanged.

Every request is safe to retry, because the same request has one effect
(guarantees.md#5-one-request-one-effect). No message, repr or exception of this module contains a token, a
signature or a presigned URL.
"""

import json
import os
import random
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import click
import httpx2

import sluicegate
from sluicegate.text import clean
from sluicegate_cli.auth.authorization import Authorization, BearerToken, Sign
from sluicegate_cli.auth.keys import checked_key, generated_key
from sluicegate_cli.auth.refusals import is_expired
from sluicegate_cli.auth.region import region_of_url
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.failures import failure_of
from sluicegate_cli.responses import RETRYABLE, ClientResponse, error_of, json_of, read_limited, retry_after

_UNANSWERED: Final = 6
"""How often a request is sent that gets no answer, by default."""

_MAX_BACKOFF: Final = 10.0  # seconds
_MAX_WAIT: Final = 120.0
"""Seconds that one request takes at most while the API says that it is busy: pauses, Retry-After and answers.

The time counts and not the number: of hundreds of jobs that ask at once, the API answers some only when the
others have had their turn. The GitLab component waits for as long.
"""

_CLOCK_TOLERANCE: Final = 1.5  # seconds, the precision of `Date`
_CHUNK: Final = 256 * 1024  # bytes
_AGENT: Final = {"User-Agent": f"sluicegate/{sluicegate.__version__}"}
_DEPLOYMENTS: Final = ("deployments",)
_LASTING: Final = 300.0  # seconds that one request can take, with its retries

# API Gateway ends a call after 29 s, and `wait` is at most 20 s.
_TIMEOUT: Final = httpx2.Timeout(connect=5, read=32, write=30, pool=5)
_UPLOAD_TIMEOUT: Final = httpx2.Timeout(connect=5, read=60, write=60, pool=5)


def not_uploaded(detail: str, exit_code: ExitCode) -> ApiError:
    """Return the error of a failed upload."""
    return ApiError(exit_code, {"code": "upload_failed", "title": "Upload failed", "detail": detail})


class _Authorized(httpx2.Auth):
    """Adds to each attempt of a request what authorizes it: a signature has the time of its attempt."""

    def __init__(self, sign: Sign, content: bytes) -> None:
        self._sign = sign
        self._content = content

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers.update(self._sign(request.method, str(request.url), request.headers, self._content))
        yield request


class ApiClient:
    """Calls the API, and uploads artifacts. `notice` gets a line before each retry.

    `auth` proves who calls; a string is an ID token. `attempts` limits how often one request is sent; without
    it, the time does (`_MAX_WAIT`), and `_UNANSWERED` where there is no answer.
    """

    def __init__(
        self,
        url: str,
        auth: str | Authorization,
        *,
        notice: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] | None = None,
        attempts: int | None = None,
    ) -> None:
        self._attempts = attempts
        self._url = url
        self._auth = BearerToken(auth) if isinstance(auth, str) else auth
        self._notice = notice
        self._sleep = sleep or time.sleep
        self._offset = 0.0  # seconds that the API's clock is ahead of this one
        self._http = http_client(url, _TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def address_of(self, path: str) -> str:
        """Return the address of a path on the API's host."""
        return urlsplit(self._url)._replace(path=path).geturl()

    def get(self, *path: str, **query: str | int | None) -> Mapping[str, Any]:
        """Get the document at a path, whose parts are escaped here. Raises ApiError."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", path, query=given).document

    def news(self, deployment: str, *, after: int, wait: int) -> ClientResponse:
        """Get a deployment once it is past a revision, as far as the API waits for that. Raises ApiError."""
        return self._call("GET", ("deployments", deployment), query={"after": after, "wait": wait})

    def items(self, path: str, **query: str | int | None) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, requesting pages as needed. Raises ApiError."""
        cursor = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def post(self, *path: str, body: Mapping[str, Any], key: str | None = None) -> ClientResponse:
        """Post a JSON body, with an idempotency key if given. Raises ApiError.

        A request for a deployment or a hold that is signed, or a signed-in person's, has it in its body, and
        always has one: of a signed one, only path, query and body are trusted
        (security.md#callers-with-iam-credentials). A decision binds to its deployment: it has none.
        """
        if not self._auth.needs_key or not (path == _DEPLOYMENTS or path[-1] == "hold"):
            return self._call("POST", path, body=body, headers={"Idempotency-Key": key} if key else {})
        known = checked_key(key) if key else generated_key(os.environ, path, body)
        return self._call("POST", path, body={**body, "idempotency_key": known})

    def delete(self, *path: str, **query: str) -> Mapping[str, Any]:
        """Delete the resource at a path, and return what is left. Raises ApiError."""
        return self._call("DELETE", path, query=query).document

    def now(self) -> float:
        """Return epoch seconds by the API's clock, or by this machine's before the first response."""
        return time.time() + self._offset

    def upload(self, upload: Mapping[str, Any], file: Path, sent: Callable[[int], None]) -> str | None:
        """Upload the file as a response of `POST /artifacts` says; `sent` gets the number of bytes sent.

        Return None on success, or the store's error code if it denied the upload, as it does after the URL
        expired: request another one. Raises ApiError.
        """
        url = str(upload["url"])
        if not (url.startswith("https://") or (is_loopback(url) and is_loopback(self._url))):
            raise not_uploaded("the upload URL from the API is not https", ExitCode.UNACCEPTABLE)
        headers = {str(name): str(value) for name, value in upload["headers"].items()}
        headers["content-length"] = str(file.stat().st_size)

        def put() -> httpx2.Response:
            return self._http.put(url, content=_chunks(file, sent), headers=headers, timeout=_UPLOAD_TIMEOUT)

        # 409: another upload of the same bytes is in progress (S3, conditional writes).
        response = self._with_retries(put, RETRYABLE | {409}, "the artifact store", url)
        # 412: `if-none-match: *` found an object. Its key is its digest, so it has the same bytes.
        if response.is_success or response.status_code == 412:
            return None
        # S3's error documents quote the signed request: take only the letters of the error code.
        found = re.search(r"<Code>([A-Za-z]{1,64})</Code>", response.text)
        answer = f"{response.status_code} {found[1]}" if found else str(response.status_code)
        if response.status_code == 403:
            return answer
        raise not_uploaded(
            f"the artifact store responded with {answer}",
            ExitCode.UNACCEPTABLE if response.status_code not in RETRYABLE else ExitCode.UNAVAILABLE,
        )

    @property
    def auth(self) -> Authorization:
        """Return how this client proves who calls."""
        return self._auth

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        url = "/".join((self._url, *self._auth.prefix, *(quote(part, safe="") for part in path)))
        if query:
            # Sorted, and each space as %20: the form that a signature is made of.
            pairs = ((quote(name, safe=""), quote(str(value), safe="~")) for name, value in query.items())
            url += "?" + "&".join(f"{name}={value}" for name, value in sorted(pairs))
        content = b"" if body is None else _encoded(body)
        sent = {**(headers or {}), "Accept": "application/json"}
        if body is not None:
            sent["Content-Type"] = "application/json"

        response = self._authorized(method, url, sent, content)
        if not response.is_success:
            raise error_of(response, self._offset, signed=bool(self._auth.prefix))
        document = json_of(response)
        if not isinstance(document, dict):  # most likely a proxy's page
            raise error_of(response, self._offset, signed=bool(self._auth.prefix))
        return ClientResponse(
            response.status_code,
            document,
            replayed=response.headers.get("idempotent-replayed", "").lower() == "true",
            pause=retry_after(response),
        )

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> httpx2.Response:
        """Send with retries. If the credentials have expired, renew them once.

        Not after an attempt without an answer, which may have had an effect: with other credentials the same
        request is another one.
        """
        for renewed in (False, True):
            sign = self._auth.signer(lasting=_LASTING)
            attempts = 0

            def send(sign: Sign = sign) -> httpx2.Response:
                nonlocal attempts
                attempts += 1
                with self._http.stream(
                    method, url, headers=headers, content=content or None, auth=_Authorized(sign, content)
                ) as answer:
                    return read_limited(answer)

            response = self._with_retries(send, RETRYABLE, "the API", url)
            self._set_clock(response)
            if renewed or response.is_success or attempts > 1 or response.status_code != 403:
                return response
            if not is_expired(error_of(response, 0, signed=True).document) or not self._auth.renew():
                return response
            self._notice("the AWS credentials had expired; trying again with new ones")
        raise AssertionError("the second time returns")

    def _set_clock(self, response: httpx2.Response) -> None:
        """Set the clock from the `Date` of a response.

        It has whole seconds, and is as old as the network delay. Ignore small differences: following them
        would let a countdown jump with every response.
        """
        try:
            date = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except ValueError:
            return
        if abs(date + 0.5 - self.now()) > _CLOCK_TOLERANCE:
            self._offset = date + 0.5 - time.time()

    def _with_retries(
        self, send: Callable[[], httpx2.Response], retryable: frozenset[int], server: str, url: str
    ) -> httpx2.Response:
        """Send until the response is not retryable, or there was no other for too long.

        Raises ApiError if there was no response. The last response is returned even if it is retryable.
        """
        spent, unanswered = 0.0, 0
        for attempt in count(1):
            pause = random.uniform(0.5, 1) * min(_MAX_BACKOFF, 2 ** (attempt - 2))  # noqa: S311 (jitter)
            sent = time.monotonic()
            try:
                response = send()
            except httpx2.TransportError as error:
                found = failure_of(error, url)
                unanswered += 1
                if unanswered == _UNANSWERED or attempt == self._attempts or found.permanent:
                    detail = f"{server} could not be reached: {found.sentence}"
                    document = {
                        "code": "unreachable",
                        "title": "No response",
                        "detail": detail,
                        "cause": found.reason,
                    }
                    raise ApiError(ExitCode.UNAVAILABLE, document) from None
                failure = found.sentence
            else:
                if response.status_code not in retryable or attempt == self._attempts:
                    return response
                pause += retry_after(response)
                if spent + time.monotonic() - sent + pause > _MAX_WAIT:
                    return response
                failure = f"responded with {response.status_code}"
            self._notice(f"{server}: {failure}; retrying in {pause:.1f} s")
            spent += time.monotonic() - sent + pause
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def http_client(url: str, timeout: httpx2.Timeout) -> httpx2.Client:
    """Return a client for the URL's host. Raises UsageError for an unusable proxy or certificate file.

    A loopback endpoint has no TLS: a proxy of the environment is never used for it. No redirect is followed:
    it would send the token to a host that nobody configured.
    """
    try:
        return httpx2.Client(
            timeout=timeout, trust_env=not is_loopback(url), follow_redirects=False, headers=_AGENT
        )
    except ImportError:
        raise click.UsageError(
            "a SOCKS proxy is set (HTTPS_PROXY, ALL_PROXY), which needs: pip install socksio"
        ) from None
    except OSError as error:  # ssl.SSLError too
        file = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or "the CA certificates"
        raise click.UsageError(f"cannot use {clean(file)} of SSL_CERT_FILE: {clean(str(error))}") from None
    except (ValueError, httpx2.InvalidURL):  # whose text may hold the proxy's password
        raise click.UsageError(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no proxy's URL, such as http://proxy.example.com:3128"
        ) from None


def endpoint(url: str) -> str:
    """Return the API's URL without a trailing slash. Raises UsageError unless a token may be sent there.

    The message shows what was given, unless that may hold a password.
    """
    if not url.strip():
        raise click.UsageError(
            "no endpoint. Set SLUICEGATE_URL or --url to the API's URL, up to and including /v1."
        )
    shown = "" if "@" in url else f": {clean(url, 200)!r}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError for a port that is none)
    except ValueError:
        raise click.UsageError(f"the endpoint is not a URL{shown}") from None
    if any(not character.isprintable() or character.isspace() for character in url) or url[0] in "\"'":
        raise click.UsageError(f"the endpoint has spaces, quotes or line breaks in or around it{shown}")
    if "$" in url:
        raise click.UsageError(f"the endpoint is a variable's name, which no shell has expanded{shown}")
    if not parts.scheme or "://" not in url:
        raise click.UsageError(f"the endpoint has no scheme: put https:// in front of it{shown}")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise click.UsageError(
            f"the endpoint must be a plain URL such as https://deploy.example.com/v1{shown}"
        )
    if parts.scheme != "https" and not is_loopback(url):
        raise click.UsageError(f"the endpoint must be https: an ID token is never sent unencrypted{shown}")
    _check_stage(url, parts.hostname, parts.path.rstrip("/"))
    return url.rstrip("/")


def _check_stage(url: str, host: str, path: str) -> None:
    """Raise UsageError for another stage than Sluicegate's, at a name of API Gateway's own.

    Of a stage that is not there it says `Forbidden` alone.
    """
    if region_of_url(url) and path not in ("/v1", "/v1/iam"):
        raise click.UsageError(
            f"the endpoint names {clean(path, 100) or 'no stage'} at {clean(host, 200)}, and the stage of"
            f" Sluicegate is /v1: it must be https://{clean(host, 200)}/v1"
        )


def is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _encoded(body: Mapping[str, Any]) -> bytes:
    """Return the body's bytes, which a signature covers. Raises UnicodeEncodeError for lone surrogates."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _chunks(file: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the file in chunks. Each attempt reads it from the start."""
    total = 0
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            yield chunk
            total += len(chunk)
            sent(total)
