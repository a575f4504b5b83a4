"""One function in one stage, and what people and jobs do with it: for tests and figures about rollouts."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx2

from stand.api import Stand, package
from stand.monitor import Monitor, Record, Watched, plain
from stand.say import StandError

Claims = Mapping[str, Any]

JOB: Final[Claims] = {"project_id": "4700", "ref_type": "branch", "ref": "main"}
"""A job that may deploy and promote, but not roll back."""

RELEASE: Final[Claims] = {"project_id": "4700", "ref_type": "tag", "ref": "v1.0.0"}
"""A job that may roll back as well."""

HURRIED: Final[Claims] = {"project_id": "4701"}
"""A job that may override the strategy."""

GRACE: Final[Claims] = {
    "project_id": "4710",
    "user_id": "8",
    "user_login": "grace",
    "pipeline_id": "900",
    "pipeline_source": "web",
}
"""Somebody who may approve, in a pipeline of their own."""

LIMITED: Final[Claims] = {"project_id": "4720"}
"""A job whose rule allows five deployments in an hour."""

SHARING: Final[Claims] = {"project_id": "4721"}
"""A job whose releases get a fifth of the traffic without an approval."""

FIXER: Final[Claims] = {"project_id": "4730"}
"""A job that may deploy a fix while alarms are firing."""

HOLDER: Final[Claims] = {"project_id": "4712"}
"""Somebody who may hold the stage `held`."""

SOURCE: Final = """\
RELEASE = {release!r}

def handler(event, context):
    {body}
    return {{"status": "ok", "release": RELEASE}}
"""
RAISES: Final = 'raise ValueError("as released")'
AT_ONCE: Final = 6
"""Paths that are walked at the same time: each needs processes of its own on the stand."""

_LOOK: Final = 0.03
"""Seconds between two looks at a record."""


def code(release: str, body: str = "pass") -> bytes:
    """A package that answers with the name of its release, after `body`."""
    return package(SOURCE.format(release=release, body=body))


@dataclass(frozen=True)
class Path:
    """A function of its own in a stage, whose alias has the stage's name. `watched` is that alias."""

    stand: Stand
    function: str
    stage: str
    watched: Watched

    # Asking

    def upload(self, release: str, body: str = "pass", *, by: Claims = JOB) -> str:
        """Upload a release; its SHA-256."""
        return self.stand.upload(self.function, code(release, body), token=self.stand.token(**by))

    def ask(
        self, action: str, *, by: Claims = JOB, stage: str = "", source: str | None = None, **fields: Any
    ) -> httpx2.Response:
        """Ask for a deployment of this function to this stage, or another; `source` is where it is from."""
        body = {"action": action, "function": self.function, "stage": stage or self.stage, **fields}
        if source:
            body["from"] = source
        with self.watched.asking():
            answer = self.stand.http("POST", "/deployments", body, token=self.stand.token(**by))
            if answer.status_code == 202 and body["stage"] == self.stage:
                self.watched.accepted(answer.json()["id"])
        return answer

    def start(self, action: str, *, by: Claims = JOB, **fields: Any) -> str:
        """`ask` what has to be accepted; the deployment's id."""
        answer = self.ask(action, by=by, **fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def deploy(self, release: str, body: str = "pass", *, by: Claims = JOB, **fields: Any) -> str:
        """Upload a release and start its deployment; the deployment's id."""
        return self.start("deploy", by=by, artifact={"sha256": self.upload(release, body)}, **fields)

    def released(self, release: str, **fields: Any) -> dict[str, Any]:
        """A release that succeeds, as the API shows it afterwards."""
        done = self.done(self.deploy(release, **fields))
        assert done["status"] == "succeeded", done
        return done

    def decide(self, deployment: str, action: str, *, by: Claims = JOB) -> httpx2.Response:
        """Approve, reject or abort."""
        return self.stand.http(
            "POST", f"/deployments/{deployment}/{action}", {"reason": "a test"}, token=self.stand.token(**by)
        )

    def abort(self, deployment: str) -> dict[str, Any]:
        """Abort what can be aborted, and see it end."""
        answer = self.decide(deployment, "abort")
        assert answer.status_code in (200, 202), answer.text
        return self.done(deployment)

    # Seeing

    def record(self, deployment: str) -> Record:
        """The record as the table has it."""
        return self._reading(deployment)()

    def _reading(self, deployment: str) -> Callable[[], Record]:
        client, table = self.stand.client("dynamodb"), self.stand.table
        key = {"pk": {"S": f"deployment#{deployment}"}, "sk": {"S": "record"}}
        return lambda: plain(client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"])

    def until(self, deployment: str, *statuses: str, patience: float = 60) -> Record:
        """The record once it has one of these statuses. Raises StandError where it ends without."""
        return self.once(deployment, lambda record: record["status"] in statuses, patience=patience)

    def once(
        self, deployment: str, so: Callable[[Record], bool], *, patience: float = 60, pause: float = _LOOK
    ) -> Record:
        """The record once it is so. Raises StandError where it ends without, or takes too long."""
        deadline = time.monotonic() + patience
        read = self._reading(deployment)
        while True:
            record = read()
            if so(record):
                return record
            if record["final"] or time.monotonic() > deadline:
                document = "\n".join(
                    f"{one['at']} {one['status']} {one['message']}" for one in record["timeline"]
                )
                raise StandError(f"{deployment} is {record['status']}, which was not waited for:\n{document}")
            time.sleep(pause)

    def done(self, deployment: str, *, patience: float = 60) -> dict[str, Any]:
        """The deployment once it is final, as the API shows it."""
        self.once(deployment, lambda record: record["final"], patience=patience)
        shown = self.stand.http("GET", f"/deployments/{deployment}", token=self.stand.token(**JOB))
        document: dict[str, Any] = shown.raise_for_status().json()
        return document

    def was_woken(self, deployment: str) -> bool:
        """Whether something ended the last wait of its execution, and not the time until the next look.

        True as well where it never came to wait.
        """
        execution = self.stand.state_machine_arn.replace(":stateMachine:", ":execution:")
        arn = f"{execution}:{deployment}-{self.record(deployment)['attempt']}"
        pages = (
            self.stand.client("stepfunctions")
            .get_paginator("get_execution_history")
            .paginate(executionArn=arn)
        )
        ends = [
            event.get("taskFailedEventDetails", {}).get("error")
            for page in pages
            for event in page["events"]
            if event["type"] in ("TaskSucceeded", "TaskFailed")
            and _details(event)["resource"].endswith(".waitForTaskToken")
        ]
        return "States.Timeout" not in ends[-1:]

    @property
    def serves(self) -> dict[str, Any] | None:
        """What the alias serves: `{"version": "1", "weights": {}}`."""
        state = self.stand.alias_state(self.function, self.stage)
        return {**state} if state else None

    # What others do

    def serve_by_hand(self, version: str, **weights: float) -> None:
        """Move the alias as somebody would who does not know of Sluicegate."""
        weights = {name.removeprefix("v"): share for name, share in weights.items()}
        self.watched.moves_by_hand({"version": version, "weights": weights})
        self.stand.client("lambda").update_alias(
            FunctionName=self.function,
            Name=self.stage,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )


def _details(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an event in an execution's history says about its task."""
    details: Mapping[str, Any] = event.get("taskSucceededEventDetails") or event["taskFailedEventDetails"]
    return details


class Paths:
    """Makes paths on the stand, each with its alias under watch, and so many of them at the same time."""

    def __init__(self, stand: Stand, monitor: Monitor, at_once: int = AT_ONCE) -> None:
        self.stand = stand
        self.monitor = monitor
        self._free = threading.BoundedSemaphore(at_once)

    @contextmanager
    def __call__(self, stage: str, *, prefix: str = "paths", served: bool = True) -> Iterator[Path]:
        """A new function, whose alias serves version 1 by default.

        Waits where there are too many. Raises AssertionError at its end where the alias has ever served
        what the record did not say.
        """
        function = f"{prefix}-{uuid4().hex[:8]}"
        lambda_ = self.stand.client("lambda")
        with self._free:
            self.stand.create_function(function)
            try:
                if served:
                    version = lambda_.publish_version(FunctionName=function)["Version"]
                    lambda_.create_alias(FunctionName=function, Name=stage, FunctionVersion=version)
                with self.monitor.watching(function, stage) as watched:
                    yield Path(self.stand, function, stage, watched)
            finally:
                self.stand.delete_function(function)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run independent paths at the same time; their answers. All errors are raised, once all have ended."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
    errors = [error for future in futures if (error := future.exception())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(calls)} paths", errors)
    return [future.result() for future in futures]


@contextmanager
def frozen(path: Path, deployment: str, status: str) -> Iterator[bool]:
    """Stop the deployer when it has written this status, as a slow machine would, while the block runs.

    False where it was faster, and has written more. All of the deployer's workers stop, those for rollbacks
    too: nothing else may run.
    """

    def running() -> set[int]:
        names = ("sluicegate-deployer", "sluicegate-rollback")
        return {pid for name in names for pid in path.stand.workers(name)}

    workers = running()
    path.once(deployment, lambda record: _has_been(record, status), pause=0)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for pid in running() - workers:  # it has begun meanwhile
        os.kill(pid, signal.SIGSTOP)
        workers.add(pid)
    try:
        yield path.record(deployment)["status"] == status
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def _has_been(record: Record, status: str) -> bool:
    return any(entry["status"] == status for entry in record["timeline"])
