"""Sessions of people as callers of the API: security.md#sessions, security.md#approvals."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployer.sessions import session_tags, source_identity
from sluicegate.deployment.model import Deployment
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.sessions import FRESH_SECONDS
from sluicegate.store.sessions import SESSION_SECONDS, bearer_of, new_secret
from support.board_site import (
    BoardSite,
    board_site,
    made_gate,
    session_rule,
    two_issuers,
    without_sign_in,
)
from support.gateway_simulation import APPROVERS, OTHER, RELEASERS, artifact, problem, refused
from support.signing import ISSUER, token

MANAGERS = session_rule(
    "managers", "approve", "reject", "abort", "hold", "rollback", "promote", "end-sessions"
)
READERS = session_rule("readers", "read", claims={"groups_direct": ["acme"]})
RULES = (RELEASERS, APPROVERS, MANAGERS, READERS)
ASKS = {"prod": Rollout(approval=3_600)}


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site(rules=RULES) as made:
        yield made


def guarded(gate: Gate, *, protected: bool = False, max_age: int | None = None) -> Gate:
    """The gate with a production stage that is so."""
    prod = replace(gate.stages["prod"], protected=protected, max_age=max_age)
    return replace(gate, stages={**gate.stages, "prod": prod})


def signed_in(at: BoardSite, username: str = "grace") -> str:
    browser = at.browser()
    browser.sign_in(username)
    assert browser.bearer
    return browser.bearer


def deployed(at: BoardSite, code: bytes = b"new", stage: str = "dev", **claims: Any) -> Deployment:
    """What a job has deployed there."""
    sha256 = artifact(at.gateway, code)
    return at.gateway.release(sha256, claims=at.gateway.job(**claims), stage=stage)


def waiting(at: BoardSite, **claims: Any) -> Deployment:
    """What a job has asked for, and what waits for a person."""
    sha256 = artifact(at.gateway, b"new")
    asked = at.gateway.deploy(sha256, at.gateway.job(**claims))
    return at.gateway.run_until(asked, "awaiting_approval")


def approve(at: BoardSite, bearer: str, deployment: Deployment) -> GatewayResponse:
    return at.api(bearer, "POST", "/deployments/{id}/approve", {"reason": "checked"}, id=deployment.id)


def promotion(at: BoardSite, bearer: str, version: str, key: str | None = "key-1", **more: Any) -> Any:
    body = {"action": "promote", "function": "orders", "stage": "prod", "from": "dev", "version": version}
    return at.api(bearer, "POST", "/deployments", body | more, key)


# Who it is


def test_a_session_is_a_person_with_what_gitlab_vouches_for(at: BoardSite) -> None:
    me = at.api(signed_in(at), "GET", "/whoami").value
    assert (me["via"], me["actor"], me["issuer"], me["project_id"]) == ("session", "person", ISSUER, None)
    assert me["claims"] == {
        "email": "grace@example.com",
        "groups_direct": ["acme", "acme/release-managers"],
        "user_id": "8",
        "user_login": "grace",
    }
    assert [rule["name"] for rule in me["rules"]] == ["managers", "readers"]
    assert me["signed_in_at"] < me["expires_at"]


def test_a_listed_agent_is_one_in_a_session_too(at: BoardSite) -> None:
    users = [{"issuer": ISSUER, "user_id": "8"}]
    at.gateway.gate = made_gate(at.site, rules=RULES, agents={"users": users, "principals": []})
    me = at.api(signed_in(at), "GET", "/whoami").value
    assert me["actor"] == "agent"
    assert set(me["rules"][0]["actions"]) == {"reject", "abort", "rollback", "promote"}


@pytest.mark.parametrize("bearer", ["sgs_", "sgs_x", f"sgs_{'A' * 22}_{'A' * 43}", "sgs_" + "x" * 9_000])
def test_what_begins_as_a_session_is_tried_as_nothing_else(at: BoardSite, bearer: str) -> None:
    assert "session" in refused(401, "sign_in_required", at.api, bearer, "GET", "/whoami")


def test_a_session_of_another_stack_is_none(at: BoardSite) -> None:
    refused(401, "sign_in_required", at.api, bearer_of(ISSUER, "8", new_secret()), "GET", "/whoami")


def test_a_jobs_token_is_no_session_and_a_session_no_token(at: BoardSite) -> None:
    job = token(at.gateway.job())
    assert at.api(job, "GET", "/whoami").value["via"] == "id_token"
    refused(401, "sign_in_required", at.api, f"sgs_{job}", "GET", "/whoami")
    bearer = signed_in(at)
    refused(401, "invalid_token", at.api, bearer.removeprefix("sgs_"), "GET", "/whoami")
    refused(401, "invalid_token", at.api, bearer.upper(), "GET", "/whoami")


@pytest.mark.parametrize("values", [["Bearer {}", "Bearer {}"], ["Basic {}"], ["{}"], ["Bearer  {}"]])
def test_it_is_the_one_bearer_of_the_request(at: BoardSite, values: list[str]) -> None:
    bearer = signed_in(at)
    headers = {"authorization": [value.format(bearer) for value in values]}
    call = GatewayRequest("GET", "/whoami", {}, {}, headers, b"", "request")
    refused(401, "invalid_token", dispatch, at.gateway.context, call)


def test_the_cookie_of_the_board_is_nothing_to_the_api(at: BoardSite) -> None:
    headers = {"cookie": [f"__Host-sg={signed_in(at)}"]}
    call = GatewayRequest("GET", "/whoami", {}, {}, headers, b"", "request")
    refused(401, "invalid_token", dispatch, at.gateway.context, call)


def test_it_is_nothing_beside_or_instead_of_a_signature(at: BoardSite) -> None:
    bearer = signed_in(at)
    headers = {"authorization": [f"Bearer {bearer}"], "sluicegate-id-token": [bearer]}
    call = GatewayRequest("GET", "/iam/whoami", {}, {}, headers, b"", "request", {"stage": "v1"})
    refused(403, "not_allowed", dispatch, at.gateway.context, call)


def test_it_delivers_no_webhook(at: BoardSite) -> None:
    hook = {
        "name": "jobs",
        "issuer": ISSUER,
        "project_id": "4213",
        "scheme": "id_token",
        "secret": None,
        "event": "tag_push",
        "ref_type": "tag",
        "ref": "v*",
        "function": "orders",
        "stage": "dev",
    }
    at.gateway.gate = made_gate(at.site, rules=RULES, webhooks=[hook])
    refused(401, "invalid_token", at.api, signed_in(at), "POST", "/webhooks/gitlab/{name}", {}, name="jobs")


# How it ends


def test_it_ends_by_time(at: BoardSite) -> None:
    bearer = signed_in(at)
    at.gateway.clock.now += SESSION_SECONDS
    refused(401, "sign_in_required", at.api, bearer, "GET", "/whoami")


def test_deny_holds_on_every_request(at: BoardSite) -> None:
    bearer = signed_in(at)
    at.gateway.gate = made_gate(at.site, rules=RULES, deny=[{"issuer": ISSUER, "claims": {"user_id": ["8"]}}])
    refused(403, "not_allowed", at.api, bearer, "GET", "/whoami")


def test_it_ends_with_the_issuers_sign_in(at: BoardSite) -> None:
    bearer = signed_in(at)
    at.gateway.gate = without_sign_in(at.site)
    refused(401, "sign_in_required", at.api, bearer, "GET", "/whoami")


def test_a_person_ends_their_own_session_and_may_say_so_twice(at: BoardSite) -> None:
    bearer, other = signed_in(at), signed_in(at)
    assert at.api(bearer, "DELETE", "/session").value == {"ended": 1}
    assert at.api(bearer, "DELETE", "/session").value == {"ended": 0}
    refused(401, "sign_in_required", at.api, bearer, "GET", "/whoami")
    assert at.api(other, "GET", "/whoami").status == 200
    refused(401, "invalid_token", at.gateway.ask, "DELETE", "/session", at.gateway.job())


def person(user_id: str) -> dict[str, str]:
    return {"issuer": ISSUER, "user_id": user_id}


def test_ending_ones_own_session_is_a_fact_once(at: BoardSite) -> None:
    bearer = signed_in(at)
    for _ in range(2):
        at.api(bearer, "DELETE", "/session")
    (line,) = at.lines("session_ended")
    assert (line["code"], line["by"], line["owner"]) == ("signed_out", person("8"), person("8"))


def test_ending_all_of_ones_own_is_a_fact_without_a_rule(at: BoardSite) -> None:
    bearer = signed_in(at, "eve")
    signed_in(at, "eve")
    at.api(bearer, "DELETE", "/sessions/{user}", user="10")
    (line,) = at.lines("sessions_ended")
    assert (line["by"], line["owner"], line["count"]) == (person("10"), person("10"), 2)
    assert "rule" not in line


def test_all_ones_own_sessions_end_without_a_rule(at: BoardSite) -> None:
    mine, hers = [signed_in(at, "eve") for _ in range(2)], signed_in(at)
    assert at.api(mine[0], "DELETE", "/sessions/{user}", user="10").value == {"ended": 2}
    refused(401, "sign_in_required", at.api, mine[1], "GET", "/whoami")
    assert at.api(hers, "GET", "/whoami").status == 200


def test_another_persons_sessions_need_a_rule_of_their_gitlab(at: BoardSite) -> None:
    manager, eve = signed_in(at), signed_in(at, "eve")
    refused(403, "not_allowed", at.api, eve, "DELETE", "/sessions/{user}", user="8")
    refused(403, "not_allowed", at.gateway.ask, "DELETE", "/sessions/{user}", at.gateway.job(), user="8")
    refused(404, "not_found", at.api, manager, "DELETE", "/sessions/{user}", user="eve")
    query = {"issuer": "other"}
    refused(404, "not_found", at.api, manager, "DELETE", "/sessions/{user}", query=query, user="10")
    assert at.api(eve, "GET", "/whoami").status == 200
    ended = at.api(manager, "DELETE", "/sessions/{user}", query={"issuer": "corp"}, user="10")
    assert ended.value == {"ended": 1}
    refused(401, "sign_in_required", at.api, eve, "GET", "/whoami")
    (line,) = at.lines("sessions_ended")
    assert (line["by"], line["owner"]) == (person("8"), person("10"))
    assert (line["rule"], line["count"], line["actions"]) == ("managers", 1, ["end-sessions"])
    assert line["sessions"] == [at.lines("signed_in")[1]["session"]]
    others = [one for one in at.lines("refused") if one["via"] == "session"]
    assert {one["action"] for one in others} == {"end-sessions"}
    assert [one["by"]["user_id"] for one in others if one["status"] == 403] == ["10"]


# What it may not


def test_a_person_deploys_no_artifact(at: BoardSite) -> None:
    bearer, sha256 = signed_in(at), artifact(at.gateway, b"new")
    body = {"action": "deploy", "function": "orders", "stage": "dev", "artifact": {"sha256": sha256}}
    assert "signed-in person" in refused(
        403, "not_allowed", at.api, bearer, "POST", "/deployments", body, "k"
    )
    upload = {"function": "orders", "sha256": sha256, "size": 3}
    assert "signed-in person" in refused(403, "not_allowed", at.api, bearer, "POST", "/artifacts", upload)


def test_a_person_without_a_rule_sees_nothing_and_the_same_404(at: BoardSite) -> None:
    there, eve = deployed(at), signed_in(at, "eve")
    missing = "01KAQ3ZV6N8T4R1F0C2H7M5XWE"
    one, other = (
        problem(at.api, eve, "GET", "/deployments/{id}", id=each).body("r") for each in (there.id, missing)
    )
    assert one == other
    assert at.api(eve, "GET", "/deployments").value["items"] == []
    assert at.api(signed_in(at, "ada"), "GET", "/deployments").value["items"][0]["id"] == there.id


def test_a_reader_only_reads(at: BoardSite) -> None:
    at.gateway.gate = made_gate(at.site, stages=ASKS, rules=RULES)
    deployment, bearer = waiting(at), signed_in(at, "ada")
    assert at.api(bearer, "GET", "/deployments/{id}", id=deployment.id).status == 200
    for action in ("approve", "reject", "abort"):
        refused(
            403, "not_allowed", at.api, bearer, "POST", f"/deployments/{{id}}/{action}", {}, id=deployment.id
        )
    refused(403, "not_allowed", promotion, at, bearer, "1")


# Decisions


@pytest.fixture
def asks(at: BoardSite) -> BoardSite:
    at.gateway.gate = guarded(made_gate(at.site, stages=ASKS, rules=RULES), protected=True)
    return at


def test_a_second_person_approves_by_their_session(asks: BoardSite) -> None:
    deployment = waiting(asks)
    answer = approve(asks, signed_in(asks), deployment)
    assert answer.status == 202
    by = answer.value["approval"]["by"]
    assert (by["via"], by["actor"], by["user_id"], by["job_id"]) == ("session", "person", "8", None)
    assert "approved by grace (user 8, signed in), by rule 'managers'" in answer.lines[-1]
    assert asks.gateway.finish(deployment).status == "succeeded"


def test_the_same_decision_again_is_answered_alike(asks: BoardSite) -> None:
    deployment, bearer = waiting(asks), signed_in(asks)
    approve(asks, bearer, deployment)
    for again in (bearer, signed_in(asks)):
        answer = approve(asks, again, deployment)
        assert (answer.status, answer.headers["Idempotent-Replayed"]) == (200, "true")


def test_nobody_approves_their_own_by_another_way_in(asks: BoardSite) -> None:
    """People are compared by (GitLab, id): a job's user and a signed-in user are one."""
    deployment = waiting(asks, user_id="8", user_login="grace")
    detail = refused(403, "not_allowed", approve, asks, signed_in(asks), deployment)
    assert "a different person must approve" in detail
    asked = asks.gateway.person("8")
    refused(403, "not_allowed", asks.gateway.decide, "approve", deployment, asked)


def test_nobody_approves_with_a_job_what_they_asked_for_in_a_session(asks: BoardSite) -> None:
    version = deployed(asks).version or ""
    answer = promotion(asks, signed_in(asks), version)
    made = asks.gateway.run_until(asks.gateway.of(answer), "awaiting_approval")
    refused(403, "not_allowed", asks.gateway.decide, "approve", made, asks.gateway.person("8"))
    refused(403, "not_allowed", approve, asks, signed_in(asks), made)
    assert asks.gateway.decide("approve", made, asks.gateway.person("7")).status == 202


def test_one_gitlab_that_is_two_issuers_has_one_person(asks: BoardSite) -> None:
    """For example while the issuer of its tokens changes (`ci_id_tokens_issuer_url`)."""
    corp, _ = asks.gateway.gate.issuers.values()
    asks.gateway.gate = two_issuers(asks.site, stages=ASKS, rules=(*RULES, OLD_RELEASERS))
    deployment = waiting(asks, iss=OTHER, user_id="8", user_login="grace")
    assert deployment.requested_by.issuer != corp.url
    detail = refused(403, "not_allowed", approve, asks, signed_in(asks), deployment)
    assert "a different person must approve" in detail


OLD_RELEASERS = RELEASERS | {"name": "by the old issuer", "issuer": OTHER}


def test_approving_where_it_is_protected_needs_a_fresh_sign_in(asks: BoardSite) -> None:
    deployment, bearer = waiting(asks), signed_in(asks)
    asks.gateway.clock.now += FRESH_SECONDS + 1
    found = problem(approve, asks, bearer, deployment)
    assert (found.status, found.code, found.members["check"]) == (401, "sign_in_required", "fresh")
    assert 'error="insufficient_user_authentication", max_age="900"' in found.headers["WWW-Authenticate"]
    rejected = asks.api(bearer, "POST", "/deployments/{id}/reject", {}, id=deployment.id)
    assert rejected.status == 202


def test_a_stages_max_age_counts_from_the_sign_in(asks: BoardSite) -> None:
    asks.gateway.gate = guarded(made_gate(asks.site, stages=ASKS, rules=RULES), max_age=60)
    version, bearer = deployed(asks).version or "", signed_in(asks)
    asks.gateway.clock.now += 61
    found = problem(promotion, asks, bearer, version)
    assert (found.status, found.members["check"]) == (401, "fresh")
    assert promotion(asks, signed_in(asks), version).status == 202


def test_a_person_holds_and_releases(at: BoardSite) -> None:
    bearer = signed_in(at)
    body = {"reason": "freeze", "idempotency_key": "k" * 16}
    held = at.api(bearer, "POST", "/stages/{stage}/hold", body, stage="prod").value["holds"]
    assert (held[0]["by"]["via"], held[0]["by"]["user_login"]) == ("session", "grace")
    at.api(bearer, "DELETE", "/stages/{stage}/hold", query={"id": held[0]["id"]}, stage="prod")
    again = problem(at.api, bearer, "POST", "/stages/{stage}/hold", body, stage="prod")
    assert (again.status, again.code) == (409, "wrong_state")


# Promotions and rollbacks


def test_a_person_promotes_what_a_pipeline_has_built(at: BoardSite) -> None:
    version = deployed(at, pipeline_id="600").version or ""
    made = at.gateway.of(promotion(at, signed_in(at), version))
    assert (made.requested_by.via, made.requested_by.user_id, made.requested_by.project_id) == (
        "session",
        "8",
        "",
    )
    assert made.built
    assert (made.built.by.project_id, made.built.by.pipeline_id) == ("4213", "600")
    tags = {tag["Key"]: tag["Value"] for tag in session_tags(made)}
    assert (tags["User"], tags["Project"], tags["Commit"]) == ("8", "4213", made.built.by.sha)
    assert "Job" not in tags
    assert source_identity(made.requested_by) == "user-8-grace"
    assert "for grace (user 8, signed in)" in made.timeline[0].message
    assert at.gateway.finish(made).status == "succeeded"


def test_a_person_says_which_request_it_is(at: BoardSite) -> None:
    """The same rollback twice in a day may be meant twice."""
    version, bearer = deployed(at).version or "", signed_in(at)
    assert "idempotency_key" in refused(400, "invalid_request", promotion, at, bearer, version, None)
    first = promotion(at, bearer, version, "key-1")
    at.gateway.finish(at.gateway.of(first))
    other = signed_in(at)
    again = promotion(at, other, version, "key-1")
    assert (again.value["id"], again.status) == (first.value["id"], 200)
    refused(409, "key_reused", promotion, at, bearer, version, "key-1", description="other")
    assert promotion(at, bearer, version, "key-2").value["id"] != first.value["id"]
    assert promotion(at, bearer, version, None, dry_run=True).value["allowed"]


def test_two_people_with_one_key_have_two_requests(at: BoardSite) -> None:
    version = deployed(at).version or ""
    at.gateway.gate = made_gate(
        at.site, rules=(*RULES, session_rule("all", "promote", claims={"groups_direct": ["acme"]}))
    )
    one = promotion(at, signed_in(at), version)
    at.gateway.finish(at.gateway.of(one))
    assert promotion(at, signed_in(at, "ada"), version).value["id"] != one.value["id"]


def test_a_person_rolls_back(at: BoardSite) -> None:
    deployed(at, b"one", "prod")
    two = deployed(at, b"two", "prod")
    body = {"action": "rollback", "function": "orders", "stage": "prod"}
    made = at.gateway.of(at.api(signed_in(at), "POST", "/deployments", body, "key"))
    done = at.gateway.finish(made)
    assert (done.status, done.version != two.version) == ("succeeded", True)
    assert done.built


def test_a_person_sees_what_they_asked_for_after_their_rule_is_gone(at: BoardSite) -> None:
    version, bearer = deployed(at).version or "", signed_in(at)
    made = at.gateway.of(promotion(at, bearer, version))
    at.gateway.gate = made_gate(at.site, rules=(RELEASERS,))
    assert at.api(bearer, "GET", "/deployments/{id}", id=made.id).status == 200
    assert [one["id"] for one in at.api(bearer, "GET", "/deployments").value["items"]] == [made.id]
    refused(404, "not_found", at.api, signed_in(at, "ada"), "GET", "/deployments/{id}", id=made.id)


def test_a_promotion_by_a_person_is_as_old_as_the_pipeline_that_built_it(at: BoardSite) -> None:
    at.gateway.gate = made_gate(at.site, stages={"prod": Rollout(ordered=True)}, rules=RULES)
    old = deployed(at, b"old", pipeline_id="500")
    deployed(at, b"newer", "prod", pipeline_id="600")
    assert "newer pipeline" in refused(409, "outdated", promotion, at, signed_in(at), old.version or "")
    new = deployed(at, b"newest", pipeline_id="700")
    at.gateway.finish(at.gateway.of(promotion(at, signed_in(at), new.version or "", "key-2")))
    sha256 = artifact(at.gateway, b"late")
    late = at.gateway.job(pipeline_id="650")
    refused(409, "outdated", at.gateway.deploy, sha256, late)


def test_a_rules_limits_are_each_persons(at: BoardSite) -> None:
    limits = {"per_hour": 1, "per_day": None, "unapproved_percent": None, "hours": None, "propose": False}
    rule = session_rule("few", "promote", claims={"groups_direct": ["acme"]}, limits=limits)
    at.gateway.gate = made_gate(at.site, rules=(RELEASERS, rule))
    version = deployed(at).version or ""
    for username in ("ada", "grace"):
        made = promotion(at, signed_in(at, username), version)
        at.gateway.finish(at.gateway.of(made))
        refused(403, "limit_reached", promotion, at, signed_in(at, username), version, "key-2")


def test_no_log_has_more_of_a_person_than_the_id(at: BoardSite) -> None:
    version, bearer = deployed(at).version or "", signed_in(at)
    promotion(at, bearer, version)
    refused(403, "not_allowed", promotion, at, signed_in(at, "eve"), version)
    noted = json.dumps(at.gateway.notes)
    for text in ("grace", "release-managers", bearer[27:], "Grace"):
        assert text not in noted
