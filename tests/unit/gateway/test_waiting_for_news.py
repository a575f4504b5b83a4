"""`GET /deployments/{id}?after=…&wait=…`: waiting for news, by a clock that only sleeping moves."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sluicegate.deployment.call_budget import CallClass
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.observations import Observation, Verdict
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.endpoints.deployments import HELD, LONGEST_PAUSE, pause_of
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.owner import Owner
from sluicegate.store.call_budget import CallClaim
from sluicegate.store.codec import marshal
from sluicegate.store.polls import Polls, places_of
from sluicegate.store.table import Table
from support.gateway_simulation import (
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    problem,
    rule,
)
from support.lambda_model import error
from support.line_model import take
from support.signing import ISSUER, token
from support.simulation import OWN, TABLE

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

OWNER = Owner("project", ISSUER, "4213")


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made


def ask(
    at: GatewaySimulation, deployment: Deployment, *, after: int, wait: int = 20, **claims: str
) -> GatewayResponse:
    """Ask for news after a revision."""
    headers = {"authorization": [f"Bearer {token(at.job(**claims))}"]}
    query = {"after": [str(after)], "wait": [str(wait)]}
    call = GatewayRequest("GET", "/deployments/{id}", {"id": deployment.id}, query, headers, b"", "request")
    answer = dispatch(at.context, call)
    assert (answer.status, answer.value["id"]) == (200, deployment.id)
    return answer


def read(
    at: GatewaySimulation, deployment: Deployment, *, after: int, wait: int = 20, **claims: str
) -> float:
    """Ask for news after a revision; how long the answer took."""
    began = at.clock()
    ask(at, deployment, after=after, wait=wait, **claims)
    return at.clock() - began


def test_without_news_the_answer_comes_after_five_seconds(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    assert read(at, deployment, after=deployment.revision) == pytest.approx(HELD)
    assert read(at, deployment, after=deployment.revision, wait=2) == pytest.approx(2)


@pytest.mark.parametrize(
    ("status", "bake", "since", "pause"),
    [
        (Status.ACCEPTED, 600, 0, 0),
        (Status.PUBLISHING, 600, 0, 0),
        (Status.VERIFYING, 600, 0, 0),
        (Status.SHIFTING, 600, 0, 0),
        (Status.ROLLING_BACK, 600, 0, 0),
        (Status.QUEUED, 600, 0, 2),
        (Status.AWAITING_APPROVAL, 600, 0, LONGEST_PAUSE),
        (Status.BAKING, 600, 0, LONGEST_PAUSE),
        (Status.BAKING, 60, 0, 6),
        (Status.BAKING, 2, 0, 1),
        (Status.BAKING, 600, 597, 3),
        (Status.BAKING, 600, 599.5, 1),
        (Status.BAKING, 600, 700, 1),  # its turn is late
        (Status.SUCCEEDED, 600, 0, 0),
    ],
)
def test_where_no_news_is_due_within_seconds_the_caller_waits_itself(
    at: GatewaySimulation, status: Status, bake: int, since: float, pause: int
) -> None:
    accepted = at.deploy(artifact(at, b"new"))
    now = at.clock()
    plan = replace(accepted.plan, steps=(TrafficStep(10, bake), TrafficStep(100, 0)))
    deployment = replace(accepted, status=status, plan=plan, since=timestamp(now - since), step=0)
    assert pause_of(deployment, now) == pause


def test_while_a_version_bakes_the_answer_comes_at_once_and_says_when_to_ask_again() -> None:
    steps = (TrafficStep(10, 600), TrafficStep(100, 0))
    with gateway_simulation(gate=gate_of({"prod": Rollout(steps=steps)})) as at:
        at.finish(at.deploy(artifact(at, b"old")))
        deployment = at.run_until(at.deploy(artifact(at, b"new")), Status.BAKING)
        began = at.clock()
        answer = ask(at, deployment, after=deployment.revision)
        assert (at.clock() - began, answer.headers["Retry-After"]) == (0, "10")
        assert "Retry-After" not in ask(at, deployment, after=deployment.revision - 1).headers
        assert "Retry-After" not in ask(at, deployment, after=deployment.revision, wait=0).headers


def test_in_line_the_answer_says_when_the_deployment_looks_for_its_turn_again(at: GatewaySimulation) -> None:
    """300 jobs that asked every two seconds would ask for three times what the API takes.

    guarantees.md#13-a-burst-waits-its-turn
    """
    at.store.calls.charge(OWN, 14)
    for number in range(80):
        claim = CallClaim(f"other-{number}", f"project-{number}", CallClass.DEPLOY, 3)
        take(at.store.calls, OWN, claim, in_line=False)
    deployment = at.run_until(at.deploy(artifact(at, b"new")), Status.QUEUED)
    assert deployment.in_line
    began, pauses = at.clock(), []
    for _ in range(4):
        pauses.append(int(ask(at, deployment, after=deployment.revision).headers["Retry-After"]))
        at.clock.sleep(6)
    assert at.clock() - began == pytest.approx(24)  # none was held
    assert (pauses[0], pauses[-1]) == (LONGEST_PAUSE, 2)
    assert any(2 < pause < LONGEST_PAUSE for pause in pauses)


def test_news_is_answered_at_once(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    assert read(at, deployment, after=deployment.revision - 1) == 0


def test_what_is_final_is_not_waited_for(at: GatewaySimulation) -> None:
    deployment = at.release(artifact(at, b"new"))
    assert deployment.status is Status.SUCCEEDED
    assert read(at, deployment, after=999_999) == 0


def test_a_caller_that_may_not_see_it_does_not_wait(at: GatewaySimulation) -> None:
    deployment, began = at.deploy(artifact(at, b"new")), at.clock()
    found = problem(read, at, deployment, after=deployment.revision, project_id="4214")
    assert (found.status, at.clock()) == (404, began)


def test_a_revision_that_does_not_exist_is_not_waited_for(at: GatewaySimulation) -> None:
    """No caller has seen it, so nothing but a wish to occupy the watcher asks for it."""
    deployment = at.deploy(artifact(at, b"new"))
    for after in (deployment.revision + 1, 999_999_999):
        assert read(at, deployment, after=after) == 0


# Places


def waiting(at: GatewaySimulation, deployment: Deployment, project: str, count: int) -> list[GatewayResponse]:
    """So many more calls of a project while they all wait: each begins inside the wait of the one before."""
    answers: list[GatewayResponse] = []
    if count:
        sleep, begun = at.clock.sleep, False

        def nested(seconds: float) -> None:
            nonlocal begun
            if not begun:
                begun = True
                answers.extend(waiting(at, deployment, project, count - 1))
            sleep(seconds)

        at.clock.sleep = nested  # type: ignore[method-assign]
        try:
            answers.append(ask(at, deployment, after=deployment.revision, project_id=project))
        finally:
            at.clock.sleep = sleep  # type: ignore[method-assign]
    return answers


def shed(answers: list[GatewayResponse]) -> int:
    return sum("Retry-After" in answer.headers for answer in answers)


@pytest.mark.parametrize(("concurrency", "places", "share"), [(1, 1, 1), (4, 4, 3), (10, 8, 6), (50, 40, 30)])
def test_a_project_occupies_three_quarters_of_the_places(concurrency: int, places: int, share: int) -> None:
    shares = [set(places_of(Owner("project", ISSUER, str(project)), concurrency)) for project in range(200)]
    assert {len(each) for each in shares} == {share}
    assert set.union(*shares) == set(range(places))
    assert places_of(OWNER, concurrency) == places_of(OWNER, concurrency)


def test_what_finds_no_place_is_answered_at_once_with_the_state(at: GatewaySimulation) -> None:
    at.gate = gate_of(rules=(RELEASERS, rule("readers", "read", claims={"project_id": ["99"]})))
    deployment = at.deploy(artifact(at, b"new"))
    many = waiting(at, deployment, "4213", 20)
    assert [answer.value["revision"] for answer in many] == [deployment.revision] * len(many)
    assert shed(many) == 1  # the call that found no place did not wait, and so began no other
    assert len(many) - shed(many) == 3
    assert ("wait_shed", {"deployment": deployment.id, "owner": f"4213@{ISSUER}"}) in at.notes


def test_a_project_that_exhausts_its_places_leaves_some_to_others(at: GatewaySimulation) -> None:
    at.gate = gate_of(rules=(RELEASERS, rule("readers", "read", claims={"project_id": ["99"]})))
    at.polls = 10
    deployment = at.deploy(artifact(at, b"new"))
    now = int(at.clock())
    for number in places_of(OWNER, 10):
        item = {"pk": f"poll#shared#{number}", "sk": "poll", "poller": "another", "lease": now + 20}
        at.client.put_item(TableName=TABLE, Item=marshal(item))
    assert read(at, deployment, after=deployment.revision) == 0
    others = places_of(replace(OWNER, id="99"), 10)
    assert set(others) - set(places_of(OWNER, 10))
    took = [read(at, deployment, after=deployment.revision, project_id="99") for _ in range(12)]
    assert max(took) == pytest.approx(HELD)


def test_a_place_is_freed_and_a_dead_calls_place_is_free_again(at: GatewaySimulation) -> None:
    at.polls = 1
    deployment = at.deploy(artifact(at, b"new"))
    for _ in range(3):
        assert read(at, deployment, after=deployment.revision) == pytest.approx(HELD)
    assert at.store.polls.take(OWNER, 1, 20) is not None
    assert read(at, deployment, after=deployment.revision) == 0
    at.clock.sleep(25)
    assert read(at, deployment, after=deployment.revision) == pytest.approx(HELD)


def test_functions_with_a_pool_of_their_own_wait_although_all_other_places_are_taken(
    at: GatewaySimulation,
) -> None:
    table = Table(at.client, TABLE, at.clock.sleep)
    shared, own = (Polls(table, at.clock, pool) for pool in ("shared", "iam"))
    while shared.take(OWNER, 1, 20):
        pass
    place = own.take(OWNER, 1, 20)
    assert place is not None
    own.free(place)
    assert shared.take(OWNER, 1, 20) is None


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_where_places_cannot_be_counted_nobody_waits(at: GatewaySimulation, code: str) -> None:
    deployment = at.deploy(artifact(at, b"new"))

    def fails(**_: object) -> None:
        raise error(code, 400)

    at.listen("before-call.dynamodb.UpdateItem", fails)
    answer = ask(at, deployment, after=deployment.revision)
    assert answer.headers["Retry-After"] == "5"


def test_a_whole_wait_costs_two_writes_and_a_few_reads(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    calls: list[str] = []
    at.listen("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    read(at, deployment, after=deployment.revision)
    assert calls.count("UpdateItem") == 2
    assert calls.count("GetItem") <= 14
    assert len(calls) == calls.count("UpdateItem") + calls.count("GetItem")


def test_all_observations_are_shown_on_demand(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    looks = tuple(Observation(f"2026-11-26T14:00:0{index}.000Z", 0, 0.1, Verdict.UNCLEAR) for index in (1, 2))
    at.context.store.deployments.save(deployment, deployment.changed(at.clock(), "seen", observations=looks))

    def shown(query: dict[str, list[str]]) -> GatewayResponse:
        headers = {"authorization": [f"Bearer {token(at.job())}"]}
        path = {"id": deployment.id}
        return dispatch(
            at.context, GatewayRequest("GET", "/deployments/{id}", path, query, headers, b"", "r")
        )

    newest, every = shown({}).value, shown({"observations": ["all"]}).value

    assert newest["observation"]["at"] == every["observation"]["at"] == "2026-11-26T14:00:02.000Z"
    assert "observations" not in newest
    assert [look["at"][-5:-1] for look in every["observations"]] == [".000"] * 2
    assert len(every["observations"]) == 2
    for wrong in (["none"], ["all", "all"]):
        assert problem(shown, {"observations": wrong}).status == 400
