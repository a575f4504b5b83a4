"""Report deployments to GitLab: as commit statuses, deployments of its environments, and notes.

Events arrive late, twice and in any order. So an event only names the deployment: the state that is reported
is read from the record under a lease, and the record never goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.notifier.read_commit import read_commit
from sluicegate.notifier.report_deployments import report_deployments
from sluicegate.notifier.report_note import report_note
from sluicegate.notifier.report_status import report_status
from sluicegate.notifier.reporting import Reporting
from sluicegate.store.leases import LeaseHeld

SECONDS: Final = 75.0
"""How long all reports of one event may take: the function ends after 90 seconds."""

_REPORTS: Final = (report_deployments, report_status, report_note, read_commit)

_FIRST: Final = (TransientError, LeaseHeld, PermanentError)
"""The error that counts where there are several: one that a retry may end comes first."""

_NO_TOKEN: Final = ("secret", "status 401")
"""Errors that every report would end with."""


@dataclass(frozen=True)
class Notifier:
    """Reports the state of a deployment to GitLab."""

    reporting: Reporting

    def concerns(self, detail: Mapping[str, Any]) -> bool:
        """Return whether a GitLab may receive anything of this event, by those that it names.

        Nothing else of an event is used: what is reported is read from the record.
        """
        issuers = self.reporting.gate().issuers
        if not isinstance(by := detail.get("requested_by"), Mapping):
            return True
        built = detail.get("built")
        named = (by.get("issuer"), built.get("issuer") if isinstance(built, Mapping) else None)
        return any(issuer.feedback for name, issuer in issuers.items() if name in named)

    def sync(self, deployment_id: str) -> None:
        """Send GitLab the updates that it lacks, if any. A report that fails keeps no other one back.

        Raises TransientError or LeaseHeld if it must be retried, PermanentError if a retry cannot help.
        """
        if not self.reporting.has_receivers():
            return
        deployment = self.reporting.deployment(deployment_id)
        deadline = self.reporting.clock() + SECONDS
        errors: list[TransientError | LeaseHeld | PermanentError] = []
        for report in _REPORTS:
            try:
                report(self.reporting, deployment, deadline)
            except _FIRST as error:
                errors.append(error)
                if isinstance(error, PermanentError) and error.code in _NO_TOKEN:
                    break
        if errors:
            raise min(errors, key=lambda error: _FIRST.index(type(error)))
