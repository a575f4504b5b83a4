"""What a GitLab says of a commit: when it was made, and which merge request brought it.

    pk             sk               item
    status#HASH    commit           the commit's time, empty if GitLab does not say
    status#HASH    merge-request    the number of its merge request, 0 if there is none

The notifier reads both once for each commit and keeps them here. No ID token has them.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from sluicegate.store.keys import Key, digest
from sluicegate.store.table import Table

RETENTION_SECONDS: Final = 400 * 86_400
"""How long they are kept: figures of a year need the times of its commits."""

LOOK_AGAIN_SECONDS: Final = 600
"""After so long, GitLab is asked again for the merge request of a commit that had none."""


Commit = tuple[str, str, str]
"""A commit of a project: issuer, project's id, SHA."""


class Commits:
    """Commits of projects, as their GitLab knows them. `clock` returns epoch seconds."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def committed_at(self, issuer: str, project_id: str, sha: str) -> str | None:
        """Return the commit's time (RFC 3339, UTC): empty if GitLab does not say, None if never asked."""
        item = self._table.get(_key("commit", issuer, project_id, sha))
        return None if item is None else str(item["committed_at"])

    def times(self, commits: Iterable[Commit]) -> dict[Commit, str]:
        """Return the times of these commits of (issuer, project, sha), as far as they are known."""
        asked = {_key("commit", *commit)["pk"]: commit for commit in commits}
        items = self._table.get_many([{"pk": pk, "sk": "commit"} for pk in asked])
        return {asked[item["pk"]]: item["committed_at"] for item in items if item["committed_at"]}

    def set_committed_at(self, issuer: str, project_id: str, sha: str, moment: str) -> None:
        """Keep the commit's time."""
        self._put(_key("commit", issuer, project_id, sha), "committed_at", moment)

    def merge_request(self, issuer: str, project_id: str, sha: str) -> int | None:
        """Return the number of its merge request: 0 if there is none, None if GitLab is to be asked."""
        item = self._table.get(_key("merge-request", issuer, project_id, sha))
        if item is None:
            return None
        is_old = item["kept_at"] < self._clock() - LOOK_AGAIN_SECONDS
        return None if is_old and not item["number"] else int(item["number"])

    def set_merge_request(self, issuer: str, project_id: str, sha: str, number: int) -> None:
        """Keep the number of its merge request, 0 if there is none."""
        self._put(_key("merge-request", issuer, project_id, sha), "number", number)

    def _put(self, key: Key, name: str, value: str | int) -> None:
        now = int(self._clock())
        self._table.put({**key, name: value, "kept_at": now, "expires_at": now + RETENTION_SECONDS})


def _key(sort: str, issuer: str, project_id: str, sha: str) -> Key:
    return {"pk": f"status#{digest('commit', issuer, project_id, sha)}", "sk": sort}
