"""`POST /artifacts`: a place to upload code to. security.md#artifacts"""

from sluicegate.aws.s3 import UPLOAD_EXPIRES
from sluicegate.deployment.durations import timestamp
from sluicegate.gateway.authorization import authorize
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import function_not_covered, throttled, unprocessable
from sluicegate.gateway.render import artifact_response
from sluicegate.gateway.requester import log_fields
from sluicegate.gateway.requests import bodies, queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.uploads import Upload
from sluicegate.text import clean


def create(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Register the upload, and return a presigned request unless the artifact is there already."""
    queries.no_query(call.query)
    request = bodies.artifact(bodies.parse(call.body))
    rule = authorize(context, identity, ("deploy",), request.function, None)
    if not context.gate.covers(request.function):
        raise function_not_covered(request.function)
    present = context.artifacts.find(request.function, request.sha256) is not None
    if not present:
        _check_quota(context, identity, request.size)
    issuer, project = identity.project
    context.store.uploads.add(
        Upload(
            function=request.function,
            sha256=request.sha256,
            size=request.size,
            issuer=issuer,
            project_id=project or "",
            ref=clean(identity.text("ref") or ""),
            sha=clean(identity.text("sha") or ""),
            ref_type=clean(identity.text("ref_type") or ""),
            pipeline=int(identity.text("pipeline_id") or 0),
        )
    )
    artifact = {"function": request.function, "sha256": request.sha256, "size": request.size}
    context.log("artifact_requested", present=present, rule=rule.name, **artifact, **log_fields(identity))
    if present:
        return artifact_response(artifact, None)
    expires = timestamp(context.clock() + UPLOAD_EXPIRES)
    url, headers = context.artifacts.presign(request.function, request.sha256, request.size)
    upload = {"method": "PUT", "url": url, "headers": headers, "expires_at": expires}
    return artifact_response(artifact, upload)


def _check_quota(context: Context, identity: Identity, size: int) -> None:
    """Count the upload. Raises 422 if the token has announced enough, and 429 if its project has for now."""
    issuer, project = identity.project
    uploads = context.store.uploads
    if not uploads.count_for_token(issuer, identity.jti or "", size, identity.expires_at):
        context.log("request_refused", code="unprocessable", check="uploads", **log_fields(identity))
        raise unprocessable("this token has announced all the uploads that one token may: use another job")
    if not uploads.count_for_project(issuer, project or "", size):
        context.log("request_refused", code="throttled", check="uploads", **log_fields(identity))
        left = 3_600 - int(context.clock()) % 3_600
        raise throttled("this project has announced too many uploads in this hour", left)
