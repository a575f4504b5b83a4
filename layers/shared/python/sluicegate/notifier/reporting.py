"""What all reports to GitLab have in common: records, the ledger's leases, and the log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluicegate.delivery.errors import PermanentError, TransientError, UndeliverableError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.deployment.model import Deployment, Requester
from sluicegate.deployment.ulid import is_id
from sluicegate.gate.policy import Gate
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.oidc.identity import Feedback, Issuer
from sluicegate.store.keys import Key
from sluicegate.store.leases import LedgerEntry
from sluicegate.store.store import Store

Sent = Mapping[str, Any]


@dataclass(frozen=True)
class Reporting:
    """What a report needs.

    `gate` returns the gate file in force or raises GateError; `log` gets one event for each report, and
    `dropped` a code and the known fields of what GitLab can never show; `clock` returns epoch seconds.
    `stack` tells this stack's notes from those of others, `board` is the address of its board, if any.
    """

    store: Store
    ledger: StatusLedger
    gate: Callable[[], Gate]
    tokens: CachedSecrets
    log: Callable[..., None]
    dropped: Callable[..., None]
    clock: Callable[[], float] = time.time
    stack: str = ""
    board: str | None = None

    def deployment(self, deployment_id: str) -> Deployment:
        """Return the record. Raises PermanentError if there is none."""
        found = self.find(deployment_id)
        if found is None:
            raise PermanentError("no_such_deployment")
        return found

    def find(self, deployment_id: str) -> Deployment | None:
        """Return the record, or None if there is none."""
        return self.store.deployments.get(deployment_id) if is_id(deployment_id) else None

    def has_receivers(self) -> bool:
        """Return whether any GitLab receives anything."""
        return any(issuer.feedback for issuer in self.gate().issuers.values())

    def receiver(self, by: Requester) -> tuple[Issuer, Feedback] | None:
        """Return the GitLab that a request came from, and what it receives; None if that is nothing."""
        issuer = self.gate().issuers.get(by.issuer)
        return (issuer, issuer.feedback) if issuer and issuer.feedback else None

    def gitlab(self, receiver: tuple[Issuer, Feedback], until: float) -> GitLab:
        """Return a client that gives up at `until`."""
        issuer, feedback = receiver
        return GitLab(issuer.instance, feedback.secret, self.tokens, until, self.clock)

    def under_lease(
        self,
        key: Key,
        entry: LedgerEntry,
        receiver: tuple[Issuer, Feedback],
        deadline: float,
        act: Callable[[GitLab], Sent],
    ) -> None:
        """Lease the item, act, and set what `act` returns. Raises LeaseHeld.

        What `act` reads of the record is read under the lease: the next holder reads no older record, so
        no older state follows a newer one.
        """
        self.tokens.text(receiver[1].secret)  # before the lease, because it may be slow
        lease = self.ledger.acquire(key, entry)
        try:
            done = act(self.gitlab(receiver, min(lease.sends_until, deadline)))
        except TransientError:
            # GitLab may still be processing the request: nothing newer may be sent before that must be over.
            self.ledger.release(lease, until=lease.until)
            raise
        except PermanentError:
            self.ledger.release(lease)
            raise
        self.ledger.release(lease, done)

    def send(self, kind: str, deployment: Deployment, state: str, act: Callable[[], None]) -> bool:
        """Send one report, and log it; return False for one that GitLab can never show."""
        try:
            act()
        except UndeliverableError as error:
            self.dropped(error.code, kind=kind, deployment=deployment.id, detail=error.detail)
            return False
        self.log(
            "feedback_sent",
            kind=kind,
            state=state,
            deployment=deployment.id,
            revision=deployment.revision,
            issuer=deployment.requested_by.issuer,
            project_id=deployment.requested_by.project_id,
        )
        return True
