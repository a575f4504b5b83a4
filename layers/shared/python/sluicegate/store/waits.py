"""The task tokens of rollouts that wait: with its token, a wait can be ended early."""

from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.model import Deployment
from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.table import Condition, Table

TOKEN_KEPT: Final = 3_600
"""Seconds that a task token is kept after its wait is over."""

CLOCKS_DIFFER: Final = 10
"""Seconds by which the clocks of two processes differ at most. A client waits as long for an answer."""


@dataclass(frozen=True)
class Wait:
    """The last wait of a rollout, over or not: its task token, the record's revision, its end and its begin.

    `until` and `began` are in epoch seconds. Revision 0 is none: the record could not be read or written.
    """

    token: str
    revision: int = 0
    until: int = 0
    began: int = 0

    def lasts(self, deployment: Deployment, now: float) -> bool:
        """Whether the rollout waits still, as far as the record says: it has not changed since."""
        return self.revision == deployment.revision and now < self.until


class Waits:
    """The last wait of each rollout."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, deployment_id: str, wait: Wait) -> None:
        """Note a wait that begins, unless a later one has begun.

        A write whose answer was lost may still take effect when the rollout waits with another token: then
        nothing could wake it any more. A wait of seconds, at revision 0, takes no place of one at a revision.
        """
        changes = {
            "token": wait.token,
            "revision": wait.revision,
            "until": wait.until,
            "began": wait.began,
            "expires_at": wait.until + TOKEN_KEPT,
        }
        newest = Condition(
            "attribute_not_exists(#began) OR #revision < :revision"
            " OR (#revision = :revision AND #began < :later)",
            {":later": wait.began + CLOCKS_DIFFER},
        )
        self._table.update(keys.wait(deployment_id), changes, newest)

    def last(self, deployment_id: str) -> Wait | None:
        """Return the rollout's last wait, over or not, or None."""
        item = self._table.get(keys.wait(deployment_id))
        return read(item, Wait) if item else None

    def token(self, deployment_id: str) -> str | None:
        """Return the task token of the rollout's last wait, over or not, or None."""
        wait = self.last(deployment_id)
        return wait.token if wait else None
