"""Check a version before it gets traffic. The smoke test comes late: the other checks are cheap."""

from collections.abc import Iterable

from sluicegate.aws.lambda_ import (
    FunctionApi,
    FunctionVersion,
    InvocationTimeout,
    LambdaConflict,
    LambdaNotFound,
)
from sluicegate.deployer.lookups import check_state, missing_version, read_version
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployer.weights import refused, refused_by_alias
from sluicegate.deployment.model import Deployment, Reason
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.deployment.plan import Smoke
from sluicegate.rollout import fix_forward, smoke
from sluicegate.rollout.actions import Verify
from sluicegate.rollout.analysis import find_alarm
from sluicegate.rollout.outcomes import Outcome, Pending, PermanentFailure, Verified, VersionUnusable


def verify(deployment: Deployment, target: TargetAccess, action: Verify) -> Outcome:
    """Check that the version can run and share traffic, no alarm is firing, and the smoke test passes.

    A fix-forward overlooks what is firing in the end, and its outcome says what (security.md#fix-forward).
    """
    smoke_test = deployment.plan.smoke
    version = read_version(target.function, action.version)
    if version is None:
        return missing_version(action.version)
    wakes = smoke_test is not None and smoke_test.hook is None
    if problem := check_state(version, restoring=deployment.action == "rollback", woken=wakes):
        return problem
    if action.gradual and (conflict := find_weights_conflict(deployment, target.function, action, version)):
        return conflict
    alarms = _look_at_alarms(deployment, target)
    if isinstance(alarms, Verified) and smoke_test:
        if failure := _smoke_problem(deployment, target, smoke_test, action.version):
            return failure
        # The smoke test may have taken a minute, in which no alarm could wake the rollout.
        alarms = _look_at_alarms(deployment, target)
    return alarms


def find_weights_conflict(
    deployment: Deployment, function: FunctionApi, action: Verify, new: FunctionVersion
) -> PermanentFailure | VersionUnusable | None:
    """Return why Lambda would not share traffic between the versions."""
    original = action.original
    if original is None:
        return None
    if failure := refused_by_alias(deployment, function, original):
        return failure
    old = read_version(function, original.version)
    if old is None:
        return missing_version(original.version)
    differing = [name for name in ("role", "dead_letter") if old.settings[name] != new.settings[name]]
    if not differing:
        return None
    return refused(differing[0], f"the versions differ in their {differing[0].replace('_', ' ')}")


def _look_at_alarms(deployment: Deployment, target: TargetAccess) -> Verified | PermanentFailure:
    """Do not start a rollout while an alarm is firing, unless it is the fix, or while one does not exist."""
    watch = deployment.plan.watch
    alarms = target.alarm_states(watch)
    if watch and watch.observe:
        return Verified(observed=alarms)
    if reason := find_missing_alarm(alarms):
        return PermanentFailure(reason.code, f"before any traffic: {reason.message}", reason.data)
    firing = fix_forward.find_firing(alarms)
    if firing and deployment.fix_forward is None:
        reason = fix_forward.refusal(deployment, firing)
        return PermanentFailure(reason.code, reason.message, reason.data)
    return Verified(firing)


def find_missing_alarm(alarms: Iterable[AlarmReading]) -> Reason | None:
    """Return the first alarm that does not exist: nothing overlooks that."""
    return find_alarm(one for one in alarms if one.state is AlarmState.MISSING)


def _smoke_problem(
    deployment: Deployment, target: TargetAccess, test: Smoke, version: str
) -> Pending | PermanentFailure | VersionUnusable | None:
    """Run the smoke test. It may run twice, so it must be safe to repeat.

    The first invocation of an inactive version fails with a conflict, and so do more until Lambda has
    activated it.
    """
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
    except LambdaConflict:
        if test.hook is not None:
            raise
        return Pending(f"Lambda is activating version {version}")
    except LambdaNotFound:
        if test.hook is None and read_version(target.function, version) is None:
            return missing_version(version)
        if test.hook is None:
            raise
        return missing_hook(test.hook)
    if failure := smoke.find_failure(test, result.payload, result.error):
        return PermanentFailure("smoke_failed", failure)
    return None


def missing_hook(name: str) -> PermanentFailure:
    """Return the outcome for a hook that does not exist."""
    return PermanentFailure("smoke_failed", f"the hook, function {name}, does not exist")
