"""Start, change and end the stand."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx2

from stand import places, processes, sign_ins, stack, targets
from stand.emulator import ACCOUNT, REGION, SECRET, Emulator
from stand.issuer import Issuer
from stand.processes import HOST, Process
from stand.say import StandError, progress

EMULATOR_PORT: Final = 4566
GITLAB_PORT: Final = 18080
AUDIENCE: Final = "https://deploy.example.com"

Ports: TypeAlias = tuple[int, int]
"""The emulator's port, and the stand-in GitLab's."""


@dataclass(frozen=True)
class State:
    """The running stand, as `.stand/state.json` remembers it."""

    emulator_port: int
    gitlab_port: int
    emulator: Process
    gitlab: Process
    deployed: str = ""
    gate_file: str = ""
    more_gitlabs: tuple[Process, ...] = ()

    def save(self) -> None:
        places.STATE.write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls) -> "State | None":
        if not places.STATE.is_file():
            return None
        saved: dict[str, Any] = json.loads(places.STATE.read_text())
        return cls(
            **saved
            | {name: Process(**saved[name]) for name in ("emulator", "gitlab")}
            | {"more_gitlabs": tuple(Process(**one) for one in saved["more_gitlabs"])}
        )

    def is_running(self) -> bool:
        return self.emulator.is_running() and self.gitlab.is_running()


@contextmanager
def locked() -> Iterator[None]:
    """One at a time: two `make up` at once start one stand."""
    places.STAND.mkdir(parents=True, exist_ok=True)
    with (places.STAND / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def up(gate_file: Path | None = None, ports: Ports | None = None) -> None:
    """Bring the stand up with the tree as it is and this gate file (the stand's own where none is given).

    On a running stand, deploys what changed. A new one has these `ports`. Raises StandError.
    """
    if gate_file and not gate_file.is_file():
        raise StandError(f"there is no gate file {gate_file}")
    with locked():
        began = time.monotonic()
        state = State.load()
        fresh = state is None or not state.is_running()
        if state is None or fresh:
            stop_all()
            state = start_all(gate_file, ports or choose_ports())
        try:
            deploy(state, gate_file, build=not fresh)
        except BaseException:
            if fresh:
                stop_all()
            raise
        file = places.STAND_JSON.relative_to(places.ROOT)
        progress(f"the stand is up ({time.monotonic() - began:.0f} s): {file}")
        progress(f"the board: {json.loads(places.STAND_JSON.read_text())['board']}")


def start_all(gate_file: Path | None, ports: Ports) -> State:
    """Start the emulator and the stand-in GitLab, and build the template meanwhile."""
    emulator, issuer = Emulator(ports[0]), Issuer(f"http://{HOST}:{ports[1]}")
    progress(f"starting the AWS emulator on port {ports[0]} and the stand-in GitLab on port {ports[1]}")
    for log in (places.EMULATOR_LOG, places.SAM_LOG, places.GITLAB_LOG):
        log.unlink(missing_ok=True)
    state = State(*ports, emulator=emulator.start(), gitlab=start_gitlab(ports[1], AUDIENCE))
    state.save()
    try:
        with ThreadPoolExecutor() as pool:
            building = pool.submit(build, ports[1], gate_file)
            processes.wait_until(
                issuer.answers, state.gitlab, what="the stand-in GitLab", log=places.GITLAB_LOG, patience=30
            )
            processes.wait_until(
                emulator.answers, state.emulator, what="the emulator", log=places.EMULATOR_LOG, patience=60
            )
            building.result()
    except BaseException:
        stop_all()
        raise
    return state


def ports() -> Ports:
    """The ports of the running stand, or else those that a new one is to have."""
    state = State.load()
    return (state.emulator_port, state.gitlab_port) if state and state.is_running() else choose_ports()


def choose_ports() -> Ports:
    """Ports for a new stand. Those of test workers are apart: they start at the same time."""
    if places.WORKER:
        number = 1 + int(places.WORKER.removeprefix("gw"))
        usual = EMULATOR_PORT + number, GITLAB_PORT + number
        return processes.choose_port("", usual[0]), processes.choose_port("", usual[1])
    return (
        processes.choose_port("EMULATOR_PORT", EMULATOR_PORT),
        processes.choose_port("GITLAB_PORT", GITLAB_PORT),
    )


def start_gitlab(port: int, audience: str, issuer_port: int | None = None) -> Process:
    """Start one more stand-in GitLab, with keys of its own; its tokens' issuer may be a bucket at a port."""
    command: list[str | Path] = [
        places.VENV / "bin/python",
        "-m",
        "stand.gitlab",
        "--port",
        str(port),
        "--audience",
        audience,
        *(["--issuer-port", str(issuer_port)] if issuer_port else []),
    ]
    environment = {
        "PYTHONPATH": str(places.ROOT / "tests"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return processes.start(command, log=places.GITLAB_LOG, env=environment, cwd=places.STAND)


def build(gitlab_port: int, gate_file: Path | None) -> None:
    progress("building the template (sam build)")
    stack.build(to_install(gate_file, gitlab_port))


def deploy(state: State, gate_file: Path | None, *, build: bool) -> None:
    """Deploy what changed since the last time, and write `.stand/stand.json`."""
    installed = to_install(gate_file, state.gitlab_port)
    fingerprint = stack.fingerprint(installed)
    if fingerprint == state.deployed and places.STAND_JSON.is_file():
        return
    emulator = Emulator(state.emulator_port)
    if build:
        progress("building the template (sam build)")
        stack.build(installed)
    progress("deploying it to the emulator (sam deploy)")
    deployed = stack.deploy(emulator)
    roles = (deployed.deployer_role_arn, deployed.drift_role_arn)
    targets.prepare(emulator, *roles, deployed.event_bus_arn)
    places.API_ID.write_text(deployed.api_id)
    endpoint = f"{emulator.url}/v1"
    wait_for_health(endpoint)
    sign_ins.prepare(emulator, endpoint)
    replace(state, deployed=fingerprint, gate_file=str(installed.resolve())).save()
    described: dict[str, Any] = {
        "endpoint": endpoint,
        "issuer": f"http://{HOST}:{state.gitlab_port}",
        "audience": AUDIENCE,
        "aws_endpoint_url": emulator.url,
        "aws_access_key_id": ACCOUNT,
        "aws_secret_access_key": SECRET,
        "region": REGION,
        "account_id": ACCOUNT,
        "table": deployed.table,
        "artifact_bucket": deployed.artifact_bucket,
        "state_machine_arn": deployed.state_machine_arn,
        "api_id": deployed.api_id,
        "iam_endpoint": f"{endpoint}/iam",
        "board": f"{endpoint}/board",
        "targets": {name: target.as_json() for name, target in targets.TARGETS.items()},
    }
    from stand import api, callers  # here, for they stand on this module

    described["callers"] = callers.prepare(api.Stand.of(described))
    places.STAND_JSON.write_text(json.dumps(described, indent=2) + "\n")


def to_install(gate_file: Path | None, gitlab_port: int) -> Path:
    """The gate file; one of the stand's own names the port that the stand-in GitLab really has."""
    file = gate_file or places.GATE_FILE
    if gitlab_port == GITLAB_PORT or file.parent != places.GATE_FILE.parent:
        return file
    rendered = places.STAND / file.name
    rendered.write_text(file.read_text().replace(f":{GITLAB_PORT}", f":{gitlab_port}"))
    return rendered


def wait_for_health(endpoint: str, *, patience: float = 60) -> None:
    """Wait until the API answers. Raises StandError with what it answered instead."""
    deadline = time.monotonic() + patience
    failure = "nothing"
    while time.monotonic() < deadline:
        try:
            answer = httpx2.get(f"{endpoint}/health", timeout=35, trust_env=False)
        except httpx2.HTTPError as error:
            failure = str(error)
        else:
            if answer.is_success:
                return
            failure = f"{answer.status_code} {answer.text[:500]}"
        time.sleep(0.2)
    raise StandError(f"{endpoint}/health answers {failure}. See {places.EMULATOR_LOG}")


def down() -> None:
    """End everything that `up` started; nothing to do is fine."""
    with locked():
        stop_all()


def end_workers() -> None:
    """End the stands of test workers that were interrupted."""
    for state in sorted((places.ROOT / ".stand").glob("gw*/state.json")):
        environment = {
            **os.environ,
            "PYTEST_XDIST_WORKER": state.parent.name,
            "PYTHONPATH": str(places.ROOT / "tests"),
        }
        subprocess.run([sys.executable, "-m", "stand", "down"], env=environment, check=False)


def stop_all() -> None:
    places.STAND_JSON.unlink(missing_ok=True)
    state = State.load()
    if state:
        for process in (state.emulator, state.gitlab, *state.more_gitlabs):
            processes.stop(process)
    places.STATE.unlink(missing_ok=True)
    places.API_ID.unlink(missing_ok=True)
    shutil.rmtree(places.scratch(), ignore_errors=True)


def one_more_gitlab(audience: str, port: int = 0, issuer_port: int | None = None) -> Issuer:
    """Start another instance, with keys of its own, that `down` ends as well."""
    with locked():
        state = State.load()
        if state is None or not state.is_running():
            raise StandError("the stand is not up: make up")
        port = port or processes.choose_port("", 0)
        process, issuer = start_gitlab(port, audience, issuer_port), Issuer(f"http://{HOST}:{port}")
        replace(state, more_gitlabs=(*state.more_gitlabs, process)).save()
        processes.wait_until(
            issuer.answers, process, what="a second GitLab", log=places.GITLAB_LOG, patience=30
        )
    return issuer
