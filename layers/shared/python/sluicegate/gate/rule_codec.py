"""Read issuers, rules and whatever says who is who from gate.json; refuse what their types cannot say."""

from collections.abc import Collection, Mapping

import msgspec

from sluicegate.gate import principals, sessions
from sluicegate.gate import webhooks as webhook_rules
from sluicegate.gate.decoding import GateError, known, pattern, unique
from sluicegate.gate.model import FunctionEntry, Stage
from sluicegate.gate.notifications import Notification
from sluicegate.gate.principals import Person, Principals, SsoRole
from sluicegate.gate.records import (
    DenyRecord,
    Document,
    IssuerRecord,
    NotificationRecord,
    RuleRecord,
    WebhookRecord,
)
from sluicegate.gate.rules import DENIABLE, DENIABLE_PRINCIPAL, FOLDED, PINS_OF, Deny, Rule, RuleLimits
from sluicegate.gate.webhooks import Webhook
from sluicegate.oidc.identity import Feedback, Issuer, SignIn

_SIGNED = ("iam", "iam+id_token")
"""The ways in that have AWS credentials."""

_JOBS = ("id_token", "iam+id_token", "webhook")
"""The ways in of a pipeline."""


def issuer(record: IssuerRecord) -> Issuer:
    """Return an issuer. Raises GateError where a job's token could be taken for a sign-in."""
    feedback, sign_in = record.feedback, record.sign_in
    if sign_in and sign_in.client_id in (record.audience, record.sts_audience):
        raise GateError("gate.json: an audience of jobs is the id of an application that signs people in")
    return Issuer(
        name=record.name,
        url=record.url,
        audience=record.audience,
        max_age=record.max_age,
        jwks=None if record.jwks is None else record.jwks.encode(),
        feedback=None if feedback is None else msgspec.convert(feedback, Feedback, from_attributes=True),
        gitlab_url=record.gitlab_url,
        sts_audience=record.sts_audience,
        sign_in=None if sign_in is None else msgspec.convert(sign_in, SignIn, from_attributes=True),
        trusts_groups=record.groups == "trusted",
    )


def people_and_agents(document: Document, issuers: Mapping[str, Issuer]) -> Principals:
    """Return `sso`, `people` and `agents`. With one id of two people, somebody could approve their own."""
    people = tuple(
        Person(
            name=each.name,
            gitlab=tuple((known("issuer", one.issuer, issuers), one.user_id) for one in each.gitlab),
            iam=tuple((one.org, one.session_name) for one in each.iam),
        )
        for each in document.people
    )
    unique("person", ((each.name, each) for each in people))
    unique("user of a person", ((f"{one[1]} of {one[0]}", one) for each in people for one in each.gitlab))
    sessions = (one for each in people for one in each.iam)
    unique("session of a person", ((f"{name.casefold()} of {org}", name) for org, name in sessions))
    return Principals(
        sso=frozenset(msgspec.convert(each, SsoRole, from_attributes=True) for each in document.sso),
        people=people,
        agent_users=frozenset(
            (known("issuer", one.issuer, issuers), one.user_id) for one in document.agents.users
        ),
        agent_principals=frozenset((one.account, one.principal_id) for one in document.agents.principals),
    )


def rules(
    document: Document,
    issuers: Mapping[str, Issuer],
    stages: Mapping[str, Stage],
    functions: Collection[FunctionEntry],
    found: Principals,
) -> tuple[Rule, ...]:
    """Return the rules. Raises GateError where one goes beyond what its way in proves."""
    signed = any(each.via in _SIGNED for each in document.rules)
    guarded = _guarded(stages, functions) if signed else {}
    return tuple(_rule(each, issuers, stages, found, guarded) for each in document.rules)


def _rule(
    record: RuleRecord,
    issuers: Mapping[str, Issuer],
    stages: Mapping[str, Stage],
    found: Principals,
    guarded: Mapping[str, str],
) -> Rule:
    if record.via in _JOBS and "pipeline_source" not in record.claims:
        raise GateError("gate.json: a rule leaves pipeline_source open, which lets forks in")
    if record.via == "iam" and record.issuer:
        raise GateError(f"gate.json: rule {record.name!r} is for AWS credentials, and has an issuer")
    rule = Rule(
        name=record.name,
        issuer=record.issuer and known("issuer", record.issuer, issuers),
        via=record.via,
        claims=tuple(
            (claim, tuple(pattern(text, fold=claim in FOLDED) for text in wanted))
            for claim, wanted in record.claims.items()
        ),
        actions=frozenset(record.actions),
        functions=tuple(map(pattern, record.functions)),
        stages=tuple(known("stage", stage, stages) for stage in record.stages),
        limits=None
        if record.limits is None
        else msgspec.convert(record.limits, RuleLimits, from_attributes=True),
    )
    if rule.via != "iam" and not rule.issuer:
        raise GateError(f"gate.json: rule {rule.name!r} has no issuer")
    if rule.via in _SIGNED:
        aged = [name for name, stage in stages.items() if stage.max_age is not None]
        if problem := principals.excess(rule, found.sso, guarded=guarded, aged=aged):
            raise GateError(f"gate.json: rule {rule.name!r} {problem}")
    if rule.via == "webhook":
        protected = [stage.name for stage in stages.values() if stage.protected]
        if problem := webhook_rules.excess(rule, protected):
            raise GateError(f"gate.json: rule {rule.name!r} {problem}")
    if rule.via == "session":
        trusts_groups = issuers[rule.issuer].trusts_groups
        if problem := sessions.excess(rule, trusts_groups=trusts_groups):
            raise GateError(f"gate.json: rule {rule.name!r} {problem}")
    if "approve" in rule.actions and not rule.asks_a_person:
        raise GateError(
            f"gate.json: rule {rule.name!r} grants approve without pinning what shows that a person asked"
        )
    return rule


def _guarded(stages: Mapping[str, Stage], functions: Collection[FunctionEntry]) -> dict[str, str]:
    """Return the stages that AWS credentials alone do not open, each with the reason."""
    guarded = {
        name: "asks for an approval"
        for name, stage in stages.items()
        if any(entry.rollout_in(stage).approval is not None for entry in functions)
    }
    return guarded | {name: "is protected" for name, stage in stages.items() if stage.protected}


def notifications(document: Document, stages: Mapping[str, Stage]) -> tuple[Notification, ...]:
    """Return `notify`."""
    found = tuple(_notification(each, stages) for each in document.notify)
    unique("notification", ((each.name, each) for each in found))
    return found


def _notification(record: NotificationRecord, stages: Mapping[str, Stage]) -> Notification:
    return Notification(
        name=record.name,
        type=record.type,
        secret=record.secret,
        functions=tuple(map(pattern, record.functions)),
        stages=frozenset(known("stage", stage, stages) for stage in record.stages),
        statuses=frozenset(record.statuses),
    )


def deny(record: DenyRecord, issuers: Mapping[str, Issuer]) -> Deny:
    """Return an entry of `deny`."""
    deniable = DENIABLE if record.issuer else DENIABLE_PRINCIPAL
    if not set(record.claims) <= set(deniable):
        raise GateError("gate.json: an entry of deny mixes what a GitLab and what AWS vouches for")
    return Deny(record.issuer and known("issuer", record.issuer, issuers), tuple(record.claims.items()))


def webhooks(document: Document, issuers: Mapping[str, Issuer]) -> Mapping[str, Webhook]:
    """Return `webhooks`, by name."""
    return unique("webhook", ((each.name, _webhook(each, issuers)) for each in document.webhooks))


def _webhook(record: WebhookRecord, issuers: Mapping[str, Issuer]) -> Webhook:
    if (record.secret is None) != (record.scheme == "id_token"):
        raise GateError("gate.json: a webhook has a secret, or its scheme is id_token")
    if record.event == "tag_push" and record.ref_type != "tag":
        raise GateError("gate.json: a webhook waits for the push of a tag, and its ref is no tag")
    return Webhook(
        name=record.name,
        issuer=known("issuer", record.issuer, issuers),
        project_id=record.project_id,
        scheme=record.scheme,
        secret=record.secret,
        event=record.event,
        ref_type=record.ref_type,
        ref=pattern(record.ref),
        function=record.function,
        stage=record.stage,
    )


def first_pin(rule: Rule) -> tuple[str, tuple[str, ...]]:
    """Return the claim by which the rule is found, and its values."""
    pins = PINS_OF[rule.via]
    for claim in pins:
        if pinned := rule.pinned(claim):
            return claim, pinned
    raise GateError(f"gate.json: rule {rule.name!r} pins none of {', '.join(pins)}")
