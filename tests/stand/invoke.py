"""`make invoke`: one event of `events/` in a container, as sam runs it, with a fresh token against the stand.

The function gets what the deployed one has in its environment. Two things differ for it in a container: the
emulator is at the container network's gateway, where a forwarder listens as long as the call takes; and the
issuer's keys are compiled into the gate, as for a GitLab that AWS cannot reach, as loopback is another.
"""

import ipaddress
import json
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import yaml

from stand import control, places, stack
from stand.api import HANDLER, Stand, package
from stand.forward import forwarded
from stand.gitlab import KEYS
from stand.say import StandError, progress

BUILD: Final = places.STAND / "invoke"
IMAGE: Final = "public.ecr.aws/lambda/python:3.13-x86_64"
GATEWAY: Final = "GatewayFunction"
GATEWAY_IAM: Final = "GatewayIamFunction"
DEPLOYER: Final = "DeployerFunction"
WAKER: Final = "WakerFunction"
APPROVER: Final = {
    "user_id": "8",
    "user_login": "grace",
    "ref": "main",
    "ref_type": "branch",
    "pipeline_source": "web",
    "pipeline_id": "600",
}
BRANCH: Final = {"ref": "quick-fix", "ref_type": "branch", "ref_protected": "false"}
LONG_AGO: Final = 1_767_225_600
"""Seconds: the first of January 2026, UTC."""


@dataclass(frozen=True)
class Use:
    """Which function an event is for, and what makes it fresh."""

    function: str
    freshen: Callable[[Stand, dict[str, Any]], None]


def invoke(name: str) -> int:
    """Run an event by its name; the function's answer goes to standard output. Raises StandError."""
    if name not in USES:
        raise StandError(f"there is no event {name!r}. EVENT is one of {', '.join(sorted(USES))}")
    stand, use = Stand.running(), USES[name]
    if not engine_answers():
        raise StandError("no container engine answers: install and start Docker")
    event = json.loads((places.ROOT / "events" / f"{name}.json").read_text())
    use.freshen(stand, event)
    build()
    with reachable(stand) as address:
        configure(stand, address)
        # sam hands a variable of its own environment to a function that has one of this name.
        environment = stand.emulator.environment() | stack.own_environment() | {"AWS_ENDPOINT_URL": address}
        return run(use.function, event, environment=environment)


def run(function: str, event: dict[str, Any], *, environment: dict[str, str]) -> int:
    command: list[str | Path] = [places.VENV / "bin/sam", "local", "invoke", function, "--event", "-"]
    command += ["--template", BUILD / "template.yaml"]
    if image_is_here():
        command.append("--skip-pull-image")
    done = subprocess.run(
        command,
        input=json.dumps(event),
        text=True,
        cwd=places.ROOT,
        env=environment,
        stderr=sys.stderr,
        check=False,
    )
    return done.returncode


def bearer(event: dict[str, Any], token: str) -> None:
    event["headers"]["Authorization"] = f"Bearer {token}"
    event["multiValueHeaders"]["Authorization"] = [f"Bearer {token}"]


def released_for(stand: Stand, event: dict[str, Any]) -> None:
    """See that the function of a request exists, and its artifact."""
    function = json.loads(event["body"])["function"]
    if stand.alias(function, "dev") is None:
        stand.create_function(function)
    stand.upload(function, package(HANDLER % "v1.0.0"), token=stand.token())


def released(stand: Stand, event: dict[str, Any]) -> None:
    """A tag's job, whose artifact is there and whose function exists."""
    released_for(stand, event)
    bearer(event, stand.token())


def signed(event: dict[str, Any]) -> None:
    """Another session and another request: one that was bound to a request would be refused."""
    session = f"ASIA{secrets.token_hex(8).upper()}"
    event["requestContext"]["identity"]["accessKey"] = session
    if event["body"]:
        event["body"] = json.dumps(json.loads(event["body"]) | {"idempotency_key": secrets.token_hex(16)})


def released_by_role(stand: Stand, event: dict[str, Any]) -> None:
    """A job's role, whose artifact is there and whose function exists."""
    released_for(stand, event)
    signed(event)


def released_by_both(stand: Stand, event: dict[str, Any]) -> None:
    """The same, with the ID token of a tag's job beside the signature."""
    released_for(stand, event)
    signed(event)
    event["headers"]["Sluicegate-Id-Token"] = token = stand.token()
    event["multiValueHeaders"]["Sluicegate-Id-Token"] = [token]


def awaited(stand: Stand, event: dict[str, Any]) -> None:
    """A second person's job, and a deployment that waits for one: another one if there is one that does."""
    function, token = "orders-api", stand.token()
    if stand.alias(function, "dev") is None:
        stand.create_function(function)
    sha256 = stand.upload(function, package(HANDLER % "v1.0.0"), token=token)
    wanted = {"action": "deploy", "function": function, "stage": "approved", "artifact": {"sha256": sha256}}
    asked = stand.http("POST", "/deployments", {**wanted, "on_busy": "supersede"}, token=token)
    event["pathParameters"]["id"] = asked.raise_for_status().json()["id"]
    bearer(event, stand.token(**APPROVER))


def latest_deployment(stand: Stand, event: dict[str, Any]) -> None:
    """A deployment that there is, where there is one: a step of it may run again at any time."""
    asked = stand.http("GET", "/deployments", token=stand.token(), params={"limit": 1})
    answer = asked.raise_for_status().json()
    for deployment in answer["items"]:
        event["id"] = deployment["id"]


USES: Final = {
    "accepted": Use(GATEWAY, released),
    "refused": Use(GATEWAY, lambda stand, event: bearer(event, stand.token(**BRANCH))),
    "expired-token": Use(GATEWAY, lambda stand, event: bearer(event, stand.token(iat=LONG_AGO))),
    "malformed-body": Use(GATEWAY, lambda stand, event: bearer(event, stand.token())),
    "whoami": Use(GATEWAY, lambda stand, event: bearer(event, stand.token())),
    "approve": Use(GATEWAY, awaited),
    "iam-accepted": Use(GATEWAY_IAM, released_by_role),
    "iam-person": Use(GATEWAY_IAM, lambda _, event: signed(event)),
    "iam-and-id-token": Use(GATEWAY_IAM, released_by_both),
    "deployer-step": Use(DEPLOYER, latest_deployment),
    "alarm": Use(WAKER, lambda *_: None),
}


def build() -> None:
    """Build for the runtime's own Python, with the stand's gate file, once for each state of the tree."""
    state = control.State.load()
    gate_file = Path(state.gate_file if state else "")
    stamp, made = BUILD / ".stamp", stack.fingerprint(gate_file)
    if not (stamp.is_file() and stamp.read_text() == made):
        progress("building the template for the container (sam build)")
        shutil.rmtree(BUILD, ignore_errors=True)
        stack.build(gate_file, BUILD, interpreter="3.13")
        stamp.write_text(made)
    gate = BUILD / "GateLayer/sluicegate/gate.json"
    compiled = json.loads(gate.read_text())
    for issuer in compiled["issuers"]:
        if issuer["url"].startswith("http://"):
            issuer["jwks"] = (
                httpx2.get(issuer["url"] + KEYS, timeout=5, trust_env=False).raise_for_status().text
            )
    gate.write_text(json.dumps(compiled))


def configure(stand: Stand, address: str) -> None:
    """Give each function the environment that the deployed one has, and the emulator's address."""
    file = BUILD / "template.yaml"
    template = yaml.safe_load(file.read_text())
    deployed = stand.client("cloudformation").describe_stack_resources(StackName=stack.NAME)["StackResources"]
    lambda_ = stand.client("lambda")
    for resource in deployed:
        if resource["ResourceType"] == "AWS::Lambda::Function":
            found = lambda_.get_function_configuration(FunctionName=resource["PhysicalResourceId"])
            variables = found["Environment"]["Variables"] | {"AWS_ENDPOINT_URL": address}
            properties = template["Resources"][resource["LogicalResourceId"]]["Properties"]
            properties["Environment"] = {"Variables": variables}
    template["Globals"]["Function"].pop("Environment", None)
    file.write_text(yaml.safe_dump(template, sort_keys=False))


@contextmanager
def reachable(stand: Stand) -> Iterator[str]:
    """The emulator's address for containers; those in a virtual machine have a name for it."""
    port = stand.emulator.port
    if platform.system() != "Linux":
        yield f"http://host.docker.internal:{port}"
        return
    gateway = bridge_gateway(docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"))
    with forwarded(gateway, port):
        yield f"http://{gateway}:{port}"


def bridge_gateway(configuration: str) -> str:
    """This machine's address in containers' default network: the first, where Docker does not tell it."""
    for network in json.loads(configuration):
        subnet = ipaddress.ip_network(network["Subnet"])
        if subnet.version == 4:
            return str(network.get("Gateway") or next(subnet.hosts()))
    raise StandError("the container engine's default network has no IPv4 address")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StandError(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def image_is_here() -> bool:
    return (
        subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode
        == 0
    )
