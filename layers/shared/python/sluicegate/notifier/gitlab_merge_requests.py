"""A client of GitLab's REST API for merge requests, their notes, and commits.

Sources: https://docs.gitlab.com/api/commits/#list-merge-requests-associated-with-a-commit and
https://docs.gitlab.com/api/notes/#merge-requests; GitLab's lib/api/notes.rb,
lib/api/helpers/notes_helpers.rb, app/policies/note_policy.rb,
app/services/notes/update_service.rb and app/models/merge_request.rb
(`by_related_commit_sha`) in gitlabhq/gitlabhq, read on 2026-11-26.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from sluicegate.delivery.errors import PermanentError, UndeliverableError
from sluicegate.http_client import HttpResponse
from sluicegate.notifier.gitlab_api import MAX_ID, GitLab, id_of
from sluicegate.strict_json import JsonValue

MAX_LISTED: Final = 1024 * 1024
"""Bytes of a list: a description or a note can have a million characters, and anybody may write one."""

PAGE: Final = 20
PAGES: Final = 5
"""How many of a merge request's newest notes are searched."""


@dataclass(frozen=True)
class MergeRequests:
    """The merge requests of one project.

    A project may have none, or let the token's user write no notes in one: that is an UndeliverableError, as
    nobody is to be woken for it.
    """

    gitlab: GitLab
    project_id: str

    def of_commit(self, sha: str) -> int | None:
        """Return the number of the merge request that brought the commit, or None.

        Of several, one that was merged, and the oldest: the others carry the commit on, to other branches.
        """
        listed = self._get(f"repository/commits/{sha}/merge_requests", per_page=PAGE)
        found = [
            (one.get("state") != "merged", number)
            for one in _objects(listed)
            if one.get("state") in ("merged", "opened")
            and str(one.get("project_id")) == self.project_id
            and type(number := one.get("iid")) is int
            and 0 < number < MAX_ID
        ]
        return min(found)[1] if found else None

    def committed_at(self, sha: str) -> str | None:
        """Return the commit's time as GitLab writes it, or None."""
        found = self._get(f"repository/commits/{sha}", stats="false")
        moment = found.get("committed_date") if isinstance(found, dict) else None
        return moment if isinstance(moment, str) else None

    def find_note(self, number: int, marker: str) -> int | None:
        """Return the newest note that begins with the marker and is the token's user's, or None.

        Anybody can write the marker into a note of their own, or notes that are too large to read: then a
        second note of ours is better than none.
        """
        me = id_of(self._get("", user=True))
        for page in range(1, PAGES + 1):
            try:
                answer, token = self._notes(number, page)
            except UndeliverableError:
                return None
            for one in _objects(self._result(answer, token)):
                author = one.get("author")
                is_mine = isinstance(author, dict) and author.get("id") == me
                if is_mine and str(one.get("body", "")).startswith(marker):
                    return id_of(one)
            # A page may be short although another follows: GitLab leaves out what the user may not read.
            if not answer.headers.get("X-Next-Page"):
                break
        return None

    def create_note(self, number: int, body: str) -> int:
        """Write a note and return its id."""
        path = f"projects/{self.project_id}/merge_requests/{number}/notes"
        return id_of(self._result(*self.gitlab.ask("POST", path, {"body": body}, MAX_LISTED)))

    def update_note(self, number: int, note: int, body: str) -> bool:
        """Change a note; return False if it is gone, or is another user's.

        A new project access token is a new user, who may change its predecessor's note only as a Maintainer.
        """
        path = f"projects/{self.project_id}/merge_requests/{number}/notes/{note}"
        answer, token = self.gitlab.ask("PUT", path, {"body": body}, MAX_LISTED)
        if answer.status in (403, 404):
            return False
        self._result(answer, token)
        return True

    def _notes(self, number: int, page: int) -> tuple[HttpResponse, str]:
        return self._ask(
            f"merge_requests/{number}/notes",
            order_by="created_at",
            sort="desc",
            activity_filter="only_comments",
            per_page=PAGE,
            page=page,
        )

    def _get(self, path: str, *, user: bool = False, **query: Any) -> JsonValue:
        return self._result(*self._ask(path, user=user, **query))

    def _ask(self, path: str, *, user: bool = False, **query: Any) -> tuple[HttpResponse, str]:
        whole = "user" if user else f"projects/{self.project_id}/{path}?{urlencode(query)}"
        return self.gitlab.ask("GET", whole, None, MAX_LISTED)

    def _result(self, answer: HttpResponse, token: str) -> JsonValue:
        try:
            return self.gitlab.result(answer, token, self.project_id)
        except PermanentError as error:
            if error.code == "status 403":
                raise UndeliverableError(error.code, error.detail) from None
            raise


def _objects(listed: JsonValue) -> list[dict[str, JsonValue]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
