"""Look at a function's versions in an account and region: all that decides whether one may be deleted."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code
from sluicegate.aws.invocations import was_invoked
from sluicegate.aws.lambda_ import LambdaError
from sluicegate.aws.lambda_versions import ListedVersion
from sluicegate.aws.metric_data import LookFailed
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.deployment.plan import Target
from sluicegate.pacing import Pace
from sluicegate.pruning.decision import (
    QUIET_DAYS,
    AliasHistory,
    FunctionVersions,
    Keep,
    KeepReason,
)
from sluicegate.pruning.places import PruneLook
from sluicegate.store.history import GoneVersion, PastVersion
from sluicegate.store.serving import Serving
from sluicegate.store.store import Store

SOURCES_KEPT: Final = 600
"""Seconds for which the region's event source mappings are not listed again."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass
class VersionsLook:
    """The look at one account and region. `enter` gives its functions, `pace` is that of all calls."""

    store: Store
    target: Target
    enter: Callable[[], PruneLook]
    pace: Pace
    clock: Callable[[], float] = time.time
    _pasts: tuple[str, dict[str, tuple[frozenset[str], list[PastVersion]]]] = field(default=("", {}))
    _sources: tuple[float, dict[str, frozenset[str]]] = field(default=(0.0, {}))

    def at(self, function: str) -> FunctionVersions:
        """Return what the record and Lambda say of a function's versions. Raises LambdaError.

        Lambda is asked before the table: a deployment that ends in between is open then, or serves.
        """
        listed = self.listed(function)
        aliases = self.aliases(function)
        open_ = self.store.prunings.open(self.target, function)
        known = self.store.prunings.known(self.target, function)
        histories = self.histories(function, open_, known.gone)
        return FunctionVersions(listed, known.published, aliases, histories, open_)

    def listed(self, function: str) -> tuple[ListedVersion, ...]:
        """Return all versions of a function. Raises LambdaError."""
        return self.pace.call(self.enter().versions(self.pace.step).versions, function)

    def aliases(self, function: str) -> dict[str, AliasState]:
        """Return what all aliases of a function serve, also those of other people. Raises LambdaError."""
        found = self.pace.call(self.enter().triggers(self.pace.step).aliases, function)
        return {name: alias.state for name, alias in found.items()}

    def histories(
        self, function: str, open_: Iterable[Deployment], gone: Iterable[GoneVersion]
    ) -> tuple[AliasHistory, ...]:
        """Return what each alias serves and served (consistent reads).

        To be called after `open_` was read: a deployment that has ended meanwhile is in here then. What is
        only condemned is not `gone`.
        """
        missing = {
            (one.version, one.sha256): one.since
            for one in gone
            if one.condemned is None or one.pruned is not None
        }
        serving: dict[str, list[Serving]] = {}
        for one in self.store.versions.serving(function, consistent=True):
            if (one.account, one.region) == (self.target.account, self.target.region):
                serving.setdefault(one.alias, []).append(one)
        return tuple(
            AliasHistory(
                alias,
                tuple(one.version for one in serving.get(alias, ())),
                tuple(
                    replace(one, gone_since=missing.get((one.version, one.sha256)))
                    for one in self._past(function, alias, serving.get(alias, ()))
                ),
            )
            for alias in sorted({*serving, *(one.plan.alias for one in open_)})
        )

    def _past(self, function: str, alias: str, serving: Iterable[Serving]) -> list[PastVersion]:
        """Return what an alias has served, whether or not it is gone.

        Only the write that changes what it serves changes that: it is read once for each such write.
        """
        if self._pasts[0] != function:
            self._pasts = (function, {})
        since, pasts = frozenset(one.deployment for one in serving), self._pasts[1]
        if alias not in pasts or pasts[alias][0] != since:
            pasts[alias] = since, self.store.versions.past_without(self.target, function, alias, ())
        return pasts[alias][1]

    def attached(self, function: str, versions: Iterable[str]) -> dict[str, tuple[Keep, ...]]:
        """Return what is attached to each of these versions, of what a list tells of all of them."""
        api = self.enter().versions(self.pace.step)
        lists = (
            (KeepReason.EVENT_SOURCE, lambda: self._event_sources().get(function, frozenset())),
            (KeepReason.PROVISIONED, lambda: self.pace.call(api.provisioned, function)),
            (KeepReason.INVOKE_CONFIG, lambda: self.pace.call(api.invoke_configs, function)),
            (KeepReason.DURABLE, lambda: self.pace.call(api.running_executions, function)),
        )
        found: dict[str, list[Keep]] = {version: [] for version in versions}
        for reason, read in lists:
            qualifiers = _known(read)
            for version, keep in found.items():
                if isinstance(qualifiers, Keep):
                    keep.append(qualifiers)
                elif version in qualifiers:
                    keep.append(Keep(reason))
        return {version: tuple(keep) for version, keep in found.items()}

    def used(self, function: str, version: str, aliases: Iterable[str]) -> tuple[Keep, ...]:
        """Return what uses one version, a call each. `aliases` are those that could lead to it."""
        return tuple(self._used(function, version, tuple(aliases)))

    def _used(self, function: str, version: str, aliases: tuple[str, ...]) -> Iterator[Keep]:
        look = self.enter()
        api, now = look.versions(self.pace.step), self.clock()
        since = now - QUIET_DAYS * 86_400
        calls = (
            (KeepReason.POLICY, lambda: self.pace.call(api.has_policy, function, version)),
            (
                KeepReason.INVOKED,
                lambda: was_invoked(look.cloudwatch, function, version, aliases, since, now),
            ),
        )
        for reason, read in calls:
            answer = _known(read)
            if isinstance(answer, Keep):
                yield answer
            elif answer:
                yield Keep(reason)
                return

    def _event_sources(self) -> dict[str, frozenset[str]]:
        until, found = self._sources
        if until <= self.clock():
            found = self.pace.call(self.enter().versions(self.pace.step).event_source_qualifiers)
            self._sources = (self.clock() + SOURCES_KEPT, found)
        return found


def _known(read: Callable[[], _T]) -> _T | Keep:
    """Return what was read, or that it is unknown: then the version stays."""
    try:
        return read()
    except LambdaError as error:
        return Keep(KeepReason.UNKNOWN, error.code)
    except LookFailed as error:
        return Keep(KeepReason.UNKNOWN, error.code)
    except (ClientError, BotoCoreError) as error:
        return Keep(KeepReason.UNKNOWN, error_code(error))
