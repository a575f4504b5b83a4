"""Channels and programs get each status that they ask for, whatever fails, and no markup from outside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.deployment.model import Deployment, Reason, Status
from sluicegate.gate import patterns
from sluicegate.gate.notifications import DEFAULT_STATUSES, Notification, NotificationType
from sluicegate.messages import forms
from sluicegate.messages.content import content
from sluicegate.messages.destination import FORM, parse
from sluicegate.messages.messenger import Messenger
from sluicegate.store.leases import LEASE_SECONDS, LeaseHeld, Leases
from sluicegate.store.table import Table
from sluicegate.text import clean
from support.message_receivers import (
    KEY,
    PROGRAM,
    SLACK,
    TEAMS,
    Receivers,
    card_texts,
    slack_markup,
    slack_text,
)
from support.notifier_simulation import deployment
from support.simulation import START, TABLE, Clock, dynamodb

BOARD = "https://deploy.example.com/v1/board"
PREFIX = "sluicegate/notify/"


def entry(kind: NotificationType, **changed: Any) -> Notification:
    usual = Notification(
        kind, kind, PREFIX + kind, (patterns.compile("orders*"),), ("prod",), DEFAULT_STATUSES
    )
    return replace(usual, **changed)


@dataclass
class World:
    """A messenger between records, secrets, a table and the receivers."""

    notifications: tuple[Notification, ...] = (entry("slack"), entry("teams"), entry("webhook"))
    clock: Clock = field(default_factory=Clock)
    receivers: Receivers = field(default_factory=Receivers)
    records: dict[str, Deployment] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(
        default_factory=lambda: {
            f"{PREFIX}slack": SLACK,
            f"{PREFIX}teams": TEAMS,
            f"{PREFIX}webhook": json.dumps({"url": PROGRAM, "key": KEY}),
        }
    )

    def __post_init__(self) -> None:
        self.messenger = Messenger(
            store=self,  # type: ignore[arg-type]
            leases=Leases(Table(cast(Any, dynamodb(self.clock)), TABLE), self.clock),
            gate=lambda: self,  # type: ignore[arg-type, return-value]
            secrets=CachedSecrets(cast(Any, self), self.clock, FORM),
            log=lambda event, **fields: self.log.append({"event": event, **fields}),
            board=BOARD,
            clock=self.clock,
        )

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        return self.records

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        if SecretId not in self.secrets:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        return {"SecretString": self.secrets[SecretId]}

    def tell(self, *deployments: Deployment) -> None:
        for one in deployments:
            self.records[one.id] = one
            self.messenger.sync(one.id)

    def taken(self, url: str) -> list[dict[str, Any]]:
        return self.receivers.taken.get(url, [])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(http_client, "exchange", found.receivers.exchange)
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", _Frozen(found.clock))
    return found


class _Frozen:
    """The library's own clock, at the simulation's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        import datetime as real

        return getattr(real.datetime, name)

    def now(self, tz: Any = None) -> Any:
        import datetime as real

        return real.datetime.fromtimestamp(self._clock(), tz)


def history(*statuses: Status, release: str = "v1.4.0") -> list[Deployment]:
    one = replace(deployment(), release=release, version="42")
    found = [one]
    for number, status in enumerate(statuses):
        reason = Reason("smoke_failed", "arn:aws:lambda:…") if status.final else None
        one = one.changed(START + number + 1, "it goes on", status, reason=reason)
        found.append(one)
    return found


def test_each_gets_the_statuses_that_it_asks_for(world: World) -> None:
    world.tell(*history(Status.AWAITING_APPROVAL, Status.PUBLISHING, Status.SHIFTING, Status.ROLLED_BACK))
    titles = ["orders in prod: awaiting approval", "orders in prod: rolled back"]
    assert [message["text"] for message in world.taken(SLACK)] == titles
    assert [card_texts(message)[0] for message in world.taken(TEAMS)] == titles
    types = [message["type"] for message in world.taken(PROGRAM)]
    assert types == ["sluicegate.deployment.awaiting_approval", "sluicegate.deployment.rolled_back"]
    assert sorted(fact["notification"] for fact in world.log) == sorted(["slack", "teams", "webhook"] * 2)


@pytest.mark.parametrize(
    ("changed", "sent"),
    [
        ({}, 1),
        ({"stages": ()}, 1),
        ({"stages": ("dev",)}, 0),
        ({"functions": (patterns.compile("billing-*"),)}, 0),
        ({"statuses": (Status.SUCCEEDED,)}, 0),
        ({"statuses": (Status.ACCEPTED, Status.FAILED)}, 2),
    ],
)
def test_filters_are_by_function_stage_and_status(world: World, changed: dict[str, Any], sent: int) -> None:
    world.notifications = (entry("slack", **changed),)
    world.tell(*history(Status.PUBLISHING, Status.FAILED))
    assert len(world.taken(SLACK)) == sent


def test_duplicate_events_send_nothing(world: World) -> None:
    last = history(Status.PUBLISHING, Status.SUCCEEDED)[-1]
    world.tell(last, last, last)
    assert sorted(world.receivers.requests) == sorted([SLACK, TEAMS, PROGRAM])


def test_what_has_passed_is_for_programs_only(world: World) -> None:
    """All events but the last were late. A person must not be asked for an approval that is over."""
    world.tell(history(Status.AWAITING_APPROVAL, Status.PUBLISHING, Status.SUCCEEDED)[-1])
    assert (len(world.taken(SLACK)), len(world.taken(TEAMS))) == (1, 1)
    assert [message["data"]["status"] for message in world.taken(PROGRAM)] == [
        "awaiting_approval",
        "succeeded",
    ]


def test_one_that_fails_keeps_no_other_back(world: World) -> None:
    del world.secrets[f"{PREFIX}slack"]
    world.receivers.addresses.pop(TEAMS)
    last = history(Status.SUCCEEDED)[-1]
    with pytest.raises(PermanentError):
        world.tell(last)
    assert len(world.taken(PROGRAM)) == 1
    world.secrets[f"{PREFIX}slack"] = SLACK
    world.receivers.addresses[TEAMS] = world.receivers.teams
    world.tell(last)  # the replay
    assert [len(world.taken(url)) for url in (SLACK, TEAMS, PROGRAM)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("fault", "error", "seconds"),
    [
        ("unsent", TransientError, 0),
        ((429, {"Retry-After": "30"}), TransientError, 30),
        ((429, {"Retry-After": "99999"}), TransientError, 3600),
        ((503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), TransientError, 0),
        ((408, {}), TransientError, 0),
        ((500, {}), TransientError, 0),
        ((301, {"Location": "http://169.254.169.254/"}), PermanentError, None),
        ((400, {}), PermanentError, None),
        ((403, {}), PermanentError, None),
        ((410, {}), PermanentError, None),
    ],
    ids=str,
)
def test_what_an_answer_means(world: World, fault: Any, error: type[Exception], seconds: int | None) -> None:
    world.notifications = (entry("slack"),)
    world.receivers.faults = [fault]
    with pytest.raises(error) as raised:
        world.tell(history(Status.SUCCEEDED)[-1])
    assert getattr(raised.value, "retry_after", None) == seconds
    assert "Secret" not in repr(vars(raised.value)) + str(raised.value)
    assert world.receivers.requests == [SLACK]


def test_a_lost_answer_repeats_the_same_id(world: World) -> None:
    world.notifications = (entry("webhook"),)
    world.receivers.faults = ["unseen"]
    last = history(Status.SUCCEEDED)[-1]
    with pytest.raises(TransientError):
        world.tell(last)
    with pytest.raises(LeaseHeld):
        world.tell(last)
    world.clock.sleep(LEASE_SECONDS)
    world.tell(last)
    assert world.receivers.ids == [f"msg_{last.id}_succeeded"] * 2


def test_two_processes_send_one_message(world: World) -> None:
    last = history(Status.SUCCEEDED)[-1]

    def another() -> None:
        world.receivers.meanwhile = lambda: None
        with pytest.raises(LeaseHeld):
            world.tell(last)

    world.receivers.meanwhile = another
    world.tell(last)
    assert len(world.taken(SLACK)) == 1


def test_a_url_that_was_replaced_is_read_again(world: World) -> None:
    world.notifications = (entry("slack"),)
    world.tell(history(Status.AWAITING_APPROVAL)[-1])
    world.receivers.addresses = {SLACK + "2": world.receivers.slack}
    world.secrets[f"{PREFIX}slack"] = SLACK + "2"
    world.tell(history(Status.FAILED)[-1])
    assert len(world.taken(SLACK + "2")) == 1


def test_a_key_is_replaced_while_both_sign(world: World) -> None:
    other = "whsec_c29tZWJvZHkgZWxzZXMgb3duIGhvb2shIQ=="
    world.secrets[f"{PREFIX}webhook"] = json.dumps({"url": PROGRAM, "key": [KEY, other]})
    world.receivers.keys = [KEY, other]
    world.notifications = (entry("webhook"),)
    world.tell(history(Status.SUCCEEDED)[-1])
    assert len(world.taken(PROGRAM)) == 1


def test_an_event_says_who_what_and_where(world: World) -> None:
    last = history(Status.FAILED)[-1]
    world.notifications = (entry("webhook"),)
    world.tell(last)
    [message] = world.taken(PROGRAM)
    data = message["data"]
    assert message["timestamp"] == last.timeline[-1].at
    assert (data["id"], data["revision"], data["final"]) == (last.id, last.revision, True)
    assert (data["function"], data["stage"], data["version"], data["reason"]) == (
        "orders",
        "prod",
        "42",
        "smoke_failed",
    )
    assert "arn:" not in json.dumps(message)


def test_channels_that_do_not_answer_leave_time_for_the_others(world: World) -> None:
    """Twenty of them take 100 seconds, of which there are 75."""
    dead = tuple(entry("slack", name=f"dead-{number}", secret=f"{PREFIX}dead") for number in range(20))
    world.notifications = (*dead, entry("teams"))
    world.secrets[f"{PREFIX}dead"] = SLACK

    def slow() -> None:
        if world.receivers.requests[-1] == SLACK:
            world.clock.sleep(5)
            world.receivers.faults = ["unsent"]

    world.receivers.meanwhile = slow
    last = history(Status.SUCCEEDED)[-1]
    for _ in range(21):
        with pytest.raises((TransientError, LeaseHeld)):
            world.tell(last)
        world.clock.sleep(31)
        if world.taken(TEAMS):
            break
    assert len(world.taken(TEAMS)) == 1


def test_without_entries_nothing_is_read(world: World) -> None:
    world.notifications = ()
    world.messenger.sync("01K83C3CSHR8SWTQXBN3KPTS9M")
    assert world.receivers.requests == []


def test_no_deployment_is_a_dead_letter(world: World) -> None:
    for deployment_id in ("../x", "01K83C3CSHR8SWTQXBN3KPTS9M"):
        with pytest.raises(PermanentError, match="no_such_deployment"):
            world.messenger.sync(deployment_id)


FAULTS: tuple[Any, ...] = (None, None, "unsent", "unseen", (503, {}), (429, {"Retry-After": "3"}))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_every_status_arrives_at_least_once_and_in_order(data: st.DataObject) -> None:
    world = World(notifications=(entry("webhook", statuses=tuple(Status)),))
    pending = 0
    steps = history(Status.AWAITING_APPROVAL, Status.PUBLISHING, Status.BAKING, Status.SUCCEEDED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", world.receivers.exchange)
        patch.setattr("standardwebhooks.webhooks.datetime", _Frozen(world.clock))
        for one in steps:
            world.receivers.faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=4))
            try:
                world.tell(one)
            except (LeaseHeld, TransientError):
                pending += 1
            world.receivers.faults = []
            world.clock.sleep(data.draw(st.sampled_from((1, 20, 60))))
        for _ in range(pending):
            world.clock.sleep(LEASE_SECONDS + 1)
            world.tell(steps[-1])
    got = list(dict.fromkeys(message["data"]["status"] for message in world.taken(PROGRAM)))
    assert got == ["accepted", "awaiting_approval", "publishing", "baking", "succeeded"]


# What is said


def test_people_are_led_to_the_board(world: World) -> None:
    waiting, failed = history(Status.AWAITING_APPROVAL)[-1], history(Status.FAILED)[-1]
    world.notifications = (entry("slack"), entry("teams"))
    world.tell(waiting, failed)
    links = [markup for message in world.taken(SLACK) for markup in slack_markup(message)]
    assert links == [
        f"<{BOARD}/deployments/{waiting.id}|Approve or reject>",
        f"<{BOARD}/deployments/{failed.id}|Open on the board>",
    ]
    [action] = world.taken(TEAMS)[0]["attachments"][0]["content"]["actions"]
    assert action == {
        "type": "Action.OpenUrl",
        "title": "Approve or reject",
        "url": f"{BOARD}/deployments/{waiting.id}",
    }


@given(
    st.text(max_size=300) | st.sampled_from(("<!channel>", "<@U1|x>", "[x](https://evil)", "<at>all</at>"))
)
def test_nothing_from_outside_is_markup(text: str) -> None:
    """Release names are the requester's. Slack and Teams must not call anybody, link or hide for them."""
    one = replace(deployment(Status.SUCCEEDED), release=text or None, function="a<!here>&b")
    said = content(one, Status.SUCCEEDED, BOARD)
    message = forms.slack(said)
    assert Receivers().slack(message, b"", {}) == (200, "ok")
    assert slack_markup(message) == [f"<{BOARD}/deployments/{one.id}|Open on the board>"]
    card = forms.teams(said)
    assert Receivers().teams(card, json.dumps(card).encode(), {}) == (202, "")
    lines = card_texts(card)
    assert all(clean(line, 1_000) == line for line in lines)
    assert len(slack_text(message)) < 4_000


def test_a_value_is_cut(world: World) -> None:
    world.tell(history(Status.SUCCEEDED, release="v" * 5_000)[-1])
    assert "Release: " + "v" * 100 in card_texts(world.taken(TEAMS)[0])


# The secret


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("slack", "http://hooks.slack.com/services/T/B/Secret"),
        ("slack", "https://user:Secret@hooks.slack.com/x"),
        ("slack", "https://hooks.slack.com@evil.example.com/Secret"),
        ("slack", "https://hooks.slack.com:port/Secret"),
        ("slack", "https://"),
        ("slack", "file:///etc/Secret"),
        ("slack", "gopher://127.0.0.1/Secret"),
        ("slack", "http://169.254.169.254/Secret"),
        ("slack", "http://[fd00:ec2::254]/Secret"),
        ("slack", "https://hooks.slack.com/a b Secret"),
        ("slack", "https://hooks.slack.com\\@evil/Secret"),
        ("teams", "https://exa\tmple.com/Secret"),
        ("webhook", "https://ci.example.com/Secret"),
        ("webhook", '{"url": "https://ci.example.com/Secret"}'),
        ("webhook", '{"url": "https://ci.example.com/Secret", "key": "Secret"}'),
        ("webhook", '{"url": "https://ci.example.com/Secret", "key": "whsec_c2hvcnQ="}'),
        ("webhook", '{"url": "https://ci.example.com/Secret", "key": []}'),
        (
            "webhook",
            '{"url": "https://ci.example.com", "url": "https://Secret", "key": "KEY"}'.replace("KEY", KEY),
        ),
        ("webhook", '{"url": "http://ci.example.com/Secret", "key": "KEY"}'.replace("KEY", KEY)),
        ("webhook", '{"url": 7, "key": "KEY"}'.replace("KEY", KEY)),
        (
            "webhook",
            '{"url": "https://ci.example.com/Secret", "key": "KEY", "method": "GET"}'.replace("KEY", KEY),
        ),
    ],
)
def test_a_secret_that_is_no_destination_is_refused_and_not_repeated(
    kind: NotificationType, text: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        parse(kind, text, "sluicegate/notify/x")
    assert refused.value.code == "secret"
    assert "Secret" not in refused.value.detail


@pytest.mark.parametrize("text", ["ä", "x" * 8193, ""])
def test_a_secret_has_a_form(world: World, text: str) -> None:
    world.secrets[f"{PREFIX}slack"] = text
    with pytest.raises(PermanentError, match="secret"):
        world.tell(history(Status.SUCCEEDED)[-1])


def test_a_destination_is_not_shown() -> None:
    assert repr(parse("slack", SLACK, "x")) == "Destination(...)"


def test_secrets_are_in_no_log(world: World) -> None:
    world.tell(*history(Status.AWAITING_APPROVAL, Status.SUCCEEDED))
    assert "Secret" not in json.dumps(world.log)
