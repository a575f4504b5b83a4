"""The compiled gate file, which is only asked: who may do what, and where a function's stage is.

`gatefile` makes gate.json from `sluicegate.yaml`; here it is read back, and refused whole if anything in it
is not as it must be: trouble denies. A rule belongs to one issuer and pins projects or namespaces by exact
ids. Rules are found by those, so that a decision tries the handful that can match, however many there are.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import cast, get_args

from sluicegate.deployment.plan import Smoke, TrafficStep, Watch
from sluicegate.gate import codec, rollout_settings
from sluicegate.gate import webhooks as gatehooks
from sluicegate.gate.codec import GateError
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gate.rules import ACTIONS, DENIABLE, FOLDED, PINS, Deny, Failed, Rule, deniable
from sluicegate.gate.webhooks import Webhook
from sluicegate.oidc.identity import FEEDBACK_SECRETS, Feedback, Identity, Issuer, Via
from sluicegate.strict_json import JsonValue, StrictJsonError, loads

__all__ = [
    "ACTIONS",
    "FORMAT",
    "Decision",
    "Deny",
    "Failed",
    "FunctionEntry",
    "Gate",
    "GateError",
    "Nearest",
    "Placement",
    "Rollout",
    "Rule",
    "Stage",
    "Target",
    "Webhook",
    "load",
    "parse",
]

FORMAT = 3
MAX_NEAREST = 5


@dataclass(frozen=True)
class Target:
    """Where functions live. None stands for the stack's own account (12 digits), region and target role."""

    name: str | None = None
    account: str | None = None
    region: str | None = None
    role: str | None = None
    external_id: str | None = None


OWN_TARGET = Target()


@dataclass(frozen=True)
class Stage:
    """A named alias on functions, in a target. `max_age` is in seconds since `iat`; None sets no limit."""

    name: str
    alias: str
    target: Target
    protected: bool
    max_age: int | None
    rollout: Rollout


@dataclass(frozen=True)
class FunctionEntry:
    """An entry of `functions`: what it matches is deployable. By stage, what replaces the stage's own.

    A `rollout` is whole: the stage's own with the entry's overrides merged in.
    """

    pattern: Pattern
    alias: Mapping[str, str]
    max_age: Mapping[str, int]
    rollout: Mapping[str, Rollout]

    def rollout_in(self, stage: Stage) -> Rollout:
        """How a deployment of its functions goes in the stage."""
        return self.rollout.get(stage.name, stage.rollout)


@dataclass(frozen=True)
class Placement:
    """One function in one stage, with the overrides of its entry merged in. The plan is made from it.

    `max_age` and `approval` are in seconds; the alarms of `watch` have their own names.
    """

    function: str
    stage: str
    alias: str
    target: Target
    protected: bool
    max_age: int | None
    steps: tuple[TrafficStep, ...]
    smoke: Smoke | None
    watch: Watch | None
    approval: int | None
    requires: str | None
    ordered: bool


@dataclass(frozen=True)
class Nearest:
    """A rule of the caller's own project. `failed` is empty where it matches but grants something else."""

    rule: str
    failed: tuple[Failed, ...]


@dataclass(frozen=True)
class Decision:
    """Allowed by `rule`; else refused by a `deny` entry, `denied` being its claims, or for want of a rule."""

    rule: Rule | None
    denied: str | None = None
    nearest: tuple[Nearest, ...] = ()


@dataclass(frozen=True, eq=False)
class Gate:
    """The gate file in force. `digest` is the SHA-256 of gate.json in hex."""

    digest: str
    issuers: Mapping[str, Issuer]
    stages: Mapping[str, Stage]
    functions: tuple[FunctionEntry, ...]
    rules: tuple[Rule, ...]
    deny: tuple[Deny, ...]
    webhooks: Mapping[str, Webhook]
    own_functions: frozenset[str]
    _rules_by_pin: Mapping[tuple[str, str, str], Sequence[int]] = field(repr=False)
    _deny_by_first: Mapping[tuple[str, str, str], Sequence[int]] = field(repr=False)

    def denied(self, identity: Identity) -> str | None:
        """The names of the claims by which `deny` refuses this identity, None where it does not."""
        keys = ((identity.issuer, claim, deniable(identity, claim) or "") for claim in DENIABLE)
        entries = (self.deny[i] for key in keys for i in self._deny_by_first.get(key, ()))
        return next((entry.kind for entry in entries if entry.matches(identity)), None)

    def decide(
        self, identity: Identity, *, actions: Collection[str], function: str, stage: str | None
    ) -> Decision:
        """The first rule that grants all of the actions decides; grants of several never add up.

        `stage` None asks for any stage. Raises ValueError for no action at all, which every rule would grant.
        """
        if not actions:
            raise ValueError("a request needs an action")
        denied = self.denied(identity)
        if denied or function in self.own_functions:
            return Decision(None, denied)
        for rule in self._candidates(identity):
            if rule.grants(actions, function, stage) and not rule.failed(identity):
                return Decision(rule)
        return Decision(None, None, self._nearest(identity, actions, function, stage))

    def may_see(self, identity: Identity, *, function: str, stage: str) -> bool:
        """Whether a rule of theirs, of any action, is on that function and that stage."""
        if self.denied(identity) or function in self.own_functions:
            return False
        return any(
            rule.grants(("read",), function, stage) and not rule.failed(identity)
            for rule in self._candidates(identity)
        )

    def rules_of(self, identity: Identity) -> tuple[Rule, ...]:
        """The rules whose claims match, in the gate file's order."""
        if self.denied(identity):
            return ()
        return tuple(rule for rule in self._candidates(identity) if not rule.failed(identity))

    def covers(self, function: str) -> bool:
        """Whether the function is one that the gate file deploys."""
        return self._entry(function) is not None

    def place(self, function: str, stage: str) -> Placement | None:
        """The function's place in the stage; None where there is no such stage or entry."""
        entry, base = self._entry(function), self.stages.get(stage)
        if entry is None or base is None:
            return None
        alias, rollout = entry.alias.get(stage, base.alias), entry.rollout_in(base)
        return Placement(
            function=function,
            stage=stage,
            alias=alias,
            target=base.target,
            protected=base.protected,
            max_age=entry.max_age.get(stage, base.max_age),
            steps=rollout.steps,
            smoke=rollout.smoke,
            watch=rollout_settings.watch_of(rollout.watch, function=function, stage=stage, alias=alias),
            approval=rollout.approval,
            requires=rollout.requires,
            ordered=rollout.ordered,
        )

    def _entry(self, function: str) -> FunctionEntry | None:
        """The exact name, else the longest pattern, of equally long ones the first."""
        if function in self.own_functions:
            return None
        found = [entry for entry in self.functions if entry.pattern.matches(function)]
        return max(found, key=lambda entry: (entry.pattern.exact, len(entry.pattern.text)), default=None)

    def _candidates(self, identity: Identity) -> list[Rule]:
        """All rules that can match, in the gate file's order."""
        keys = ((identity.issuer, claim, identity.text(claim) or "") for claim in PINS)
        found = sorted(i for key in keys for i in self._rules_by_pin.get(key, ()))
        return [self.rules[i] for i in found if self.rules[i].via == identity.via]

    def _nearest(
        self, identity: Identity, actions: Collection[str], function: str, stage: str | None
    ) -> tuple[Nearest, ...]:
        """Rules that would have granted it, the fewest failed claims first, then those that grant something
        else. Only rules that pin the caller's own project, so that nobody learns of the rules of others."""
        own = [
            rule
            for rule in self._candidates(identity)
            if identity.text("project_id") in rule.pinned("project_id")
        ]
        near = [(rule.grants(actions, function, stage), rule.name, rule.failed(identity)) for rule in own]
        granting = sorted((n for n in near if n[0]), key=lambda n: len(n[2]))
        others = (n for n in near if not n[2])  # had it granted this, it would have decided
        return tuple(Nearest(name, failed) for _, name, failed in chain(granting, others))[:MAX_NEAREST]


def load(path: str | Path, *, own_functions: Collection[str]) -> Gate:
    """Reads gate.json. `own_functions`, the stack's, are never covered, placed or granted, whatever it says.

    Raises GateError for anything that is not a whole and sound gate.json of this version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise GateError(f"cannot read the gate: {error.strerror}") from error
    return parse(data, own_functions=own_functions)


def parse(data: bytes, *, own_functions: Collection[str]) -> Gate:
    """The gate in gate.json's bytes; see `load`."""
    try:
        document = codec.record(
            loads(data, max_depth=8),
            *("format", "issuers", "stages", "functions", "rules", "deny", "webhooks"),
        )
    except StrictJsonError as error:
        raise GateError(f"gate.json: {error}") from error
    if document["format"] is not FORMAT:  # `is`: 1.0 and true equal 1
        raise GateError(f"gate.json is not of format {FORMAT}: build it again with this version")
    issuers = codec.unique(
        "issuer", ((issuer.url, issuer) for issuer in map(_issuer, codec.items(document["issuers"])))
    )
    stages = codec.unique(
        "stage",
        ((s.name, s) for s in (_stage(item, own_functions) for item in codec.items(document["stages"]))),
    )
    functions = tuple(_function(item, stages, own_functions) for item in codec.items(document["functions"]))
    _check_requirements(stages, functions)
    rules = tuple(_rule(item, issuers, stages) for item in codec.items(document["rules"]))
    deny = tuple(_deny(item, issuers) for item in codec.items(document["deny"]))
    webhooks = codec.unique(
        "webhook",
        (
            (w.name, w)
            for w in (gatehooks.read(w, issuers=issuers) for w in codec.items(document["webhooks"]))
        ),
    )
    gate = Gate(
        digest=hashlib.sha256(data).hexdigest(),
        issuers=issuers,
        stages=stages,
        functions=functions,
        rules=rules,
        deny=deny,
        webhooks=webhooks,
        own_functions=frozenset(own_functions),
        _rules_by_pin=_index((rule.issuer, *_first_pin(rule)) for rule in rules),
        _deny_by_first=_index((entry.issuer, *entry.claims[0]) for entry in deny),
    )
    for webhook in webhooks.values():
        placement = gate.place(webhook.function, webhook.stage)
        if placement is None or placement.protected:
            raise GateError(f"gate.json: the webhook {webhook.name!r} deploys where it may not")
    return gate


def _first_pin(rule: Rule) -> tuple[str, tuple[str, ...]]:
    for claim in PINS:
        if pinned := rule.pinned(claim):
            return claim, pinned
    raise GateError(f"rule {rule.name!r} pins neither project_id nor namespace_id")


def _index(
    keys: Iterable[tuple[str, str, tuple[str, ...]]],
) -> Mapping[tuple[str, str, str], Sequence[int]]:
    """(issuer, claim, value): the positions that have it, ascending, each once."""
    index: dict[tuple[str, str, str], list[int]] = {}
    for position, (issuer, claim, values) in enumerate(keys):
        for value in dict.fromkeys(values):
            index.setdefault((issuer, claim, value), []).append(position)
    return MappingProxyType(index)


# gate.json, part by part. Every part has exactly the members that it must have.


def _issuer(value: JsonValue) -> Issuer:
    item = codec.record(value, "name", "url", "audience", "max_age", "jwks", "feedback")
    jwks, feedback = item["jwks"], item["feedback"]
    return Issuer(
        name=codec.text(item["name"]),
        url=codec.text(item["url"]),
        audience=codec.text(item["audience"]),
        max_age=codec.seconds(item["max_age"]),
        jwks=None if jwks is None else codec.text(jwks).encode(),
        feedback=None if feedback is None else _feedback(feedback),
    )


def _feedback(value: JsonValue) -> Feedback:
    item = codec.record(value, "secret", "commit_status", "deployment")
    secret = codec.text(item["secret"])
    if not secret.startswith(FEEDBACK_SECRETS):
        raise GateError(f"gate.json: the name of a secret does not begin with {FEEDBACK_SECRETS}")
    return Feedback(
        secret=secret,
        commit_status=codec.flag(item["commit_status"], "commit_status"),
        deployment=codec.flag(item["deployment"], "deployment"),
    )


def _stage(value: JsonValue, own_functions: Collection[str]) -> Stage:
    item = codec.record(value, "name", "alias", "protected", "max_age", "rollout")
    return Stage(
        name=codec.text(item["name"]),
        alias=codec.text(item["alias"]),
        target=OWN_TARGET,
        protected=codec.flag(item["protected"], "protected"),
        max_age=codec.seconds(item["max_age"]),
        rollout=rollout_settings.read(item["rollout"], own_functions=own_functions),
    )


def _function(value: JsonValue, stages: Mapping[str, Stage], own_functions: Collection[str]) -> FunctionEntry:
    item = codec.record(value, "pattern", "alias", "max_age", "rollout")
    alias, max_age, rollout = (codec.members(item[name]) for name in ("alias", "max_age", "rollout"))
    for stage in (*alias, *max_age, *rollout):
        codec.known("stage", stage, stages)
    return FunctionEntry(
        pattern=codec.pattern(item["pattern"]),
        alias=MappingProxyType({stage: codec.text(name) for stage, name in alias.items()}),
        max_age=MappingProxyType({stage: codec.positive(seconds) for stage, seconds in max_age.items()}),
        rollout=MappingProxyType(
            {
                stage: rollout_settings.read(merged, own_functions=own_functions)
                for stage, merged in rollout.items()
            }
        ),
    )


def _check_requirements(stages: Mapping[str, Stage], functions: Collection[FunctionEntry]) -> None:
    """Raises GateError where a function's stages require what there is not, or one another in a circle."""
    own = {name: stage.rollout.requires for name, stage in stages.items()}
    merged = (
        {name: entry.rollout_in(stage).requires for name, stage in stages.items()} for entry in functions
    )
    for requires in (own, *merged):
        for stage, required in requires.items():
            if required is not None:
                codec.known("stage", required, stages)
            if rollout_settings.circle(requires, stage):
                raise GateError(f"gate.json: the stage {stage!r} requires itself")


def _rule(value: JsonValue, issuers: Mapping[str, Issuer], stages: Mapping[str, Stage]) -> Rule:
    item = codec.record(value, "name", "issuer", "via", "claims", "actions", "functions", "stages")
    via = cast(Via, codec.known("via", codec.text(item["via"]), get_args(Via)))
    if via != "iam" and "pipeline_source" not in codec.members(item["claims"]):
        raise GateError("gate.json: a rule leaves pipeline_source open, which lets forks in")
    rule = Rule(
        name=codec.text(item["name"]),
        issuer=codec.known("issuer", codec.text(item["issuer"]), issuers),
        via=via,
        claims=tuple(
            (claim, tuple(codec.pattern(text, fold=claim in FOLDED) for text in codec.texts(wanted)))
            for claim, wanted in codec.members(item["claims"]).items()
        ),
        actions=frozenset(codec.known("action", action, ACTIONS) for action in codec.texts(item["actions"])),
        functions=tuple(codec.pattern(text) for text in codec.texts(item["functions"])),
        stages=tuple(codec.known("stage", stage, stages) for stage in codec.texts(item["stages"])),
    )
    if via == "webhook":
        gatehooks.check_rule(rule, [stage.name for stage in stages.values() if stage.protected])
    if "approve" in rule.actions and not rule.asks_a_person:
        raise GateError(
            f"gate.json: rule {rule.name!r} approves without pinning what says that a person asks"
        )
    return rule


def _deny(value: JsonValue, issuers: Mapping[str, Issuer]) -> Deny:
    item = codec.record(value, "issuer", "claims")
    claims = codec.members(item["claims"])
    if not claims:
        raise GateError("gate.json: a deny entry names no claim")
    return Deny(
        issuer=codec.known("issuer", codec.text(item["issuer"]), issuers),
        claims=tuple(
            (codec.known("claim", claim, DENIABLE), codec.texts(values)) for claim, values in claims.items()
        ),
    )
