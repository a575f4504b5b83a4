"""`POST /webhooks/gitlab/{name}`: deploy what a job uploaded for a pushed tag or a successful pipeline.

GitLab disables webhooks that fail: that there is nothing to deploy, or not now, is a response of 200.
"""

from dataclasses import replace
from typing import Final

from sluicegate.aws.secrets import SecretsUnavailable
from sluicegate.gate.webhooks import Webhook
from sluicegate.gateway.admission.service import Submission, submit
from sluicegate.gateway.authentication import authenticate
from sluicegate.gateway.authorization import authorize, check_age, check_denied
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import (
    Problem,
    invalid_token,
    not_found,
    unavailable,
)
from sluicegate.gateway.requests import bodies, queries
from sluicegate.gateway.requests.bodies import DeploymentRequest
from sluicegate.gateway.requests.envelope import check_size_and_type
from sluicegate.gateway.webhooks import delivery as deliveries
from sluicegate.gateway.webhooks.delivery import Delivery, Ignored
from sluicegate.gateway.webhooks.verification import check_instance, signature_check, token_check
from sluicegate.oidc.identity import Identity
from sluicegate.oidc.token import InvalidToken
from sluicegate.store.errors import TagMoved
from sluicegate.text import clean

MAX_UPLOADS: Final = 5
"""Artifacts of one commit that are looked for in the bucket, the newest first."""


class NothingUploaded(Exception):
    """No job of the project has uploaded an artifact for the commit yet."""


def receive(context: Context, call: GatewayRequest) -> GatewayResponse:
    """Answer a delivery. Its name chooses the entry, and so the scheme, before anything else is read."""
    hook = context.gate.webhooks.get(call.path.get("name", ""))
    if hook is None:
        raise not_found()
    check_size_and_type(call, deliveries.MAX_BODY)
    token = authenticate(context, call) if hook.scheme == "id_token" else None
    _authenticate_sender(context, hook, call)
    queries.no_query(call.query)
    body = bodies.parse(call.body)
    try:
        if token:
            deliveries.check_agrees(hook, body, token)
        delivery = deliveries.read(hook, call.headers, body)
    except Problem as problem:
        context.log("request_refused", code=problem.code, webhook=hook.name, check=problem.detail)
        raise
    if isinstance(delivery, Ignored):
        return _ignored(context, hook, delivery)
    if token:
        identity = replace(token, webhook=hook.name)
    else:
        identity = deliveries.identity(hook, delivery, context.clock())
        check_denied(context, identity)
    return _deploy(context, hook, delivery, identity)


def _authenticate_sender(context: Context, hook: Webhook, call: GatewayRequest) -> None:
    """Try the entry's scheme, and no other, whatever else a delivery has.

    guarantees.md#6-deny-by-default
    """
    try:
        check_instance(context.gate.issuers[hook.issuer].instance, call.headers)
        if hook.secret is None:
            return  # an ID token, which has been verified
        check = (
            token_check(call.headers) if hook.scheme == "token" else signature_check(call.headers, call.body)
        )
        if not context.secrets.verifies(hook.secret, check):
            raise InvalidToken(hook.scheme, "does not verify with this webhook's secret")
    except InvalidToken as error:
        context.log("request_refused", code="invalid_token", check=error.check, webhook=hook.name)
        raise invalid_token(error.check, error.detail) from None
    except SecretsUnavailable as error:
        context.log(
            "request_refused", code="unavailable", check="secret", webhook=hook.name, error=error.reason
        )
        raise unavailable("The webhook's secret is temporarily unavailable", 30) from None


def _deploy(context: Context, hook: Webhook, delivery: Delivery, identity: Identity) -> GatewayResponse:
    """Deploy what a job uploaded for the delivery's commit, once and for good."""
    placement = context.gate.place(hook.function, hook.stage)
    rule = authorize(context, identity, ("deploy",), hook.function, hook.stage)
    check_age(context, identity, placement)
    submission = Submission(
        identity=identity,
        rule=rule,
        placement=placement,
        actions=("deploy",),
        request_key=deliveries.request_key(hook, delivery),
        fingerprint=None,
        request=lambda: _request(context, hook, delivery),
        claim=deliveries.permanent_claim(hook, delivery),
    )
    try:
        admission = submit(context, submission)
    except NothingUploaded:
        why = f"no job of this project has uploaded an artifact of {hook.function} for this commit yet"
        return _ignored(context, hook, Ignored("no_artifact", why))
    except (TagMoved, Problem) as error:
        return _ignored(context, hook, _deferred(error))
    deployment = admission.deployment
    if admission.replayed:
        why = "this was deployed already, and is not deployed again"
        return _response(None, deployment.id, "already_done", why)
    return _response(deployment.id, deployment.id, "started", deployment.timeline[0].message)


def _request(context: Context, hook: Webhook, delivery: Delivery) -> DeploymentRequest:
    """Return a deploy of what a job of the same project registered for the commit last, and uploaded."""
    registered = context.store.uploads.of_commit(hook.function, hook.issuer, hook.project_id, delivery.sha)
    for sha256 in registered[:MAX_UPLOADS]:
        if context.artifacts.find(hook.function, sha256):
            return DeploymentRequest("deploy", hook.function, hook.stage, sha256)
    raise NothingUploaded


def _deferred(error: Exception) -> Ignored:
    """Return a 409, 412 or 422 as a delivery to ignore. Nothing was written: the next one tries again."""
    match error:
        case TagMoved():
            return Ignored(
                "tag_moved",
                "this tag was deployed at another commit before; a moved tag is not deployed again",
            )
        case Problem(status=409 | 412 | 422):
            return Ignored(error.code, error.detail)
        case _:
            raise error


def _ignored(context: Context, hook: Webhook, ignored: Ignored) -> GatewayResponse:
    context.log("delivery_ignored", code=ignored.code, webhook=hook.name)
    return _response(None, None, ignored.code, ignored.why)


def _response(started: str | None, deployment: str | None, code: str, why: str) -> GatewayResponse:
    """Return a small response, as GitLab keeps it.

    `deployment` is what was started now, or by an earlier delivery.
    """
    value = {"started": started, "deployment": deployment, "code": code, "why": clean(why)}
    headers = {"Sluicegate-Id": deployment} if deployment else {}
    return GatewayResponse(200, value, (f"{code}: {clean(why)}",), headers)
