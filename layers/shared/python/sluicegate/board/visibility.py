"""The viewer: a person who has signed in, and what that person may see and do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from sluicegate.deployment.approvals import closed_to_approval
from sluicegate.deployment.model import Deployment
from sluicegate.gate.policy import Gate
from sluicegate.gate.rules import Rule
from sluicegate.gateway.authorization import covers, is_own, overlaps
from sluicegate.gateway.persons import check_approver
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.identity import Identity
from sluicegate.store.deployments import DeploymentSummary, UnfinishedDeployment
from sluicegate.store.holds import Hold
from sluicegate.store.keys import owner_key
from sluicegate.store.serving import Serving, ServingPlace

T = TypeVar("T", Deployment, DeploymentSummary, Serving)

DECISIONS: Final = ("approve", "reject", "abort")
"""What a person may decide of a deployment that is under way, in the order of the buttons."""


@dataclass(frozen=True)
class Visibility:
    """An identity, by the gate file in force. Made for one request: it remembers what it has looked up."""

    gate: Gate
    identity: Identity
    _stages: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that match; none for a person whom the gate file denies."""
        return self.gate.rules_of(self.identity)

    @property
    def name(self) -> str:
        """The user's login, or the id where GitLab names none."""
        return self.identity.text("user_login") or f"user {self.identity.text('user_id') or '?'}"

    def sees(self, item: Deployment | DeploymentSummary | Serving) -> bool:
        """Return the same as `gateway.authorization.may_see`, for many items quickly."""
        by = item.requester if not isinstance(item, Deployment) else item.requested_by
        return is_own(self.identity, by.owner) or item.stage in self.stages(item.function)

    def sees_unfinished(self, item: UnfinishedDeployment) -> bool:
        """Return the same as `sees`, of what the index has."""
        mine = self.identity.owner
        own = is_own(self.identity, mine) and item.project == owner_key(mine)
        return own or item.stage in self.stages(item.function)

    def sees_place(self, place: ServingPlace) -> bool:
        """Return whether a rule lets the viewer see what serves there."""
        return place.stage in self.stages(place.function)

    def visible(self, items: Iterable[T]) -> list[T]:
        """Return those that the viewer sees."""
        return [item for item in items if self.sees(item)]

    def stages(self, function: str) -> frozenset[str]:
        """Return the stages of a function that rules show."""
        found = self._stages.get(function)
        if found is None:
            named = (rule.stages for rule in self._rules_on(function))
            found = self._stages[function] = frozenset(stage for stages in named for stage in stages)
        return found

    def sees_hold(self, hold: Hold) -> bool:
        """Return whether a rule of the viewer's is on any function that is held, as the API decides."""
        return any(hold.stage in rule.stages and overlaps(rule, hold) for rule in self.rules)

    def may(self, action: str, function: str, stage: str) -> bool:
        """Return whether a rule grants the viewer the action there."""
        return (
            self.gate.decide(self.identity, actions=(action,), function=function, stage=stage).rule
            is not None
        )

    def holding(self, stage: str) -> list[Rule]:
        """Return the viewer's rules that grant `hold` on a stage."""
        return [
            rule
            for rule in self.rules
            if stage in rule.stages and "hold" in self.gate.actions_of(self.identity, rule)
        ]

    def may_release(self, hold: Hold) -> bool:
        """Return whether the viewer may release a hold, as the API decides."""
        return any(covers(rule, hold) for rule in self.holding(hold.stage))

    def _rules_on(self, function: str) -> list[Rule]:
        if function in self.gate.own_functions:
            return []
        return [rule for rule in self.rules if rule.grants(("read",), function, None)]


def actions_for(viewer: Visibility, deployment: Deployment, now: float) -> tuple[str, ...]:
    """Return what the viewer may do to a deployment, by the rules that the API goes by.

    How fresh the sign-in is does not count: the page for the action renews it.
    """
    return tuple(action for action in DECISIONS if _may_decide(viewer, deployment, action, now))


def _may_decide(viewer: Visibility, deployment: Deployment, action: str, now: float) -> bool:
    function, stage = deployment.function, deployment.stage
    # As in gateway.endpoints.approvals: ending a rollback needs the right to roll back.
    actions = (action, "rollback") if (action, deployment.action) == ("abort", "rollback") else (action,)
    decision = viewer.gate.decide(viewer.identity, actions=actions, function=function, stage=stage)
    if decision.rule is None or not viewer.sees(deployment):
        return False
    if action == "abort":
        return not deployment.status.final and deployment.abort is None
    if closed_to_approval(deployment, now):
        return False
    try:
        if action == "approve":
            check_approver(viewer.gate, deployment.requested_by, viewer.identity, function, stage)
    except Problem:
        return False
    return True
