"""Record in the table what GitLab was sent, so that no state is sent twice, or after a newer one.

    pk             sk             item
    status#HASH    status         the state last reported for a commit status, by which deployment; its lease
    status#HASH    environment    the deployments that an environment lacks, or lacks the end of; its lease
    status#HASH    merge-request  the note on a merge request, and its rows; its lease
    status#HASH    commit         the time and the merge request of a commit (`store.commits`)
    status#ID      deployment     GitLab's own deployment for this one, and its state

A process leases an item before it sends what the item is about: GitLab would take an old state for the start
of a new status. A lease that is not released runs out on its own, because GitLab may still be processing the
request. All keys start with `status#`: the notifier's role can write no others.
"""

from typing import Final

from sluicegate.notifier.commit_status import CommitState
from sluicegate.notifier.gitlab_deployments import GitLabDeployment
from sluicegate.store.keys import Key
from sluicegate.store.leases import Leases
from sluicegate.store.table import Condition
from sluicegate.store.update_expression import With

_NOT_MADE: Final = Condition("NOT #number > :none", {":none": 0}, {"#number": "number"})


class StatusLedger(Leases):
    """Reads and writes what GitLab was sent."""

    def keep_in_mind(self, key: Key, deployment_id: str) -> None:
        """Add to the deployments that an item's `open` names. No lease is needed."""
        self._table.set(key, {"open": With(frozenset({deployment_id})), **self._expiry()})

    def gitlab_deployment(self, deployment_id: str) -> GitLabDeployment | None:
        """Return GitLab's deployment for this one, or None if its creation was never requested."""
        item = self._table.get(_deployment_item_key(deployment_id))
        if item is None:
            return None
        return GitLabDeployment(
            item["number"], CommitState(item["state"]), bool(item.get("refused")), item.get("after", 0)
        )

    def record_gitlab_deployment(self, deployment_id: str, mirror: GitLabDeployment) -> None:
        """Record GitLab's deployment. Call it only under the lease of its environment.

        That its creation is requested is written first. Where that write takes effect late, it must not hide
        the number that a later attempt has got: another creation would follow.
        """
        item = {**_deployment_item_key(deployment_id), "number": mirror.number, "state": mirror.state}
        self._table.put(
            {**item, "refused": mirror.refused, "after": mirror.after, **self._expiry()},
            None if mirror.exists or mirror.refused else _NOT_MADE,
        )


def _deployment_item_key(deployment_id: str) -> Key:
    return {"pk": f"status#{deployment_id}", "sk": "deployment"}
