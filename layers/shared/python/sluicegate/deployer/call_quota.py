"""Let a deployment begin when its target's control plane has the calls for it, and count what it makes."""

from contextlib import suppress

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.call_meter import CallMeter
from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.actions import Action
from sluicegate.rollout.call_budget import calls_of, level_of
from sluicegate.store.call_budget import CallBudget, CallClaim
from sluicegate.store.keys import owner_key


class CallQuota:
    """A process's view of the budget. It takes the calls of a whole deployment in one write.

    Calls that it has not taken yet are charged after they were made: of later steps, looks, ways back, and of
    a deployment that another process began. guarantees.md#13-a-burst-waits-its-turn
    """

    def __init__(self, budget: CallBudget, meter: CallMeter) -> None:
        self._budget = budget
        self._meter = meter
        self._taken = ("", 0)

    def admit(self, deployment: Deployment, action: Action) -> InLine | None:
        """Take the calls of a deployment that begins with this action, or say how long it waits for them."""
        calls = calls_of(action)
        if not calls:
            return None
        if self._taken[0] == deployment.id:  # it has begun, and does so again: what it has called is missing
            self._top_up(deployment, calls)
            return None
        owner = owner_key(deployment.requested_by.owner)
        claim = CallClaim(deployment.id, owner, level_of(deployment, action), calls)
        waits = self._budget.take(deployment.plan.target, claim, in_line=deployment.in_line)
        if waits is None:
            self._taken = (deployment.id, calls)
        return waits

    def may_read_alias(self, deployment: Deployment) -> bool:
        """Take the call for a look that can do without the alias: if it is there, and nobody is in line."""
        if self._left(deployment):
            return True
        try:
            free = self._budget.take_if_free(deployment.plan.target, 1)
        except (ClientError, BotoCoreError):  # the call is charged when it was made
            return True
        if free:
            self._taken = (deployment.id, 1)
        return free

    def settle(self, deployment: Deployment) -> None:
        """Charge the calls that were made and not taken before. Failing at that does not undo them."""
        calls, throttled = self._meter.read()
        taken = self._left(deployment)
        if self._taken[0] == deployment.id:
            self._taken = (deployment.id, max(0, taken - calls))
        with suppress(ClientError, BotoCoreError):
            if calls > taken:
                self._budget.charge(deployment.plan.target, calls - taken)
            if throttled:
                self._budget.throttled(deployment.plan.target)

    def _top_up(self, deployment: Deployment, calls: int) -> None:
        missing = calls - self._left(deployment)
        if missing > 0:
            self._budget.charge(deployment.plan.target, missing)
        self._taken = (deployment.id, max(calls, self._left(deployment)))

    def give_back(self, deployment: Deployment) -> None:
        """Return what was taken for a deployment that cannot begin."""
        taken, self._taken = self._left(deployment), ("", 0)
        with suppress(ClientError, BotoCoreError):
            if taken:
                self._budget.give_back(deployment.plan.target, taken)

    def _left(self, deployment: Deployment) -> int:
        return self._taken[1] if self._taken[0] == deployment.id else 0
