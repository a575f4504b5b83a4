"""The gate file's `notify`, compiled: which deployments are reported to which channel or program."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from sluicegate.deployment.model import Status
from sluicegate.gate.patterns import Pattern

NotificationType = Literal["slack", "teams", "webhook"]

SECRET: Final = r"sluicegate/notify/[A-Za-z0-9_+=.@-]{1,128}"  # noqa: S105 - the form of a name
"""The messenger's role reads secrets under this prefix and no others."""

MAX_NOTIFICATIONS: Final = 50

DEFAULT_STATUSES: Final = (
    Status.AWAITING_APPROVAL,
    Status.SUCCEEDED,
    Status.ROLLED_BACK,
    Status.FAILED,
)
"""What is reported where an entry names no statuses."""


@dataclass(frozen=True)
class Notification:
    """One entry. `secret` names the secret with the URL; empty `stages` are all stages."""

    name: str
    type: NotificationType
    secret: str
    functions: tuple[Pattern, ...]
    stages: Collection[str]
    statuses: Collection[Status]

    def wants(self, function: str, stage: str, status: Status) -> bool:
        """Return whether a deployment with this status is reported."""
        return (
            status in self.statuses
            and (not self.stages or stage in self.stages)
            and any(pattern.matches(function) for pattern in self.functions)
        )
