"""What a seed lets happen: teams that release, people who decide, and others who change things by hand."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from botocore.exceptions import ClientError

from simulation.callers import Caller, digest, job
from simulation.gates import Features
from simulation.world import World
from sluicegate.deployment.observations import AlarmState
from support.cloudwatch_model import Requests
from support.lambda_rules import code_sha256
from support.signing import token
from support.simulation import OWN

Json = dict[str, Any]

COMMITS: Final = tuple(letter * 40 for letter in "abc")
"""The commits of the jobs."""

BUSY: Final = (240, 60, 10)
"""Seconds within which everything begins."""

FUNCTIONS: Final = ("orders-0", "orders-1", "orders-2")

OLD_CODES: Final = ("second", "third", "oldest", "older")
OLD_VERSIONS: Final = 6
"""What prod has served before, and how many versions each function has (`simulation.history`)."""

ASKED: Final = (("approve", 0.4), (None, 0.1), ("abort", 0.2), ("reject", 0.1), ("approve own", 0.2))
"""What people do about a deployment that somebody must approve, and about any other."""

UNASKED: Final = ((None, 0.7), ("abort", 0.25), ("approve", 0.05))


class Traffic:
    """Everybody who does something, made by choices."""

    def __init__(self, world: World, features: Features, releases: int) -> None:
        self.world = world
        self.features = features
        self.choices = world.choices
        self.caller = Caller(world)
        self.functions = FUNCTIONS[: 1 + self.choices.below(len(FUNCTIONS))]
        self.busy = self.choices.one_of(BUSY)
        self.left = 0
        self._jobs = 0
        self._codes = 0
        self._last_code = digest(b"newer")
        self.answers: dict[str, set[str]] = defaultdict(set)
        self.used: list[tuple[Json, Json]] = []
        for number in range(1, 60):
            world.cloudwatch.metrics[str(number)] = Requests(invocations=100)
        for number in range(releases):
            self._start(f"release {number}", self._release)

    def start_crowd(self, functions: Sequence[str]) -> None:
        """Let each of these functions be released, all within three seconds."""
        for function in functions:
            self._start(f"release {function}", partial(self._release_of, function), within=3)

    def _release_of(self, function: str) -> None:
        claims, (sha256, size) = self.job(), self.code(function)
        self.caller.send(claims, "/artifacts", {"function": function, "sha256": sha256, "size": size})
        body = {"function": function, "stage": "dev", "action": "deploy", "artifact": {"sha256": sha256}}
        self._ask(claims, body)

    def start_others(self) -> None:
        """Let people and tools do more than to release, where the seed says so."""
        if self.choices.chance(0.5):
            self._start("operator", self._move_by_hand)
        if self.choices.chance(0.3):
            self._start("script", self._prune)
        if self.choices.chance(0.4):
            self._start("alarm", self._alarm)
        if self.choices.chance(0.3):
            self._start("bad version", self._bad_version)
        if self.choices.chance(0.3):
            self._start("thief", self._thief)
        if self.choices.chance(0.3):
            self._start("owner", self._change_gate)
        if self.choices.chance(0.3):
            self._start("stopper", self._stop_execution)

    def _start(self, name: str, call: Callable[[], Any], within: int | None = None) -> None:
        self.left += 1

        def body() -> None:
            try:
                call()
            finally:
                self.left -= 1

        self.world.engine.spawn(name, body, self.choices.below(within or self.busy))

    # Callers

    def job(self, **claims: Any) -> Json:
        """Return the claims of a new job, which has no keyword `environment`."""
        self._jobs += 1
        own = {"sha": self.choices.one_of(COMMITS), "environment": None}
        return job(self.world.engine.now, f"jti-{self._jobs}", 1_000 + self._jobs) | own | claims

    def person(self) -> Json:
        """Return the claims of a job that somebody else has started by hand."""
        return self.job(user_id="8", user_login="user-8", pipeline_source="web")

    def code(self, function: str) -> tuple[str, int]:
        """Upload code; return its digest and its size. Some code is released again, also after days."""
        number = self._codes
        if not number or not self.choices.chance(0.2):
            number = self._codes = self._codes + 1
        data = f"code {number}".encode()
        if self.features.prune and self.choices.chance(0.3):
            data = self.choices.one_of(OLD_CODES).encode()
        sha256 = digest(data)
        self.world.lambdas.code[f"{function}/{sha256}.zip"] = data
        self._last_code = sha256
        return sha256, len(data)

    def _release(self) -> None:
        """One job: it announces its code, and deploys it; or it promotes, or rolls back."""
        function, stage = self.choices.one_of(self.functions), self.choices.one_of(("prod", "dev"))
        action = self.choices.weighted((("deploy", 0.7), ("promote", 0.15), ("rollback", 0.15)))
        claims = self.job()
        body: Json = {"function": function, "stage": stage, "action": action}
        match action:
            case "deploy":
                sha256, size = self.code(function)
                self.caller.send(claims, "/artifacts", {"function": function, "sha256": sha256, "size": size})
                body["artifact"] = {"sha256": sha256}
            case "promote":
                sha256 = self.choices.one_of((digest(b"newer"), self._last_code))
                body |= {"stage": "prod", "from": "dev", "artifact": {"sha256": sha256}}
            case "rollback" if self.features.prune and self.choices.chance(0.4):
                body["version"] = str(1 + self.choices.below(OLD_VERSIONS))
        if self.choices.chance(0.4):
            body["on_busy"] = "supersede"
        if self.choices.chance(0.2):
            self._start("repeated", lambda: self._ask(claims, body), within=3)
        if self.choices.chance(0.1):
            other, size = self.code(function)
            self.caller.send(claims, "/artifacts", {"function": function, "sha256": other, "size": size})
            stolen = {**body, "action": "deploy", "artifact": {"sha256": other}}
            stolen.pop("from", None)
            self._start("thief", lambda: self.caller.send(claims, "/deployments", stolen), within=2)
        deployment = self._ask(claims, body)
        if deployment is not None:
            self._decide(deployment)

    def _ask(self, claims: Json, body: Json) -> str | None:
        """Return the id of what was accepted, or None. It is one, however often it is asked for."""
        status, answer = self.caller.send(claims, "/deployments", body)
        if status == 409 and answer.get("code") == "busy" and "deployment" in answer:
            holder = self.world.table.items[f"deployment#{answer['deployment']}", "record"]
            asked_by = holder["requested_by"]["M"]["job_id"]["S"]
            assert asked_by != claims["job_id"], f"7. {answer['deployment']} is busy with itself"
        if status not in (200, 202):
            return None
        self.used.append((claims, body))
        known = self.answers[json.dumps([claims["jti"], body], sort_keys=True)]
        known.add(answer["id"])
        assert len(known) == 1, f"7. one request was answered with the deployments {sorted(known)}"
        return str(answer["id"])

    def _decide(self, deployment: str) -> None:
        record = self.world.table.items[f"deployment#{deployment}", "record"]
        asks = "N" in record["plan"]["M"].get("approval", {})
        decision = self.choices.weighted(ASKED if asks else UNASKED)
        if decision is None:
            return
        self.world.engine.sleep(self.choices.below(30))
        if decision == "approve own":
            claims = self.job(pipeline_source="web")
            status, _ = self.caller.send(claims, "/deployments/{id}/approve", {}, id=deployment)
            assert status != 202, f"9. {deployment} was approved by the person who asked for it"
            return
        claims = self.job() if decision == "abort" else self.person()
        self.caller.send(claims, f"/deployments/{{id}}/{decision}", {}, id=deployment)

    # Others

    def meanwhile(self) -> None:
        """Do something about what the current task works for, just now."""
        about = self.world.engine.current.about if self.world.engine.current else None
        record = self.world.table.items.get((f"deployment#{about}", "record"))
        if about is None or record is None:
            return
        function, stage = record["function"]["S"], record["stage"]["S"]
        versions = sorted(self.world.lambdas.functions[function]["versions"], key=int)
        match self.choices.one_of(("abort", "move", "prune", "weights", "supersede", "code")):
            case "abort":
                abort = partial(self.caller.send, self.job(), "/deployments/{id}/abort", {}, id=about)
                self._start("abort", abort, within=3)
            case "move" if versions:
                version = self.choices.one_of(versions[-3:])
                self.world.outside(partial(self.world.lambdas.set_alias, function, stage, version))
            case "weights" if len(versions) > 1:
                main, other = self.choices.one_of(versions[:-1]), versions[-1]
                shared = {other: 0.25}
                self.world.outside(partial(self.world.lambdas.set_alias, function, stage, main, shared))
            case "prune" if versions:
                self._delete(function, self.choices.one_of(versions))
            case "code":
                code = code_sha256(b"of somebody else")
                self.world.outside(partial(self.world.lambdas.configure, function, CodeSha256=code))
            case "supersede":
                self._start("superseder", partial(self._supersede, function, stage), within=3)

    def _supersede(self, function: str, stage: str) -> None:
        claims = self.job()
        sha256, size = self.code(function)
        self.caller.send(claims, "/artifacts", {"function": function, "sha256": sha256, "size": size})
        body = {"function": function, "stage": stage, "action": "deploy", "on_busy": "supersede"}
        self._ask(claims, {**body, "artifact": {"sha256": sha256}})

    def _move_by_hand(self) -> None:
        """Move an alias by hand, or put it back, some times."""
        for _ in range(1 + self.choices.below(3)):
            function, alias = self.choices.one_of(self.functions), self.choices.one_of(("prod", "dev"))
            versions = sorted(self.world.lambdas.functions[function]["versions"], key=int)
            if versions:
                version = self.choices.one_of(versions[-3:])
                self.world.outside(partial(self.world.lambdas.set_alias, function, alias, version))
            self.world.engine.sleep(1 + self.choices.below(60))

    def _prune(self) -> None:
        """Delete a version that nothing seems to need."""
        for _ in range(1 + self.choices.below(3)):
            function = self.choices.one_of(self.functions)
            versions = sorted(self.world.lambdas.functions[function]["versions"], key=int)
            if versions:
                self._delete(function, self.choices.one_of(versions))
            self.world.engine.sleep(1 + self.choices.below(90))

    def _delete(self, function: str, version: str) -> None:
        try:
            self.world.lambdas.prune(function, version)
        except ClientError:
            return  # an alias points to it
        self.world.pruned.add((function, version))
        self.world.engine.note(f"{function}:{version} is deleted by hand")

    def need_an_old_version(self, function: str, number: str | None = None) -> None:
        """Ask for one of the oldest versions that prod has served, or for this one; wait for the answer."""
        served = {str(number): code for number, code in enumerate(OLD_CODES, 2)}
        there = [number for number in served if number in self.world.lambdas.functions[function]["versions"]]
        if not there or (number and number not in there):
            return
        version = number or self.choices.one_of(there[:2])
        body: Json = {"function": function, "stage": "prod", "action": "rollback", "version": version}
        if self.choices.chance(0.3):
            artifact = {"sha256": digest(served[version].encode())}
            body = {"function": function, "stage": "prod", "action": "deploy", "artifact": artifact}
        self._ask(self.job(), body)

    def _alarm(self) -> None:
        """Fire an alarm for a while; EventBridge says so."""
        name = f"{self.choices.one_of(self.functions)}-5xx"
        self.world.cloudwatch.alarms[name] = AlarmState.ALARM
        self.world.engine.note(f"{name} fires")
        event = {
            "source": "aws.cloudwatch",
            "detail-type": "CloudWatch Alarm State Change",
            "account": OWN.account,
            "region": OWN.region,
            "detail": {"alarmName": name, "state": {"value": "ALARM"}},
        }
        for _ in range(1 + self.choices.below(2)):
            self.world.invoke("waker", event)
            self.world.engine.sleep(self.choices.below(5))
        self.world.engine.sleep(10 + self.choices.below(30))
        self.world.cloudwatch.alarms[name] = AlarmState.OK

    def _bad_version(self) -> None:
        """Let the versions of one number fail."""
        version = str(OLD_VERSIONS - 1 + self.choices.below(8))
        self.world.cloudwatch.metrics[version] = Requests(invocations=100, errors=50)

    def _thief(self) -> None:
        """Use a token of a job for something else, and one that no rule allows."""
        function = self.choices.one_of(self.functions)
        if self.used:
            claims, body = self.choices.one_of(self.used)
            other, _ = self.code(body["function"])
            self.caller.send(
                claims, "/deployments", {**body, "action": "deploy", "artifact": {"sha256": other}}
            )
        forged = token(self.job(), alg="RS256")[:-8] + "AAAAAAAA"
        status, _ = self.caller.send_as(
            forged, "/deployments/{id}/abort", {}, id="01M8331B6RAVB4A14EQBVQ7EG3"
        )
        assert status in (0, 401, 503), f"6. a forged token was answered with {status}"
        foreign = self.job(project_id="666", project_path="acme/other")
        body = {"function": function, "stage": "prod", "action": "rollback"}
        status, _ = self.caller.send(foreign, "/deployments", body)
        assert status not in (200, 202), "9. a project that no rule names was allowed to deploy"

    def _change_gate(self) -> None:
        """Build another gate file: new processes of the gateway have it."""
        self.world.gates.append(self.features.gate(self.choices))
        for function in ("gateway", "notifier", "pruner"):
            self.world.forget_processes(function)
        self.world.engine.note("another gate file")

    def _stop_execution(self) -> None:
        """Stop an execution, as an operator's mistake does."""
        running = [one for one in self.world.executions.running.values() if one.status == "RUNNING"]
        if running:
            stopped = self.choices.one_of(running)
            self.world.executions.end(stopped, "ABORTED")
            self.world.engine.note(f"execution {stopped.name} is stopped")
