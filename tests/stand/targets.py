"""The stand's targets: a second account, a second region, and both at once.

What a target has, its own stack makes, from the template that the build writes (`build/targets/NAME.yaml`).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from stand import places
from stand.emulator import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, REGION, Emulator

STACK: Final = "sluicegate-target"
_OFTEN: Final = {"Delay": 0.05, "MaxAttempts": 1200}


@dataclass(frozen=True)
class Target:
    """Where functions live, apart from the stack: as `targets` in a gate file has it."""

    account: str
    region: str
    external_id: str

    @property
    def role(self) -> str:
        return f"sluicegate-target-{self.region}"

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.role}"

    @property
    def where(self) -> dict[str, str]:
        """What a client of the account's administrator there is made with."""
        return {"access_key": self.account, "region": self.region}

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "role": self.role}


TARGETS: Final = {
    "other-account": Target(OTHER_ACCOUNT, REGION, "stand-3c9e-other-account"),
    "other-region": Target(ACCOUNT, OTHER_REGION, "stand-5f1d-other-region"),
    "other-both": Target(OTHER_ACCOUNT, OTHER_REGION, "stand-7a02-other-both"),
}
"""As in the stand's own gate file, by name. Another gate file may name the same, or others."""


def prepare(emulator: Emulator, deployer_role_arn: str, drift_role_arn: str, event_bus_arn: str) -> None:
    """Deploy the stack of each target of the gate file that was built, each in its account and region."""
    parameters = {
        "DeployerRoleArn": deployer_role_arn,
        "DriftRoleArn": drift_role_arn,
        "EventBusArn": event_bus_arn,
    }
    files = sorted((places.BUILD / "targets").glob("*.yaml"))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda file: _deploy(emulator, file, parameters), files))


def _deploy(emulator: Emulator, file: Path, parameters: dict[str, str]) -> None:
    template = file.read_text()
    account, region = next(_places(template, file.stem))
    formation = emulator.client("cloudformation", access_key=account, region=region)
    request = {
        "StackName": STACK,
        "TemplateBody": template,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    }
    try:
        formation.create_stack(**request)
    except formation.exceptions.AlreadyExistsException:
        with suppress(formation.exceptions.ClientError):  # nothing to update
            formation.update_stack(**request)
            formation.get_waiter("stack_update_complete").wait(StackName=STACK, WaiterConfig=_OFTEN)
    else:
        formation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig=_OFTEN)


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's own tags as nothing."""


_Loader.add_multi_constructor("!", lambda *_: None)


def _places(template: str, name: str) -> Iterator[tuple[str, str]]:
    """Account and region of the target of that name. A template has those of its likes too."""
    names = yaml.load(template, _Loader)["Mappings"]["Name"]  # noqa: S506 - a safe loader
    for region, accounts in names.items():
        for account, found in accounts.items():
            if found == name:
                yield account, region
