"""What the gate file says of stages and functions, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.plan import OWN_TARGET_NAME, Smoke, TrafficStep, Watch
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.pruning import Prune
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gate.rules import RuleAction


@dataclass(frozen=True)
class TargetReference:
    """Where functions live. None stands for the stack's own account (12 digits), region and target role."""

    name: str | None = None
    account: str | None = None
    region: str | None = None
    role: str | None = None
    external_id: str | None = None


OWN_TARGET: Final = TargetReference()

OWN_NAME: Final = OWN_TARGET_NAME
"""The name of the stack's own account and region among targets."""


@dataclass(frozen=True)
class StageAgents:
    """What a stage demands of agents: at most these actions, and with `propose` a person for each."""

    actions: frozenset[RuleAction]
    propose: bool


@dataclass(frozen=True)
class Stage:
    """A named alias on functions, in a target. `max_age` is in seconds since `iat`; None sets no limit."""

    name: str
    alias: str
    target: TargetReference
    protected: bool
    max_age: int | None
    rollout: Rollout
    agents: StageAgents | None = None


@dataclass(frozen=True)
class FunctionEntry:
    """An entry of `functions`: what it matches is deployable. By stage, what replaces the stage's own.

    A `rollout` is whole: the stage's own with the entry's overrides merged in. Without `prune`, no version is
    ever deleted.
    """

    pattern: Pattern
    alias: Mapping[str, str]
    max_age: Mapping[str, int]
    rollout: Mapping[str, Rollout]
    prune: Prune | None = None

    def rollout_in(self, stage: Stage) -> Rollout:
        """Return the rollout of its functions in the stage."""
        return self.rollout.get(stage.name, stage.rollout)


@dataclass(frozen=True)
class Placement:
    """One function in one stage, with the overrides of its entry merged in. The plan is made from it.

    `max_age` and `approval` are in seconds; the alarms of `watch` have their own names.
    """

    function: str
    stage: str
    alias: str
    target: TargetReference
    protected: bool
    max_age: int | None
    steps: tuple[TrafficStep, ...]
    smoke: Smoke | None
    watch: Watch | None
    approval: int | None
    requires: str | None
    ordered: bool
    agents: StageAgents | None = None
