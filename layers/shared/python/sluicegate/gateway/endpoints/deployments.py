"""`/deployments`: create, read and list."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code
from sluicegate.deployment.model import Deployment, Status, until
from sluicegate.gate.model import Placement
from sluicegate.gate.rules import Rule
from sluicegate.gateway.admission.credentials import request_key
from sluicegate.gateway.admission.resolve import required_actions, resolve
from sluicegate.gateway.admission.service import Submission, submit
from sluicegate.gateway.authorization import authorize, check_age, may_see, visible_deployment
from sluicegate.gateway.context import Context
from sluicegate.gateway.cursors import seal, unseal
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.limits import check_hours, check_slots
from sluicegate.gateway.lists import indexes_of, merged
from sluicegate.gateway.principals import is_long_lived
from sluicegate.gateway.problems import invalid_request, not_found
from sluicegate.gateway.render import deployment_list, deployment_response, dry_run_response
from sluicegate.gateway.requester import announcer
from sluicegate.gateway.requests import bodies, queries
from sluicegate.gateway.requests.bodies import DeploymentRequest
from sluicegate.gateway.requests.queries import ListRequest
from sluicegate.oidc.identity import Identity
from sluicegate.store.keys import digest, owner_key
from sluicegate.store.polls import PollPlace

MAX_EXAMINED: Final = 500
"""Records that one list request reads at most; `next_cursor` continues from there."""

HELD: Final = 5
"""Seconds for which a call waits at most, whatever it asks for: news that come within seconds come sooner
that way. A function that waits costs as much as one that works."""

SHED_PAUSE: Final = 5
"""Seconds after which a caller whose wait was shed should ask again."""

LONGEST_PAUSE: Final = 10
"""Seconds after which a caller should ask again while a version bakes, or a person decides."""

_QUEUED_PAUSE: Final = 2


def create(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Accept a deployment in one transaction, or return what a dry run finds."""
    queries.no_query(call.query)
    request = bodies.deployment(bodies.parse(call.body))
    key = _idempotency_key(call, request, identity)
    identity = replace(identity, agent=identity.agent or request.agent)
    placement = context.gate.place(request.function, request.stage)
    actions = required_actions(request, placement)
    rule = authorize(context, identity, actions, request.function, request.stage)
    check_age(context, identity, placement, request.action)
    if request.dry_run:
        return _dry_run(context, request, rule, placement, identity)
    fingerprint = digest(*request.effect)
    admission = submit(
        context,
        Submission(
            identity=identity,
            stage=request.stage,
            rule=rule,
            placement=placement,
            actions=actions,
            request_key=request_key(identity, "", key, fingerprint),
            fingerprint=fingerprint,
            request=lambda: request,
            announcer=announcer(identity, request.function, request.sha256) if request.sha256 else None,
        ),
    )
    return deployment_response(
        call,
        admission.deployment,
        200 if admission.replayed else 202,
        replayed=admission.replayed,
        board=context.gate.signs_in,
    )


def _idempotency_key(call: GatewayRequest, request: DeploymentRequest, identity: Identity) -> str | None:
    """Return the key of the request. A signature covers the body and not the header: others can add that."""
    header = queries.idempotency_key(call.headers.get("idempotency-key", []))
    key, at = request.idempotency_key, "/idempotency_key"
    if header is not None and header != key and (identity.principal or key is not None):
        raise invalid_request([(at, "must be what the header Idempotency-Key is, or leave the header out")])
    if key is None and identity.principal and is_long_lived(identity.principal.access_key):
        raise invalid_request(
            [(at, "is missing: with a user's own access key no two requests differ otherwise")]
        )
    if key is None and header is None and identity.via == "session" and not request.dry_run:
        raise invalid_request(
            [(at, "is missing: a person may want the same twice in a day, and nothing else tells it apart")]
        )
    return key or header


def _dry_run(
    context: Context,
    request: DeploymentRequest,
    rule: Rule,
    placement: Placement | None,
    identity: Identity,
) -> GatewayResponse:
    """Run the same checks, and write nothing: neither the request nor the token's use."""
    check_hours(context, identity, rule, request.action)
    resolved = resolve(context, request, rule, placement, identity)
    check_slots(context, identity, rule, request.action)
    plan = resolved.plan
    lock = context.store.locks.alias_lock(plan.target, request.function, plan.alias)
    visible = lock is not None and visible_deployment(context, lock.deployment, identity) is not None
    return dry_run_response(
        request, resolved, busy=lock is not None, holder=lock.deployment if lock and visible else None
    )


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return the deployment as soon as it is past a revision. The caller is authorized before any wait.

    Only the revision after the current one is waited for; a later one does not exist yet. Where no news is
    due within seconds, the answer comes at once, and `Retry-After` says when to ask again.
    """
    request = queries.read(call.path, call.query)
    deployment = visible_deployment(context, request.id, identity) if request else None
    if request is None or deployment is None:
        raise not_found()
    shown = partial(
        deployment_response,
        call,
        status=200,
        after=request.after,
        observations=request.observations,
        board=context.gate.signs_in,
    )
    if deployment.revision != request.after or deployment.status.final or not request.wait:
        return shown(deployment)
    if pause := pause_of(deployment, context.clock(), _next_look(context, deployment)):
        return _later(shown(deployment), pause)
    wait = min(request.wait, HELD)
    place = _place(context, identity, wait)
    if place is None:
        context.log("wait_shed", deployment=deployment.id, owner=owner_key(identity.owner))
        return _later(shown(deployment), SHED_PAUSE)
    try:
        deployment = _news(context, deployment, wait)
    finally:
        _free(context, place)
    return shown(deployment)


def pause_of(deployment: Deployment, now: float, next_look: float = 0) -> int:
    """Return after how many seconds to ask for news again; 0 where it may come any moment, and is waited for.

    A tenth of a bake, and not past its end: nobody notices, and it costs a hundredth of a call that waits. In
    line, when the deployment looks for its turn again (`next_look`, epoch seconds): it goes on no sooner, and
    hundreds of jobs that wait ask for less than the API takes.
    """
    match deployment.status:
        case Status.QUEUED:
            return max(_QUEUED_PAUSE, min(LONGEST_PAUSE, ceil(next_look - now)))
        case Status.AWAITING_APPROVAL:
            return LONGEST_PAUSE
        case Status.BAKING:
            bake = deployment.plan.steps[deployment.step].bake
            left = ceil((until(deployment) or now) - now)
            return max(1, min(LONGEST_PAUSE, bake // 10, left))
        case _:
            return 0


def _next_look(context: Context, deployment: Deployment) -> float:
    """Return when a deployment in line looks for its turn again (epoch seconds); 0 if it is not in line."""
    if not (deployment.status is Status.QUEUED and deployment.in_line):
        return 0
    return context.store.calls.next_look(deployment.plan.target, deployment.id) / 1_000


def _later(response: GatewayResponse, seconds: int) -> GatewayResponse:
    return replace(response, headers={**response.headers, "Retry-After": str(seconds)})


def _news(context: Context, deployment: Deployment, seconds: int) -> Deployment:
    """Return the next revision as soon as there is one, or this one after so many seconds."""
    known, until, pause = deployment, context.clock() + seconds, 0.1
    while deployment.revision == known.revision and context.clock() < until:
        context.sleep(min(pause, max(0.0, until - context.clock())))
        pause = min(1.0, pause * 1.25)
        deployment = context.store.deployments.get(known.id) or deployment
    return deployment


def _place(context: Context, identity: Identity, seconds: int) -> PollPlace | None:
    """Return a place to wait in; None, and so an answer at once, where there is none or the table fails."""
    try:
        return context.store.polls.take(identity.owner, context.waits, seconds)
    except (ClientError, BotoCoreError) as error:
        context.log("wait_not_counted", error=error_code(error))
        return None


def _free(context: Context, place: PollPlace) -> None:
    """Free the place. If that fails, its lease ends."""
    try:
        context.store.polls.free(place)
    except (ClientError, BotoCoreError) as error:
        context.log("wait_not_counted", error=error_code(error))


def list_(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return a page of the deployments that the caller may see, newest first."""
    request = queries.listing(call.query)
    before = unseal(context, identity, "deployments", request.cursor)
    items: list[Deployment] = []
    cursor: str | None = None
    for examined, deployment in enumerate(_newest(context, request.function, identity, before), 1):
        if _matches(deployment, request) and may_see(context.gate, identity, deployment):
            items.append(deployment)
        if len(items) == request.limit or examined == MAX_EXAMINED:
            cursor = seal(context, identity, "deployments", deployment.id)
            break
    return deployment_list(items, cursor)


def _newest(
    context: Context, function: str | None, identity: Identity, before: str | None
) -> Iterator[Deployment]:
    """Yield deployments older than `before`, newest first, from where all are that the caller may see."""
    newest = context.store.deployments.newest
    return merged(newest(*each, before) for each in indexes_of(context.gate, identity, function))


def _matches(deployment: Deployment, request: ListRequest) -> bool:
    return (
        request.function in (None, deployment.function)
        and request.stage in (None, deployment.stage)
        and request.status in (None, deployment.status)
        and request.release in (None, deployment.release)
        # Records of earlier releases do not say: there were only pipelines then.
        and request.actor in (None, deployment.requested_by.actor or "pipeline")
    )
