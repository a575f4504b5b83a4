"""What an action resulted in, as plain values. `machine.advance` turns an outcome into the next record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.fix_forward import OverlookedAlarm
from sluicegate.deployment.model import AliasOutcome, AliasState, FoundVersion, Origin
from sluicegate.deployment.observations import AlarmReading
from sluicegate.rollout.readings import Readings


@dataclass(frozen=True)
class Aborted:
    """The deployment goes no further."""


@dataclass(frozen=True)
class HandedOver:
    """This deployment holds the alias lock."""


@dataclass(frozen=True)
class ApprovalRequested:
    """The deployment waits for a second person's decision. `firing` are alarms that it asks to overlook."""

    firing: tuple[OverlookedAlarm, ...] = ()


@dataclass(frozen=True)
class Locked:
    """This deployment holds the publishing lock."""


@dataclass(frozen=True)
class Blocked:
    """The deployment `by` holds a lock that this one needs: the publishing lock or the alias lock."""

    by: str


@dataclass(frozen=True)
class LockLost:
    """The publishing lock expired and another deployment took it. Queue for it again."""


@dataclass(frozen=True)
class Pending:
    """Lambda has not finished. The same action checks again."""

    detail: str


@dataclass(frozen=True)
class Published:
    """The version that holds exactly the accepted code, and what the alias served before.

    `changed_settings` names the settings that differ from those of an earlier version with this digest,
    which is why that version was not reused; `unreadable_settings` those that Lambda could not read for the
    deployer, so that they may differ. It is not `ready` while Lambda prepares it (a snapshot, a network).
    `warning` is what to know before it serves. If `unseen`, `original` and `revision` are what the deployment
    before has left, and nobody has read the alias since. `built`, `found` and `recorded` are the record's,
    `after` is the position of what is `recorded` in what the alias has served (epoch milliseconds), or 0.
    """

    version: str
    original: AliasState | None
    revision: str | None
    reused: bool = False
    changed_settings: tuple[str, ...] = ()
    unreadable_settings: tuple[str, ...] = ()
    ready: bool = True
    warning: str | None = None
    unseen: bool = False
    built: Origin | None = None
    found: tuple[FoundVersion, ...] = ()
    recorded: str | None = None
    after: int = 0


@dataclass(frozen=True)
class VersionUnusable:
    """An existing version cannot be served: it was deleted, or Lambda cannot run it."""

    version: str
    code: str
    message: str


@dataclass(frozen=True)
class Verified:
    """The version may get traffic. `overlooked` are the alarms that are firing now, before its first move.

    `observed` are the alarms of a watch that only observes.
    """

    overlooked: tuple[OverlookedAlarm, ...] = ()
    observed: tuple[AlarmReading, ...] = ()


@dataclass(frozen=True)
class Shifted:
    """The alias serves what was desired, at this revision of the alias."""

    current: AliasState
    revision: str | None = None


@dataclass(frozen=True)
class Observed:
    """Alarms and metrics were read during a bake, and so was the alias, unless the look skipped it."""

    readings: Readings
    alias_read: bool = True


@dataclass(frozen=True)
class AliasSeen:
    """What an alias serves that nobody had read yet, at this revision of it. It has not been moved."""

    original: AliasState | None
    revision: str | None
    found: tuple[FoundVersion, ...] = ()


@dataclass(frozen=True)
class AliasMoved:
    """Someone else moved the alias. Leave it unchanged."""

    current: AliasState | None


@dataclass(frozen=True)
class AliasFound:
    """The alias serves what this deployment left or made of it, and the record lacks that, or its revision.

    Record both before it is moved.
    """

    current: AliasState
    revision: str


@dataclass(frozen=True)
class Restored:
    """Restoring is done: what happened to the alias, what it serves, and why if it is not restored."""

    outcome: AliasOutcome
    current: AliasState | None
    because: str | None = None


@dataclass(frozen=True)
class Settling:
    """The alias is gone, as it was before, but a call whose answer never came may still change that.

    The same action looks again in so many seconds.
    """

    look_in: int


@dataclass(frozen=True)
class PermanentFailure:
    """The action can never succeed. Record the reason and go no further."""

    code: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


UNREACHABLE_SECONDS: Final = 30
"""Seconds for which a target that does not answer is tried, before any of its traffic is moved."""


@dataclass(frozen=True)
class TransientFailure:
    """The action failed and is worth retrying, or it took effect and the response was lost.

    `unreachable` if a target of the gate file does not answer at all, `throttled` if Lambda throttled a call.
    """

    code: str
    message: str
    unreachable: bool = False
    throttled: bool = False


@dataclass(frozen=True)
class Denied:
    """AWS does not allow the action, or not yet: a change of permissions takes seconds to spread."""

    code: str
    message: str


Outcome = (
    Aborted
    | HandedOver
    | ApprovalRequested
    | Locked
    | Blocked
    | InLine
    | LockLost
    | Pending
    | Published
    | VersionUnusable
    | Verified
    | Shifted
    | Observed
    | AliasSeen
    | AliasFound
    | AliasMoved
    | Restored
    | Settling
    | PermanentFailure
    | TransientFailure
    | Denied
)
