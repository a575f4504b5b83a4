"""GitLab's API over real HTTP: what is sent, and what each response means."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from sluicegate.delivery.errors import PermanentError, TransientError, UndeliverableError
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.notifier.gitlab_api import GitLab
from stand import gitlab as stand_in
from stand.gitlab import Fault
from support.refusals import refused

SHA = "714a629c0b401fdce83e847fc9589983fc6f46bc"
STATUS = {"state": "running", "name": "sluicegate/orders:prod", "pipeline_id": 574, "description": "on it"}
DEPLOYMENT = {"environment": "prod/eu", "sha": SHA, "ref": "v1", "tag": True, "status": "running"}


@dataclass
class Secret:
    text: str

    def get_secret_value(self, **_: Any) -> dict[str, str]:
        return {"SecretString": f"{self.text}\n"}


@dataclass
class Instance:
    """A stand-in GitLab in this process."""

    model: stand_in.GitLab
    secret: Secret

    def client(self, seconds: float = 30) -> GitLab:
        return GitLab(
            self.model.issuer,
            "sluicegate/gitlab/corp",
            CachedSecrets(cast(Any, self.secret)),
            time.time() + seconds,
        )


@pytest.fixture
def gitlab() -> Iterator[Instance]:
    server = stand_in.Server(("127.0.0.1", 0), stand_in.Handler)
    model = stand_in.GitLab(f"http://127.0.0.1:{server.server_address[1]}", "https://deploy.example.com")
    server.RequestHandlerClass = type("Quiet", (_Quiet,), {"gitlab": model})
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield Instance(model, Secret(model.api.tokens[0]))
    server.shutdown()
    server.server_close()


class _Quiet(stand_in.Handler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def test_a_commit_gets_a_status(gitlab: Instance) -> None:
    gitlab.client().set_status("4213", SHA, STATUS, "v1")
    [status] = gitlab.model.api.statuses
    assert STATUS.items() <= {**status, "state": status["status"]}.items()


def test_a_state_that_gitlab_has_already_is_fine(gitlab: Instance) -> None:
    for _ in range(2):
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    gitlab.client().set_status("4213", SHA, {**STATUS, "state": "success"}, "v1")
    assert [one["history"] for one in gitlab.model.api.statuses] == [["running", "success"]]


def test_a_deployment_is_made_found_and_ended(gitlab: Instance) -> None:
    client = gitlab.client()
    assert client.find_deployment("4213", DEPLOYMENT) is None
    number = client.create_deployment("4213", DEPLOYMENT)
    assert client.find_deployment("4213", DEPLOYMENT) == number
    assert client.find_deployment("4213", {**DEPLOYMENT, "environment": "prod"}) is None
    assert client.find_deployment("4213", {**DEPLOYMENT, "ref": "v2"}) is None
    for _ in range(2):
        client.update_deployment("4213", number, "success")
    [made] = gitlab.model.api.deployments
    assert (made["environment"], made["history"]) == ("prod/eu", ["running", "success"])


def test_a_deployment_is_found_below_many_newer_ones(gitlab: Instance) -> None:
    client = gitlab.client()
    earlier, lost = (client.create_deployment("4213", {**DEPLOYMENT, "ref": ref}) for ref in ("v0", "v1"))
    newer = [client.create_deployment("4213", DEPLOYMENT) for _ in range(12)]
    assert client.find_deployment("4213", DEPLOYMENT, earlier, newer) == lost
    assert client.find_deployment("4213", DEPLOYMENT, lost, newer) is None


def test_a_jobs_own_deployment_is_not_taken_for_ours(gitlab: Instance) -> None:
    gitlab.client().create_deployment("4213", DEPLOYMENT)
    gitlab.model.api.deployments[0]["deployable"] = {"id": 302}
    assert gitlab.client().find_deployment("4213", DEPLOYMENT) is None


@pytest.mark.parametrize(
    ("fault", "code", "seconds"),
    [
        (Fault("down"), "RemoteDisconnected", 0),
        (Fault("flood"), "more than 65536 bytes", 0),
        (Fault("answer", status=500, body="{}"), "status 500", 0),
        (Fault("answer", status=502, content_type="text/html", body="<html>"), "status 502", 0),
        (Fault("answer", status=503, headers={"Retry-After": "120"}), "status 503", 120),
        (Fault("answer", status=429, headers={"Retry-After": "60"}), "status 429", 60),
        (
            Fault("answer", status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
            "status 429",
            0,
        ),
        (Fault("answer", status=409, body='{"message": "in progress"}'), "status 409", 0),
        (Fault("answer", status=201, content_type="text/html", body="<html>"), "status 201", 0),
    ],
    ids=lambda value: f"{value.mode} {value.status}" if isinstance(value, Fault) else "",
)
def test_a_transient_failure_is_retryable(gitlab: Instance, fault: Fault, code: str, seconds: int) -> None:
    gitlab.model.fault = fault
    with pytest.raises(TransientError) as transient:
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert transient.value.code.startswith(code)
    assert transient.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (403, '{"message": "403 Forbidden"}', "403 Forbidden"),
        (403, '{"error": "insufficient_scope", "scope": "api"}', "insufficient_scope"),
        (404, '{"message": "404 Project Not Found"}', "404 Project Not Found"),
        (403, '{"message": "\\u001b[31m"}', "\ufffd[31m"),
        (422, "<html>", ""),
        (422, "[]", ""),
        (302, "{}", ""),
    ],
)
def test_what_gitlab_rejects_is_a_permanent_error_with_its_message(
    gitlab: Instance, status: int, body: str, detail: str
) -> None:
    elsewhere = {"Location": f"{gitlab.model.issuer}/api/v4/elsewhere"}
    gitlab.model.fault = Fault("answer", status=status, body=body, headers=elsewhere)
    with pytest.raises(PermanentError) as refused:
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert (refused.value.code, refused.value.detail) == (f"status {status}", detail)
    assert sum(gitlab.model.requests.values()) <= 2  # a 403 is followed by a look at the project


def test_a_child_pipelines_status_goes_to_the_refs_newest_pipeline(gitlab: Instance) -> None:
    """`ci_pipelines` leaves out the source `parent_pipeline`: app/models/concerns/enums/ci/pipeline.rb."""
    gitlab.model.api.ground.child_pipelines = {574}
    for state in ("running", "success"):
        gitlab.client().set_status("4213", SHA, {**STATUS, "state": state}, "v1")
    [status] = gitlab.model.api.statuses
    assert (status["pipeline_id"] != 574, status["ref"], status["history"]) == (
        True,
        "v1",
        ["running", "success"],
    )


def test_a_full_pipelines_status_goes_to_another_of_the_ref(gitlab: Instance) -> None:
    gitlab.model.api.ground.full_pipelines = {574}
    gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert [status["pipeline_id"] != 574 for status in gitlab.model.api.statuses] == [True]


def test_a_link_that_gitlab_blocks_does_not_cost_the_status(gitlab: Instance) -> None:
    gitlab.model.api.ground.block_links = True
    gitlab.model.api.ground.child_pipelines = {574}
    link = {"target_url": "https://gitlab.example.com/acme/orders/-/jobs/302"}
    gitlab.client().set_status("4213", SHA, {**STATUS, **link}, "v1")
    assert [("target_url" in status, status["ref"]) for status in gitlab.model.api.statuses] == [
        (False, "v1")
    ]


@pytest.mark.parametrize(
    "message",
    [
        '{"target_url": ["is too long"]}',
        '"400 Bad request - Target url is blocked"',
        '"target_url is invalid"',
    ],
)
def test_a_status_is_sent_once_more_without_its_link_and_not_again(gitlab: Instance, message: str) -> None:
    gitlab.model.fault = Fault("answer", status=400, body=f'{{"message": {message}}}')
    with pytest.raises(UndeliverableError):
        gitlab.client().set_status("4213", SHA, {**STATUS, "target_url": "https://x"}, "v1")
    assert sum(gitlab.model.requests.values()) == 2


def test_what_gitlab_can_never_show_is_told_apart(gitlab: Instance) -> None:
    client, ground = gitlab.client(), gitlab.model.api.ground
    ground.taken_names = {str(STATUS["name"])}
    with pytest.raises(UndeliverableError, match="status 400"):
        client.set_status("4213", SHA, STATUS, "v1")
    ground.taken_names, ground.gone_commits = set(), {SHA}
    with pytest.raises(UndeliverableError, match="status 404"):
        client.set_status("4213", SHA, STATUS, "v1")
    with pytest.raises(UndeliverableError, match="status 400") as refused:
        client.create_deployment("4213", DEPLOYMENT)
    assert refused.value.detail == '{"sha": ["The commit does not exist"]}'
    ground.gone_commits, ground.gone_refs = set(), {"v1"}
    ground.child_pipelines = {574}
    with pytest.raises(UndeliverableError, match="status 404"):
        client.set_status("4213", SHA, STATUS, "v1")
    with pytest.raises(UndeliverableError, match="status 404"):
        client.update_deployment("4213", 99, "success")


def test_an_archived_project_is_told_apart_from_a_token_that_may_not(gitlab: Instance) -> None:
    ground = gitlab.model.api.ground
    ground.closed_refs = {"v1.0.0"}
    with pytest.raises(PermanentError, match="status 403"):
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    ground.archived_projects = {"4213"}
    with pytest.raises(UndeliverableError, match="status 403"):
        gitlab.client().set_status("4213", SHA, STATUS, "v1")


def test_a_jobs_deployment_that_gitlab_takes_for_ours_is_left_alone(gitlab: Instance) -> None:
    """GitLab answers with the environment's last success where it would make an equal one."""
    equal = {**DEPLOYMENT, "status": "success"}
    number = gitlab.client().create_deployment("4213", equal)
    gitlab.model.api.deployments[0]["deployable"] = {"id": 302}
    assert gitlab.client().create_deployment("4213", equal) == number
    with pytest.raises(UndeliverableError, match="status 403"):
        gitlab.client().update_deployment("4213", number, "failed")


def test_a_deployment_of_a_deleted_branch_is_one_of_its_commit(gitlab: Instance) -> None:
    """`project.commit(ref)` finds a commit by its id too: lib/api/deployments.rb, `valid_ref`."""
    gitlab.model.api.ground.gone_refs = {"v1"}
    client = gitlab.client()
    number = client.create_deployment("4213", DEPLOYMENT)
    [made] = gitlab.model.api.deployments
    assert (made["ref"], made["tag"]) == (SHA, False)
    assert client.find_deployment("4213", DEPLOYMENT) == number
    assert client.find_deployment("4213", DEPLOYMENT, after=number) is None
    assert client.find_deployment("4213", DEPLOYMENT, others={number}) is None


def test_a_gitlab_that_is_read_only_is_asked_again_later(gitlab: Instance) -> None:
    gitlab.model.api.ground.read_only = True
    with pytest.raises(TransientError, match="status 403"):
        gitlab.client().set_status("4213", SHA, STATUS, "v1")


@pytest.mark.parametrize(
    ("reset", "seconds"), [(0, 0), (40, 40), (90_000, 3_600), (-100, 0)], ids=["now", "soon", "far", "past"]
)
def test_a_rate_limits_reset_is_waited_for(gitlab: Instance, reset: int, seconds: int) -> None:
    headers = {
        "RateLimit-Limit": "600",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(int(time.time()) + reset),
    }
    gitlab.model.fault = Fault(
        "answer", status=429, headers=headers, content_type="text/plain", body="Retry later\n"
    )
    with pytest.raises(TransientError) as transient:
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert 0 <= seconds - transient.value.retry_after <= 10


def test_a_refusal_that_repeats_the_token_is_not_repeated(gitlab: Instance) -> None:
    gitlab.model.fault = Fault("answer", status=403, body=f'{{"message": "no: {gitlab.secret.text}"}}')
    with pytest.raises(PermanentError) as refused:
        gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert refused.value.detail == ""


def test_a_slow_gitlab_is_given_up_in_time(gitlab: Instance) -> None:
    gitlab.model.fault = Fault("slow", seconds=60)  # and then it would be a success
    with pytest.raises(TransientError):
        gitlab.client(seconds=0.3).set_status("4213", SHA, STATUS, "v1")


def test_nothing_is_sent_after_the_deadline(gitlab: Instance) -> None:
    with pytest.raises(TransientError):
        gitlab.client(seconds=0).set_status("4213", SHA, STATUS, "v1")
    assert not gitlab.model.requests


def test_the_proxy_of_the_environment_is_not_used(gitlab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    gitlab.client().set_status("4213", SHA, STATUS, "v1")
    assert gitlab.model.api.statuses


def test_a_token_goes_over_tls_or_to_this_machine_only() -> None:
    client = GitLab(
        "http://gitlab.example.com", "s", CachedSecrets(cast(Any, Secret("glpat-1"))), time.time() + 30
    )
    with pytest.raises(TransientError, match="not an https URL"):
        client.set_status("4213", SHA, STATUS, "v1")


@pytest.mark.parametrize(
    ("code", "after", "is_final"),
    [
        ("AccessDeniedException", 0, False),
        ("AccessDeniedException", 59, False),
        ("AccessDeniedException", 61, True),
        ("ThrottlingException", 10_000, False),
        ("ResourceNotFoundException", 0, True),
    ],
)
def test_a_secret_that_is_denied_is_asked_for_again_for_a_minute(
    code: str, after: float, is_final: bool
) -> None:
    """After `make deploy`, the permission to read it takes seconds to spread."""
    now = [1_780_000_000.0]

    class Refusing:
        def get_secret_value(self, **_: Any) -> Any:
            raise refused(code, "no", 400, "GetSecretValue")

    tokens = CachedSecrets(cast(Any, Refusing()), lambda: now[0])
    for seconds in (0, after):
        now[0] = 1_780_000_000.0 + seconds
        with pytest.raises(PermanentError if is_final and seconds == after else TransientError):
            tokens.text("sluicegate/gitlab/corp")
