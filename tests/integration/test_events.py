"""Each change of a deployment reaches every listener of the bus, whatever fails between."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stand import Stand, package
from stand.listener import Listener, listening

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def listener(stand: Stand) -> Iterator[Listener]:
    with listening(stand) as listener:
        yield listener


def start(stand: Stand, function: str, stage: str = "dev") -> tuple[str, str]:
    """A deployment on its way, and the token that asked for it."""
    token = stand.token()
    sha256 = stand.upload(function, package(f"# {function} {stage}\n" + SOURCE), token=token)
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}}
    answer = stand.http("POST", "/deployments", body, token=token)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], token


SOURCE = "def handler(event, context):\n    return {}\n"


def release(stand: Stand, function: str, stage: str = "dev") -> dict[str, Any]:
    id_, token = start(stand, function, stage)
    return stand.wait(id_, token=token)


def revisions(events: list[dict[str, Any]]) -> list[int]:
    return [event["detail"]["revision"] for event in events]


def test_every_revision_is_heard_in_order(stand: Stand, function: str, listener: Listener) -> None:
    done = release(stand, function)
    heard = listener.until(done["id"], done["revision"])
    assert revisions(heard) == list(range(1, done["revision"] + 1))
    assert [event["detail"]["entry"] for event in heard] == done["timeline"]
    statuses = [event["detail"]["status"] for event in heard]
    assert [event["detail"]["previous_status"] for event in heard] == [None, *statuses[:-1]]
    assert [event["detail"]["final"] for event in heard] == [False] * (len(heard) - 1) + [True]


def test_the_last_event_is_the_deployment_as_the_api_shows_it(
    stand: Stand, function: str, listener: Listener
) -> None:
    shown = release(stand, function, "prod")
    *_, last = listener.until(shown["id"], shown["revision"])
    assert (last["source"], last["detail-type"]) == ("sluicegate", "Sluicegate Deployment")
    assert last["resources"] == [f"arn:aws:lambda:{stand.region}:{stand.account_id}:function:{function}"]
    detail = last["detail"]
    assert (detail.pop("version"), detail.pop("deployed_version")) == (1, shown.pop("version"))
    assert detail.pop("entry") == shown.pop("timeline")[-1]
    del detail["previous_status"]
    assert detail.pop("board").endswith(shown["links"].pop("board"))
    assert detail == shown


def test_one_that_fails_says_why(stand: Stand, listener: Listener) -> None:
    done = release(stand, "orders-that-is-not-there")
    assert done["status"] == "failed"
    *_, last = listener.until(done["id"], done["revision"])
    assert last["detail"]["reason"] == done["reason"]
    assert last["detail"]["reason"]["code"] == "function_not_found"


def test_what_is_heard_has_the_fields_that_the_page_says(
    stand: Stand, function: str, listener: Listener
) -> None:
    page = (DOCS / "events.md").read_text()
    example = re.findall(r"```json\n(.*?)```", page, re.S)[0]
    documented = json.loads(example)
    done = release(stand, function)
    heard = listener.until(done["id"], done["revision"])
    for event in heard:
        assert event.keys() == documented.keys()
        assert event["detail"].keys() == documented["detail"].keys()


def test_the_pages_rule_hears_of_failures_alone(stand: Stand, function: str) -> None:
    page = (DOCS / "events.md").read_text()
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "EventPattern" in block]
    resources = yaml.safe_load(text.replace("!", ""))["Resources"]
    [pattern] = [
        one["Properties"]["EventPattern"] for one in resources.values() if one["Type"] == "AWS::Events::Rule"
    ]
    assert pattern["source"] == ["sluicegate"]
    with listening(stand, **pattern["detail"]) as listener:
        good, bad = release(stand, function), release(stand, "orders-that-is-not-there")
        assert len(listener.until(bad["id"], bad["revision"])) == 1
        assert listener.of(good["id"]) == []


@contextmanager
def bus_closed(stand: Stand) -> Iterator[None]:
    """EventBridge refuses the relay."""
    iam, cloudformation = stand.client("iam"), stand.client("cloudformation")
    found = cloudformation.describe_stack_resource(StackName="sluicegate", LogicalResourceId="RelayRole")
    role = found["StackResourceDetail"]["PhysicalResourceId"]
    policy = {"Effect": "Deny", "Action": "events:PutEvents", "Resource": "*"}
    iam.put_role_policy(
        RoleName=role,
        PolicyName="denied-by-test",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": policy}),
    )
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="denied-by-test")


def test_what_eventbridge_refuses_comes_again(stand: Stand, function: str, listener: Listener) -> None:
    with bus_closed(stand):
        done = release(stand, function)
        time.sleep(1)
        assert listener.of(done["id"]) == []
    heard = listener.until(done["id"], done["revision"])
    assert revisions(heard) == list(range(1, done["revision"] + 1))


def test_a_relay_that_dies_is_run_again(stand: Stand, function: str, listener: Listener) -> None:
    id_, token = start(stand, function)
    killed = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and killed < 3:
        killed += stand.kill_workers("sluicegate-relay")
        time.sleep(0.05)
    done = stand.wait(id_, token=token)
    heard = revisions(listener.until(id_, done["revision"]))
    assert killed
    assert set(heard) == set(range(1, done["revision"] + 1))
    # Repetitions may follow, as listeners know by (id, revision); what is new is never late.
    assert list(dict.fromkeys(heard)) == sorted(set(heard))
