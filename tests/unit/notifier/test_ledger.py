"""The ledger remembers what GitLab was sent, and lets one process at a time send to a commit status."""

from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.notifier.commit_status import CommitState, CommitStatusKey
from sluicegate.notifier.gitlab_deployments import Environment, GitLabDeployment
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.store.keys import digest
from sluicegate.store.leases import LEASE_SECONDS, LeaseHeld
from sluicegate.store.table import Table
from sluicegate.store.update_expression import Without
from support.notifier_simulation import NAME, SHA, URL
from support.simulation import TABLE, Clock, dynamodb


@pytest.fixture
def ledger_and_clock() -> tuple[StatusLedger, Clock]:
    clock = Clock()
    return StatusLedger(Table(cast(Any, dynamodb(clock)), TABLE), clock), clock


STATUS = CommitStatusKey(URL, "4213", SHA, "574", NAME)
KEY = STATUS.key


def test_what_was_sent_is_remembered(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, _ = ledger_and_clock
    lease = ledger.acquire(KEY, ledger.entry(KEY))
    ledger.release(lease, {"deployment": "01K", "state": CommitState.RUNNING})
    entry = ledger.entry(KEY)
    assert (entry.values["deployment"], entry.values["state"], entry.leased_until) == ("01K", "running", 0)
    ledger.release(ledger.acquire(KEY, entry))
    assert ledger.entry(KEY).values["state"] == "running"
    assert ledger.entry(replace(STATUS, pipeline="575").key).values == {}


def test_a_late_write_of_a_request_does_not_hide_what_was_made(
    ledger_and_clock: tuple[StatusLedger, Clock],
) -> None:
    ledger, _ = ledger_and_clock
    requested = GitLabDeployment(None, CommitState.RUNNING, after=10)
    made = GitLabDeployment(12, CommitState.SUCCESS)
    for _ in range(2):
        ledger.record_gitlab_deployment("01K", requested)
    ledger.record_gitlab_deployment("01K", made)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        ledger.record_gitlab_deployment("01K", requested)
    assert ledger.gitlab_deployment("01K") == made
    refused = GitLabDeployment(None, CommitState.SUCCESS, refused=True)
    ledger.record_gitlab_deployment("01K", refused)
    assert ledger.gitlab_deployment("01K") == refused


def test_one_process_reports_at_a_time(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, clock = ledger_and_clock
    before = ledger.entry(KEY)
    lease = ledger.acquire(KEY, before)
    with pytest.raises(LeaseHeld):
        ledger.acquire(KEY, before)
    clock.sleep(10)
    with pytest.raises(LeaseHeld) as held:
        ledger.acquire(KEY, ledger.entry(KEY))
    assert held.value.retry_after == LEASE_SECONDS - 10
    ledger.release(lease)
    ledger.acquire(KEY, ledger.entry(KEY))


def test_a_release_after_the_lease_ran_out_changes_nothing(
    ledger_and_clock: tuple[StatusLedger, Clock],
) -> None:
    ledger, clock = ledger_and_clock
    late = ledger.acquire(KEY, ledger.entry(KEY))
    clock.sleep(LEASE_SECONDS)
    lease = ledger.acquire(KEY, ledger.entry(KEY))
    ledger.release(lease, {"state": CommitState.SUCCESS})
    ledger.release(late, {"state": CommitState.RUNNING})
    assert ledger.entry(KEY).values["state"] == "success"


def test_deployments_are_kept_in_mind_without_a_lease(
    ledger_and_clock: tuple[StatusLedger, Clock],
) -> None:
    ledger, _ = ledger_and_clock
    ledger.keep_in_mind(KEY, "01J")
    lease = ledger.acquire(KEY, ledger.entry(KEY))
    ledger.keep_in_mind(KEY, "01K")
    ledger.keep_in_mind(KEY, "01K")
    ledger.release(lease, {"newest": 7, "open": Without(frozenset({"01J", "01H"}))})
    values = ledger.entry(KEY).values
    assert (values["open"], values["newest"]) == ({"01K"}, 7)
    ledger.release(lease, {"open": Without(frozenset())})
    ledger.release(lease, {"open": Without(frozenset({"01K"}))})
    assert "open" not in ledger.entry(KEY).values


def test_gitlabs_deployment_is_remembered(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, _ = ledger_and_clock
    assert ledger.gitlab_deployment("01K") is None
    for mirror in (
        GitLabDeployment(None, CommitState.RUNNING),
        GitLabDeployment(7, CommitState.RUNNING),
        GitLabDeployment(7, CommitState.SUCCESS),
        GitLabDeployment(None, CommitState.SUCCESS, refused=True),
    ):
        ledger.record_gitlab_deployment("01K", mirror)
        assert ledger.gitlab_deployment("01K") == mirror


def test_a_ledger_of_earlier_releases_is_read(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, _ = ledger_and_clock
    ledger._table.put({"pk": "status#01K", "sk": "deployment", "number": 7, "state": "running"})
    assert ledger.gitlab_deployment("01K") == GitLabDeployment(7, CommitState.RUNNING)


def test_a_key_depends_on_each_of_its_fields() -> None:
    keys = {digest(URL, "4213", SHA, "574", NAME), digest(URL, "4213", SHA, "57", "4" + NAME)}
    assert len(keys) == 2
    assert Environment(URL, "4213", "prod").key != Environment(URL, "421", "3prod").key
