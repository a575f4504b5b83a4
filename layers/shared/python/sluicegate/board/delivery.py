"""Delivery figures of a stage, from the record: how often, how fast, how much went back, how long that took.

The four are those of DORA's reports, by definitions of our own that the page states: GitLab's change failure
rate and time to restore come from incidents, which Sluicegate does not know.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Status
from sluicegate.store.commits import Commit
from sluicegate.store.deployments import DeploymentSummary

DAY: Final = 86_400


@dataclass(frozen=True)
class DeliveryFigures:
    """The figures of one stage over `days` days. Durations are medians in seconds, None where none is known.

    `released` counts releases that got all traffic, `reached` those that got any, `went_back` those of them
    that the watch or a person took back. `through` is from a commit's first deployment to any stage until it
    got all traffic here. `lead` is from the commit itself, for those whose time GitLab was asked for.
    """

    stage: str
    days: int
    released: int
    reached: int
    went_back: int
    restore: float | None
    through: float | None
    per_day: tuple[int, ...]
    lead: float | None

    @property
    def share(self) -> float | None:
        """The share that went back, 0 to 1; None where nothing got traffic."""
        return self.went_back / self.reached if self.reached else None

    @property
    def frequency(self) -> float:
        """Releases a day."""
        return self.released / self.days


def figures(
    stage: str,
    deployments: Iterable[DeploymentSummary],
    committed: Mapping[Commit, str],
    *,
    days: int,
    now: float,
) -> DeliveryFigures:
    """Work out the figures of a stage from deployments of all stages, and the times of their commits."""
    known = sorted(deployments, key=lambda one: one.id)
    here = [one for one in known if one.stage == stage]
    releases = [one for one in here if one.action != "rollback"]
    released = [one for one in releases if one.status is Status.SUCCEEDED]
    watched = [one for one in releases if one.status is Status.ROLLED_BACK and one.traffic_since]
    undone = _undone(here)
    restored = [_between(one.traffic_since, one.finished_at) for one in watched]
    restored += [_between(one.finished_at, back.finished_at) for one, back in undone]
    return DeliveryFigures(
        stage=stage,
        days=days,
        released=len(released),
        reached=len(released) + len(watched),
        went_back=len(undone) + len(watched),
        restore=_median(restored),
        through=_median([_through(one, known) for one in released]),
        per_day=_per_day(released, days, now),
        lead=_median(_between(committed.get(commit_of(one)), one.finished_at) for one in released),
    )


def commit_of(one: DeploymentSummary) -> Commit:
    """Return the commit that a deployment is of."""
    by = one.requested_by
    return by.issuer, by.project_id, by.sha or ""


def _undone(here: Sequence[DeploymentSummary]) -> list[tuple[DeploymentSummary, DeploymentSummary]]:
    """Return each release that a rollback took back, with that rollback: the one before it on its alias."""
    found, last = [], {}
    for one in here:
        if one.status is not Status.SUCCEEDED:
            continue
        if one.action != "rollback":
            last[one.function] = one
        elif one.function in last:
            found.append((last.pop(one.function), one))
    return found


def _through(one: DeploymentSummary, known: Sequence[DeploymentSummary]) -> float | None:
    if not one.requested_by.sha:
        return None
    same = (
        other.created_at
        for other in known
        if other.function == one.function and commit_of(other) == commit_of(one)
    )
    return _between(next(same, None), one.finished_at)


def _per_day(released: Iterable[DeploymentSummary], days: int, now: float) -> tuple[int, ...]:
    counts = [0] * days
    for one in released:
        age = int((now - seconds(one.finished_at or one.updated_at)) // DAY)
        if 0 <= age < days:
            counts[days - 1 - age] += 1
    return tuple(counts)


def _between(begin: str | None, end: str | None) -> float | None:
    return max(0.0, seconds(end) - seconds(begin)) if begin and end else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
