"""The gate file's `webhooks`, compiled: which deliveries are listened to, how they prove where they are from,
and what they deploy. And what a rule for them may say.

A delivery that is not an ID token's says little: that a holder of the hook's secret sent it, and a maintainer
of the project can have GitLab send what they like. security.md#webhooks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sluicegate.gate.patterns import Pattern
from sluicegate.gate.rules import Rule

Scheme = Literal["signature", "token", "id_token"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

Event = Literal["tag_push", "pipeline"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)

RefType = Literal["branch", "tag"]
REF_TYPES: Final[tuple[RefType, ...]] = get_args(RefType)

STATUS: Final = "success"
"""The one status of a pipeline that anything is deployed for."""

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
SECRET: Final = r"sluicegate/webhooks/[A-Za-z0-9_+=.@-]{1,128}"  # noqa: S105 - the form of a name
"""The gateway's role reads secrets under this prefix and no others."""

CLAIMS: Final = ("project_id", "ref", "ref_type", "sha", "pipeline_id", "pipeline_source", "event")
"""All that a webhook's identity has."""

ACTIONS: Final = ("deploy", "read")
"""All that a rule can grant to one."""


@dataclass(frozen=True)
class Webhook:
    """One entry: `secret` names a secret in Secrets Manager, None where ID tokens prove it instead."""

    name: str
    issuer: str
    project_id: str
    scheme: Scheme
    secret: str | None
    event: Event
    ref_type: RefType
    ref: Pattern
    function: str
    stage: str


def excess(rule: Rule, protected: Collection[str]) -> str | None:
    """Say where a rule for webhooks goes beyond what a delivery proves; None where it does not."""
    if not rule.pinned("project_id"):
        return "is for webhooks and does not pin project_id"
    if not {claim for claim, _ in rule.claims} <= set(CLAIMS):
        return "names claims that no webhook has"
    if not rule.actions <= set(ACTIONS):
        return "grants webhooks more than deploy and read"
    if set(rule.stages) & set(protected):
        return "grants webhooks a protected stage"
    return None
