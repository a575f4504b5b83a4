"""GitLab's webhooks over real HTTP: what they deploy, how often, and every attack that is refused.

What needs a clock of its own (a secret a day after its rotation) is in tests/unit.
"""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from stand.hooked import CLEAR, ROTATED, SIGNING, Hooks, new_tag
from stand.reports import table_items
from stand.webhooks import OTHER_EVENTS, body, signed

YEAR = 365 * 86_400
TOKEN = CLEAR["sluicegate/webhooks/stand-c"]
SIGNER = SIGNING["sluicegate/webhooks/stand-a"]
OTHERS_SIGNER = SIGNING["sluicegate/webhooks/stand-b"]


def tag_push(tag: str, sha: str | None, **more: Any) -> dict[str, Any]:
    return {"ref": f"refs/tags/{tag}", "checkout_sha": sha, **more}


def pipeline(ref: str, sha: str, **more: Any) -> dict[str, Any]:
    return {"ref": ref, "tag": True, "sha": sha, "id": 1_000_000 + uuid4().int % 1_000_000, **more}


def deployments(hooks: Hooks, sha: str) -> list[dict[str, Any]]:
    """All that was ever accepted for a commit."""
    listed = hooks.stand.http("GET", "/deployments", token=hooks.stand.token(), params={"limit": 100})
    return [item for item in listed.json()["items"] if item["requested_by"]["sha"] == sha]


# What is meant


def test_a_tag_push_deploys_the_artifact_of_its_commit(hooks: Hooks) -> None:
    tag, sha = new_tag()
    sha256 = hooks.upload(sha)
    with hooks.stand.throttled("sluicegate-deployer"):  # the answer does not wait for the deployment
        result = hooks.deliver(body=tag_push(tag, sha))
    assert (result["status"], result["code"]) == (200, "started"), result
    done = hooks.done(result)
    assert (done["status"], done["rule"], done["artifact"]) == ("succeeded", "hooks", {"sha256": sha256})
    by = done["requested_by"]
    assert (by["webhook"], by["project_id"], by["ref"], by["sha"]) == ("hooks-tags", "4213", tag, sha)
    assert (by["job_id"], by["user_id"]) == (None, None)
    assert hooks.stand.invoke("hooks-tags", alias="dev") == sha


def test_the_pipelines_success_brings_what_the_tag_was_too_early_for(hooks: Hooks) -> None:
    tag, sha = new_tag()
    early = hooks.deliver(body=tag_push(tag, sha))
    assert (early["status"], early["code"], early["started"]) == (200, "no_artifact", None)
    hooks.upload(sha)
    for status in ("created", "pending", "running"):
        result = hooks.deliver(event="pipeline", body=pipeline(tag, sha, status=status))
        assert (result["status"], result["code"]) == (200, "other_status")
    result = hooks.deliver(event="pipeline", body=pipeline(tag, sha))
    assert (result["status"], result["code"]) == (200, "started")
    assert hooks.done(result)["status"] == "succeeded"


def test_a_delivery_that_comes_again_has_one_effect(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha)
    key = str(uuid4())
    first = hooks.deliver(body=tag_push(tag, sha), key=key)
    assert first["code"] == "started"
    hooks.done(first)
    again = [
        hooks.deliver(body=tag_push(tag, sha), key=key),
        hooks.deliver(body=tag_push(tag, sha)),
        hooks.deliver(event="pipeline", body=pipeline(tag, sha)),
    ]
    for result in again:
        assert (result["status"], result["code"], result["started"]) == (200, "already_done", None)
        assert result["deployment"] == first["deployment"]
    assert len(deployments(hooks, sha)) == 1


def test_a_branchs_pipeline_deploys_once_whatever_its_statuses(hooks: Hooks) -> None:
    _, sha = new_tag()
    hooks.upload(sha, hook="hooks-main", ref="main", ref_type="branch")
    body = pipeline("main", sha, tag=False)
    codes = [
        hooks.deliver("hooks-main", "pipeline", body={**body, "status": status})["code"]
        for status in ("created", "running", "success", "success")
    ]
    assert codes == ["other_status", "other_status", "started", "already_done"]
    [made] = deployments(hooks, sha)
    assert hooks.stand.wait(made["id"], token=hooks.stand.token())["status"] == "succeeded"


def test_a_token_in_the_clear_where_the_entry_says_so(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha, hook="hooks-clear")
    result = hooks.deliver("hooks-clear", token=TOKEN, body=tag_push(tag, sha))
    assert (result["status"], result["code"]) == (200, "started")
    assert hooks.done(result)["status"] == "succeeded"


def test_both_secrets_are_valid_after_a_rotation(hooks: Hooks) -> None:
    old, new = f"old-{uuid4()}", f"new-{uuid4()}"
    hooks.stand.put_secret(ROTATED, old)
    hooks.stand.put_secret(ROTATED, new)
    for token, status in ((old, 200), (new, 200), (f"{new}x", 401)):
        result = hooks.deliver("hooks-late", token=token, body=tag_push(*new_tag()))
        assert result["status"] == status, token


def test_a_jobs_id_token_is_the_identity(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha, hook="hooks-jobs")
    token = hooks.stand.token(ref=tag, sha=sha, job_id="77")
    result = hooks.deliver("hooks-jobs", bearer=token, body=tag_push(tag, sha))
    assert (result["status"], result["code"]) == (200, "started")
    done = hooks.done(result)
    by = done["requested_by"]
    assert (done["status"], done["rule"]) == ("succeeded", "jobs of hooks")
    assert (by["webhook"], by["job_id"], by["user_login"]) == ("hooks-jobs", "77", "ada")


@pytest.mark.parametrize(
    ("event", "given", "code"),
    [
        ("tag_push", {"checkout_sha": None}, "tag_deleted"),
        ("tag_push", {"ref": "refs/tags/nightly"}, "other_ref"),
        ("push", {}, "other_event"),
        ("pipeline", {"status": "failed"}, "other_status"),
        ("pipeline", {"tag": False, "ref": "main"}, "other_ref"),
    ],
)
def test_where_there_is_nothing_to_do_gitlab_is_told_why(
    hooks: Hooks, event: str, given: dict[str, Any], code: str
) -> None:
    result = hooks.deliver(event=event, body=given)
    assert (result["status"], result["code"], result["started"]) == (200, code, None)
    assert result["why"]


def test_what_is_busy_is_tried_again_by_the_next_delivery(hooks: Hooks) -> None:
    (tag, sha), (later, other) = new_tag(), new_tag()
    hooks.upload(sha, hook="hooks-any")
    hooks.upload(other, hook="hooks-any")
    first = hooks.deliver("hooks-any", body=tag_push(tag, sha))
    busy = hooks.deliver("hooks-any", body=tag_push(later, other))
    assert (busy["status"], busy["code"]) in ((200, "busy"), (200, "started"))
    hooks.done(first)
    if busy["code"] == "busy":
        busy = hooks.deliver("hooks-any", body=tag_push(later, other))
        assert busy["code"] == "started"
    assert hooks.done(busy)["status"] == "succeeded"


# What is refused


def refused(result: dict[str, Any], status: int, check: str | None = None) -> None:
    assert result["status"] == status, result
    assert "started" not in result
    if check:
        assert result["check"] == check


def ignored(result: dict[str, Any], code: str) -> None:
    assert (result["status"], result.get("code"), result.get("started")) == (200, code, None), result
    assert result["why"]


def test_a_hook_that_is_not_there_is_not_found(hooks: Hooks) -> None:
    refused(hooks.deliver("hooks-nothing", body=tag_push(*new_tag())), 404)


def test_another_hooks_secret_does_not_open_this_one(hooks: Hooks) -> None:
    given: dict[str, Any] = {"body": tag_push(*new_tag())}
    refused(hooks.deliver("hooks-tags", signing_token=OTHERS_SIGNER, **given), 401, "signature")
    refused(hooks.deliver("hooks-other", signing_token=SIGNER, **given), 401, "signature")
    refused(hooks.deliver("hooks-clear", token=SIGNER, **given), 401, "token")


def test_only_the_entrys_scheme_is_tried_whatever_else_is_sent(hooks: Hooks) -> None:
    given: dict[str, Any] = {"body": tag_push(*new_tag())}
    right: dict[str, Any] = {"token": TOKEN, "bearer": hooks.stand.token()}
    refused(hooks.deliver("hooks-tags", signing_token=OTHERS_SIGNER, **right, **given), 401, "signature")
    refused(hooks.deliver("hooks-tags", **right, **given), 401, "webhook-id")
    signer = {"signing_token": SIGNER}
    refused(hooks.deliver("hooks-clear", **signer, token="wrong", **given), 401, "token")
    refused(hooks.deliver("hooks-clear", **signer, **given), 401, "x-gitlab-token")
    refused(hooks.deliver("hooks-jobs", **signer, token=TOKEN, **given), 401, "authorization")


@pytest.mark.parametrize("headers", [{"X-Gitlab-Token": ""}, {"X-Gitlab-Token": [TOKEN, TOKEN]}, {}])
def test_an_empty_secret_is_none_and_neither_are_two(hooks: Hooks, headers: dict[str, Any]) -> None:
    result = hooks.deliver("hooks-clear", bearer="none", body=tag_push(*new_tag()), headers=headers)
    refused(result, 401)


@pytest.mark.parametrize("seconds", [-YEAR, -600, 600, YEAR])
def test_a_signature_is_of_now(hooks: Hooks, seconds: int) -> None:
    refused(hooks.deliver(body=tag_push(*new_tag()), at=int(time.time()) + seconds), 401, "signature")


def test_the_same_delivery_after_a_year_is_refused_or_known(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha, hook="hooks-clear")
    key = str(uuid4())
    first = hooks.deliver("hooks-clear", token=TOKEN, body=tag_push(tag, sha), key=key)
    hooks.done(first)
    # A token in the clear has no time in it. What it did is known for good: nothing of it expires.
    again = hooks.deliver("hooks-clear", token=TOKEN, body=tag_push(tag, sha), key=key)
    assert (again["code"], again["deployment"]) == ("already_done", first["deployment"])
    requests = [item for item in table_items(hooks.stand) if item["pk"]["S"].startswith("request#")]
    kept = [item for item in requests if item.get("deployment") == {"S": first["deployment"]}]
    assert kept
    assert "expires_at" not in kept[0]


@pytest.mark.parametrize(
    ("headers", "status", "check"),
    [
        ({"Idempotency-Key": "another"}, 401, "idempotency-key"),
        ({"webhook-id": "another"}, 401, "idempotency-key"),
        ({"webhook-id": "another", "Idempotency-Key": "another"}, 401, "signature"),
        ({"webhook-signature": None}, 401, "webhook-signature"),
        ({"webhook-timestamp": "now"}, 401, "webhook-timestamp"),
        ({"webhook-timestamp": "nan"}, 401, "webhook-timestamp"),
    ],
)
def test_headers_that_were_swapped_are_refused(
    hooks: Hooks, headers: dict[str, Any], status: int, check: str | None
) -> None:
    refused(hooks.deliver(body=tag_push(*new_tag()), headers=headers), status, check)


def test_a_gitlab_with_another_address_keeps_its_hook(hooks: Hooks) -> None:
    elsewhere = {"X-Gitlab-Instance": "https://gitlab.example.com"}
    ignored(hooks.deliver(body=tag_push(*new_tag()), headers=elsewhere), "not_allowed")


@pytest.mark.parametrize(
    "value", ["v1", "v1,", ",", "v1,###", "v1,QQ== v1", "v2,{}", "v1,{},{}", "v1 {}", "{} v1,", "v1,\t{}"]
)
def test_a_malformed_list_of_signatures_is_refused(hooks: Hooks, value: str) -> None:
    data = json.dumps(body("tag_push", hooks.stand.issuer, tag_push(*new_tag())))
    right = signed(data.encode(), SIGNER, "k1", int(time.time()))
    sent = {**right, "webhook-signature": value.replace("{}", right["webhook-signature"][3:])}
    result = hooks.deliver(raw=data, key="k1", signing_token=None, headers=sent)
    refused(result, 401)


def test_one_signature_of_several_is_enough(hooks: Hooks) -> None:
    data = json.dumps(body("tag_push", hooks.stand.issuer, tag_push(*new_tag())))
    ours, others = (
        signed(data.encode(), secret, "k1", int(time.time())) for secret in (SIGNER, OTHERS_SIGNER)
    )
    sent = {**ours, "webhook-signature": f"{others['webhook-signature']} {ours['webhook-signature']}"}
    result = hooks.deliver(raw=data, key="k1", signing_token=None, headers=sent)
    assert (result["status"], result["code"]) == (200, "no_artifact")


def test_a_merge_request_whose_branch_is_called_like_a_release_deploys_nothing(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha)
    request = {"id": 1, "iid": 1, "source_branch": tag, "target_branch": "main", "source_project_id": 9}
    for changes in (
        {"source": "merge_request_event", "tag": False, "merge_request": request},
        {"source": "merge_request_event", "merge_request": request},
        {"merge_request": request},
        {"source": "external_pull_request_event"},
        {"source": "parent_pipeline"},
    ):
        result = hooks.deliver(event="pipeline", body=pipeline(tag, sha, **changes))
        assert (result["status"], result["code"]) == (200, "merge_request")
    branch = hooks.deliver(event="pipeline", body=pipeline(tag, sha, tag=False))
    assert (branch["status"], branch["code"]) == (200, "other_ref")
    assert deployments(hooks, sha) == []


def test_a_tag_that_moved_is_not_followed(hooks: Hooks) -> None:
    tag, sha = new_tag()
    _, other = new_tag()
    hooks.upload(sha)
    hooks.upload(other)
    hooks.done(hooks.deliver(body=tag_push(tag, sha)))
    moved = hooks.deliver(body=tag_push(tag, other, before=sha))
    assert (moved["status"], moved["code"]) == (200, "tag_moved")
    brought = hooks.deliver(event="pipeline", body=pipeline(tag, other))
    assert (brought["status"], brought["code"]) == (200, "tag_moved")
    assert deployments(hooks, other) == []


def test_a_ref_that_climbs_is_harmless(hooks: Hooks) -> None:
    _, sha = new_tag()
    hooks.upload(sha)
    result = hooks.deliver(body=tag_push("v1/../../x", sha))
    assert (result["status"], result["code"]) == (200, "other_ref")
    _, unknown = new_tag()
    wide = hooks.deliver("hooks-any", body=tag_push("v1/../../x", unknown))
    assert (wide["status"], wide["code"]) == (200, "no_artifact")


def test_a_templated_body_reaches_nothing_but_what_the_entry_names(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha)
    more = {"stage": "prod", "deploy": {"function": "orders-api", "stage": "prod"}, "function": "orders-api"}
    result = hooks.deliver(body=tag_push(tag, sha, **more, webhook="hooks-any", sha256="0" * 64))
    done = hooks.done(result)
    assert (done["function"], done["stage"]) == ("hooks-tags", "dev")


@pytest.mark.parametrize(
    ("event", "given"),
    [
        ("tag_push", {"project_id": 4300}),
        ("tag_push", {"project": {"id": 4300}}),
        ("pipeline", {"project": {"id": 4300}}),
    ],
)
def test_another_projects_body_is_refused(hooks: Hooks, event: str, given: dict[str, Any]) -> None:
    ignored(hooks.deliver(event=event, body=given), "not_allowed")


def test_another_projects_artifact_is_not_this_ones(hooks: Hooks) -> None:
    tag, sha = new_tag()
    stranger = hooks.stand.token(sha=sha, project_id="4300", ref="main", ref_type="branch")
    body = {"function": "hooks-tags", "sha256": "0" * 64, "size": 1}
    assert hooks.stand.http("POST", "/artifacts", body, token=stranger).status_code == 403
    assert hooks.deliver(body=tag_push(tag, sha))["code"] == "no_artifact"


def test_a_rule_must_allow_it(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha)
    ignored(hooks.deliver(event="pipeline", body=pipeline(tag, sha, source="schedule")), "not_allowed")
    assert deployments(hooks, sha) == []


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "[]",
        "null",
        "ref=refs/tags/v1",
        '{"object_kind": "tag_push", "object_kind": "tag_push", "project_id": 4213}',
        '{"object_kind": "tag_push", "project_id": 4213, "ref": "refs/tags/v1"}',
        '{"object_kind": "tag_push", "project_id": 4213, "ref": "v1", "checkout_sha": "' + "a" * 40 + '"}',
        '{"object_kind": "tag_push", "project_id": NaN}',
        '{"object_kind": "tag_push", "project_id": "4213"}',
        '{"object_kind": "pipeline", "project": {"id": 4213}}',
        "[" * 40 + "]" * 40,
    ],
)
def test_what_gitlab_never_sends_does_nothing(hooks: Hooks, raw: str) -> None:
    event = "pipeline" if "pipeline" in raw else "tag_push"
    ignored(hooks.deliver(event=event, raw=raw), "invalid_request")


@pytest.mark.parametrize("event", ["Pipeline Hook", "Push Hook", None])
def test_an_event_that_the_body_is_not_does_nothing(hooks: Hooks, event: str | None) -> None:
    sent = {"X-Gitlab-Event": event}
    ignored(hooks.deliver(body=tag_push(*new_tag()), headers=sent), "invalid_request")


@pytest.mark.parametrize("event", OTHER_EVENTS)
def test_an_event_that_no_entry_waits_for_does_nothing(hooks: Hooks, event: str) -> None:
    header, given = OTHER_EVENTS[event]
    ignored(hooks.deliver(raw=json.dumps(given), headers={"X-Gitlab-Event": header}), "other_event")


def test_gitlab_keeps_a_hook_that_gets_what_is_not_for_us_and_drops_one_with_a_wrong_secret(
    hooks: Hooks,
) -> None:
    tag, sha = new_tag()
    hooks.upload(sha)
    for raw in ('{"event_name": "subgroup_create"}', '{"object_kind": "release"}', "{", "[]", "null"):
        assert hooks.deliver(raw=raw, hook_id="7")["status"] == 200
    assert hooks.deliver(body=tag_push(tag, sha), hook_id="7")["code"] == "started"
    for _ in range(4):
        assert hooks.deliver(raw="{}", hook_id="8", signing_token=OTHERS_SIGNER)["status"] == 401
    disabled = hooks.deliver(body=tag_push(tag, sha), hook_id="8")
    assert (disabled["status"], disabled["text"]) == (0, "Hook disabled")


def test_a_body_has_a_limit_that_a_large_pipeline_keeps(hooks: Hooks) -> None:
    tag, sha = new_tag()
    builds = [{"id": number, "name": "x" * 1_000} for number in range(400)]
    result = hooks.deliver(event="pipeline", body=pipeline(tag, sha, builds=builds))
    assert (result["status"], result["code"]) == (200, "no_artifact")
    ignored(hooks.deliver(event="pipeline", body=pipeline(tag, sha, builds=builds * 2)), "too_large")
    plain = hooks.deliver(body=tag_push(tag, sha), headers={"Content-Type": "text/plain"})
    ignored(plain, "unsupported_media_type")


def test_a_body_that_is_not_its_tokens_is_refused(hooks: Hooks) -> None:
    tag, sha = new_tag()
    hooks.upload(sha, hook="hooks-jobs")
    token = hooks.stand.token(ref=tag, sha=sha)
    for given in (tag_push(tag, "a" * 40), tag_push("v2", sha), tag_push(tag, sha, project_id=4300)):
        refused(hooks.deliver("hooks-jobs", bearer=token, body=given), 403)
    other = pipeline(tag, sha)  # another pipeline than the token's
    refused(hooks.deliver("hooks-jobs", "pipeline", bearer=token, body=other), 403)
    stranger = hooks.stand.token(ref=tag, sha=sha, project_id="4300")
    refused(hooks.deliver("hooks-jobs", bearer=stranger, body=tag_push(tag, sha)), 403)
    assert deployments(hooks, sha) == []


def test_nothing_of_a_body_and_no_secret_is_logged(
    hooks: Hooks, gateway_log: Callable[[str], list[dict[str, Any]]]
) -> None:
    tag, sha = new_tag()
    variables = [{"key": "PASSWORD", "value": f"secret-{uuid4()}"}]
    given: dict[str, Any] = {"event": "pipeline", "body": pipeline(tag, sha, variables=variables, id="x")}
    result = hooks.deliver(**given)
    ignored(result, "invalid_request")
    wrong = hooks.deliver(**given, signing_token=OTHERS_SIGNER)
    logged = json.dumps(gateway_log(wrong["request_id"]))
    assert "request_refused" in logged
    logs = hooks.stand.client("logs")
    for secret in (variables[0]["value"], "PASSWORD", SIGNER[6:], OTHERS_SIGNER[6:], "Round to cents", sha):
        found = logs.filter_log_events(
            logGroupName="/aws/lambda/sluicegate-gateway", filterPattern=f'"{secret}"'
        )
        assert found["events"] == []
