"""Run one action of a rollout. An action may run twice, at once or in sequence, with the same result.

Each action reads first and then changes. A call that took effect although its response was lost is seen when
the action runs again.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import assert_never

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.aws.lambda_ import (
    LambdaAccessDenied,
    LambdaConflict,
    LambdaError,
    LambdaNotFound,
    LambdaThrottled,
    LambdaUnavailable,
    StaleLambdaRevision,
)
from sluicegate.aws.metric_data import LookFailed
from sluicegate.aws.s3 import Artifacts
from sluicegate.deployer import refusals
from sluicegate.deployer.call_quota import CallQuota
from sluicegate.deployer.copying import CodeSource
from sluicegate.deployer.observe import observe
from sluicegate.deployer.origins import Origins
from sluicegate.deployer.preflight import preflight
from sluicegate.deployer.publish import Publisher, PublishResult
from sluicegate.deployer.restore import AliasRestorer, look_again
from sluicegate.deployer.reuse import before_approval, reuse
from sluicegate.deployer.shift import AliasMover
from sluicegate.deployer.target import StsUnreachable, Targets
from sluicegate.deployer.turn import FirstLook, Turn
from sluicegate.deployer.verify import verify
from sluicegate.deployment.model import Deployment, Reason, Status
from sluicegate.deployment.plan import Plan
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
from sluicegate.rollout.machine import may_skip_alias
from sluicegate.rollout.outcomes import (
    Aborted,
    ApprovalRequested,
    Blocked,
    Denied,
    HandedOver,
    Locked,
    Outcome,
    PermanentFailure,
    Published,
    TransientFailure,
)
from sluicegate.rollout.transitions import gives_up_restoring, request_abort
from sluicegate.store.errors import StaleRevision
from sluicegate.store.store import Store
from sluicegate.store.versions import PublishedVersion


class Runner:
    """Runs actions, and turns the errors of AWS into outcomes."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        targets: Targets,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._locks = store.locks
        self._versions = store.versions
        self._deployments = store.deployments
        self._targets = targets
        self._clock = clock
        self._source = CodeSource(artifacts, targets, clock)
        self._publisher = Publisher(store.locks, store.versions, self._source, sleep, clock)
        self._mover = AliasMover(store.locks, store.deployments)
        self._restorer = AliasRestorer(store.locks, clock)
        self._origins = Origins(store.versions, store.deployments)
        self._quota = CallQuota(store.calls, targets.meter)

    def run(
        self, deployment: Deployment, action: Action, turn: Turn
    ) -> tuple[Outcome, PublishedVersion | None]:
        """Run one action. Return its outcome, and what to record of a version that it published.

        An error of AWS is an outcome, never raised; the table's are raised before anything is done.
        """
        if waits := self._quota.admit(deployment, action):
            return waits, None
        if isinstance(action, Observe) and may_skip_alias(deployment, self._clock()):
            action = replace(action, reads_alias=self._quota.may_read_alias(deployment))
        result = self._attempt(deployment, action, turn)
        self._quota.settle(deployment)
        if isinstance(result.outcome, Denied):
            # It may be the session that is not accepted any more: of a role that was made again, or expired.
            self._targets.forget(deployment)
        if isinstance(action, Restore) and gives_up_restoring(deployment, result.outcome, self._clock()):
            return self._look_again(deployment, action, result.outcome), None
        return result.outcome, result.published

    def blocked(self, deployment: Deployment) -> None:
        """Note that a deployment that was to begin waits for another one instead."""
        self._quota.give_back(deployment)

    def _attempt(self, deployment: Deployment, action: Action, turn: Turn) -> PublishResult:
        try:
            if isinstance(action, Publish):
                result = self._publisher.publish(deployment, self._targets.access(deployment).function, turn)
            else:
                result = PublishResult(self._run(deployment, action, turn))
            if isinstance(result.outcome, Published):
                function = self._targets.access(deployment).function
                return self._origins.describe(deployment, function, result, turn)
            return result
        except LambdaError as error:
            return PublishResult(self._lambda_outcome(error, deployment))
        except LookFailed as error:
            failed = Denied if error.denied else TransientFailure
            return PublishResult(failed(error.code, error.message))
        except (ClientError, BotoCoreError) as error:
            return PublishResult(_aws_outcome(error, deployment.plan))

    def _look_again(self, deployment: Deployment, action: Restore, failed: Outcome) -> Outcome:
        """Read the alias before it counts as unknown: it may be restored, or known not to be."""
        try:
            return look_again(deployment, self._targets.access(deployment).function, action, failed)
        except (LambdaError, ClientError, BotoCoreError):
            return failed

    def _run(self, deployment: Deployment, action: Action, turn: Turn) -> Outcome:
        match action:
            case Abort():
                return Aborted()
            case AwaitApproval():
                return self._before_approval(deployment)
            case AwaitHandover(predecessor):
                if self._locks.holds_alias(deployment):
                    return HandedOver()
                if deployment.plan.proposed:
                    self._supersede(deployment, predecessor)
                return Blocked(predecessor)
            case Lock():
                # The transaction that saves this outcome takes the lock. What waits for it does not look.
                if deployment.status is not Status.QUEUED:
                    function = self._targets.access(deployment).function
                    look = self._publisher.look(deployment, function, turn)
                    if not isinstance(look, FirstLook):
                        return look
                    turn.look = look
                return Locked()
            case ReuseVersion():
                return reuse(deployment, self._targets.access(deployment).function, action)
            case Verify():
                return verify(deployment, self._targets.access(deployment), action)
            case Shift():
                return self._mover.shift(deployment, self._targets.access(deployment).function, action, turn)
            case Observe():
                return observe(deployment, self._targets.access(deployment), action, self._clock())
            case Restore():
                return self._restorer.restore(deployment, self._targets.access(deployment).function, action)
            case End() | Publish():  # a final record has nothing to run, and `run` publishes
                raise ValueError(f"deployment {deployment.id} is {deployment.status}: cannot run {action}")
            case _ as never:
                assert_never(never)

    def _supersede(self, deployment: Deployment, predecessor: str) -> None:
        """End what an approved proposal supersedes, which its acceptance left alone. Repeated until then."""
        holder = self._deployments.get(predecessor)
        if holder is None or holder.status.final or _is_on_its_way_back(holder):
            return
        message = f"deployment {deployment.id} supersedes it"
        reason = Reason("superseded", message, {"by": deployment.id})
        after = request_abort(holder, reason, message, self._clock())
        if after is not holder:
            with suppress(StaleRevision):
                self._deployments.save(holder, after)

    def _before_approval(self, deployment: Deployment) -> Outcome:
        """Ask for approval, unless it can be seen to be in vain. Behind another deployment, nothing can."""
        if deployment.supersedes is not None:
            return ApprovalRequested()
        if deployment.status is not Status.AWAITING_APPROVAL:
            try:
                target = self._targets.access(deployment)
                return preflight(deployment, target, self._source, self._versions)
            except LambdaUnavailable:  # that says nothing: all of it is looked at again after the approval
                return ApprovalRequested()
        if deployment.version is None:
            return ApprovalRequested()
        try:
            return before_approval(deployment, self._targets.access(deployment).function)
        except (ClientError, BotoCoreError):
            return ApprovalRequested()

    def _lambda_outcome(self, error: LambdaError, deployment: Deployment) -> Outcome:
        """Return what an error of Lambda means. Only a second answer makes a function count as missing."""
        if not isinstance(error, LambdaNotFound):
            return _lambda_outcome(error, deployment.plan)
        try:
            self._targets.access(deployment).function.version()
        except LambdaNotFound:
            target = deployment.plan.target
            location = f"account {target.account}, region {target.region}"
            message = f"function {deployment.function} does not exist in {location}"
            return PermanentFailure("function_not_found", message)
        except LambdaError as second:
            return _lambda_outcome(second, deployment.plan)
        except (ClientError, BotoCoreError) as second:  # a new session was needed
            return _aws_outcome(second, deployment.plan)
        return TransientFailure(error.code, f"Lambda did not find something that was there: {error.message}")


def _is_on_its_way_back(deployment: Deployment) -> bool:
    """Return whether it is a rollback that waits for nobody: maybe a proposal too, approved since."""
    return deployment.action == "rollback" and (not deployment.plan.proposed or deployment.is_approved)


def _lambda_outcome(error: LambdaError, plan: Plan) -> Outcome:
    match error:
        case LambdaAccessDenied() if plan.role and error.code in refusals.UNKNOWN_CREDENTIALS:
            message = f"{refusals.where(plan)}: Lambda does not know the account: is the region enabled?"
            return Denied(error.code, f"{message} {error.message}")
        case LambdaAccessDenied():
            return Denied(error.code, f"the target role is not allowed to do this: {error.message}")
        case StaleLambdaRevision():
            return TransientFailure(error.code, "someone else is changing the function")
        case LambdaConflict():
            return TransientFailure(error.code, f"Lambda is busy with the function: {error.message}")
        case LambdaThrottled():
            message = f"Lambda throttles its control plane: {error}"
            return TransientFailure(error.code, message, throttled=True)
        case LambdaUnavailable():
            return TransientFailure(error.code, f"Lambda is temporarily unavailable: {error}")
        case _:
            message = f"Lambda rejected the request: {error.code}: {error.message}"
            return PermanentFailure("lambda_refused", message, {"error": error.code})


def _aws_outcome(error: ClientError | BotoCoreError, plan: Plan) -> Outcome:
    """Map an error of S3, STS, CloudWatch, DynamoDB or Step Functions, with AWS's own words."""
    if isinstance(error, StsUnreachable):
        return refusals.unreachable(plan, error.code)
    if plan.role and isinstance(error, ClientError) and error.operation_name == "AssumeRole":
        refusal = refusals.of_entry(error, plan)
        if refusal is not None:
            return refusal
    code, message = error_code(error), error_message(error)
    call = error.operation_name if isinstance(error, ClientError) else "a call"
    match classify(error):
        case ErrorKind.DENIED:
            return Denied(code, f"AWS denied {call}: {message}")
        case ErrorKind.PERMANENT | ErrorKind.NOT_FOUND:
            return PermanentFailure("aws_refused", f"AWS refused {call}: {code}: {message}", {"error": code})
        case ErrorKind.CONFLICT:
            return TransientFailure(code, f"something else was changed at the same time: {call}: {code}")
        case ErrorKind.THROTTLED | ErrorKind.UNAVAILABLE:
            return TransientFailure(code, f"an AWS service is temporarily unavailable: {call}: {code}")
        case _ as never:
            assert_never(never)
