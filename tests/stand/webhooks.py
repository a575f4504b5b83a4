"""The stand-in GitLab's webhooks: bodies and headers as GitLab's, signed as GitLab signs, sent as it sends.

Sources: https://docs.gitlab.com/user/project/integrations/webhook_events/, GitLab's
`lib/gitlab/data_builder/{push,pipeline}.rb` and `app/services/web_hook_service.rb`; for signatures
https://www.standardwebhooks.com/. Made by hand here, so that what verifies is not what signs.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

ZEROS: Final = "0" * 40
TIMEOUT: Final = 10
"""Seconds that GitLab waits for an answer (`gitlab_rails['webhook_timeout']`)."""

EVENTS: Final = {"tag_push": "Tag Push Hook", "push": "Push Hook", "pipeline": "Pipeline Hook"}

OTHER_EVENTS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "a member of a group": (
        "Member Hook",
        {"event_name": "user_add_to_group", "group_id": 100, "user_id": 64},
    ),
    "a subgroup": ("Subgroup Hook", {"event_name": "subgroup_create", "group_id": 9, "parent_group_id": 100}),
    "a group's project": (
        "Project Hook",
        {"event_name": "project_create", "project_id": 9, "name": "orders"},
    ),
    "a user, by a system hook": ("System Hook", {"event_name": "user_create", "user_id": 41}),
    "a tag, by a system hook": (
        "System Hook",
        {"event_name": "tag_push", "object_kind": "repository_update"},
    ),
    "a group's access token": (
        "Resource Access Token Hook",
        {"object_kind": "access_token", "group": {"group_id": 35}},
    ),
    "a release": ("Release Hook", {"object_kind": "release", "project": {"id": 9}, "tag": "v1"}),
    "a deployment": (
        "Deployment Hook",
        {"object_kind": "deployment", "project": {"id": 9}, "status": "running"},
    ),
    "a job": ("Job Hook", {"object_kind": "build", "project_id": 9, "ref": "v1", "tag": True}),
    "a comment": ("Note Hook", {"object_kind": "note", "project_id": 9}),
    "a feature flag": ("Feature Flag Hook", {"object_kind": "feature_flag", "project": {}}),
    "an emoji": ("Emoji Hook", {"object_kind": "emoji"}),
    "a vulnerability": (
        "Vulnerability Hook",
        {"object_kind": "vulnerability", "object_attributes": {"project_id": 9}},
    ),
}
"""The header and the telling part of events that no entry waits for: their project is elsewhere, or missing.

Sources: https://docs.gitlab.com/user/project/integrations/webhook_events/, and
https://docs.gitlab.com/administration/system_hooks/, read on 2026-11-26.
"""

_COMMIT: Final = "714a629c0b401fdce83e847fc9589983fc6f46bc"


def body(event: str, issuer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """GitLab's body of an event. `given` has what a test sets, by the body's own names.

    Of a pipeline these are members of `object_attributes`, but for the body's own `project`, `merge_request`
    and `builds`. What follows from others (`after` from `checkout_sha`) does so, unless it is given too.
    """
    return _pipeline(issuer, given) if event == "pipeline" else _push(event, issuer, given)


def _push(event: str, issuer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    sha = given.get("checkout_sha", _COMMIT)
    project = _project(issuer, given.get("project_id", 4213))
    return {
        "object_kind": event,
        "event_name": event,
        "before": ZEROS,
        "after": ZEROS if sha is None else sha,
        "ref": "refs/tags/v1.0.0" if event == "tag_push" else "refs/heads/main",
        "ref_protected": True,
        "checkout_sha": sha,
        "message": "",
        "user_id": 7,
        "user_name": "Ada Lovelace",
        "user_username": "ada",
        "user_email": "[REDACTED]",
        "user_avatar": f"{issuer}/uploads/-/system/user/avatar/7/avatar.png",
        "project_id": project["id"],
        "project": project,
        "commits": [] if sha is None else [_commit(issuer, sha)],
        "total_commits_count": 0 if sha is None else 1,
        "push_options": {},
        "repository": {
            name: project[name]
            for name in ("name", "url", "description", "homepage", "git_http_url", "git_ssh_url")
        }
        | {"visibility_level": 0},
        **given,
    }


def _pipeline(issuer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: given[name] for name in ("project", "merge_request", "builds") if name in given}
    attributes = {
        "id": 574,
        "iid": 3,
        "name": None,
        "ref": "v1.0.0",
        "tag": True,
        "sha": _COMMIT,
        "before_sha": ZEROS,
        "source": "push",
        "status": "success",
        "detailed_status": "passed",
        "stages": ["build", "test"],
        "created_at": "2026-11-23 04:56:23 UTC",
        "finished_at": "2026-11-23 04:57:26 UTC",
        "duration": 63,
        "queued_duration": 2,
        "protected_ref": True,
        "variables": [{"key": "NESTOR_PROD_ENVIRONMENT", "value": "us-west-1"}],
        **{name: value for name, value in given.items() if name not in own},
    }
    project = _project(issuer, 4213)
    attributes.setdefault("url", f"{project['web_url']}/-/pipelines/{attributes['id']}")
    return {
        "object_kind": "pipeline",
        "object_attributes": attributes,
        "merge_request": None,
        "user": {
            "id": 7,
            "name": "Ada Lovelace",
            "username": "ada",
            "avatar_url": f"{issuer}/uploads/-/system/user/avatar/7/avatar.png",
            "email": "[REDACTED]",
        },
        "project": project,
        "commit": _commit(issuer, str(attributes["sha"])),
        "builds": [_build(issuer, 380, "build"), _build(issuer, 381, "test")],
        **own,
    }


def _project(issuer: str, project_id: Any) -> dict[str, Any]:
    host = issuer.split("://", 1)[-1]
    web = f"{issuer}/acme/orders"
    return {
        "id": project_id,
        "name": "orders",
        "description": "",
        "web_url": web,
        "avatar_url": None,
        "git_ssh_url": f"git@{host}:acme/orders.git",
        "git_http_url": f"{web}.git",
        "namespace": "acme",
        "visibility_level": 0,
        "path_with_namespace": "acme/orders",
        "default_branch": "main",
        "ci_config_path": None,
        "homepage": web,
        "url": f"git@{host}:acme/orders.git",
        "ssh_url": f"git@{host}:acme/orders.git",
        "http_url": f"{web}.git",
    }


def _commit(issuer: str, sha: str) -> dict[str, Any]:
    return {
        "id": sha,
        "message": "Round to cents\n\nRounding each line lost one in a hundred.\n",
        "title": "Round to cents",
        "timestamp": "2026-11-23T05:50:08+01:00",
        "url": f"{issuer}/acme/orders/-/commit/{sha}",
        "author": {"name": "Ada Lovelace", "email": "[REDACTED]"},
    }


def _build(issuer: str, number: int, stage: str) -> dict[str, Any]:
    return {
        "id": number,
        "stage": stage,
        "name": stage,
        "status": "success",
        "created_at": "2026-11-23 04:56:23 UTC",
        "started_at": "2026-11-23 04:56:27 UTC",
        "finished_at": "2026-11-23 04:57:05 UTC",
        "duration": 38.1,
        "queued_duration": 2.0,
        "failure_reason": None,
        "when": "on_success",
        "manual": False,
        "allow_failure": False,
        "user": {"id": 7, "name": "Ada Lovelace", "username": "ada", "avatar_url": f"{issuer}/avatar.png"},
        "runner": {
            "id": 1,
            "description": "shared",
            "runner_type": "instance_type",
            "active": True,
            "is_shared": True,
            "tags": ["linux"],
        },
        "artifacts_file": {"filename": None, "size": None},
        "environment": None,
    }


def headers(event: str, issuer: str, key: str) -> dict[str, str]:
    """What GitLab sends with every delivery; `key` is the same across retries, the first uuid is not."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitLab/18.9.0-ee",
        "Idempotency-Key": key,
        "X-Gitlab-Event": EVENTS.get(event, "Note Hook"),
        "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
        "X-Gitlab-Instance": issuer,
    }


def signed(data: bytes, secret: str, key: str, at: int) -> dict[str, str]:
    """The three headers of a delivery that is signed with a signing token (`whsec_...`)."""
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), digestmod=hashlib.sha256)
    mac.update(f"{key}.{at}.".encode() + data)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac.digest()).decode()}",
    }


@dataclass
class Hook:
    """A hook as GitLab disables it: for a while after four failures in a row, until somebody helps after
    forty.

    Source: app/models/concerns/web_hooks/auto_disabling.rb in gitlabhq/gitlabhq (017a6c12), read on
    2026-11-26. 4xx, 5xx and no answer are failures alike.
    """

    failures: int = 0
    disabled_until: float = 0

    def is_enabled(self, now: float) -> bool:
        return self.failures <= 3 or (self.failures < 40 and self.disabled_until < now)

    def record(self, status: int, now: float) -> None:
        """Count an answer's status, 0 for none."""
        if 200 <= status < 400:
            self.failures = 0
            return
        if self.failures >= 3:
            self.disabled_until = now + min(60.0 * 2.0 ** (self.failures - 3), 86_400.0)
        self.failures += 1


def deliver(issuer: str, given: Mapping[str, Any], hooks: dict[str, Hook] | None = None) -> dict[str, Any]:
    """Send one delivery; the key it had, and each answer: its status, and its JSON or text.

    `given`: `url`; `event`; `body` (see `body`) or `raw` (a text, as it is); `signing_token`, `token` and
    `bearer` (none, one or several); `key` and `at` (epoch seconds) in the place of new ones; `headers` in the
    place of those that come of it all (null leaves one out, a list sends it several times); `attempts`: how
    often it is sent, with the same key, while the answer is missing or a 5xx, as a worker does that dies and
    starts again (GitLab repeats no delivery for its answer); `hook_id`: of a hook that `hooks` may have
    disabled.
    """
    hook = None if hooks is None or "hook_id" not in given else hooks.setdefault(given["hook_id"], Hook())
    event, key = given.get("event", "tag_push"), given.get("key") or str(uuid.uuid4())
    data = (
        given["raw"] if "raw" in given else json.dumps(body(event, issuer, given.get("body", {})))
    ).encode()
    event_uuid, answers = str(uuid.uuid4()), []
    if hook and not hook.is_enabled(time.time()):
        return {"key": key, "answers": [{"status": 0, "body": "Hook disabled"}]}
    for _ in range(int(given.get("attempts", 1))):
        sent: dict[str, Any] = headers(event, issuer, key) | {"X-Gitlab-Event-UUID": event_uuid}
        if given.get("signing_token"):
            sent |= signed(data, given["signing_token"], key, int(given.get("at") or time.time()))
        if given.get("token") is not None:
            sent["X-Gitlab-Token"] = given["token"]
        if given.get("bearer"):
            sent["Authorization"] = f"Bearer {given['bearer']}"
        answers.append(_send(given["url"], data, sent | dict(given.get("headers", {}))))
        if hook:
            hook.record(answers[-1]["status"], time.time())
        if answers[-1]["status"] and answers[-1]["status"] < 500:
            break
    return {"key": key, "answers": answers}


def _send(url: str, data: bytes, sent: Mapping[str, Any]) -> dict[str, Any]:
    listed = [
        (name, each)
        for name, value in sent.items()
        if value is not None
        for each in (value if isinstance(value, list) else [value])
    ]
    try:
        answer = httpx2.post(url, content=data, headers=listed, timeout=TIMEOUT, trust_env=False)
    except httpx2.HTTPError as error:
        return {"status": 0, "body": type(error).__name__}
    kind = answer.headers.get("content-type", "")
    result = answer.json() if "json" in kind else answer.text
    return {"status": answer.status_code, "body": result}
