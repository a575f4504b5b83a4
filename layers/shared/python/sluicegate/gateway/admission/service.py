"""Admit deployments: the one way in, for requests to the API and for webhooks.

guarantees.md#5-one-request-one-effect
"""

from collections.abc import Callable
from dataclasses import dataclass

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.model import Deployment, Entry, Status
from sluicegate.deployment.ulid import new_id
from sluicegate.gate.model import Placement
from sluicegate.gate.rules import Rule
from sluicegate.gateway import execution
from sluicegate.gateway.admission.commit import Acceptance, commit, contended
from sluicegate.gateway.admission.resolve import Resolved, resolve
from sluicegate.gateway.authorization import visible_deployment
from sluicegate.gateway.context import Context
from sluicegate.gateway.limits import allowances, check_hours
from sluicegate.gateway.problems import Problem, conflict, credential_used, unavailable
from sluicegate.gateway.requester import display_name, log_fields, requester
from sluicegate.gateway.requests.bodies import DeploymentRequest
from sluicegate.oidc.identity import Identity
from sluicegate.store.errors import Busy, Contended, CredentialUsed, RequestKnown
from sluicegate.store.grounds import Ground
from sluicegate.store.keys import digest
from sluicegate.store.requests import AcceptedRequest, PermanentClaim
from sluicegate.store.uploads import Announcer
from sluicegate.text import clean


@dataclass(frozen=True)
class Submission:
    """An authorized request. Two submissions with one `request_key` are the same request.

    `request` is only called if the request is new. `fingerprint` must be equal in a repetition; None where
    the key says it all. `claim` keeps the request for good, not only while a token could repeat it.
    `announcer` is who has probably announced the artifact, where that is known before.
    """

    identity: Identity
    stage: str
    rule: Rule
    placement: Placement | None
    actions: tuple[str, ...]
    request_key: str
    fingerprint: str | None
    request: Callable[[], DeploymentRequest]
    claim: PermanentClaim | None = None
    announcer: Announcer | None = None


@dataclass(frozen=True)
class Admission:
    """The deployment of a submission; `replayed` if an earlier submission made it."""

    deployment: Deployment
    replayed: bool


def submit(context: Context, submission: Submission) -> Admission:
    """Accept and start the deployment, or return the one that the same request made before.

    Raises a Problem, and TagMoved for a submission with a `claim` tag. Nothing is written if it raises,
    but for a 503 that says that the deployment was accepted.
    """
    try:
        ground = context.store.grounds.read(submission.request_key, submission.stage, submission.announcer)
    except Contended:
        raise contended() from None
    if replayed := _replay(context, submission, ground.request):
        return replayed
    try:
        deployment, superseded = _accept(context, submission, ground)
    except (Problem, RequestKnown) as refused:
        # The same request may have been accepted meanwhile, and so be the reason of the refusal itself.
        if replayed := _replay(context, submission, context.store.requests.get(submission.request_key)):
            return replayed
        if isinstance(refused, RequestKnown):
            raise unavailable("The same request is being accepted. Retry it.", 1) from None
        raise
    except CredentialUsed as used:  # by the same request, under another key
        return _replayed(context, used.request.deployment, submission.identity)
    context.log(
        "deployment_accepted",
        deployment=deployment.id,
        **_log_fields(deployment),
        **log_fields(context.gate, submission.identity),
    )
    for ended in superseded:
        execution.wake(context, ended)
    execution.start(context, deployment)
    return Admission(deployment, replayed=False)


def _accept(
    context: Context, submission: Submission, ground: Ground
) -> tuple[Deployment, tuple[Deployment, ...]]:
    """Return the deployment as it was written, and those that it supersedes.

    Raises RequestKnown where the same request was accepted meanwhile, CredentialUsed where it was under
    another key, a Problem for every refusal, and TagMoved.
    """
    check_hours(context, submission.identity, submission.rule, submission.actions[0])
    request = submission.request()
    resolved = resolve(context, request, submission.rule, submission.placement, submission.identity, ground)
    fingerprint = digest(*request.effect)
    acceptance = Acceptance(
        deployment=_new_deployment(context, request, resolved, submission.identity),
        identity=submission.identity,
        actions=submission.actions,
        request_key=submission.request_key,
        fingerprint=fingerprint,
        supersede=request.supersede,
        still_serving=resolved.still_serving,
        claim=submission.claim,
        rule=submission.rule,
        allowances=allowances(submission.identity, submission.rule, request.action),
    )
    try:
        return commit(context, acceptance)
    except CredentialUsed as used:
        if submission.fingerprint is not None and used.request.fingerprint == fingerprint:
            raise
        raise credential_used(used.use) from None
    except Busy as error:
        raise _busy(context, error.deployment, submission.identity) from None
    except Contended:
        raise contended() from None


def _replay(context: Context, submission: Submission, known: AcceptedRequest | None) -> Admission | None:
    """Return what the same request made before, if it did."""
    if known is None:
        return None
    if submission.fingerprint is not None and known.fingerprint != submission.fingerprint:
        raise conflict("key_reused", "this Idempotency-Key was sent with another body before")
    return _replayed(context, known.deployment, submission.identity)


def _replayed(context: Context, deployment_id: str, identity: Identity) -> Admission:
    """Return the deployment as it is now, and start it if its start failed."""
    deployment = context.store.deployments.get(deployment_id)
    if deployment is None:
        raise unavailable("The record of this request is temporarily unavailable. Retry the request.")
    context.log("request_replayed", deployment=deployment.id, **log_fields(context.gate, identity))
    if deployment.status is Status.ACCEPTED:
        execution.start(context, deployment)
    return Admission(deployment, replayed=True)


def _busy(context: Context, holder: str, identity: Identity) -> Problem:
    members = {"deployment": holder} if visible_deployment(context, holder, identity) else {}
    return conflict("busy", "another deployment of this function to this stage is not final yet", members)


def _new_deployment(
    context: Context, request: DeploymentRequest, resolved: Resolved, identity: Identity
) -> Deployment:
    """Return the first revision of a deployment."""
    now = context.clock()
    moment, by, rule = timestamp(now), requester(context.gate, identity), clean(resolved.rule.name)
    message = f"accepted by rule {rule!r} for {display_name(by)}"
    fix = FixForward(clean(request.reason)) if request.fix_forward and request.reason else None
    message = "; ".join((message, *resolved.notes, *([f"fix-forward: {fix.reason}"] if fix else [])))
    return Deployment(
        id=new_id(now),
        revision=1,
        status=Status.ACCEPTED,
        action=request.action,
        function=request.function,
        stage=request.stage,
        sha256=resolved.sha256,
        plan=resolved.plan,
        rule=resolved.rule.name,
        requested_by=by,
        created_at=moment,
        updated_at=moment,
        since=moment,
        timeline=(Entry(1, moment, Status.ACCEPTED, clean(message)),),
        release=request.release and clean(request.release),
        description=request.description and clean(request.description),
        expected_version=request.expected_version,
        promoted_from=request.source,
        version=resolved.version,
        built=resolved.built,
        fallbacks=resolved.fallbacks,
        announced_pipeline=request.announced_pipeline,
        fix_forward=fix,
        evidence=True,
    )


def _log_fields(deployment: Deployment) -> dict[str, str | None]:
    return {
        "rule": deployment.rule,
        "action": deployment.action,
        "function": deployment.function,
        "stage": deployment.stage,
        "sha256": deployment.sha256,
        "version": deployment.version,
        "fix_forward": None if deployment.fix_forward is None else deployment.fix_forward.reason,
    }
