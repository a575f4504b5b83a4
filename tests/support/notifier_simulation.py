"""A record, a notifier and a model of GitLab with the notifier's table, secret and network between them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import Any, cast

from botocore.exceptions import ClientError

from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.deployment.model import Deployment, Requester, Status
from sluicegate.http_client import MAX_BODY, FetchError, HttpResponse, TooLargeError
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.notifier.notifier import Notifier
from sluicegate.notifier.reporting import Reporting
from sluicegate.oidc.identity import Feedback, Issuer
from sluicegate.store.commits import Commits
from sluicegate.store.table import Table
from stand.gitlab_api import Api
from stand.gitlab_merge_requests import Listed
from support.simulation import START, TABLE, Clock, Killed, dynamodb, new_deployment

SHA = "714a629c0b401fdce83e847fc9589983fc6f46bc"
URL = "https://gitlab.example.com"
SECRET = "sluicegate/gitlab/corp"
BOTH = Feedback(SECRET, commit_status=True, deployment=True, merge_request_note=True)
JOB = Requester(
    URL,
    "4213",
    project_path="acme/orders",
    job_id="302",
    pipeline_id="574",
    ref="v1.4.0",
    ref_type="tag",
    sha=SHA,
    environment="production",
    environment_action="start",
)
"""A job with the keyword `environment`: GitLab makes a deployment for it."""

PLAIN_JOB = replace(JOB, environment=None, environment_action=None)
HOOK = replace(PLAIN_JOB, job_id=None, pipeline_id=None, webhook="orders-tags")
PERSON = Requester(URL, "", user_id="7", user_login="ada", via="session", actor="person")
NAME = "sluicegate/orders:prod"


def deployment(status: Status = Status.ACCEPTED, by: Requester = JOB, at: float = START) -> Deployment:
    accepted = replace(new_deployment(at, "a" * 64), requested_by=by)
    return accepted if status is Status.ACCEPTED else accepted.changed(at + 1, "so it goes", status)


FAULTS = ("none", "unsent", "unseen", "late", "busy", "killed before", "killed after")
"""The ways in which a request to GitLab can end. `late`: it takes effect after the client has given up."""


@dataclass
class NotifierSimulation:
    """A notifier between a store and GitLab's API, with the faults of the network in its way."""

    feedback: Feedback | None = BOTH
    issuer: str = URL
    clock: Clock = field(default_factory=Clock)
    api: Api = field(default_factory=Api)
    records: dict[str, Deployment] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    late: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    takes: float = 0.0
    """Seconds until GitLab has done what a request asks for, whether or not its client has given up."""

    def __post_init__(self) -> None:
        self.secrets = FakeSecrets(self.api.tokens[0])
        self.tokens = CachedSecrets(cast(Any, self.secrets), self.clock)
        table = Table(cast(Any, dynamodb(self.clock)), TABLE)
        self.commits = Commits(table, self.clock)
        reporting = Reporting(
            store=self,  # type: ignore[arg-type]
            ledger=StatusLedger(table, self.clock),
            gate=lambda: self,  # type: ignore[arg-type, return-value]
            tokens=self.tokens,
            log=lambda event, **fields: self.log.append({"event": event, **fields}),
            dropped=lambda code, **fields: self.dropped.append((code, fields)),
            clock=self.clock,
            stack="5f1d",
        )
        self.notifier = Notifier(reporting)

    @property
    def issuers(self) -> dict[str, Issuer]:
        audience = "https://deploy.example.com"
        return {self.issuer: Issuer("corp", self.issuer, audience, feedback=self.feedback, gitlab_url=URL)}

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """The store's repository of records, as far as the notifier uses it."""
        return self.records

    def save(self, *deployments: Deployment) -> None:
        for one in deployments:
            self.records[one.id] = one

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        due = [act for at, act in self.late if at <= self.clock()]
        self.late = [(at, act) for at, act in self.late if at > self.clock()]
        for act in due:
            act()

    def exchange(
        self,
        url: str,
        method: str = "GET",
        *,
        seconds: float,
        headers: Any = None,
        body: bytes | None = None,
        most: int = MAX_BODY,
    ) -> HttpResponse:
        assert 0 < seconds <= 5
        assert url.startswith(f"{URL}/api/v4/")
        target = url.removeprefix(URL)
        self.requests.append((method, target))
        self.meanwhile()
        fault = self.faults.pop(0) if self.faults else "none"

        def act() -> HttpResponse:
            status, content = self.api.answer(method, target, headers, body or b"")
            sent = Message()
            for name, value in content.headers.items() if isinstance(content, Listed) else ():
                sent[name] = value
            answered = json.dumps(content).encode()
            if len(answered) > most:
                raise TooLargeError(f"more than {most} bytes")
            return HttpResponse(status, sent, answered)

        if self.takes > seconds:
            self.late.append((self.clock() + self.takes, act))
            self.sleep(seconds)
            raise FetchError("deadline")
        self.sleep(self.takes)
        match fault:
            case "unsent":
                raise FetchError("deadline")
            case "unseen":
                act()
                raise FetchError("deadline")
            case "late":
                self.late.append((self.clock() + 15, act))
                raise FetchError("deadline")
            case "busy":
                return HttpResponse(503, Message(), b"")
            case "killed before":
                raise Killed
            case "killed after":
                act()
                raise Killed
        return act()

    def writes(self) -> list[str]:
        """Return the requests that change something, without `/api/v4/projects/`."""
        prefix = "/api/v4/projects/"
        return [f"{method} {path.removeprefix(prefix)}" for method, path in self.requests if method != "GET"]

    def shown(self) -> list[str]:
        """Return the states of the commit's statuses as GitLab's pipeline shows them."""
        return [one["status"] for one in self.api.statuses if not one["retried"]]


@dataclass
class FakeSecrets:
    """Secrets Manager with one secret."""

    text: str
    reads: int = 0
    error: str = ""

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        assert SecretId == SECRET
        self.reads += 1
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "GetSecretValue")
        return {"SecretString": self.text}
