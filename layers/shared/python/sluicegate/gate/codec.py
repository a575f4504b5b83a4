"""Read gate.json, the compiled gate file. It is refused whole if anything in it is wrong: an error denies.

guarantees.md#6-deny-by-default
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from sluicegate.deployment import strategy
from sluicegate.deployment.plan import Smoke, Watch
from sluicegate.gate import alarm_names, metric_names, patterns, principals, rollout_settings, webhooks
from sluicegate.gate.model import OWN_NAME, OWN_TARGET, FunctionEntry, Stage, StageAgents, TargetReference
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import Person, Principals, SsoRole
from sluicegate.gate.records import (
    FORMAT,
    DenyRecord,
    Document,
    FunctionRecord,
    IssuerRecord,
    RolloutRecord,
    RuleRecord,
    StageAgentsRecord,
    StageRecord,
    TargetRecord,
    WebhookRecord,
)
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gate.rules import (
    DENIABLE,
    DENIABLE_PRINCIPAL,
    FOLDED,
    PINS,
    PRINCIPAL_PINS,
    Deny,
    Rule,
    RuleLimits,
)
from sluicegate.gate.webhooks import Webhook
from sluicegate.oidc.identity import Feedback, Issuer
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

MAX_DEPTH = 12

_SIGNED = ("iam", "iam+id_token")
"""The ways in that have AWS credentials."""

_T = TypeVar("_T")


class GateError(Exception):
    """There is no usable gate.json: nothing can be decided, so everything is denied. The message says why."""


def load(path: str | Path, *, own_functions: Collection[str]) -> Gate:
    """Read gate.json. `own_functions`, the stack's, are never covered, placed or granted, whatever it says.

    Raises GateError for anything that is not a whole and sound gate.json of this version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise GateError(f"cannot read the gate: {error.strerror}") from error
    return parse(data, own_functions=own_functions)


def parse(data: bytes, *, own_functions: Collection[str]) -> Gate:
    """Return the gate in gate.json's bytes; see `load`."""
    document = _document(data)
    return _Reader(document, own_functions).gate(hashlib.sha256(data).hexdigest())


def _document(data: bytes) -> Document:
    """Return the records of gate.json: strict JSON first, as msgspec takes the last of two equal names."""
    try:
        value = loads(data, max_depth=MAX_DEPTH)
    except StrictJsonError as error:
        raise GateError(f"gate.json: {error}") from error
    if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
        raise GateError(f"gate.json is not of format {FORMAT}: build it again with this version")
    try:
        return msgspec.convert(value, Document)
    except msgspec.ValidationError as error:
        raise GateError(f"gate.json: {clean(str(error), 512)}") from error


@dataclass(frozen=True)
class _Reader:
    """Makes values of the records, and refuses what their types cannot say."""

    document: Document
    own_functions: Collection[str]

    def gate(self, digest: str) -> Gate:
        document = self.document
        issuers = _unique("issuer", ((each.url, _issuer(each)) for each in document.issuers))
        targets = _unique("target", ((each.name, _target(each)) for each in document.targets))
        _unique("account and region", ((f"{one.account} {one.region}", one) for one in targets.values()))
        stages = _unique("stage", ((each.name, self._stage(each, targets)) for each in document.stages))
        functions = tuple(self._function(each, stages) for each in document.functions)
        _check_requirements(stages, functions)
        found = _principals(document, issuers)
        signed = any(each.via in _SIGNED for each in document.rules)
        guarded = _guarded(stages, functions) if signed else {}
        rules = tuple(_rule(each, issuers, stages, found, guarded) for each in document.rules)
        deny = tuple(_deny(each, issuers) for each in document.deny)
        gate = Gate(
            digest=digest,
            issuers=issuers,
            stages=stages,
            functions=functions,
            rules=rules,
            deny=deny,
            webhooks=_unique("webhook", ((each.name, _webhook(each, issuers)) for each in document.webhooks)),
            targets=targets,
            principals=found,
            own_functions=frozenset(self.own_functions),
            _rules_by_pin=_index((rule.issuer, *_first_pin(rule)) for rule in rules),
            _deny_by_first=_index((entry.issuer, *entry.claims[0]) for entry in deny),
        )
        for webhook in gate.webhooks.values():
            placement = gate.place(webhook.function, webhook.stage)
            if placement is None or placement.protected:
                raise GateError(f"gate.json: the webhook {webhook.name!r} deploys where it may not")
        return gate

    def _stage(self, record: StageRecord, targets: Mapping[str, TargetReference]) -> Stage:
        target = record.target
        return Stage(
            name=record.name,
            alias=record.alias,
            target=OWN_TARGET if target is None else targets[_known("target", target, targets)],
            protected=record.protected,
            max_age=record.max_age,
            rollout=self._rollout(record.rollout),
            agents=_stage_agents(record.agents),
        )

    def _function(self, record: FunctionRecord, stages: Mapping[str, Stage]) -> FunctionEntry:
        for stage in (*record.alias, *record.max_age, *record.rollout):
            _known("stage", stage, stages)
        return FunctionEntry(
            pattern=_pattern(record.pattern),
            alias=MappingProxyType(record.alias),
            max_age=MappingProxyType(record.max_age),
            rollout=MappingProxyType({stage: self._rollout(each) for stage, each in record.rollout.items()}),
        )

    def _rollout(self, record: RolloutRecord) -> Rollout:
        rollout = msgspec.convert(record, Rollout, from_attributes=True)
        try:
            strategy.checked(rollout.steps)
        except strategy.StrategyError as error:
            raise GateError(f"gate.json: {error}") from error
        if rollout.smoke:
            self._check_smoke(rollout.smoke)
        if rollout.watch:
            self._check_watch(rollout.watch)
        return rollout

    def _check_smoke(self, smoke: Smoke) -> None:
        if (smoke.payload is None) == (smoke.hook is None) or (smoke.expect and smoke.hook):
            raise GateError(
                "gate.json: a smoke test has a payload or a hook, and expects with a payload only"
            )
        if smoke.hook in self.own_functions:
            raise GateError(f"gate.json: {smoke.hook!r} is not a function that can be a hook")
        for text in filter(None, (smoke.payload, smoke.expect)):
            _check_json(text)

    def _check_watch(self, watch: Watch) -> None:
        if not (watch.alarms or watch.measures):
            raise GateError("gate.json: a watch has neither alarms nor limits")
        for name in watch.alarms:
            if problem := alarm_names.complaint(name):
                raise GateError(f"gate.json: the alarm {name[:64]!r} {problem}")
        _unique("metric", ((limit.metric.value, limit) for limit in watch.limits))
        for limit in watch.limits:
            least, most = rollout_settings.LEAST, rollout_settings.MOST[limit.metric]
            if limit.most is None and limit.max_ratio is None:
                raise GateError(f"gate.json: the metric {limit.metric.value} has no limit")
            if limit.most is not None and not least <= limit.most <= most:
                raise GateError(
                    f"gate.json: the maximum of {limit.metric.value} is not from {least:g} to {most}"
                )
        own = ((limit.metric.value, None) for limit in watch.limits)
        _unique("metric", (*own, *((metric.name, None) for metric in watch.metrics)))
        for metric in watch.metrics:
            if problem := metric_names.problem(metric):
                raise GateError(f"gate.json: the metric {metric.name} {problem}")
        if watch.judge and watch.judge.function in self.own_functions:
            raise GateError(f"gate.json: {watch.judge.function!r} is not a function that can judge")


def _issuer(record: IssuerRecord) -> Issuer:
    feedback = record.feedback
    return Issuer(
        name=record.name,
        url=record.url,
        audience=record.audience,
        max_age=record.max_age,
        jwks=None if record.jwks is None else record.jwks.encode(),
        feedback=None if feedback is None else msgspec.convert(feedback, Feedback, from_attributes=True),
        gitlab_url=record.gitlab_url,
        sts_audience=record.sts_audience,
    )


def _target(record: TargetRecord) -> TargetReference:
    if record.name == OWN_NAME:
        raise GateError(f"gate.json: a target is called {OWN_NAME!r}, which is the stack's own")
    return msgspec.convert(record, TargetReference, from_attributes=True)


def _stage_agents(record: StageAgentsRecord | None) -> StageAgents | None:
    if record is None:
        return None
    if set(record.actions) & set(principals.NEVER_AGENTS):
        raise GateError("gate.json: a stage lets agents do what only a person may")
    return StageAgents(frozenset(record.actions), record.propose)


def _principals(document: Document, issuers: Mapping[str, Issuer]) -> Principals:
    """Return `sso`, `people` and `agents`. With one id of two people, somebody could approve their own."""
    people = tuple(
        Person(
            name=each.name,
            gitlab=tuple((_known("issuer", one.issuer, issuers), one.user_id) for one in each.gitlab),
            iam=tuple((one.org, one.session_name) for one in each.iam),
        )
        for each in document.people
    )
    _unique("person", ((each.name, each) for each in people))
    _unique("user of a person", ((f"{one[1]} of {one[0]}", one) for each in people for one in each.gitlab))
    sessions = (one for each in people for one in each.iam)
    _unique("session of a person", ((f"{name.casefold()} of {org}", name) for org, name in sessions))
    return Principals(
        sso=frozenset(msgspec.convert(each, SsoRole, from_attributes=True) for each in document.sso),
        people=people,
        agent_users=frozenset(
            (_known("issuer", one.issuer, issuers), one.user_id) for one in document.agents.users
        ),
        agent_principals=frozenset((one.account, one.principal_id) for one in document.agents.principals),
    )


def _check_json(text: str) -> None:
    """Raise GateError where a payload or an expectation is not compact JSON."""
    try:
        compact = json.dumps(
            loads(text.encode(), max_depth=rollout_settings.MAX_DEPTH), separators=(",", ":")
        )
    except StrictJsonError as error:
        raise GateError(f"gate.json: a payload or an expectation: {error}") from error
    if text != compact:
        raise GateError("gate.json: a payload or an expectation is not compact JSON")


def _check_requirements(stages: Mapping[str, Stage], functions: Collection[FunctionEntry]) -> None:
    """Raise GateError where a function's stages require an unknown stage, or one another in a circle."""
    own = {name: stage.rollout.requires for name, stage in stages.items()}
    merged = (
        {name: entry.rollout_in(stage).requires for name, stage in stages.items()} for entry in functions
    )
    for requires in (own, *merged):
        for required in requires.values():
            if required is not None:
                _known("stage", required, stages)
        for stage in rollout_settings.circular(requires):
            raise GateError(f"gate.json: the stage {stage!r} requires itself")


def _rule(
    record: RuleRecord,
    issuers: Mapping[str, Issuer],
    stages: Mapping[str, Stage],
    known: Principals,
    guarded: Mapping[str, str],
) -> Rule:
    if record.via != "iam" and "pipeline_source" not in record.claims:
        raise GateError("gate.json: a rule leaves pipeline_source open, which lets forks in")
    if record.via == "iam" and record.issuer:
        raise GateError(f"gate.json: rule {record.name!r} is for AWS credentials, and has an issuer")
    rule = Rule(
        name=record.name,
        issuer=record.issuer and _known("issuer", record.issuer, issuers),
        via=record.via,
        claims=tuple(
            (claim, tuple(_pattern(text, fold=claim in FOLDED) for text in wanted))
            for claim, wanted in record.claims.items()
        ),
        actions=frozenset(record.actions),
        functions=tuple(map(_pattern, record.functions)),
        stages=tuple(_known("stage", stage, stages) for stage in record.stages),
        limits=None
        if record.limits is None
        else msgspec.convert(record.limits, RuleLimits, from_attributes=True),
    )
    if rule.via != "iam" and not rule.issuer:
        raise GateError(f"gate.json: rule {rule.name!r} has no issuer")
    if rule.via in _SIGNED:
        aged = [name for name, stage in stages.items() if stage.max_age is not None]
        if problem := principals.excess(rule, known.sso, guarded=guarded, aged=aged):
            raise GateError(f"gate.json: rule {rule.name!r} {problem}")
    if rule.via == "webhook":
        protected = [stage.name for stage in stages.values() if stage.protected]
        if problem := webhooks.excess(rule, protected):
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


def _deny(record: DenyRecord, issuers: Mapping[str, Issuer]) -> Deny:
    deniable = DENIABLE if record.issuer else DENIABLE_PRINCIPAL
    if not set(record.claims) <= set(deniable):
        raise GateError("gate.json: an entry of deny mixes what a GitLab and what AWS vouches for")
    return Deny(record.issuer and _known("issuer", record.issuer, issuers), tuple(record.claims.items()))


def _webhook(record: WebhookRecord, issuers: Mapping[str, Issuer]) -> Webhook:
    if (record.secret is None) != (record.scheme == "id_token"):
        raise GateError("gate.json: a webhook has a secret, or its scheme is id_token")
    if record.event == "tag_push" and record.ref_type != "tag":
        raise GateError("gate.json: a webhook waits for the push of a tag, and its ref is no tag")
    return Webhook(
        name=record.name,
        issuer=_known("issuer", record.issuer, issuers),
        project_id=record.project_id,
        scheme=record.scheme,
        secret=record.secret,
        event=record.event,
        ref_type=record.ref_type,
        ref=_pattern(record.ref),
        function=record.function,
        stage=record.stage,
    )


def _first_pin(rule: Rule) -> tuple[str, tuple[str, ...]]:
    for claim in PRINCIPAL_PINS if rule.via == "iam" else PINS:
        if pinned := rule.pinned(claim):
            return claim, pinned
    raise GateError(f"gate.json: rule {rule.name!r} pins neither project_id nor namespace_id")


def _index(
    keys: Iterable[tuple[str, str, tuple[str, ...]]],
) -> Mapping[tuple[str, str, str], Sequence[int]]:
    """Map (issuer, claim, value) to the positions that have it, ascending, each once."""
    index: dict[tuple[str, str, str], list[int]] = {}
    for position, (issuer, claim, values) in enumerate(keys):
        for value in dict.fromkeys(values):
            index.setdefault((issuer, claim, value), []).append(position)
    return MappingProxyType(index)


def _pattern(text: str, *, fold: bool = False) -> Pattern:
    try:
        return patterns.compile(text, fold=fold)
    except patterns.PatternError as error:
        raise GateError(f"gate.json: the pattern {text[:64]!r} {error}") from error


def _known(what: str, name: str, names: Collection[str]) -> str:
    if name not in names:
        raise GateError(f"gate.json: there is no {what} {name!r}")
    return name


def _unique(what: str, pairs: Iterable[tuple[str, _T]]) -> Mapping[str, _T]:
    """Return a mapping of the pairs, of which no two may have one name."""
    found: dict[str, _T] = {}
    for name, item in pairs:
        if name in found:
            raise GateError(f"gate.json: {what} {name!r} occurs twice")
        found[name] = item
    return MappingProxyType(found)
