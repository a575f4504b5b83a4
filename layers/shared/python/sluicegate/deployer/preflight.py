"""Look at everything in the target that can be known before a person is asked to approve.

Nothing is changed. What is found wrong now ends the deployment now, with the reason that it would have had
after the approval. What can pass until then does not: an alarm that is firing, a version that is Pending.
"""

from sluicegate.aws.lambda_ import FunctionApi, FunctionVersion
from sluicegate.deployer.copying import CodeSource
from sluicegate.deployer.lookups import check_expected_version, read_alias, read_version
from sluicegate.deployer.publish import is_reusable
from sluicegate.deployer.reuse import read_reused
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployer.verify import find_missing_alarm, find_weights_conflict, missing_hook
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.rollout.actions import Verify
from sluicegate.rollout.fix_forward import find_firing
from sluicegate.rollout.outcomes import ApprovalRequested, Outcome, PermanentFailure, VersionUnusable
from sluicegate.store.versions import Versions


def preflight(
    deployment: Deployment, target: TargetAccess, source: CodeSource, versions: Versions
) -> Outcome:
    """Return ApprovalRequested, or why an approval would be in vain.

    Raises LambdaNotFound where there is no such function, and what AWS denies or cannot answer now.
    """
    function, plan = target.function, deployment.plan
    latest = function.version()
    alias = read_alias(function, plan.alias)
    original = alias.state if alias else None
    if failure := check_expected_version(deployment, original):
        return failure
    if deployment.version is None:
        if missing := _missing_artifact(deployment, function, latest, source, versions):
            return missing
        new = latest
    else:
        found = read_reused(deployment, function, deployment.version)
        if isinstance(found, VersionUnusable):
            return found
        new = found if isinstance(found, FunctionVersion) else latest
    if plan.steps[0].percent < 100 and original and not _serves_it(deployment, function, original):
        action = Verify(new.version, original, gradual=True)
        if conflict := find_weights_conflict(deployment, function, action, new):
            return conflict
    alarms = () if plan.watch and plan.watch.observe else target.alarm_states(plan.watch)
    if reason := find_missing_alarm(alarms):
        return PermanentFailure(reason.code, reason.message, reason.data)
    if plan.smoke and plan.smoke.hook and target.hook and not target.hook.can_be_invoked():
        return missing_hook(plan.smoke.hook)
    return ApprovalRequested(find_firing(alarms) if deployment.fix_forward else ())


def _serves_it(deployment: Deployment, function: FunctionApi, original: AliasState) -> bool:
    """Return whether the alias may serve that very version, which then shares its traffic with no other."""
    if original.weights or not original.version.isdecimal():
        return False
    served = read_version(function, original.version)
    return served is not None and served.code_sha256 == deployment.sha256


def _missing_artifact(
    deployment: Deployment,
    function: FunctionApi,
    latest: FunctionVersion,
    source: CodeSource,
    versions: Versions,
) -> Outcome | None:
    """Return the failure where publishing needs an artifact that is missing or cannot be copied."""
    known = versions.published(deployment.plan.target, deployment.function, deployment.sha256)
    if is_reusable(function, known, deployment.sha256, latest):
        return None
    if latest.code_sha256 == deployment.sha256 and latest.last_update_status == "Successful":
        return None
    return source.find_problem(deployment)
