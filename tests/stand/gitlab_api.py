"""The stand-in GitLab's REST API: commit statuses and deployments, with GitLab's rules, refusals and words.

Merge requests and their notes are in `gitlab_merge_requests`.

Sources: https://docs.gitlab.com/api/commits/#commit-status and https://docs.gitlab.com/api/deployments/, and
in gitlabhq/gitlabhq, read on 2026-11-26: app/services/ci/create_commit_status_service.rb (0286e4c6),
app/models/generic_commit_status.rb (0c872e02), app/models/concerns/enums/ci/pipeline.rb (its `ci_sources`
leave out child pipelines), lib/api/deployments.rb, app/models/deployment.rb and
app/services/deployments/create_service.rb (016af097 and later; blob 741370870 of the public archive has
`valid_ref` and `equal_to?`), app/models/environment.rb (`last_deployment`),
lib/gitlab/middleware/read_only/controller.rb.
"""

import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from stand.gitlab_merge_requests import MergeRequestData, Refusal

PREFIX: Final = "/api/v4/"
PROJECTS: Final = frozenset({"4213", "4300", "4400", "4500", "4600"})
"""The projects that the token reaches; to everybody else a project does not exist."""

COMMITTED: Final = "2026-11-25T09:30:00.000+02:00"
"""When each commit was made, as GitLab writes it."""

Json = dict[str, Any]

_EVENTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "pending": ("enqueue", ("created",)),
    "running": ("run", ("pending",)),
    "success": ("success", ("created", "pending", "running")),
    "failed": ("drop", ("created", "pending", "running")),
    "canceled": ("cancel", ("created", "pending", "running")),
}
"""By state: the event of GitLab's state machine that leads there, and from where it does."""

_DEPLOYMENT_EVENTS: Final = {"running": "run", "success": "succeed", "failed": "drop", "canceled": "cancel"}


@dataclass
class Ground:
    """What else is true of the instance, for tests to change. Pipelines and refs exist unless they are here.

    `child_pipelines` are another pipeline's children; `full_pipelines` have as many jobs as the plan allows.
    `block_links`: the instance blocks outbound requests, and the addresses of links with them.
    """

    child_pipelines: set[int] = field(default_factory=set)
    full_pipelines: set[int] = field(default_factory=set)
    block_links: bool = False
    gone_commits: set[str] = field(default_factory=set)
    gone_refs: set[str] = field(default_factory=set)
    taken_names: set[str] = field(default_factory=set)
    """Names of jobs of the pipeline's own."""
    archived_projects: set[str] = field(default_factory=set)
    closed_refs: set[str] = field(default_factory=set)
    """Protected refs to which the token's role may not push."""
    closed_environments: set[str] = field(default_factory=set)
    read_only: bool = False


@dataclass
class Api:
    """The data of one instance. Safe for the server's threads."""

    tokens: list[str] = field(default_factory=lambda: [new_token()])
    statuses: list[Json] = field(default_factory=list)
    deployments: list[Json] = field(default_factory=list)
    ends: int = 0
    ground: Ground = field(default_factory=Ground)
    discussed: MergeRequestData = field(default_factory=MergeRequestData)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Json | list[Json]]:
        """Status and content for a request to a path and query under `/api/v4/`."""
        url = urlsplit(target)
        try:
            with self.lock:
                if _header(headers, "private-token") not in self.tokens:
                    raise Refusal(401, "401 Unauthorized")
                parts = [unquote(part) for part in url.path.removeprefix(PREFIX).split("/")]
                return self._routed(method, parts, dict(parse_qsl(url.query)), body)
        except Refusal as refusal:
            return refusal.status, {"message": refusal.message}

    def _routed(
        self, method: str, parts: list[str], query: Mapping[str, str], body: bytes
    ) -> tuple[int, Json | list[Json]]:
        if self.ground.read_only and method != "GET":
            raise Refusal(403, "You cannot perform write operations on a read-only instance")
        match method, *parts:
            case [_, "projects", project, *_] if project not in PROJECTS:
                raise Refusal(404, "404 Project Not Found")
            case ["GET", "user"]:
                return 200, {"id": self.discussed.user, "username": "project_4213_bot"}
            case ["GET", "projects", project]:
                return 200, {"id": int(project), "archived": project in self.ground.archived_projects}
            case ["POST" | "PUT", "projects", project, *_] if project in self.ground.archived_projects:
                raise Refusal(403, "403 Forbidden")
            case ["POST", "projects", project, "statuses", sha]:
                return 201, self._set_status(project, sha, _fields(body))
            case ["GET", "projects", project, "repository", "commits", sha, "statuses"]:
                return 200, self._list_statuses(project, sha, query)
            case ["GET", "projects", _, "repository", "commits", sha, *_] if not self._has_commit(sha):
                raise Refusal(404, "404 Commit Not Found")
            case ["GET", "projects", _, "repository", "commits", sha]:
                return 200, {"id": sha, "committed_date": COMMITTED}
            case [_, "projects", project, "merge_requests", *_] | [
                "GET",
                "projects",
                project,
                "repository",
                "commits",
                _,
                "merge_requests",
            ]:
                fields = _fields(body) if body else {}
                return self.discussed.answer(method, project, parts[2:], query, fields)
            case ["POST", "projects", project, "deployments"]:
                return 201, self._create(project, _fields(body))
            case ["PUT", "projects", project, "deployments", number]:
                return 200, self._update(project, number, _fields(body))
            case ["GET", "projects", project, "deployments"]:
                return 200, self._list_deployments(project, query)
        raise Refusal(404, "404 Not Found")

    # Commit statuses

    def _set_status(self, project: str, sha: str, fields: Json) -> Json:
        if not self._has_commit(sha):
            raise Refusal(404, "404 Commit Not Found")
        state, name = str(fields.get("state")), fields.get("name", "default")
        if state not in _EVENTS:
            raise Refusal(400, "state does not have a valid value")
        pipeline, ref = self._pipeline(project, sha, fields)
        if ref in self.ground.closed_refs:
            raise Refusal(403, "403 Forbidden")
        for key in ("name", "ref", "description", "target_url"):
            if len(fields.get(key) or "") > 255:
                raise Refusal(400, {key: ["is too long (maximum is 255 characters)"]})
        if fields.get("target_url") and self.ground.block_links:
            raise Refusal(400, {"target_url": ["is blocked: Host cannot be resolved or invalid"]})
        if name in self.ground.taken_names:
            raise Refusal(400, {"name": ["has already been taken"]})
        same = {"project_id": project, "sha": sha, "pipeline_id": pipeline, "ref": ref, "name": name}
        open_ones = (one for one in self._latest(same) if one["status"] in ("pending", "running"))
        status = next(open_ones, None)
        event, origins = _EVENTS[state]
        found = status["status"] if status else "created"
        # `running` goes by way of `pending`, which a status that waits already is.
        if found == "created" and state == "running":
            found = "pending"
        if found not in origins:
            why = f'Status cannot transition via "{event}"'
            raise Refusal(400, f"Cannot transition status via :{event} from :{found} (Reason(s): {why})")
        if status is None:
            status = {"id": len(self.statuses) + 1, **same, "history": []}
            for older in self._latest(same):
                older["retried"] = True
            self.statuses.append(status)
        details: Json = {key: fields[key] for key in ("description", "target_url") if key in fields}
        status |= {"status": state, "retried": False, "history": [*status["history"], state], **details}
        return _shown(status)

    def _pipeline(self, project: str, sha: str, fields: Json) -> tuple[int, str]:
        """The pipeline's id and ref: the one that is meant, or one of GitLab's own making."""
        given, ref = fields.get("pipeline_id"), fields.get("ref")
        if given is not None:
            if type(given) is not int or given < 1:
                raise Refusal(400, "pipeline_id is invalid")
            known = [one for one in self.statuses if one["pipeline_id"] == given]
            elsewhere = any((one["project_id"], one["sha"]) != (project, sha) for one in known)
            if elsewhere or given in self.ground.child_pipelines:
                raise Refusal(404, "404 Pipeline for pipeline_id, sha and ref Not Found")
            if given in self.ground.full_pipelines:
                raise Refusal(422, "The number of jobs has exceeded the limit")
            return given, ref or (known[0]["ref"] if known else "v1.0.0")
        if not ref or ref in self.ground.gone_refs:
            raise Refusal(404, "404 References for commit Not Found")
        same = [one for one in self.statuses if (one["project_id"], one["sha"]) == (project, sha)]
        return next(
            (one["pipeline_id"] for one in same if one["ref"] == ref), 9_000 + len(self.statuses)
        ), ref

    def _latest(self, same: Json) -> list[Json]:
        return [one for one in self.statuses if not one["retried"] and same.items() <= one.items()]

    def _list_statuses(self, project: str, sha: str, query: Mapping[str, str]) -> list[Json]:
        found = [one for one in self.statuses if (one["project_id"], one["sha"]) == (project, sha)]
        if query.get("all") != "true":
            found = [one for one in found if not one["retried"]]
        for key in ("name", "ref", "pipeline_id"):
            if key in query:
                found = [one for one in found if str(one[key]) == query[key]]
        return [_shown(one) for one in found]

    # Deployments

    def _create(self, project: str, fields: Json) -> Json:
        for key in ("environment", "sha", "ref", "tag", "status"):
            if key not in fields:
                raise Refusal(400, f"{key} is missing")
        if not isinstance(fields["tag"], bool):
            raise Refusal(400, "tag is invalid")
        if fields["status"] not in _DEPLOYMENT_EVENTS:
            raise Refusal(400, "status does not have a valid value")
        if fields["ref"] in self.ground.gone_refs:
            raise Refusal(400, {"ref": ["The branch or tag does not exist"]})
        if not re.fullmatch(r"(?!/)[A-Za-z0-9_/\\${}. -]{1,255}(?<!/)", fields["environment"]):
            raise Refusal(400, {"name": ["can contain only letters, digits, '-', '_', '/', '$', '{', '}'"]})
        if fields["environment"] in self.ground.closed_environments:
            raise Refusal(403, "403 Forbidden")
        if not self._has_commit(fields["sha"]):
            raise Refusal(400, {"sha": ["The commit does not exist"]})
        last = self.serving(project, fields["environment"])
        if last and fields.items() <= last.items():
            return _shown_deployment(last)
        number = len(self.deployments) + 1
        made = {"id": number, "iid": number, "project_id": project, "deployable": None, **fields}
        self.deployments.append({**made, "history": [fields["status"]], "finished": self._tick(fields)})
        return _shown_deployment(self.deployments[-1])

    def _update(self, project: str, number: str, fields: Json) -> Json:
        state = fields.get("status")
        if state not in _DEPLOYMENT_EVENTS:
            raise Refusal(400, "status does not have a valid value")
        for one in self.deployments:
            if (one["project_id"], str(one["id"])) == (project, number):
                if one["environment"] in self.ground.closed_environments:
                    raise Refusal(403, "403 Forbidden")
                if one["deployable"] is not None:
                    why = "Deployments created using GitLab CI can not be updated using the API"
                    raise Refusal(403, f"403 Forbidden - {why}")
                if state == "running" or state == one["status"]:
                    raise Refusal(400, {"status": [f'cannot transition via "{_DEPLOYMENT_EVENTS[state]}"']})
                one |= {"status": state, "history": [*one["history"], state]}
                one["finished"] = self._tick(one) or one["finished"]
                return _shown_deployment(one)
        raise Refusal(404, "404 Not found")

    def _list_deployments(self, project: str, query: Mapping[str, str]) -> list[Json]:
        found = [one for one in self.deployments if one["project_id"] == project]
        for key in ("environment", "status"):
            if key in query:
                found = [one for one in found if one[key] == query[key]]
        if query.get("sort") == "desc":
            found.reverse()
        size = int(query.get("per_page", 20))
        start = size * (int(query.get("page", 1)) - 1)
        return [_shown_deployment(one) for one in found[start : start + size]]

    def _tick(self, deployment: Json) -> int:
        """The time of its end, 0 if it has none: `before_transition any => FINISHED_STATUSES`."""
        self.ends += deployment["status"] != "running"
        return self.ends if deployment["status"] != "running" else 0

    def serving(self, project: str, environment: str) -> Json | None:
        """What GitLab takes for deployed: `has_one :last_deployment, -> { success.ordered }`."""
        found = [
            one
            for one in self.deployments
            if (one["project_id"], one["environment"], one["status"]) == (project, environment, "success")
        ]
        return max(found, key=lambda one: one["finished"], default=None)

    def _has_commit(self, sha: str) -> bool:
        known = re.fullmatch(r"[0-9a-f]{40}", sha) and set(sha) != {"0"}
        return bool(known) and sha not in self.ground.gone_commits

    # What tests ask for

    def rotate(self) -> str:
        """Another token in the place of all before it."""
        with self.lock:
            self.tokens = [new_token()]
            return self.tokens[0]

    def reported(self) -> Json:
        """All statuses and deployments, each with the states that it went through."""
        with self.lock:
            notes = self.discussed.notes
            return {"statuses": self.statuses, "deployments": self.deployments, "notes": notes}


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)


def new_token() -> str:
    """Of the form that GitLab's access tokens have."""
    return f"glpat-{secrets.token_urlsafe(15)}"


def _fields(body: bytes) -> Json:
    try:
        fields = json.loads(body)
    except ValueError:
        raise Refusal(400, "400 Bad request") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "400 Bad request")
    return fields


def _shown(status: Json) -> Json:
    shown: Json = {"description": None, "target_url": None, "allow_failure": False, **status}
    return {key: value for key, value in shown.items() if key not in ("history", "retried", "project_id")}


def _shown_deployment(deployment: Json) -> Json:
    shown = {key: deployment[key] for key in ("id", "iid", "ref", "sha", "status", "deployable")}
    return {**shown, "environment": {"name": deployment["environment"]}}
