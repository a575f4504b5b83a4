"""One look at the functions of one account and region."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from sluicegate.aws import permissions
from sluicegate.aws.lambda_ import FunctionVersion, LambdaAccessDenied, LambdaNotFound
from sluicegate.aws.lambda_triggers import Trigger
from sluicegate.drift.comparison import SeenFunction
from sluicegate.drift.places import LookApi
from sluicegate.pacing import Pace

SOURCES_KEPT: Final = 600
"""Seconds for which the region's event source mappings are not listed again."""

MAX_OTHER_ALIASES: Final = 5
"""Aliases without a record whose policies are read, of one function."""

_GET_FUNCTION: Final = "lambda:GetFunction"
_GET_POLICY: Final = "lambda:GetPolicy"
_LIST_ALIASES: Final = "lambda:ListAliases"
_LIST_URLS: Final = "lambda:ListFunctionUrlConfigs"

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Paces:
    """A pace for each quota: `shared` is that of all calls that have none of their own."""

    shared: Pace
    functions: Pace
    policies: Pace


@dataclass
class PlaceLook:
    """The look at one account and region. `enter` gives its functions, `denied` gets each refused call."""

    enter: Callable[[], LookApi]
    paces: Paces
    denied: Callable[[str, LambdaAccessDenied], None]
    clock: Callable[[], float] = time.time
    _sources: tuple[float, Mapping[str, tuple[Trigger, ...]] | None] = field(default=(0.0, None))

    def at(self, function: str, versions: Iterable[str], known: Iterable[str]) -> SeenFunction:
        """Look at a function, and at these versions. `known` are its aliases with a record.

        Raises LambdaError, but for what is denied: that is unknown then.
        """
        api = self.enter()
        shared, functions = self.paces.shared, self.paces.functions
        one, triggers = api.function(function), api.triggers(shared.step)
        try:
            aliases = self._read(_LIST_ALIASES, shared, triggers.aliases, function)
            latest = self._read(_GET_FUNCTION, functions, one.version)
        except LambdaNotFound:
            return SeenFunction(exists=False)
        others = sorted(set(aliases or ()) - set(known))[:MAX_OTHER_ALIASES]
        return SeenFunction(
            aliases=aliases,
            latest=latest,
            versions=self._versions(one.version, versions) if latest else None,
            triggers=self._triggers(api, function, others),
        )

    def _versions(
        self, read: Callable[[str], FunctionVersion], versions: Iterable[str]
    ) -> dict[str, FunctionVersion]:
        found: dict[str, FunctionVersion] = {}
        for version in sorted(set(versions)):
            try:
                seen = self._read(_GET_FUNCTION, self.paces.functions, read, version)
            except LambdaNotFound:
                continue
            if seen is not None:
                found[version] = seen
        return found

    def _triggers(self, api: LookApi, function: str, others: Iterable[str]) -> tuple[Trigger, ...] | None:
        sources, triggers = self._event_sources(api), api.triggers(self.paces.shared.step)
        urls = self._read(_LIST_URLS, self.paces.shared, triggers.urls, function)
        allowed: list[Trigger] | None = []
        for qualifier in ("", *others):
            found = self._read(_GET_POLICY, self.paces.policies, triggers.permissions, function, qualifier)
            allowed = None if found is None or allowed is None else [*allowed, *found]
        if sources is None or urls is None or allowed is None:
            return None
        return (*sources.get(function, ()), *urls, *allowed)

    def _event_sources(self, api: LookApi) -> Mapping[str, tuple[Trigger, ...]] | None:
        until, found = self._sources
        if until <= self.clock():
            shared = self.paces.shared
            list_sources = api.triggers(shared.step).event_sources
            found = self._read(permissions.EVENT_SOURCES, shared, list_sources)
            self._sources = (self.clock() + SOURCES_KEPT, found)
        return found

    def _read(
        self, action: str, pace: Pace, call: Callable[_P, _T], *args: _P.args, **request: _P.kwargs
    ) -> _T | None:
        """Call at the pace; None where the call is denied."""
        try:
            return pace.call(call, *args, **request)
        except LambdaAccessDenied as error:
            self.denied(action, error)
            return None
