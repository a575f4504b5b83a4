"""How soon a rollout ends once somebody or something ends it, and what a watched canary asks of AWS."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path as Directory
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.quotas import quota
from bench.results import record
from bench.stands import running_stand

from stand import Stand, rollouts
from stand.monitor import Monitor
from stand.paths import Paths, frozen
from stand.traffic import Traffic

WAITS: Final = "import time; time.sleep(2)"


def main() -> None:
    with running_stand() as stand, installed(stand) as paths:
        ends(paths)
        calls(paths)


@contextmanager
def installed(stand: Stand) -> Iterator[Paths]:
    with TemporaryDirectory() as directory, Monitor(stand) as monitor:
        rollouts.install(stand, Directory(directory))
        paths = Paths(stand, monitor)
        with paths("gradual") as path:  # warms up
            path.released("next")
        yield paths


def ends(paths: Paths) -> None:
    print("from the request, or the alarm, to the end of the rollout:")
    for state in (*STAGES, "rolling_back"):
        taken, done = abort(paths, state)
        record({f"abort.{state}_s": taken})
        show(f"abort while {state}", taken, done)
    taken, done = alarm(paths)
    record({"alarm.baking_s": taken})
    show("an alarm fires while baking", taken, done)


def show(what: str, taken: float, done: dict[str, Any]) -> None:
    print(f"  {what:<36}   {taken:6.2f} s   {done['status']}, {done['alias']['outcome']}")


STAGES: Final = {
    "awaiting_approval": "asked",
    "publishing": "long",
    "verifying": "slow-smoke",
    "shifting": "long",
    "baking": "long",
}


def abort(paths: Paths, state: str) -> tuple[float, dict[str, Any]]:
    """Seconds by the record; in the states of a moment, from when the deployer goes on."""
    if state == "rolling_back":
        return abort_on_the_way_back(paths)
    while True:
        with paths(STAGES[state]) as path:
            deployment = path.deploy("next", WAITS if state == "verifying" else "pass")
            if state == "shifting":
                with frozen(path, deployment, state) as in_time:
                    path.decide(deployment, "abort")
                    goes_on = datetime.now().timestamp()
                done = path.done(deployment)
                if in_time:
                    return at(done["finished_at"]) - goes_on, done
                continue
            path.until(deployment, state)
            asked = datetime.now().timestamp()
            done = path.abort(deployment)
            return at(done["finished_at"]) - asked, done


def abort_on_the_way_back(paths: Paths) -> tuple[float, dict[str, Any]]:
    while True:
        with paths("alarmed") as path, paths.stand.alarm(f"{path.function}-alarmed") as alarm:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            alarm.set("ALARM")
            with frozen(path, deployment, "rolling_back") as in_time:
                path.decide(deployment, "abort")
                goes_on = datetime.now().timestamp()
            done = path.done(deployment)
            if in_time:
                return at(done["finished_at"]) - goes_on, done


def alarm(paths: Paths) -> tuple[float, dict[str, Any]]:
    with paths("alarmed") as path, paths.stand.alarm(f"{path.function}-alarmed") as alarm:
        deployment = path.deploy("next")
        record = path.until(deployment, "baking")
        while datetime.now().timestamp() < at(record["since"]) + 1:
            pass
        fired = datetime.now().timestamp()
        alarm.set("ALARM")
        done = path.done(deployment)
        return at(done["finished_at"]) - fired, done


def calls(paths: Paths) -> None:
    """By the emulator's CloudTrail: calls of the stack's own roles, between the entries of the timeline."""
    with (
        paths("judged") as path,
        paths.stand.alarm(f"{path.function}-judged"),
        Traffic(paths.stand, path.function, path.stage),
    ):
        done = path.released("next")
    made = Counter[tuple[str, str]]()
    for moment, group in own_calls(paths.stand, at(done["created_at"]) - 1, at(done["finished_at"]) + 1):
        made[step(done, moment), group] += 1
    groups = sorted({group for _, group in made})
    names = [entry["status"] for entry in done["timeline"]]
    bake = done["steps"][0]["bake"]
    print(f"AWS calls of a canary with a smoke-free watch, {bake} of bake, by step and quota:")
    for name in dict.fromkeys(("acceptance", *names)):
        row = {group: made[name, group] for group in groups if made[name, group]}
        if row:
            columns = "   ".join(f"{group} {number}" for group, number in row.items())
            print(f"  {name:<18} {columns}")


def step(done: dict[str, Any], moment: float) -> str:
    """The status in which the record was: what a call then was for."""
    found = "acceptance"
    for entry in done["timeline"]:
        if at(entry["at"]) <= moment:
            found = entry["status"]
    return found


def own_calls(stand: Stand, since: float, until: float) -> Iterator[tuple[float, str]]:
    """When, and which quota; not what the tests' own administrator called."""
    pages = stand.client("cloudtrail").get_paginator("lookup_events").paginate(StartTime=since, EndTime=until)
    found = {event["EventId"]: event for page in pages for event in page["Events"]}
    for event in found.values():
        if event["AccessKeyId"] != stand.aws_access_key_id:
            service = event["EventSource"].split(".")[0]
            yield event["EventTime"].timestamp(), quota(service, event["EventName"])


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    main()
