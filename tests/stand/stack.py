"""The real template on the emulator: built and deployed with sam, as anybody would on AWS."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stand import places
from stand.emulator import Emulator
from stand.say import StandError

NAME: Final = "sluicegate"
PACKAGES: Final = "sluicegate-stand-packages"
"""The bucket that sam uploads code to."""


@dataclass(frozen=True)
class Stack:
    """What the deployed stack is made of."""

    api_id: str
    table: str
    artifact_bucket: str
    state_machine_arn: str


def fingerprint(gate_file: Path) -> str:
    """A digest of everything that a deployment is made from."""
    digest = hashlib.sha256()
    for file in [places.ROOT / "template.yaml", *_sources(), gate_file]:
        digest.update(f"{file}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    for directory in ("functions", "layers"):
        for folder, folders, files in os.walk(places.ROOT / directory):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (Path(folder, name) for name in sorted(files))


def build(gate_file: Path) -> None:
    """`sam build`, with the dependencies for the emulator's interpreter and this gate file.

    Loopback issuers are accepted here, and nowhere but on the stand.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "SLUICEGATE_GATE_FILE": str(gate_file.resolve()),
        "SLUICEGATE_ALLOW_LOOPBACK": "1",
        "LAYER_PYTHON": str(places.EMULATOR_PYTHON),
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    _sam("build", "--build-dir", places.BUILD, environment=environment)


def deploy(emulator: Emulator) -> Stack:
    """`sam deploy`, then look up what came of it."""
    s3 = emulator.client("s3")
    if PACKAGES not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=PACKAGES, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    _sam(
        *(
            "deploy",
            "--template-file",
            places.BUILD / "template.yaml",
            "--stack-name",
            NAME,
            "--s3-bucket",
            PACKAGES,
        ),
        *("--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND", "--no-confirm-changeset"),
        *("--no-fail-on-empty-changeset", "--no-progressbar"),
        environment=emulator.environment(),
    )
    return look_up(emulator)


def look_up(emulator: Emulator) -> Stack:
    """Find the stack's resources by type."""
    found = emulator.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}
    kinds = {resource["ResourceType"]: resource["PhysicalResourceId"] for resource in found}
    return Stack(
        api_id=kinds["AWS::ApiGateway::RestApi"],
        table=kinds["AWS::DynamoDB::Table"],
        artifact_bucket=ids["ArtifactBucket"],
        state_machine_arn=kinds["AWS::StepFunctions::StateMachine"],
    )


def _sam(*arguments: str | Path, environment: dict[str, str]) -> None:
    command = [places.VENV / "bin" / "sam", *arguments]
    own = {
        "PATH": f"{places.VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(places.STAND / "sam"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with places.SAM_LOG.open("a+b") as log:
        start = log.seek(0, os.SEEK_END)
        done = subprocess.run(
            command,
            cwd=places.ROOT,
            env=environment | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        if done.returncode:
            log.seek(start)
            told = log.read().decode(errors="replace").strip().splitlines()
            raise StandError(f"sam {arguments[0]} failed:\n  " + "\n  ".join(told[-40:]))
