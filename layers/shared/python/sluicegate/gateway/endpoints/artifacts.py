"""`POST /artifacts`: a place to upload code to. security.md#artifacts"""

from dataclasses import replace

from sluicegate.aws.s3 import UPLOAD_EXPIRES
from sluicegate.deployment.durations import timestamp
from sluicegate.gateway.authorization import authorize
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.principals import is_long_lived
from sluicegate.gateway.problems import function_not_covered, throttled, unprocessable
from sluicegate.gateway.render import artifact_response
from sluicegate.gateway.requester import announcer, log_fields
from sluicegate.gateway.requests import bodies, queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.uploads import Upload
from sluicegate.text import clean


def create(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Register the upload, and return a presigned request unless the artifact is there already."""
    queries.no_query(call.query)
    request = bodies.artifact(bodies.parse(call.body))
    identity = replace(identity, agent=identity.agent or request.agent)
    rule = authorize(context, identity, ("deploy",), request.function, None)
    if not context.gate.covers(request.function):
        raise function_not_covered(request.function)
    present = context.artifacts.find(request.function, request.sha256) is not None
    if not present:
        _check_quota(context, identity, request.size)
    by = announcer(identity, request.function, request.sha256)
    context.store.uploads.add(
        Upload(
            function=request.function,
            sha256=request.sha256,
            size=request.size,
            owner=by.owner,
            ref=by.ref,
            sha=by.sha,
            ref_type=clean(identity.text("ref_type") or ""),
            pipeline=int(identity.text("pipeline_id") or 0),
        )
    )
    artifact = {"function": request.function, "sha256": request.sha256, "size": request.size}
    context.log(
        "artifact_requested",
        present=present,
        rule=rule.name,
        **artifact,
        **log_fields(context.gate, identity),
    )
    if present:
        return artifact_response(artifact, None)
    expires = timestamp(context.clock() + UPLOAD_EXPIRES)
    url, headers = context.artifacts.presign(request.function, request.sha256, request.size)
    upload = {"method": "PUT", "url": url, "headers": headers, "expires_at": expires}
    return artifact_response(artifact, upload)


def _check_quota(context: Context, identity: Identity, size: int) -> None:
    """Count the upload. Raises 422 if the credential has announced enough, and 429 if its owner has for now.

    A user's own access key lasts for years: only its owner's limit bounds that.
    """
    uploads, by = context.store.uploads, identity.principal
    counted = True
    if identity.jti is not None:
        counted = uploads.count_for_token(identity.issuer, identity.jti, size, identity.expires_at)
    elif by and not is_long_lived(by.access_key):
        counted = uploads.count_for_session(by.account, by.access_key, size)
    if not counted:
        context.log(
            "request_refused", code="unprocessable", check="uploads", **log_fields(context.gate, identity)
        )
        raise unprocessable("these credentials have announced all the uploads that they may: use another job")
    if not uploads.count_for_owner(identity.owner, size):
        context.log(
            "request_refused", code="throttled", check="uploads", **log_fields(context.gate, identity)
        )
        left = 3_600 - int(context.clock()) % 3_600
        raise throttled("this project or principal has announced too many uploads in this hour", left)
