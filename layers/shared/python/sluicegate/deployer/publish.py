"""Publish the accepted code as a version, or find the version that already has it."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.lambda_ import Alias, FunctionApi, FunctionVersion, LambdaConflict, LambdaNotFound
from sluicegate.aws.lambda_settings import SettingsDifference, difference
from sluicegate.aws.s3 import object_key
from sluicegate.deployer.copying import CodeLocation, CodeSource
from sluicegate.deployer.lookups import check_expected_version, check_state, read_alias
from sluicegate.deployer.turn import FirstLook, Turn
from sluicegate.deployer.weights import refused_by_alias
from sluicegate.deployment.model import AliasState, Deployment
from sluicegate.rollout.outcomes import (
    LockLost,
    Outcome,
    Pending,
    PermanentFailure,
    Published,
    TransientFailure,
)
from sluicegate.store.locks import PUBLISH_LEASE, Locks
from sluicegate.store.serving import Serving
from sluicegate.store.versions import PublishedVersion, Versions

POLL_DELAYS: Final = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.0, 2.0, 2.0)
"""Seconds between polls of an update; a small zip takes half a second. A later turn waits longer."""


LEASE_LEFT: Final = 60
"""Seconds that the lease of the publishing lock must have left, or it is renewed before a change.

Half of it: then no process can have taken the lock whose clock is not a minute ahead. One that has is stopped
by the revision.
"""

CONFIGURATION: Final = "configuration"
"""The name of Lambda's hash of the whole configuration: where it is noted, and where it alone differs."""

_KEY_DENIED: Final = re.compile(r"AccessDenied|KMS", re.IGNORECASE)
"""Errors of Lambda's about a function's code after which its key is not known."""

_WILL_RUN: Final = frozenset({"Active", "Pending"})
"""States of a version that runs, or that Lambda is still preparing."""


@dataclass(frozen=True)
class PublishResult:
    """The outcome, what to record of a version that was published, and what the record has of the digest."""

    outcome: Outcome
    published: PublishedVersion | None = None
    known: PublishedVersion | None = None


@dataclass(frozen=True)
class Publisher:
    """Every change carries the revision that was read *before* the lock was taken, renewed or checked.

    A deployment that lost the lock in between also has a stale revision, and Lambda rejects its change.
    `clock` returns epoch seconds.
    """

    locks: Locks
    versions: Versions
    source: CodeSource
    sleep: Callable[[float], None]
    clock: Callable[[], float]

    def look(self, deployment: Deployment, function: FunctionApi, turn: Turn) -> FirstLook | PermanentFailure:
        """Read all that decides what there is to publish. Nothing is changed."""
        record = turn.read_record(deployment, self.versions)
        alias = left = _left_alias(deployment, record.serving)
        if left is None:
            alias = read_alias(function, deployment.plan.alias)
            if failure := check_expected_version(deployment, alias.state if alias else None):
                return failure
        latest, known = function.version(), record.published
        found = _read_known(function, known, deployment.sha256)
        return FirstLook(alias, latest, known, found, unseen=left is not None)

    def publish(self, deployment: Deployment, function: FunctionApi, turn: Turn) -> PublishResult:
        """Return a version whose code hash is the accepted digest: the alias is never given any other.

        guarantees.md#1-only-accepted-code
        """
        look = turn.look_once() or self.look(deployment, function, turn)
        if not isinstance(look, FirstLook):
            return PublishResult(look)
        alias, unseen, latest, known, found = look.alias, look.unseen, look.latest, look.known, look.found
        differing = _compare(known, found, latest) if known and found else SettingsDifference()
        if found and found.state in _WILL_RUN and not differing:
            ready = found.state == "Active"
            # Somebody may have made the alias serve this very version: a move could not tell.
            original, revision = _state(read_alias(function, deployment.plan.alias) if unseen else alias)
            outcome = Published(found.version, original, revision, reused=True, ready=ready)
            return PublishResult(outcome, known=known)
        if failure := refused_by_alias(deployment, function, alias.state if alias else None):
            return PublishResult(failure)
        try:
            updated = self._update_latest(deployment, function, latest, turn)
            if not isinstance(updated, FunctionVersion):
                return PublishResult(updated)
            if unseen and not turn.updated:  # as above: Lambda may answer a version that there is already
                alias, unseen = read_alias(function, deployment.plan.alias), False
            version = self._publish_version(deployment, function, updated, turn)
        except LambdaConflict as busy:
            # An update or a snapshot takes minutes, and has no end that retries could count.
            return PublishResult(Pending(f"Lambda is busy with the function: {busy.message}"))
        if not isinstance(version, FunctionVersion):
            return PublishResult(version)
        if found and version.version == found.version:  # Lambda found no change, so there is none to name
            differing = SettingsDifference()
        original, revision = _state(alias)
        salt = os.urandom(16).hex()
        noted = {CONFIGURATION: updated.configuration_digest(salt)}
        return PublishResult(
            Published(
                version.version,
                original,
                revision,
                changed_settings=differing.changed,
                unreadable_settings=differing.unreadable,
                ready=version.state == "Active",
                unseen=unseen,
            ),
            PublishedVersion(version.version, noted, salt, deployment.id),
            known,
        )

    def _update_latest(
        self, deployment: Deployment, function: FunctionApi, latest: FunctionVersion, turn: Turn
    ) -> FunctionVersion | Outcome:
        """Give `$LATEST` the accepted code, and wait until it can be published."""
        turn.updated = False
        settled = self._wait_for_update(function, latest)
        if not isinstance(settled, FunctionVersion):
            return settled
        if settled.code_sha256 == deployment.sha256 and settled.last_update_status == "Successful":
            return settled
        if _KEY_DENIED.search(settled.code_error) and not settled.source_kms_key:
            return _unknown_key(settled)
        code = self.source.locate(deployment)
        if not isinstance(code, CodeLocation):
            return code
        if not self._holds_lock(deployment, turn):
            return LockLost()
        key = object_key(deployment.function, deployment.sha256)
        updated = function.update_code(code.bucket, key, code.version, settled)
        turn.updated = True
        if updated.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda has different code from what was accepted")
        settled = self._wait_for_update(function, updated)
        if isinstance(settled, FunctionVersion) and settled.last_update_status == "Failed":
            message = f"Lambda could not update the code: {settled.last_update_reason or 'no reason given'}"
            return PermanentFailure("publish_failed", message)
        return settled

    def _publish_version(
        self, deployment: Deployment, function: FunctionApi, latest: FunctionVersion, turn: Turn
    ) -> FunctionVersion | Outcome:
        """Publish `$LATEST` as it was read. If nothing changed since, Lambda returns the last version.

        So a call whose answer was lost finds its version again. A version that is Pending is recorded at
        once: its snapshot or network may take minutes, and is waited for without the lock.
        """
        if latest.code_sha256 != deployment.sha256:
            message = "the function's code was changed by someone else"
            return TransientFailure("CodeChanged", message)
        if not self._holds_lock(deployment, turn):
            return LockLost()
        version = function.publish(deployment.sha256, latest.revision, f"sluicegate {deployment.id}")
        if version.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda published different code from what was accepted")
        problem = check_state(version)
        return version if problem is None or isinstance(problem, Pending) else problem

    def _holds_lock(self, deployment: Deployment, turn: Turn) -> bool:
        """Say whether the deployment has the publishing lock, and renew it unless it has long to run."""
        now = self.clock()
        if turn.leased_until - now >= LEASE_LEFT:
            return True
        if not self.locks.renew_publish_lock(deployment):
            return False
        turn.leased_until = now + PUBLISH_LEASE
        return True

    def _wait_for_update(self, function: FunctionApi, version: FunctionVersion) -> FunctionVersion | Outcome:
        """Wait for LastUpdateStatus and State: until then Lambda rejects updates and publishing."""
        for delay in POLL_DELAYS:
            if version.last_update_status != "InProgress" and version.state != "Pending":
                return version
            self.sleep(delay)
            version = function.version()
        return Pending(f"the function's update is {version.last_update_status}, its state {version.state}")


def is_reusable(
    function: FunctionApi, known: PublishedVersion | None, sha256: str, latest: FunctionVersion
) -> bool:
    """Return whether the recorded version can be used again: nothing has to be published then."""
    found = _read_known(function, known, sha256)
    return bool(known and found and found.state in _WILL_RUN and not _compare(known, found, latest))


def _left_alias(deployment: Deployment, serving: Serving | None) -> Alias | None:
    """Return the alias as the deployment before left it, if that is enough, or None.

    Lambda takes the first move only at that revision: then the alias is what it was. It has to be read where
    it decides more: whether an expectation is met, and whether it can share traffic.
    """
    if serving is None or serving.revision is None or deployment.expected_version is not None:
        return None
    if any(step.percent < 100 for step in deployment.plan.steps):
        return None
    return Alias(AliasState(serving.version), serving.revision)


def _state(alias: Alias | None) -> tuple[AliasState | None, str | None]:
    return (alias.state, alias.revision) if alias else (None, None)


def _compare(known: PublishedVersion, found: FunctionVersion, latest: FunctionVersion) -> SettingsDifference:
    """Return the settings in which the version and `$LATEST` differ.

    Lambda's own hash of the configuration decides what cannot be read, and finds what is not in our list. It
    is compared as noted when the version was published, because a version has a description of its own. Items
    of earlier releases have no such note.
    """
    noted, current = known.settings.get(CONFIGURATION), latest.configuration_digest(known.salt)
    differing = difference(found.settings, latest.settings)
    if not noted or not current or differing.changed:
        return differing
    return SettingsDifference(() if noted == current else (CONFIGURATION,))


def _read_known(function: FunctionApi, known: PublishedVersion | None, sha256: str) -> FunctionVersion | None:
    """Return the recorded version if it still exists and has that code."""
    if known is None:
        return None
    try:
        found = function.version(known.version)
    except LambdaNotFound:
        return None
    return found if found.code_sha256 == sha256 else None


def _unknown_key(latest: FunctionVersion) -> PermanentFailure:
    message = (
        "Lambda does not say which key encrypts the function's code, and an update would replace it with "
        f"AWS's: {latest.code_error}; let the target role use the key (kms:Decrypt)"
    )
    return PermanentFailure("target_denied", message, {"error": latest.code_error})
