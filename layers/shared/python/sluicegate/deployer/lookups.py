"""What an action reads of the target before it changes anything."""

from dataclasses import replace

from sluicegate.aws.lambda_ import Alias, FunctionApi, FunctionVersion, LambdaNotFound
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.rollout.outcomes import PermanentFailure


def read_alias(function: FunctionApi, name: str, *expected: AliasState | None) -> Alias | None:
    """Return what the alias was made to serve, or None if it does not exist.

    While provisioned concurrency moves to another version, Lambda gives the alias weights of its own for some
    minutes. No one else can set weights then, so those are left out. Lambda is asked about it only if there
    are weights that are not in `expected`.
    """
    alias = function.alias(name)
    if alias is None or not alias.state.weights or alias.state in expected:
        return alias
    if not function.has_provisioned_concurrency(name):
        return alias
    return replace(alias, state=AliasState(alias.state.version))


def read_version(function: FunctionApi, version: str) -> FunctionVersion | PermanentFailure:
    """Return a published version, or the failure of a deployment whose version was deleted."""
    try:
        return function.version(version)
    except LambdaNotFound:
        return PermanentFailure("version_not_found", f"version {version} no longer exists")


def check_expected_version(deployment: Deployment, served: AliasState | None) -> PermanentFailure | None:
    """Compare what the alias serves with the version that the request expects, if it expects one."""
    expected = deployment.expected_version
    if expected is None or served == AliasState(expected):
        return None
    found = served.version if served else "nothing"
    message = f"the request expected version {expected}, but the stage serves {found}"
    return PermanentFailure("not_as_expected", message, {"expected": expected, "found": found})


def inactive_version(version: FunctionVersion) -> PermanentFailure:
    """Return the failure of a version that cannot run.

    Lambda makes a version inactive after weeks without an invocation. The next invocation fails and
    activates it.
    """
    if version.state == "Inactive":
        message = f"Lambda made version {version.version} inactive: invoke it once, then deploy again"
        return PermanentFailure("version_inactive", message)
    return PermanentFailure("publish_failed", f"version {version.version} cannot run: {version.state_reason}")
