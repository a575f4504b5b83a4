"""Report deployments to GitLab as commit statuses and deployments.

Events arrive late, twice and in any order. So an event only names the deployment: the state that is reported
is read from the record under the lease of the commit status, and the record never goes back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.ulid import is_id
from sluicegate.gate.policy import Gate
from sluicegate.notifier import commit_status
from sluicegate.notifier.commit_status import CommitState, CommitStatusKey, GitLabDeployment, ReportedState
from sluicegate.notifier.gitlab_api import (
    AccessTokens,
    GitLab,
    PermanentError,
    TransientError,
    UndeliverableError,
)
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.store.store import Store


@dataclass(frozen=True)
class Notifier:
    """Reports the state of a deployment to GitLab.

    `gate` returns the gate file in force or raises GateError; `log` gets one event for each report, and
    `dropped` a code and the known fields of what GitLab can never show; `clock` returns epoch seconds.
    """

    store: Store
    ledger: StatusLedger
    gate: Callable[[], Gate]
    tokens: AccessTokens
    log: Callable[..., None]
    dropped: Callable[..., None]
    clock: Callable[[], float] = time.time

    def sync(self, deployment_id: str) -> None:
        """Send GitLab the updates that it lacks, if any.

        Raises TransientError or LeaseHeld if it must be retried, PermanentError if a retry cannot help.
        """
        deployment = self._deployment(deployment_id)
        issuer = self.gate().issuers.get(deployment.requested_by.issuer)
        key = commit_status.status_key(deployment)
        if issuer is None or issuer.feedback is None or key is None:
            return
        feedback = issuer.feedback
        entry = self.ledger.entry(key)
        mirror = self.ledger.gitlab_deployment(deployment.id)
        if not commit_status.pending_updates(deployment, feedback, entry.reported, mirror):
            return
        self.tokens.token(feedback.secret)  # before the lease, because it may be slow
        lease = self.ledger.acquire(key, entry)
        # Read under the lease: the next holder reads no older record, so no older state follows a newer one.
        deployment = self._deployment(deployment_id)
        mirror = self.ledger.gitlab_deployment(deployment.id)
        updates = commit_status.pending_updates(deployment, feedback, entry.reported, mirror)
        gitlab = GitLab(issuer.instance, feedback.secret, self.tokens, lease.until, self.clock)
        reported = entry.reported
        try:
            if updates.status:
                self._report(
                    "status", deployment, updates.status, partial(self._set_status, gitlab, deployment, key)
                )
                reported = ReportedState(deployment.id, updates.status)
            if updates.deployment:
                sync = partial(self._sync_deployment, gitlab, deployment, updates.deployment, mirror)
                self._report("deployment", deployment, updates.deployment, sync)
        except TransientError:
            # GitLab may still be processing the request: nothing newer may be sent before that must be over.
            self.ledger.release(lease, reported, until=lease.until)
            raise
        except PermanentError:
            self.ledger.release(lease, reported)
            raise
        self.ledger.release(lease, reported)

    def _report(
        self, kind: str, deployment: Deployment, state: CommitState, send: Callable[[], None]
    ) -> None:
        """Send one report, and log it. One that GitLab can never show is over with as well."""
        try:
            send()
        except UndeliverableError as error:
            self.dropped(error.code, kind=kind, deployment=deployment.id, detail=error.detail)
        else:
            self._log_report(kind, deployment, state)

    def _set_status(self, gitlab: GitLab, deployment: Deployment, key: CommitStatusKey) -> None:
        fields = commit_status.status_fields(deployment, gitlab.url)
        gitlab.set_status(key.project_id, key.sha, fields, deployment.requested_by.ref)

    def _sync_deployment(
        self, gitlab: GitLab, deployment: Deployment, state: CommitState, mirror: GitLabDeployment | None
    ) -> None:
        """Give GitLab's own deployment this state; create it if there is none."""
        project, number = deployment.requested_by.project_id, mirror.number if mirror else None
        if mirror and number is None:
            requested = commit_status.deployment_fields(deployment, mirror.state)
            number = gitlab.find_deployment(project, requested)
        if number is None:
            self.ledger.record_gitlab_deployment(deployment.id, GitLabDeployment(None, state))
            number = gitlab.create_deployment(project, commit_status.deployment_fields(deployment, state))
        elif mirror and mirror.state is not state:
            gitlab.update_deployment(project, number, state)
        self.ledger.record_gitlab_deployment(deployment.id, GitLabDeployment(number, state))

    def _deployment(self, deployment_id: str) -> Deployment:
        deployment = self.store.deployments.get(deployment_id) if is_id(deployment_id) else None
        if deployment is None:
            raise PermanentError("no_such_deployment")
        return deployment

    def _log_report(self, kind: str, deployment: Deployment, state: CommitState) -> None:
        self.log(
            "feedback_sent",
            kind=kind,
            state=state.value,
            deployment=deployment.id,
            revision=deployment.revision,
            issuer=deployment.requested_by.issuer,
            project_id=deployment.requested_by.project_id,
        )
