"""GitLab's deliveries as its documentation shows them, and what signs them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook as Signer

from sluicegate.gate import patterns
from sluicegate.gate.webhooks import Event, Scheme, Webhook
from stand import webhooks

ISSUER = "https://gitlab.example.com"
SHA = "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"
OTHER_SHA = "bcbb5ec396a2c0f828686f14fac9b80b780504f2"
ZEROS = "0" * 40
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def webhook(
    scheme: Scheme = "signature", event: Event = "tag_push", ref: str = "v*", **changes: Any
) -> Webhook:
    values: dict[str, Any] = {
        "name": "orders-tags",
        "issuer": ISSUER,
        "project_id": "4213",
        "scheme": scheme,
        "secret": None if scheme == "id_token" else "sluicegate/webhooks/orders",
        "event": event,
        "ref_type": "branch" if event == "pipeline" else "tag",
        "ref": patterns.compile(ref),
        "function": "orders-api",
        "stage": "dev",
    }
    return Webhook(**values | changes)


def tag_push(ref: str = "refs/tags/v1.0.0", sha: str | None = SHA, **changes: Any) -> dict[str, Any]:
    return {
        "object_kind": "tag_push",
        "event_name": "tag_push",
        "before": ZEROS,
        "after": ZEROS if sha is None else sha,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": sha,
        "user_id": 1,
        "user_name": "Ada",
        "project_id": 4213,
        "project": {"id": 4213, "path_with_namespace": "acme/orders"},
        "commits": [],
        "total_commits_count": 0,
    } | changes


def pipeline(**changes: Any) -> dict[str, Any]:
    """`changes` are of `object_attributes`; `project` and `merge_request` are the body's own."""
    more = {name: changes.pop(name) for name in ("project", "merge_request") if name in changes}
    attributes = {
        "id": 574,
        "iid": 3,
        "name": None,
        "ref": "v1.0.0",
        "tag": True,
        "sha": SHA,
        "before_sha": ZEROS,
        "source": "push",
        "status": "success",
        "detailed_status": "passed",
        "variables": [{"key": "TOKEN", "value": "a variable's value"}],
        "url": f"{ISSUER}/acme/orders/-/pipelines/574",
    }
    return {
        "object_kind": "pipeline",
        "object_attributes": attributes | changes,
        "merge_request": None,
        "user": {"id": 1, "username": "ada"},
        "project": {"id": 4213, "path_with_namespace": "acme/orders"},
        "commit": {"id": SHA, "message": "Say\nmore"},
        "builds": [],
    } | more


OTHER_EVENTS = {name: body for name, (_, body) in webhooks.OTHER_EVENTS.items()} | {
    "one that is newer than this list": {"object_kind": "x" * 300, "project_id": "nine"},
}
"""Deliveries of which nothing may be read."""

EVENTS = {"tag_push": "Tag Push Hook", "pipeline": "Pipeline Hook", "push": "Push Hook"}


def headers(body: Mapping[str, Any], **changes: str | list[str] | None) -> dict[str, list[str]]:
    """What GitLab sends with a body; `x_gitlab_event=None` leaves that header out."""
    whole: dict[str, Any] = {
        "content-type": "application/json",
        "user-agent": "GitLab/18.9.0-ee",
        "x-gitlab-event": EVENTS.get(str(body.get("object_kind")), "Note Hook"),
        "x-gitlab-instance": ISSUER,
        "x-gitlab-webhook-uuid": "a6d4a4d5-0000-4000-8000-000000000001",
        "x-gitlab-event-uuid": "a6d4a4d5-0000-4000-8000-000000000002",
        "idempotency-key": "msg_1",
    }
    whole |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in whole.items()
        if value is not None
    }


def sign(body: bytes, secret: str = SECRET, *, key: str = "msg_1", at: float) -> dict[str, list[str]]:
    """Standard Webhooks' headers, by its own library."""
    signature = Signer(secret).sign(key, datetime.fromtimestamp(int(at), UTC), body.decode())
    return {
        "webhook-id": [key],
        "webhook-timestamp": [str(int(at))],
        "webhook-signature": [signature],
    }


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()
