"""GitLab's REST API, as far as it is told how deployments went.

Sources: https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit and
https://docs.gitlab.com/api/deployments/. Neither call is safe to repeat: `notifier` sees to it.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate import http_client
from sluicegate.aws import clients
from sluicegate.http_client import FetchError, HttpResponse
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import clean

DEADLINE: Final = 5.0
"""Seconds for one call."""

CACHED: Final = 300
"""Seconds for which a token is not asked for again."""

_PASSING: Final = frozenset({408, 409, 425, 429})
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_MAX_DEPTH: Final = 12


class TransientError(Exception):
    """It may have been heard or not, and may be said again later, after `seconds` at the earliest."""

    def __init__(self, code: str, seconds: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.seconds = seconds


class Refused(Exception):
    """It was not heard, and will not be until somebody mends what `code` and `detail` say."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Tokens:
    """Access tokens from Secrets Manager, by the secret's name. A secret is a token's text, nothing else."""

    def __init__(self, client: Any, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}

    def token(self, secret: str, *, other_than: str | None = None) -> str:
        """The token; read anew where the one at hand is old, or is the one that was refused.

        Raises Refused where there is no usable one, TransientError where nobody can say now.
        """
        held = self._held.get(secret)
        if held and held[0] != other_than and abs(self._clock() - held[1]) < CACHED:
            return held[0]
        try:
            text = self._client.get_secret_value(SecretId=secret).get("SecretString", "")
        except (ClientError, BotoCoreError) as error:
            if clients.may_pass(error):
                raise TransientError(f"secret: {clients.error_code(error)}") from None
            raise Refused("secret", f"{secret}: {clients.error_code(error)}") from None
        token = str(text).strip()
        if not _TOKEN.fullmatch(token):
            raise Refused("secret", f"{secret} holds no token")
        self._held[secret] = token, self._clock()
        return token


@dataclass(frozen=True)
class GitLab:
    """One instance, spoken to with the token of one secret, until a moment of the clock (epoch seconds)."""

    url: str
    secret: str
    tokens: Tokens
    until: float
    clock: Callable[[], float] = time.time

    def set_status(self, project_id: str, sha: str, fields: Mapping[str, Any]) -> None:
        """Give a commit a status, or its status a new state. A state that it has or is past is fine."""
        self._ask("POST", f"projects/{project_id}/statuses/{sha}", fields)

    def create_deployment(self, project_id: str, fields: Mapping[str, Any]) -> int:
        """Make a deployment of GitLab's; its id."""
        return _id(self._ask("POST", f"projects/{project_id}/deployments", fields))

    def update_deployment(self, project_id: str, number: int, state: str) -> None:
        """Give a deployment of GitLab's a new state. The one that it has is fine."""
        self._ask("PUT", f"projects/{project_id}/deployments/{number}", {"status": state})

    def find_deployment(self, project_id: str, fields: Mapping[str, Any]) -> int | None:
        """The newest deployment that `create_deployment` can have made of these fields and no job has."""
        # Few: each can have kilobytes, and an answer has 64 KiB at most.
        query = {
            "environment": fields["environment"],
            "status": fields["status"],
            "order_by": "id",
            "sort": "desc",
            "per_page": 5,
        }
        found = self._ask("GET", f"projects/{project_id}/deployments?{urlencode(query, quote_via=quote)}")
        for one in found if isinstance(found, list) else []:
            if not isinstance(one, dict) or one.get("deployable") is not None:
                continue
            if all(one.get(name) == fields[name] for name in ("sha", "ref")):
                return _id(one)
        return None

    def _ask(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> JsonValue:
        token = self.tokens.token(self.secret)
        answer = self._send(method, path, fields, token)
        if answer.status == 401:
            # A token that was rotated since; the same one again would be refused again.
            fresh = self.tokens.token(self.secret, other_than=token)
            if fresh != token:
                token = fresh
                answer = self._send(method, path, fields, token)
        return _judged(answer, token)

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


def _judged(answer: HttpResponse, token: str) -> JsonValue:
    """What an answer says. Raises Refused or TransientError."""
    if answer.status in (200, 201):
        return _json(answer)
    if answer.status in _PASSING or answer.status >= 500:
        after = answer.headers.get("Retry-After", "")
        seconds = int(after) if re.fullmatch(r"[0-9]{1,5}", after) else 0
        raise TransientError(f"status {answer.status}", seconds)
    message = _message(answer, token)
    if answer.status == 400 and "cannot transition" in message.lower():
        return None
    raise Refused(f"status {answer.status}", message)


def _message(answer: HttpResponse, token: str) -> str:
    """GitLab's own words for a refusal, for the log; none that have the token in them."""
    try:
        content = _json(answer)
    except TransientError:
        return ""
    told = (content.get("message") or content.get("error")) if isinstance(content, dict) else None
    text = told if isinstance(told, str) else json.dumps(told)
    return "" if told is None or token in text else clean(text)


def _json(answer: HttpResponse) -> JsonValue:
    try:
        return loads(answer.body, max_depth=_MAX_DEPTH)
    except StrictJsonError as error:
        raise TransientError(f"status {answer.status}, {error}") from None


def _id(content: JsonValue) -> int:
    number = content.get("id") if isinstance(content, dict) else None
    if type(number) is not int:
        raise TransientError("an answer without an id")
    return number
