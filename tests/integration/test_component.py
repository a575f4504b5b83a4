"""The CI/CD component's job, run as GitLab would run it, against the whole system."""

import contextlib
import os
import re
import shutil
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sluicegate_cli.exit_codes import ExitCode
from stand import Stand, component, gitlab_ci_local, package
from stand.forward import pipe
from stand.processes import HOST
from stand.shells import SHELLS, Ended, Machine, Running
from stand.wide import Wide

pytestmark = pytest.mark.extended

SLOW = "canary:10:1h"
"""Long enough to be under way whenever a test looks."""


@pytest.fixture
def stock(wide: Wide) -> Iterator[str]:
    """The name of a function of the test's own, as it was created and never released."""
    name = f"stock-{uuid4().hex[:8]}"
    wide.stand.create_function(name)
    yield name
    wide.stand.delete_function(name)


@dataclass(frozen=True)
class Project:
    """A project of GitLab whose pipelines use the component for one function."""

    stand: Stand
    machine: Machine
    function: str

    def token(self, **claims: Any) -> str:
        """The ID token of a job of a release tag's pipeline."""
        return self.stand.token(**{"project_id": "4700", "project_path": "acme/stock", **claims})

    def job(self, **inputs: Any) -> component.Job:
        about = {"url": self.stand.endpoint, "audience": self.stand.audience, "function": self.function}
        return component.job(**{**about, "stage": "prod", **inputs})

    def build(self, name: str = "stock.zip") -> str:
        """What an earlier job leaves: a package that was never there before; what it answers."""
        release = uuid4().hex
        (self.machine.directory / name).write_bytes(
            package(f"def handler(event, context):\n    return {release!r}\n")
        )
        return release

    def deployment(self) -> dict[str, Any]:
        """The deployment that the job's report names, as it is now."""
        return self.read(self.machine.dotenv()["SLUICEGATE_ID"])

    def read(self, id_: str) -> dict[str, Any]:
        answer = self.stand.http("GET", f"/deployments/{id_}", token=self.token())
        deployment: dict[str, Any] = answer.raise_for_status().json()
        return deployment

    def ends(self, id_: str) -> str:
        return str(self.stand.wait(id_, token=self.token())["status"])

    def release(self) -> None:
        """What prod serves before a test begins: a first version has nothing to shift traffic from."""
        token = self.token()
        data = package("def handler(event, context):\n    return 'before'\n")
        sha256 = self.stand.upload(self.function, data, token=token)
        asked = {
            "action": "deploy",
            "function": self.function,
            "stage": "prod",
            "artifact": {"sha256": sha256},
        }
        answer = self.stand.http("POST", "/deployments", asked, token=token)
        assert self.ends(answer.raise_for_status().json()["id"]) == "succeeded"

    def deploy_slowly(self, token: str, **inputs: Any) -> Running:
        """A job that follows a canary, once it has shifted some traffic."""
        self.release()
        self.build()
        job = self.job(zip="stock.zip", strategy=SLOW, **inputs)
        running = self.machine.start(job, token)
        until(lambda: "  baking" in running.read(), running)
        return running


def until(what: Any, running: Running, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, running.read()
        assert running.process.poll() is None, running.read()
        time.sleep(0.05)


@pytest.fixture(params=SHELLS)
def project(request: pytest.FixtureRequest, stand: Stand, stock: str, tmp_path: Path) -> Project:
    """In each of the shells."""
    return Project(stand, Machine.with_shell(request.param, tmp_path), stock)


@pytest.fixture
def in_dash(stand: Stand, stock: str, tmp_path: Path) -> Project:
    """In one, where the shell makes no difference."""
    return Project(stand, Machine.with_shell("dash", tmp_path), stock)


def test_deploys_and_the_same_job_again_has_no_second_effect(project: Project) -> None:
    stand, machine, token = project.stand, project.machine, project.token()
    name, label = "a 'new\" [r] {e} $HOME.zip", "v1 \"one\" 'two' \\ $HOME ü"
    release = project.build(name)
    job = project.job(zip=name.replace("$", "$$"), release=label.replace("$", "$$"))
    first = machine.run(job, token)
    assert first.code == ExitCode.OK, first.log
    assert "alias prod serves version 1" in first.log
    assert stand.invoke(project.function, alias="prod") == release
    deployment = project.deployment()
    assert deployment["release"] == label
    assert machine.dotenv() == {
        "SLUICEGATE_ID": deployment["id"],
        "SLUICEGATE_STATUS": "succeeded",
        "SLUICEGATE_VERSION": "1",
    }

    again = machine.run(job, token)
    assert again.code == ExitCode.OK, again.log
    assert "already uploaded" in again.log
    assert project.deployment() == deployment
    assert token not in first.log + again.log
    assert "X-Amz" not in first.log
    assert sorted(machine.left()) == sorted([f"project/{name}", "project/sluicegate.env"])


def test_promotes_what_it_deployed_and_rolls_back(project: Project) -> None:
    stand, machine = project.stand, project.machine
    releases = []
    for stage_of_promotion in ({}, {"zip": "stock.zip"}, {"version": "3"}):
        releases.append(project.build())
        deployed = machine.run(project.job(zip="stock.zip", stage="staging"), project.token())
        assert deployed.code == ExitCode.OK, deployed.log
        promotion = project.job(action="promote", **{"from": "staging"}, **stage_of_promotion)
        promoted = machine.run(promotion, project.token())
        assert promoted.code == ExitCode.OK, promoted.log
        assert stand.invoke(project.function, alias="prod") == releases[-1]
    back = machine.run(project.job(action="rollback", reason="incident 77"), project.token())
    assert back.code == ExitCode.OK, back.log
    assert stand.invoke(project.function, alias="prod") == releases[1]
    further = machine.run(project.job(action="rollback", version="1"), project.token())
    assert further.code == ExitCode.OK, further.log
    assert machine.dotenv()["SLUICEGATE_VERSION"] == "1"
    late = machine.run(project.job(action="promote", version="2", **{"from": "staging"}), project.token())
    assert late.code == ExitCode.UNACCEPTABLE
    assert "source_changed" in late.log


def test_refusals_name_what_is_in_the_way(in_dash: Project) -> None:
    machine = in_dash.machine
    in_dash.build()
    refused = machine.run(in_dash.job(zip="stock.zip"), in_dash.token(ref_type="branch", ref="quick-fix"))
    assert refused.code == ExitCode.REFUSED
    assert "rule 'stock from a release tag' does not match ref_type=branch" in refused.log
    expired = int(time.time()) - 7200
    for token in (
        in_dash.token(iat=expired, exp=expired + 600),
        in_dash.token(aud="https://other.example.com"),
    ):
        unknown = machine.run(in_dash.job(zip="stock.zip"), token)
        assert unknown.code == ExitCode.REFUSED
        assert "invalid_token" in unknown.log
    assert machine.dotenv() == {}
    assert machine.run(in_dash.job(zip="stock.zip"), in_dash.token()).code == ExitCode.OK
    in_dash.build()
    expecting = machine.run(in_dash.job(zip="stock.zip", expect_version="7"), in_dash.token())
    assert expecting.code == ExitCode.UNACCEPTABLE
    assert "not_as_expected" in expecting.log
    assert machine.dotenv() == {}
    assert machine.left() == ["project/stock.zip"]


def test_a_deployment_that_fails_fails_the_job(in_dash: Project) -> None:
    nowhere = replace(in_dash, function=f"stock-none-{uuid4().hex[:8]}")
    nowhere.build()
    ended = nowhere.machine.run(nowhere.job(zip="stock.zip"), nowhere.token())
    assert ended.code == ExitCode.NOT_DEPLOYED
    assert "failed" in ended.log
    assert nowhere.machine.dotenv()["SLUICEGATE_STATUS"] == "failed"


def test_a_token_that_gets_too_old_meanwhile_leaves_it_running(in_dash: Project) -> None:
    """`max_age` has no leeway: the token is an hour old half a minute after the start."""
    issued = int(time.time()) - 3570
    running = in_dash.deploy_slowly(in_dash.token(iat=issued, exp=issued + 7200))
    ended = running.wait()
    assert ended.code == ExitCode.STILL_RUNNING, ended.log
    id_ = in_dash.machine.dotenv()["SLUICEGATE_ID"]
    assert f"deployment {id_} is baking and continues on its own" in ended.log
    assert in_dash.read(id_)["status"] == "baking"
    abort(in_dash, id_)


def test_max_wait_is_the_end_of_waiting_only(in_dash: Project) -> None:
    in_dash.release()
    in_dash.build()
    job = in_dash.job(zip="stock.zip", strategy=SLOW, max_wait="3s")
    ended = in_dash.machine.run(job, in_dash.token())
    assert ended.code == ExitCode.STILL_RUNNING, ended.log
    id_ = in_dash.machine.dotenv()["SLUICEGATE_ID"]
    busy = in_dash.machine.run(in_dash.job(zip="stock.zip"), in_dash.token(), job_id="303")
    assert busy.code == ExitCode.UNACCEPTABLE
    assert "busy" in busy.log
    short = in_dash.machine.run(
        in_dash.job(action="abort", deployment=id_, max_wait="1h"), in_dash.token(), CI_JOB_TIMEOUT="60"
    )
    assert short.code == ExitCode.OK, short.log
    assert in_dash.machine.dotenv()["SLUICEGATE_STATUS"] == "aborted"


def test_wait_accepted_ends_once_it_is(in_dash: Project) -> None:
    in_dash.build()
    job = in_dash.job(zip="stock.zip", wait="accepted")
    ended = in_dash.machine.run(job, in_dash.token())
    assert ended.code == ExitCode.OK, ended.log
    assert "continues on its own" in ended.log
    assert in_dash.ends(in_dash.machine.dotenv()["SLUICEGATE_ID"]) == "succeeded"


def test_another_user_approves_in_another_pipeline(in_dash: Project) -> None:
    stand, machine = in_dash.stand, in_dash.machine
    release = in_dash.build()
    asked = machine.run(in_dash.job(zip="stock.zip", stage="gated", wait="accepted"), in_dash.token())
    assert asked.code == ExitCode.OK, asked.log
    id_ = machine.dotenv()["SLUICEGATE_ID"]
    web = {"ref": "main", "ref_type": "branch", "pipeline_source": "web"}
    approval = component.job(
        url=stand.endpoint, audience=stand.audience, action="approve", deployment=id_, reason="change 812"
    )
    alone = machine.run(approval, in_dash.token(**web, pipeline_id="575"))
    assert alone.code == ExitCode.REFUSED
    assert "a different person must approve" in alone.log
    both = machine.run(approval, in_dash.token(**web, pipeline_id="576", user_id="8", user_login="grace"))
    assert both.code == ExitCode.OK, both.log
    assert stand.invoke(in_dash.function, alias="gated") == release


# Failures on the way


@contextmanager
def way_to(stand: Stand) -> Iterator["Way"]:
    way = Way(int(stand.endpoint.split(":")[2].split("/")[0]))
    way.up()
    try:
        yield way
    finally:
        way.down()


class Way:
    """A proxy before the API that can go down: then connections are refused, and those there are end."""

    def __init__(self, port: int) -> None:
        self._onward, self.port = port, 0
        self._server: socketserver.ThreadingTCPServer | None = None
        self._open: list[Any] = []

    def up(self) -> None:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((HOST, outer._onward)) as onward:
                    outer._open += [self.request, onward]
                    there = threading.Thread(target=pipe, args=(self.request, onward), daemon=True)
                    there.start()
                    pipe(onward, self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Connections end when the test says."""

        self._server = Server((HOST, self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server, self._open = None, []


def test_an_endpoint_that_is_away_for_twenty_seconds_is_waited_for(project: Project) -> None:
    """From before the request until after it, and again while the job follows."""
    token = project.token()
    project.release()
    release = project.build()
    with way_to(project.stand) as way:
        url = f"http://{HOST}:{way.port}/v1"
        way.down()
        running = project.machine.start(
            project.job(url=url, zip="stock.zip", strategy="canary:10:30s"), token
        )
        until(lambda: "retrying in 2 s" in running.read(), running)
        way.up()
        until(lambda: "  baking" in running.read(), running)
        way.down()
        time.sleep(20)
        way.up()
        ended = running.wait()
    assert ended.code == ExitCode.OK, ended.log
    assert len(re.findall("could not|Failed to connect|Empty reply|reset", ended.log)) >= 3, ended.log
    assert project.stand.invoke(project.function, alias="prod") == release
    ids = project.stand.http("GET", "/deployments", token=token, params={"function": project.function})
    assert len(ids.json()["items"]) == 2  # with the first one


# Cancelling


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_cancelled_job_aborts_if_it_is_to(project: Project, number: int) -> None:
    machine, token = project.machine, project.token()
    running = project.deploy_slowly(token, abort_on_cancel=True)
    running.signal(number)
    assert running.wait(30).code == -number
    id_ = machine.dotenv()["SLUICEGATE_ID"]
    assert project.read(id_)["status"] == "baking"
    after = machine.after(project.job(abort_on_cancel=True), token, "canceled")
    assert after.code == 0, after.log
    assert f"aborting deployment {id_}" in after.log
    assert project.ends(id_) == "aborted"
    assert project.read(id_)["reason"]["message"].endswith("job 302 was cancelled")
    assert machine.left() == ["project/sluicegate.env", "project/stock.zip"]


def test_a_cancelled_job_leaves_its_deployment_alone_otherwise(project: Project) -> None:
    machine, token = project.machine, project.token()
    running = project.deploy_slowly(token)
    running.signal(signal.SIGTERM)
    running.wait(30)
    id_ = machine.dotenv()["SLUICEGATE_ID"]
    after = machine.after(project.job(), token, "canceled")
    assert after == Ended(0, f"the job was cancelled; the deployment {id_} continues on its own\n")
    assert project.read(id_)["status"] == "baking"
    assert machine.left() == ["project/sluicegate.env", "project/stock.zip"]
    abort(project, id_)


def test_only_a_cancelled_job_aborts_and_only_its_own(in_dash: Project) -> None:
    machine, token = in_dash.machine, in_dash.token()
    running = in_dash.deploy_slowly(token, abort_on_cancel=True)
    running.signal(signal.SIGKILL)
    running.wait(30)
    id_ = machine.dotenv()["SLUICEGATE_ID"]
    job = in_dash.job(abort_on_cancel=True)
    assert machine.after(job, token, "canceled", job_id="999") == Ended(0, "")
    assert machine.after(job, token, "failed") == Ended(0, "")
    assert machine.after(job, token, "canceled") == Ended(0, "")
    assert in_dash.read(id_)["status"] == "baking"
    abort(in_dash, id_)


def test_a_job_cancelled_before_the_answer_finds_its_deployment(in_dash: Project) -> None:
    """The answer to the request is lost with the script, and what it left is its request."""
    machine, token = in_dash.machine, in_dash.token()
    wrapped = machine.directory.parent / "wrapped"
    wrapped.mkdir()
    curl = wrapped / "curl"
    curl.write_text(
        f'#!/bin/sh\ncase "$*" in *\'"action"\'*) {shutil.which("curl")} "$@" > /dev/null; sleep 60 ;; esac\n'
        f'exec {shutil.which("curl")} "$@"\n'
    )
    curl.chmod(0o755)
    in_dash.release()
    in_dash.build()
    job = in_dash.job(zip="stock.zip", strategy=SLOW, abort_on_cancel=True)
    running = replace(machine, path=f"{wrapped}:{machine.path}").start(job, token)
    listed = {"function": in_dash.function}

    def both() -> bool:
        items = in_dash.stand.http("GET", "/deployments", token=token, params=listed).json()["items"]
        return len(items) == 2

    until(both, running)
    running.signal(signal.SIGKILL)
    running.wait()
    assert machine.dotenv() == {}
    after = machine.after(job, token, "canceled")
    assert after.code == 0, after.log
    item, _ = in_dash.stand.http("GET", "/deployments", token=token, params=listed).json()["items"]
    assert in_dash.ends(item["id"]) == "aborted"


def abort(project: Project, id_: str) -> None:
    token = project.token()
    project.stand.http("POST", f"/deployments/{id_}/abort", {}, token=token).raise_for_status()
    assert project.ends(id_) == "aborted"


# What others on the machine can see


def test_neither_token_nor_presigned_url_is_ever_an_argument_or_a_file(project: Project) -> None:
    """Every process of the job is watched; a slow curl gives the watcher the time to see its arguments."""
    machine, token = project.machine, project.token()
    slow = machine.directory.parent / "slow"
    slow.mkdir()
    (slow / "curl").write_text(f'#!/bin/sh\nsleep 0.3\nexec {shutil.which("curl")} "$@"\n')
    (slow / "curl").chmod(0o755)
    project.build()
    running = replace(machine, path=f"{slow}:{machine.path}").start(project.job(zip="stock.zip"), token)
    seen: set[str] = set()
    while running.process.poll() is None:
        seen |= command_lines(running.process.pid)
    ended = running.wait()
    assert ended.code == ExitCode.OK, ended.log
    assert any("/deployments" in line for line in seen)
    assert any("--upload-file" in line for line in seen)
    files = [file for file in machine.directory.rglob("*") if file.is_file() and file.suffix != ".zip"]
    assert files
    for text in (*seen, ended.log, *(file.read_text() for file in files)):
        assert token not in text
        assert token.split(".")[2] not in text
        assert "X-Amz" not in text
    assert machine.after(project.job(), token, "success") == Ended(0, "")
    assert machine.left() == ["project/sluicegate.env", "project/stock.zip"]


def command_lines(session: int) -> set[str]:
    """Of the processes of a session that run now."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    found.add(Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


# The whole pipeline


def test_a_pipeline_of_gitlab_ci_local(stand: Stand, stock: str, tmp_path: Path) -> None:
    """GitLab's syntax read by somebody else than our tests; artifacts, dotenv, after_script too."""
    code = package(f"def handler(event, context):\n    return {stock!r}\n").hex()
    pipeline = f"""\
stages: [build, deploy, test]
default:
  before_script: ["false"]
build:
  stage: build
  before_script: []
  script:
    - python3 -c "open('a release.zip', 'wb').write(bytes.fromhex('{code}'))"
  artifacts: {{paths: ["*.zip"]}}
include:
  - local: /templates/deploy.yml
    inputs:
      url: {stand.endpoint}
      audience: {stand.audience}
      function: {stock}
      stage: prod
      zip: a release.zip
      release: it's "$CI_COMMIT_REF_NAME"
      rules: [{{when: on_success}}]
deploy {stock} prod:
  timeout: 10m
reporting:
  stage: test
  before_script: []
  script:
    - echo "version=$SLUICEGATE_VERSION status=$SLUICEGATE_STATUS id=$SLUICEGATE_ID"
"""
    token = stand.token(project_id="4700", project_path="acme/stock")
    done = gitlab_ci_local.run(tmp_path / "project", pipeline, {"SLUICEGATE_ID_TOKEN": token})
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "alias prod serves version 1" in log
    assert re.search("version=1 status=succeeded id=[0-9A-Z]{26}", log), log
    assert stand.invoke(stock, alias="prod") == stock
    (item,) = stand.http("GET", "/deployments", token=token, params={"function": stock}).json()["items"]
    assert item["release"] == 'it\'s "main"'
