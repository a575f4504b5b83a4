"""What an alias has served: what succeeded there, what somebody else had put there, and what is gone."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from sluicegate.deployment.model import Origin
from sluicegate.deployment.ulid import created_at, is_id

SERVED_SHARE: Final = 0.5
"""A version that somebody else put there counts as served from this share of the traffic on (0 to 1).

Less is a canary's: of somebody's weights, or of a restoration that failed. A person may have rejected it.
"""


class Position(NamedTuple):
    """Where a deployment is in what its alias has served, the later the larger; `at` in epoch milliseconds.

    Each success takes an `at` that is larger than that of the one before it, so that no clock decides which
    was first. Where an earlier release has noted none, it is when the gateway accepted the deployment.
    """

    at: int
    deployment: str


class Positioned:
    """What a success has noted. `order` is the `at` of its position, 0 in items of earlier releases."""

    deployment: str
    order: int

    @property
    def position(self) -> Position:
        accepted = created_at(self.deployment) if is_id(self.deployment) else 0.0
        return Position(self.order or round(accepted * 1_000), self.deployment)


@dataclass(frozen=True)
class ServedVersion(Positioned):
    """A version that succeeded in a stage, last by `deployment`; `withdrawn` since a rollback left it."""

    version: str
    sha256: str
    deployment: str
    withdrawn: bool
    built: Origin | None = None
    order: int = 0


@dataclass(frozen=True)
class DisplacedVersion(Positioned):
    """A version that somebody else had made an alias serve, as `deployment` found it before it replaced it.

    `sha256` is Lambda's own, `share` the part of the traffic (0 to 1); `withdrawn` if a rollback replaced it.
    """

    version: str
    sha256: str
    deployment: str
    withdrawn: bool
    share: int | float = 1
    order: int = 0


@dataclass(frozen=True)
class GoneVersion:
    """A version that `deployment` found deleted, or with other code than this, at `since` (RFC 3339).

    Or one that the pruner deletes: `condemned` since then, and deleted since `pruned`. Until it is, it may be
    spared after all.
    """

    version: str
    sha256: str
    deployment: str
    since: str
    condemned: str | None = None
    pruned: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of its item. Conditions ask whether there is one: no attribute is null."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class RecordedVersion:
    """A version that Sluicegate published from a digest, and when (epoch seconds)."""

    version: str
    sha256: str
    at: float


@dataclass(frozen=True)
class PastVersion:
    """A version that an alias has served, at last since or until `deployment`.

    Or one that had only a `minor` share there, and never succeeded: no rollback goes to it. `found` if
    somebody else had put it there that time; `gone_since` if it no longer exists, and `pruned` if that is
    because it was old. `position` is the deployment's.
    """

    version: str
    sha256: str
    deployment: str
    withdrawn: bool
    found: bool
    position: Position
    minor: bool = False
    gone_since: str | None = None
    built: Origin | None = None
    pruned: bool = False


def past_versions(
    served: Iterable[ServedVersion], displaced: Iterable[DisplacedVersion], gone: Iterable[GoneVersion]
) -> list[PastVersion]:
    """Return every version that the alias has served, the last one first.

    What a deployment replaced comes right after what it brought, the larger share first. A withdrawn version
    stays so until it succeeds again: to move the alias there by hand is no success.
    """
    succeeded = {one.version: one for one in served}
    replaced = {one.version: one for one in displaced}
    missing = {(one.version, one.sha256): one for one in gone}
    past = [
        _merged(succeeded.get(version), replaced.get(version), missing)
        for version in {**succeeded, **replaced}
    ]
    shares = {version: one.share for version, one in replaced.items()}
    return sorted(
        past,
        key=lambda one: (one.position, not one.found, shares.get(one.version, 1)),
        reverse=True,
    )


def _merged(
    served: ServedVersion | None,
    displaced: DisplacedVersion | None,
    missing: Mapping[tuple[str, str], GoneVersion],
) -> PastVersion:
    """Return one version from what is known of it: at least one of both."""
    known: list[ServedVersion | DisplacedVersion] = [one for one in (served, displaced) if one is not None]
    last = max(known, key=lambda one: one.position)
    gone = missing.get((last.version, last.sha256))
    withdrawn = last.withdrawn or (served is not None and served.withdrawn)
    return PastVersion(
        version=last.version,
        sha256=last.sha256,
        deployment=last.deployment,
        withdrawn=withdrawn,
        found=last is displaced,
        position=last.position,
        minor=served is None and displaced is not None and displaced.share < SERVED_SHARE,
        gone_since=gone.since if gone else None,
        built=served.built if served and served.sha256 == last.sha256 else None,
        pruned=gone is not None and gone.condemned is not None,
    )
