"""The gate file's `webhooks`, compiled: which deliveries are listened to, how they prove where they are from,
and what they deploy. And what a rule for them may say.

A delivery that is not an ID token's says little: that a holder of the hook's secret sent it, and a maintainer
of the project can have GitLab send what they like. security.md#webhooks.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from sluicegate.gate import codec
from sluicegate.gate.codec import GateError
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.rollout_settings import FUNCTION
from sluicegate.gate.rules import Rule
from sluicegate.strict_json import JsonValue

Scheme = Literal["signature", "token", "id_token"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

Event = Literal["tag_push", "pipeline"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)

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
    ref: Pattern
    function: str
    stage: str


def document(name: str, entry: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """The entry for gate.json; `entry` has the gate file's keys, `issuer` is its url."""
    return {
        "name": name,
        "issuer": issuer,
        "project_id": entry["project_id"],
        "scheme": entry["scheme"],
        "secret": entry.get("secret"),
        "event": entry["event"],
        "ref": entry["ref"],
        "function": entry["deploy"]["function"],
        "stage": entry["deploy"]["stage"],
    }


def read(value: JsonValue, *, issuers: Collection[str]) -> Webhook:
    """An entry of gate.json. Whether its function and stage are there is the gate's to know."""
    item = codec.record(
        value, "name", "issuer", "project_id", "scheme", "secret", "event", "ref", "function", "stage"
    )
    scheme = cast(Scheme, codec.known("scheme", codec.text(item["scheme"]), SCHEMES))
    return Webhook(
        name=_of_form(item["name"], NAME),
        issuer=codec.known("issuer", codec.text(item["issuer"]), issuers),
        project_id=_of_form(item["project_id"], r"[1-9][0-9]*"),
        scheme=scheme,
        secret=_secret(item["secret"], scheme),
        event=cast(Event, codec.known("event", codec.text(item["event"]), EVENTS)),
        ref=codec.pattern(item["ref"]),
        function=_of_form(item["function"], FUNCTION),
        stage=codec.text(item["stage"]),
    )


def check_rule(rule: Rule, protected: Collection[str]) -> None:
    """Raises GateError where a rule for webhooks goes beyond what a delivery proves."""
    if not rule.pinned("project_id"):
        raise GateError(f"gate.json: rule {rule.name!r} is for webhooks and does not pin project_id")
    if not {claim for claim, _ in rule.claims} <= set(CLAIMS):
        raise GateError(f"gate.json: rule {rule.name!r} names claims that no webhook has")
    if not rule.actions <= set(ACTIONS):
        raise GateError(f"gate.json: rule {rule.name!r} grants webhooks more than to deploy")
    if set(rule.stages) & set(protected):
        raise GateError(f"gate.json: rule {rule.name!r} grants webhooks a protected stage")


def _secret(value: JsonValue, scheme: Scheme) -> str | None:
    if (value is None) != (scheme == "id_token"):
        raise GateError("gate.json: a webhook has a secret, or its scheme is id_token")
    return None if value is None else _of_form(value, SECRET)


def _of_form(value: JsonValue, form: str) -> str:
    text = codec.text(value)
    if not re.fullmatch(form, text, re.ASCII):
        raise GateError(f"gate.json: {text[:64]!r} is not of the form {form}")
    return text
