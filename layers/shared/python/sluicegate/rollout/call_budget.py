"""What a deployment asks of the budget of calls when it begins."""

from collections.abc import Mapping
from typing import Final

from sluicegate.deployment.call_budget import CallClass
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.actions import Action, Lock, ReuseVersion

PUBLISH_CALLS: Final = 3
"""Calls of a deployment that publishes: UpdateFunctionCode, PublishVersion, UpdateAlias.

One that has to look at the alias first makes one more, which is charged when it was made.
"""

REUSE_CALLS: Final = 2
"""Calls of one that uses a version that there is: GetAlias and UpdateAlias."""


def level_of(deployment: Deployment, action: Action) -> CallClass:
    """Return the class of a deployment that begins with this action."""
    if deployment.action == "promote":
        return CallClass.PROMOTION
    publishes = deployment.action == "deploy" and isinstance(action, Lock)
    return CallClass.DEPLOY if publishes else CallClass.UNDER_WAY


def calls_of(action: Action) -> int:
    """Return the calls that a deployment makes from this action on; 0 where it does not begin with it."""
    calls: Mapping[type[Action], int] = {Lock: PUBLISH_CALLS, ReuseVersion: REUSE_CALLS}
    return calls.get(type(action), 0)
