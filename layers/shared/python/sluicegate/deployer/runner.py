"""The deployer's steps. Each may run twice, at once or one after the other, and comes out the same.

Every change to Lambda carries the revision that was read *before* the lock was checked: whoever lost the lock
in between has a stale revision too, and Lambda refuses the change. A call that took effect unseen shows
at the next look.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.aws.lambda_ import (
    Alias,
    Denied,
    FunctionApi,
    InProgress,
    LambdaError,
    NotFound,
    Refused,
    Snapshot,
    Stale,
    TooSlow,
    Unanswered,
)
from sluicegate.aws.s3 import Artifacts, key
from sluicegate.deployer.target import Access, Targets
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment
from sluicegate.deployment.plan import Smoke, Watch
from sluicegate.rollout import smoke
from sluicegate.rollout.actions import (
    Abort,
    Action,
    AwaitApproval,
    AwaitHandover,
    End,
    Lock,
    Observe,
    Publish,
    Restore,
    ReuseVersion,
    Shift,
    Verify,
)
from sluicegate.rollout.analysis import BASELINE_LOOKBACK, AlarmState, Observation, find_alarm
from sluicegate.rollout.outcomes import (
    Aborted,
    AliasMoved,
    ApprovalRequested,
    Blocked,
    FoundMoved,
    HandedOver,
    Locked,
    LockLost,
    Observed,
    Outcome,
    Pending,
    PermanentFailure,
    Published,
    Restored,
    Shifted,
    TransientFailure,
    Verified,
)
from sluicegate.store.store import Store
from sluicegate.store.versions import PublishedVersion

_PAUSES = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.0, 2.0, 2.0)
"""Seconds between looks at an update; a small zip takes half a second. Longer waits are for later turns."""


@dataclass(frozen=True)
class Runner:
    """What steps work with; `run` is the one way in."""

    store: Store
    artifacts: Artifacts
    targets: Targets
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time

    def run(self, deployment: Deployment, step: Action) -> tuple[Outcome, PublishedVersion | None]:
        """Run one step and say how it came out; never raises for what AWS answers.

        With the outcome of publishing comes what to remember of the version.
        """
        try:
            match step:
                case Abort():
                    return Aborted(), None
                case AwaitApproval():
                    return ApprovalRequested(), None
                case AwaitHandover(predecessor):
                    outcome = (
                        HandedOver() if self.store.locks.holds_alias(deployment) else Blocked(predecessor)
                    )
                    return outcome, None
                case Lock():
                    return Locked(), None
                case Publish():
                    return self._publish(deployment, self.targets.enter(deployment).function)
                case End():
                    raise ValueError(f"deployment {deployment.id} is {deployment.status}: nothing to run")
                case _:
                    return self._on_the_alias(deployment, self.targets.enter(deployment), step), None
        except LambdaError as error:
            return _lambda_outcome(error, deployment), None
        except (ClientError, BotoCoreError) as error:
            return _aws_outcome(error), None

    def _on_the_alias(
        self, deployment: Deployment, access: Access, step: ReuseVersion | Verify | Shift | Observe | Restore
    ) -> Outcome:
        match step:
            case ReuseVersion():
                return self._adopt(deployment, access.function, step)
            case Verify():
                return self._verify(deployment, access, step)
            case Shift():
                return self._shift(deployment, access.function, step)
            case Observe():
                return self._look(deployment, access, step)
            case Restore():
                return self._restore(deployment, access.function, step)

    # Publishing

    def _publish(
        self, deployment: Deployment, function: FunctionApi
    ) -> tuple[Outcome, PublishedVersion | None]:
        """The alias is only ever given a version whose code hash is the accepted digest.

        guarantees.md#1-only-accepted-code
        """
        alias = _alias(function, deployment.plan.alias)
        found, revision = (alias.state, alias.revision) if alias else (None, None)
        if wrong := _unexpected(deployment, found):
            return wrong, None
        latest = function.snapshot()
        known = self.store.versions.published(deployment.plan.target, deployment.function, deployment.sha256)
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
            return Published(outcome.version, found, revision, changed_settings=changed), remembered
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
            return PermanentFailure("artifact_not_found", f"no artifact {deployment.sha256} was uploaded")
        if stored.sha256 != deployment.sha256:
            return PermanentFailure(
                "artifact_mismatch", "the stored artifact has another checksum than its name says"
            )
        if not self.store.locks.renew_publish_lock(deployment):
            return LockLost()
        updated = function.update_code(
            self.artifacts.bucket,
            key(deployment.function, deployment.sha256),
            stored.version,
            settled.revision,
        )
        if updated.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda holds other code than was accepted")
        settled = self._settled(function, updated)
        if isinstance(settled, Snapshot) and settled.update == "Failed":
            return PermanentFailure(
                "publish_failed", f"Lambda could not update the code: {settled.update_reason}"
            )
        return settled

    def _freeze(
        self, deployment: Deployment, function: FunctionApi, latest: Snapshot
    ) -> tuple[Snapshot | Outcome, PublishedVersion | None]:
        """Publish `$LATEST` as it was read. Unchanged code and configuration give the last version again."""
        if latest.code_sha256 != deployment.sha256:
            return TransientFailure(
                "CodeChanged", "somebody else changed the function's code meanwhile"
            ), None
        if not self.store.locks.renew_publish_lock(deployment):
            return LockLost(), None
        version = function.publish(deployment.sha256, latest.revision, f"sluicegate {deployment.id}")
        if version.code_sha256 != deployment.sha256:
            return PermanentFailure("code_mismatch", "Lambda published other code than was accepted"), None
        for pause in _PAUSES:
            if version.state != "Pending":
                break
            self.sleep(pause)
            version = function.snapshot(version.version)
        else:
            return Pending(f"version {version.version} is {version.state}"), None
        if version.state != "Active":
            return _unable(version), None
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

    def _adopt(self, deployment: Deployment, function: FunctionApi, step: ReuseVersion) -> Outcome:
        """Reuse a recorded version.

        guarantees.md#1-only-accepted-code.: it exists, with the code that was accepted.
        """
        alias = _alias(function, deployment.plan.alias)
        found, revision = (alias.state, alias.revision) if alias else (None, None)
        if wrong := _unexpected(deployment, found):
            return wrong
        if step.source is not None:
            source = _alias(function, step.source)
            if source is None or source.state != AliasState(step.version):
                message = f"alias {step.source} does not serve version {step.version} alone any more"
                return PermanentFailure("source_changed", message)
        version = _version_of(function, step.version)
        if not isinstance(version, Snapshot):
            return version
        if version.code_sha256 != deployment.sha256:
            message = f"version {step.version} holds other code than was accepted"
            return PermanentFailure("code_mismatch", message)
        return Published(step.version, found, revision, reused=True)

    # Before traffic

    def _verify(self, deployment: Deployment, access: Access, step: Verify) -> Outcome:
        """What can be known before anybody meets the new version; the smoke test comes late."""
        version = _version_of(access.function, step.version)
        if not isinstance(version, Snapshot):
            return version
        if version.state == "Pending":
            return Pending(f"version {step.version} is Pending")
        if version.state == "Failed":
            return _unable(version)
        if step.gradual and (refused := _unweighable(access.function, deployment.plan.alias, step, version)):
            return refused
        outcome: Outcome = _quiet(access, deployment.plan.watch)
        if deployment.plan.smoke and isinstance(outcome, Verified):
            outcome = self._smoke(deployment, access, deployment.plan.smoke, step.version)
            if isinstance(outcome, Verified):
                # It may have taken a minute, in which no alarm could wake anybody.
                outcome = _quiet(access, deployment.plan.watch)
        return outcome

    def _smoke(self, deployment: Deployment, access: Access, test: Smoke, version: str) -> Outcome:
        """May run twice: a smoke test must be one that can."""
        facts = {
            "deployment": deployment.id,
            "function": deployment.function,
            "version": version,
            "stage": deployment.stage,
            "alias": deployment.plan.alias,
            "sha256": deployment.sha256,
        }
        function, qualifier = (access.hook, None) if access.hook else (access.function, version)
        try:
            answer = function.invoke(
                qualifier, smoke.payload(test, facts), timeout=test.timeout, limit=smoke.MAX_RESPONSE
            )
        except TooSlow as error:
            return PermanentFailure(
                "smoke_failed", f"{'the hook' if access.hook else 'the version'} gave {error.message}"
            )
        except NotFound:
            if test.hook is None:
                raise
            return PermanentFailure("smoke_failed", f"there is no function {test.hook}, which is the hook")
        if why := smoke.find_failure(test, answer.payload, answer.error):
            return PermanentFailure("smoke_failed", why)
        return Verified()

    # The alias

    def _shift(self, deployment: Deployment, function: FunctionApi, step: Shift) -> Outcome:
        """Move the alias only from what was found, and only while its lock is ours
        (guarantees.md#4-failure-restores-the-alias).

        The revision noted when it was found spares a look: Lambda refuses the move if it is stale. After
        trouble it does look, for the move may have taken effect unseen.
        """
        if not self.store.locks.holds_alias(deployment):
            return TransientFailure("LockLost", "the alias' lock is not held")
        refusal: LambdaError | None = None
        if step.original != step.desired and not deployment.failures:
            try:
                return self._move(deployment, function, step, step.revision)
            except (Stale, InProgress, NotFound) as error:
                refusal = error
        alias = _alias(function, deployment.plan.alias, step.original, step.desired)
        state = alias.state if alias else None
        if alias is not None and state == step.desired:
            return Shifted(step.desired, alias.revision)
        if state != step.original:
            return AliasMoved(state)
        if isinstance(refusal, NotFound):  # the alias is as it was, so it is the version that is gone
            return PermanentFailure(
                "version_not_found", f"version {step.desired.version} does not exist any more"
            )
        if not self._is_present(deployment):
            return TransientFailure("RecordChanged", "the record has moved on")
        return self._move(deployment, function, step, alias.revision if alias else None)

    def _is_present(self, deployment: Deployment) -> bool:
        """Whether nothing has been decided since; after a look, which may have seen what a way back left."""
        found = self.store.deployments.get(deployment.id)
        return found is not None and found.revision == deployment.revision

    def _move(
        self, deployment: Deployment, function: FunctionApi, step: Shift, revision: str | None
    ) -> Outcome:
        name = deployment.plan.alias
        if revision is None:
            about = f"Sluicegate: {deployment.stage}"
            made = function.create_alias(name, step.desired.version, about)
        else:
            made = function.update_alias(name, step.desired, revision)
        return Shifted(step.desired, made.revision)

    def _look(self, deployment: Deployment, access: Access, step: Observe) -> Outcome:
        """Judge only what this deployment moved (guarantees.md#4-failure-restores-the-alias)."""
        plan = deployment.plan
        try:
            alias = _alias(access.function, plan.alias, step.desired)
        except NotFound:  # somebody deleted the function, and its aliases with it
            return AliasMoved(None)
        if alias is None or alias.state != step.desired:
            return AliasMoved(alias.state if alias else None)
        if plan.watch is None or access.cloudwatch is None:
            return Observed(Observation())
        alarms = _alarms(access, plan.watch)
        if not plan.watch.limits:
            return Observed(Observation(alarms))
        began = seconds(step.since)
        since = {step.version: began} | ({step.baseline: began - BASELINE_LOOKBACK} if step.baseline else {})
        measured = access.cloudwatch.measured(deployment.function, plan.alias, since, self.clock())
        old = measured[step.baseline] if step.baseline and step.baseline != step.version else None
        return Observed(Observation(alarms, measured[step.version], old))

    def _restore(self, deployment: Deployment, function: FunctionApi, step: Restore) -> Outcome:
        """Back to exactly what was found, unless somebody else moved it meanwhile."""
        name = deployment.plan.alias
        try:
            alias = _alias(function, name, step.original, *step.applied)
        except NotFound:  # somebody deleted the function, and its aliases with it
            return Restored(AliasOutcome.LEFT_TO_OTHER, None)
        state = alias.state if alias else None
        if state == step.original:
            if step.was_moved:
                return Restored(AliasOutcome.RESTORED if step.original else AliasOutcome.REMOVED, state)
            if alias is not None:
                _fence(function, name, alias)
            return Restored(AliasOutcome.UNTOUCHED, state)
        if alias is None or state not in step.applied:
            return Restored(AliasOutcome.LEFT_TO_OTHER, state)
        if state != step.current:
            return FoundMoved(alias.state)
        if not self.store.locks.holds_alias(deployment):
            return TransientFailure("LockLost", "the alias' lock is not held")
        if step.original is None:
            function.delete_alias(name)
            return Restored(AliasOutcome.REMOVED, None)
        function.update_alias(name, step.original, alias.revision)
        return Restored(AliasOutcome.RESTORED, step.original)


def _alias(function: FunctionApi, name: str, *expected: AliasState | None) -> Alias | None:
    """What the alias serves by somebody's will; None where there is none.

    While provisioned concurrency moves to another version, Lambda gives the alias weights of its own for some
    minutes. Nobody else can give it any then, so those are looked through. Asked only where weights surprise.
    """
    alias = function.alias(name)
    if alias is None or not alias.state.weights or alias.state in expected:
        return alias
    if not function.has_provisioned_concurrency(name):
        return alias
    return replace(alias, state=AliasState(alias.state.version))


def _fence(function: FunctionApi, name: str, alias: Alias) -> None:
    """Give the alias another revision, so that a move that is still under way comes too late for it.

    Who may not move it has moved nothing; and the weights that Lambda itself gives are not ours to write.
    """
    with suppress(Denied, Refused):
        if not function.has_provisioned_concurrency(name):
            function.update_alias(name, alias.state, alias.revision)


def _alarms(access: Access, watch: Watch | None) -> tuple[tuple[str, AlarmState], ...]:
    return access.cloudwatch.alarms(watch.alarms) if watch and access.cloudwatch else ()


def _quiet(access: Access, watch: Watch | None) -> Verified | PermanentFailure:
    """Whether no alarm fires yet: what goes wrong already is no time for more."""
    reason = find_alarm(_alarms(access, watch))
    if reason is None:
        return Verified()
    return PermanentFailure(reason.code, f"before anything was moved: {reason.message}", reason.data)


def _version_of(function: FunctionApi, version: str) -> Snapshot | PermanentFailure:
    """A published version as it is; what is gone cannot be served."""
    try:
        return function.snapshot(version)
    except NotFound:
        return PermanentFailure("version_not_found", f"version {version} does not exist any more")


def _unable(version: Snapshot) -> PermanentFailure:
    """A version that does not run. Lambda puts to sleep what is idle for weeks, and wakes it by failing."""
    if version.state == "Inactive":
        message = f"version {version.version} was put to sleep by Lambda: invoke it once, then deploy again"
        return PermanentFailure("version_inactive", message)
    return PermanentFailure("publish_failed", f"version {version.version} cannot run: {version.state_reason}")


def _unweighable(function: FunctionApi, alias: str, step: Verify, new: Snapshot) -> PermanentFailure | None:
    """Why Lambda would not share traffic between the two (CreateAlias' reference, RoutingConfig)."""
    found = step.original
    if found is None:
        return None
    if found.weights:
        because, what = "weights", "the alias has weights already, which somebody else set"
    elif found.version == "$LATEST":
        because, what = "latest", "the alias serves $LATEST, which cannot share traffic with a version"
    elif function.has_provisioned_concurrency(alias):
        because, what = "provisioned_concurrency", "the alias has provisioned concurrency"
    else:
        old = _version_of(function, found.version)
        if not isinstance(old, Snapshot):
            return old
        differing = [name for name in ("role", "dead_letter") if old.settings[name] != new.settings[name]]
        if not differing:
            return None
        because, what = differing[0], f"the versions differ in their {differing[0].replace('_', ' ')}"
    message = f"traffic cannot be shared: {what}; a deployment all at once can do it"
    return PermanentFailure("weights_refused", message, {"because": because})


def _unexpected(deployment: Deployment, found: AliasState | None) -> PermanentFailure | None:
    expected = deployment.expected_version
    if expected is None or (found == AliasState(expected)):
        return None
    serves = found.version if found else "nothing"
    message = f"the request expected version {expected}, but the stage serves {serves}"
    return PermanentFailure("not_as_expected", message, {"expected": expected, "found": serves})


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
    return snapshot.code_sha256 == sha256 and snapshot.state == "Active"


def _lambda_outcome(error: LambdaError, deployment: Deployment) -> Outcome:
    match error:
        case NotFound():
            where = f"{deployment.plan.target.account} {deployment.plan.target.region}"
            message = f"function {deployment.function} does not exist in {where}"
            return PermanentFailure("function_not_found", message)
        case Denied():
            message = f"the target's role may not do this: {error.message}"
            return PermanentFailure("target_denied", message, {"error": error.code})
        case Stale() | InProgress():
            return TransientFailure(error.code, "somebody else is changing the function")
        case Unanswered():
            return TransientFailure(error.code, f"Lambda did not do it: {error.code}")
        case _:
            message = f"Lambda refused: {error.code}: {error.message}"
            return PermanentFailure("lambda_refused", message, {"error": error.code})


def _aws_outcome(error: ClientError | BotoCoreError) -> Outcome:
    """For S3, STS and DynamoDB: a refusal is final, anything else is tried again."""
    code = clients.error_code(error)
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return PermanentFailure(
            "target_denied", f"AWS refused: {clients.error_message(error)}", {"error": code}
        )
    return TransientFailure(code, f"AWS did not answer as it should: {code}")
