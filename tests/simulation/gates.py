"""The gate files of the stacks that seeds run."""

from dataclasses import dataclass
from typing import Any, Final

from simulation.choices import Choices
from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, Smoke, TrafficStep, Watch
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from support.gate_documents import entry
from support.gateway_simulation import OTHER, gate_of, issuer
from support.signing import ISSUER

Json = dict[str, Any]

PROJECT: Final = "4213"

FEEDBACK: Final = {
    "secret": "sluicegate/gitlab/corp",
    "commit_status": True,
    "deployment": True,
    "merge_request_note": True,
}
"""An issuer's `feedback` in the gate file."""

PRUNE: Final = {"older_than": 86_400, "dry_run": False}
"""An entry's `prune`, but for how many stay."""

WATCH: Final = Watch(alarms=("{function}-5xx",), limits=(Limit(Metric.ERRORS, 10, most=5.0),))
SMOKE: Final = Smoke(10, '{"ping":true}', '{"ok":true}')

PLANS: Final = (
    Rollout(ALL_AT_ONCE),
    Rollout((TrafficStep(10, 20), TrafficStep(100, 0)), watch=WATCH),
    Rollout((TrafficStep(10, 10), TrafficStep(50, 10), TrafficStep(100, 15)), SMOKE, WATCH),
    Rollout((TrafficStep(20, 15), TrafficStep(100, 0)), approval=1_200),
    Rollout(ALL_AT_ONCE, SMOKE, approval=900),
    Rollout((TrafficStep(30, 900), TrafficStep(100, 0))),
    Rollout(ALL_AT_ONCE, ordered=True),
)


@dataclass(frozen=True)
class Features:
    """What a stack has: feedback for GitLab, and how versions are pruned, if they are.

    `crowd`: many functions are released at once, while Lambda throttles others.
    """

    feedback: bool = False
    prune: Json | None = None
    crowd: bool = False

    def gate(self, choices: Choices) -> Gate:
        """Return a gate file, with any plan for prod."""
        corp = issuer("corp", ISSUER) | {"feedback": FEEDBACK if self.feedback else None}
        functions = [entry("orders*", prune=self.prune)]
        plans = {"prod": choices.one_of(PLANS)}
        return gate_of(plans, issuers=[corp, issuer("other", OTHER)], functions=functions)


def features(choices: Choices) -> Features:
    """Return what a seed's stack has."""
    prune = {"keep": 1 + choices.below(2), "rollbacks": 1 + choices.below(2)}
    prunes = choices.chance(0.25)
    return Features(choices.chance(0.25), prune | PRUNE if prunes else None, choices.chance(0.1))
