"""The stand's targets: a second account, a second region, and both at once.

What a target has, its own template makes (`build/targets/NAME.yaml`). Without that template here, a target is
no more than its account and region.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from stand.emulator import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, REGION


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
