"""What the state machine asks the runner to do next: one action at a time, as plain values."""

from dataclasses import dataclass

from sluicegate.deployment.model import AliasState


@dataclass(frozen=True)
class Abort:
    """Go no further. If traffic may have moved, restore the alias next."""


@dataclass(frozen=True)
class AwaitHandover:
    """Wait until the superseded deployment `predecessor` has ended and passed its alias lock on."""

    predecessor: str


@dataclass(frozen=True)
class AwaitApproval:
    """Wait for a second person's decision. The new code touches nothing before it."""


@dataclass(frozen=True)
class Lock:
    """Take the function's publishing lock."""


@dataclass(frozen=True)
class Publish:
    """Find or publish the version with the accepted digest, and record what the alias serves now."""


@dataclass(frozen=True)
class ReuseVersion:
    """Find `version`, which was published earlier, and record what the alias serves now."""

    version: str


@dataclass(frozen=True)
class Verify:
    """Check the version before it gets traffic.

    It can run, Lambda accepts weights (checked if `gradual`), no alarm is firing, and the smoke test passes.
    """

    version: str
    original: AliasState | None
    gradual: bool


@dataclass(frozen=True)
class Shift:
    """Move the alias from `original`, read at `revision`, to `desired`. Create it if `original` is None."""

    original: AliasState | None
    revision: str | None
    desired: AliasState


@dataclass(frozen=True)
class Observe:
    """Compare `version` with `baseline` while the alias serves `desired`.

    `since` is when traffic first reached the version, `step_since` when its present share began, None in the
    first step (RFC 3339). Without `reads_alias`, what the alias serves is taken from the record.
    """

    desired: AliasState
    version: str
    baseline: str | None
    since: str
    step_since: str | None = None
    reads_alias: bool = True


@dataclass(frozen=True)
class Restore:
    """Move the alias back to `original`, but only from a state in `applied`.

    `applied` holds the states that this deployment may have given the alias. `current` is what the alias
    serves according to the record, and `revision` Lambda's revision of that.
    """

    original: AliasState | None
    applied: tuple[AliasState, ...]
    current: AliasState | None
    revision: str | None

    @property
    def was_moved(self) -> bool:
        """Whether the record says that this deployment moved the alias."""
        return self.current != self.original


@dataclass(frozen=True)
class End:
    """Nothing is left to do."""


Action = (
    Abort
    | AwaitHandover
    | AwaitApproval
    | Lock
    | Publish
    | ReuseVersion
    | Verify
    | Shift
    | Observe
    | Restore
    | End
)
