"""GitLab is told how deployments go: the right last word, whatever comes twice, late, or not at all."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from sluicegate import http_client
from sluicegate.deployment.model import Deployment, Reason, Requester, Status
from sluicegate.gate.policy import GateError
from sluicegate.http_client import FetchError, HttpResponse
from sluicegate.notifier import commit_status
from sluicegate.notifier.commit_status import STATES, Mirror, State, Subject, Told, Words
from sluicegate.notifier.gitlab_api import Refused, Tokens, TransientError
from sluicegate.notifier.ledger import LEASE, Leased, StatusLedger
from sluicegate.notifier.notifier import FIRST_PAUSE, LONGEST_PAUSE, Inbox, Notifier
from sluicegate.oidc.identity import Feedback, Issuer
from sluicegate.store.codec import marshal, unmarshal
from sluicegate.store.store import digest
from stand.gitlab_api import Api
from support.world import OWN, START, TABLE, Clock, Killed, create_table, new_deployment

SHA = "714a629c0b401fdce83e847fc9589983fc6f46bc"
URL = "https://gitlab.example.com"
SECRET = "sluicegate/gitlab/corp"
BOTH = Feedback(SECRET, commit_status=True, deployment=True)
JOB = Requester(
    URL,
    "4213",
    project_path="acme/orders",
    job_id="302",
    pipeline_id="574",
    ref="v1.4.0",
    ref_type="tag",
    sha=SHA,
)
HOOK = replace(JOB, job_id=None, pipeline_id=None, webhook="orders-tags")
NAME = "sluicegate/orders:prod"


def deployment(status: Status = Status.ACCEPTED, by: Requester = JOB, at: float = START) -> Deployment:
    accepted = replace(new_deployment(at, "a" * 64), requested_by=by)
    return accepted if status is Status.ACCEPTED else accepted.changed(at + 1, "so it goes", status)


# What is to be said


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.ACCEPTED, "pending"),
        (Status.QUEUED, "pending"),
        (Status.AWAITING_APPROVAL, "pending"),
        (Status.PUBLISHING, "running"),
        (Status.VERIFYING, "running"),
        (Status.SHIFTING, "running"),
        (Status.BAKING, "running"),
        (Status.ROLLING_BACK, "running"),
        (Status.SUCCEEDED, "success"),
        (Status.FAILED, "failed"),
        (Status.ROLLED_BACK, "failed"),
        (Status.REJECTED, "canceled"),
        (Status.ABORTED, "canceled"),
    ],
)
def test_each_status_has_a_state_of_gitlabs(status: Status, state: str) -> None:
    assert STATES[status].value == state
    assert commit_status.status_fields(deployment(status))["state"] == state


def test_no_status_is_without_a_state() -> None:
    assert set(STATES) == set(Status)
    assert {status for status in Status if STATES[status].rank == 2} == {s for s in Status if s.final}


@pytest.mark.parametrize(
    ("status", "told", "said"),
    [
        (Status.ACCEPTED, None, State.PENDING),
        (Status.QUEUED, State.PENDING, None),
        (Status.PUBLISHING, State.PENDING, State.RUNNING),
        (Status.BAKING, State.RUNNING, None),
        (Status.QUEUED, State.RUNNING, None),
        (Status.SUCCEEDED, State.RUNNING, State.SUCCESS),
        (Status.SUCCEEDED, State.SUCCESS, None),
        (Status.FAILED, None, State.FAILED),
    ],
)
def test_only_what_is_new_is_said(status: Status, told: State | None, said: State | None) -> None:
    subject = deployment(status)
    before = Told(subject.id, told) if told else None
    assert commit_status.words(subject, BOTH, before, None) == Words(status=said)


def test_a_newer_deployment_has_the_last_word_on_a_status() -> None:
    older, newer = deployment(Status.FAILED), deployment(Status.ACCEPTED, at=START + 60)
    assert not commit_status.words(older, BOTH, Told(newer.id, State.PENDING), None)
    assert commit_status.words(newer, BOTH, Told(older.id, State.FAILED), None) == Words(State.PENDING)


@pytest.mark.parametrize(
    ("by", "status", "mirror", "said"),
    [
        (JOB, Status.PUBLISHING, None, None),
        (HOOK, Status.ACCEPTED, None, None),
        (HOOK, Status.PUBLISHING, None, State.RUNNING),
        (HOOK, Status.BAKING, Mirror(7, State.RUNNING), None),
        (HOOK, Status.BAKING, Mirror(None, State.RUNNING), State.RUNNING),
        (HOOK, Status.ROLLED_BACK, Mirror(7, State.RUNNING), State.FAILED),
        (HOOK, Status.ROLLED_BACK, Mirror(7, State.FAILED), None),
        (HOOK, Status.SUCCEEDED, None, State.SUCCESS),
    ],
)
def test_what_a_webhook_started_is_a_deployment_of_gitlabs_too(
    by: Requester, status: Status, mirror: Mirror | None, said: State | None
) -> None:
    assert commit_status.words(deployment(status, by), BOTH, None, mirror).deployment is said


def test_what_the_gate_file_leaves_out_is_not_said() -> None:
    running = deployment(Status.PUBLISHING, HOOK)
    statuses = Feedback(SECRET, commit_status=True, deployment=False)
    deployments = Feedback(SECRET, commit_status=False, deployment=True)
    assert commit_status.words(running, statuses, None, None) == Words(status=State.RUNNING)
    assert commit_status.words(running, deployments, None, None) == Words(deployment=State.RUNNING)


@pytest.mark.parametrize(
    "by",
    [
        replace(JOB, project_id=""),
        replace(JOB, project_id="../1"),
        replace(JOB, project_id="4213/hooks"),
        replace(JOB, sha=None),
        replace(JOB, sha="main"),
        replace(JOB, sha=SHA + "?x"),
        replace(JOB, ref=None),
    ],
)
def test_what_no_commit_of_a_project_asked_for_is_not_told(by: Requester) -> None:
    assert commit_status.subject(deployment(by=by)) is None


def test_a_status_is_of_the_jobs_pipeline_and_leads_to_the_job() -> None:
    fields = commit_status.status_fields(deployment(Status.PUBLISHING))
    assert fields == {
        "state": "running",
        "name": NAME,
        "description": "publishing: so it goes",
        "pipeline_id": 574,
        "target_url": f"{URL}/acme/orders/-/jobs/302",
    }


def test_a_status_without_a_pipeline_is_of_the_ref() -> None:
    fields = commit_status.status_fields(deployment(Status.PUBLISHING, HOOK))
    assert (fields["ref"], "pipeline_id" in fields, "target_url" in fields) == ("v1.4.0", False, False)


def test_a_deployment_of_gitlabs_is_of_the_stages_environment() -> None:
    fields = commit_status.deployment_fields(deployment(Status.PUBLISHING, HOOK), State.RUNNING)
    assert fields == {
        "environment": "prod",
        "sha": SHA,
        "ref": "v1.4.0",
        "tag": True,
        "status": "running",
    }


def test_a_description_says_how_far_a_bake_is() -> None:
    baking = replace(deployment(Status.BAKING), weight=10)
    assert commit_status.described(baking) == "baking 10 %: so it goes"


@given(st.text(max_size=400), st.sampled_from(sorted(Status)))
def test_a_description_is_one_line_that_gitlab_takes(message: str, status: Status) -> None:
    told = deployment().changed(START, message, status if status is not Status.ACCEPTED else None)
    text = commit_status.described(told)
    assert len(text) <= 255
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)


# The notebook


@pytest.fixture
def notebook() -> Iterator[tuple[StatusLedger, Clock]]:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name=OWN.region, aws_access_key_id="test", aws_secret_access_key="test"
        )
        create_table(client)
        clock = Clock()
        yield StatusLedger(client, TABLE, clock), clock


SUBJECT = Subject(URL, "4213", SHA, "574", NAME)


def test_what_was_told_is_remembered(notebook: tuple[StatusLedger, Clock]) -> None:
    book, _ = notebook
    claim = book.claim(SUBJECT, book.line(SUBJECT))
    book.settle(claim, Told("01K", State.RUNNING))
    line = book.line(SUBJECT)
    assert (line.told, line.until) == (Told("01K", State.RUNNING), 0)
    book.settle(book.claim(SUBJECT, line), None)
    assert book.line(SUBJECT).told == Told("01K", State.RUNNING)
    assert book.line(replace(SUBJECT, pipeline="575")).told is None


def test_one_speaks_at_a_time(notebook: tuple[StatusLedger, Clock]) -> None:
    book, clock = notebook
    before = book.line(SUBJECT)
    claim = book.claim(SUBJECT, before)
    with pytest.raises(Leased):
        book.claim(SUBJECT, before)
    clock.sleep(10)
    with pytest.raises(Leased) as claimed:
        book.claim(SUBJECT, book.line(SUBJECT))
    assert claimed.value.seconds == LEASE - 10
    book.settle(claim, None)
    book.claim(SUBJECT, book.line(SUBJECT))


def test_who_slept_through_the_claim_notes_nothing(notebook: tuple[StatusLedger, Clock]) -> None:
    book, clock = notebook
    late = book.claim(SUBJECT, book.line(SUBJECT))
    clock.sleep(LEASE)
    claim = book.claim(SUBJECT, book.line(SUBJECT))
    book.settle(claim, Told("01K", State.SUCCESS))
    book.settle(late, Told("01K", State.RUNNING))
    assert book.line(SUBJECT).told == Told("01K", State.SUCCESS)


def test_gitlabs_deployment_is_remembered(notebook: tuple[StatusLedger, Clock]) -> None:
    book, _ = notebook
    assert book.mirror("01K") is None
    for mirror in (Mirror(None, State.RUNNING), Mirror(7, State.RUNNING), Mirror(7, State.SUCCESS)):
        book.note("01K", mirror)
        assert book.mirror("01K") == mirror


# The notifier, against GitLab's rules


class Table:
    """DynamoDB, as far as the notebook goes."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:
        item = self.items.get(_key(Key))
        return {"Item": marshal(item)} if item else {}

    def put_item(self, *, Item: Any, **_: Any) -> None:
        self.items[_key(Item)] = unmarshal(Item)

    def update_item(
        self, *, Key: Any, ConditionExpression: str, ExpressionAttributeValues: Any, **_: Any
    ) -> None:
        item, values = self.items.get(_key(Key)), unmarshal(ExpressionAttributeValues)
        found = values.pop(":found", None)
        if (item or {}).get("claims") != found:
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
        assert (found is None) == (ConditionExpression == "attribute_not_exists(pk)")
        self.items[_key(Key)] = {**(item or unmarshal(Key)), **{name[1:]: v for name, v in values.items()}}


def _key(item: Any) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


FAULTS = ("none", "unsent", "unseen", "late", "busy", "killed before", "killed after")
"""What a request to GitLab can come to. `late`: nobody listens any more when GitLab does it."""


@dataclass
class World:
    """A record, GitLab's API, and what is between them."""

    feedback: Feedback | None = BOTH
    clock: Clock = field(default_factory=Clock)
    api: Api = field(default_factory=Api)
    records: dict[str, Deployment] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    late: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.secrets = Secrets(self.api.tokens[0])
        self.notifier = Notifier(
            store=self,  # type: ignore[arg-type]
            notebook=StatusLedger(Table(), TABLE, self.clock),
            gate=lambda: self,  # type: ignore[arg-type, return-value]
            tokens=Tokens(self.secrets, self.clock),
            note=lambda event, **facts: self.told.append({"event": event, **facts}),
            clock=self.clock,
        )

    @property
    def issuers(self) -> dict[str, Issuer]:
        return {URL: Issuer("corp", URL, "https://deploy.example.com", feedback=self.feedback)}

    def deployment(self, deployment_id: str) -> Deployment | None:
        return self.records.get(deployment_id)

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
        self, url: str, method: str = "GET", *, seconds: float, headers: Any = None, body: bytes | None = None
    ) -> HttpResponse:
        assert 0 < seconds <= 5
        assert url.startswith(f"{URL}/api/v4/")
        target = url.removeprefix(URL)
        self.requests.append((method, target))
        self.meanwhile()
        fault = self.faults.pop(0) if self.faults else "none"

        def act() -> HttpResponse:
            status, content = self.api.answer(method, target, headers, body or b"")
            return HttpResponse(status, Message(), json.dumps(content).encode())

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

    def shown(self) -> list[str]:
        """The states of the commit's statuses as GitLab's pipeline shows them."""
        return [one["status"] for one in self.api.statuses if not one["retried"]]


@dataclass
class Secrets:
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


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(http_client, "exchange", made.exchange)
    return made


def test_a_deployment_is_pending_running_and_at_its_end(world: World) -> None:
    one = deployment()
    world.save(one)
    world.notifier.tell(one.id)
    for status in (Status.PUBLISHING, Status.SHIFTING, Status.SUCCEEDED):
        one = one.changed(START, "on it", status)
        world.save(one)
        world.notifier.tell(one.id)
    [shown] = world.api.statuses
    assert shown["history"] == ["pending", "running", "success"]
    assert shown["description"] == "succeeded: on it"
    assert [fact["state"] for fact in world.told] == ["pending", "running", "success"]
    assert len(world.requests) == 3


def test_an_event_again_says_nothing(world: World) -> None:
    world.save(one := deployment(Status.SUCCEEDED))
    for _ in range(3):
        world.notifier.tell(one.id)
    assert len(world.requests) == 1
    assert world.secrets.reads == 1


def test_a_webhooks_deployment_is_one_of_gitlabs(world: World) -> None:
    running = deployment(Status.PUBLISHING, HOOK)
    world.save(running)
    world.notifier.tell(running.id)
    world.save(running.changed(START, "smoke failed", Status.FAILED, reason=Reason("smoke_failed", "no")))
    world.notifier.tell(running.id)
    [made] = world.api.deployments
    assert made["history"] == ["running", "failed"]
    assert (made["environment"], made["sha"], made["ref"], made["tag"]) == ("prod", SHA, "v1.4.0", True)


def test_without_answers_nothing_is_said(world: World) -> None:
    world.feedback = None
    world.save(one := deployment(Status.SUCCEEDED))
    world.notifier.tell(one.id)
    assert (world.requests, world.secrets.reads) == ([], 0)


def test_an_issuer_that_is_no_longer_in_the_gate_file_is_told_nothing(world: World) -> None:
    world.save(one := deployment(by=replace(JOB, issuer="https://elsewhere.example.com")))
    world.notifier.tell(one.id)
    assert world.requests == []


def test_while_one_speaks_the_other_comes_again_and_the_record_is_read_last(world: World) -> None:
    """Two at once: the older event's notifier is in the middle of its call when the newer one comes."""
    running = deployment(Status.PUBLISHING)
    world.save(running)

    def another() -> None:
        world.save(running.changed(START, "served", Status.SUCCEEDED))
        with pytest.raises(Leased):
            world.notifier.tell(running.id)

    world.meanwhile = another
    world.notifier.tell(running.id)
    world.meanwhile = lambda: None
    world.notifier.tell(running.id)
    assert world.shown() == ["success"]


def test_what_gitlab_does_when_nobody_listens_any_more_does_not_come_last(world: World) -> None:
    """`running` is given up and done 15 seconds later; said before that, the end would be followed by it."""
    running = deployment(Status.PUBLISHING)
    world.save(running)
    world.faults = ["late"]
    with pytest.raises(TransientError):
        world.notifier.tell(running.id)
    world.save(running.changed(START, "served", Status.SUCCEEDED))
    with pytest.raises(Leased):
        world.notifier.tell(running.id)
    world.sleep(LEASE)
    world.notifier.tell(running.id)
    assert world.shown() == ["success"]


@pytest.mark.parametrize("fault", ["unsent", "unseen", "late", "busy", "killed before", "killed after"])
def test_a_deployment_whose_making_nobody_saw_is_looked_for(world: World, fault: str) -> None:
    running = deployment(Status.PUBLISHING, HOOK)
    world.save(running)
    world.faults = ["none", fault]
    with pytest.raises((TransientError, Killed)):
        world.notifier.tell(running.id)
    world.sleep(LEASE)
    world.notifier.tell(running.id)
    assert [made["history"] for made in world.api.deployments] == [["running"]]
    world.save(running.changed(START, "served", Status.SUCCEEDED))
    world.notifier.tell(running.id)
    assert [made["history"] for made in world.api.deployments] == [["running", "success"]]


HISTORIES = (
    (Status.PUBLISHING, Status.SHIFTING, Status.SUCCEEDED),
    (Status.QUEUED, Status.PUBLISHING, Status.BAKING, Status.ROLLING_BACK, Status.ROLLED_BACK),
    (Status.AWAITING_APPROVAL, Status.REJECTED),
    (Status.PUBLISHING, Status.FAILED),
    (Status.ABORTED,),
)


def delivered(world: World, deployment_id: str, pending: list[str]) -> None:
    """One event, as the queue gives it: what is not done with comes again."""
    try:
        world.notifier.tell(deployment_id)
    except (Leased, TransientError, Killed):
        pending.append(deployment_id)


def played(world: World, data: st.DataObject, deployments: Sequence[Deployment]) -> list[Deployment]:
    """Let the deployments run, with their events in any order and GitLab as bad as it can be."""
    left = [[*data.draw(st.sampled_from(HISTORIES))] for _ in deployments]
    running = list(deployments)
    pending = [one.id for one in running]
    world.save(*running)
    for _ in range(data.draw(st.integers(0, 25))):
        which = data.draw(st.integers(0, len(running) - 1))
        if data.draw(st.booleans()) and left[which]:
            running[which] = running[which].changed(world.clock(), "on it", left[which].pop(0))
            world.save(running[which])
            pending.append(running[which].id)
        elif pending:
            at = data.draw(st.integers(0, len(pending) - 1))
            event = pending[at] if data.draw(st.booleans()) else pending.pop(at)  # else it comes twice
            world.faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=3))
            delivered(world, event, pending)
            world.faults = []
        world.sleep(data.draw(st.sampled_from((0, 1, 20, 60))))
    for which, rest in enumerate(left):
        for status in rest:
            running[which] = running[which].changed(world.clock(), "on it", status)
            pending.append(running[which].id)
    world.save(*running)
    while pending:
        world.sleep(LEASE + 1)
        delivered(world, pending.pop(data.draw(st.integers(0, len(pending) - 1))), pending)
    world.sleep(LEASE)
    return running


@given(st.data())
@settings(deadline=None)
def test_the_last_word_is_the_newest_deployments_end(data: st.DataObject) -> None:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", world.exchange)
        first, retry = deployment(), deployment(at=START + 60)
        *_, newest = played(world, data, [first, retry])
    assert world.shown() == [STATES[newest.status].value]


@given(st.data())
@settings(deadline=None)
def test_gitlab_has_one_deployment_with_the_right_end(data: st.DataObject) -> None:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", world.exchange)
        [ended] = played(world, data, [deployment(by=HOOK)])
    assert [one["status"] for one in world.api.deployments] == [STATES[ended.status].value]
    assert world.shown() == [STATES[ended.status].value]


# Tokens


def test_a_token_is_read_once_in_five_minutes(world: World) -> None:
    tokens = world.notifier.tokens
    for _ in range(3):
        assert tokens.token(SECRET) == world.secrets.text
    world.clock.sleep(301)
    world.secrets.text = "glpat-new"
    assert tokens.token(SECRET) == "glpat-new"
    assert world.secrets.reads == 2


def test_a_token_that_was_rotated_is_read_anew_and_tried_once_more(world: World) -> None:
    world.save(one := deployment(Status.SUCCEEDED))
    assert world.notifier.tokens.token(SECRET)
    world.secrets.text = world.api.rotate()
    world.notifier.tell(one.id)
    assert world.shown() == ["success"]
    assert (len(world.requests), world.secrets.reads) == (2, 2)


def test_a_revoked_token_is_refused_without_a_second_try(world: World) -> None:
    world.save(one := deployment(Status.SUCCEEDED))
    world.api.rotate()
    with pytest.raises(Refused) as refused:
        world.notifier.tell(one.id)
    assert (refused.value.code, refused.value.detail) == ("status 401", "401 Unauthorized")
    assert len(world.requests) == 1
    world.secrets.text = world.api.tokens[0]
    world.notifier.tell(one.id)
    assert world.shown() == ["success"]


@pytest.mark.parametrize(
    ("error", "text", "raised"),
    [
        ("ThrottlingException", "glpat-1", TransientError),
        ("ResourceNotFoundException", "glpat-1", Refused),
        ("AccessDeniedException", "glpat-1", Refused),
        ("", "", Refused),
        ("", "two words", Refused),
        ("", "a\r\nHost: elsewhere", Refused),
        ("", "glpat-ä", Refused),
    ],
)
def test_without_a_token_nothing_is_said(
    world: World, error: str, text: str, raised: type[Exception]
) -> None:
    world.save(one := deployment())
    world.secrets.text, world.secrets.error = text, error
    with pytest.raises(raised) as told:
        world.notifier.tell(one.id)
    assert world.requests == []
    assert not text or text not in str(vars(told.value).get("detail"))


# The queue


@dataclass
class Queue:
    """SQS, as far as the inbox goes."""

    hidden: list[int] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        assert (QueueUrl, ReceiptHandle) == ("queue", "handle")
        self.hidden.append(VisibilityTimeout)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "dead letters"
        self.dead.append(MessageBody)


@dataclass
class Heard:
    world: World
    queue: Queue = field(default_factory=Queue)
    delayed: list[Any] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)

    def hear(self, body: str, times: int = 1) -> list[str]:
        inbox = Inbox(
            self.world.notifier,
            self.queue,
            "queue",
            "dead letters",
            lambda code, **facts: self.delayed.append((code, facts)),
            lambda code, **facts: self.refused.append((code, facts)),
        )
        message = {
            "messageId": "m",
            "receiptHandle": "handle",
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(times)},
        }
        return inbox.hear([message])


def event(one: Deployment) -> str:
    return json.dumps({"detail": {"id": one.id}})


def test_what_was_told_is_done_with(world: World) -> None:
    world.save(one := deployment())
    heard = Heard(world)
    assert heard.hear(event(one)) == []
    assert (heard.queue, heard.delayed, heard.refused) == (Queue(), [], [])


@pytest.mark.parametrize(
    ("times", "pause"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (7, 900), (99, 900)]
)
def test_a_gitlab_that_does_not_answer_is_told_later_and_later(world: World, times: int, pause: int) -> None:
    world.save(one := deployment())
    heard = Heard(world)
    world.faults = ["busy"]
    assert heard.hear(event(one), times) == ["m"]
    assert heard.delayed == [("status 503", {"deployment": one.id, "seconds": pause})]
    [hidden] = heard.queue.hidden
    assert hidden in (pause, pause + 1)
    assert FIRST_PAUSE <= hidden <= LONGEST_PAUSE


def test_what_somebody_else_is_telling_comes_again_when_they_are_done(world: World) -> None:
    world.save(one := deployment())
    world.faults = ["unsent"]
    heard = Heard(world)
    heard.hear(event(one))
    world.clock.sleep(10)
    assert heard.hear(event(one)) == ["m"]
    assert heard.queue.hidden[-1] == LEASE - 10 + 1
    assert len(heard.delayed) == 1


def test_a_gate_file_that_cannot_be_used_delays(world: World) -> None:
    def broken() -> Any:
        raise GateError("no")

    world.notifier = replace(world.notifier, gate=broken)
    world.save(one := deployment())
    heard = Heard(world)
    assert heard.hear(event(one)) == ["m"]
    assert heard.delayed[0][0] == "gate"


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"detail": {}}', '{"detail": {"id": "../x"}}', "null"])
def test_what_is_no_event_is_set_aside(world: World, body: str) -> None:
    heard = Heard(world)
    assert heard.hear(body) == []
    assert heard.queue.dead == [body]
    assert heard.refused[0][0] in ("not_an_event", "no_such_deployment")


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (replace(JOB, project_id="9"), ("status 404", "404 Project Not Found")),
        (replace(JOB, sha="0" * 40), ("status 404", "404 Commit Not Found")),
    ],
)
def test_what_gitlab_refuses_is_set_aside_at_once(world: World, by: Requester, why: tuple[str, str]) -> None:
    world.save(one := deployment(by=by))
    heard = Heard(world)
    assert heard.hear(event(one)) == []
    assert heard.queue.dead == [event(one)]
    assert [(code, facts["detail"]) for code, facts in heard.refused] == [why]
    with pytest.raises(Refused):
        world.notifier.tell(one.id)  # and claims nothing: a replay is told at once


def test_a_subject_is_told_apart_by_everything_in_it() -> None:
    keys = {digest(URL, "4213", SHA, "574", NAME), digest(URL, "4213", SHA, "57", "4" + NAME)}
    assert len(keys) == 2
