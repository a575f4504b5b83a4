"""The stand-in GitLab's merge requests and their notes, with GitLab's rules, refusals and words.

Sources, in gitlabhq/gitlabhq, read on 2026-11-26: lib/api/commits.rb (blob 4856465671 of the public archive),
lib/api/notes.rb and lib/api/helpers/notes_helpers.rb (017a6c12), app/policies/note_policy.rb (05f0ebba) with
`admin_note` for maintainers in app/policies/project_policy.rb, app/models/merge_request.rb
(`by_related_commit_sha`), app/services/notes/update_service.rb (quick actions run at each change too); and
https://docs.gitlab.com/administration/settings/rate_limit_on_notes_creation/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

MAX_NOTE: Final = 1_000_000


@dataclass(frozen=True)
class Refusal(Exception):
    """What GitLab answers instead."""

    status: int
    message: Any


class Listed(list[Json]):
    """A page of a list, with the headers of its response."""

    def __init__(self, items: list[Json], query: Mapping[str, str]) -> None:
        page, size = int(query.get("page", 1)), min(100, int(query.get("per_page", 20)))
        super().__init__(items[(page - 1) * size : page * size])
        more = len(items) > page * size
        self.headers = {"X-Page": str(page), "X-Per-Page": str(size), "X-Next-Page": str(page + 1) * more}


@dataclass
class MergeRequestData:
    """Merge requests, and the users who write on them. `user` is the access token's user.

    `shas` of a merge request are its commits, and the commit that merged or squashed it. `closed_projects`
    have merge requests switched off. `commands` are the quick actions that notes contained.
    """

    user: int = 4001
    is_maintainer: bool = False
    merge_requests: list[Json] = field(default_factory=list)
    notes: list[Json] = field(default_factory=list)
    closed_projects: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    notes_left: int = 300

    def open(self, project: str, number: int, *shas: str, state: str = "opened") -> None:
        """Make a merge request, or change it."""
        self.merge_requests = [one for one in self.merge_requests if not _is(one, project, number)]
        one = {"iid": number, "project_id": int(project), "state": state, "description": "…", "shas": shas}
        self.merge_requests.append(one)

    def comment(self, project: str, number: int, body: str, author: int) -> Json:
        """Somebody else writes a note."""
        return self._add(project, number, body, author)

    def answer(
        self, method: str, project: str, parts: list[str], query: Mapping[str, str], fields: Json
    ) -> tuple[int, Json | list[Json]]:
        """Answer for `projects/:id/` and these parts. Raises Refusal."""
        if project in self.closed_projects:
            raise Refusal(403, "403 Forbidden")
        match method, *parts:
            case ["GET", "repository", "commits", sha, "merge_requests"]:
                found = [one for one in self.merge_requests if one["project_id"] == int(project)]
                shown = [_without_shas(one) for one in reversed(found) if sha in one["shas"]]
                return 200, Listed(shown, query)
            case ["GET", "merge_requests", number, "notes"]:
                self._find(project, number)
                found = [one for one in self.notes if _is(one["of"], project, int(number))]
                if query.get("activity_filter") == "only_comments":
                    found = [one for one in found if not one["system"]]
                if query.get("sort", "desc") == "desc":
                    found.reverse()
                return 200, Listed([_shown(one) for one in found], query)
            case ["POST", "merge_requests", number, "notes"]:
                self.notes_left -= 1
                if self.notes_left < 0:
                    text = "This endpoint has been requested too many times. Try again later."
                    raise Refusal(429, {"error": text})
                self._find(project, number)
                return 201, _shown(self._add(project, int(number), self._text(fields), self.user))
            case ["PUT", "merge_requests", number, "notes", note]:
                self._find(project, number)
                return 200, self._change(project, int(number), note, self._text(fields))
        raise Refusal(404, "404 Not Found")

    def _find(self, project: str, number: str) -> None:
        if not any(_is(one, project, int(number)) for one in self.merge_requests):
            raise Refusal(404, "404 MergeRequest Not Found")

    def _text(self, fields: Json) -> str:
        body = fields.get("body")
        if not isinstance(body, str):
            raise Refusal(400, "body is missing")
        if len(body) > MAX_NOTE:
            raise Refusal(400, f'Note {{:note=>["is too long (maximum is {MAX_NOTE} characters)"]}}')
        self.commands += [line for line in body.splitlines() if line.startswith("/")]
        return body

    def _add(self, project: str, number: int, body: str, author: int) -> Json:
        note = {
            "id": 900 + len(self.notes),
            "body": body,
            "author": {"id": author, "username": f"user_{author}"},
            "system": False,
            "of": {"project_id": int(project), "iid": number},
            "versions": [body],
        }
        self.notes.append(note)
        return note

    def _change(self, project: str, number: int, note: str, body: str) -> Json:
        for one in self.notes:
            if _is(one["of"], project, number) and str(one["id"]) == note:
                if one["author"]["id"] != self.user and not self.is_maintainer:
                    raise Refusal(403, "403 Forbidden")
                one |= {"body": body, "versions": [*one["versions"], body]}
                return _shown(one)
        raise Refusal(404, "404 Not found")


def _is(one: Json, project: str, number: int) -> bool:
    return (one["project_id"], one["iid"]) == (int(project), number)


def _without_shas(one: Json) -> Json:
    return {key: value for key, value in one.items() if key != "shas"}


def _shown(note: Json) -> Json:
    return {key: value for key, value in note.items() if key not in ("of", "versions")}
