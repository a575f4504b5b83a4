"""What the template tells a function through its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.deployment.plan import Target


@dataclass(frozen=True)
class Config:
    """Names of the stack's own resources; empty where a function has no business with one."""

    table: str
    bucket: str
    bus: str
    state_machine: str
    own: Target
    target_role: str
    external_id: str
    gate: str
    own_functions: tuple[str, ...]
    queue: str = ""
    dead_letters: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Config":
        """Read once per process, at its first use and never at import."""
        return cls(
            table=environ["SLUICEGATE_TABLE"],
            bucket=environ.get("SLUICEGATE_BUCKET", ""),
            bus=environ.get("SLUICEGATE_BUS", ""),
            state_machine=environ.get("SLUICEGATE_STATE_MACHINE_ARN", ""),
            own=Target(environ["SLUICEGATE_ACCOUNT"], environ["AWS_REGION"]),
            target_role=environ.get("SLUICEGATE_TARGET_ROLE", ""),
            external_id=environ.get("SLUICEGATE_EXTERNAL_ID", ""),
            gate=environ.get("SLUICEGATE_GATE", "/opt/sluicegate/gate.json"),
            queue=environ.get("SLUICEGATE_QUEUE", ""),
            dead_letters=environ.get("SLUICEGATE_DEAD_LETTERS", ""),
            own_functions=tuple(filter(None, environ.get("SLUICEGATE_OWN_FUNCTIONS", "").split(","))),
        )
