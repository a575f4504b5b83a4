"""`GET /deployments/{id}?after=…&wait=…`: waiting for news, by a clock that only sleeping moves."""

from collections.abc import Iterator

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.http import GatewayRequest
from support.gateway_simulation import GatewaySimulation, artifact, gateway_simulation, problem
from support.signing import token

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made


def read(at: GatewaySimulation, deployment: Deployment, *, after: int, **claims: str) -> float:
    """Ask for news after a revision, for 20 seconds; how long the answer took."""
    began = at.clock()
    headers = {"authorization": [f"Bearer {token(at.job(**claims))}"]}
    query = {"after": [str(after)], "wait": ["20"]}
    call = GatewayRequest("GET", "/deployments/{id}", {"id": deployment.id}, query, headers, b"", "request")
    answer = dispatch(at.context, call)
    assert (answer.status, answer.value["id"]) == (200, deployment.id)
    return at.clock() - began


def test_without_news_the_answer_comes_when_the_wait_is_over(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    assert read(at, deployment, after=deployment.revision) == pytest.approx(20)


def test_news_is_answered_at_once(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    assert read(at, deployment, after=deployment.revision - 1) == 0


def test_what_is_final_is_not_waited_for(at: GatewaySimulation) -> None:
    deployment = at.release(artifact(at, b"new"))
    assert deployment.status is Status.SUCCEEDED
    assert read(at, deployment, after=999_999) == 0


def test_a_caller_that_may_not_see_it_does_not_wait(at: GatewaySimulation) -> None:
    deployment, began = at.deploy(artifact(at, b"new")), at.clock()
    found = problem(read, at, deployment, after=999_999, project_id="4214")
    assert (found.status, at.clock()) == (404, began)
