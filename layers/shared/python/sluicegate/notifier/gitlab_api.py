"""A client of GitLab's REST API for commit statuses and deployments.

Sources: https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit and
https://docs.gitlab.com/api/deployments/. Neither call is idempotent; the ledger
keeps `notifier` from repeating one.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate import http_client
from sluicegate.aws.errors import error_code, is_retryable
from sluicegate.http_client import FetchError, HttpResponse
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEADLINE: Final = 5.0
"""Seconds for one call."""

TOKEN_CACHE_SECONDS: Final = 300
"""How long a token is used before it is read again."""

_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_MAX_DEPTH: Final = 12


class TransientError(Exception):
    """The request may or may not have taken effect. Retry it after `retry_after` seconds or later."""

    def __init__(self, code: str, retry_after: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after


class PermanentError(Exception):
    """The request had no effect, and a retry fails until somebody fixes what `code` and `detail` describe."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class AccessTokens:
    """Access tokens from Secrets Manager, by the secret's name. A secret is a token's text, nothing else."""

    def __init__(self, client: "SecretsManagerClient", clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._cached: dict[str, tuple[str, float]] = {}

    def token(self, secret: str, *, other_than: str | None = None) -> str:
        """Return the token; read it again if the cached one is old, or is `other_than`, which was refused.

        Raises PermanentError if there is no usable token, TransientError if AWS is temporarily unavailable.
        """
        cached = self._cached.get(secret)
        if cached and cached[0] != other_than and abs(self._clock() - cached[1]) < TOKEN_CACHE_SECONDS:
            return cached[0]
        try:
            text = self._client.get_secret_value(SecretId=secret).get("SecretString", "")
        except (ClientError, BotoCoreError) as error:
            if is_retryable(error):
                raise TransientError(f"secret: {error_code(error)}") from None
            raise PermanentError("secret", f"{secret}: {error_code(error)}") from None
        token = str(text).strip()
        if not _TOKEN.fullmatch(token):
            raise PermanentError("secret", f"{secret} holds no token")
        self._cached[secret] = token, self._clock()
        return token


@dataclass(frozen=True)
class GitLab:
    """One GitLab instance, called with the token of one secret, until a deadline in epoch seconds."""

    url: str
    secret: str
    tokens: AccessTokens
    until: float
    clock: Callable[[], float] = time.time

    def set_status(self, project_id: str, sha: str, fields: Mapping[str, Any]) -> None:
        """Set a commit's status. A state that it already has, or is past, is no error."""
        self._call("POST", f"projects/{project_id}/statuses/{sha}", fields)

    def create_deployment(self, project_id: str, fields: Mapping[str, Any]) -> int:
        """Create a deployment in GitLab and return its id."""
        return _id(self._call("POST", f"projects/{project_id}/deployments", fields))

    def update_deployment(self, project_id: str, number: int, state: str) -> None:
        """Set the state of a deployment in GitLab. The state that it already has is no error."""
        self._call("PUT", f"projects/{project_id}/deployments/{number}", {"status": state})

    def find_deployment(self, project_id: str, fields: Mapping[str, Any]) -> int | None:
        """Return the newest deployment that `create_deployment` may have made with these fields, or None.

        A deployment that belongs to a job is not ours.
        """
        # Few: each can take kilobytes, and a response is limited to 64 KiB.
        query = {
            "environment": fields["environment"],
            "status": fields["status"],
            "order_by": "id",
            "sort": "desc",
            "per_page": 5,
        }
        listed = self._call("GET", f"projects/{project_id}/deployments?{urlencode(query, quote_via=quote)}")
        for one in listed if isinstance(listed, list) else []:
            if not isinstance(one, dict) or one.get("deployable") is not None:
                continue
            if all(one.get(name) == fields[name] for name in ("sha", "ref")):
                return _id(one)
        return None

    def _call(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> JsonValue:
        token = self.tokens.token(self.secret)
        answer = self._send(method, path, fields, token)
        if answer.status == 401:
            # The token may have been rotated since. The same one would be refused again.
            fresh = self.tokens.token(self.secret, other_than=token)
            if fresh != token:
                token = fresh
                answer = self._send(method, path, fields, token)
        return _result(answer, token)

    def _send(self, method: str, path: str, fields: Mapping[str, Any] | None, token: str) -> HttpResponse:
        left = min(DEADLINE, self.until - self.clock())
        if left <= 0:
            raise TransientError("no time left")
        headers = {"PRIVATE-TOKEN": token}
        body = None
        if fields is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(fields).encode()
        try:
            return http_client.exchange(
                f"{self.url}/api/v4/{path}", method, seconds=left, headers=headers, body=body
            )
        except FetchError as error:
            raise TransientError(str(error)) from None


def _result(answer: HttpResponse, token: str) -> JsonValue:
    """Return the content of a response. Raises PermanentError or TransientError."""
    if answer.status in (200, 201):
        return _json(answer)
    if _is_retryable(answer.status):
        after = answer.headers.get("Retry-After", "")
        seconds = int(after) if re.fullmatch(r"[0-9]{1,5}", after) else 0
        raise TransientError(f"status {answer.status}", seconds)
    message = _message(answer, token)
    if answer.status == 400 and "cannot transition" in message.lower():
        return None
    raise PermanentError(f"status {answer.status}", message)


def _is_retryable(status: int) -> bool:
    return status in _RETRYABLE or status >= 500


def _message(answer: HttpResponse, token: str) -> str:
    """Return GitLab's error message, for the log; empty if it contains the token."""
    try:
        content = _json(answer)
    except TransientError:
        return ""
    message = (content.get("message") or content.get("error")) if isinstance(content, dict) else None
    text = message if isinstance(message, str) else json.dumps(message)
    return "" if message is None or token in text else clean(text)


def _json(answer: HttpResponse) -> JsonValue:
    try:
        return loads(answer.body, max_depth=_MAX_DEPTH)
    except StrictJsonError as error:
        raise TransientError(f"status {answer.status}, {error}") from None


def _id(content: JsonValue) -> int:
    number = content.get("id") if isinstance(content, dict) else None
    if type(number) is not int:
        raise TransientError("response without an id")
    return number
