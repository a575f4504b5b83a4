"""Verified identities that want more than theirs: other projects' deployments, stages, keys, functions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from stand import Stand, package
from stand.wide import Wide

MISSING = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
BRANCH = {"ref": "main", "ref_type": "branch"}


@dataclass(frozen=True)
class Scene:
    """One function with a deployment in `dev` and one in `prod`, and the projects that look at it."""

    stand: Stand
    function: str
    sha256: str
    dev: dict[str, Any]
    prod: dict[str, Any]

    def owner(self, **claims: Any) -> str:
        return self.stand.token(**claims)

    def auditor(self) -> str:
        """May read `orders-*` in `dev`."""
        return self.stand.token(project_id="4400", project_path="acme/audit")

    def neighbour(self) -> str:
        """May deploy `billing-*` to `dev`."""
        return self.stand.token(project_id="4500", project_path="acme/billing")

    def stranger(self) -> str:
        """May do nothing: on gitlab.com anybody can get a token with our audience."""
        return self.stand.token(project_id="999", project_path="mallory/orders")

    def get(self, path: str, token: str, **params: str | int) -> httpx2.Response:
        return self.stand.http("GET", path, token=token, params=params)


def deploy(
    stand: Stand, function: str, stage: str, sha256: str, token: str, *, key: str | None = None, **more: Any
) -> httpx2.Response:
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}, **more}
    return stand.http(
        "POST", "/deployments", body, token=token, headers={"Idempotency-Key": key} if key else {}
    )


def without_request(answer: httpx2.Response) -> tuple[int, dict[str, Any]]:
    return answer.status_code, {**answer.json(), "request_id": ""}


@pytest.fixture(scope="module")
def scene(wide: Wide) -> Iterator[Scene]:
    stand, function = wide.stand, f"orders-{uuid4().hex[:8]}"
    stand.create_function(function)
    made = {}
    for stage in ("dev", "prod"):
        token = stand.token()
        sha256 = stand.upload(function, package("one = 1\n"), token=token)
        accepted = deploy(stand, function, stage, sha256, token)
        made[stage] = stand.wait(accepted.json()["id"], token=token)
    yield Scene(stand, function, sha256, made["dev"], made["prod"])
    stand.delete_function(function)


# Seeing


def test_a_guessed_id_shows_nothing(scene: Scene) -> None:
    for token in (scene.stranger(), scene.neighbour()):
        missing = scene.get(f"/deployments/{MISSING}", token)
        for id_ in (scene.dev["id"], scene.prod["id"], scene.dev["id"].lower(), "x" * 300, "%00"):
            hidden = scene.get(f"/deployments/{id_}", token)
            assert without_request(hidden) == without_request(missing)


def test_reading_one_stage_of_a_function_is_not_reading_the_other(scene: Scene) -> None:
    token = scene.auditor()
    assert scene.get(f"/deployments/{scene.dev['id']}", token).status_code == 200
    assert scene.get(f"/deployments/{scene.prod['id']}", token).status_code == 404
    assert list(scene.get(f"/functions/{scene.function}", token).json()["stages"]) == ["dev"]
    listed = scene.get("/deployments", token, function=scene.function, limit=100).json()
    assert [item["id"] for item in listed["items"]] == [scene.dev["id"]]
    assert scene.get("/deployments", token, function=scene.function, stage="prod").json()["items"] == []
    assert scene.get("/functions", token, stage="prod").json()["items"] == []


def test_lists_of_who_may_see_nothing_are_empty_to_their_end(scene: Scene) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None}
    for token in (scene.stranger(), scene.neighbour()):
        for query in ({}, {"function": scene.function}, {"stage": "dev"}):
            listed = scene.get("/deployments", token, **query).json()
            assert listed["items"] == []
        assert scene.get("/functions", token).json() == nothing
        assert scene.get(f"/functions/{scene.function}", token).status_code == 404
    assert scene.get("/deployments", scene.stranger(), function=scene.function).json() == nothing


def test_a_list_does_not_tell_how_much_it_hides(scene: Scene) -> None:
    """A request looks at 500 records, and not at somebody else's."""
    table, function = scene.stand.client("dynamodb"), f"orders-{uuid4().hex[:8]}"
    key = {"pk": {"S": f"deployment#{scene.dev['id']}"}, "sk": {"S": "record"}}
    record = table.get_item(TableName=scene.stand.table, Key=key)["Item"]
    ids = [f"01ARZ3NDEK{uuid4().int % 10**16:016}" for _ in range(501)]
    copies = [
        {**record, "pk": {"S": f"deployment#{id_}"}, "id": {"S": id_}, "function": {"S": function}}
        for id_ in ids
    ]
    write_all(scene.stand, [{"PutRequest": {"Item": copy}} for copy in copies])
    try:
        for token in (scene.stranger(), scene.neighbour()):
            listed = scene.get("/deployments", token, function=function).json()
            assert listed == {"items": [], "next_cursor": None}
        assert len(scene.get("/deployments", scene.auditor(), function=function).json()["items"]) == 20
    finally:
        keys = [{"pk": copy["pk"], "sk": copy["sk"]} for copy in copies]
        write_all(scene.stand, [{"DeleteRequest": {"Key": key}} for key in keys])


def write_all(stand: Stand, writes: list[dict[str, Any]]) -> None:
    table = stand.client("dynamodb")
    for start in range(0, len(writes), 25):
        table.batch_write_item(RequestItems={stand.table: writes[start : start + 25]})


def test_a_cursor_is_no_key_to_anything(scene: Scene) -> None:
    """It is sealed, only says where to go on, and each page is authorised again."""
    made = (
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        scene.dev["id"],
        "",
        "x",
        f"{MISSING}\n",
        f"{MISSING}#",
        "' OR 1=1",
        "..",
    )
    for cursor in (*made, "a#b", "a b", "$", "x" * 257, "A" * 64):
        for path in ("/deployments", "/functions"):
            assert scene.get(path, scene.auditor(), cursor=cursor).status_code == 400


def test_waiting_is_for_who_may_see(scene: Scene) -> None:
    """That these answers do not wait is tested in tests/unit/gateway, with a clock."""
    for token in (scene.stranger(), scene.neighbour()):
        answer = scene.get(f"/deployments/{scene.dev['id']}", token, after=999_999, wait=20)
        assert answer.status_code == 404
    # What is final has no more news.
    scene.get(f"/deployments/{scene.dev['id']}", scene.owner(), after=999_999, wait=20)
    for wait in ("-1", "1e9", "20.5", "0x10", "9" * 30, "", "\u0662", " 1", "+1"):
        answer = scene.get(f"/deployments/{scene.dev['id']}", scene.owner(), wait=wait)
        assert answer.status_code == 400, wait


def test_who_is_denied_gets_nowhere(scene: Scene) -> None:
    denied = scene.owner(user_id="666")
    for answer in (
        scene.get("/whoami", denied),
        scene.get("/deployments", denied),
        scene.get(f"/deployments/{scene.dev['id']}", denied),
        deploy(scene.stand, scene.function, "dev", scene.sha256, denied),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
        assert answer.json()["nearest"] == []


# Doing


def test_a_dry_run_tells_a_stranger_no_more_than_a_real_one(scene: Scene) -> None:
    """Whether function, stage, artifact or version exist: all the same 403."""
    asked = [
        {"function": function, "stage": stage, "artifact": {"sha256": sha256}, **more}
        for function in (scene.function, "orders-none", "sluicegate-gateway", "nothing")
        for stage, sha256 in (("dev", scene.sha256), ("dev", "0" * 64), ("nowhere", scene.sha256))
        for more in ({"dry_run": True}, {}, {"dry_run": True, "expect": {"version": "1"}})
    ]
    for token in (scene.stranger(), scene.neighbour(), scene.auditor()):
        result = set()
        for body in asked:
            answer = scene.stand.http("POST", "/deployments", {"action": "deploy", **body}, token=token)
            status, problem = without_request(answer)
            detail = problem["detail"].replace(f"{body['function']} in {body['stage']}", "it")
            result.add((status, problem["code"], detail))
        assert result == {(403, "not_allowed", "no rule allows this identity to deploy it")}


def test_an_artifact_of_another_project_is_not_told_to_a_stranger(scene: Scene) -> None:
    body = {"function": scene.function, "sha256": scene.sha256, "size": 1}
    absent = {**body, "sha256": "0" * 64}
    for token in (scene.stranger(), scene.neighbour(), scene.auditor()):
        answers = [scene.stand.http("POST", "/artifacts", one, token=token) for one in (body, absent)]
        assert without_request(answers[0]) == without_request(answers[1])
        assert answers[0].status_code == 403


@pytest.mark.parametrize(
    "function",
    [
        "sluicegate-gateway",
        "sluicegate-watcher",
        "sluicegate-gateway-iam",
        "sluicegate-watcher-iam",
        "sluicegate-deployer",
        "sluicegate-rollback",
        "sluicegate-janitor",
        "sluicegate-relay",
        "sluicegate-notifier",
        "sluicegate-api",
        "SLUICEGATE-gateway",
        "Orders-x",
        "xorders-x",
        "orders",
    ],
)
def test_a_function_that_no_rule_grants(function: str, scene: Scene) -> None:
    answer = deploy(scene.stand, function, "dev", scene.sha256, scene.owner())
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    place = {"function": function, "sha256": "0" * 64, "size": 1}
    assert scene.stand.http("POST", "/artifacts", place, token=scene.owner()).status_code == 403


@pytest.mark.parametrize(
    "function",
    [
        "orders-" + "x" * 58,
        "orders-" + "x" * 5000,
        "orders-*",
        "*",
        "orders-x:prod",
        "orders-x/../billing-x",
        "orders-x\n",
        "orders-x\u0000",
        "orders-\uff41",
        "arn:aws:lambda:eu-central-1:111111111111:function:orders-x",
        "111111111111:function:orders-x",
        "",
        " orders-x",
    ],
)
def test_a_name_that_no_function_can_have(function: str, scene: Scene) -> None:
    for path, body in (
        ("/deployments", {"action": "deploy", "stage": "dev", "artifact": {"sha256": scene.sha256}}),
        ("/artifacts", {"sha256": "0" * 64, "size": 1}),
    ):
        answer = scene.stand.http("POST", path, {**body, "function": function}, token=scene.owner())
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/function"]


@pytest.mark.parametrize(
    "stage", ["$LATEST", "1", "DEV", "dev ", "dev\n", "*", "nowhere", "prod:1", "\u0501ev"]
)
def test_a_stage_that_is_none(stage: str, scene: Scene) -> None:
    answer = deploy(scene.stand, scene.function, stage, scene.sha256, scene.owner())
    assert answer.status_code in (400, 403)


def test_a_rule_without_an_entry_of_functions_deploys_nothing(scene: Scene) -> None:
    token = scene.stand.token(project_id="4600")
    answer = deploy(scene.stand, "catalog-api", "dev", "0" * 64, token)
    assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable")
    assert deploy(scene.stand, "sluicegate-api", "dev", "0" * 64, token).status_code == 422


@pytest.mark.parametrize(
    "claims",
    [
        {"pipeline_source": "merge_request_event"},
        {"pipeline_source": "parent_pipeline"},
        {"pipeline_source": "schedule"},
        {"ref_protected": "false"},
        {"ref_protected": True, "ref": "v1\u200b", "ref_type": "branch"},
        {"ref": "main", "ref_type": "tag"},
        {"ref": "v1/../main"},
        {"ref": ["v1"], "ref_type": "tag", "sub": "x"},
        {"project_id": "04213"},
        {"project_id": "4213" + "0" * 300},
        {"project_id": "999", "job_project_id": "4213"},
        {"project_id": "999", "project_path": "acme/orders", "namespace_id": "4213"},
    ],
)
def test_claims_that_are_nearly_those_of_the_rule(claims: dict[str, Any], scene: Scene) -> None:
    answer = deploy(scene.stand, scene.function, "prod", scene.sha256, scene.owner(**claims))
    assert answer.status_code in (401, 403)
    assert "202" not in str(answer.status_code)


# Again


def test_another_project_cannot_replay_a_key(scene: Scene) -> None:
    """Same job id, key and body: nothing says that there was such a request."""
    key, job = uuid4().hex, {"job_id": "5150"}
    token = scene.owner(**job)
    sha256 = scene.stand.upload(scene.function, package("two = 2\n"), token=token)
    mine = deploy(scene.stand, scene.function, "dev", sha256, token, key=key)
    assert mine.status_code == 202
    for project in ("4300", "4400", "999"):
        thief = scene.stand.token(project_id=project, ref="main", ref_type="branch", **job)
        theirs = deploy(scene.stand, scene.function, "dev", sha256, thief, key=key)
        assert (theirs.status_code, theirs.json()["code"]) == (403, "not_allowed")
        assert mine.json()["id"] not in theirs.text
    scene.stand.wait(mine.json()["id"], token=token)


def test_a_jobs_second_token_finds_what_the_first_one_asked_for(scene: Scene) -> None:
    job = {"job_id": "5151"}
    first, second = scene.owner(**job), scene.owner(**job)
    sha256 = scene.stand.upload(scene.function, package("three = 3\n"), token=first)
    accepted = deploy(scene.stand, scene.function, "dev", sha256, first)
    again = deploy(scene.stand, scene.function, "dev", sha256, second)
    assert (accepted.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == accepted.json()["id"]
    scene.stand.wait(accepted.json()["id"], token=first)


def test_a_used_token_is_bound_for_each_stage_by_itself(scene: Scene) -> None:
    """What it has asked of `dev` it cannot change there, by no other key, label, condition or version."""
    token = scene.owner()
    one, two = (scene.stand.upload(scene.function, package(f"n = {n}\n"), token=token) for n in (4, 5))
    accepted = deploy(scene.stand, scene.function, "dev", one, token)
    scene.stand.wait(accepted.json()["id"], token=token)
    other = [
        deploy(scene.stand, scene.function, "dev", two, token),
        deploy(scene.stand, scene.function, "dev", two, token, key=uuid4().hex),
        deploy(scene.stand, scene.function, "dev", one, token, release="other"),
        deploy(scene.stand, scene.function, "dev", one, token, description="other"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in other} == {(409, "token_used")}
    elsewhere = deploy(scene.stand, scene.function, "staging", two, token)
    assert elsewhere.status_code == 202
    scene.stand.wait(elsewhere.json()["id"], token=token)
    again = deploy(scene.stand, scene.function, "staging", one, token)
    assert (again.status_code, again.json()["code"]) == (409, "token_used")


def test_a_refused_request_binds_nothing(scene: Scene) -> None:
    """A mistake must not use up a job's only token."""
    token = scene.owner()
    sha256 = scene.stand.upload(scene.function, package("six = 6\n"), token=token)
    assert deploy(scene.stand, scene.function, "dev", "0" * 64, token).status_code == 422
    assert (
        deploy(scene.stand, scene.function, "dev", sha256, token, expect={"version": "77"}).status_code == 412
    )
    assert (
        deploy(scene.stand, scene.function, "dev", sha256, token, dry_run=True, release="x").status_code
        == 200
    )
    accepted = deploy(scene.stand, scene.function, "dev", sha256, token)
    assert accepted.status_code == 202
    scene.stand.wait(accepted.json()["id"], token=token)


def test_one_token_in_many_hands_at_once_deploys_one_thing(scene: Scene) -> None:
    token = scene.owner()
    digests = [scene.stand.upload(scene.function, package(f"many = {n}\n"), token=token) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda d: deploy(scene.stand, scene.function, "dev", d, token), digests))
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert len(accepted) == 1
    assert {answer.status_code for answer in answers} <= {202, 409, 503}
    scene.stand.wait(accepted[0], token=token)


@pytest.mark.parametrize("key", ["a b", "\u00e9", "x" * 129, "", "a\tb", "a\x00b"])
def test_an_idempotency_key_that_is_none(key: str, scene: Scene) -> None:
    body = {
        "action": "deploy",
        "function": scene.function,
        "stage": "dev",
        "artifact": {"sha256": scene.sha256},
    }
    headers = [(b"Idempotency-Key", key.encode()), (b"Authorization", f"Bearer {scene.owner()}".encode())]
    try:
        answer = httpx2.post(
            scene.stand.endpoint + "/deployments", json=body, headers=headers, trust_env=False
        )
    except httpx2.LocalProtocolError:
        return  # not to be said in HTTP at all
    assert answer.status_code == 400


def test_two_idempotency_keys_are_none(scene: Scene) -> None:
    body = {
        "action": "deploy",
        "function": scene.function,
        "stage": "dev",
        "artifact": {"sha256": scene.sha256},
    }
    headers = [
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
        ("Authorization", f"Bearer {scene.owner()}"),
    ]
    answer = httpx2.post(scene.stand.endpoint + "/deployments", json=body, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
