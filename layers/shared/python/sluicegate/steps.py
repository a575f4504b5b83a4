"""The deployer's steps. Each may run twice, at once or one after the other, and comes out the same.

Every change to Lambda carries the revision that was read *before* the lock was checked: whoever lost the lock
in between has a stale revision too, and Lambda refuses the change. A call that took effect unseen shows
at the next look.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate import aws
from sluicegate.artifacts import Artifacts, key
from sluicegate.deployment import AliasOutcome, AliasState, Deployment
from sluicegate.lambda_api import (
    Denied,
    FunctionApi,
    InProgress,
    LambdaError,
    NotFound,
    Snapshot,
    Stale,
    Unanswered,
)
from sluicegate.rollout import (
    AliasMoved,
    End,
    Impossible,
    Lock,
    Locked,
    LockLost,
    Outcome,
    Pending,
    Publish,
    Published,
    Restore,
    Restored,
    SeenMoved,
    Shift,
    Shifted,
    Step,
    Trouble,
)
from sluicegate.store import PublishedVersion, Store
from sluicegate.targets import Targets

_PAUSES = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.0, 2.0, 2.0)
"""Seconds between looks at an update; a small zip takes half a second. Longer waits are for later turns."""


@dataclass(frozen=True)
class Steps:
    """What steps work with; `run` is the one way in."""

    store: Store
    artifacts: Artifacts
    targets: Targets
    sleep: Callable[[float], None] = time.sleep

    def run(self, deployment: Deployment, step: Step) -> tuple[Outcome, PublishedVersion | None]:
        """Run one step and say how it came out; never raises for what AWS answers.

        With the outcome of publishing comes what to remember of the version.
        """
        try:
            match step:
                case Lock():
                    return Locked(), None
                case Publish():
                    return self._publish(deployment, self.targets.function(deployment))
                case Shift():
                    return self._shift(deployment, self.targets.function(deployment), step), None
                case Restore():
                    return self._restore(deployment, self.targets.function(deployment), step), None
                case End():
                    raise ValueError(f"deployment {deployment.id} is {deployment.status}: nothing to run")
        except LambdaError as error:
            return _lambda_outcome(error, deployment), None
        except (ClientError, BotoCoreError) as error:
            return _aws_outcome(error), None

    # Publishing

    def _publish(
        self, deployment: Deployment, function: FunctionApi
    ) -> tuple[Outcome, PublishedVersion | None]:
        """Promise 1: the alias is only ever given a version whose code hash is the accepted digest."""
        alias = function.alias(deployment.plan.alias)
        found, revision = (alias.state, alias.revision) if alias else (None, None)
        if wrong := _unexpected(deployment, found):
            return wrong, None
        latest = function.snapshot()
        known = self.store.published(deployment.plan.target, deployment.function, deployment.sha256)
        changed: tuple[str, ...] = ()
        if known:
            changed = _changed(known, latest)
            if not changed and _holds(function, known.version, deployment.sha256):
                return Published(known.version, found, revision, reused=True), None
        latest_or_outcome = self._bring(deployment, function, latest)
        if not isinstance(latest_or_outcome, Snapshot):
            return latest_or_outcome, None
        outcome, remembered = self._freeze(deployment, function, latest_or_outcome)
        if isinstance(outcome, Snapshot):
            return Published(outcome.version, found, revision, changed=changed), remembered
        return outcome, None

    def _bring(self, deployment: Deployment, function: FunctionApi, latest: Snapshot) -> Snapshot | Outcome:
        """Bring `$LATEST` to the accepted digest, settled and ready to be published."""
        settled = self._settled(function, latest)
        if not isinstance(settled, Snapshot):
            return settled
        if settled.code_sha256 == deployment.sha256 and settled.update == "Successful":
            return settled
        stored = self.artifacts.find(deployment.function, deployment.sha256)
        if stored is None:
            return Impossible("artifact_not_found", f"no artifact {deployment.sha256} was uploaded")
        if stored.sha256 != deployment.sha256:
            return Impossible(
                "artifact_mismatch", "the stored artifact has another checksum than its name says"
            )
        if not self.store.renew_publish_lock(deployment):
            return LockLost()
        updated = function.update_code(
            self.artifacts.bucket,
            key(deployment.function, deployment.sha256),
            stored.version,
            settled.revision,
        )
        if updated.code_sha256 != deployment.sha256:
            return Impossible("code_mismatch", "Lambda holds other code than was accepted")
        settled = self._settled(function, updated)
        if isinstance(settled, Snapshot) and settled.update == "Failed":
            return Impossible("publish_failed", f"Lambda could not update the code: {settled.update_reason}")
        return settled

    def _freeze(
        self, deployment: Deployment, function: FunctionApi, latest: Snapshot
    ) -> tuple[Snapshot | Outcome, PublishedVersion | None]:
        """Publish `$LATEST` as it was read. Unchanged code and configuration give the last version again."""
        if latest.code_sha256 != deployment.sha256:
            return Trouble("CodeChanged", "somebody else changed the function's code meanwhile"), None
        if not self.store.renew_publish_lock(deployment):
            return LockLost(), None
        version = function.publish(deployment.sha256, latest.revision, f"sluicegate {deployment.id}")
        if version.code_sha256 != deployment.sha256:
            return Impossible("code_mismatch", "Lambda published other code than was accepted"), None
        for pause in _PAUSES:
            if version.state != "Pending":
                break
            self.sleep(pause)
            version = function.snapshot(version.version)
        else:
            return Pending(f"version {version.version} is {version.state}"), None
        if version.state == "Failed":
            message = f"version {version.version} cannot run: {version.state_reason}"
            return Impossible("publish_failed", message), None
        salt = os.urandom(16).hex()
        return version, PublishedVersion(version.version, latest.fingerprint(salt), salt, deployment.id)

    def _settled(self, function: FunctionApi, snapshot: Snapshot) -> Snapshot | Outcome:
        """Wait for LastUpdateStatus and State; until then Lambda refuses to update and to publish."""
        for pause in _PAUSES:
            if snapshot.update != "InProgress" and snapshot.state != "Pending":
                return snapshot
            self.sleep(pause)
            snapshot = function.snapshot()
        return Pending(f"the function's update is {snapshot.update}, its state {snapshot.state}")

    # The alias

    def _shift(self, deployment: Deployment, function: FunctionApi, step: Shift) -> Outcome:
        """Promise 4: move the alias only from what was found, and only while its lock is ours.

        The revision noted when it was found spares a look: Lambda refuses the move if it is stale.
        """
        if not self.store.holds_alias(deployment):
            return Trouble("LockLost", "the alias' lock is not held")
        refusal: LambdaError | None = None
        if step.found != step.wanted:
            try:
                return self._move(deployment, function, step, step.revision)
            except (Stale, InProgress, NotFound) as error:
                refusal = error
        alias = function.alias(deployment.plan.alias)
        state = alias.state if alias else None
        if state == step.wanted:
            return Shifted(step.wanted)
        if state != step.found:
            return AliasMoved(state)
        if isinstance(refusal, NotFound):  # the alias is as it was, so it is the version that is gone
            return Impossible("version_not_found", f"version {step.wanted.version} does not exist any more")
        if not self.store.holds_alias(deployment):
            return Trouble("LockLost", "the alias' lock is not held")
        return self._move(deployment, function, step, alias.revision if alias else None)

    def _move(
        self, deployment: Deployment, function: FunctionApi, step: Shift, revision: str | None
    ) -> Outcome:
        name = deployment.plan.alias
        if revision is None:
            about = f"Sluicegate: {deployment.stage}"
            return Shifted(function.create_alias(name, step.wanted.version, about).state)
        return Shifted(function.update_alias(name, step.wanted, revision).state)

    def _restore(self, deployment: Deployment, function: FunctionApi, step: Restore) -> Outcome:
        """Back to exactly what was found, unless somebody else moved it meanwhile."""
        name = deployment.plan.alias
        try:
            alias = function.alias(name)
        except NotFound:  # somebody deleted the function, and its aliases with it
            return Restored(AliasOutcome.LEFT_TO_OTHER, None)
        state = alias.state if alias else None
        if state == step.found:
            back = AliasOutcome.RESTORED if step.found else AliasOutcome.REMOVED
            return Restored(back if step.moved else AliasOutcome.UNTOUCHED, state)
        if alias is None or state != step.ours:
            return Restored(AliasOutcome.LEFT_TO_OTHER, state)
        if not step.moved:
            return SeenMoved(step.ours)
        if not self.store.holds_alias(deployment):
            return Trouble("LockLost", "the alias' lock is not held")
        if step.found is None:
            function.delete_alias(name)
            return Restored(AliasOutcome.REMOVED, None)
        return Restored(AliasOutcome.RESTORED, function.update_alias(name, step.found, alias.revision).state)


def _unexpected(deployment: Deployment, found: AliasState | None) -> Impossible | None:
    expected = deployment.expected_version
    if expected is None or (found == AliasState(expected)):
        return None
    serves = found.version if found else "nothing"
    message = f"the request expected version {expected}, but the stage serves {serves}"
    return Impossible("not_as_expected", message, {"expected": expected, "found": serves})


def _changed(known: PublishedVersion, latest: Snapshot) -> tuple[str, ...]:
    """The names of the settings that are not what they were when the version was published."""
    present = latest.fingerprint(known.salt)
    return tuple(sorted(name for name in present if present[name] != known.settings.get(name)))


def _holds(function: FunctionApi, version: str, sha256: str) -> bool:
    """Whether that version still exists, holds that code and can serve."""
    try:
        snapshot = function.snapshot(version)
    except NotFound:
        return False
    return snapshot.code_sha256 == sha256 and snapshot.state in ("Active", "Inactive")


def _lambda_outcome(error: LambdaError, deployment: Deployment) -> Outcome:
    match error:
        case NotFound():
            where = f"{deployment.plan.target.account} {deployment.plan.target.region}"
            message = f"function {deployment.function} does not exist in {where}"
            return Impossible("function_not_found", message)
        case Denied():
            message = f"the target's role may not do this: {error.message}"
            return Impossible("target_denied", message, {"error": error.code})
        case Stale() | InProgress():
            return Trouble(error.code, "somebody else is changing the function")
        case Unanswered():
            return Trouble(error.code, f"Lambda did not do it: {error.code}")
        case _:
            message = f"Lambda refused: {error.code}: {error.message}"
            return Impossible("lambda_refused", message, {"error": error.code})


def _aws_outcome(error: ClientError | BotoCoreError) -> Outcome:
    """For S3, STS and DynamoDB: a refusal is final, anything else is tried again."""
    code = aws.error_code(error)
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return Impossible("target_denied", f"AWS refused: {aws.error_message(error)}", {"error": code})
    return Trouble(code, f"AWS did not answer as it should: {code}")
