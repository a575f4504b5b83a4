"""The order of deployments where a stage has `order`: by the numbers of a project's pipelines."""

from sluicegate.deployment.model import Deployment, Requester


def ordered_by(deployment: Deployment) -> Requester:
    """Return whose pipelines are compared: the request's, or where a person asked, those of the version.

    A person has no pipeline. What they promote was built by one, and is as old as that.
    """
    by = deployment.requested_by
    return deployment.built.by if by.via == "session" and deployment.built else by


def proven_pipeline(deployment: Deployment) -> int:
    """Return the number that GitLab signed: of the job that asked, else of the one that uploaded.

    0 if there is none; that is older than any. The number in a delivery's body proves nothing.
    """
    by = ordered_by(deployment)
    pipeline = by.pipeline_id or "" if by.pipeline_is_proven else str(deployment.announced_pipeline)
    return int(pipeline) if pipeline.isdecimal() and pipeline.isascii() else 0
