"""What the board reads of the table: each read is held for some seconds, and serves every viewer.

What is held is everybody's: it is filtered by viewer afterwards (`board.visibility`). So many viewers cost as
many reads as one. A session is never held: ending it takes effect at once.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from sluicegate.board.held import Held
from sluicegate.deployment.drift import Drift
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.ulid import new_id
from sluicegate.owner import Owner
from sluicegate.store.commits import Commit
from sluicegate.store.deployments import DeploymentSummary, Index, UnfinishedDeployment
from sluicegate.store.drift import DriftPlace
from sluicegate.store.evidence_log import EvidenceLog, LogState
from sluicegate.store.holds import Hold
from sluicegate.store.keys import owner_key
from sluicegate.store.serving import Serving, ServingPlace, place_of
from sluicegate.store.store import Store

HELD: Final = 5
"""Seconds for which a read is held."""

HELD_DEPLOYMENT: Final = 1
"""Seconds for a single deployment, which its page asks for every three seconds."""

HELD_DRIFT: Final = 60
"""Seconds for the drift of all aliases, which is looked for once an hour."""

HELD_FIGURES: Final = 300
"""Seconds for the deployments of a month."""

PLACES_PER_SECOND: Final = 100
"""A list of all aliases is held for a second per so many: reading it costs as much as it is long."""

CHUNK: Final = 100
"""Deployments that are read at once for a list."""

MAX_FIGURES: Final = 2_000
"""Deployments that figures are worked out from, the newest ones."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True)
class EvidenceState:
    """The log, how many facts wait to be sealed (`MAX_FACTS` may be more), and since when (epoch seconds)."""

    log: LogState
    waiting: int
    since: float | None


class Reads:
    """Reads that are held. `stages` are those of the gate file."""

    def __init__(
        self,
        store: Store,
        stages: Sequence[str],
        clock: Callable[[], float],
        evidence: EvidenceLog | None = None,
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._stages = tuple(stages)
        self._clock = clock
        self._held = Held(clock)

    def forget(self) -> None:
        """Read everything again: the viewer has changed something, and looks at it next."""
        self._held.clear()

    def places(self) -> list[ServingPlace]:
        """Return all aliases that Sluicegate has moved, by function and stage."""
        return self._hold(
            ("places",), lambda found: max(HELD, len(found) // PLACES_PER_SECOND), self._store.versions.places
        )

    def serving(self, places: Iterable[ServingPlace]) -> dict[ServingPlace, Serving]:
        """Return what these aliases serve."""
        found = self._each(
            "serving",
            places,
            HELD,
            lambda missing: {place_of(one): one for one in self._store.versions.serving_at(missing)},
        )
        return {place: one for place, one in found.items() if one is not None}

    def unfinished(self) -> list[UnfinishedDeployment]:
        """Return the deployments that are not final, in short: the newest first, but those that wait for a
        person before them."""

        def read() -> list[UnfinishedDeployment]:
            newest = sorted(self._store.deployments.unfinished(), key=lambda one: one.id, reverse=True)
            return sorted(newest, key=lambda one: one.status is not Status.AWAITING_APPROVAL)

        return self._hold(("unfinished",), HELD, read)

    def under_way(self, several: Iterable[UnfinishedDeployment]) -> list[Deployment]:
        """Return these deployments in the same order, without those that have ended meanwhile."""
        found = self._each(
            "under-way",
            (one.id for one in several),
            HELD,
            lambda missing: {one.id: one for one in self._store.deployments.several(missing)},
        )
        return [one for one in found.values() if one is not None and not one.status.final]

    def holds(self) -> list[Hold]:
        """Return the holds of all stages."""

        def read() -> list[Hold]:
            return [hold for stage in self._stages for hold in self._store.holds.of_stage(stage)]

        return self._hold(("holds",), HELD, read)

    def drift(self) -> Mapping[DriftPlace, Drift]:
        """Return what somebody else has changed about aliases, by account, region, function and alias."""
        return self._hold(("drift",), HELD_DRIFT, self._store.drift.current)

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment, or None."""
        return self._hold(
            ("deployment", deployment_id),
            HELD_DEPLOYMENT,
            lambda: self._store.deployments.get(deployment_id),
        )

    def chunk(self, index: Index, key: str, before: str | None = None) -> list[DeploymentSummary]:
        """Return `CHUNK` deployments of one function, one owner or all, newest first, of before an id."""

        def read() -> list[DeploymentSummary]:
            return list(islice(self._store.deployments.summaries(index, key, before=before), CHUNK))

        return self._hold((index, key, before or ""), HELD, read)

    def serving_by(self, owner: Owner) -> list[Serving]:
        """Return what aliases serve by deployments of one project or person."""
        return self._hold(
            ("serving-by", owner_key(owner)), HELD, lambda: list(self._store.versions.serving_by(owner, None))
        )

    def since(self, days: int, index: Index, key: str) -> list[DeploymentSummary]:
        """Return the same of so many days: `MAX_FIGURES` at most."""
        # Ids begin with the time, so one that is made for a moment is a bound.
        after = new_id(self._clock() - days * 86_400)

        def read() -> list[DeploymentSummary]:
            found = self._store.deployments.summaries(index, key, after=after)
            return list(islice(found, MAX_FIGURES))

        return self._hold(("since", days, index, key), HELD_FIGURES, read)

    def evidence(self) -> EvidenceState | None:
        """Return how far the evidence is; None before anything was sealed."""
        log = self._evidence
        if log is None:
            return None

        def read() -> EvidenceState | None:
            # The stack's name only matters for a log that does not exist yet.
            state = log.read("")
            waiting = log.unsealed(self._clock())
            since = min((fact.since for fact in waiting), default=None)
            return EvidenceState(state, len(waiting), since) if state.chain.size or waiting else None

        return self._hold(("evidence",), HELD, read)

    def commit_times(self, commits: Iterable[Commit]) -> dict[Commit, str]:
        """Return when these commits were made, as far as GitLab was asked."""
        found = self._each("commit", commits, HELD_FIGURES, self._store.commits.times)
        return {commit: moment for commit, moment in found.items() if moment is not None}

    def _each(
        self, kind: str, wanted: Iterable[K], seconds: float, read: Callable[[list[K]], Mapping[K, V]]
    ) -> dict[K, V | None]:
        """Return each of these in their order, None where there is none; those not held are read at once."""
        keys = list(dict.fromkeys(wanted))
        held = {key: self._held.get((kind, key)) for key in keys}
        missing = [key for key in keys if held[key] is None]
        fresh = read(missing) if missing else {}
        for key in missing:
            held[key] = (fresh.get(key),)
            self._held.keep((kind, key), seconds, fresh.get(key))
        return {key: one[0] for key, one in held.items() if one}  # type: ignore[misc]

    def _hold(
        self, key: tuple[Hashable, ...], seconds: float | Callable[[V], float], read: Callable[[], V]
    ) -> V:
        known = self._held.get(key)
        if known:
            return known[0]  # type: ignore[return-value]
        value = read()
        # Of a kind of which there is one, no viewer can make more.
        lasting = seconds(value) if callable(seconds) else seconds
        self._held.keep(key, lasting, value, weighs=len(key) > 1)
        return value
