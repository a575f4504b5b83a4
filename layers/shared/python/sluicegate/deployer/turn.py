"""What one turn of a deployment knows: read or taken once, and not asked for again within the turn.

Nothing here is the truth. Another turn begins without it, and reads again.
"""

from dataclasses import dataclass

from sluicegate.aws.lambda_ import Alias, FunctionVersion
from sluicegate.deployment.model import Deployment
from sluicegate.store.versions import PublishedVersion, VersionRecord, Versions


@dataclass(frozen=True)
class FirstLook:
    """What publishing finds before it changes anything.

    `known` is what the record has of the digest, `found` the version that this names, as Lambda has it. If
    `unseen`, the alias was not read, and is as the deployment before left it.
    """

    alias: Alias | None
    latest: FunctionVersion
    known: PublishedVersion | None
    found: FunctionVersion | None
    unseen: bool = False


@dataclass
class Turn:
    """The memory of one turn.

    `look` was made before the publishing lock was taken, which nobody else can take before `leased_until`
    (epoch seconds). `checked` is the revision that was written on the condition that the deployment has its
    alias' lock: as long as the record is at it, nobody else can have that lock. `unmoved`: Lambda has refused
    the first move that this turn made, so it had no effect. `updated` if the turn has
    changed the code of `$LATEST`, so that what it publishes is new.
    """

    look: FirstLook | None = None
    leased_until: float = 0.0
    checked: int = 0
    unmoved: bool = False
    updated: bool = False
    _record: VersionRecord | None = None

    def read_record(self, deployment: Deployment, versions: Versions) -> VersionRecord:
        """Read what the record has of the deployment's versions."""
        self._record = versions.record_of(deployment)
        return self._record

    def record_of(self, deployment: Deployment, versions: Versions) -> VersionRecord:
        """Return what has been read of that, or read it."""
        if self._record is None or self._record.sha256 != deployment.sha256:
            return self.read_record(deployment, versions)
        return self._record

    @property
    def newest_pipeline(self) -> int | None:
        """The newest pipeline that succeeded behind the alias, 0 if none has; None if it was not read."""
        return self._record.newest_pipeline if self._record else None

    def look_once(self) -> FirstLook | None:
        """Return the look, if there is one. It is good for one attempt."""
        look, self.look = self.look, None
        return look
