"""What an action reads of the target before it changes anything."""

from dataclasses import replace

from sluicegate.aws.lambda_ import Alias, FunctionApi, FunctionVersion, LambdaNotFound
from sluicegate.deployment.model import AliasState, Deployment, FoundVersion
from sluicegate.rollout.outcomes import Pending, PermanentFailure, VersionUnusable


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


def read_version(function: FunctionApi, version: str) -> FunctionVersion | None:
    """Return a published version, or None if it was deleted. Raises LambdaNotFound if the function was.

    Lambda answers both with the same error, so the function is asked for as well, and then the version once
    more: a single answer never makes a version count as deleted.
    """
    try:
        return function.version(version)
    except LambdaNotFound:
        function.version()
    try:
        return function.version(version)
    except LambdaNotFound:
        return None


def find_missing(function: FunctionApi, *states: AliasState | None) -> str | None:
    """Return the first version of these states that was deleted, or None.

    Raises LambdaNotFound if the function was.
    """
    served = dict.fromkeys(
        version for state in states if state for version in (state.version, *state.weights)
    )
    return next((version for version in served if read_version(function, version) is None), None)


def read_found(function: FunctionApi, state: AliasState | None) -> tuple[FoundVersion, ...]:
    """Return the published versions that an alias serves, with Lambda's own digests, its main one first."""
    if state is None:
        return ()
    shares = {state.version: 1 - sum(state.weights.values()), **state.weights}
    versions = {version: read_version(function, version) for version in shares if version.isdecimal()}
    return tuple(
        FoundVersion(version, found.code_sha256, round(shares[version], 4))
        for version, found in versions.items()
        if found is not None
    )


def check_expected_version(deployment: Deployment, served: AliasState | None) -> PermanentFailure | None:
    """Compare what the alias serves with the version that the request expects, if it expects one."""
    expected = deployment.expected_version
    if expected is None or served == AliasState(expected):
        return None
    found = served.version if served else "nothing"
    message = f"the request expected version {expected}, but the stage serves {found}"
    return PermanentFailure("not_as_expected", message, {"expected": expected, "found": found})


def missing_version(version: str) -> VersionUnusable:
    """Return the outcome for a version that was deleted."""
    return VersionUnusable(version, "version_not_found", f"version {version} no longer exists")


def check_state(
    version: FunctionVersion, *, restoring: bool = False, woken: bool = False
) -> Pending | VersionUnusable | None:
    """Return why a version cannot be served in the state that it is in, or None if it can.

    Lambda runs a version in the state Active only. It makes a version Inactive after weeks without an
    invocation: the next ones fail, and activate it (Lambda developer guide, "Lambda function states", read on
    26 November 2026). That is no reason against `restoring` what was served before, nor where a smoke test
    wakes it (`woken`). A state that is not known here is refused.
    """
    number, state = version.version, version.state
    if state == "Pending" or (state == "Active" and version.last_update_status == "InProgress"):
        return Pending(f"version {number} is {state}: {version.state_reason or 'no reason given'}")
    if state == "Active" and version.last_update_status == "Successful":
        return None
    if state == "Inactive":
        return None if restoring or woken else inactive_version(version)
    reason = version.state_reason or version.last_update_reason
    if state == "Active":
        state = f"{state}, its last update {version.last_update_status}"
    message = f"Lambda cannot run version {number}: it is {state}" + (f" ({reason})" if reason else "")
    if version.state == "Failed":
        # Publishing again returns it (hashicorp/terraform-provider-aws#49904, 2026-09).
        message += "; a deployment gets it again until the code or a setting changes, or it is deleted"
    return VersionUnusable(number, "version_unusable", message)


def inactive_version(version: FunctionVersion) -> VersionUnusable:
    """Return the outcome for a version that Lambda has made inactive."""
    message = f"Lambda made version {version.version} inactive: invoke it once, then deploy again"
    return VersionUnusable(version.version, "version_inactive", message)
