"""Whether Lambda lets an alias share traffic between two versions (CreateAlias, RoutingConfig)."""

from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.rollout.outcomes import PermanentFailure


def refused_by_alias(
    deployment: Deployment, function: FunctionApi, served: AliasState | None
) -> PermanentFailure | None:
    """Return why the alias, as it is now, takes no weights for this plan.

    This is known before anything is published, and so `$LATEST` keeps its code.
    """
    if served is None or all(step.percent == 100 for step in deployment.plan.steps):
        return None
    if served.weights:
        return refused("weights", "the alias already has weights, set by someone else")
    if served.version.startswith("$LATEST"):  # or $LATEST.PUBLISHED, of Lambda Managed Instances
        return refused(
            "latest", f"the alias serves {served.version}, which cannot share traffic with a version"
        )
    if function.has_provisioned_concurrency(deployment.plan.alias):
        return refused("provisioned_concurrency", "the alias has provisioned concurrency")
    return None


def refused(because: str, explanation: str) -> PermanentFailure:
    message = f"traffic cannot be shared: {explanation}; deploy all at once instead"
    return PermanentFailure("weights_refused", message, {"because": because})
