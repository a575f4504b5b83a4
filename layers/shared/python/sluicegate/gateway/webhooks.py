"""What GitLab's deliveries say: whether one is from where it says, and what it comes to for an entry of
`webhooks`. Values in, values out. security.md#webhooks.

Bodies as https://docs.gitlab.com/user/project/integrations/webhook_events/ shows them. A maintainer of the
project can have GitLab send any other (a custom template): a body is no more than a claim, about the entry's
own project.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.gate.webhooks import STATUS, Event, Webhook
from sluicegate.gateway.problems import Problem, invalid_request, not_allowed
from sluicegate.oidc.identity import Identity
from sluicegate.oidc.token import InvalidToken
from sluicegate.store.keys import digest
from sluicegate.store.requests import PermanentClaim

MAX_BODY: Final = 512 * 1024
"""Bytes. A pipeline's event lists its jobs, at about a kilobyte each."""

Headers = Mapping[str, Sequence[str]]
Check = Callable[[str], bool]
"""Whether a delivery verifies with a secret."""

_HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    # GitLab's test button sends the last push as a tag's (gitlab-org/gitlab#343508).
    "push": ("Push Hook", "Tag Push Hook"),
    "tag_push": ("Tag Push Hook",),
    "pipeline": ("Pipeline Hook",),
}
"""`X-Gitlab-Event` by `object_kind`, of the kinds that are looked into."""

_OF_MERGE_REQUESTS: Final = ("merge_request_event", "external_pull_request_event", "parent_pipeline")
"""Sources whose pipelines run what a merge request brings; its author may be anybody who can fork."""

_TAGS: Final = "refs/tags/"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_ID: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_SIGNATURES: Final = re.compile(r"[\x20-\x7e]{1,2048}", re.ASCII)
_TOKEN: Final = re.compile(r"[\s\S]{1,4096}")
_MAX_REF: Final = 256


@dataclass(frozen=True)
class Delivery:
    """That something may be deployed: a tag was pushed, or a pipeline succeeded. `ref` is the bare name."""

    event: Event
    ref: str
    ref_type: str
    sha: str
    pipeline_id: str | None
    pipeline_source: str


@dataclass(frozen=True)
class Nothing:
    """That there is nothing to do, and why: `code` for machines, `why` for whoever reads GitLab's log."""

    code: str
    why: str


# Where it is from


def signature(headers: Headers, body: bytes) -> Check:
    """A check of Standard Webhooks' signature (https://www.standardwebhooks.com/) with a `whsec_` secret.

    The library tolerates five minutes by the system's clock. Raises InvalidToken where nothing can verify.
    """
    sent = {
        "webhook-id": _only(headers, "webhook-id", _ID),
        "webhook-timestamp": _only(headers, "webhook-timestamp", _TIMESTAMP),
        "webhook-signature": _only(headers, "webhook-signature", _SIGNATURES),
    }
    _check_key(headers, sent["webhook-id"])

    def verifies(secret: str) -> bool:
        from standardwebhooks import Webhook as Verifier  # here, for no other path needs it

        try:
            Verifier(secret).verify(body, sent, json_parse=False)
        except Exception:  # not only its own: whatever it raises, nothing was verified
            return False
        return True

    return verifies


def token(headers: Headers) -> Check:
    """A check of `X-Gitlab-Token`, in constant time. Raises InvalidToken where nothing can verify."""
    sent = _only(headers, "x-gitlab-token", _TOKEN).encode("utf-8", "surrogatepass")
    return lambda secret: bool(secret) and hmac.compare_digest(sent, secret.encode("utf-8", "surrogatepass"))


def check_instance(hook: Webhook, headers: Headers) -> None:
    """`X-Gitlab-Instance`, where it is sent, is the issuer's. Nobody signs it, so it proves nothing.

    It has no path, even where GitLab is at one (`Gitlab.config.gitlab.base_url`).
    """
    for instance in headers.get("x-gitlab-instance", ()):
        if hook.issuer != instance and not hook.issuer.startswith(f"{instance}/"):
            raise InvalidToken("x-gitlab-instance", "not the webhook's issuer")


def _check_key(headers: Headers, identifier: str) -> None:
    """GitLab sends one id under two names. Only one of them is signed, so the other must not differ."""
    keys = headers.get("idempotency-key", ())
    if len(keys) > 1 or any(key != identifier for key in keys):
        raise InvalidToken("idempotency-key", "not the webhook-id that is signed")


def _only(headers: Headers, name: str, form: re.Pattern[str]) -> str:
    values = headers.get(name, ())
    if len(values) != 1:  # of two, somebody before us might have looked at the other
        raise InvalidToken(name, f"{len(values)} headers, not one")
    if not form.fullmatch(values[0]):
        raise InvalidToken(name, "malformed")
    return values[0]


# What it says


def read(hook: Webhook, headers: Headers, body: Any) -> Delivery | Nothing:
    """What a delivery comes to for the entry; `body` is its JSON value.

    Raises a Problem: 400 where it lacks what GitLab always sends, 403 where it is of another project.
    """
    kind = _member(body, "/object_kind", str)
    _check_event(headers, kind)
    _check_project(hook, body)
    match kind:
        case "tag_push" if hook.event == "tag_push":
            return _fitting(hook, _tag_push(body))
        case "pipeline":
            return _fitting(hook, _pipeline(hook, body))
        case _:
            return Nothing("other_event", f"this webhook waits for {hook.event}, and this is another event")


def _tag_push(body: Any) -> Delivery | Nothing:
    """`checkout_sha` is the commit; `after` is an annotated tag's own id. Neither where it is deleted."""
    ref, after = _ref(body, "/ref"), body.get("after")
    if not ref.startswith(_TAGS) or ref == _TAGS:
        raise invalid_request([("/ref", f"is not {_TAGS} and a tag")])
    if body.get("checkout_sha", "") is None or (isinstance(after, str) and set(after) == {"0"}):
        return Nothing("tag_deleted", "the tag was deleted")
    sha = _commit(body, "/checkout_sha")
    return Delivery("tag_push", ref.removeprefix(_TAGS), "tag", sha, None, "push")


def _pipeline(hook: Webhook, body: Any) -> Delivery | Nothing:
    at = "/object_attributes"
    status, source = _member(body, f"{at}/status", str), _member(body, f"{at}/source", str)
    tag, number = _member(body, f"{at}/tag", bool), _number(body, f"{at}/id")
    ref, sha = _ref(body, f"{at}/ref"), _commit(body, f"{at}/sha")
    if status != STATUS:
        return Nothing("other_status", f"the pipeline's status is not {STATUS}")
    if source in _OF_MERGE_REQUESTS or body.get("merge_request") is not None:
        return Nothing("merge_request", "the pipeline runs what a merge request or another pipeline brings")
    if hook.event == "tag_push" and not tag:
        return Nothing("other_ref", "the pipeline is a branch's, and this webhook waits for tags")
    return Delivery("pipeline", ref, "tag" if tag else "branch", sha, number, source)


def _fitting(hook: Webhook, delivery: Delivery | Nothing) -> Delivery | Nothing:
    if isinstance(delivery, Delivery) and not hook.ref.matches(delivery.ref):
        return Nothing("other_ref", "the branch or tag is not one that this webhook waits for")
    return delivery


def _check_event(headers: Headers, kind: str) -> None:
    events = headers.get("x-gitlab-event", ())
    if len(events) != 1:
        raise invalid_request([("", "X-Gitlab-Event must be sent once")])
    if kind in _HOOKS and events[0] not in _HOOKS[kind]:
        raise invalid_request([("/object_kind", "is not what X-Gitlab-Event says")])


def _check_project(hook: Webhook, body: Any) -> None:
    """Both places in which GitLab names the project, or the one that there is."""
    project = body.get("project")
    named = [_number(body, "/project_id")] if "project_id" in body else []
    if not named or (isinstance(project, dict) and "id" in project):
        named.append(_number(body, "/project/id"))
    if any(number != hook.project_id for number in named):
        raise not_allowed("the delivery is of another project than the webhook's")


def _member(body: Any, pointer: str, kind: type) -> Any:
    """What is at a JSON pointer, and exactly of that type. Raises the Problem that says what is missing."""
    value = body
    for name in pointer[1:].split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) is not kind:  # true is an int too
        raise invalid_request([(pointer, "is not there, or not as GitLab sends it")])
    return value


def _number(body: Any, pointer: str) -> str:
    """An id, as its digits."""
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


# Who asks, and for what


def identity(hook: Webhook, delivery: Delivery, now: float) -> Identity:
    """Of a delivery that a holder of the hook's secret sent: what it says, of the entry's own project."""
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
    """Raises 403 where the entry or the body is not the token's: the identity is the token's alone.

    A tag's push knows no pipeline; whatever else is missing differs.
    """
    if token.project != (hook.issuer, hook.project_id):
        raise not_allowed("the token is of another project than the webhook's")
    for claim, value in _claimed(body).items():
        if value != token.text(claim):
            raise not_allowed(f"the body's {claim} is missing, or not the token's")


def _claimed(body: Any) -> dict[str, str | None]:
    """What a body says of what its token says too; None for what is missing or malformed."""

    def said(pointer: str, kind: type) -> str | None:
        try:
            return str(_member(body, pointer, kind))
        except Problem:
            return None

    match _kind(body):
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


def _kind(body: Any) -> Any:
    return body.get("object_kind") if isinstance(body, dict) else None


def request_key(hook: Webhook, delivery: Delivery) -> str:
    """One effect per (entry, tag, commit), whatever tells of it; per (entry, pipeline) of a branch."""
    if delivery.ref_type == "tag":
        return digest("webhook", *_entry(hook), "tag", delivery.ref, delivery.sha)
    return digest("webhook", *_entry(hook), "pipeline", delivery.pipeline_id)


def once(hook: Webhook, delivery: Delivery) -> PermanentClaim:
    """That the effect is for good, and that the tag is not followed to another commit."""
    tag = digest("webhook", *_entry(hook), delivery.ref) if delivery.ref_type == "tag" else None
    return PermanentClaim(tag, delivery.sha)


def _entry(hook: Webhook) -> tuple[str, str, str]:
    return hook.name, hook.issuer, hook.project_id
