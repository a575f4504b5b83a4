"""Reads that every viewer shares: few, however many look, and none that shows more than the rules do."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from sluicegate.board.reads import HELD, Reads
from sluicegate.board.visibility import Visibility
from sluicegate.deployment.model import Requester, Status
from sluicegate.deployment.ulid import new_id
from sluicegate.gateway.authorization import may_see
from sluicegate.store.codec import marshal
from sluicegate.store.deployments import DeploymentSummary
from sluicegate.store.serving import Serving, ServingPlace, serving_item
from sluicegate.store.store import Store
from support.board import ISSUERS, MANAGERS, Board, person
from support.counting_table import CountingTable
from support.gateway_simulation import gate_of, rule
from support.signing import ISSUER, NOW
from support.simulation import Clock

FUNCTIONS: Final = 2_000
STAGES: Final = ("dev", "prod")
VIEWERS: Final = 100
INDEXES: Final = {
    "by_function": "function",
    "by_project": "project",
    "by_time": "kind",
    "unfinished": "unfinished",
}

WIDE: Final = MANAGERS | {
    "functions": ["**"],
    "claims": {"user_id": [str(number) for number in range(VIEWERS)]},
}


def serving(function: str, stage: str) -> Serving:
    by = Requester(ISSUER, "4213", "acme/orders", user_login="ada", ref="v1.0.0", sha="a" * 40)
    return Serving(
        *(function, stage, stage, "111111111111", "eu-central-1", "41", "b" * 64, {}, new_id(NOW)),
        *("2026-11-20T12:00:00Z", ISSUER, "4213", "acme/orders", "ada", "v1.0.0", "a" * 40),
        by=by,
    )


@pytest.fixture(scope="module")
def table() -> CountingTable:
    made = CountingTable(INDEXES)
    for number in range(FUNCTIONS):
        for stage in STAGES:
            made.add(marshal(serving_item(serving(f"service-{number:04}", stage))))
    return made


@pytest.fixture
def boards(table: CountingTable) -> Iterator[list[Board]]:
    """Boards of as many viewers, all answered by one process."""
    clock = Clock(float(NOW))
    store = Store(table, "table", clock)  # type: ignore[arg-type]
    gate = gate_of(
        rules=(WIDE,),
        issuers=ISSUERS,
        functions=[{"pattern": "**", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}],
    )
    first = Board(gate, store, clock)
    made = []
    for number in range(VIEWERS):
        one = replace(first)
        one.viewer = person(str(number), f"user-{number}", clock())
        one.context = first.context
        one.cookies = {"cookie": f"{number}"}
        made.append(one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sluicegate.board.app.viewer_of",
            lambda _, request: type("Seen", (), {"identity": made[int(request.header("cookie"))].viewer}),
        )
        yield made


def counted(table: CountingTable, look: Any) -> tuple[int, int]:
    table.calls = table.items = 0
    look()
    return table.calls, table.items


def test_a_hundred_viewers_cost_as_many_reads_as_one(boards: list[Board], table: CountingTable) -> None:
    calls, items = counted(table, boards[0].text)
    # All aliases without what they serve, then the fifty functions of one page.
    assert calls <= 10
    assert items <= FUNCTIONS * len(STAGES) + 50 * len(STAGES) + 20
    # Each of the others reads what it has done itself, and nothing else: an index with one query.
    more, _ = counted(table, lambda: [board.text() for board in boards[1:]])
    assert more <= VIEWERS
    for board in boards:
        board.clock.now += HELD / VIEWERS / 2
    again, _ = counted(table, lambda: [board.text() for board in boards])
    assert again == 0


def test_fifty_functions_are_on_a_page(boards: list[Board]) -> None:
    page = boards[0].text()
    assert page.count('<tr id="f-') == 50
    assert "Page 1 of 40" in page
    assert boards[0].text("?page=40").count('<tr id="f-') == 50
    assert "service-1999" in boards[0].text("?page=40")
    assert len(page) < 120_000


def test_search_is_on_the_server(boards: list[Board], table: CountingTable) -> None:
    boards[0].text()
    calls, items = counted(table, lambda: boards[0].text("?search=199"))
    assert calls <= 1
    assert items <= 24
    found = re.findall(r'<tr id="f-([^"]+)"', boards[0].text("?search=199"))
    assert len(found) == 12
    assert all("199" in name for name in found)


def test_what_is_held_is_read_again_after_seconds(boards: list[Board], table: CountingTable) -> None:
    boards[0].text()
    boards[0].clock.now += 45
    calls, _ = counted(table, boards[0].text)
    assert 0 < calls <= 10


def test_a_read_that_fails_is_not_held() -> None:
    class Broken:
        def __getattr__(self, _: str) -> Any:
            raise OSError("no connection")

    reads = Reads(Broken(), ("dev",), lambda: NOW)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OSError, match="no connection"):
            reads.unfinished()


@pytest.mark.parametrize("function", ["orders", "orders-mail", "billing", "sluicegate-gateway", ""])
@pytest.mark.parametrize("stage", ["dev", "prod", "gone"])
@pytest.mark.parametrize("user", ["8", "9", "99"])
def test_a_viewer_sees_what_the_api_shows(function: str, stage: str, user: str) -> None:
    """The quick look and the API's own agree, also about what the viewer has done itself."""
    narrow = rule("narrow", "read", via="session", claims={}) | {
        "claims": {"user_id": ["9"]},
        "functions": ["orders", "billing"],
        "stages": ["dev"],
    }
    gate = gate_of(rules=(MANAGERS, narrow), issuers=ISSUERS, deny=[denied("99")])
    identity = person(user)
    viewer = Visibility(gate, identity)
    own = Requester(ISSUER, "", user_id=user, via="session")
    other = Requester(ISSUER, "4213")
    for by in (own, other):
        item = DeploymentSummary(
            new_id(NOW),
            Status.SUCCEEDED,
            "deploy",
            function,
            stage,
            by,
            "t",
            "t",
        )
        assert viewer.sees(item) is may_see(gate, identity, item)
        one = replace(serving(function, stage), by=by)
        assert viewer.sees(one) is may_see(gate, identity, one)
    place = ServingPlace(function, stage, "1", "r", stage)
    assert viewer.sees_place(place) is gate.may_see(identity, function=function, stage=stage)


def denied(user_id: str) -> dict[str, Any]:
    return {"issuer": ISSUER, "claims": {"user_id": [user_id]}}
