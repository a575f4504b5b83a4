"""The store: every repository over one DynamoDB table."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sluicegate.store.call_budget import CallBudget
from sluicegate.store.commits import Commits
from sluicegate.store.cursor_keys import CursorKeys
from sluicegate.store.deployments import Deployments
from sluicegate.store.drift import Drifts
from sluicegate.store.facts import Facts
from sluicegate.store.grants import TerminalGrants
from sluicegate.store.grounds import Grounds
from sluicegate.store.holds import Holds
from sluicegate.store.intents import Intents
from sluicegate.store.locks import Locks
from sluicegate.store.polls import Polls
from sluicegate.store.prunings import Prunings
from sluicegate.store.requests import Requests
from sluicegate.store.sessions import Sessions
from sluicegate.store.slots import Slots
from sluicegate.store.table import Table
from sluicegate.store.tickets import Tickets
from sluicegate.store.uploads import Uploads
from sluicegate.store.versions import Versions
from sluicegate.store.waits import Waits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class Store:
    """The repositories. `client` is a DynamoDB client, `clock` gives epoch seconds.

    `poll_pool` names the places of long polls that this process shares with others.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        poll_pool: str = "shared",
    ) -> None:
        opened = Table(client, table, sleep)
        self.requests = Requests(opened, clock)
        self.locks = Locks(opened, clock)
        self.versions = Versions(opened)
        self.slots = Slots(opened)
        self.calls = CallBudget(opened, clock)
        self.deployments = Deployments(
            opened, self.locks, self.versions, self.requests, self.slots, self.calls, clock
        )
        self.facts = Facts(opened)
        self.drift = Drifts(opened)
        self.prunings = Prunings(opened, self.deployments, self.locks)
        self.holds = Holds(opened, clock)
        self.uploads = Uploads(opened, clock)
        self.grounds = Grounds(opened, self.holds, self.uploads)
        self.waits = Waits(opened)
        self.polls = Polls(opened, clock, poll_pool)
        self.cursor_keys = CursorKeys(opened)
        self.tickets = Tickets(opened, clock)
        self.intents = Intents(opened, clock)
        self.sessions = Sessions(opened, clock)
        self.grants = TerminalGrants(opened, self.sessions, clock)
        self.commits = Commits(opened, clock)
