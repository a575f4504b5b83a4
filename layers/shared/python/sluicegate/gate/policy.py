"""The gate: who may do what, and where a function's stage is.

It is compiled from the gate file, read by `codec`, and then only asked. A rule belongs to one issuer and pins
projects or namespaces by exact ids; or it is for AWS credentials alone, and pins principals. Rules are found
by those ids, so that a decision tries the handful that can match, however many there are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from sluicegate.gate import rollout_settings
from sluicegate.gate.model import FunctionEntry, Placement, Stage, TargetReference
from sluicegate.gate.notifications import Notification
from sluicegate.gate.principals import NEVER_AGENTS, Principals
from sluicegate.gate.pruning import Prune
from sluicegate.gate.rules import (
    DENIABLE,
    DENIABLE_PRINCIPAL,
    PINS_OF,
    Deny,
    Failed,
    Rule,
    deniable,
    values,
)
from sluicegate.gate.webhooks import Webhook
from sluicegate.oidc.identity import Identity, Issuer, Via

MAX_NEAREST = 5

_OWN_PIN: Mapping[Via, str] = {"iam": "principal_id", "session": "user_id"}
"""The claim that only the caller has; of a job, the project."""


@dataclass(frozen=True)
class Nearest:
    """A rule of the caller's own project. `failed` is empty where it matches but grants something else."""

    rule: str
    failed: tuple[Failed, ...]


@dataclass(frozen=True)
class Decision:
    """Allowed by `rule`; else refused by a `deny` entry, `denied` being its claims, or for want of a rule.

    `withheld`: a rule would have granted it to a caller that is no agent.
    """

    rule: Rule | None
    denied: str | None = None
    nearest: tuple[Nearest, ...] = ()
    withheld: bool = False


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
    targets: Mapping[str, TargetReference]
    notifications: tuple[Notification, ...]
    principals: Principals
    own_functions: frozenset[str]
    _rules_by_pin: Mapping[tuple[str, str, str], Sequence[int]] = field(repr=False)
    _deny_by_first: Mapping[tuple[str, str, str], Sequence[int]] = field(repr=False)

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in, with one GitLab at least: only then does the board show anything."""
        return any(issuer.sign_in for issuer in self.issuers.values())

    def denied(self, identity: Identity) -> str | None:
        """The names of the claims by which `deny` refuses this identity, None where it does not."""
        read = chain(
            ((identity.issuer, claim) for claim in DENIABLE), (("", claim) for claim in DENIABLE_PRINCIPAL)
        )
        keys = ((issuer, claim, deniable(identity, claim) or "") for issuer, claim in read)
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
        withheld = False
        for rule in self._candidates(identity):
            if rule.grants(actions, function, stage) and not rule.failed(identity):
                if self._leaves(identity, rule, actions, stage):
                    return Decision(rule)
                withheld = True
        if withheld:
            return Decision(None, withheld=True)
        return Decision(None, None, self._nearest(identity, actions, function, stage))

    def actions_of(self, identity: Identity, rule: Rule) -> frozenset[str]:
        """Return the actions that a rule leaves the identity in some stage: an agent has not all of them."""
        if self.principals.actor(identity) != "agent":
            return rule.actions
        return frozenset(action for action in rule.actions if self._leaves(identity, rule, (action,), None))

    def may_see(self, identity: Identity, *, function: str, stage: str) -> bool:
        """Return whether a rule that matches the caller names that function and stage, for any action."""
        if self.denied(identity) or function in self.own_functions:
            return False
        return any(
            rule.grants(("read",), function, stage) and not rule.failed(identity)
            for rule in self._candidates(identity)
        )

    def names_user(self, identity: Identity, *, actions: Collection[str], function: str, stage: str) -> bool:
        """Return whether a rule that grants all of the actions to the identity lists its user's id."""
        user = identity.text("user_id")
        return any(
            user in rule.pinned("user_id") and rule.grants(actions, function, stage)
            for rule in self.rules_of(identity)
        )

    def rules_of(self, identity: Identity) -> tuple[Rule, ...]:
        """The rules whose claims match, in the gate file's order."""
        if self.denied(identity):
            return ()
        return tuple(rule for rule in self._candidates(identity) if not rule.failed(identity))

    def knows(self, identity: Identity) -> bool:
        """Whether some rule's claims match, also of an identity that is denied."""
        return any(not rule.failed(identity) for rule in self._candidates(identity))

    def names(self, identity: Identity) -> bool:
        """Whether some rule is for its project, principal or user, whatever else the rule requires."""
        return bool(self._candidates(identity))

    def covers(self, function: str) -> bool:
        """Whether the function is one that the gate file deploys."""
        return self._entry(function) is not None

    def prune(self, function: str) -> Prune | None:
        """Return which old versions of the function may be deleted; None means none."""
        entry = self._entry(function)
        return entry.prune if entry else None

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
            agents=base.agents,
        )

    def _leaves(self, identity: Identity, rule: Rule, actions: Collection[str], stage: str | None) -> bool:
        """Return whether an agent has what the rule grants: never some actions, and what its stage allows."""
        if self.principals.actor(identity) != "agent":
            return True
        asked = set(actions) - {"read"}
        stages = [self.stages[name] for name in (rule.stages if stage is None else (stage,))]
        allowed = any(each.agents is None or asked <= each.agents.actions for each in stages)
        return allowed and not asked & set(NEVER_AGENTS)

    def _entry(self, function: str) -> FunctionEntry | None:
        """The exact name, else the longest pattern, of equally long ones the first."""
        if function in self.own_functions:
            return None
        found = [entry for entry in self.functions if entry.pattern.matches(function)]
        return max(found, key=lambda entry: (entry.pattern.exact, len(entry.pattern.text)), default=None)

    def _candidates(self, identity: Identity) -> list[Rule]:
        """All rules that can match, in the gate file's order."""
        pins = PINS_OF[identity.via]
        keys = ((identity.issuer, claim, value) for claim in pins for value in values(identity, claim))
        found = sorted({i for key in keys for i in self._rules_by_pin.get(key, ())})
        return [self.rules[i] for i in found if self.rules[i].via == identity.via]

    def _nearest(
        self, identity: Identity, actions: Collection[str], function: str, stage: str | None
    ) -> tuple[Nearest, ...]:
        """Rules that would have granted it, the fewest failed claims first, then those that grant something
        else. Only rules that pin the caller's own project, principal or user: nobody learns of the rules of
        others.
        """
        pin = _OWN_PIN.get(identity.via, "project_id")
        own = [rule for rule in self._candidates(identity) if identity.text(pin) in rule.pinned(pin)]
        near = [(rule.grants(actions, function, stage), rule.name, rule.failed(identity)) for rule in own]
        granting = sorted((n for n in near if n[0]), key=lambda n: len(n[2]))
        others = (n for n in near if not n[2])  # had it granted this, it would have decided
        return tuple(Nearest(name, failed) for _, name, failed in chain(granting, others))[:MAX_NEAREST]
