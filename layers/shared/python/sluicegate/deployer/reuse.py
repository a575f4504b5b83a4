"""Reuse a version that was published earlier, for a promotion or a rollback."""

from sluicegate.aws.lambda_ import FunctionApi, FunctionVersion, LambdaError, LambdaNotFound
from sluicegate.deployer.lookups import (
    check_expected_version,
    check_state,
    missing_version,
    read_alias,
    read_version,
)
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.rollout.actions import ReuseVersion
from sluicegate.rollout.outcomes import ApprovalRequested, Outcome, Pending, Published, VersionUnusable


def reuse(deployment: Deployment, function: FunctionApi, action: ReuseVersion) -> Outcome:
    """Check that the recorded version still exists, can run, and has the code that was accepted.

    A published version never changes, so what its source serves by now does not matter
    (guarantees.md#1-only-accepted-code).
    """
    alias = read_alias(function, deployment.plan.alias)
    original, revision = (alias.state, alias.revision) if alias else (None, None)
    if failure := check_expected_version(deployment, original):
        return failure
    version = read_reused(deployment, function, action.version)
    if not isinstance(version, FunctionVersion):
        return version
    warning = None
    if version.state == "Inactive" and original != AliasState(action.version):
        warning = "Lambda made it inactive, so its first requests fail: invoke it now to activate it"
    return Published(action.version, original, revision, reused=True, warning=warning)


def read_reused(
    deployment: Deployment, function: FunctionApi, version: str
) -> FunctionVersion | Pending | VersionUnusable:
    """Return the version, or why it cannot be served.

    A rollback may restore an inactive version, and a smoke test with a payload wakes one.
    """
    found = read_version(function, version)
    if found is None:
        return missing_version(version)
    if found.code_sha256 != deployment.sha256:
        message = f"version {version} has different code from what was accepted"
        return VersionUnusable(version, "code_mismatch", message)
    smoke = deployment.plan.smoke
    problem = check_state(
        found,
        restoring=deployment.action == "rollback",
        woken=smoke is not None and smoke.hook is None,
    )
    return problem or found


def before_approval(deployment: Deployment, function: FunctionApi) -> Outcome:
    """Look at the version before a person is asked: one that cannot be served ends the deployment now.

    An error says nothing about the version: it is looked at again once it is approved.
    """
    try:
        version = read_reused(deployment, function, deployment.version or "")
    except LambdaNotFound:
        raise
    except LambdaError:
        return ApprovalRequested()
    return version if isinstance(version, VersionUnusable) else ApprovalRequested()
