"""Many functions released at once, through Lambda's quotas: they wait in line, and none fails."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from stand import Stand, package
from stand.lambda_quotas import LambdaQuotas, lambda_quotas

pytestmark = pytest.mark.extended

MANY = 8
CLAIMS = {"project_id": "4700", "ref_type": "tag", "ref": "v1.4.0", "ref_protected": "true"}


@pytest.fixture(scope="module")
def quotas(stand: Stand) -> Iterator[LambdaQuotas]:
    with lambda_quotas(stand) as made:
        yield made


@pytest.fixture(scope="module")
def functions(stand: Stand) -> Iterator[list[str]]:
    names = [f"stock-burst-{uuid4().hex[:6]}" for _ in range(MANY)]
    for name in names:
        stand.create_function(name)
    yield names
    for name in names:
        stand.delete_function(name)


def release(stand: Stand, function: str, text: str) -> tuple[str, str]:
    """Deploy to staging; the deployment and the token that may read it."""
    token = stand.token(**CLAIMS)
    data = package(f"def handler(event, context):\n    return {text!r}\n")
    sha256 = stand.upload(function, data, token=token)
    body = {"action": "deploy", "function": function, "stage": "staging", "artifact": {"sha256": sha256}}
    for _ in range(20):
        answer = stand.http("POST", "/deployments", body, token=token, timeout=120)
        if answer.status_code == 202:
            break
        time.sleep(0.5)
    return answer.json()["id"], token


def take_all(stand: Stand, calls_of_seconds: int) -> None:
    """Other deployments have just taken the calls of so many seconds."""
    key = {"pk": {"S": f"budget#{stand.account_id}#{stand.region}"}, "sk": {"S": "bucket"}}
    until = int((time.time() + calls_of_seconds) * 1_000)
    stand.client("dynamodb").put_item(TableName=stand.table, Item={**key, "spent_until": {"N": str(until)}})


def test_a_burst_waits_in_line_and_a_rollback_does_not(
    stand: Stand, quotas: LambdaQuotas, functions: list[str]
) -> None:
    for text in ("one", "two"):
        first, token = release(stand, functions[0], text)
        assert stand.wait(first, token=token)["status"] == "succeeded"
    take_all(stand, 20)
    with ThreadPoolExecutor(MANY) as pool:
        released = list(pool.map(lambda name: release(stand, name, "three"), functions[1:]))
        body = {"action": "rollback", "function": functions[0], "stage": "staging"}
        token = stand.token(**CLAIMS)
        answer = stand.http("POST", "/deployments", body, token=token, timeout=120)
        assert answer.status_code == 202, answer.text
        back = stand.wait(answer.json()["id"], token=token)
        ended = [stand.wait(one, token=token) for one, token in released]
    assert [one["status"] for one in (*ended, back)] == ["succeeded"] * MANY
    assert quotas.shared.throttled == []
    said = [entry["message"] for one in ended for entry in one["timeline"] if "in line" in entry["message"]]
    assert said
    assert len({message.partition(" ")[0] for message in said}) > 1  # not all were the 1st
    assert "in line" not in str(back["timeline"])
    assert [stand.invoke(name, alias="staging") for name in functions] == ["one"] + ["three"] * (MANY - 1)
