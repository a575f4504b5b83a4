"""Decide which versions of a function may be deleted. Values in, values out.

A version goes only if nothing keeps it. What is not known keeps it, too.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluicegate.aws.lambda_versions import ListedVersion
from sluicegate.deployment.durations import duration
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.gate.pruning import Prune
from sluicegate.store.history import PastVersion, RecordedVersion

QUIET_DAYS: Final = 14
"""Days without an invocation after which a version counts as unused."""


class KeepReason(StrEnum):
    """Why a version stays."""

    NOT_RECORDED = "not_recorded"
    """Sluicegate did not publish it, as far as its record says."""
    OTHER_CODE = "other_code"
    """It has other code than the record says: the function was made again, and the number is another's."""
    NEWEST = "newest"
    """It is one of the newest that Sluicegate published, or Lambda's newest."""
    YOUNG = "young"
    """It is not old enough."""
    ALIAS = "alias"
    """An alias names it, be it in a weight."""
    SERVING = "serving"
    """By the record a stage serves it, whatever its alias names."""
    ROLLBACK = "rollback"
    """A rollback of a stage may go to it, and it is one of the newest of those."""
    FOUND = "found"
    """A deployment found that somebody else had put it behind a stage's alias."""
    IN_FLIGHT = "in_flight"
    """A deployment that has not ended names it."""
    EVENT_SOURCE = "event_source"
    """An event source mapping names it."""
    POLICY = "policy"
    """It has a resource policy of its own."""
    PROVISIONED = "provisioned"
    """It has provisioned concurrency."""
    INVOKE_CONFIG = "invoke_config"
    """It has a configuration for asynchronous invocations."""
    DURABLE = "durable"
    """A durable execution runs on it."""
    INVOKED = "invoked"
    """It was invoked within `QUIET_DAYS`."""
    REFUSED = "refused"
    """Lambda refused to delete it."""
    LATER = "later"
    """It may go as far as the record says. A later run looks at it closely."""
    UNKNOWN = "unknown"
    """Something about it could not be read."""


@dataclass(frozen=True)
class Keep:
    """One reason why a version stays. `detail` is an alias for what is about one, else text for people."""

    reason: KeepReason
    detail: str = ""


@dataclass(frozen=True)
class AliasHistory:
    """What the record says of one alias: what it serves, and what it served, the last first."""

    alias: str
    serving: tuple[str, ...]
    past: tuple[PastVersion, ...]


@dataclass(frozen=True)
class FunctionVersions:
    """All that is known of a function's versions in one account and region, but for what looks at one cost.

    `aliases` are everybody's, `open` the deployments that have not ended.
    """

    listed: tuple[ListedVersion, ...]
    recorded: tuple[RecordedVersion, ...]
    aliases: Mapping[str, AliasState]
    histories: tuple[AliasHistory, ...]
    open: tuple[Deployment, ...]

    @property
    def alias_names(self) -> frozenset[str]:
        """The names of all aliases that there are, or were by the record."""
        return frozenset((*self.aliases, *(one.alias for one in self.histories)))


def decide(known: FunctionVersions, prune: Prune, now: float) -> dict[str, tuple[Keep, ...]]:
    """Return why each listed version stays, the newest first. A version with no reason may be deleted."""
    recorded: dict[str, list[RecordedVersion]] = {}
    for one in known.recorded:
        recorded.setdefault(one.version, []).append(one)
    listed = sorted(known.listed, key=lambda one: int(one.version), reverse=True)
    ours = [one.version for one in listed if one.version in recorded]
    newest = {*ours[: prune.keep], *(one.version for one in listed[:1])}
    used: dict[str, dict[Keep, None]] = {}
    for version, keep in uses(known.aliases, known.histories, known.open, prune.rollbacks):
        used.setdefault(version, {})[keep] = None
    return {
        one.version: (
            *_of_the_record(one, recorded.get(one.version, ()), prune, now),
            *((Keep(KeepReason.NEWEST),) if one.version in newest else ()),
            *used.get(one.version, {}),
        )
        for one in listed
    }


def named_by(deployment: Deployment) -> frozenset[str]:
    """Return every version that a deployment may still move its alias to, or has seen there."""
    states = [state for state in (deployment.original, deployment.current) if state is not None]
    named = {
        deployment.version,
        deployment.recorded,
        *(version for state in states for version in (state.version, *state.weights)),
        *(one.version for one in deployment.fallbacks),
        *(one.version for one in deployment.found),
    }
    return frozenset(version for version in named if version is not None)


def uses(
    aliases: Mapping[str, AliasState],
    histories: Iterable[AliasHistory],
    open_: Iterable[Deployment],
    rollbacks: int,
) -> Iterator[tuple[str, Keep]]:
    """Yield the versions that aliases, deployments and ways back need: looked at again before a deletion.

    Of what a rollback may go to, the newest `rollbacks` of each alias.
    """
    for name, state in aliases.items():
        for version in (state.version, *state.weights):
            yield version, Keep(KeepReason.ALIAS, name)
    for deployment in open_:
        for version in named_by(deployment):
            yield version, Keep(KeepReason.IN_FLIGHT, deployment.plan.alias)
    for history in histories:
        for version in history.serving:
            yield version, Keep(KeepReason.SERVING, history.alias)
        for one in rollback_candidates(history.past, history.serving)[:rollbacks]:
            yield one.version, Keep(KeepReason.ROLLBACK, history.alias)
        for one in history.past:
            if one.found:
                yield one.version, Keep(KeepReason.FOUND, history.alias)


def _of_the_record(
    listed: ListedVersion, recorded: Sequence[RecordedVersion], prune: Prune, now: float
) -> Iterator[Keep]:
    if not recorded:
        yield Keep(KeepReason.NOT_RECORDED)
        return
    same = [one for one in recorded if one.sha256 == listed.sha256]
    if not same:
        yield Keep(KeepReason.OTHER_CODE)
        return
    newest = max([*(one.at for one in same), *([listed.modified] if listed.modified is not None else [])])
    if now - newest < prune.older_than:
        yield Keep(KeepReason.YOUNG, f"younger than {duration(prune.older_than)}")


def rollback_candidates(past: Iterable[PastVersion], serving: Collection[str]) -> list[PastVersion]:
    """Return what a rollback goes to by itself, the next one first: served, not withdrawn, and there."""
    return [
        one
        for one in past
        if not one.minor and not one.withdrawn and one.gone_since is None and one.version not in serving
    ]
