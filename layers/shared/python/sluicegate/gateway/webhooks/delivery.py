"""Read GitLab's deliveries: what one means for an entry of `webhooks`. Values in, values out.

Bodies as https://docs.gitlab.com/user/project/integrations/webhook_events/ shows them. A maintainer of the
project can have GitLab send any other (a custom template): a body is no more than a claim about the entry's
own project. security.md#webhooks
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.gate.webhooks import STATUS, Event, Webhook
from sluicegate.gateway.problems import Problem, invalid_request, not_allowed
from sluicegate.gateway.webhooks.verification import Headers
from sluicegate.oidc.identity import Identity
from sluicegate.store.keys import digest
from sluicegate.store.requests import PermanentClaim
from sluicegate.text import clean

MAX_BODY: Final = 512 * 1024
"""Bytes. A pipeline's event lists its jobs, at about a kilobyte each."""

_HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    # GitLab's test button sends the last push as a tag's (gitlab-org/gitlab#343508).
    "push": ("Push Hook", "Tag Push Hook"),
    "tag_push": ("Tag Push Hook",),
    "pipeline": ("Pipeline Hook",),
}
"""`X-Gitlab-Event` by `object_kind`, of the kinds that are read."""

_OF_MERGE_REQUESTS: Final = ("merge_request_event", "external_pull_request_event", "parent_pipeline")
"""Sources whose pipelines run a merge request's code; anybody who can fork can be its author."""

_TAGS: Final = "refs/tags/"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_MAX_REF: Final = 256


@dataclass(frozen=True)
class Delivery:
    """A pushed tag or a successful pipeline, for which something is deployed. `ref` is the bare name."""

    event: Event
    ref: str
    ref_type: str
    sha: str
    pipeline_id: str | None
    pipeline_source: str


@dataclass(frozen=True)
class Ignored:
    """A delivery for which nothing is deployed: `code` for machines, `why` for GitLab's log."""

    code: str
    why: str


# Reading


def read(hook: Webhook, headers: Headers, body: Any) -> Delivery | Ignored:
    """Return what a delivery means for the entry; `body` is its JSON value.

    Each event names itself and its project in a place of its own, and some have no project: of those that are
    not waited for nothing else is read. Raises a Problem: 400 if it lacks what GitLab always sends, 403 if it
    is of another project.
    """
    kind = _kind(body)
    if kind not in _HOOKS:
        return Ignored("other_event", f"this webhook waits for {hook.event}, and this is {kind}")
    _check_event(headers, kind)
    _check_project(hook, body)
    match kind:
        case "tag_push" if hook.event == "tag_push":
            return _matching(hook, _tag_push(body))
        case "pipeline":
            return _matching(hook, _pipeline(hook, body))
        case _:
            return Ignored("other_event", f"this webhook waits for {hook.event}, and this is {kind}")


def _kind(body: Any) -> str:
    """Return the name of the event: `object_kind`, or `event_name` for events of groups and members."""
    if not isinstance(body, dict):
        raise invalid_request([("", "is no event of GitLab's")])
    name = body.get("event_name")
    kind = body.get("object_kind", name if isinstance(name, str) and name not in _HOOKS else None)
    if not isinstance(kind, str):
        raise invalid_request([("/object_kind", "is missing, or not as GitLab sends it")])
    return clean(kind, 64)


def _tag_push(body: Any) -> Delivery | Ignored:
    """Read a tag's push. `checkout_sha` is the commit, `after` an annotated tag's own id.

    Neither is set if the tag was deleted.
    """
    ref, after = _ref(body, "/ref"), body.get("after")
    if not ref.startswith(_TAGS) or ref == _TAGS:
        raise invalid_request([("/ref", f"is not {_TAGS} and a tag")])
    if body.get("checkout_sha", "") is None or (isinstance(after, str) and set(after) == {"0"}):
        return Ignored("tag_deleted", "the tag was deleted")
    sha = _commit(body, "/checkout_sha")
    return Delivery("tag_push", ref.removeprefix(_TAGS), "tag", sha, None, "push")


def _pipeline(hook: Webhook, body: Any) -> Delivery | Ignored:
    at = "/object_attributes"
    status, source = _member(body, f"{at}/status", str), _member(body, f"{at}/source", str)
    tag, number = _member(body, f"{at}/tag", bool), _number(body, f"{at}/id")
    ref, sha = _ref(body, f"{at}/ref"), _commit(body, f"{at}/sha")
    if status != STATUS:
        return Ignored("other_status", f"the pipeline's status is not {STATUS}")
    if source in _OF_MERGE_REQUESTS or body.get("merge_request") is not None:
        return Ignored(
            "merge_request", "the pipeline runs the code of a merge request or of a parent pipeline"
        )
    ref_type = "tag" if tag else "branch"
    if ref_type != hook.ref_type:
        what = f"the pipeline is of a {ref_type}, and this webhook waits for those of a {hook.ref_type}"
        return Ignored("other_ref", what)
    return Delivery("pipeline", ref, ref_type, sha, number, source)


def _matching(hook: Webhook, delivery: Delivery | Ignored) -> Delivery | Ignored:
    if isinstance(delivery, Delivery) and not hook.ref.matches(delivery.ref):
        return Ignored("other_ref", "the branch or tag is not one that this webhook waits for")
    return delivery


def _check_event(headers: Headers, kind: str) -> None:
    events = headers.get("x-gitlab-event", ())
    if len(events) != 1:
        raise invalid_request([("", "X-Gitlab-Event must be sent once")])
    if kind in _HOOKS and events[0] not in _HOOKS[kind]:
        raise invalid_request([("/object_kind", "is not what X-Gitlab-Event says")])


def _check_project(hook: Webhook, body: Any) -> None:
    """Compare both places in which GitLab names the project, or the one that there is."""
    project = body.get("project")
    named = [_number(body, "/project_id")] if "project_id" in body else []
    if not named or (isinstance(project, dict) and "id" in project):
        named.append(_number(body, "/project/id"))
    if any(number != hook.project_id for number in named):
        raise not_allowed("the delivery is from a different project than the webhook's")


def _member(body: Any, pointer: str, kind: type) -> Any:
    """Return the value at a JSON pointer if it is exactly of that type. Raises 400 otherwise."""
    value = body
    for name in pointer[1:].split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) is not kind:  # true is an int too
        raise invalid_request([(pointer, "is missing, or not as GitLab sends it")])
    return value


def _number(body: Any, pointer: str) -> str:
    """Return an id's digits."""
    number = _member(body, pointer, int)
    if not 1 <= number < 10**18:
        raise invalid_request([(pointer, "is not an id")])
    return str(number)


def _ref(body: Any, pointer: str) -> str:
    ref: str = _member(body, pointer, str)
    if not (1 <= len(ref) <= _MAX_REF and ref.isprintable()):
        raise invalid_request([(pointer, f"is not a name of at most {_MAX_REF} printable characters")])
    return ref


def _commit(body: Any, pointer: str) -> str:
    sha: str = _member(body, pointer, str)
    if not _COMMIT.fullmatch(sha) or set(sha) == {"0"}:
        raise invalid_request([(pointer, "is not a commit's SHA")])
    return sha


# The identity, and what it may claim


def identity(hook: Webhook, delivery: Delivery, now: float) -> Identity:
    """Return the identity of a delivery from a holder of the hook's secret, for the entry's own project."""
    claims = {
        "project_id": hook.project_id,
        "ref": delivery.ref,
        "ref_type": delivery.ref_type,
        "sha": delivery.sha,
        "pipeline_id": delivery.pipeline_id,
        "pipeline_source": delivery.pipeline_source,
        "event": delivery.event,
    }
    return Identity(
        via="webhook",
        issuer=hook.issuer,
        claims={name: value for name, value in claims.items() if value is not None},
        jti=None,
        issued_at=int(now),
        expires_at=int(now),
        webhook=hook.name,
    )


def check_agrees(hook: Webhook, body: Any, token: Identity) -> None:
    """Raise 403 if the entry or the body differs from the token: the identity is the token's alone.

    A tag's push has no pipeline; anything else that is missing differs.
    """
    if token.project != (hook.issuer, hook.project_id):
        raise not_allowed("the token is from a different project than the webhook's")
    for claim, value in _claimed(body).items():
        if value != token.text(claim):
            raise not_allowed(f"the body's {claim} is missing, or not the token's")


def _claimed(body: Any) -> dict[str, str | None]:
    """Return what a body says that its token says too; None for what is missing or malformed."""

    def said(pointer: str, kind: type) -> str | None:
        try:
            return str(_member(body, pointer, kind))
        except Problem:
            return None

    match body.get("object_kind") if isinstance(body, dict) else None:
        case "tag_push":
            return {
                "project_id": said("/project_id", int),
                "ref": (said("/ref", str) or "").removeprefix(_TAGS),
                "ref_type": "tag",
                "sha": said("/checkout_sha", str),
            }
        case "pipeline":
            at = "/object_attributes"
            return {
                "project_id": said("/project/id", int),
                "ref": said(f"{at}/ref", str),
                "ref_type": "tag" if said(f"{at}/tag", bool) == "True" else "branch",
                "sha": said(f"{at}/sha", str),
                "pipeline_id": said(f"{at}/id", int),
            }
        case _:
            return {}


# One effect


def request_key(hook: Webhook, delivery: Delivery, *, proven: bool) -> str:
    """Return the key of (entry, tag, commit), or for a branch of (entry, pipeline, ref, commit).

    Each has one effect; one more if it first had to do with the artifact of another ref, and so proved
    nothing: what only a holder of the secret says must not use up what a job of that ref has proven.
    """
    of = ("tag",) if delivery.ref_type == "tag" else ("pipeline", delivery.pipeline_id)
    unproven = () if proven else ("of another ref",)
    return digest("webhook", *_entry(hook), *of, delivery.ref, delivery.sha, *unproven)


def permanent_claim(hook: Webhook, delivery: Delivery, *, proven: bool) -> PermanentClaim:
    """Return the claim that keeps the request for good, and the tag at this commit."""
    tag = digest("webhook", *_entry(hook), delivery.ref) if delivery.ref_type == "tag" else None
    return PermanentClaim(tag, delivery.sha, proven)


def _entry(hook: Webhook) -> tuple[str, str, str]:
    return hook.name, hook.issuer, hook.project_id
