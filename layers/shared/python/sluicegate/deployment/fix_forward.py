"""A fix that is deployed while alarms are firing: who asked to overlook them, and which were overlooked."""

from dataclasses import dataclass

from sluicegate.deployment.durations import seconds


@dataclass(frozen=True)
class OverlookedAlarm:
    """An alarm that was firing before the first move: since when (RFC 3339), and why in CloudWatch's words.

    `silent_at` is when it was first seen to be silent, None while it is firing. `link` leads to its page.
    """

    name: str
    since: str | None = None
    reason: str | None = None
    link: str | None = None
    silent_at: str | None = None


@dataclass(frozen=True)
class FixForward:
    """Why the request asks for alarms that are firing to be overlooked, and those that were.

    `overlooked` is what was firing when the version was verified, right before the first move. Until then it
    is what was firing when an approval was asked for. `silent_by` (RFC 3339) is when all of it must be
    silent: known once all traffic is on the version.
    """

    reason: str
    overlooked: tuple[OverlookedAlarm, ...] = ()
    silent_by: str | None = None

    @property
    def ringing(self) -> frozenset[str]:
        """The names of the overlooked alarms that have not been seen silent."""
        return frozenset(alarm.name for alarm in self.overlooked if alarm.silent_at is None)

    @property
    def lasts_until(self) -> float:
        """When the last bake ends at the latest because of alarms that are firing (epoch seconds), or 0."""
        return seconds(self.silent_by) if self.silent_by is not None and self.ringing else 0
