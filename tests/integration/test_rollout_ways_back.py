"""Ways back and ways on, on the stand, with the alias watched: rollback, promote, order, expectations."""

from typing import Any

from stand.paths import HURRIED, JOB, RELEASE, Path, Paths, together


def version(number: str) -> dict[str, Any]:
    return {"version": number, "weights": {}}


def refused(path: Path, action: str, **fields: Any) -> tuple[int, str]:
    """How the API refuses it."""
    answer = path.ask(action, **fields)
    return answer.status_code, answer.json()["code"]


def sha256(done: dict[str, Any]) -> dict[str, str]:
    return {"sha256": done["artifact"]["sha256"]}


# Rollback


def test_rollback_after_rollback_goes_further_back(paths: Paths) -> None:
    with paths("at-once", served=False) as path:
        for release in ("first", "second", "third"):
            path.released(release)
        assert refused(path, "rollback") == (403, "not_allowed")
        for expected in ("2", "1"):
            done = path.done(path.start("rollback", by=RELEASE))
            assert (done["status"], done["version"]) == ("succeeded", expected)
            assert path.serves == version(expected)
        assert refused(path, "rollback", by=RELEASE) == (422, "unprocessable")
        done = path.done(path.start("rollback", by=RELEASE, version="3"))
        assert (done["status"], path.serves) == ("succeeded", version("3"))
        assert refused(path, "rollback", by=RELEASE, version="7") == (422, "unprocessable")


def test_rollback_while_something_rolls_out_ends_it_and_stays_at_what_was_served(paths: Paths) -> None:
    with paths("long", served=False) as path:
        path.released("first")
        path.released("second", by=HURRIED, strategy={"type": "all-at-once"})
        running = path.deploy("third")
        path.until(running, "baking")
        back = path.start("rollback", by=RELEASE)
        done = path.done(running)
        assert (done["status"], done["reason"]["code"]) == ("aborted", "superseded")
        assert done["alias"]["outcome"] == "restored"
        done = path.done(back)
        assert (done["status"], done["version"], path.serves) == ("succeeded", "2", version("2"))
        done = path.done(path.start("rollback", by=RELEASE))
        assert (done["status"], path.serves) == ("succeeded", version("1"))


def test_rollback_to_a_version_is_only_to_one_that_succeeded_in_this_stage(paths: Paths) -> None:
    with paths("gradual", served=False) as path:
        path.released("first")
        path.released("second")
        path.released("third")
        elsewhere = path.ask("deploy", stage="at-once", artifact={"sha256": path.upload("elsewhere")})
        assert path.done(elsewhere.json()["id"])["version"] == "4"
        done = path.done(path.start("rollback", by=RELEASE, version="1"))
        assert (done["status"], path.serves) == ("succeeded", version("1"))
        assert done["steps"] == [{"percent": 100, "bake": "0s"}]
        assert "baking" not in {entry["status"] for entry in done["timeline"]}
        assert refused(path, "rollback", by=RELEASE, version="4") == (422, "unprocessable")


def test_an_older_job_that_runs_again_is_a_deploy_whatever_its_rule_grants(paths: Paths) -> None:
    with paths("gradual", served=False) as path:
        first = path.released("first")
        path.released("second")
        for by in (JOB, RELEASE):
            again = path.done(path.start("deploy", by=by, artifact=sha256(first)))
            assert (again["action"], again["status"], again["version"]) == ("deploy", "succeeded", "1")
            assert [entry["status"] for entry in again["timeline"]].count("baking") == 1
            path.released("third")
        done = path.done(path.start("rollback", by=RELEASE))
        assert (done["status"], path.serves) == ("succeeded", version("1"))


# Promote


def test_promote_takes_exactly_what_another_stage_serves(paths: Paths) -> None:
    with paths("gradual") as path:
        there = path.ask("deploy", stage="at-once", artifact={"sha256": path.upload("next")})
        source = path.done(there.json()["id"])
        number = source["version"]
        assert refused(path, "promote", source="at-once", version="1") == (409, "source_changed")
        assert refused(path, "promote", source="at-once", artifact={"sha256": "0" * 64}) == (
            409,
            "source_changed",
        )
        done = path.done(path.start("promote", source="at-once", version=number))
        assert (done["status"], done["version"], path.serves) == ("succeeded", number, version(number))
        assert done["artifact"] == source["artifact"]
        assert any("already has this code" in entry["message"] for entry in done["timeline"])

        lambda_ = paths.stand.client("lambda")
        lambda_.update_alias(FunctionName=path.function, Name="at-once", FunctionVersion="1")
        done = path.done(path.start("promote", source="at-once", artifact=sha256(source)))
        assert (done["status"], path.serves) == ("succeeded", version(number))


def test_a_rollback_passes_over_what_was_pruned_and_takes_what_somebody_else_put_there(paths: Paths) -> None:
    """Somebody else's alias serves version 1; 2 and 3 are released, and 2 is pruned."""
    with paths("at-once") as path:
        lambda_ = paths.stand.client("lambda")
        first = path.released("first")
        second = path.released("second")
        lambda_.delete_function(FunctionName=path.function, Qualifier=first["version"])
        done = path.done(path.start("rollback", by=RELEASE))
        assert (done["status"], done["version"], path.serves) == ("succeeded", "1", version("1"))
        assert [one["code"] for one in done["unusable"]] == ["version_not_found"]
        assert done["built"] is None
        assert second["built"]["sha"] == second["requested_by"]["sha"]
        gone = refused(path, "rollback", by=RELEASE, version=first["version"])
        assert gone == (422, "unprocessable")


def test_promote_takes_nothing_that_is_still_rolled_out(paths: Paths) -> None:
    with paths("at-once") as path:
        there = path.ask("deploy", stage="gradual", artifact={"sha256": path.upload("next")})
        first = path.done(there.json()["id"])
        there = path.ask("deploy", stage="gradual", artifact={"sha256": path.upload("after")})
        path.until(there.json()["id"], "baking")
        for number in (first["version"], "3"):
            assert refused(path, "promote", source="gradual", version=number) == (409, "source_changed")
        second = path.done(there.json()["id"])
        done = path.done(path.start("promote", source="gradual", version=second["version"]))
        assert (done["status"], path.serves) == ("succeeded", version("3"))


# What has to be so


def test_a_stage_takes_only_what_has_succeeded_where_it_requires_it(paths: Paths) -> None:
    with paths("proven") as path:
        artifact = {"sha256": path.upload("next")}
        assert refused(path, "deploy", artifact=artifact) == (422, "unprocessable")
        there = path.ask("deploy", stage="at-once", artifact=artifact)
        assert path.done(there.json()["id"])["status"] == "succeeded"
        done = path.done(path.start("deploy", artifact=artifact))
        assert (done["status"], done["version"], path.serves) == ("succeeded", "2", version("2"))


def test_an_older_pipeline_comes_too_late(paths: Paths) -> None:
    def of(pipeline: str, project: str = "4700") -> dict[str, str]:
        return {**JOB, "pipeline_id": pipeline, "project_id": project}

    def after_a_newer_one() -> None:
        with paths("ordered") as path:
            path.released("tenth", by=of("1000"))
            artifact = {"sha256": path.upload("ninth")}
            assert refused(path, "deploy", artifact=artifact, by=of("999")) == (409, "outdated")
            done = path.done(path.start("deploy", artifact=artifact, by=of("7", "4701")))
            assert done["status"] == "succeeded"
            assert path.released("again", by=of("1000"))["version"] == "4"

    def while_a_newer_one_bakes() -> None:
        with paths("ordered-long") as path:
            newer = path.deploy("tenth", by=of("1000"))
            path.until(newer, "baking")
            artifact = {"sha256": path.upload("ninth")}
            asked: dict[str, Any] = {"artifact": artifact, "by": of("999"), "on_busy": "supersede"}
            assert refused(path, "deploy", **asked) == (409, "outdated")
            assert path.record(newer)["status"] == "baking"
            assert path.abort(newer)["status"] == "aborted"

    together(after_a_newer_one, while_a_newer_one_bakes)


def test_what_is_expected_must_be_served(paths: Paths) -> None:
    with paths("at-once", served=False) as path:
        path.released("first")
        artifact = {"sha256": path.upload("second")}
        asked: dict[str, Any] = {"artifact": artifact, "expect": {"version": "7"}}
        assert refused(path, "deploy", **asked) == (412, "not_as_expected")
        second = path.done(path.start("deploy", artifact=artifact, expect={"version": "1"}))
        assert second["status"] == "succeeded"
        path.serve_by_hand("1")
        done = path.done(path.deploy("third", expect={"version": "2"}))
        assert (done["status"], done["reason"]["code"]) == ("failed", "not_as_expected")
        assert (done["alias"]["outcome"], path.serves) == ("untouched", version("1"))
