"""The real template on the emulator: built and deployed with sam, as anybody would on AWS."""

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stand import places
from stand.emulator import REGION, Emulator
from stand.say import StandError

NAME: Final = "sluicegate"
PACKAGES: Final = "sluicegate-stand-packages"
"""The bucket that sam uploads code to."""

POLICIES: Final = (
    "target-policy.json",
    *(f"target-policy-{number}.json" for number in range(2, 7)),
    "target-roles.json",
    "prune-policy.json",
    "target-events.json",
)
"""What the template includes for the roles of targets, the deployer and the pruner, and for the bus."""


@dataclass(frozen=True)
class Stack:
    """What the deployed stack is made of."""

    api_id: str
    table: str
    artifact_bucket: str
    state_machine_arn: str
    deployer_role_arn: str
    drift_role_arn: str
    event_bus_arn: str
    evidence_bucket: str
    evidence_key: str


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


def build(
    gate_file: Path, directory: Path = places.BUILD, *, interpreter: str | Path = places.EMULATOR_PYTHON
) -> None:
    """`sam build` with this gate file, and with the dependencies for an interpreter or a version of Python.

    Loopback issuers are accepted here, and nowhere but on the stand. The target role's policies stay in
    `directory`, so that two stands may build at the same time.
    """
    directory = directory.absolute()
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "MAKE", "PYTHON"))
        },
        "SLUICEGATE_GATE_FILE": str(gate_file.resolve()),
        "SLUICEGATE_ALLOW_LOOPBACK": "1",
        "SLUICEGATE_TARGET_POLICY": str(directory / POLICIES[0]),
        "LAYER_PYTHON": str(interpreter),
        "AWS_DEFAULT_REGION": REGION,
    }
    sam("build", "--build-dir", directory, environment=environment)
    template = directory / "template.yaml"
    text = template.read_text()
    for policy in POLICIES:
        text, count = re.subn(rf"Location: \S+/{policy}\b", f"Location: {policy}", text)
        if not count:  # deployer and the look for drift share the roles of targets
            raise StandError(f"{template} does not include {policy}")
    template.write_text(text)


def deploy(
    emulator: Emulator, parameters: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
) -> Stack:
    """`sam deploy`, then look up what came of it. A parameter that is not given stays as it was."""
    s3 = emulator.client("s3")
    if PACKAGES not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=PACKAGES, CreateBucketConfiguration={"LocationConstraint": REGION})
    config = Path(__file__).parent / "samconfig.toml"
    template = places.BUILD / "template.yaml"
    sam(
        *("deploy", "--template-file", template, "--config-file", config),
        *_pairs("--parameter-overrides", parameters),
        *_pairs("--tags", tags),
        environment=emulator.environment(),
    )
    stack = look_up(emulator)
    lock_evidence(emulator, stack.evidence_bucket)
    return stack


def lock_evidence(emulator: Emulator, bucket: str) -> None:
    """Set the bucket's Object Lock as the template has it: the emulator's CloudFormation ignores it."""
    retention = {"Mode": "GOVERNANCE", "Days": 400}
    emulator.client("s3").put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
    )


def _pairs(option: str, values: Mapping[str, str] | None) -> list[str]:
    return [option, *(f'{name}="{value}"' for name, value in values.items())] if values else []


def look_up(emulator: Emulator) -> Stack:
    """What the stack's outputs say."""
    described = emulator.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described}
    names = (
        *("ApiId", "Table", "ArtifactBucket", "StateMachineArn"),
        *("DeployerRoleArn", "DriftRoleArn", "EventBusArn"),
        *("EvidenceBucket", "EvidenceKeyArn"),
    )
    return Stack(*(outputs[name] for name in names))


def sam(*arguments: str | Path, environment: Mapping[str, str]) -> None:
    """Run sam, quietly. Raises StandError with the end of what it said where it fails."""
    command = [places.VENV / "bin" / "sam", *arguments]
    # sam leaves directories behind where temporary files go.
    with tempfile.TemporaryDirectory() as scratch, places.SAM_LOG.open("a+b") as log:
        start = log.seek(0, os.SEEK_END)
        done = subprocess.run(
            command,
            cwd=places.ROOT,
            env={**environment, **own_environment(), "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        if done.returncode:
            log.seek(start)
            output = log.read().decode(errors="replace").rpartition("Build Failed\n")[2]
            raise StandError(f"sam {arguments[0]} failed:\n  " + "\n  ".join(output.splitlines()[-40:]))


def own_environment() -> dict[str, str]:
    """What sam gets of ours: our tools first, no telemetry, and nothing left in the home directory."""
    return {
        "PATH": f"{places.VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(places.STAND / "sam"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
