"""What is around rollouts, deliberately broken in one place: the notifier, the pruner and the budget."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from sluicegate.delivery import consumer
from sluicegate.deployer import call_quota
from sluicegate.deployment.call_budget import CallClass
from sluicegate.deployment.model import AliasState, Deployment, Status
from sluicegate.notifier import commit_status
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.notifier.reporting import Reporting
from sluicegate.pruning import decision, deletion, pruner
from sluicegate.store.call_budget import CallBudget
from sluicegate.store.leases import Lease, Leases
from sluicegate.store.table import Condition
from sluicegate.store.versions import Versions

_ANYTHING: Final = Condition("attribute_exists(pk) OR attribute_not_exists(pk)")


def event_believed(patch: pytest.MonkeyPatch) -> None:
    """GitLab gets what an event says, and not what the record says by now."""
    detail_of, find = consumer._detail_of, Reporting.find
    heard: dict[str, str] = {}

    def read_event(body: str) -> Mapping[str, Any]:
        detail = detail_of(body)
        heard[detail["id"]] = detail["status"]
        return detail

    def found(self: Reporting, deployment: str) -> Deployment | None:
        record = find(self, deployment)
        return record and replace(record, status=Status(heard.get(deployment, record.status)))

    def missing(deployment: Deployment, reported: Any) -> Any:
        state = commit_status.STATES[deployment.status]
        return None if reported and reported.state is state else state

    patch.setattr(consumer, "_detail_of", read_event)
    patch.setattr(Reporting, "find", found)
    patch.setattr(commit_status, "missing_state", missing)


def outage_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What GitLab did not take is not sent again."""
    patch.setattr(consumer.QueueConsumer, "_retry", lambda *_: None)
    original = consumer.QueueConsumer.process
    patch.setattr(consumer.QueueConsumer, "process", lambda *args: original(*args) and [])


def lease_ignored(patch: pytest.MonkeyPatch) -> None:
    """Several processes report one thing to GitLab at once."""
    patch.setattr(Leases, "acquire", lambda self, key, entry: Lease(key, entry.leases, self._clock() + 30))
    patch.setattr(Leases, "_update", lambda self, key, _, values: self._table.update(key, values, _ANYTHING))


def made_in_gitlab_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether GitLab has made a deployment whose answer was lost."""
    patch.setattr(GitLab, "find_deployment", lambda *_: None)


def weights_unseen_by_the_pruner(patch: pytest.MonkeyPatch) -> None:
    """An alias needs the version that it names, and none that it gives a weight."""

    def uses(aliases: Mapping[str, AliasState], *others: Any) -> Any:
        return original({name: AliasState(state.version) for name, state in aliases.items()}, *others)

    original: Any = decision.uses
    patch.setattr(decision, "uses", uses)
    patch.setattr(deletion, "uses", uses)


def condemned_after_the_look(patch: pytest.MonkeyPatch) -> None:
    """The pruner looks for uses of a version, and condemns it then."""

    def delete(*given: Any) -> Any:
        looked.append(used(*given))
        return original(*given)

    original: Any = deletion.Deletion.delete
    used: Any = deletion.Deletion._used
    looked: list[Any] = []
    patch.setattr(deletion.Deletion, "_used", lambda *_: looked.pop())
    patch.setattr(deletion.Deletion, "delete", delete)


def one_way_back_too_few(patch: pytest.MonkeyPatch) -> None:
    """One version less stays for rollbacks than the gate file says."""

    def uses(aliases: Any, histories: Any, open_: Any, rollbacks: int) -> Any:
        return original(aliases, histories, open_, rollbacks - 1)

    original = decision.uses
    patch.setattr(decision, "uses", uses)
    patch.setattr(deletion, "uses", uses)


def condemned_accepted(patch: pytest.MonkeyPatch) -> None:
    """A rollback is accepted that goes to a version which is being deleted."""
    patch.setattr(Versions, "check_not_condemned", lambda *_: None)


def condemned_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What a pass of the pruner left half done stays so."""
    patch.setattr(pruner.Pruner, "_resume", lambda *_: None)


def calls_not_taken(patch: pytest.MonkeyPatch) -> None:
    """A deployment begins without a write to the budget."""
    patch.setattr(CallBudget, "_spend", lambda *_: True)


def calls_taken_twice(patch: pytest.MonkeyPatch) -> None:
    """Two deployments at once take the same calls: each writes what it has computed."""

    def spend(self: Any, target: Any, bucket: Any, calls: int, now: int, *_: Any) -> Any:
        then = max(bucket.spent_until, now) + bucket.duration(calls, now)
        condition = Condition(_ANYTHING.expression, {":then": then, ":now": now})
        return self._change(target, "SET spent_until = :then, looked_at = :now", condition)

    patch.setattr(CallBudget, "_spend", spend)


def place_kept(patch: pytest.MonkeyPatch) -> None:
    """A deployment that begins keeps its place in line."""
    patch.setattr(CallBudget, "leave", lambda *_: None)


def rollbacks_wait(patch: pytest.MonkeyPatch) -> None:
    """A rollback stands in line as everybody does."""
    patch.setattr(call_quota, "level_of", lambda *_: CallClass.DEPLOY)


AROUND: Final[tuple[Callable[[pytest.MonkeyPatch], None], ...]] = (
    event_believed,
    outage_forgotten,
    lease_ignored,
    made_in_gitlab_again,
    weights_unseen_by_the_pruner,
    condemned_after_the_look,
    one_way_back_too_few,
    condemned_accepted,
    condemned_forgotten,
    calls_not_taken,
    calls_taken_twice,
    place_kept,
    rollbacks_wait,
)
