"""Publish the accepted code as a version, or find the version that already has it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.lambda_ import FunctionApi, FunctionVersion, LambdaNotFound
from sluicegate.aws.s3 import Artifacts, object_key
from sluicegate.deployer.lookups import check_expected_version, inactive_version, read_alias
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.outcomes import (
    LockLost,
    Outcome,
    Pending,
    PermanentFailure,
    Published,
    TransientFailure,
)
from sluicegate.store.locks import Locks
from sluicegate.store.versions import PublishedVersion, Versions

POLL_DELAYS: Final = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.0, 2.0, 2.0)
"""Seconds between polls of an update; a small zip takes half a second. A later turn waits longer."""


@dataclass(frozen=True)
class PublishResult:
    """The outcome, and what to record of a version that was published."""

    outcome: Outcome
    published: PublishedVersion | None = None


@dataclass(frozen=True)
class Publisher:
    """Every change carries the revision that was read *before* the lock was renewed.

    A deployment that lost the lock in between also has a stale revision, and Lambda rejects its change.
    """

    locks: Locks
    versions: Versions
    artifacts: Artifacts
    sleep: Callable[[float], None]

    def publish(self, deployment: Deployment, function: FunctionApi) -> PublishResult:
        """Return a version whose code hash is the accepted digest: the alias is never given any other.

        guarantees.md#1-only-accepted-code
        """
        alias = read_alias(function, deployment.plan.alias)
        original, revision = (alias.state, alias.revision) if alias else (None, None)
        if failure := check_expected_version(deployment, original):
            return PublishResult(failure)
        latest = function.version()
        known = self.versions.published(deployment.plan.target, deployment.function, deployment.sha256)
        changed: tuple[str, ...] = ()
        if known:
            changed = _changed_settings(known, latest)
            if not changed and _is_usable(function, known.version, deployment.sha256):
                return PublishResult(Published(known.version, original, revision, reused=True))
        updated = self._update_latest(deployment, function, latest)
        if not isinstance(updated, FunctionVersion):
            return PublishResult(updated)
        version = self._publish_version(deployment, function, updated)
        if not isinstance(version, FunctionVersion):
            return PublishResult(version)
        salt = os.urandom(16).hex()
        return PublishResult(
            Published(version.version, original, revision, changed_settings=changed),
            PublishedVersion(version.version, updated.settings_digests(salt), salt, deployment.id),
        )

    def _update_latest(
        self, deployment: Deployment, function: FunctionApi, latest: FunctionVersion
    ) -> FunctionVersion | Outcome:
        """Give `$LATEST` the accepted code, and wait until it can be published."""
        settled = self._wait_for_update(function, latest)
        if not isinstance(settled, FunctionVersion):
            return settled
        if settled.code_sha256 == deployment.sha256 and settled.last_update_status == "Successful":
            return settled
        artifact = self.artifacts.find(deployment.function, deployment.sha256)
        if artifact is None:
            message = f"artifact {deployment.sha256} was not uploaded"
            return PermanentFailure("artifact_not_found", message)
        if artifact.sha256 != deployment.sha256:
            message = "the checksum of the stored artifact does not match its name"
            return PermanentFailure("artifact_mismatch", message)
        if not self.locks.renew_publish_lock(deployment):
            return LockLost()
        updated = function.update_code(
            self.artifacts.bucket,
            object_key(deployment.function, deployment.sha256),
            artifact.version,
            settled.revision,
        )
        if updated.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda has different code from what was accepted")
        settled = self._wait_for_update(function, updated)
        if isinstance(settled, FunctionVersion) and settled.last_update_status == "Failed":
            message = f"Lambda could not update the code: {settled.last_update_reason}"
            return PermanentFailure("publish_failed", message)
        return settled

    def _publish_version(
        self, deployment: Deployment, function: FunctionApi, latest: FunctionVersion
    ) -> FunctionVersion | Outcome:
        """Publish `$LATEST` as it was read. If nothing changed since, Lambda returns the last version."""
        if latest.code_sha256 != deployment.sha256:
            message = "the function's code was changed by someone else"
            return TransientFailure("CodeChanged", message)
        if not self.locks.renew_publish_lock(deployment):
            return LockLost()
        version = function.publish(deployment.sha256, latest.revision, f"sluicegate {deployment.id}")
        if version.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda published different code from what was accepted")
        for delay in POLL_DELAYS:
            if version.state != "Pending":
                break
            self.sleep(delay)
            version = function.version(version.version)
        else:
            return Pending(f"version {version.version} is {version.state}")
        if version.state == "Active":
            return version
        if version.state == "Inactive":
            return inactive_version(version)
        message = f"version {version.version} cannot run: {version.state_reason}"
        return PermanentFailure("publish_failed", message)

    def _wait_for_update(self, function: FunctionApi, version: FunctionVersion) -> FunctionVersion | Outcome:
        """Wait for LastUpdateStatus and State: until then Lambda rejects updates and publishing."""
        for delay in POLL_DELAYS:
            if version.last_update_status != "InProgress" and version.state != "Pending":
                return version
            self.sleep(delay)
            version = function.version()
        return Pending(f"the function's update is {version.last_update_status}, its state {version.state}")


def _changed_settings(known: PublishedVersion, latest: FunctionVersion) -> tuple[str, ...]:
    """Return the names of the settings that have changed since the version was published."""
    digests = latest.settings_digests(known.salt)
    return tuple(sorted(name for name in digests if digests[name] != known.settings.get(name)))


def _is_usable(function: FunctionApi, version: str, sha256: str) -> bool:
    """Return whether that version still exists, has that code and can run."""
    try:
        found = function.version(version)
    except LambdaNotFound:
        return False
    return found.code_sha256 == sha256 and found.state == "Active"
