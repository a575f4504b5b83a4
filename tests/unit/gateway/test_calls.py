"""How often a deployment asks AWS, exactly, by kind: each call takes time, money, or a share of a quota.

The deployer's one UpdateItem takes the calls to Lambda from the budget that deployments share.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from support.gateway_simulation import GatewaySimulation, artifact, gateway_simulation, refused
from support.unprocessed import leave

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    """`dev` and `prod` have served a version each, and the next deployment is not their first."""
    with gateway_simulation() as made:
        for code in (b"first", b"second"):
            sha256 = artifact(made, code)
            for stage in ("dev", "prod"):
                made.finish(made.deploy(sha256, stage=stage))
        yield made


def table_calls(at: GatewaySimulation) -> list[str]:
    """Grows with the name of each call to the table."""
    calls: list[str] = []
    at.listen("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    return calls


def counted(at: GatewaySimulation, ask: Callable[[], Any]) -> dict[str, dict[str, int]]:
    """The calls of one deployment: the table's of the gateway and of the deployer, and Lambda's."""
    calls = table_calls(at)
    answer = ask()
    gateway = Counter(calls)
    calls.clear()
    at.model.calls.clear()
    at.machine.run()
    deployer, function = Counter(calls), Counter(at.model.calls)
    ended: Deployment | None = at.store.deployments.get(answer.value["id"])
    assert ended is not None
    assert ended.status is Status.SUCCEEDED, json.dumps([entry.message for entry in ended.timeline])
    return {"gateway": gateway, "deployer": deployer, "lambda": function}


def test_a_deployment_of_new_code(at: GatewaySimulation) -> None:
    """Eight calls of the table, and three of the control plane: GetFunction has a quota of its own."""
    sha256 = artifact(at, b"third")
    found = counted(at, lambda: at.request(action="deploy", artifact={"sha256": sha256}))
    assert found == {
        "gateway": {"BatchGetItem": 1, "TransactWriteItems": 1},
        "deployer": {"GetItem": 1, "BatchGetItem": 1, "UpdateItem": 1, "TransactWriteItems": 3},
        "lambda": {
            "GetFunction": 3,
            "UpdateFunctionCode": 1,
            "PublishVersion": 1,
            "UpdateAlias": 1,
        },
    }


def test_a_deployment_of_a_pipeline_that_has_deployed_there_writes_once(at: GatewaySimulation) -> None:
    """The number of the pipeline does not grow: it is not tried to write it."""
    for code in (b"third", b"fourth"):
        wanted: Any = {"action": "deploy", "artifact": {"sha256": artifact(at, code)}}
        found = counted(at, partial(at.request, at.job(pipeline_id="5000"), **wanted))
        assert found["deployer"] == {
            "GetItem": 1,
            "BatchGetItem": 1,
            "UpdateItem": 1,
            "TransactWriteItems": 3,
        }


def test_a_rollback(at: GatewaySimulation) -> None:
    found = counted(at, lambda: at.request(action="rollback"))
    assert found == {
        "gateway": {"BatchGetItem": 1, "GetItem": 2, "Query": 4, "TransactWriteItems": 1},
        "deployer": {"GetItem": 1, "BatchGetItem": 1, "UpdateItem": 1, "TransactWriteItems": 2},
        "lambda": {"GetAlias": 1, "GetFunction": 2, "UpdateAlias": 1},
    }


def test_a_promotion(at: GatewaySimulation) -> None:
    at.finish(at.deploy(artifact(at, b"third"), stage="dev"))
    at.machine.run()
    served = at.model.serves("orders", "dev")
    assert served is not None
    wanted: Any = {"action": "promote", "version": served[0], "from": "dev"}
    found = counted(at, partial(at.request, **wanted))
    assert found == {
        "gateway": {"BatchGetItem": 1, "GetItem": 2, "Query": 1, "TransactWriteItems": 1},
        "deployer": {"GetItem": 1, "BatchGetItem": 1, "UpdateItem": 1, "TransactWriteItems": 2},
        "lambda": {"GetAlias": 1, "GetFunction": 2, "UpdateAlias": 1},
    }


def test_an_artifact_of_another_pipeline_takes_one_call_more(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"third", ref="other")
    found = counted(at, lambda: at.request(action="deploy", artifact={"sha256": sha256}))
    assert found["gateway"] == {"BatchGetItem": 1, "Query": 1, "TransactWriteItems": 1}


def test_a_repetition_is_answered_whatever_has_come_since(at: GatewaySimulation) -> None:
    """It is looked up before anything can refuse it: a hold, an artifact that is gone, an expectation."""
    sha256, job = artifact(at, b"third"), at.job()
    wanted: Any = {"action": "deploy", "artifact": {"sha256": sha256}, "expect": {"version": "2"}}
    first = at.request(job, **wanted)
    at.machine.run()
    at.hold()
    calls = table_calls(at)
    again = at.request(job, **wanted)
    assert (again.status, again.value["id"]) == (200, first.value["id"])
    assert calls == ["BatchGetItem", "GetItem"]


def test_an_acceptance_waits_for_what_dynamodb_leaves(at: GatewaySimulation) -> None:
    at.hold()
    sha256, asked = artifact(at, b"third"), leave(at, times=2)
    refused(409, "held", at.request, action="deploy", artifact={"sha256": sha256})
    assert [len(call["Keys"]) for call in asked] == [3, 2, 1]
