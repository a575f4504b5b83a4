"""One note on the merge request that brought a commit, up to date, whatever fails and despite others."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.deployment.model import Deployment, Reason, Requester, Status
from sluicegate.notifier import merge_request_notes
from sluicegate.notifier.merge_request_notes import MAX_ROWS, NoteRow
from sluicegate.store.leases import LEASE_SECONDS, LeaseHeld
from support.notifier_simulation import BOTH, FAULTS, JOB, PERSON, SHA, NotifierSimulation, deployment
from support.simulation import START, Killed

NOTE_ONLY = replace(BOTH, commit_status=False, deployment=False)
ROW = NoteRow("01K", "orders", "prod", "baking 10%", "42", SHA[:8])


@pytest.fixture
def noted(simulation: NotifierSimulation) -> NotifierSimulation:
    """A GitLab with a merge request that has the commit, and feedback by notes alone."""
    simulation.feedback = NOTE_ONLY
    simulation.api.discussed.open("4213", 17, SHA)
    return simulation


def ours(simulation: NotifierSimulation) -> list[dict[str, Any]]:
    return [one for one in simulation.api.discussed.notes if one["author"]["id"] >= 4001]


def sent(simulation: NotifierSimulation, *deployments: Deployment) -> None:
    for one in deployments:
        simulation.save(one)
        simulation.notifier.sync(one.id)


def test_a_rollout_is_one_note_that_is_updated_in_place(noted: NotifierSimulation) -> None:
    one = deployment()
    baking = replace(one.changed(START, "on it", Status.BAKING), weight=10, version="42")
    sent(noted, one, baking, baking.changed(START, "served", Status.SUCCEEDED))
    [note] = ours(noted)
    rows = [version.splitlines()[5] for version in note["versions"]]
    start = "| `orders` | `prod` | "
    assert rows == [
        f"{start}`accepted` |  | `{SHA[:8]}` | `{one.id}` |",
        f"{start}`baking 10%` | `42` | `{SHA[:8]}` | `{one.id}` |",
        f"{start}`succeeded` | `42` | `{SHA[:8]}` | `{one.id}` |",
    ]
    assert note["body"].startswith("<!-- sluicegate 5f1d -->\n")
    assert noted.api.discussed.commands == []


def test_a_duplicate_event_changes_nothing(noted: NotifierSimulation) -> None:
    one = deployment(Status.PUBLISHING)
    sent(noted, one, one, one.changed(START, "again", retry=True))
    assert [len(note["versions"]) for note in ours(noted)] == [1]
    assert noted.writes() == ["POST 4213/merge_requests/17/notes"]


def test_commits_of_one_merge_request_share_its_note(noted: NotifierSimulation) -> None:
    noted.api.discussed.open("4213", 17, SHA, "c" * 40)
    other = replace(deployment(by=replace(JOB, sha="c" * 40), at=START + 9), function="stock")
    sent(noted, deployment(Status.SUCCEEDED), other)
    [note] = ours(noted)
    assert [line.split("`")[1] for line in note["body"].splitlines()[5:7]] == ["orders", "stock"]


def test_a_rollback_by_a_person_is_noted_where_the_code_came_from(noted: NotifierSimulation) -> None:
    origin = deployment(Status.SUCCEEDED)
    back = replace(deployment(Status.SUCCEEDED, PERSON, at=START + 60), action="rollback", built=None)
    sent(noted, back)
    assert ours(noted) == []
    from sluicegate.deployment.model import origin_of

    sent(noted, replace(back, built=origin_of(origin)))
    [note] = ours(noted)
    assert back.id in note["body"]


@pytest.mark.parametrize(
    ("requests", "number"),
    [
        ([(9, "opened"), (17, "opened")], 9),
        ([(9, "opened"), (17, "merged")], 17),
        ([(9, "closed"), (17, "opened")], 17),
        ([(17, "merged"), (21, "merged")], 17),
        ([(9, "closed")], None),
        ([], None),
    ],
)
def test_the_merge_request_is_the_one_that_brought_the_commit(
    simulation: NotifierSimulation, requests: list[tuple[int, str]], number: int | None
) -> None:
    simulation.feedback = NOTE_ONLY
    for iid, state in requests:
        simulation.api.discussed.open("4213", iid, SHA, state=state)
    sent(simulation, deployment())
    assert [note["of"]["iid"] for note in ours(simulation)] == [number] * (number is not None)


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**60, True, "17", None])
def test_a_number_that_is_none_is_no_merge_request(simulation: NotifierSimulation, number: Any) -> None:
    simulation.feedback = NOTE_ONLY
    simulation.api.discussed.open("4213", number, SHA)
    sent(simulation, deployment())
    assert ours(simulation) == []


def test_a_merge_request_that_is_opened_later_is_found(simulation: NotifierSimulation) -> None:
    simulation.feedback = NOTE_ONLY
    one = deployment()
    sent(simulation, one, one)
    assert len(simulation.requests) == 1, "it is not asked for again at once"
    simulation.api.discussed.open("4213", 17, SHA)
    simulation.sleep(601)
    sent(simulation, one.changed(START, "on it", Status.PUBLISHING))
    assert len(ours(simulation)) == 1


def test_it_can_be_switched_off(noted: NotifierSimulation) -> None:
    noted.feedback = replace(NOTE_ONLY, merge_request_note=False)
    sent(noted, deployment(Status.PUBLISHING))
    assert (ours(noted), noted.requests) == ([], [])


def test_somebody_elses_note_with_our_marker_is_not_ours(noted: NotifierSimulation) -> None:
    forged = noted.api.discussed.comment("4213", 17, "<!-- sluicegate 5f1d -->\nall is well", author=666)
    noted.api.discussed.is_maintainer = True
    sent(noted, deployment(Status.FAILED))
    assert (forged["body"].endswith("all is well"), len(ours(noted))) == (True, 1)


def test_another_stacks_note_is_another_one(noted: NotifierSimulation) -> None:
    other = noted.api.discussed.comment("4213", 17, "<!-- sluicegate aaaa -->\nanother", author=4001)
    sent(noted, deployment())
    assert other["body"].endswith("another")
    assert len(ours(noted)) == 2


def test_a_note_that_the_ledger_has_forgotten_is_found_among_many(noted: NotifierSimulation) -> None:
    first = deployment(Status.SUCCEEDED)
    sent(noted, first)
    for number in range(45):
        noted.api.discussed.comment("4213", 17, f"comment {number}", author=7)
    forgetful = NotifierSimulation(feedback=NOTE_ONLY, api=noted.api)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", forgetful.exchange)
        sent(forgetful, replace(deployment(Status.SUCCEEDED, at=START + 60), stage="dev"))
    assert len(ours(noted)) == 1
    pages = [path for _, path in forgetful.requests if "/notes?" in path]
    assert [path.rpartition("page=")[2] for path in pages] == ["1", "2", "3"]


def test_notes_too_large_to_read_keep_none_back(noted: NotifierSimulation) -> None:
    noted.api.discussed.comment("4213", 17, "x" * 999_999, author=666)
    noted.api.discussed.comment("4213", 17, "x" * 999_999, author=666)
    sent(noted, deployment(Status.PUBLISHING))
    assert noted.dropped == []
    assert len(ours(noted)) == 1


def test_a_deleted_note_is_written_again(noted: NotifierSimulation) -> None:
    one = deployment()
    sent(noted, one)
    noted.api.discussed.notes.clear()
    sent(noted, one.changed(START, "on it", Status.PUBLISHING))
    assert [len(note["versions"]) for note in ours(noted)] == [1]


def test_a_new_tokens_user_writes_a_note_of_its_own(noted: NotifierSimulation) -> None:
    one = deployment()
    sent(noted, one)
    noted.api.discussed.user = 4002
    running = one.changed(START, "on it", Status.PUBLISHING)
    sent(noted, running, running.changed(START, "served", Status.SUCCEEDED))
    assert [(note["author"]["id"], len(note["versions"])) for note in ours(noted)] == [(4001, 1), (4002, 2)]


@pytest.mark.parametrize("closed", [True, False], ids=["switched off", "gone"])
def test_a_project_without_merge_requests_wakes_nobody(noted: NotifierSimulation, closed: bool) -> None:
    if closed:
        noted.api.discussed.closed_projects = {"4213"}
    else:
        noted.api.ground.gone_commits = {SHA}
    sent(noted, deployment(Status.SUCCEEDED))
    assert (ours(noted), noted.dropped) == ([], [])


def test_a_note_that_gitlab_refuses_is_dropped_once_for_each_state(noted: NotifierSimulation) -> None:
    one = deployment()
    sent(noted, one)
    noted.api.discussed.closed_projects = {"4213"}
    running = one.changed(START, "on it", Status.PUBLISHING)
    sent(noted, running, running)
    assert [(code, fields["kind"]) for code, fields in noted.dropped] == [
        ("status 403", "merge_request_note")
    ]


def test_the_limit_of_notes_is_waited_for(noted: NotifierSimulation) -> None:
    noted.api.discussed.notes_left = 0
    noted.save(one := deployment())
    with pytest.raises(TransientError, match="status 429"):
        noted.notifier.sync(one.id)
    noted.api.discussed.notes_left = 300
    noted.sleep(LEASE_SECONDS)
    noted.notifier.sync(one.id)
    assert len(ours(noted)) == 1


def test_a_revoked_token_stops_at_the_first_refusal(noted: NotifierSimulation) -> None:
    noted.feedback = BOTH
    noted.save(one := deployment(Status.SUCCEEDED))
    noted.api.rotate()
    with pytest.raises(PermanentError, match="status 401"):
        noted.notifier.sync(one.id)
    assert len(noted.requests) == 1


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_there_is_one_note_with_the_last_state_whatever_fails(data: st.DataObject) -> None:
    simulation = NotifierSimulation(feedback=NOTE_ONLY)
    simulation.api.discussed.open("4213", 17, SHA)
    simulation.api.discussed.comment("4213", 17, "<!-- sluicegate 5f1d -->", author=666)
    one, pending = deployment(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", simulation.exchange)
        for status in (None, Status.PUBLISHING, Status.SHIFTING, Status.ROLLED_BACK):
            one = one.changed(simulation.clock(), "on it", status) if status else one
            simulation.save(one)
            simulation.faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=5))
            try:
                simulation.notifier.sync(one.id)
            except (LeaseHeld, TransientError, Killed):
                pending += 1
            simulation.faults = []
            simulation.sleep(data.draw(st.sampled_from((2, 20, 60))))
        for _ in range(pending):
            simulation.sleep(LEASE_SECONDS + 1)
            simulation.notifier.sync(one.id)
        simulation.sleep(LEASE_SECONDS)
    [note] = ours(simulation)
    assert "`rolled back`" in note["body"]


# The text


@given(st.lists(st.text(max_size=40), min_size=5, max_size=5))
def test_no_text_from_outside_leaves_its_cell(texts: list[str]) -> None:
    """A line that begins with `/` would be run as a command, `@all` would call everybody."""
    row = NoteRow("01K83C3CSHR8SWTQXBN3KPTS9M", *texts)
    plain = merge_request_notes.body("5f1d", [ROW])
    text = merge_request_notes.body("5f1d", [row])
    assert len(text.split("\n")) == len(text.splitlines()) == len(plain.splitlines())
    line = text.split("\n")[5]
    assert line.count("|") == 7
    assert line.count("`") % 2 == 0
    assert not any(character in line for character in "@#!~[]()<>*\\/&$^")
    assert all(not one.startswith("/") for one in text.split("\n"))


def test_a_board_makes_links() -> None:
    text = merge_request_notes.body("5f1d", [ROW], "https://deploy.example.com/v1/board")
    assert "[`01K`](https://deploy.example.com/v1/board/deployments/01K)" in text


def test_a_row_says_no_more_than_a_commit_status() -> None:
    message = "arn:aws:lambda:eu-central-1:111111111111:function:orders answered {'card': '4111'}"
    failed = deployment().changed(START, message, Status.FAILED, reason=Reason("smoke_failed", message))
    assert merge_request_notes.row_of(failed, JOB).status == "failed: smoke_failed"


def test_the_newest_deployment_has_the_row_however_late_another_comes() -> None:
    newer = replace(ROW, deployment="01L")
    assert merge_request_notes.with_row([newer], ROW) == (newer,)
    assert merge_request_notes.with_row([ROW], newer) == (newer,)
    assert merge_request_notes.with_row([ROW], replace(ROW, status="succeeded"))[0].status == "succeeded"


def test_a_note_has_so_many_rows() -> None:
    rows: tuple[NoteRow, ...] = ()
    for number in range(MAX_ROWS + 10):
        rows = merge_request_notes.with_row(rows, replace(ROW, deployment=f"{number:03}", stage=f"s{number}"))
    assert len(rows) == MAX_ROWS
    assert "010" in {row.deployment for row in rows}
    assert merge_request_notes.rows_of({"rows": merge_request_notes.stored(rows)}) == rows


# The commit's time


def asked(simulation: NotifierSimulation) -> list[str]:
    return [path for _, path in simulation.requests if "stats=false" in path]


@pytest.mark.parametrize("gone", [False, True])
def test_the_time_of_a_served_commit_is_read_once(noted: NotifierSimulation, gone: bool) -> None:
    noted.api.ground.gone_commits = {SHA} if gone else set()
    sent(noted, deployment(Status.PUBLISHING))
    assert asked(noted) == []
    sent(noted, deployment(Status.SUCCEEDED), deployment(Status.SUCCEEDED, at=START + 60))
    assert len(asked(noted)) == 1
    expected = "" if gone else "2026-11-25T07:30:00.000Z"
    assert noted.commits.committed_at(JOB.issuer, "4213", SHA) == expected


@pytest.mark.parametrize("moment", ["", "yesterday", "9999-99-99", 7, None, "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_unknown(
    noted: NotifierSimulation, moment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stand.gitlab_api.COMMITTED", moment)
    sent(noted, deployment(Status.SUCCEEDED))
    assert noted.commits.committed_at(JOB.issuer, "4213", SHA) == ""


def test_requester_without_commit_has_no_note(noted: NotifierSimulation) -> None:
    by: Requester = replace(JOB, sha=None)
    sent(noted, deployment(Status.SUCCEEDED, by))
    assert noted.requests == []
