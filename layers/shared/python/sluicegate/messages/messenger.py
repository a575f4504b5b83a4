"""Report deployments to channels and programs, as the gate file's `notify` says.

An event only names a deployment. Which of its statuses were reported is in the table, under a lease: events
arrive late, twice and in any order.

    pk            sk      item
    message#ID    NAME    the statuses that were sent to the entry `NAME` of `notify`; its lease

An incoming webhook cannot change a message, so a channel gets one for each status. What has passed by the
time that it can be sent is of no use to people, and is left out; a program gets all of it, in order.
"""

import json
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.ulid import is_id
from sluicegate.gate.notifications import Notification
from sluicegate.gate.policy import Gate
from sluicegate.http_client import FetchError, HttpResponse
from sluicegate.messages import forms
from sluicegate.messages.content import content, event, reached
from sluicegate.messages.destination import Destination, parse
from sluicegate.store.keys import Key
from sluicegate.store.leases import LeaseHeld, Leases
from sluicegate.store.store import Store

SECONDS: Final = 75.0
"""How long all messages of one event may take: the function ends after 90 seconds."""

REQUEST_SECONDS: Final = 5.0

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer: a wrong URL answers with a web page, and its status must be seen."""

_LONGEST_WAIT: Final = 3_600
"""Seconds of a `Retry-After` that are believed."""

_RETRYABLE: Final = frozenset({408, 425, 429})

_FIRST: Final = (TransientError, LeaseHeld, PermanentError)
"""The error that counts where there are several: one that a retry may end comes first."""


@dataclass(frozen=True)
class Messenger:
    """Sends messages. `gate` returns the gate file in force or raises GateError; `log` gets one event each.

    `board` is the address of the board, `clock` returns epoch seconds.
    """

    store: Store
    leases: Leases
    gate: Callable[[], Gate]
    secrets: CachedSecrets
    log: Callable[..., None]
    board: str
    clock: Callable[[], float] = time.time

    def sync(self, deployment_id: str) -> None:
        """Send what was not sent yet. An entry of `notify` that fails keeps no other one back.

        Raises TransientError or LeaseHeld if it must be retried, PermanentError if a retry cannot help.
        """
        notifications = self.gate().notifications
        if not notifications:
            return
        deployment = self._deployment(deployment_id)
        deadline = self.clock() + SECONDS
        errors: list[TransientError | LeaseHeld | PermanentError] = []
        # Another one is the first each time: many that do not answer use up the time, but of all in turn.
        first = int(self.clock()) % len(notifications)
        for notification in (*notifications[first:], *notifications[:first]):
            try:
                self._send(notification, deployment, deadline)
            except _FIRST as error:
                errors.append(error)
        if errors:
            raise min(errors, key=lambda error: _FIRST.index(type(error)))

    def _send(self, notification: Notification, deployment: Deployment, deadline: float) -> None:
        """Send one entry's messages, in the order of the statuses."""
        if not due(notification, deployment, ()):
            return
        key: Key = {"pk": f"message#{deployment.id}", "sk": notification.name}
        entry = self.leases.entry(key)
        sent = list(entry.values.get("sent", ()))
        if not due(notification, deployment, sent):
            return
        self.secrets.text(notification.secret)  # before the lease, because it may be slow
        lease = self.leases.acquire(key, entry)
        try:
            deployment = self._deployment(deployment.id)
            for status in due(notification, deployment, sent):
                self._deliver(notification, deployment, status, min(lease.sends_until, deadline))
                sent.append(status.value)
        except TransientError:
            # The other side may still be at it: nobody sends the same before that must be over.
            self.leases.release(lease, {"sent": sent}, until=lease.until)
            raise
        except PermanentError:
            self.leases.release(lease, {"sent": sent})
            raise
        self.leases.release(lease, {"sent": sent})

    def _deliver(
        self, notification: Notification, deployment: Deployment, status: Status, until: float
    ) -> None:
        """Send one message. After a refusal the secret is read again: its URL may have been replaced."""
        text = self.secrets.text(notification.secret)
        destination = parse(notification.type, text, notification.secret)
        try:
            self._post(notification, destination, deployment, status, until)
        except PermanentError:
            fresh = self.secrets.text(notification.secret, other_than=text)
            if fresh == text:
                raise
            destination = parse(notification.type, fresh, notification.secret)
            self._post(notification, destination, deployment, status, until)

    def _post(
        self,
        notification: Notification,
        destination: Destination,
        deployment: Deployment,
        status: Status,
        until: float,
    ) -> None:
        body, headers = self._request(notification, destination, deployment, status)
        left = min(REQUEST_SECONDS, until - self.clock())
        if left <= 0:
            raise TransientError("no time left")
        try:
            answer = http_client.exchange(
                destination.url, "POST", seconds=left, headers=headers, body=body, most=MAX_ANSWER
            )
        except FetchError as error:
            # Its text can contain parts of the URL, which is a secret.
            raise TransientError(f"{notification.name}: {type(error.__cause__ or error).__name__}") from None
        _check(notification, answer)
        self.log(
            "message_sent",
            notification=notification.name,
            status=status.value,
            deployment=deployment.id,
            revision=deployment.revision,
        )

    def _request(
        self, notification: Notification, destination: Destination, deployment: Deployment, status: Status
    ) -> tuple[bytes, dict[str, str]]:
        headers = {"Content-Type": "application/json"}
        if notification.type == "webhook":
            entry = reached(deployment)[status]
            body = json.dumps(event(deployment, status, entry, self.board), separators=(",", ":"))
            return body.encode(), headers | self._signed(
                destination, f"msg_{deployment.id}_{status.value}", body
            )
        form = forms.slack if notification.type == "slack" else forms.teams
        return json.dumps(form(content(deployment, status, self.board))).encode(), headers

    def _signed(self, destination: Destination, message_id: str, body: str) -> dict[str, str]:
        """Return the headers of Standard Webhooks: the id is the same at each attempt, the time is not.

        Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md,
        November 2026.
        """
        from standardwebhooks import Webhook as Signer  # imported here: no other path needs it

        now = datetime.fromtimestamp(int(self.clock()), UTC)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                Signer(key).sign(message_id, now, body) for key in destination.keys
            ),
        }

    def _deployment(self, deployment_id: str) -> Deployment:
        found = self.store.deployments.get(deployment_id) if is_id(deployment_id) else None
        if found is None:
            raise PermanentError("no_such_deployment")
        return found


def due(notification: Notification, deployment: Deployment, sent: Collection[str]) -> list[Status]:
    """Return the statuses that an entry wants and has not got, in order: of a channel, the current one."""
    wanted = [
        status
        for status in reached(deployment)
        if status.value not in sent and notification.wants(deployment.function, deployment.stage, status)
    ]
    return wanted if notification.type == "webhook" else [one for one in wanted if one is deployment.status]


def _check(notification: Notification, answer: HttpResponse) -> None:
    """Raise for every answer but a success. What else the other side says is not for a log."""
    if 200 <= answer.status < 300:
        return
    code = f"{notification.name}: status {answer.status}"
    if answer.status in _RETRYABLE or answer.status >= 500:
        after = answer.headers.get("Retry-After", "")
        raise TransientError(code, min(int(after), _LONGEST_WAIT) if re.fullmatch("[0-9]{1,5}", after) else 0)
    raise PermanentError(code)
