"""`/functions`: what the stages of each function serve, as far as the caller may see it."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final

from sluicegate.gateway.authorization import may_see
from sluicegate.gateway.context import Context
from sluicegate.gateway.cursors import seal, unseal
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import not_found
from sluicegate.gateway.prune_reports import prune_views
from sluicegate.gateway.render import function_list, function_response
from sluicegate.gateway.requests import queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.serving import Serving

MAX_FUNCTIONS: Final = 100
"""Functions in one response; `next_cursor` continues from there."""

MAX_EXAMINED: Final = 1_000
"""Aliases that one list reads at most, visible or not; `next_cursor` continues from there."""


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return what each stage of one function serves."""
    queries.no_query(call.query)
    name = queries.function_name(call.path)
    serving = context.store.versions.serving(name) if name else ()
    visible = [one for one in serving if may_see(context.gate, identity, one)]
    if not visible:
        raise not_found()
    function = visible[0].function
    pruning = prune_views(context.store.prunings.reports(function), visible)
    return function_response(visible, context.store.drift.current(function, function), pruning)


def list_(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return what each function serves, in all stages or in one, by name."""
    stage, cursor = queries.functions(call.query)
    after = unseal(context, identity, "functions", cursor)
    functions: dict[str, list[Serving]] = {}
    read, last = 0, ""  # the last function all of whose stages were read
    for name, stages in groupby(_serving(context, identity, after), key=lambda one: one.function):
        if len(functions) == MAX_FUNCTIONS or read >= MAX_EXAMINED:
            return _page(context, functions, seal(context, identity, "functions", last))
        for serving in stages:
            read += 1
            if stage in (None, serving.stage) and may_see(context.gate, identity, serving):
                functions.setdefault(name, []).append(serving)
        last = name
    return _page(context, functions, None)


def _page(context: Context, functions: dict[str, list[Serving]], cursor: str | None) -> GatewayResponse:
    drift = context.store.drift.current(min(functions), max(functions)) if functions else {}
    return function_list(list(functions.values()), cursor, drift)


def _serving(context: Context, identity: Identity, after: str | None) -> Iterator[Serving]:
    """Yield what functions after `after` serve, by name: the caller's own, and what its rules can name."""
    versions = context.store.versions
    own = versions.serving_by(identity.owner, after)
    granted = chain.from_iterable(
        versions.serving(prefix.text) if prefix.exact else versions.serving_like(prefix.text, after)
        for prefix in _prefixes(context, identity)
        if not (prefix.exact and after is not None and prefix.text <= after)
    )
    last = None
    for serving in heapq.merge(own, granted, key=_place):
        if _place(serving) != last:
            yield serving
        last = _place(serving)


def _place(serving: Serving) -> tuple[str, ...]:
    """Sort as the table does: a name ends with "#"."""
    return (f"{serving.function}#", serving.stage, serving.account, serving.region, serving.alias)


@dataclass(frozen=True, order=True)
class _Prefix:
    """With what the names of some functions begin; or the whole name, if `exact`."""

    text: str
    exact: bool


def _prefixes(context: Context, identity: Identity) -> list[_Prefix]:
    """Return what the caller's rules name, by name, and none that another one includes."""
    named = {
        _Prefix(pattern.text.partition("*")[0], pattern.exact)
        for rule in context.gate.rules_of(identity)
        for pattern in rule.functions
    }
    return [
        one
        for one in sorted(named, key=lambda one: f"{one.text}#" if one.exact else one.text)
        if not any(other != one and not other.exact and one.text.startswith(other.text) for other in named)
    ]
