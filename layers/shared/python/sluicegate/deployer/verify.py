"""Check a version before it gets traffic. The smoke test comes late: the other checks are cheap."""

from sluicegate.aws.lambda_ import FunctionApi, FunctionVersion, InvocationTimeout, LambdaNotFound
from sluicegate.deployer.lookups import inactive_version, read_version
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Smoke, Watch
from sluicegate.rollout import smoke
from sluicegate.rollout.actions import Verify
from sluicegate.rollout.analysis import find_alarm
from sluicegate.rollout.outcomes import Outcome, Pending, PermanentFailure, Verified


def verify(deployment: Deployment, target: TargetAccess, action: Verify) -> Outcome:
    """Check that the version can run and share traffic, no alarm is firing, and the smoke test passes."""
    version = read_version(target.function, action.version)
    if not isinstance(version, FunctionVersion):
        return version
    if version.state == "Pending":
        return Pending(f"version {action.version} is Pending")
    if version.state == "Failed":
        return inactive_version(version)
    if action.gradual and (
        failure := _find_weights_conflict(target.function, deployment.plan.alias, action, version)
    ):
        return failure
    if failure := _find_alarm(target, deployment.plan.watch):
        return failure
    if deployment.plan.smoke:
        if failure := _smoke_failure(deployment, target, deployment.plan.smoke, action.version):
            return failure
        # The smoke test may have taken a minute, in which no alarm could wake the rollout.
        if failure := _find_alarm(target, deployment.plan.watch):
            return failure
    return Verified()


def _find_weights_conflict(
    function: FunctionApi, alias: str, action: Verify, new: FunctionVersion
) -> PermanentFailure | None:
    """Return why Lambda would not share traffic between the versions (CreateAlias, RoutingConfig)."""
    original = action.original
    if original is None:
        return None
    if original.weights:
        because, explanation = "weights", "the alias already has weights, set by someone else"
    elif original.version == "$LATEST":
        because, explanation = "latest", "the alias serves $LATEST, which cannot share traffic with a version"
    elif function.has_provisioned_concurrency(alias):
        because, explanation = "provisioned_concurrency", "the alias has provisioned concurrency"
    else:
        old = read_version(function, original.version)
        if not isinstance(old, FunctionVersion):
            return old
        differing = [name for name in ("role", "dead_letter") if old.settings[name] != new.settings[name]]
        if not differing:
            return None
        because, explanation = differing[0], f"the versions differ in their {differing[0].replace('_', ' ')}"
    message = f"traffic cannot be shared: {explanation}; deploy all at once instead"
    return PermanentFailure("weights_refused", message, {"because": because})


def _find_alarm(target: TargetAccess, watch: Watch | None) -> PermanentFailure | None:
    """Do not start a rollout while an alarm is firing."""
    reason = find_alarm(target.alarm_states(watch))
    if reason is None:
        return None
    return PermanentFailure(reason.code, f"before any traffic: {reason.message}", reason.data)


def _smoke_failure(
    deployment: Deployment, target: TargetAccess, test: Smoke, version: str
) -> PermanentFailure | None:
    """Run the smoke test. It may run twice, so it must be safe to repeat."""
    deployment_fields = {
        "deployment": deployment.id,
        "function": deployment.function,
        "version": version,
        "stage": deployment.stage,
        "alias": deployment.plan.alias,
        "sha256": deployment.sha256,
    }
    function, qualifier = (target.hook, None) if target.hook else (target.function, version)
    payload = smoke.payload(test, deployment_fields)
    try:
        result = function.invoke(qualifier, payload, timeout=test.timeout, limit=smoke.MAX_RESPONSE)
    except InvocationTimeout as error:
        subject = "the hook" if target.hook else "the version"
        return PermanentFailure("smoke_failed", f"{subject} gave {error.message}")
    except LambdaNotFound:
        if test.hook is None:
            raise
        return PermanentFailure("smoke_failed", f"the hook, function {test.hook}, does not exist")
    if failure := smoke.find_failure(test, result.payload, result.error):
        return PermanentFailure("smoke_failed", failure)
    return None
