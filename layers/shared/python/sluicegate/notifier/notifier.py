"""Answers back: from an event that something changed to GitLab's commit statuses and deployments.

Events come late, twice and in any order. So an event only says which deployment to look at: what is told is
its present state, read from the record by whoever has claimed the status, and the record never goes back.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.ulid import is_id
from sluicegate.gate.policy import Gate, GateError
from sluicegate.notifier import commit_status
from sluicegate.notifier.commit_status import Mirror, State, Told
from sluicegate.notifier.gitlab_api import GitLab, Refused, Tokens, TransientError
from sluicegate.notifier.ledger import Leased, StatusLedger
from sluicegate.store.store import Store

FIRST_PAUSE: Final = 30
LONGEST_PAUSE: Final = 900
"""Seconds until a message that could not be told comes again; doubled each time, from the first to this."""


@dataclass(frozen=True)
class Notifier:
    """Tells GitLab how a deployment goes.

    `gate` gives the gate file in force or raises GateError; `note` is told of each thing that was said;
    `clock` gives epoch seconds.
    """

    store: Store
    notebook: StatusLedger
    gate: Callable[[], Gate]
    tokens: Tokens
    note: Callable[..., None]
    clock: Callable[[], float] = time.time

    def tell(self, deployment_id: str) -> None:
        """Tell GitLab what it has not been told yet, which may be nothing.

        Raises TransientError or Leased where that has to be tried again, Refused where trying again is of no
        use.
        """
        deployment = self._deployment(deployment_id)
        issuer = self.gate().issuers.get(deployment.requested_by.issuer)
        subject = commit_status.subject(deployment)
        if issuer is None or issuer.feedback is None or subject is None:
            return
        line = self.notebook.line(subject)
        mirror = self.notebook.mirror(deployment.id)
        if not commit_status.words(deployment, issuer.feedback, line.told, mirror):
            return
        self.tokens.token(issuer.feedback.secret)  # before the claim, for it may take its time
        claim = self.notebook.claim(subject, line)
        # Read after the claim: whoever claims next knows no less, so no older word can follow a newer one.
        deployment = self._deployment(deployment_id)
        mirror = self.notebook.mirror(deployment.id)
        words = commit_status.words(deployment, issuer.feedback, line.told, mirror)
        gitlab = GitLab(issuer.url, issuer.feedback.secret, self.tokens, claim.until, self.clock)
        told = line.told
        try:
            if words.status:
                gitlab.set_status(subject.project_id, subject.sha, commit_status.status_fields(deployment))
                told = Told(deployment.id, words.status)
                self._said("status", deployment, words.status)
            if words.deployment:
                self._mirror(gitlab, deployment, words.deployment, mirror)
                self._said("deployment", deployment, words.deployment)
        except TransientError:
            # GitLab may be at it still: nobody says anything newer before it must be done.
            self.notebook.settle(claim, told, until=claim.until)
            raise
        except Refused:
            self.notebook.settle(claim, told)
            raise
        self.notebook.settle(claim, told)

    def _mirror(self, gitlab: GitLab, deployment: Deployment, state: State, mirror: Mirror | None) -> None:
        """GitLab's own deployment gets this state; made where there is none yet."""
        project, number = deployment.requested_by.project_id, mirror.number if mirror else None
        if mirror and number is None:
            asked = commit_status.deployment_fields(deployment, mirror.state)
            number = gitlab.find_deployment(project, asked)
        if number is None:
            self.notebook.note(deployment.id, Mirror(None, state))
            number = gitlab.create_deployment(project, commit_status.deployment_fields(deployment, state))
        elif mirror and mirror.state is not state:
            gitlab.update_deployment(project, number, state)
        self.notebook.note(deployment.id, Mirror(number, state))

    def _deployment(self, deployment_id: str) -> Deployment:
        found = self.store.deployment(deployment_id) if is_id(deployment_id) else None
        if found is None:
            raise Refused("no_such_deployment")
        return found

    def _said(self, what: str, deployment: Deployment, state: State) -> None:
        self.note(
            "told",
            what=what,
            state=state.value,
            deployment=deployment.id,
            revision=deployment.revision,
            issuer=deployment.requested_by.issuer,
            project_id=deployment.requested_by.project_id,
        )


@dataclass(frozen=True)
class Inbox:
    """The queue of events for the notifier. `client` is an SQS client.

    `delayed` and `refused` are told of each message that comes again, or was set aside, with a code.
    """

    notifier: Notifier
    client: Any
    queue: str
    dead_letters: str
    delayed: Callable[..., None]
    refused: Callable[..., None]

    def hear(self, messages: Iterable[Mapping[str, Any]]) -> list[str]:
        """The ids of the messages that come again; all others are done with.

        What GitLab refuses is set aside at once, for trying again is of no use before somebody acts.
        """
        return [message["messageId"] for message in messages if not self._done(message)]

    def _done(self, message: Mapping[str, Any]) -> bool:
        deployment_id = ""
        try:
            deployment_id = _deployment_of(message["body"])
            self.notifier.tell(deployment_id)
        except Leased as other:
            self._later(message, other.seconds)
        except TransientError as trouble:
            seconds = max(trouble.seconds, pause(_times(message)))
            self.delayed(trouble.code, deployment=deployment_id, seconds=seconds)
            self._later(message, seconds)
        except (GateError, ClientError, BotoCoreError) as error:
            code = "gate" if isinstance(error, GateError) else clients.error_code(error)
            self.delayed(code, deployment=deployment_id, seconds=pause(_times(message)))
            self._later(message, pause(_times(message)))
        except Refused as refusal:
            self.client.send_message(QueueUrl=self.dead_letters, MessageBody=message["body"])
            self.refused(refusal.code, deployment=deployment_id, detail=refusal.detail)
            return True
        else:
            return True
        return False

    def _later(self, message: Mapping[str, Any], seconds: float) -> None:
        self.client.change_message_visibility(
            QueueUrl=self.queue,
            ReceiptHandle=message["receiptHandle"],
            VisibilityTimeout=min(ceil(seconds) + 1, LONGEST_PAUSE),
        )


def _deployment_of(body: str) -> str:
    """The deployment that an event is about; nothing else of it is used. Raises Refused for what is none."""
    try:
        return str(json.loads(body)["detail"]["id"])
    except (KeyError, TypeError, ValueError):
        raise Refused("not_an_event") from None


def _times(message: Mapping[str, Any]) -> int:
    """How often the message came, this time included."""
    return int(message["attributes"]["ApproximateReceiveCount"])


def pause(times: int) -> int:
    """Seconds until a message comes again that came so often."""
    return int(min(FIRST_PAUSE * 2 ** min(times - 1, 10), LONGEST_PAUSE))
