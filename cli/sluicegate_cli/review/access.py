"""Who can bring code to a stage, by which way, and with whose approval: what the gate file says.

It says what rules grant, not who is behind an id, and nothing about permissions in AWS.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from sluicegate.deployment.durations import duration
from sluicegate.gate import patterns
from sluicegate.gate.model import FunctionEntry, Stage
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import NEVER_AGENTS
from sluicegate.gate.rules import Rule
from sluicegate_cli.review import settings, words

BRINGING: Final = ("deploy", "promote", "rollback", "override-strategy", "fix-forward")
"""Actions that change which code a stage serves, or with how much care."""

Way = Literal["job", "webhook", "AWS credentials", "signed-in person", "agent"]

_NEVER: Final = frozenset(NEVER_AGENTS)

BYPASSES: Final = (
    "A person who may change the gate file's repository, or deploy Sluicegate's stack, decides what this file"
    " says.",
    "Permissions in AWS are outside of this file: who may update these functions or their aliases, or invoke"
    " the gateways under /iam, needs no rule"
    " (docs/explanation/security.md#what-it-does-not-protect-from). `sluicegate doctor --stack NAME` and"
    " `sluicegate audit trail ID` look at AWS.",
)
"""What no gate file can say."""


@dataclass(frozen=True)
class Access:
    """A stage, or one function in it, as the gate file has it."""

    gate: Gate
    stage: Stage
    function: str | None = None

    @property
    def entries(self) -> tuple[FunctionEntry, ...]:
        """The entries of `functions` that it is about; of one function, the one that counts for it."""
        if self.function is None:
            return self.gate.functions
        placement = self.gate.place(self.function, self.stage.name)
        found = [entry for entry in self.gate.functions if entry.pattern.matches(self.function)]
        best = max(found, key=lambda entry: (entry.pattern.exact, len(entry.pattern.text)), default=None)
        return (best,) if placement and best else ()

    def granting(self, actions: Collection[str]) -> list[Rule]:
        """Return the rules that grant one of the actions there, in the file's order."""
        return [
            rule
            for rule in self.gate.rules
            if self.stage.name in rule.stages and rule.actions & set(actions) and self.reached(rule)
        ]

    def reached(self, rule: Rule) -> tuple[FunctionEntry, ...]:
        """Return the entries on whose functions the rule grants something."""
        if self.function is not None:
            matches = any(pattern.matches(self.function) for pattern in rule.functions)
            return self.entries if matches else ()
        return tuple(
            entry
            for entry in self.entries
            if any(patterns.overlap(entry.pattern, pattern) for pattern in rule.functions)
        )

    def functions(self, rule: Rule) -> list[str]:
        """Return the functions on which the rule grants something, as patterns."""
        if self.function is not None:
            return [self.function]
        return list(dict.fromkeys(_both(own, each.pattern) for own, each in self._pairs(rule)))

    def _pairs(self, rule: Rule) -> Iterator[tuple[Pattern, FunctionEntry]]:
        for pattern in rule.functions:
            for entry in self.entries:
                if patterns.overlap(pattern, entry.pattern):
                    yield pattern, entry


def _both(one: Pattern, other: Pattern) -> str:
    """Return what matches two patterns that overlap: the narrower one, if there is one."""
    if patterns.covers(other, one):
        return one.text
    return other.text if patterns.covers(one, other) else f"what matches {one} and {other}"


def way_of(gate: Gate, rule: Rule) -> Way:
    """Return the way in: an agent's where the rule matches nobody else."""
    users = rule.pinned("user_id")
    keys = [(account, one) for account in rule.pinned("account") for one in rule.pinned("principal_id")]
    known = gate.principals
    if users and all((rule.issuer, user) in known.agent_users for user in users):
        return "agent"
    if keys and all(key in known.agent_principals for key in keys):
        return "agent"
    match rule.via:
        case "iam":
            return "AWS credentials"
        case "webhook":
            return "webhook"
        case "session":
            return "signed-in person"
        case _:
            return "job"


def granted(access: Access, rule: Rule, way: Way) -> frozenset[str]:
    """Return the actions that the rule leaves its callers in the stage."""
    if way != "agent":
        return rule.actions
    demands = access.stage.agents
    left = rule.actions - _NEVER
    return left if demands is None else left & (demands.actions | {"read"})


def asks(access: Access, rule: Rule, way: Way) -> str:
    """Say when a deployment by the rule needs an approval; empty where it needs none."""
    demands = access.stage.agents
    if (rule.limits and rule.limits.propose) or (way == "agent" and demands and demands.propose):
        return "always"
    if not rule.actions & {"deploy", "promote"}:
        return ""
    reached = access.reached(rule)
    asking = [entry for entry in reached if entry.rollout_in(access.stage).approval is not None]
    if asking and len(asking) == len(reached):
        return "before any traffic"
    found = [f"before any traffic of {', '.join(entry.pattern.text for entry in asking)}"] if asking else []
    if rule.limits and rule.limits.unapproved_percent:
        rest = " of the rest" if found else ""
        found.append(f"above {rule.limits.unapproved_percent}% of the traffic{rest}")
    return "; ".join(found)


def document(access: Access) -> dict[str, Any]:
    """Return what `--json` prints."""
    gate, stage = access.gate, access.stage
    issuers = words.issuer_names(gate)
    return {
        "gate": gate.digest,
        "stage": stage.name,
        "function": access.function,
        "protected": stage.protected,
        "alias": stage.alias,
        "target": stage.target.name or "default",
        "rules": [_rule(access, rule) for rule in access.granting(BRINGING)],
        "between": [_between(access, entry) for entry in access.entries],
        "approvers": [_person(access, rule) for rule in access.granting(("approve",))],
        "holders": [_person(access, rule) for rule in access.granting(("hold",))],
        "stoppers": [_person(access, rule) for rule in access.granting(("abort", "reject"))],
        "agents": {
            "listed": words.agents(gate.principals, issuers),
            "never": sorted(_NEVER),
            "actions": None if stage.agents is None else sorted(stage.agents.actions),
            "propose": bool(stage.agents and stage.agents.propose),
        },
        "denied": [words.denied(entry, issuers) for entry in gate.deny],
        "bypasses": list(BYPASSES),
    }


def _person(access: Access, rule: Rule) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "who": words.rule_callers(access.gate, rule),
        "functions": access.functions(rule),
    }


def _rule(access: Access, rule: Rule) -> dict[str, Any]:
    way = way_of(access.gate, rule)
    return {
        "rule": rule.name,
        "way": way,
        "via": rule.via,
        "who": words.rule_callers(access.gate, rule),
        "claims": {claim: [pattern.text for pattern in wanted] for claim, wanted in rule.claims},
        "actions": sorted(granted(access, rule, way) & set(BRINGING)),
        "functions": access.functions(rule),
        "limits": words.limits(rule.limits),
        "approval": asks(access, rule, way),
    }


def _between(access: Access, entry: FunctionEntry) -> dict[str, Any]:
    rollout = entry.rollout_in(access.stage)
    max_age = entry.max_age.get(access.stage.name, access.stage.max_age)
    approvers = [rule.name for rule in access.granting(("approve",)) if entry in access.reached(rule)]
    return {
        "functions": access.function or entry.pattern.text,
        "approval": None if rollout.approval is None else duration(rollout.approval),
        "approvers": approvers,
        "requires": rollout.requires,
        "order": "pipeline" if rollout.ordered else None,
        "strategy": settings.strategy(rollout.steps),
        "smoke": settings.smoke(rollout.smoke) if rollout.smoke else None,
        "watch": list(settings.watch(rollout.watch)) if rollout.watch else [],
        "max_age": None if max_age is None else duration(max_age),
    }
