"""The task tokens of rollouts that wait: with its token, a wait can be ended early."""

from sluicegate.store import keys
from sluicegate.store.table import Table


class Waits:
    """The last wait of each rollout."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, deployment_id: str, token: str, expires: int) -> None:
        """Note the task token that wakes the rollout; `expires` in epoch seconds."""
        self._table.put({**keys.wait(deployment_id), "token": token, "expires_at": expires})

    def token(self, deployment_id: str) -> str | None:
        """Return the task token of the rollout's last wait, over or not, or None."""
        item = self._table.get(keys.wait(deployment_id))
        return str(item["token"]) if item else None
