"""The ledger remembers what GitLab was sent, and lets one process at a time send to a commit status."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from sluicegate.notifier.commit_status import CommitState, CommitStatusKey, GitLabDeployment, ReportedState
from sluicegate.notifier.ledger import LEASE_SECONDS, LeaseHeld, StatusLedger
from sluicegate.store.keys import digest
from sluicegate.store.table import Table
from support.notifier_simulation import NAME, SHA, URL
from support.simulation import OWN, TABLE, Clock, create_table


@pytest.fixture
def ledger_and_clock() -> Iterator[tuple[StatusLedger, Clock]]:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name=OWN.region, aws_access_key_id="test", aws_secret_access_key="test"
        )
        create_table(client)
        clock = Clock()
        yield StatusLedger(Table(client, TABLE), clock), clock


KEY = CommitStatusKey(URL, "4213", SHA, "574", NAME)


def test_a_reported_state_is_remembered(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, _ = ledger_and_clock
    lease = ledger.acquire(KEY, ledger.entry(KEY))
    ledger.release(lease, ReportedState("01K", CommitState.RUNNING))
    entry = ledger.entry(KEY)
    assert (entry.reported, entry.leased_until) == (ReportedState("01K", CommitState.RUNNING), 0)
    ledger.release(ledger.acquire(KEY, entry), None)
    assert ledger.entry(KEY).reported == ReportedState("01K", CommitState.RUNNING)
    assert ledger.entry(replace(KEY, pipeline="575")).reported is None


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
    ledger.release(lease, None)
    ledger.acquire(KEY, ledger.entry(KEY))


def test_a_release_after_the_lease_ran_out_changes_nothing(
    ledger_and_clock: tuple[StatusLedger, Clock],
) -> None:
    ledger, clock = ledger_and_clock
    late = ledger.acquire(KEY, ledger.entry(KEY))
    clock.sleep(LEASE_SECONDS)
    lease = ledger.acquire(KEY, ledger.entry(KEY))
    ledger.release(lease, ReportedState("01K", CommitState.SUCCESS))
    ledger.release(late, ReportedState("01K", CommitState.RUNNING))
    assert ledger.entry(KEY).reported == ReportedState("01K", CommitState.SUCCESS)


def test_gitlabs_deployment_is_remembered(ledger_and_clock: tuple[StatusLedger, Clock]) -> None:
    ledger, _ = ledger_and_clock
    assert ledger.gitlab_deployment("01K") is None
    for mirror in (
        GitLabDeployment(None, CommitState.RUNNING),
        GitLabDeployment(7, CommitState.RUNNING),
        GitLabDeployment(7, CommitState.SUCCESS),
    ):
        ledger.record_gitlab_deployment("01K", mirror)
        assert ledger.gitlab_deployment("01K") == mirror


def test_a_key_depends_on_each_of_its_fields() -> None:
    keys = {digest(URL, "4213", SHA, "574", NAME), digest(URL, "4213", SHA, "57", "4" + NAME)}
    assert len(keys) == 2
