"""What the board's pages read for whom: no more than what the viewer can see."""

from dataclasses import replace
from typing import Final

import pytest

from sluicegate.board import lists
from sluicegate.board.lists import MAX_EXAMINED
from sluicegate.board.reads import CHUNK
from sluicegate.board.visibility import Visibility
from sluicegate.deployment.model import Requester, Status
from sluicegate.deployment.ulid import least_id
from sluicegate.store.codec import marshal, record
from sluicegate.store.serving import serving_after, serving_item
from sluicegate.store.store import Store
from support.board import ISSUERS, Board, person
from support.board_site import session_rule
from support.counting_table import CountingTable
from support.gateway_simulation import gate_of
from support.signing import ISSUER, NOW
from support.simulation import Clock, new_deployment

FUNCTIONS: Final = 20
DEPLOYMENTS: Final = 3_000
OWN: Final = 3
INDEXES: Final = {
    "by_function": "function",
    "by_project": "project",
    "by_time": "kind",
    "unfinished": "unfinished",
    "unsealed": "unsealed",
}
PAGES: Final = (
    "",
    "?search=orders",
    "activity",
    f"activity?before={least_id(NOW - 60.0)}",
    "activity?function=orders-3",
    "activity?stage=dev&from=2020-01-01",
    "functions/orders-3",
    "functions/nothing",
    "projects/corp/4213",
    "projects/corp/9",
    "holds",
    "delivery",
    "delivery?days=90&function=orders-3",
    "evidence",
)
NAMED: Final = session_rule("named", "read", claims={"user_id": ["20"]}, functions=["orders-1", "orders-2"])
WIDE: Final = session_rule("wide", "read", claims={"user_id": ["21"]}, functions=["**"])
ELSEWHERE: Final = session_rule("elsewhere", "read", claims={"user_id": ["22"]}, functions=["billing-*"])


@pytest.fixture(scope="module")
def table() -> CountingTable:
    """Deployments of one project, by minutes; a person has asked for the newest ones."""
    made = CountingTable(INDEXES)
    for number in range(DEPLOYMENTS):
        one = new_deployment(NOW - (number + 1) * 60.0, "b" * 64, f"orders-{number % FUNCTIONS}", "dev")
        by = Requester(ISSUER, "", user_id="23", via="session", actor="person")
        one = replace(one, requested_by=by) if number < OWN else one
        ended = replace(one, status=Status.SUCCEEDED, version=str(number + 1))
        made.add(marshal(record(ended if number % 2 else one)))
        if number < FUNCTIONS:
            made.add(marshal(serving_item(serving_after(ended))))
    return made


@pytest.fixture
def board(table: CountingTable, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board of a process that holds nothing yet."""
    clock = Clock(float(NOW))
    gate = gate_of(
        rules=(NAMED, WIDE, ELSEWHERE),
        issuers=ISSUERS,
        functions=[{"pattern": "**", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}],
    )
    made = Board(gate, Store(table, "table", clock), clock)  # type: ignore[arg-type]
    monkeypatch.setattr(
        "sluicegate.board.app.viewer_of", lambda *_: type("Seen", (), {"identity": made.viewer})
    )
    return made


def read(board: Board, table: CountingTable, user: str, page: str) -> tuple[int, int]:
    """The calls and the items of one page, of which nothing is held."""
    board.viewer = person(user, now=board.clock())
    board.context.reads.forget()
    table.calls = table.items = 0
    assert board.get(page).status in (200, 404)
    return table.calls, table.items


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_read_for_a_person_whom_no_rule_names(
    board: Board, table: CountingTable, page: str
) -> None:
    calls, items = read(board, table, "99", page)
    # The indexes of what the person has asked for are asked, and empty.
    assert (items, calls <= 2) == (0, True)


@pytest.mark.parametrize("user", ["99", "23", "22"])
@pytest.mark.parametrize(
    ("hidden", "missing"),
    [
        ("functions/orders-3", "functions/nothing"),
        ("projects/corp/4213", "projects/corp/9"),
        ("activity?function=orders-3", "activity?function=nothing"),
    ],
)
def test_what_may_not_be_seen_costs_as_much_as_what_there_is_not(
    board: Board, table: CountingTable, user: str, hidden: str, missing: str
) -> None:
    """Also for people with a rule elsewhere."""
    assert read(board, table, user, hidden) == read(board, table, user, missing)
    assert board.get(hidden).status == board.get(missing).status


@pytest.mark.parametrize(
    ("user", "page", "most"),
    [
        ("23", "activity", OWN),
        ("20", "activity", 2 * CHUNK),
        ("20", "activity?function=orders-1", CHUNK),
        ("20", "delivery?days=90", 2 * DEPLOYMENTS // FUNCTIONS),
        ("21", "activity", CHUNK),
        ("21", "activity?release=none", MAX_EXAMINED),
        ("22", "activity", MAX_EXAMINED),
    ],
)
def test_as_much_is_read_as_the_rules_can_name(
    board: Board, table: CountingTable, user: str, page: str, most: int
) -> None:
    _, items = read(board, table, user, page)
    assert items <= most


def shown(board: Board, user: str, page: str) -> int:
    board.viewer = person(user, now=board.clock())
    return board.text(page).count('<tr id="d-')


@pytest.mark.parametrize(
    ("user", "page", "count"),
    [
        ("23", "activity", OWN),
        ("23", "activity?function=orders-1", 1),
        ("23", "functions/orders-1", 1),
        ("20", "activity", 50),
        ("20", "activity?function=orders-2", 50),
        ("20", "functions/orders-2", 50),
        ("20", "projects/corp/4213", 50),
        ("21", "projects/corp/4213", 50),
        ("99", "activity", 0),
    ],
)
def test_and_all_of_that_is_shown(board: Board, user: str, page: str, count: int) -> None:
    assert shown(board, user, page) == count


def test_people_whom_no_rule_names_see_what_they_have_asked_for(board: Board) -> None:
    board.viewer = person("23", now=board.clock())
    page = board.text()
    assert page.count('<tr id="f-') == OWN
    # The first and the third are still under way.
    assert "Under way (2)" in page
    assert board.text("delivery").count('class="figures"') == 1


def test_pages_go_on_where_the_last_one_ended(board: Board) -> None:
    """The lists of several functions are merged, and each deployment is on one page."""
    reads, viewer = board.context.reads, Visibility(board.gate, person("20", now=board.clock()))
    found = list(lists.newest(reads, viewer))
    ids = [one.id for one in found]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 2 * DEPLOYMENTS // FUNCTIONS
    assert list(lists.newest(reads, viewer, before=ids[149])) == found[150:]
    of_one = [one for one in found[150:] if one.function == "orders-1"]
    assert list(lists.newest(reads, viewer, "orders-1", ids[149])) == of_one
