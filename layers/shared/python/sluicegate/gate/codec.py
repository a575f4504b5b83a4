"""Read gate.json, the compiled gate file. It is refused whole if anything in it is wrong: an error denies.

guarantees.md#6-deny-by-default
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from sluicegate.deployment import strategy
from sluicegate.deployment.plan import Smoke, Watch
from sluicegate.gate import alarm_names, metric_names, principals, rollout_settings, rule_codec
from sluicegate.gate.decoding import GateError, known, pattern, unique
from sluicegate.gate.model import OWN_NAME, OWN_TARGET, FunctionEntry, Stage, StageAgents, TargetReference
from sluicegate.gate.policy import Gate
from sluicegate.gate.pruning import Prune
from sluicegate.gate.records import (
    FORMAT,
    Document,
    FunctionRecord,
    RolloutRecord,
    StageAgentsRecord,
    StageRecord,
    TargetRecord,
)
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean

MAX_DEPTH = 12


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
        issuers = unique("issuer", ((each.url, rule_codec.issuer(each)) for each in document.issuers))
        targets = unique("target", ((each.name, _target(each)) for each in document.targets))
        unique("account and region", ((f"{one.account} {one.region}", one) for one in targets.values()))
        stages = unique("stage", ((each.name, self._stage(each, targets)) for each in document.stages))
        functions = tuple(self._function(each, stages) for each in document.functions)
        _check_requirements(stages, functions)
        found = rule_codec.people_and_agents(document, issuers)
        rules = rule_codec.rules(document, issuers, stages, functions, found)
        denied = tuple(rule_codec.deny(each, issuers) for each in document.deny)
        gate = Gate(
            digest=digest,
            issuers=issuers,
            stages=stages,
            functions=functions,
            rules=rules,
            deny=denied,
            webhooks=rule_codec.webhooks(document, issuers),
            targets=targets,
            notifications=rule_codec.notifications(document, stages),
            principals=found,
            own_functions=frozenset(self.own_functions),
            _rules_by_pin=_index((rule.issuer, *rule_codec.first_pin(rule)) for rule in rules),
            _deny_by_first=_index((entry.issuer, *entry.claims[0]) for entry in denied),
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
            target=OWN_TARGET if target is None else targets[known("target", target, targets)],
            protected=record.protected,
            max_age=record.max_age,
            rollout=self._rollout(record.rollout),
            agents=_stage_agents(record.agents),
        )

    def _function(self, record: FunctionRecord, stages: Mapping[str, Stage]) -> FunctionEntry:
        for stage in (*record.alias, *record.max_age, *record.rollout):
            known("stage", stage, stages)
        return FunctionEntry(
            pattern=pattern(record.pattern),
            alias=MappingProxyType(record.alias),
            max_age=MappingProxyType(record.max_age),
            rollout=MappingProxyType({stage: self._rollout(each) for stage, each in record.rollout.items()}),
            prune=msgspec.convert(record.prune, Prune, from_attributes=True) if record.prune else None,
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
        unique("metric", ((limit.metric.value, limit) for limit in watch.limits))
        for limit in watch.limits:
            least, most = rollout_settings.LEAST, rollout_settings.MOST[limit.metric]
            if limit.most is None and limit.max_ratio is None:
                raise GateError(f"gate.json: the metric {limit.metric.value} has no limit")
            if limit.most is not None and not least <= limit.most <= most:
                raise GateError(
                    f"gate.json: the maximum of {limit.metric.value} is not from {least:g} to {most}"
                )
        own = ((limit.metric.value, None) for limit in watch.limits)
        unique("metric", (*own, *((metric.name, None) for metric in watch.metrics)))
        for metric in watch.metrics:
            if problem := metric_names.problem(metric):
                raise GateError(f"gate.json: the metric {metric.name} {problem}")
        if watch.judge and watch.judge.function in self.own_functions:
            raise GateError(f"gate.json: {watch.judge.function!r} is not a function that can judge")


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
                known("stage", required, stages)
        for stage in rollout_settings.circular(requires):
            raise GateError(f"gate.json: the stage {stage!r} requires itself")


def _index(
    keys: Iterable[tuple[str, str, tuple[str, ...]]],
) -> Mapping[tuple[str, str, str], Sequence[int]]:
    """Map (issuer, claim, value) to the positions that have it, ascending, each once."""
    index: dict[tuple[str, str, str], list[int]] = {}
    for position, (issuer, claim, values) in enumerate(keys):
        for value in dict.fromkeys(values):
            index.setdefault((issuer, claim, value), []).append(position)
    return MappingProxyType(index)
