"""What a rollback goes back to: only what the alias has really served, the last first."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.model import Deployment, EarlierVersion, Status
from sluicegate.store.history import SERVED_SHARE, PastVersion
from sluicegate.store.serving import Serving

MAX_FALLBACKS: Final = 10
"""Versions that a rollback tries after the first, at most."""


@dataclass(frozen=True)
class WayBack:
    """The version to go back to, those to try after it, and `notes` for the timeline."""

    version: EarlierVersion
    fallbacks: tuple[EarlierVersion, ...] = ()
    notes: tuple[str, ...] = ()


def way_back(past: list[PastVersion], serving: Serving | None, holder: Deployment | None) -> WayBack | None:
    """Return what the stage served before, or None if there is nothing to go back to.

    While a deployment is in progress (`holder`), that is what the stage serves without it. Otherwise it is
    the last version that is not `serving`. What was withdrawn is left out, and so is what no longer exists.
    """
    undone = holder if holder is not None and _undone_by_rollback(holder) else None
    first = _served_without(undone, past, serving) if undone else []
    left = {serving.version} if serving else set()
    left |= {undone.version} if undone and undone.version else set()
    notes: list[str] = []
    ways = list(first)
    for one in past:
        if one.minor or one.version in left or any(one.version == way.version for way in ways):
            continue
        if one.gone_since is None and not one.withdrawn:
            ways.append(_earlier(one))
        elif not ways and (one.found or not one.withdrawn):
            notes.append(_why_not(one))
    if not ways:
        return None
    version, *others = ways
    by_somebody_else = any(one.version == version.version and one.found for one in past)
    if by_somebody_else or any(version == way for way in first if undone and undone.found):
        notes.append(f"somebody else had put version {version.version} there")
    return WayBack(version, tuple(others[:MAX_FALLBACKS]), tuple(notes))


def named_version(
    version: str, past: Iterable[PastVersion], holder: Deployment | None
) -> PastVersion | EarlierVersion | None:
    """Return the version of that number, if the alias has served it."""
    found = next((one for one in past if one.version == version and not one.minor), None)
    if found is not None or holder is None or holder.status.final:
        return found
    mine = [one for one in holder.found if one.version == version and one.share >= SERVED_SHARE]
    return EarlierVersion(mine[0].version, mine[0].sha256) if mine else None


def _served_without(
    undone: Deployment, past: list[PastVersion], serving: Serving | None
) -> list[EarlierVersion]:
    """Return what the stage serves once the deployment is undone."""
    if undone.found:
        main = max(undone.found, key=lambda one: one.share)
        return [EarlierVersion(main.version, main.sha256)]
    version = serving.version if serving else None
    return [_earlier(one) for one in past if one.version == version and one.gone_since is None]


def _undone_by_rollback(deployment: Deployment) -> bool:
    """Return whether a rollback undoes it: not if it waits for an approval, or is a rollback itself."""
    waits = deployment.status is Status.AWAITING_APPROVAL and not deployment.in_steps
    waits = waits or deployment.status.final
    return not waits and deployment.action != "rollback"


def _earlier(one: PastVersion) -> EarlierVersion:
    return EarlierVersion(one.version, one.sha256, one.built)


def _why_not(one: PastVersion) -> str:
    if one.gone_since is not None:
        return f"version {one.version} no longer exists"
    return f"somebody else had put version {one.version} there again, which a rollback had withdrawn"
