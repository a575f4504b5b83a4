"""A fix while an alarm is firing, and a watch that only observes, on the stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stand.api import Alarm
from stand.paths import FIXER, GRACE, Path, Paths, together

pytestmark = pytest.mark.extended

FIX: Any = {"fix_forward": True, "reason": "v1 fails half of the orders"}


def version(number: str) -> dict[str, Any]:
    return {"version": number, "weights": {}}


@contextmanager
def ringing(paths: Paths, stage: str) -> Iterator[tuple[Path, Alarm, Alarm]]:
    """A function whose version 1 serves, its alarm that is firing, and one that is not."""
    with (
        paths(stage) as path,
        paths.stand.alarm(f"{path.function}-{stage}", "ALARM") as alarm,
        paths.stand.alarm(f"{path.function}-{stage}-other") as other,
    ):
        yield path, alarm, other


def test_a_plain_deploy_is_refused_and_its_command_ships_the_fix(paths: Paths) -> None:
    with ringing(paths, "fixed") as (path, alarm, _):
        plain = path.done(path.deploy("fix", by=FIXER))
        assert (plain["status"], plain["alias"]["outcome"]) == ("failed", "untouched")
        assert plain["reason"]["code"] == "alarm"
        assert f"alarm {alarm.name} is firing since 20" in plain["reason"]["message"]
        sha256 = plain["artifact"]["sha256"]
        command = f"sluicegate deploy {path.function} fixed --artifact {sha256} --fix-forward --reason TEXT"
        assert command in plain["timeline"][-1]["message"]
        assert plain["reason"]["data"]["command"] == command

        deployment = path.start("deploy", by=FIXER, artifact={"sha256": sha256}, **FIX)
        path.once(deployment, lambda record: record["weight"] == 100)
        alarm.set("OK")
        done = path.done(deployment)
        assert (done["status"], done["rule"]) == ("succeeded", "paths that are fixed"), done["timeline"]
        [overlooked] = done["fix_forward"]["overlooked"]
        assert (overlooked["name"], overlooked["reason"]) == (alarm.name, "set by a test")
        assert overlooked["since"].startswith("20")
        assert overlooked["silent_at"] is not None
        assert path.serves == version("2")


def test_a_fix_that_does_not_help_goes_back(paths: Paths) -> None:
    def still_firing() -> None:
        with ringing(paths, "fixed") as (path, alarm, _):
            done = path.done(path.deploy("no fix", by=FIXER, **FIX), patience=120)
            assert (done["status"], done["alias"]["outcome"]) == ("rolled_back", "restored")
            assert f"{alarm.name} is still firing 20s after all traffic" in done["reason"]["message"]
            assert path.serves == version("1")

    def another() -> None:
        with ringing(paths, "fixed") as (path, _, other):
            deployment = path.deploy("worse", by=FIXER, **FIX)
            path.until(deployment, "baking")
            other.set("ALARM")
            done = path.done(deployment)
            assert (done["status"], done["alias"]["outcome"]) == ("rolled_back", "restored")
            assert f"alarm {other.name} is firing" in done["reason"]["message"]
            assert path.serves == version("1")

    def missing() -> None:
        with ringing(paths, "fixed") as (path, _, other):
            other.delete()
            done = path.done(path.deploy("fix", by=FIXER, **FIX))
            assert (done["status"], done["reason"]["code"]) == ("failed", "alarm_missing")
            assert path.serves == version("1")

    together(still_firing, another, missing)


def test_without_the_right_it_is_refused(paths: Paths) -> None:
    with ringing(paths, "fixed") as (path, _, _):
        sha256 = path.upload("fix")
        refused = path.ask("deploy", artifact={"sha256": sha256}, **FIX)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert "deploy and fix-forward" in refused.json()["detail"]
        sha256 = path.upload("fix", by=FIXER)
        without = path.ask("deploy", by=FIXER, artifact={"sha256": sha256}, fix_forward=True)
        assert (without.status_code, without.json()["code"]) == (422, "unprocessable")
        dry = path.ask("deploy", by=FIXER, artifact={"sha256": sha256}, dry_run=True, **FIX)
        assert dry.json()["fix_forward"]["alarms"] == [
            f"{path.function}-fixed",
            f"{path.function}-fixed-other",
        ]


def test_a_second_person_approves_the_fix_and_sees_what_is_firing(paths: Paths) -> None:
    with ringing(paths, "fixed-asked") as (path, alarm, _):
        deployment = path.deploy("fix", by=FIXER, **FIX)
        path.until(deployment, "awaiting_approval")
        token = paths.stand.token(**GRACE)
        shown = paths.stand.http("GET", f"/deployments/{deployment}", token=token).json()
        assert [one["name"] for one in shown["fix_forward"]["overlooked"]] == [alarm.name]
        assert path.serves == version("1")
        assert path.decide(deployment, "approve", by=GRACE).status_code == 202
        path.once(deployment, lambda record: record["weight"] == 100)
        alarm.set("OK")
        done = path.done(deployment)
        assert (done["status"], done["approval"]["decision"]) == ("succeeded", "approved"), done["timeline"]


def test_a_watch_that_only_observes_changes_nothing_and_says_what_it_would_have(paths: Paths) -> None:
    with ringing(paths, "observed") as (path, alarm, _):
        done = path.done(path.deploy("next"))
        assert done["status"] == "succeeded", done["timeline"]
        assert [one["limit"] for one in done["would_have"]] == [f"alarm {alarm.name}"] * 2
        assert [one["percent"] for one in done["would_have"]] == [None, 50]
