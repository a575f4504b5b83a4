"""A client of GitLab's REST API for commit statuses and deployments.

Sources: https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit and
https://docs.gitlab.com/api/deployments/; for what is refused and in which words, GitLab's
app/services/ci/create_commit_status_service.rb, app/models/generic_commit_status.rb, lib/api/deployments.rb
and lib/gitlab/middleware/read_only/controller.rb (gitlabhq/gitlabhq, read on 2026-11-26). Neither call is
idempotent; the ledger keeps `notifier` from repeating one.
"""

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError, UndeliverableError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.http_client import MAX_BODY, FetchError, HttpResponse, TooLargeError
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import clean

if TYPE_CHECKING:
    pass

DEADLINE: Final = 5.0
"""Seconds for one call."""

MAX_ID: Final = 2**63
"""Ids are bigints of PostgreSQL; the table could not keep every number that JSON can."""

_PER_PAGE: Final = 5
"""Deployments in one answer: each can take kilobytes, and a response is limited to 64 KiB."""

_MAX_PAGES: Final = 20
"""Pages that are read at most, back to the deployments that were there before."""

_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_MAX_DEPTH: Final = 12
_LONGEST_WAIT: Final = 3_600
"""Seconds until a rate limit's reset that are believed."""

_READ_ONLY: Final = "read-only instance"
"""In the 403 of a GitLab that is being moved or restored, or of a secondary: it takes writes again later."""

_GONE: Final = ("404 Commit", "404 References", "404 Pipeline", "404 MergeRequest", "404 Not found")
"""In the 404 for a commit, a ref, a pipeline, a merge request, a note or a deployment; `404 Not Found` is for
an unknown address."""

_NO_REF: Final = "The branch or tag does not exist"
"""In the 400 for a deployment whose ref is gone."""

_OF_A_JOB: Final = "created using GitLab CI"
"""In the 403 for a deployment that a job's `environment:` made."""


@dataclass(frozen=True)
class GitLab:
    """One GitLab instance, called with the token of one secret, until a deadline in epoch seconds."""

    url: str
    secret: str
    tokens: CachedSecrets
    until: float
    clock: Callable[[], float] = time.time

    def set_status(self, project_id: str, sha: str, fields: Mapping[str, Any], ref: str | None) -> None:
        """Set a commit's status. A state that it already has, or is past, is no error.

        What GitLab refuses is left out: the link, or the pipeline, for which the newest pipeline of the `ref`
        then stands. No status can be added to a child pipeline, nor to one that has as many jobs as the plan
        allows.
        """
        path, left = f"projects/{project_id}/statuses/{sha}", dict(fields)
        while True:
            answer, token = self.ask("POST", path, left)
            refused = _refused_field(answer, token)
            if refused is None or refused not in left:
                self.result(answer, token, project_id)
                return
            del left[refused]
            if refused == "pipeline_id" and ref:
                left["ref"] = ref

    def create_deployment(self, project_id: str, fields: Mapping[str, Any]) -> int:
        """Create a deployment in GitLab and return its id.

        A branch or a tag that is gone is left out: GitLab takes a commit in its place.
        """
        path = f"projects/{project_id}/deployments"
        answer, token = self.ask("POST", path, fields)
        if answer.status == 400 and _NO_REF in _message(answer, token) and fields["ref"] != fields["sha"]:
            answer, token = self.ask("POST", path, {**fields, "ref": fields["sha"], "tag": False})
        return id_of(self.result(answer, token, project_id))

    def update_deployment(self, project_id: str, number: int, state: str) -> None:
        """Set the state of a deployment in GitLab. The state that it already has is no error."""
        self._call("PUT", project_id, f"deployments/{number}", {"status": state})

    def find_deployment(
        self, project_id: str, fields: Mapping[str, Any], after: int = 0, others: Collection[int] = ()
    ) -> int | None:
        """Return the first deployment that `create_deployment` may have made with these fields, or None.

        A deployment that belongs to a job is not ours. One up to the number `after` was there before, and
        `others` are our other ones.
        """
        found: list[int] = []
        for page in range(1, _MAX_PAGES + 1):
            listed = self._list_deployments(project_id, fields, page)
            for one in listed:
                same = one.get("sha") == fields["sha"] and one.get("ref") in (fields["ref"], fields["sha"])
                ours = same and one.get("deployable") is None
                if ours and (number := id_of(one)) > after and number not in others:
                    found.append(number)
            if len(listed) < _PER_PAGE or id_of(listed[-1]) <= after:
                break
        return min(found, default=None)

    def _list_deployments(
        self, project_id: str, fields: Mapping[str, Any], page: int
    ) -> list[dict[str, JsonValue]]:
        """Return a page of the environment's deployments with this status, the newest first."""
        query = {
            "environment": fields["environment"],
            "status": fields["status"],
            "order_by": "id",
            "sort": "desc",
            "per_page": _PER_PAGE,
            "page": page,
        }
        listed = self._call("GET", project_id, f"deployments?{urlencode(query, quote_via=quote)}")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    def _call(
        self, method: str, project_id: str, path: str, fields: Mapping[str, Any] | None = None
    ) -> JsonValue:
        answer, token = self.ask(method, f"projects/{project_id}/{path}", fields)
        return self.result(answer, token, project_id)

    def ask(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, most: int = MAX_BODY
    ) -> tuple[HttpResponse, str]:
        """Return the response, of at most `most` bytes, and the token that it is for.

        Raises UndeliverableError for a longer one, if `most` is not the usual limit.
        """
        token = self.tokens.text(self.secret)
        answer = self._send(method, path, fields, token, most)
        if answer.status == 401:
            # The token may have been rotated since. The same one would be refused again.
            fresh = self.tokens.text(self.secret, other_than=token)
            if fresh != token:
                token = fresh
                answer = self._send(method, path, fields, token, most)
        return answer, token

    def result(self, answer: HttpResponse, token: str, project_id: str) -> JsonValue:
        """Return a response's content, None where GitLab has the state already. Raises for every refusal."""
        if answer.status in (200, 201):
            return _json(answer)
        message = _message(answer, token)
        if _is_retryable(answer.status) or _READ_ONLY in message.lower():
            raise TransientError(f"status {answer.status}", _retry_after(answer, self.clock()))
        if answer.status == 400 and "cannot transition" in message.lower():
            return None
        code = f"status {answer.status}"
        if _is_final(answer.status, message):
            raise UndeliverableError(code, message)
        if answer.status == 403 and self._is_archived(project_id):
            raise UndeliverableError(code, f"{message}: the project is archived")
        raise PermanentError(code, message)

    def _is_archived(self, project_id: str) -> bool:
        """Return whether the project is archived, and takes no writes; GitLab's refusal does not say."""
        answer, _ = self.ask("GET", f"projects/{project_id}")
        if answer.status != 200:
            return False
        content = _json(answer)
        return isinstance(content, dict) and content.get("archived") is True

    def _send(
        self, method: str, path: str, fields: Mapping[str, Any] | None, token: str, most: int
    ) -> HttpResponse:
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
                f"{self.url}/api/v4/{path}", method, seconds=left, headers=headers, body=body, most=most
            )
        except FetchError as error:
            if isinstance(error, TooLargeError) and most != MAX_BODY:
                raise UndeliverableError("too_large") from None
            raise TransientError(str(error)) from None


def _refused_field(answer: HttpResponse, token: str) -> str | None:
    """Return the field without which GitLab may accept a status; None if it is not for a field."""
    message = _message(answer, token)
    match answer.status:
        case 400 if "target_url" in message or "target url" in message.lower():
            return "target_url"
        case 404 if "pipeline_id" in message:
            return "pipeline_id"
        case 422 if "number of jobs" in message:
            return "pipeline_id"
        case _:
            return None


def _is_final(status: int, message: str) -> bool:
    """Return whether nobody can do anything about a refusal: what it is about is gone, or not to GitLab's
    liking.

    Only in GitLab's own words: a proxy in between may be put right, and a project that the token does not
    reach is 404 too.
    """
    match status:
        case 404:
            return any(gone in message for gone in _GONE)
        case 400 | 410 | 422:
            return message != ""
        case 403:
            return _OF_A_JOB in message
        case _:
            return False


def _retry_after(answer: HttpResponse, now: float) -> int:
    """Return the seconds that GitLab asks for; 0 where it does not.

    Source: https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
    """
    after, reset = (answer.headers.get(name, "") for name in ("Retry-After", "RateLimit-Reset"))
    if re.fullmatch(r"[0-9]{1,5}", after):
        return int(after)
    if answer.status == 429 and re.fullmatch(r"[0-9]{1,12}", reset):
        return min(max(0, int(reset) - int(now)), _LONGEST_WAIT)
    return 0


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


def id_of(content: JsonValue) -> int:
    number = content.get("id") if isinstance(content, dict) else None
    if type(number) is not int or not 0 < number < MAX_ID:
        raise TransientError("response without an id")
    return number
