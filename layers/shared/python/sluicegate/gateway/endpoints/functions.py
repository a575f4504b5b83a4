"""`/functions`: what the stages of each function serve, as far as the caller may see it."""

from typing import Final

from sluicegate.gateway.authorization import may_see
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import not_found
from sluicegate.gateway.render import function_list, function_response
from sluicegate.gateway.requests import queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.versions import Serving

MAX_FUNCTIONS: Final = 100
"""Functions in one response; `next_cursor` continues from there."""


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return what each stage of one function serves."""
    queries.no_query(call.query)
    name = queries.function_name(call.path)
    serving = context.store.versions.serving(name) if name else ()
    visible = [one for one in serving if may_see(context.gate, identity, one)]
    if not visible:
        raise not_found()
    return function_response(visible)


def list_(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return what each function serves, in all stages or in one, by name."""
    stage, after = queries.functions(call.query)
    functions: dict[str, list[Serving]] = {}
    cursor: str | None = None
    for serving in context.store.versions.serving(after=after):
        if stage not in (None, serving.stage) or not may_see(context.gate, identity, serving):
            continue
        if serving.function not in functions and len(functions) == MAX_FUNCTIONS:
            cursor = next(reversed(functions))
            break
        functions.setdefault(serving.function, []).append(serving)
    return function_list(list(functions.values()), cursor)
