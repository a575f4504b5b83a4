"""A deployment on the warm stand: how long it takes beside the bare calls, and what it asks of AWS."""

import json
import os
import subprocess
import time
from collections import Counter
from datetime import datetime
from itertools import starmap
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from uuid import uuid4

from bench.quotas import CONTROL_PLANE, quota
from bench.results import record
from bench.scale import asked
from bench.stands import running_stand

from sluicegate.gate.rollout_settings import Rollout
from stand import Stand, package

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".stand" / "build"
RELEASES = 9
SOURCE = "def handler(event, context):\n    return %r\n"


def main() -> None:
    with running_stand() as stand:
        times(stand)
        execution_start(stand)
        calls(stand)
    table()
    start_up()
    layers()


def times(stand: Stand) -> None:
    """Releases by HTTP, and the same four calls to Lambda with nothing around them, in turns."""
    name = f"orders-bench-{uuid4().hex[:6]}"
    stand.create_function(name)
    whole, accepted, recorded, bare, update = [], [], [], [], []
    for number in range(RELEASES + 2):  # the first two warm up
        token = stand.token()
        data = package(SOURCE % f"{name} {number}")
        sha256 = stand.upload(name, data, token=token)
        body = {"action": "deploy", "function": name, "stage": "dev", "artifact": {"sha256": sha256}}
        start = time.perf_counter()
        answer = stand.http("POST", "/deployments", body, token=token).json()
        answered = time.perf_counter()
        done = stand.wait(answer["id"], token=token)
        if done["status"] != "succeeded":
            raise SystemExit(f"a release ended {done['status']}: {done['reason']}")
        whole.append(time.perf_counter() - start)
        accepted.append(answered - start)
        recorded.append(at(done["finished_at"]) - at(done["created_at"]))
        total, waited = four_calls(stand, name, package(SOURCE % f"bare {number}"))
        bare.append(total)
        update.append(waited)
    stand.delete_function(name)
    figures = [median(each[2:]) for each in (whole, accepted, bare, update, recorded)]
    record(
        {
            "release.request_to_succeeded_s": figures[0],
            "release.request_to_accepted_s": figures[1],
            "release.accepted_to_succeeded_s": figures[4],
            "release.lambda_update_s": figures[3],
            "release.bare_calls_s": figures[2],
        }
    )
    print(f"request to succeeded, warm, median of {RELEASES}   {figures[0]:6.2f} s")
    print(f"  until it is accepted                   {figures[1]:6.2f} s")
    print(f"  accepted to succeeded, by the record   {figures[4]:6.2f} s")
    print(
        f"  Lambda's own update of the code        {figures[3]:6.2f} s  {figures[3] / figures[0]:6.0%} of it"
    )
    print(f"bare calls to Lambda, same function      {figures[2]:6.2f} s  {figures[0] / figures[2]:5.2f} x")


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def four_calls(stand: Stand, name: str, data: bytes) -> tuple[float, float]:
    """Update, wait, publish, move an alias; the seconds of all, and of update and wait."""
    lambda_ = stand.client("lambda")
    start = time.perf_counter()
    lambda_.update_function_code(FunctionName=name, ZipFile=data)
    while lambda_.get_function(FunctionName=name)["Configuration"]["LastUpdateStatus"] == "InProgress":
        time.sleep(0.02)
    updated = time.perf_counter()
    version = lambda_.publish_version(FunctionName=name)["Version"]
    if stand.alias(name, "bare") is None:
        lambda_.create_alias(FunctionName=name, Name="bare", FunctionVersion=version)
    else:
        lambda_.update_alias(FunctionName=name, Name="bare", FunctionVersion=version)
    return time.perf_counter() - start, updated - start


def execution_start(stand: Stand) -> None:
    """The time from StartExecution to the end of a state machine that does nothing."""
    states = stand.client("stepfunctions")
    definition = {"StartAt": "Nothing", "States": {"Nothing": {"Type": "Succeed"}}}
    role = states.describe_state_machine(stateMachineArn=stand.state_machine_arn)["roleArn"]
    made = states.create_state_machine(
        name=f"bench-{uuid4().hex[:6]}", definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    try:
        taken = [_run_execution(states, made) for _ in range(RELEASES)]
    finally:
        states.delete_state_machine(stateMachineArn=made)
    record({"release.execution_start_s": median(taken)})
    print(f"a bare state machine, start to end       {median(taken):6.2f} s")


def _run_execution(states: "SFNClient", state_machine: str) -> float:
    start = time.perf_counter()
    execution = states.start_execution(stateMachineArn=state_machine)["executionArn"]
    while (status := states.describe_execution(executionArn=execution)["status"]) == "RUNNING":
        time.sleep(0.005)
    if status != "SUCCEEDED":
        raise SystemExit(f"an execution ended {status}")
    return time.perf_counter() - start


def calls(stand: Stand) -> None:
    """What a deployment asks of AWS, by the emulator's CloudTrail."""
    name = f"orders-calls-{uuid4().hex[:6]}"
    stand.create_function(name)
    data = package(SOURCE % name)
    try:
        for label, stage in (("new code", "dev"), ("the same code, another stage", "staging")):
            token = stand.token()
            sha256 = stand.upload(name, data, token=token)
            before = events(stand).keys()
            body = {"action": "deploy", "function": name, "stage": stage, "artifact": {"sha256": sha256}}
            deployment = stand.http("POST", "/deployments", body, token=token).json()["id"]
            time.sleep(6)  # not asking: reading would count as well
            made = [event for number, event in events(stand).items() if number not in before]
            if stand.wait(deployment, token=token)["status"] != "succeeded":
                raise SystemExit("a release did not succeed")
            print(f"AWS calls of a deployment, {label}:")
            counts = Counter(starmap(quota, made))
            for group, number in sorted(counts.items()):
                print(f"  {group:<36} {number:3}")
            if stage == "dev":
                record(
                    {
                        "release.dynamodb_calls": counts["dynamodb"],
                        "release.control_plane_calls": counts[CONTROL_PLANE],
                    }
                )
    finally:
        stand.delete_function(name)


def table() -> None:
    """What a deployment of new code asks of the table, counted while it runs against models of AWS."""
    found = asked(Rollout())
    figures = {"table_calls": found.table.total(), "read_units": found.reads, "write_units": found.writes}
    record({f"release.{name}": figure for name, figure in figures.items()})
    by_kind = ", ".join(f"{number} {name}" for name, number in sorted(found.table.items()))
    print(f"calls of the table, new code             {figures['table_calls']:6}  {by_kind}")
    print(f"read units, write units with indexes     {found.reads:6.1f} {found.writes:6.1f}")


def events(stand: Stand) -> dict[str, tuple[str, str]]:
    """(service, call) by the event's id."""
    pages = stand.client("cloudtrail").get_paginator("lookup_events").paginate()
    found = (event for page in pages for event in page["Events"])
    return {event["EventId"]: (event["EventSource"].split(".")[0], event["EventName"]) for event in found}


def start_up() -> None:
    """Importing the gateway's handler in a new process, as a cold start does."""
    layers = [str(BUILD / "DependenciesLayer" / "python"), str(ROOT / "layers" / "shared" / "python")]
    code = "import time; t = time.perf_counter(); import app; print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(layers), "POWERTOOLS_SERVICE_NAME": "bench"}
    python = str(ROOT / ".stand" / "emulator" / "bin" / "python")
    command = [python, "-c", code]
    taken = [
        float(
            subprocess.run(
                command,
                cwd=ROOT / "functions" / "gateway",
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(5)
    ]
    record({"gateway.import_s": median(taken)})
    print(f"importing the gateway, median of 5       {median(taken):6.2f} s")


def layers() -> None:
    names = {"DependenciesLayer": "dependencies", "SharedLayer": "shared", "GateLayer": "gate"}
    for layer, name in names.items():
        files = [path for path in (BUILD / layer).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        record({f"layer.{name}_bytes": size})
        print(f"{layer:<36} {size / 1e6:10.2f} MB unzipped")


if __name__ == "__main__":
    main()
