"""What people do to a rollout, on the stand, with its alias watched: approve, abort, supersede, hold."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stand.paths import GRACE, HOLDER, HURRIED, JOB, RELEASE, SHARING, Path, Paths, frozen, together

pytestmark = pytest.mark.extended

PUBLISHING = {"UpdateFunctionCode", "PublishVersion", "Invoke"}
WAITS = "import time; time.sleep(4)"


def ended(done: dict[str, Any]) -> tuple[str, str, str]:
    """Status, reason's code and what became of the alias."""
    return done["status"], done["reason"]["code"], done["alias"]["outcome"]


def version(number: str) -> dict[str, Any]:
    return {"version": number, "weights": {}}


# Approval


def test_an_approval_that_nobody_gives_expires(paths: Paths) -> None:
    with paths("expiring") as path:
        began = time.time()
        done = path.done(path.deploy("next"), patience=120)
        assert ended(done) == ("failed", "approval_expired", "untouched")
        assert PUBLISHING.isdisjoint(paths.stand.calls(path.function, began))
        assert path.serves == version("1")


def test_nothing_reaches_the_target_before_somebody_else_approves(paths: Paths) -> None:
    with paths("asked") as path:
        began = time.time()
        deployment = path.deploy("next")
        path.until(deployment, "awaiting_approval")
        time.sleep(1)
        assert PUBLISHING.isdisjoint(paths.stand.calls(path.function, began))
        assert path.record(deployment)["version"] is None
        answer = path.decide(deployment, "approve", by=GRACE)
        assert answer.status_code == 202, answer.text
        done = path.done(deployment)
        assert done["status"] == "succeeded", done
        assert (done["approval"]["decision"], done["approval"]["by"]["user_login"]) == ("approved", "grace")
        assert PUBLISHING & set(paths.stand.calls(path.function, began)) == {
            "UpdateFunctionCode",
            "PublishVersion",
        }
        late = path.decide(deployment, "approve", by=GRACE)
        assert (late.status_code, late.json()["code"]) == (409, "wrong_state")


def test_a_share_of_the_traffic_waits_for_an_approval_and_goes_back_without(paths: Paths) -> None:
    with paths("gradual") as path:
        shared = {"version": "1", "weights": {"2": 0.1}}
        first = path.deploy("next", by=SHARING)
        path.until(first, "awaiting_approval")
        assert path.serves == shared
        assert path.decide(first, "reject", by=GRACE).status_code == 202
        assert ended(path.done(first)) == ("rejected", "rejected", "restored")
        assert path.serves == version("1")
        second = path.deploy("next", by=SHARING)
        path.until(second, "awaiting_approval")
        assert path.serves == shared
        assert path.decide(second, "approve", by=GRACE).status_code == 202
        assert path.done(second)["status"] == "succeeded"
        assert path.serves == version("2")


def test_who_asked_a_bot_and_the_same_pipeline_cannot_approve(paths: Paths) -> None:
    bot = {**GRACE, "user_id": "91", "user_login": "project_4710_bot_f00"}
    with paths("asked") as path:
        deployment = path.deploy("next")
        path.until(deployment, "awaiting_approval")
        for who, detail in (
            ({**GRACE, "user_id": "7", "user_login": "ada"}, "a different person must approve"),
            ({**GRACE, "user_id": "0"}, "this identity is none"),
            ({**GRACE, "user_id": None}, "this identity is none"),
            (bot, "is a bot"),
            ({**GRACE, "pipeline_id": "574"}, "this pipeline requested"),
            ({**GRACE, "pipeline_source": "push"}, None),
            (JOB, "no rule allows"),
            ({**bot, "project_id": "4711"}, None),
        ):
            answer = path.decide(deployment, "approve", by=who)
            assert answer.status_code == (404 if detail is None else 403), (who, answer.text)
            assert detail is None or detail in answer.json()["detail"]
        assert path.record(deployment)["status"] == "awaiting_approval"
        named = {**bot, "project_id": "4711", "user_id": "90"}
        assert path.decide(deployment, "approve", by=named).status_code == 202
        assert path.done(deployment)["status"] == "succeeded"


def test_a_no_ends_it_and_what_nobody_could_approve_is_refused_at_once(paths: Paths) -> None:
    def rejected() -> None:
        with paths("asked") as path:
            deployment = path.deploy("next")
            path.until(deployment, "awaiting_approval")
            assert path.decide(deployment, "reject", by=GRACE).status_code == 202
            done = path.done(deployment)
            assert path.was_woken(deployment)
            assert ended(done) == ("rejected", "rejected", "untouched")
            assert path.serves == version("1")

    def nobodys() -> None:
        with paths("asked") as path:
            artifact = {"sha256": path.upload("next")}
            answer = path.ask("deploy", by={**JOB, "user_id": None}, artifact=artifact)
            assert (answer.status_code, "nobody could approve it" in answer.text) == (422, True)
            assert path.serves == version("1")

    together(rejected, nobodys)


# Abort


def test_an_abort_ends_a_deployment_that_has_touched_nothing_at_once(paths: Paths) -> None:
    def accepted() -> None:
        with paths("gradual") as path:
            artifact = {"sha256": path.upload("next")}
            with paths.stand.throttled("sluicegate-deployer"):
                deployment = path.start("deploy", artifact=artifact)
                answer = path.decide(deployment, "abort")
                assert (answer.status_code, answer.json()["status"]) == (202, "aborted"), answer.text
            assert ended(path.done(deployment)) == ("aborted", "aborted", "untouched")
            assert path.serves == version("1")
            assert path.released("after it")["version"] == "2"

    def awaiting() -> None:
        with paths("asked") as path:
            deployment = path.deploy("next")
            path.until(deployment, "awaiting_approval")
            answer = path.decide(deployment, "abort")
            assert (answer.status_code, answer.json()["status"]) == (202, "aborted"), answer.text
            assert ended(path.done(deployment)) == ("aborted", "aborted", "untouched")

    accepted()
    awaiting()


def test_an_abort_in_the_queue_ends_it_and_not_what_it_queues_for(paths: Paths) -> None:
    with paths("at-once") as path:
        ours, theirs = ({"sha256": path.upload(whose)} for whose in ("ours", "theirs"))
        other = path.ask("deploy", stage="baked", artifact=theirs).json()["id"]
        path.once(other, lambda record: record["status"] in ("baking", "succeeded"))
        with still_publishing(path, other):
            deployment = path.start("deploy", artifact=ours)
            path.once(deployment, lambda record: record["status"] == "queued")
            answer = path.decide(deployment, "abort")
            done = path.done(deployment)
        assert answer.json()["status"] == "aborted"
        assert ended(done) == ("aborted", "aborted", "untouched")
        assert "publishing" not in {entry["status"] for entry in done["timeline"]}
        assert path.done(other)["status"] == "succeeded"
        assert path.serves == version("1")


@contextmanager
def still_publishing(path: Path, deployment: str) -> Iterator[None]:
    """Give a deployment the publishing lock of its function, as if Lambda took long to update it."""
    table, place = path.stand.client("dynamodb"), f"{path.stand.account_id}#{path.stand.region}"
    key = {"pk": {"S": f"lock#{place}#{path.function}"}, "sk": {"S": "publish"}}
    lease = {"N": str(int(time.time()) + 300)}
    lock = {**key, "deployment": {"S": deployment}, "lease": lease}
    table.put_item(TableName=path.stand.table, Item=lock, ConditionExpression="attribute_not_exists(pk)")
    try:
        yield
    finally:
        table.delete_item(TableName=path.stand.table, Key=key)


def test_an_abort_is_heard_in_every_state_that_lasts(paths: Paths) -> None:
    def walk(stage: str, state: str, outcome: str, body: str = "pass") -> None:
        with paths(stage) as path:
            paths.stand.client("lambda").update_function_configuration(FunctionName=path.function, Timeout=10)
            deployment = path.deploy("next", body)
            path.until(deployment, state)
            done = path.abort(deployment)
            assert ended(done) == ("aborted", "aborted", outcome)
            assert done["timeline"][-1]["message"]
            assert state in {entry["status"] for entry in done["timeline"]}
            assert path.serves == version("1")

    together(
        lambda: walk("gradual", "publishing", "untouched"),
        lambda: walk("slow-smoke", "verifying", "untouched", WAITS),
        lambda: walk("long", "baking", "restored"),
    )


def test_an_abort_is_heard_in_the_moment_of_a_move(paths: Paths) -> None:
    with paths("long") as path:
        for attempt in range(10):  # the moment is a hundredth of a second
            deployment = path.deploy(f"next {attempt}")
            with frozen(path, deployment, "shifting") as in_time:
                answer = path.decide(deployment, "abort")
            done = path.done(deployment)
            assert (done["status"], done["reason"]["code"]) == ("aborted", "aborted")
            assert done["alias"]["outcome"] in ("restored", "untouched")
            assert path.serves == version("1")
            if in_time:
                assert (answer.status_code, answer.json()["status"]) == (202, "shifting"), answer.text
                return
    raise AssertionError("no deployer was ever stopped in the moment")


def test_an_abort_on_the_way_back_is_no_news(paths: Paths) -> None:
    with paths("alarmed") as path, paths.stand.alarm(f"{path.function}-alarmed") as alarm:
        for attempt in range(10):
            deployment = path.deploy(f"next {attempt}")
            path.until(deployment, "baking")
            alarm.set("ALARM")
            with frozen(path, deployment, "rolling_back") as in_time:
                answer = path.decide(deployment, "abort")
            done = path.done(deployment)
            assert ended(done) == ("rolled_back", "alarm", "restored")
            if in_time:
                assert (answer.status_code, answer.headers["idempotent-replayed"]) == (200, "true")
                return
            alarm.set("OK")
    raise AssertionError("no deployer was ever stopped in the moment")


def test_an_abort_comes_too_late_for_what_has_ended(paths: Paths) -> None:
    with paths("at-once") as path:
        done = path.released("next")
        answer = path.decide(done["id"], "abort")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert path.serves == version("2")


# Supersede


def test_what_supersedes_a_bake_takes_over_once_the_alias_is_back(paths: Paths) -> None:
    with paths("long") as path:
        first = path.deploy("first")
        path.until(first, "baking")
        refused = path.ask("deploy", artifact={"sha256": path.upload("second")})
        assert (refused.status_code, refused.json()["code"], refused.json()["deployment"]) == (
            409,
            "busy",
            first,
        )
        second = path.deploy("second", on_busy="supersede")
        done = path.done(first)
        assert ended(done) == ("aborted", "superseded", "restored")
        assert done["reason"]["data"] == {"by": second}
        record = path.until(second, "baking")
        assert record["original"] == version("1")
        third = path.deploy("third", on_busy="supersede")
        fourth = path.deploy("fourth", on_busy="supersede", by=HURRIED, strategy={"type": "all-at-once"})
        assert ended(path.done(second))[:2] == ("aborted", "superseded")
        assert ended(path.done(third))[:2] == ("aborted", "superseded")
        done = path.done(fourth)
        assert (done["status"], done["alias"]["original"]) == ("succeeded", version("1"))


def test_what_supersedes_a_question_asks_anew(paths: Paths) -> None:
    with paths("asked") as path:
        first = path.deploy("first")
        path.until(first, "awaiting_approval")
        second = path.deploy("second", on_busy="supersede")
        assert ended(path.done(first)) == ("aborted", "superseded", "untouched")
        path.until(second, "awaiting_approval")
        late = path.decide(first, "approve", by=GRACE)
        assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
        assert path.decide(second, "approve", by=GRACE).status_code == 202
        assert path.done(second)["status"] == "succeeded"


# Hold


def test_a_hold_stops_new_deployments_and_no_rollback(paths: Paths) -> None:
    token = paths.stand.token(**HOLDER)

    def hold(method: str) -> Any:
        body = {"reason": "an incident"} if method == "POST" else None
        answer = paths.stand.http(method, "/stages/held/hold", body, token=token)
        assert answer.status_code == 200, answer.text
        return answer.json()["holds"]

    with paths("held", prefix="paths-held") as path:
        path.released("first")
        second = path.deploy("second")
        path.until(second, "baking")
        (held,) = hold("POST")
        try:
            assert (held["reason"], held["functions"]) == ("an incident", ["paths-held-*"])
            refused = path.ask("deploy", artifact={"sha256": path.upload("third")})
            assert (refused.status_code, refused.json()["code"]) == (409, "held")
            assert "an incident" in refused.json()["detail"]
            assert path.done(second)["status"] == "succeeded"
            done = path.done(path.start("rollback", by=RELEASE))
            assert (done["status"], path.serves) == ("succeeded", version("2"))
        finally:
            assert hold("DELETE") == []
        assert path.released("third")["version"] == "4"
