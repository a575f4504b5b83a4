"""`POST /webhooks/gitlab/{name}`: deploy what a job uploaded for a pushed tag or a successful pipeline.

GitLab backs off from webhooks that fail four times in a row, for a minute at first and up to a day, and
disables them after forty; 4xx and 5xx count alike, and no delivery is repeated
(app/models/concerns/web_hooks/auto_disabling.rb and app/services/web_hook_service.rb in gitlabhq/gitlabhq,
read on 2026-11-26). So a sender that has proven that it has the secret gets 200 and the reason whenever
nothing happens; but for 503, which somebody may resend.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from sluicegate.aws.secrets import SecretsUnavailable
from sluicegate.gate.webhooks import Webhook
from sluicegate.gateway.admission.service import Submission, submit
from sluicegate.gateway.authentication import authenticate
from sluicegate.gateway.authorization import authorize, check_age, check_denied
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import record_refused_delivery
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
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.store.errors import TagMoved
from sluicegate.store.requests import AcceptedRequest
from sluicegate.text import clean

MAX_UPLOADS: Final = 100
"""Artifacts of a commit's ref, then of the commit, that are looked for in the bucket, the newest first."""


class NothingUploaded(Exception):
    """No job has uploaded an artifact for the commit yet."""


class DeployedAlready(Exception):
    """An earlier delivery has deployed this very artifact."""

    def __init__(self, deployment: str) -> None:
        super().__init__(deployment)
        self.deployment = deployment


def receive(context: Context, call: GatewayRequest) -> GatewayResponse:
    """Answer a delivery. Its name chooses the entry, and so the scheme, before anything else is read."""
    hook = context.gate.webhooks.get(call.path.get("name", ""))
    if hook is None:
        raise not_found()
    if hook.scheme == "id_token":
        check_size_and_type(call, deliveries.MAX_BODY)
        token = authenticate(context, call)
        if token.via != "id_token":
            raise invalid_token("authorization", "a signed-in person sends no webhooks")
        _authenticate_sender(context, hook, call)
        return _answer(context, hook, call, token)
    _authenticate_sender(context, hook, call)
    try:
        check_size_and_type(call, deliveries.MAX_BODY)
        return _answer(context, hook, call, None)
    except Problem as problem:
        if problem.status >= 500:
            raise
        return _ignored(context, hook, Ignored(problem.code, problem.detail))


def _answer(context: Context, hook: Webhook, call: GatewayRequest, token: Identity | None) -> GatewayResponse:
    """Answer a delivery whose sender has been authenticated, by a `token` or by the hook's secret."""
    queries.no_query(call.query)
    body = bodies.parse(call.body)
    try:
        check_instance(context.gate.issuers[hook.issuer].instance, call.headers)
        if token:
            deliveries.check_agrees(hook, body, token)
        delivery = deliveries.read(hook, call.headers, body)
    except Problem as problem:
        context.log("request_refused", code=problem.code, webhook=hook.name, check=problem.detail)
        raise
    if isinstance(delivery, Ignored):
        return _ignored(context, hook, delivery)
    gitlab = context.gate.issuers[hook.issuer].gitlab_url
    identity = (
        replace(token, webhook=hook.name)
        if token
        else replace(deliveries.identity(hook, delivery, context.clock()), gitlab=gitlab)
    )
    try:
        if token is None:
            check_denied(context, identity)
        return _deploy(context, hook, delivery, identity)
    except Problem as problem:
        record_refused_delivery(context, identity, problem, hook.function, hook.stage)
        raise


def _authenticate_sender(context: Context, hook: Webhook, call: GatewayRequest) -> None:
    """Try the entry's scheme, and no other, whatever else a delivery has.

    guarantees.md#6-deny-by-default
    """
    try:
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
    """Deploy what a job uploaded for the delivery's commit, once and for good.

    What a job of the delivery's own branch or tag uploaded comes first: its token has proven that the ref is
    at that commit. Of other refs anybody who can start a job may have uploaded something.
    """
    placement = context.gate.place(hook.function, hook.stage)
    rule = authorize(context, identity, ("deploy",), hook.function, hook.stage)
    check_age(context, identity, placement)
    for proven in (True, False):
        submission = Submission(
            identity=identity,
            stage=hook.stage,
            rule=rule,
            placement=placement,
            actions=("deploy",),
            request_key=deliveries.request_key(hook, delivery, proven=proven),
            fingerprint=None,
            request=partial(_request, context, hook, delivery, proven=proven),
            claim=deliveries.permanent_claim(hook, delivery, proven=proven),
        )
        try:
            admission = submit(context, submission)
        except NothingUploaded:
            continue
        except DeployedAlready as done:
            return _done(done.deployment)
        except (TagMoved, Problem) as error:
            if isinstance(error, Problem) and error.status == 503:
                return _accepted(context, submission.request_key, error)
            return _ignored(context, hook, _deferred(error))
        deployment = admission.deployment
        if admission.replayed:
            return _done(deployment.id)
        return _response(deployment.id, deployment.id, "started", deployment.timeline[0].message)
    why = f"no job of this project has uploaded an artifact of {hook.function} for this commit yet"
    return _ignored(context, hook, Ignored("no_artifact", why))


def _accepted(context: Context, request_key: str, problem: Problem) -> GatewayResponse:
    """Return what was accepted although its start failed. Raises the problem if nothing was.

    GitLab sends nothing again, and need not: the janitor starts it.
    """
    known = context.store.requests.get(request_key)
    if known is None:
        raise problem
    return _response(None, known.deployment, "starting", problem.detail)


def _request(context: Context, hook: Webhook, delivery: Delivery, *, proven: bool) -> DeploymentRequest:
    """Return a deploy of the newest artifact that was uploaded for the commit, of its own ref if `proven`.

    Raises NothingUploaded if there is none, DeployedAlready if the delivery had it from another ref before.
    """
    commit = (hook.function, hook.issuer, hook.project_id, delivery.sha)
    uploads = context.store.uploads
    announced = (
        uploads.of_ref(*commit, delivery.ref_type, clean(delivery.ref))
        if proven
        else uploads.of_commit(*commit)
    )
    for announcement in announced[:MAX_UPLOADS]:
        sha256 = announcement.sha256
        if context.artifacts.find(hook.function, sha256):
            if proven and (before := _deployed_unproven(context, hook, delivery, sha256)):
                context.store.requests.settle(
                    deliveries.request_key(hook, delivery, proven=True),
                    before,
                    deliveries.permanent_claim(hook, delivery, proven=True),
                )
                raise DeployedAlready(before.deployment)
            return DeploymentRequest(
                "deploy", hook.function, hook.stage, sha256, announced_pipeline=announcement.pipeline
            )
    raise NothingUploaded


def _deployed_unproven(
    context: Context, hook: Webhook, delivery: Delivery, sha256: str
) -> AcceptedRequest | None:
    """Return what the delivery had deployed of this artifact before its own ref announced it."""
    known = context.store.requests.get(deliveries.request_key(hook, delivery, proven=False))
    deployment = context.store.deployments.get(known.deployment) if known else None
    return known if deployment and deployment.sha256 == sha256 else None


def _done(deployment: str) -> GatewayResponse:
    return _response(None, deployment, "already_done", "this was deployed already, and is not deployed again")


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
