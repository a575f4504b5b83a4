"""GitLab shows how deployments go: as commit statuses, whatever fails between."""

import json
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from stand import Stand, callers, package
from stand.gitlab_api import PREFIX
from stand.hooked import Hooks, new_tag
from stand.reports import log_lines, messages, purge, release, table_items, until
from stand.wide import Wide

pytestmark = [pytest.mark.usefixtures("wide"), pytest.mark.extended]
"""The gate file that has `feedback`."""


@pytest.fixture
def commit() -> str:
    """A commit of the test's own, so that its statuses are."""
    return uuid4().hex + "0" * 8


@pytest.fixture
def pipeline() -> str:
    """A pipeline of that commit alone."""
    return str(1_000_000 + uuid4().int % 1_000_000_000)


def shown(stand: Stand, commit: str, function: str, stage: str = "dev") -> list[list[str]]:
    """The states that the commit's statuses went through."""
    return [one["history"] for one in stand.gitlab.statuses(commit, f"sluicegate/{function}:{stage}")]


def ends(stand: Stand, commit: str, function: str, stage: str = "dev") -> list[list[str]]:
    """The same, once one is at its end."""

    def ended(histories: list[list[str]]) -> bool:
        return any(history[-1] in ("success", "failed", "canceled") for history in histories)

    return until(lambda: shown(stand, commit, function, stage), ended)


def in_order(histories: list[list[str]], *states: str) -> bool:
    """Whether there is one status that ends so. States in between may not have been reported."""
    [history] = histories
    return history[-1] == states[-1] and history == [state for state in states if state in history]


def test_a_deployment_is_a_status_of_its_commit(
    stand: Stand, function: str, commit: str, pipeline: str
) -> None:
    done = release(stand, function, commit, pipeline_id=pipeline, environment="development")
    assert done["status"] == "succeeded"
    assert in_order(ends(stand, commit, function), "pending", "running", "success")
    [status] = stand.gitlab.statuses(commit, f"sluicegate/{function}:dev")
    assert status["pipeline_id"] == int(pipeline)
    assert status["description"] == f"succeeded (sluicegate status {done['id']})"
    assert status["target_url"] == f"{stand.issuer}/acme/orders/-/jobs/{done['requested_by']['job_id']}"
    assert stand.gitlab.deployments(commit) == [], "GitLab made one for the job's own environment"


def test_a_deployment_that_fails_fails_its_commit(stand: Stand, commit: str, pipeline: str) -> None:
    done = release(stand, "orders-that-is-not-there", commit, pipeline_id=pipeline)
    assert done["status"] == "failed"
    assert in_order(ends(stand, commit, "orders-that-is-not-there"), "pending", "running", "failed")


def test_a_retry_in_the_same_pipeline_has_the_last_word(stand: Stand, commit: str, pipeline: str) -> None:
    function = f"orders-{uuid4().hex[:8]}"
    release(stand, function, commit, pipeline_id=pipeline)
    assert in_order(ends(stand, commit, function), "pending", "running", "failed")
    stand.create_function(function)
    release(stand, function, commit, pipeline_id=pipeline)
    result = until(lambda: shown(stand, commit, function), lambda all_: all_[-1][-1] == "success")
    assert [history[-1] for history in result] == ["failed", "success"]
    stand.delete_function(function)


def test_what_a_webhook_starts_is_a_deployment_of_gitlabs(hooks: Hooks) -> None:
    tag, commit = new_tag()
    hooks.upload(commit)
    result = hooks.deliver(body={"ref": f"refs/tags/{tag}", "checkout_sha": commit})
    assert hooks.done(result)["status"] == "succeeded", result
    assert in_order(ends(hooks.stand, commit, "hooks-tags"), "pending", "running", "success")
    gitlab = hooks.stand.gitlab
    [made] = until(
        lambda: gitlab.deployments(commit),
        lambda found: [one["status"] for one in found] == ["success"],
    )
    assert (made["environment"], made["ref"], made["tag"]) == ("dev", tag, True)
    assert in_order([made["history"]], "running", "success")


def test_a_job_without_an_environment_is_a_deployment_of_gitlabs(
    stand: Stand, function: str, commit: str, pipeline: str
) -> None:
    release(stand, function, commit, pipeline_id=pipeline)
    [made] = until(
        lambda: stand.gitlab.deployments(commit),
        lambda found: [one["status"] for one in found] == ["success"],
    )
    assert (made["environment"], made["project_id"]) == ("dev", "4213")
    assert in_order([made["history"]], "running", "success")


def test_a_persons_rollback_is_a_deployment_of_the_project_that_built_the_version(
    stand: Stand, function: str, commit: str
) -> None:
    later = uuid4().hex + "1" * 8
    for sha, ref in ((commit, "v1.0.0"), (later, "v1.1.0")):
        claims = {"ref": ref, "ref_type": "tag", "ref_protected": "true", "environment": "production"}
        assert release(stand, function, sha, "prod", **claims)["status"] == "succeeded"
    role = callers.existing(stand, callers.PERSON)
    assert role
    ada = callers.session_of(stand, role, "ada@example.com")
    body = {"action": "rollback", "function": function, "stage": "prod", "idempotency_key": uuid4().hex}
    answer = callers.call(stand, ada, "POST", "/deployments", body)
    assert answer.status_code == 202, answer.text
    [made] = until(
        lambda: stand.gitlab.deployments(commit),
        lambda found: [one["status"] for one in found] == ["success"],
    )
    assert (made["environment"], made["ref"], made["tag"]) == ("prod", "v1.0.0", True)
    assert stand.gitlab.deployments(later) == []


def test_the_merge_request_of_a_commit_has_one_note(
    stand: Stand, function: str, commit: str, pipeline: str
) -> None:
    number = uuid4().int % 1_000_000
    stand.gitlab.merge_request(number, commit)
    for _ in range(2):
        done = release(stand, function, commit, pipeline_id=pipeline)
    [note] = until(
        lambda: stand.gitlab.notes(number),
        lambda found: (
            bool(found) and f"`{done['id']}`" in found[0]["body"] and "succeeded" in found[0]["body"]
        ),
    )
    [row] = [line for line in note["body"].splitlines() if line.startswith(f"| `{function}`")]
    assert row.startswith(f"| `{function}` | `dev` | `succeeded` | `2` | `{commit[:8]}` | [`{done['id']}`](")
    assert len(note["versions"]) > 1


def test_an_issuer_without_answers_is_told_nothing(wide: Wide, commit: str) -> None:
    purge(wide.stand, "sluicegate-notifier")  # what is tried again for others would be waited for
    token = wide.other_token(sha=commit)
    function = f"billing-{uuid4().hex[:8]}"
    sha256 = wide.stand.upload(function, package(f"# {uuid4()}\n"), token=token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    answer = wide.stand.http("POST", "/deployments", body, token=token)
    assert answer.status_code == 202, answer.text
    wide.stand.wait(answer.json()["id"], token=token)
    until(lambda: messages(wide.stand, "sluicegate-notifier"), lambda left: left == 0)
    assert PREFIX not in wide.other.requests()


def test_a_gitlab_that_is_down_is_told_when_it_is_up_again(
    stand: Stand, function: str, commit: str, pipeline: str
) -> None:
    with stand.gitlab.failing("down", path=PREFIX):
        assert release(stand, function, commit, pipeline_id=pipeline)["status"] == "succeeded"
        time.sleep(2)
        assert shown(stand, commit, function) == []
    assert ends(stand, commit, function) == [["success"]]


@pytest.fixture
def revoked(wide: Wide) -> Iterator[None]:
    """GitLab does not take the token any more; afterwards it does again."""
    wide.stand.gitlab.new_api_token()
    yield
    wide.put_token(wide.stand.gitlab.new_api_token())


@pytest.mark.usefixtures("revoked")
def test_what_gitlab_refuses_waits_among_the_dead_letters_until_it_is_replayed(
    wide: Wide, stand: Stand, function: str, commit: str, pipeline: str
) -> None:
    done = release(stand, function, commit, pipeline_id=pipeline)
    assert done["status"] == "succeeded", "feedback to GitLab does not affect the deployment"
    until(lambda: messages(stand, "sluicegate-notifier-dead-letters"), lambda left: left >= done["revision"])
    assert shown(stand, commit, function) == []
    wide.put_token(stand.gitlab.new_api_token())
    assert replay(stand) >= done["revision"]
    assert ends(stand, commit, function) == [["success"]]


def replay(stand: Stand) -> int:
    """What `aws sqs start-message-move-task` does, which the emulator does not; how many there were."""
    sqs = stand.client("sqs")
    dead, queue = (
        sqs.get_queue_url(QueueName=name)["QueueUrl"]
        for name in ("sluicegate-notifier-dead-letters", "sluicegate-notifier")
    )
    there = messages(stand, "sluicegate-notifier-dead-letters")
    for _ in range(there):  # what is set aside again meanwhile stays
        for message in sqs.receive_message(QueueUrl=dead).get("Messages", []):
            sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    return there


def test_no_token_is_in_a_log_nor_in_the_table(wide: Wide, function: str, commit: str, pipeline: str) -> None:
    stand = wide.stand
    canaries = [stand.gitlab.new_api_token() for _ in range(2)]
    wide.put_token(canaries[0])  # revoked: it is sent, and rejected
    release(stand, function, commit, pipeline_id=pipeline)
    until(lambda: messages(stand, "sluicegate-notifier-dead-letters"), lambda left: left > 0)
    wide.put_token(canaries[1])
    replay(stand)
    assert ends(stand, commit, function) == [["success"]]
    lines = log_lines(stand, "notifier", "feedback_sent", "feedback_rejected")
    table = json.dumps(table_items(stand), default=str)
    assert not [line for line in lines if any(canary in line for canary in canaries)]
    assert not any(canary in table for canary in canaries)
