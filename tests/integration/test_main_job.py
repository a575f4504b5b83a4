"""The main job over real HTTP: upload, deploy, look, again; and everything that is answered otherwise."""

import hashlib
from typing import Any
from uuid import uuid4

import pytest

from stand import Stand, package
from stand.api import OFTEN

SOURCE = "def handler(event, context):\n    return {'release': %r}\n"


def code(text: str) -> bytes:
    return package(SOURCE % text)


def deploy(stand: Stand, function: str, stage: str, sha256: str, token: str, **more: Any) -> Any:
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}, **more}
    return stand.http("POST", "/deployments", body, token=token, headers=headers)


def release(stand: Stand, function: str, stage: str, text: str) -> dict[str, Any]:
    """One job: upload, deploy, wait."""
    token = stand.token()
    sha256 = stand.upload(function, code(text), token=token)
    answer = deploy(stand, function, stage, sha256, token)
    assert answer.status_code == 202, answer.text
    return stand.wait(answer.json()["id"], token=token)


def test_a_job_releases_a_function(stand: Stand, function: str) -> None:
    token = stand.token(ref="v1.4.0", user_login="grace")
    data = code("one")
    sha256 = stand.upload(function, data, token=token)
    accepted = deploy(stand, function, "prod", sha256, token, release="2026.11", description="first")
    assert accepted.status_code == 202
    result = accepted.json()
    assert accepted.headers["location"] == f"/v1/deployments/{result['id']}"
    assert (result["status"], result["final"], result["revision"]) == ("accepted", False, 1)

    done = stand.wait(result["id"], token=token)
    assert (done["status"], done["alias"]["outcome"], done["weight"]) == ("succeeded", "moved", 100)
    assert done["alias"]["original"] is None
    assert done["alias"]["current"] == {"version": "1", "weights": {}}
    assert done["artifact"] == {"sha256": hashlib.sha256(data).hexdigest()}
    assert done["requested_by"]["user_login"] == "grace"
    assert done["requested_by"]["ref"] == "v1.4.0"
    assert (done["release"], done["description"]) == ("2026.11", "first")
    assert done["rule"] == "orders to any stage from a release tag"
    assert done["target"] == {"name": "default", "account": stand.account_id, "region": stand.region}
    assert [entry["seq"] for entry in done["timeline"]] == list(range(1, done["revision"] + 1))
    assert stand.invoke(function, alias="prod") == {"release": "one"}


def test_a_second_release_and_the_same_digest_in_another_stage(stand: Stand, function: str) -> None:
    assert release(stand, function, "dev", "one")["version"] == "1"
    second = release(stand, function, "dev", "two")
    assert (second["version"], second["alias"]["original"]) == ("2", {"version": "1", "weights": {}})
    third = release(stand, function, "staging", "two")
    assert third["version"] == "2"
    assert "already has this code" in third["timeline"][2]["message"]
    assert release(stand, function, "dev", "one")["version"] == "1"

    shown = stand.http("GET", f"/functions/{function}", token=stand.token()).json()
    assert {stage: one["version"] for stage, one in shown["stages"].items()} == {"dev": "1", "staging": "2"}
    assert shown["stages"]["staging"]["by"]["user_login"] == "ada"
    listed = stand.http("GET", "/functions", token=stand.token(), params={"stage": "staging"}).json()
    assert function in {item["function"] for item in listed["items"]}


def test_configuration_that_changed_is_published_anew(stand: Stand, function: str) -> None:
    release(stand, function, "dev", "one")
    lambda_ = stand.client("lambda")
    lambda_.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"PASSWORD": "canary-environment"}}
    )
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=OFTEN)
    again = release(stand, function, "staging", "one")
    assert again["version"] == "2"
    [published] = [
        entry["message"] for entry in again["timeline"] if "configuration changed" in entry["message"]
    ]
    assert "environment" in published


def test_the_same_request_again_has_one_effect(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = stand.upload(function, code("one"), token=token)
    first = deploy(stand, function, "dev", sha256, token, key="k1")
    again = deploy(stand, function, "dev", sha256, token, key="k1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    other = deploy(stand, function, "dev", sha256, token, key="k1", release="other")
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    stand.wait(first.json()["id"], token=token)


def test_without_a_key_the_body_is_the_key(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = stand.upload(function, code("one"), token=token)
    first, again = (deploy(stand, function, "dev", sha256, token) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    stand.wait(first.json()["id"], token=token)


def test_a_token_that_leaked_cannot_deploy_something_else(stand: Stand, function: str) -> None:
    token = stand.token()
    one = stand.upload(function, code("one"), token=token)
    other = stand.upload(function, code("other"), token=token)
    stand.wait(deploy(stand, function, "dev", one, token).json()["id"], token=token)
    leaked = deploy(stand, function, "dev", other, token)
    assert (leaked.status_code, leaked.json()["code"]) == (409, "token_used")


def test_a_token_that_leaked_cannot_bring_back_what_was_replaced(stand: Stand, function: str) -> None:
    old = stand.token()
    one = stand.upload(function, code("one"), token=old)
    first = deploy(stand, function, "dev", one, old, key="k1").json()
    stand.wait(first["id"], token=old)
    release(stand, function, "dev", "two")
    again = deploy(stand, function, "dev", one, old, key="k2")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["id"] == first["id"]
    assert stand.invoke(function, alias="dev") == {"release": "two"}


def test_a_replay_is_authorised_again(stand: Stand, function: str) -> None:
    token = stand.token(job_id=(job := str(uuid4().int)[:9]))
    sha256 = stand.upload(function, code("one"), token=token)
    stand.wait(deploy(stand, function, "dev", sha256, token, key="k1").json()["id"], token=token)
    elsewhere = stand.token(job_id=job, ref="nightly-1")
    assert deploy(stand, function, "dev", sha256, elsewhere, key="k1").status_code == 403


def test_a_dry_run_says_what_would_happen_and_binds_nothing(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = stand.upload(function, code("one"), token=token)
    dry = deploy(stand, function, "dev", sha256, token, dry_run=True)
    assert dry.status_code == 200
    assert dry.json()["rule"] == "orders to any stage from a release tag"
    assert dry.json()["plan"]["alias"] == "dev"
    assert stand.alias(function, "dev") is None
    other = stand.upload(function, code("other"), token=token)
    real = deploy(stand, function, "dev", other, token)
    assert real.status_code == 202
    stand.wait(real.json()["id"], token=token)


def test_what_the_stage_is_expected_to_serve(stand: Stand, function: str) -> None:
    release(stand, function, "dev", "one")
    token = stand.token()
    sha256 = stand.upload(function, code("two"), token=token)
    wrong = deploy(stand, function, "dev", sha256, token, expect={"version": "7"})
    assert (wrong.status_code, wrong.json()["code"]) == (412, "not_as_expected")
    right = deploy(stand, function, "dev", sha256, token, expect={"version": "1"})
    assert right.status_code == 202
    assert stand.wait(right.json()["id"], token=token)["status"] == "succeeded"


def test_a_refusal_shows_which_claim_failed(stand: Stand, function: str) -> None:
    token = stand.token(ref="nightly", ref_type="tag")
    answer = stand.http(
        "POST",
        "/deployments",
        {"action": "deploy", "function": function, "stage": "prod", "artifact": {"sha256": "0" * 64}},
        token=token,
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert answer.headers["content-type"] == "application/problem+json"
    nearest = {rule["rule"]: rule["failed"] for rule in answer.json()["nearest"]}
    assert nearest["orders to any stage from a release tag"] == [{"claim": "ref", "value": "nightly"}]


def test_another_project_learns_nothing(stand: Stand, function: str) -> None:
    done = release(stand, function, "dev", "one")
    stranger = stand.token(project_id="999", project_path="mallory/orders")
    hidden = stand.http("GET", f"/deployments/{done['id']}", token=stranger)
    missing = stand.http("GET", "/deployments/01ARZ3NDEKTSV4RRFFQ69G5FAV", token=stranger)
    assert hidden.status_code == missing.status_code == 404
    same = [{**answer.json(), "request_id": ""} for answer in (hidden, missing)]
    assert same[0] == same[1]
    assert stand.http("GET", f"/functions/{function}", token=stranger).status_code == 404
    assert stand.http("GET", "/deployments", token=stranger).json() == {"items": [], "next_cursor": None}
    refused = deploy(stand, function, "dev", "0" * 64, stranger)
    assert (refused.status_code, refused.json()["nearest"]) == (403, [])
    place = stand.http(
        "POST", "/artifacts", {"function": function, "sha256": "0" * 64, "size": 1}, token=stranger
    )
    assert place.status_code == 403


def test_who_may_read_sees_it(stand: Stand, function: str) -> None:
    done = release(stand, function, "dev", "one")
    reader = stand.token(project_id="4300", project_path="acme/payments", ref="main", ref_type="branch")
    assert stand.http("GET", f"/deployments/{done['id']}", token=reader).json()["id"] == done["id"]
    assert deploy(stand, function, "dev", "0" * 64, reader).status_code == 403


def test_lists_are_newest_first_and_paged(stand: Stand, function: str) -> None:
    made = [release(stand, function, "dev", text)["id"] for text in ("one", "two", "three")]
    token = stand.token()
    query = {"function": function, "limit": 2}
    first = stand.http("GET", "/deployments", token=token, params=query).json()
    assert [item["id"] for item in first["items"]] == [made[2], made[1]]
    rest = stand.http(
        "GET", "/deployments", token=token, params={**query, "cursor": first["next_cursor"]}
    ).json()
    assert [item["id"] for item in rest["items"]] == [made[0]]
    none = stand.http("GET", "/deployments", token=token, params={**query, "status": "failed"}).json()
    assert none["items"] == []


def test_text_answers_for_shells(stand: Stand, function: str) -> None:
    token = stand.token()
    data = code("shell")
    sha256 = hashlib.sha256(data).hexdigest()
    text = {"Accept": "text/plain"}
    place = stand.http(
        "POST",
        "/artifacts",
        {"function": function, "sha256": sha256, "size": len(data)},
        token=token,
        headers=text,
    )
    assert place.headers["sluicegate-upload"] == "needed"
    assert place.text.startswith('request = "PUT"\nurl = "http')
    stand.upload(function, data, token=token)
    there = stand.http(
        "POST",
        "/artifacts",
        {"function": function, "sha256": sha256, "size": len(data)},
        token=token,
        headers=text,
    )
    assert (there.status_code, there.headers["sluicegate-upload"], there.text) == (200, "present", "")
    accepted = deploy(stand, function, "dev", sha256, token).json()
    stand.wait(accepted["id"], token=token)
    shown = stand.http(
        "GET", f"/deployments/{accepted['id']}", token=token, headers=text, params={"after": 1}
    )
    assert shown.headers["sluicegate-final"] == "true"
    assert shown.headers["sluicegate-status"] == "succeeded"
    assert [line.split()[1] for line in shown.text.splitlines()] == ["publishing", "shifting", "succeeded"]
    refused = stand.http("GET", "/whoami", headers=text)
    assert refused.status_code == 401
    assert refused.text.startswith("invalid_token: ")


def test_whoami_shows_what_each_rule_allows(stand: Stand) -> None:
    result = stand.http("GET", "/whoami", token=stand.token()).json()
    assert (result["via"], result["project_id"], result["issuer"]) == ("id_token", "4213", stand.issuer)
    assert result["rules"][0] == {
        "name": "orders to any stage from a release tag",
        "actions": ["deploy"],
        "functions": ["orders-*"],
        "stages": ["dev", "staging", "prod"],
    }
    nobody = stand.http("GET", "/whoami", token=stand.token(project_id="999")).json()
    assert nobody["rules"] == []


def test_health_is_for_everybody(stand: Stand) -> None:
    answer = stand.http("GET", "/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_a_function_that_does_not_exist_ends_failed_with_its_reason(stand: Stand) -> None:
    name = f"orders-none-{uuid4().hex[:8]}"
    token = stand.token()
    sha256 = stand.upload(name, code("one"), token=token)
    done = stand.wait(deploy(stand, name, "dev", sha256, token).json()["id"], token=token)
    assert (done["status"], done["reason"]["code"]) == ("failed", "function_not_found")
    assert done["alias"]["outcome"] == "untouched"
    again = deploy(stand, name, "dev", sha256, stand.token())
    assert again.status_code == 202, "the locks are free again"
    stand.wait(again.json()["id"], token=token)


def test_an_artifact_that_was_announced_but_never_uploaded(stand: Stand, function: str) -> None:
    token = stand.token()
    body = {"function": function, "sha256": "1" * 64, "size": 10}
    assert stand.http("POST", "/artifacts", body, token=token).status_code == 201
    done = stand.wait(deploy(stand, function, "dev", "1" * 64, token).json()["id"], token=token)
    assert (done["status"], done["reason"]["code"]) == ("failed", "artifact_not_found")


def test_an_artifact_that_nobody_announced_is_impossible(stand: Stand, function: str) -> None:
    answer = deploy(stand, function, "dev", "2" * 64, stand.token())
    assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable")


def test_an_artifact_of_another_function_is_not_this_ones(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = stand.upload("orders-elsewhere", code("one"), token=token)
    assert deploy(stand, function, "dev", sha256, token).status_code == 422


BODY = {"action": "deploy", "function": "orders-x", "stage": "dev", "artifact": {"sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b'{"action": "deploy", "action": "deploy"}', ""),
        (b'{"a": NaN}', ""),
        (b"\xff{}", ""),
        (b"[" * 40 + b"]" * 40, ""),
        (b"{}", "/action"),
        (b'{"action": "fly"}', "/action"),
        (b'{"action": "rollback"}', "/function"),
        (b'{"action": "rollback", "strategy": {}}', "/strategy"),
        (b'{"action": "promote"}', "/from"),
        (b'{"unknown": 1}', "/unknown"),
        (b'{"a/b~c": 1}', "/a~1b~0c"),
        (b'{"function": "arn:aws:lambda:x"}', "/function"),
        (b'{"function": "../x"}', "/function"),
        (b'{"function": 5}', "/function"),
        (b'{"artifact": {"sha256": "AB"}}', "/artifact/sha256"),
        (b'{"artifact": {"sha256": "' + b"0" * 64 + b'", "x": 1}}', "/artifact/x"),
        (b'{"artifact": []}', "/artifact"),
        (b'{"expect": {"version": 3}}', "/expect/version"),
        (b'{"dry_run": "yes"}', "/dry_run"),
        (b'{"release": ""}', "/release"),
        (b'{"artifact": {"image": "x"}}', "/artifact/image"),
    ],
)
def test_a_body_that_is_wrong_is_told_where(stand: Stand, body: bytes, pointer: str) -> None:
    answer = stand.http(
        "POST",
        "/deployments",
        token=stand.token(),
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}


def test_refusals_come_in_their_order(stand: Stand) -> None:
    json = {"Content-Type": "application/json"}
    large, broken = b"x" * 70_000, b"{"

    def status(content: bytes, headers: dict[str, str], token: str | None) -> int:
        return stand.http("POST", "/deployments", content=content, headers=headers, token=token).status_code

    assert status(large, json, None) == 413
    assert status(broken, {"Content-Type": "text/plain"}, None) == 415
    assert status(broken, json, None) == 401
    assert status(broken, json, stand.token(project_id="999")) == 400


def test_unknown_paths_and_parameters(stand: Stand) -> None:
    assert stand.http("GET", "/whoami", token=stand.token(), params={"x": 1}).status_code == 400
    assert stand.http("GET", "/deployments/not-an-id", token=stand.token()).status_code == 404
    assert stand.http("GET", "/nothing", token=stand.token()).status_code in (403, 404)


def test_waiting_answers_as_soon_as_there_is_news(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = stand.upload(function, code("one"), token=token)
    accepted = deploy(stand, function, "dev", sha256, token).json()
    seen = [accepted["revision"]]
    while True:
        answer = stand.http(
            "GET", f"/deployments/{accepted['id']}", token=token, params={"after": seen[-1], "wait": 20}
        ).json()
        if answer["revision"] > seen[-1]:  # else it has waited as long as it does
            seen.append(answer["revision"])
        if answer["final"]:
            break
