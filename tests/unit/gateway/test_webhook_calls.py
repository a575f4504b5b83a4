"""`POST /webhooks/gitlab/{name}` as the gateway answers it, with a table in memory and real signatures."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sluicegate.aws.secrets import ROTATION_OVERLAP
from sluicegate.deployer.sessions import session_tags, source_identity
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Status
from sluicegate.deployment.ordering import proven_pipeline
from sluicegate.deployment.ulid import new_id
from sluicegate.gate.policy import Gate
from sluicegate.gateway.admission.supersede import supersede
from sluicegate.gateway.problems import Problem
from sluicegate.store.errors import Outdated
from sluicegate.store.holds import Hold
from sluicegate.store.locks import AliasLock
from stand.webhooks import Hook
from support.deliveries import (
    ISSUER,
    OTHER_EVENTS,
    OTHER_SHA,
    SECRET,
    SHA,
    ZEROS,
    headers,
    pipeline,
    raw,
    sign,
    tag_push,
)
from support.hooks_simulation import (
    CLEAR,
    JSON,
    PROJECT,
    Hooks,
    hooked_gate,
    hooks_simulation,
)
from support.signing import token as id_token
from support.simulation import OWN


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return hooked_gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture
def hooks(gate: Gate) -> Iterator[Hooks]:
    with hooks_simulation(gate) as made:
        yield made


def status(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["status"], answer["code"]


# What is deployed


def test_a_tag_deploys_what_a_job_uploaded_for_its_commit(hooks: Hooks) -> None:
    sha256 = hooks.upload()
    answer = hooks.send("tags", tag_push())
    assert status(answer) == (200, "started")
    assert answer["started"] == answer["deployment"]
    made = hooks.deployment(answer)
    assert (made.function, made.stage, made.sha256, made.rule) == ("orders-api", "dev", sha256, "by webhook")
    by = made.requested_by
    assert (by.webhook, by.project_id, by.ref, by.sha) == ("tags", "4213", "v1.0.0", SHA)
    assert (by.job_id, by.user_id, by.pipeline_id) == (None, None, None)
    assert made.timeline[0].message == "accepted by rule 'by webhook' for webhook tags of project 4213"
    assert hooks.started.deployments == [made.id]
    assert [event for event, _ in hooks.noted] == ["deployment_accepted"]


def test_cloudtrail_will_say_which_webhook_it_was(hooks: Hooks) -> None:
    hooks.upload()
    made = hooks.deployment(hooks.send("tags", tag_push()))
    assert source_identity(made.requested_by) == "project-4213-webhook-tags"
    tags = {tag["Key"]: tag["Value"] for tag in session_tags(made)}
    assert tags == {
        "Deployment": made.id,
        "Issuer": ISSUER,
        "Project": "4213",
        "Ref": "v1.0.0",
        "Commit": SHA,
        "Webhook": "tags",
    }


def test_an_answer_takes_few_calls(hooks: Hooks) -> None:
    hooks.upload()
    calls: list[str] = []
    events = hooks.simulation.client.meta.events
    events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    assert hooks.send("tags", tag_push())["code"] == "started"
    assert calls.count("TransactWriteItems") == 1
    assert len(calls) <= 8, calls
    assert hooks.manager.calls == 2
    calls.clear()
    assert hooks.send("tags", tag_push())["code"] == "already_done"
    assert calls == ["BatchGetItem", "GetItem"]
    assert hooks.manager.calls == 2, "its secret is kept"


def test_the_newest_artifact_that_was_really_uploaded_counts(hooks: Hooks) -> None:
    hooks.upload(sha256="a" * 64)
    hooks.upload(sha256="b" * 64)
    hooks.upload(sha256="c" * 64, there=False)
    assert hooks.deployment(hooks.send("tags", tag_push())).sha256 == "b" * 64


@pytest.mark.parametrize(
    "other",
    [
        {"sha": OTHER_SHA},
        {"owner": replace(PROJECT, id="9")},
        {"owner": replace(PROJECT, realm="https://gitlab.com")},
        {"function": "orders-web"},
        {"there": False},
    ],
)
def test_only_the_projects_own_artifact_for_that_very_commit_counts(
    hooks: Hooks, other: dict[str, Any]
) -> None:
    hooks.upload(**other)
    answer = hooks.send("tags", tag_push())
    assert status(answer) == (200, "no_artifact")
    assert answer["started"] is None
    assert hooks.items("request#") == hooks.items("tag#") == hooks.items("deployment#") == []


def test_the_pipelines_success_brings_what_the_tag_could_not(hooks: Hooks) -> None:
    assert hooks.send("tags", tag_push())["code"] == "no_artifact"
    hooks.upload()
    assert hooks.send("tags", pipeline(status="running"))["code"] == "other_status"
    answer = hooks.send("tags", pipeline())
    assert status(answer) == (200, "started")
    assert hooks.deployment(answer).requested_by.pipeline_id == "574"


def test_a_branchs_pipeline_is_known_by_its_id(hooks: Hooks) -> None:
    hooks.upload()
    body = pipeline(ref="main", tag=False)
    first = hooks.send("main", body)
    assert first["code"] == "started"
    assert hooks.send("main", body)["code"] == "already_done"
    hooks.finish(first)
    again = hooks.send("main", pipeline(ref="main", tag=False, id=575))
    assert again["code"] == "started"


def test_a_token_in_the_clear_will_do_where_the_entry_says_so(hooks: Hooks) -> None:
    hooks.upload()
    data = raw(tag_push())
    sent = headers(tag_push(), x_gitlab_token=CLEAR)
    assert status(hooks.call("clear", data, sent)) == (200, "started")


# One effect


def test_whatever_comes_again_has_one_effect_for_good(hooks: Hooks) -> None:
    hooks.upload()
    first = hooks.send("tags", tag_push())
    hooks.finish(first)
    for body in (tag_push(), tag_push(), pipeline(), pipeline(id=600)):
        answer = hooks.send("tags", body)
        assert (answer["code"], answer["started"], answer["deployment"]) == (
            "already_done",
            None,
            first["started"],
        )
    [request] = hooks.items("request#")
    [tag] = hooks.items("tag#")
    assert "expires_at" not in request
    assert "expires_at" not in tag
    assert len(hooks.items("deployment#")) == 1


def test_two_entries_have_an_effect_each(hooks: Hooks) -> None:
    hooks.upload()
    first = hooks.send("tags", tag_push())
    hooks.finish(first)
    assert hooks.send("any", tag_push())["code"] == "started"


def test_a_tag_that_moved_is_not_followed(hooks: Hooks) -> None:
    hooks.upload()
    hooks.finish(hooks.send("tags", tag_push()))
    hooks.upload(OTHER_SHA, "b" * 64)
    moved = tag_push(sha=OTHER_SHA, before=SHA)
    assert status(hooks.send("tags", moved)) == (200, "tag_moved")
    assert status(hooks.send("tags", pipeline(sha=OTHER_SHA, id=600))) == (200, "tag_moved")
    assert hooks.send("tags", tag_push())["code"] == "already_done"
    assert len(hooks.items("deployment#")) == 1


MAIN: dict[str, Any] = {"ref": "main", "ref_type": "branch"}


def test_the_deliverys_own_ref_comes_first(hooks: Hooks) -> None:
    own = hooks.upload(sha256="a" * 64)
    for n in range(60):  # of the same commit, by anybody who can start a job there
        hooks.upload(sha256=f"{n:064x}", there=n % 2 == 0, **MAIN)
    hooks.upload(sha256="b" * 64, ref_type="branch")  # a branch with the tag's name
    assert hooks.deployment(hooks.send("tags", tag_push())).sha256 == own


def test_announcements_without_an_upload_hide_nothing(hooks: Hooks) -> None:
    own = hooks.upload(sha256="a" * 64)
    for n in range(90):
        hooks.upload(sha256=f"{n:064x}", there=False)
    assert hooks.deployment(hooks.send("tags", tag_push())).sha256 == own


def test_the_same_digest_of_another_ref_does_not_take_it_away(hooks: Hooks) -> None:
    own = hooks.upload(sha256="a" * 64)
    hooks.upload(sha256="a" * 64, **MAIN)
    hooks.upload(sha256="b" * 64, **MAIN)
    assert hooks.deployment(hooks.send("tags", tag_push())).sha256 == own


def test_a_tags_own_artifact_replaces_that_of_another_ref_once(hooks: Hooks) -> None:
    """The tag is pushed where main has been built; then the tag's own pipeline builds it again."""
    hooks.upload(sha256="b" * 64, **MAIN)
    hooks.finish(hooks.send("tags", tag_push()))
    assert hooks.send("tags", pipeline())["code"] == "already_done"
    own = hooks.upload(sha256="a" * 64)
    second = hooks.send("tags", pipeline())
    assert (second["code"], hooks.deployment(second).sha256) == ("started", own)
    hooks.finish(second)
    for body in (tag_push(), pipeline(), pipeline(id=900)):
        assert hooks.send("tags", body)["code"] == "already_done"


def test_the_same_artifact_is_not_deployed_again_for_its_own_ref(hooks: Hooks) -> None:
    hooks.upload(**MAIN)
    first = hooks.send("tags", tag_push())
    hooks.finish(first)
    hooks.upload()
    again = hooks.send("tags", pipeline())
    assert (again["code"], again["deployment"]) == ("already_done", first["deployment"])
    hooks.upload(sha256="c" * 64)  # months later, a retried job of the tag: other bytes, and no second effect
    hooks.upload(OTHER_SHA, "b" * 64)  # a job of the tag, which has moved since
    assert status(hooks.send("tags", pipeline(sha=OTHER_SHA))) == (200, "tag_moved")
    for body in (tag_push(), pipeline()):
        late = hooks.send("tags", body)
        assert (late["code"], late["deployment"]) == ("already_done", first["deployment"])


def test_a_forged_push_does_not_keep_a_tag_from_its_commit(hooks: Hooks) -> None:
    """A holder of the secret says that v1.0.0 is at a commit of main, before there is such a tag."""
    hooks.upload(OTHER_SHA, "b" * 64, **MAIN)
    hooks.finish(hooks.send("tags", tag_push(sha=OTHER_SHA)))
    real = hooks.upload()  # the real tag's pipeline, at another commit
    answer = hooks.send("tags", pipeline())
    assert (answer["code"], hooks.deployment(answer).sha256) == ("started", real)
    hooks.finish(answer)
    assert status(hooks.send("tags", tag_push(sha=OTHER_SHA))) == (200, "already_done")
    hooks.upload(ZEROS[:-1] + "1", "c" * 64, **MAIN)
    assert status(hooks.send("tags", tag_push(sha=ZEROS[:-1] + "1"))) == (200, "tag_moved")


def test_a_tag_that_only_deliveries_speak_of_is_at_the_first_commit(hooks: Hooks) -> None:
    hooks.upload(SHA, "a" * 64, **MAIN)
    hooks.upload(OTHER_SHA, "b" * 64, **MAIN)
    hooks.finish(hooks.send("tags", tag_push()))
    assert status(hooks.send("tags", tag_push(sha=OTHER_SHA))) == (200, "tag_moved")


def test_a_proven_tag_stays_where_it_was_proven(hooks: Hooks) -> None:
    hooks.upload()
    hooks.finish(hooks.send("tags", tag_push()))
    hooks.upload(OTHER_SHA, "b" * 64)  # a job of the moved tag
    assert status(hooks.send("tags", pipeline(sha=OTHER_SHA))) == (200, "tag_moved")


def test_forged_pipelines_use_up_no_real_ones(hooks: Hooks) -> None:
    """Pipelines are numbered one after the other: the next thousand can be guessed, their commits cannot."""
    hooks.upload(OTHER_SHA, "b" * 64, **MAIN)
    hooks.finish(hooks.send("main", pipeline(ref="main", tag=False, sha=OTHER_SHA, id=575)))
    real = hooks.upload(**MAIN)
    answer = hooks.send("main", pipeline(ref="main", tag=False, id=575))
    assert (answer["code"], hooks.deployment(answer).sha256) == ("started", real)


def test_a_tag_named_main_is_not_the_branch(hooks: Hooks) -> None:
    hooks.upload(ref="main")
    assert status(hooks.send("main", pipeline(ref="main", tag=True))) == (200, "other_ref")


def test_a_start_that_failed_is_made_up_for(hooks: Hooks) -> None:
    hooks.upload()
    hooks.started.failing = True
    first = hooks.send("tags", tag_push())
    assert (status(first), first["started"]) == ((200, "starting"), None)
    hooks.started.failing = False
    answer = hooks.send("tags", tag_push())
    assert answer["code"] == "already_done"
    assert hooks.started.deployments == [answer["deployment"]] == [first["deployment"]]


# Not now


def test_what_cannot_be_done_now_binds_nothing(hooks: Hooks) -> None:
    hooks.upload()
    hooks.upload(OTHER_SHA, "b" * 64)
    first = hooks.send("tags", tag_push())
    other = tag_push("refs/tags/v2", OTHER_SHA)
    assert status(hooks.send("tags", other)) == (200, "busy")
    hooks.finish(first)
    hold = Hold("dev", "by job", ("orders-*",), "because", timestamp(hooks.simulation.clock()), {})
    hooks.simulation.store.holds.place(hold)
    answer = hooks.send("tags", other)
    assert status(answer) == (200, "held")
    assert "because" in answer["why"]
    hooks.simulation.store.holds.release(hold)
    assert status(hooks.send("tags", other)) == (200, "started")


def test_what_must_have_succeeded_elsewhere_first_is_waited_for(hooks: Hooks) -> None:
    hooks.upload()
    assert status(hooks.send("next", tag_push())) == (200, "unprocessable")
    hooks.finish(hooks.send("tags", tag_push()))
    assert status(hooks.send("next", tag_push())) == (200, "started")


def test_what_no_numbered_pipeline_announced_comes_too_late(hooks: Hooks) -> None:
    """Announcements of earlier releases have no number: the next one brings it."""
    hooks.upload()
    hooks.upload(OTHER_SHA, "b" * 64)
    hooks.finish(hooks.send("tags", tag_push()))
    first = hooks.finish(hooks.send("next", pipeline()))
    hooks.finish(hooks.send("tags", tag_push("refs/tags/v2", OTHER_SHA)))
    hooks.job(first, 574)
    assert status(hooks.send("next", tag_push("refs/tags/v2", OTHER_SHA))) == (200, "outdated")
    later = pipeline(ref="v2", sha=OTHER_SHA, id=600)
    assert status(hooks.send("next", later)) == (200, "outdated")
    hooks.upload(OTHER_SHA, "b" * 64, pipeline=600, ref="v2")
    assert status(hooks.send("next", tag_push("refs/tags/v2", OTHER_SHA))) == (200, "started")


def test_a_forged_number_brings_no_older_commit_back(hooks: Hooks) -> None:
    """A holder of the secret names an older commit, whose artifact is still there, and pipeline 99999."""
    hooks.upload(pipeline=575)
    hooks.upload(OTHER_SHA, "b" * 64, ref="v2", pipeline=576)
    hooks.finish(hooks.send("tags", tag_push("refs/tags/v2", OTHER_SHA)))
    new = hooks.finish(hooks.send("next", pipeline(ref="v2", sha=OTHER_SHA, id=576)))
    assert {item["pipeline"]["N"] for item in hooks.items("newest-pipeline#")} == {"576"}
    hooks.finish(hooks.send("tags", tag_push()))
    for number in (99999, 575):  # the second is an honest pipeline that succeeds after 576
        assert status(hooks.send("next", pipeline(id=number))) == (200, "outdated")
    with pytest.raises(Outdated):
        hooks.job(new, 575)


def test_a_running_delivery_is_superseded_by_proven_numbers_only(hooks: Hooks) -> None:
    hooks.upload(pipeline=576)
    hooks.finish(hooks.send("tags", tag_push()))
    running = hooks.deployment(hooks.send("next", pipeline(id=576)))
    by = replace(running.requested_by, pipeline_id=str(10**17))
    forged = replace(
        running, id=new_id(hooks.simulation.clock() + 1), requested_by=by, announced_pipeline=575
    )
    with pytest.raises(Problem) as refused:
        supersede(hooks.context, forged, AliasLock(running.id), allowed=True)
    assert refused.value.code == "outdated"


def test_a_retried_job_makes_no_announcement_older(hooks: Hooks) -> None:
    for number in (576, 574):
        hooks.upload(pipeline=number)
    hooks.finish(hooks.send("tags", tag_push()))
    assert proven_pipeline(hooks.deployment(hooks.send("next", pipeline(id=574)))) == 576


def test_an_invented_pipeline_number_outdates_no_real_pipeline(hooks: Hooks) -> None:
    """A holder of the hook's secret writes any number into a body; only a token proves one."""
    hooks.upload()
    hooks.finish(hooks.send("tags", tag_push()))
    forged = hooks.finish(hooks.send("next", pipeline(id=10**17)))
    assert forged.requested_by.pipeline_id == str(10**17)
    assert hooks.items("newest-pipeline#") == []
    hooks.job(forged, 575)
    [newest] = hooks.items("newest-pipeline#")
    assert newest["pipeline"] == {"N": "575"}
    with pytest.raises(Outdated):
        hooks.job(forged, 574)


def test_a_forged_delivery_that_is_running_is_not_newer_than_a_job(hooks: Hooks) -> None:
    hooks.upload()
    hooks.finish(hooks.send("tags", tag_push()))
    running = hooks.deployment(hooks.send("next", pipeline(id=10**17)))
    by = replace(running.requested_by, webhook=None, job_id="302", pipeline_id="575")
    late = replace(running, id=new_id(hooks.simulation.clock() + 1), requested_by=by)
    changes = supersede(hooks.context, late, AliasLock(running.id), allowed=True).changes
    assert [after.status for _, after in changes] == [Status.ABORTED]


def test_the_documented_reset_deletes_the_order_of_one_project(hooks: Hooks) -> None:
    hooks.upload()
    hooks.finish(hooks.send("tags", tag_push()))
    hooks.job(hooks.finish(hooks.send("next", pipeline())), 10**6)
    page = (Path(__file__).parents[3] / "docs/reference/gate-file.md").read_text()
    [key] = re.findall(r"--key '(\{\s*\"pk\": \{\"S\": \"newest-pipeline#.*?\}\})'", page, re.DOTALL)
    values = {
        "ACCOUNT": OWN.account,
        "REGION": OWN.region,
        "FUNCTION": "orders-api",
        "ALIAS": "next",
        "PROJECT_ID": "4213",
        "ISSUER_URL": ISSUER,
    }
    for name, value in values.items():
        key = key.replace(name, value)
    [item] = hooks.items("newest-pipeline#")
    assert json.loads(key) == {name: item[name] for name in ("pk", "sk")}


# Refused


def test_rules_decide_as_for_jobs(hooks: Hooks) -> None:
    hooks.upload()
    nightly = tag_push("refs/tags/nightly")
    assert status(hooks.send("any", nightly)) == (200, "not_allowed")
    assert status(hooks.send("tags", pipeline(source="schedule"))) == (200, "not_allowed")
    denied = hooks.send("tags", pipeline(id=666))
    assert status(denied) == (200, "not_allowed")
    assert "denies" in denied["why"]
    assert hooks.items("request#") == hooks.items("deployment#") == []


def test_gitlab_keeps_a_hook_whatever_it_is_sent_for(hooks: Hooks) -> None:
    """A hook that fails four times in a row is left alone for a minute, and at last for a day."""
    hooks.upload()
    bodies: list[Any] = [
        *OTHER_EVENTS.values(),
        tag_push(object_kind="push"),
        tag_push(project_id=9),
        {},
        [],
        None,
    ]
    hook = Hook()
    for body in bodies:
        answer = hooks.send("tags", body, x_gitlab_event="System Hook")
        hook.record(answer["status"], hooks.simulation.clock())
        assert (answer["status"], answer["started"]) == (200, None)
        assert answer["code"] in ("other_event", "invalid_request", "not_allowed")
    assert hooks.items("deployment#") == []
    assert {event for event, _ in hooks.noted} == {"delivery_ignored", "request_refused"}
    assert hook == Hook()


def test_the_same_from_a_sender_that_does_not_verify_is_refused(hooks: Hooks) -> None:
    for body in (*OTHER_EVENTS.values(), tag_push(), {}, None):
        assert status(hooks.send("tags", body, secret="whsec_d3Jvbmc=")) == (401, "invalid_token")


def test_a_name_that_nobody_gave_is_not_found(hooks: Hooks) -> None:
    for name in ("nothing", "", "tags/x", "TAGS", "\x00"):
        assert status(hooks.call(name, b"x" * 600_000, {})) == (404, "not_found")
    assert hooks.manager.calls == 0


def test_refusals_come_in_their_order(hooks: Hooks) -> None:
    good, large = raw(tag_push()), b" " * (512 * 1024 + 1)
    assert status(hooks.call("tags", large, JSON))[0] == 401
    assert status(hooks.call("tags", b"{", {"content-type": ["text/plain"]}))[0] == 401
    assert status(hooks.call("tags", b"{", JSON))[0] == 401
    assert hooks.manager.calls == 0, "there was nothing to verify"
    assert status(hooks.send("tags", {}, data=large)) == (200, "too_large")
    assert status(hooks.send("tags", {}, data=b"{", content_type="text/plain")) == (
        200,
        "unsupported_media_type",
    )
    for data in (
        b"{",
        good[:-1] + b', "ref": "refs/tags/v2"}',
        b"[" * 40 + b"]" * 40,
        b'{"object_kind": NaN}',
    ):
        assert status(hooks.send("tags", {}, data=data)) == (200, "invalid_request")
    assert status(hooks.send("tags", tag_push(project_id=9))) == (200, "not_allowed")
    sent = headers(tag_push()) | sign(good, at=hooks.simulation.clock())
    assert status(hooks.call("tags", good, sent, query={"x": ["1"]})) == (200, "invalid_request")


def test_refusals_of_a_job_come_in_their_order(hooks: Hooks) -> None:
    """A job reads its answer itself: there is no hook that GitLab would disable."""
    assert status(hooks.call("jobs", b" " * (512 * 1024 + 1), JSON)) == (413, "too_large")
    assert status(hooks.call("jobs", b"{", {"content-type": ["text/plain"]}))[0] == 415
    assert status(hooks.call("jobs", b"{", JSON))[0] == 401
    bearer = JSON | {"authorization": [f"Bearer {job(hooks)}"]}
    assert status(hooks.call("jobs", b"{", bearer))[0] == 400
    assert status(by_job(hooks, "jobs", tag_push(project_id=9)))[0] == 403


def test_a_large_pipeline_is_fine(hooks: Hooks) -> None:
    hooks.upload()
    body = pipeline() | {"builds": [{"id": i, "name": "x" * 1000} for i in range(450)]}
    assert len(raw(body)) > 400_000
    assert hooks.send("tags", body)["code"] == "started"


def test_only_the_entrys_scheme_is_tried(hooks: Hooks) -> None:
    hooks.upload()
    data = raw(tag_push())
    clear = headers(tag_push(), x_gitlab_token=CLEAR)
    assert status(hooks.call("tags", data, clear)) == (401, "invalid_token")
    assert hooks.send("clear", tag_push())["status"] == 401
    assert hooks.send("jobs", tag_push())["status"] == 401
    token = {"authorization": [f"Bearer {job(hooks)}"]}
    assert hooks.call("tags", data, headers(tag_push()) | token)["status"] == 401
    # What else it brings neither helps nor harms.
    wrong = hooks.send("tags", tag_push(), secret="whsec_d3Jvbmc=", x_gitlab_token=CLEAR)
    assert wrong["status"] == 401
    assert hooks.send("tags", tag_push(), x_gitlab_token="wrong")["code"] == "started"


def test_another_secret_does_not_verify(hooks: Hooks) -> None:
    hooks.upload()
    data = raw(tag_push())
    for secret in ("whsec_b3RoZXI=", f"whsec_{b64encode(CLEAR.encode()).decode()}"):
        assert status(hooks.send("tags", tag_push(), secret=secret)) == (401, "invalid_token")
    for sent in ({"x_gitlab_token": SECRET}, {"x_gitlab_token": ""}, {"x_gitlab_token": [CLEAR, CLEAR]}):
        assert hooks.call("clear", data, headers(tag_push(), **cast(Any, sent)))["status"] == 401


def test_headers_that_disagree_are_refused(hooks: Hooks) -> None:
    hooks.upload()
    assert status(hooks.send("tags", tag_push(), idempotency_key="msg_2")) == (401, "invalid_token")
    assert status(hooks.send("tags", tag_push(), x_gitlab_event="Pipeline Hook")) == (200, "invalid_request")
    assert hooks.items("deployment#") == []


@pytest.mark.parametrize(
    "instance", ["http://gitlab.example.com", f"{ISSUER}:8443", "https://git.example.com"]
)
def test_a_gitlab_that_moved_keeps_its_hooks(hooks: Hooks, instance: str) -> None:
    """The secret proves the sender, so the address is a reason to do nothing and not to fail."""
    hooks.upload()
    moved = hooks.send("tags", tag_push(), x_gitlab_instance=instance)
    assert (status(moved), moved["started"]) == ((200, "not_allowed"), None)
    assert "X-Gitlab-Instance" in moved["why"]
    sent = headers(tag_push(), x_gitlab_instance=instance, x_gitlab_token=CLEAR)
    assert status(hooks.call("clear", raw(tag_push()), sent)) == (200, "not_allowed")
    assert hooks.items("deployment#") == hooks.items("request#") == []


def test_who_has_no_secret_learns_nothing_of_the_instance(hooks: Hooks) -> None:
    wrong = "whsec_d3Jvbmc="
    elsewhere = hooks.send("tags", tag_push(), secret=wrong, x_gitlab_instance="https://gitlab.com")
    assert elsewhere == hooks.send("tags", tag_push(), secret=wrong)
    assert (elsewhere["status"], elsewhere["check"]) == (401, "signature")


def test_a_gitlab_whose_tokens_have_another_issuer_says_its_own_address(hooks: Hooks) -> None:
    """`ci_id_tokens_issuer_url`: `X-Gitlab-Instance` is `Gitlab.config.gitlab.base_url` all the same."""
    hooks.upload()
    own = "https://gitlab.internal.example.com"
    issuers = {url: replace(issuer, gitlab_url=own) for url, issuer in hooks.gate.issuers.items()}
    hooks.context = replace(hooks.context, gate=replace(hooks.gate, issuers=issuers))
    assert status(hooks.send("tags", tag_push(), x_gitlab_instance=ISSUER)) == (200, "not_allowed")
    started = hooks.send("tags", tag_push(), x_gitlab_instance=own)
    assert started["code"] == "started"
    deployment = hooks.simulation.store.deployments.get(started["deployment"])
    assert deployment is not None
    assert deployment.requested_by.gitlab == own


def test_the_secret_before_is_valid_for_a_day(hooks: Hooks) -> None:
    hooks.upload()
    hooks.manager.secrets["sluicegate/webhooks/b"] = ["the new one", CLEAR]
    hooks.manager.rotated_at = hooks.simulation.clock()

    def sent(token: str) -> int:
        return int(hooks.call("clear", raw(tag_push()), headers(tag_push(), x_gitlab_token=token))["status"])

    hooks.simulation.clock.now += ROTATION_OVERLAP - 60
    assert (sent(CLEAR), sent("the new one")) == (200, 200)
    hooks.simulation.clock.now += 3_600
    assert (sent(CLEAR), sent("the new one")) == (401, 200)


def test_without_a_secret_nobody_can_say(hooks: Hooks) -> None:
    hooks.manager.secrets.clear()
    answer = hooks.send("tags", tag_push())
    assert status(answer) == (503, "unavailable")
    assert [event for event, _ in hooks.noted] == ["request_refused"]


def test_text_of_a_body_makes_no_key(hooks: Hooks) -> None:
    odd = "v1/../../x#y"
    hooks.upload(OTHER_SHA)
    assert hooks.send("tags", tag_push(f"refs/tags/{odd}", OTHER_SHA))["code"] == "other_ref"
    assert hooks.send("any", tag_push(f"refs/tags/{odd}", OTHER_SHA))["code"] == "not_allowed"
    keys = {item["pk"]["S"] + item["sk"]["S"] for item in hooks.items("")}
    assert not any("../" in key for key in keys)


def test_nothing_of_a_body_or_a_secret_is_noted(hooks: Hooks) -> None:
    hooks.upload()
    for body in (pipeline(), pipeline(), pipeline(status="failed"), pipeline(id="x")):
        hooks.send("tags", body)
    hooks.send("tags", pipeline(), secret="whsec_d3Jvbmc=")
    assert len(hooks.noted) == 6  # a malformed body is one that is refused, and a delivery that is ignored
    noted = repr(hooks.noted)
    assert "a variable's value" not in noted
    assert SECRET.removeprefix("whsec_") not in noted


# ID tokens


def job(hooks: Hooks, **changes: Any) -> str:
    now = int(hooks.simulation.clock())
    claims = {
        "ref": "v1.0.0",
        "ref_type": "tag",
        "sha": SHA,
        "iat": now - 30,
        "nbf": now - 35,
        "exp": now + 3_600,
    }
    return id_token({**claims, **changes})


def by_job(hooks: Hooks, name: str, body: Any, **changes: Any) -> dict[str, Any]:
    sent = headers(body) | {"authorization": [f"Bearer {job(hooks, **changes)}"]}
    return hooks.call(name, raw(body), sent)


def test_an_id_token_is_the_identity(hooks: Hooks) -> None:
    hooks.upload()
    answer = by_job(hooks, "jobs", pipeline())
    assert status(answer) == (200, "started")
    by = hooks.deployment(answer).requested_by
    assert (by.webhook, by.job_id, by.user_login, by.pipeline_id) == ("jobs", "302", "ada", "574")
    assert hooks.deployment(answer).rule == "by job"
    assert len(hooks.items("token#")) == 1
    assert hooks.manager.calls == 0


@pytest.mark.parametrize(
    ("body", "claims"),
    [
        (pipeline(id=575), {}),
        (pipeline(), {"sha": OTHER_SHA}),
        (pipeline(), {"project_id": "9"}),
        (tag_push("refs/tags/v2"), {}),
        (tag_push(sha=OTHER_SHA), {}),
        ({"object_kind": "tag_push", "project_id": 4213}, {}),
    ],
)
def test_a_body_that_is_not_the_tokens_is_refused(hooks: Hooks, body: Any, claims: dict[str, Any]) -> None:
    hooks.upload()
    assert status(by_job(hooks, "jobs", body, **claims)) == (403, "not_allowed")
    assert hooks.items("request#") == []


def test_a_stages_own_limit_of_age_holds_for_tokens(hooks: Hooks) -> None:
    hooks.upload()
    now = int(hooks.simulation.clock())
    assert by_job(hooks, "young", tag_push(), iat=now - 120)["status"] == 401
    assert by_job(hooks, "young", tag_push())["code"] == "started"


def test_a_token_that_leaked_deploys_nothing_else(hooks: Hooks) -> None:
    hooks.upload()
    first = by_job(hooks, "jobs", tag_push())
    hooks.finish(first)
    hooks.upload(sha256="b" * 64)
    other = by_job(hooks, "jobs", tag_push("refs/tags/v2"), ref="v2")
    assert status(other) == (200, "token_used")
