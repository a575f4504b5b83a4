"""What a request reads is bounded by what its caller may see: 10,000 deployments of 2,000 functions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sluicegate.gate.policy import Gate
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.context import Context
from sluicegate.gateway.endpoints import deployments, functions
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.oidc.jwks import Keyring
from sluicegate.owner import Owner
from sluicegate.store import keys
from sluicegate.store.codec import marshal, record
from sluicegate.store.serving import Serving, serving_item
from sluicegate.store.store import Store
from support.counting_table import CountingTable
from support.gateway_simulation import OTHER, gate_of, problem, refused, rule
from support.signing import ISSUER, NOW, token
from support.simulation import OWN, TABLE, new_deployment

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

DEPLOYMENTS, FUNCTIONS, PROJECTS = 10_000, 2_000, 50
STAGES = ("dev", "prod")


@dataclass
class Fleet:
    """A large installation. Function `orders-7` is of project 107."""

    table: CountingTable
    gate: Gate = field(default_factory=gate_of)
    ids: list[str] = field(default_factory=list)
    jobs: int = 0

    def __post_init__(self) -> None:
        self.store = self.process()

    def process(self) -> Store:
        """A store as each process has one."""
        return Store(cast(Any, self.table), TABLE, lambda: NOW)

    def ask(self, path: str, /, **query: str) -> GatewayResponse:
        """Ask as a job of project 4, or `project` of `issuer`."""
        self.jobs += 1
        claims = {"project_id": query.pop("project", "4"), "iss": query.pop("issuer", ISSUER)}
        headers = {"authorization": [f"Bearer {token(claims)}"]}
        named: dict[str, str] = {name: query.pop(name) for name in ("name", "id") if name in query}
        wanted = {name: [value] for name, value in query.items()}
        return dispatch(self.context, GatewayRequest("GET", path, named, wanted, headers, b"", "request"))

    @property
    def context(self) -> Context:
        nothing = cast(Any, None)
        return Context(
            gate=self.gate,
            keys=Keyring(clock=lambda: NOW),
            store=self.store,
            artifacts=nothing,
            executions=nothing,
            secrets=nothing,
            own=OWN,
            log=lambda *_, **__: None,
            waits=4,
            clock=lambda: NOW,
        )

    @property
    def reads(self) -> tuple[int, int]:
        """Calls and items that were read since this was asked last."""
        read = self.table.calls, self.table.items
        self.table.calls = self.table.items = 0
        return read

    def pages(self, path: str, /, **query: str) -> Iterator[GatewayResponse]:
        cursor: dict[str, str] = {}
        while True:
            page = self.ask(path, **query, **cursor)
            yield page
            if page.value["next_cursor"] is None:
                return
            cursor = {"cursor": page.value["next_cursor"]}


@pytest.fixture(scope="module")
def installation() -> Fleet:
    made = Fleet(CountingTable({"by_function": "function", "by_project": "project", "by_time": "kind"}))
    sample = marshal(record(new_deployment(NOW, "0" * 64)))
    for number in range(DEPLOYMENTS):
        made.ids.append(f"01K{number:023d}")
        project = str(100 + number % PROJECTS)
        by = {"M": sample["requested_by"]["M"] | {"project_id": {"S": project}}}
        changed = {
            **keys.record(made.ids[-1]),
            "id": made.ids[-1],
            "function": f"orders-{number % FUNCTIONS}",
            "project": keys.owner_key(Owner("project", ISSUER, project)),
        }
        made.table.add(sample | marshal(changed) | {"requested_by": by})
    for number in range(FUNCTIONS):
        for stage in STAGES:
            serving = _serving(f"orders-{number}", stage, str(100 + number % PROJECTS))
            made.table.add(marshal(serving_item(serving)))
    return made


@pytest.fixture
def fleet(installation: Fleet) -> Fleet:
    installation.store = installation.process()
    assert installation.reads
    return installation


def _serving(function: str, stage: str, project: str) -> Serving:
    where = {"account": OWN.account, "region": OWN.region, "alias": stage, "weights": {}}
    who = {"issuer": ISSUER, "project_id": project, "project_path": None, "user_login": None}
    more = {"ref": "main", "sha": None, "since": "", "deployment": "", "version": "1", "sha256": "0" * 64}
    return Serving(function=function, stage=stage, **where, **who, **more)  # type: ignore[arg-type]


LISTS = ("/functions", "/deployments")


def readers(*patterns: str, stages: tuple[str, ...] = STAGES) -> Any:
    """A gate file with one rule, for project 4."""
    claims = {"project_id": ["4"]}
    return gate_of(
        rules=(rule("readers", "read", claims=claims, functions=list(patterns), stages=list(stages)),)
    )


# A stranger


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"stage": "prod"},
        {"issuer": OTHER, "project": "101"},
    ],
)
def test_a_stranger_reads_nothing(fleet: Fleet, path: str, query: dict[str, str]) -> None:
    fleet.gate = readers("orders-1", stages=("dev",))
    page = fleet.ask(path, **{"project": "999", **query})
    assert page.value == {"items": [], "next_cursor": None}
    assert fleet.reads == (1, 0)


def test_a_strangers_filters_read_nothing_either(fleet: Fleet) -> None:
    fleet.gate = readers("orders-1")
    for query in ({"function": "orders-1"}, {"status": "failed"}, {"release": "v1"}, {"function": "no"}):
        page = fleet.ask("/deployments", project="999", **query)
        assert page.value == {"items": [], "next_cursor": None}
    assert fleet.reads == (4, 0)


def test_a_stranger_reads_the_stages_of_one_function_at_most(fleet: Fleet) -> None:
    fleet.gate = readers("orders-1")
    assert problem(fleet.ask, "/functions/{name}", name="orders-1", project="999").status == 404
    assert fleet.reads == (1, len(STAGES))
    assert problem(fleet.ask, "/deployments/{id}", id=fleet.ids[0], project="999").status == 404
    assert fleet.reads == (1, 1)
    assert problem(fleet.ask, "/deployments/{id}", id="x", project="999").status == 404
    assert fleet.reads == (0, 0)


# Its own


def test_a_project_without_rules_reads_its_own_only(fleet: Fleet) -> None:
    fleet.gate = gate_of(rules=())
    pages = list(fleet.pages("/functions", project="107"))
    names = [item["function"] for page in pages for item in page.value["items"]]
    assert names == sorted(f"orders-{number}" for number in range(7, FUNCTIONS, PROJECTS))
    assert fleet.reads[1] == len(names) * len(STAGES)
    page = fleet.ask("/deployments", project="107", limit="20")
    assert len(page.value["items"]) == 20
    assert fleet.reads[1] <= 100 + 1  # one page, and the key of cursors


# By rules


@pytest.mark.parametrize(
    ("patterns", "visible"),
    [
        (["orders-1"], 1),
        (["orders-1", "orders-12"], 2),
        (["orders-19*"], 111),
        (["orders-19*", "orders-1999", "orders-199*"], 111),
        (["billing-*"], 0),
    ],
)
def test_functions_are_read_where_the_callers_rules_name_them(
    fleet: Fleet, patterns: list[str], visible: int
) -> None:
    fleet.gate = readers(*patterns)
    pages = list(fleet.pages("/functions"))
    names = [item["function"] for page in pages for item in page.value["items"]]
    assert len(names) == len(set(names)) == visible
    assert all(len(item["stages"]) == 2 for page in pages for item in page.value["items"])
    assert fleet.reads[1] <= visible * len(STAGES) * 2 + len(pages) * 200


@pytest.mark.parametrize("path", LISTS)
def test_a_list_of_what_nobody_may_see_ends_and_each_page_is_bounded(fleet: Fleet, path: str) -> None:
    """A pattern that begins with a star names no place: all is read, some of it for each page."""
    fleet.gate = readers("*-nothing")
    count = 0
    for page in fleet.pages(path):
        count += 1
        assert page.value["items"] == []
    bound = {"/functions": functions.MAX_EXAMINED, "/deployments": deployments.MAX_EXAMINED}[path]
    whole = {"/functions": FUNCTIONS * len(STAGES), "/deployments": DEPLOYMENTS}[path]
    assert count <= whole / bound + 2
    assert fleet.reads[1] <= count * (bound + 200)


def test_deployments_of_named_functions_are_read_from_their_indexes(fleet: Fleet) -> None:
    fleet.gate = readers("orders-1", "orders-7")
    page = fleet.ask("/deployments", limit="100")
    found = [item["id"] for item in page.value["items"]]
    wanted = [each for number, each in enumerate(fleet.ids) if number % FUNCTIONS in (1, 7)]
    assert found == sorted(wanted, reverse=True)
    assert fleet.reads == (3, len(wanted))
    two = [fleet.ask("/deployments", limit="6")]
    two.append(fleet.ask("/deployments", limit="100", cursor=two[0].value["next_cursor"]))
    assert [item["id"] for page in two for item in page.value["items"]] == found


# Cursors


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_tells_nothing(fleet: Fleet, path: str) -> None:
    fleet.gate = readers("*-nothing")
    cursors = [fleet.ask(path).value["next_cursor"] for _ in range(2)]
    assert cursors[0] != cursors[1]
    assert len(cursors[0]) == len(cursors[1])
    for name in (fleet.ids[-deployments.MAX_EXAMINED], "orders", "01K"):
        assert name not in cursors[0]


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_is_good_for_its_project_and_its_list_alone(fleet: Fleet, path: str) -> None:
    fleet.gate = readers("**")
    cursor = fleet.ask(path).value["next_cursor"]
    assert fleet.ask(path, cursor=cursor).status == 200
    [other] = set(LISTS) - {path}
    flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for wrong in (
        lambda: fleet.ask(path, cursor=cursor, project="5"),
        lambda: fleet.ask(path, cursor=cursor, issuer=OTHER),
        lambda: fleet.ask(other, cursor=cursor),
        lambda: fleet.ask(path, cursor=cursor[:20] + cursor[22:]),
        lambda: fleet.ask(path, cursor=flipped[:40] + "x" + flipped[41:]),
        lambda: fleet.ask(path, cursor=fleet.ids[0]),
        lambda: fleet.ask(path, cursor="orders-1"),
        lambda: fleet.ask(path, cursor="A"),
        lambda: fleet.ask(path, cursor=""),
        lambda: fleet.ask(path, cursor="A" * 300),
    ):
        refused(400, "invalid_request", wrong)


def test_all_processes_have_one_key(fleet: Fleet) -> None:
    fleet.gate = readers("**")
    first = fleet.ask("/functions").value["next_cursor"]
    fleet.store = fleet.process()
    assert fleet.ask("/functions", cursor=first).status == 200
