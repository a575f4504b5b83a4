"""The environment variables that the template sets, one class for each function.

A function reads its settings at its first event, never at import. Every variable is required: one that is
missing or empty is an error that names it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from sluicegate.deployment.plan import Target

FIRST_LOG: Final = "1"
"""The name of a stack's log of evidence, until an operator begins another one."""


class MissingSetting(Exception):
    """An environment variable is missing or empty."""

    def __init__(self, name: str) -> None:
        super().__init__(f"environment variable {name} is not set; template.yaml sets it for this function")
        self.name = name


@dataclass(frozen=True)
class GatewaySettings:
    """The gateways' and the watchers': they are one code. `own` is the account and region of the stack.

    `waits` is the number of long polls that may wait at once, in all processes with the same `poll_pool`.
    `signed` says whether it answers the calls that API Gateway authorizes by a signature, or all others.
    """

    table: str
    bucket: str
    state_machine: str
    own: Target
    gate: str
    own_functions: tuple[str, ...]
    waits: int
    poll_pool: str
    signed: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            bucket=_required(environ, "SLUICEGATE_BUCKET"),
            state_machine=_required(environ, "SLUICEGATE_STATE_MACHINE_ARN"),
            own=Target(_required(environ, "SLUICEGATE_ACCOUNT"), _required(environ, "AWS_REGION")),
            gate=_required(environ, "SLUICEGATE_GATE"),
            own_functions=_names(environ, "SLUICEGATE_OWN_FUNCTIONS"),
            waits=_number(environ, "SLUICEGATE_WAITS"),
            poll_pool=_required(environ, "SLUICEGATE_POLL_POOL"),
            signed=_flag(environ, "SLUICEGATE_SIGNED_CALLS"),
        )


@dataclass(frozen=True)
class BoardSettings:
    """The board's. `own` is the account and region of the stack, `files` where templates and assets are.

    `log` is the name of the log of evidence.
    """

    table: str
    own: Target
    gate: str
    own_functions: tuple[str, ...]
    files: str
    log: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            own=Target(_required(environ, "SLUICEGATE_ACCOUNT"), _required(environ, "AWS_REGION")),
            gate=_required(environ, "SLUICEGATE_GATE"),
            own_functions=_names(environ, "SLUICEGATE_OWN_FUNCTIONS"),
            files=_required(environ, "SLUICEGATE_BOARD"),
            log=_required(environ, "SLUICEGATE_EVIDENCE_LOG"),
        )


@dataclass(frozen=True)
class DeployerSettings:
    """The deployer's. `target_role` and `external_id` let it enter a target account.

    `kms_key` is the ARN of the operator's key that encrypts the artifacts, or None for a key of AWS.
    """

    table: str
    bucket: str
    target_role: str
    external_id: str
    kms_key: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            bucket=_required(environ, "SLUICEGATE_BUCKET"),
            target_role=_required(environ, "SLUICEGATE_TARGET_ROLE"),
            external_id=_required(environ, "SLUICEGATE_EXTERNAL_ID"),
            kms_key=None if (key := _required(environ, "SLUICEGATE_KMS_KEY")) == "none" else key,
        )


@dataclass(frozen=True)
class JanitorSettings:
    """The janitor's."""

    table: str
    state_machine: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            state_machine=_required(environ, "SLUICEGATE_STATE_MACHINE_ARN"),
        )


@dataclass(frozen=True)
class WakerSettings:
    """The waker's."""

    table: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(table=_required(environ, "SLUICEGATE_TABLE"))


@dataclass(frozen=True)
class RelaySettings:
    """The relay's. `board` is the address of the board."""

    bus: str
    board: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(bus=_required(environ, "SLUICEGATE_BUS"), board=_required(environ, "SLUICEGATE_BOARD_URL"))


@dataclass(frozen=True)
class NotifierSettings:
    """The notifier's. `queue` and `dead_letters` are the URLs of its queues, `board` that of the board."""

    table: str
    queue: str
    dead_letters: str
    gate: str
    own_functions: tuple[str, ...]
    board: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            queue=_required(environ, "SLUICEGATE_QUEUE"),
            dead_letters=_required(environ, "SLUICEGATE_DEAD_LETTERS"),
            gate=_required(environ, "SLUICEGATE_GATE"),
            own_functions=_names(environ, "SLUICEGATE_OWN_FUNCTIONS"),
            board=_required(environ, "SLUICEGATE_BOARD_URL"),
        )


class MessengerSettings(NotifierSettings):
    """The messenger's, which needs what the notifier needs: for a queue, a table and a board of links."""


@dataclass(frozen=True)
class DriftSettings:
    """Those of the look for drift. `own` is the account and region of the stack.

    `target_role` and `external_id` let it enter the stack's own target.
    """

    table: str
    own: Target
    gate: str
    own_functions: tuple[str, ...]
    target_role: str
    external_id: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            own=Target(_required(environ, "SLUICEGATE_ACCOUNT"), _required(environ, "AWS_REGION")),
            gate=_required(environ, "SLUICEGATE_GATE"),
            own_functions=_names(environ, "SLUICEGATE_OWN_FUNCTIONS"),
            target_role=_required(environ, "SLUICEGATE_TARGET_ROLE"),
            external_id=_required(environ, "SLUICEGATE_EXTERNAL_ID"),
        )


class PrunerSettings(DriftSettings):
    """The pruner's, which enters the stack's own target as the look for drift does."""


@dataclass(frozen=True)
class SealerSettings:
    """The sealer's. `stack` is `ACCOUNT/REGION/NAME`, and with a `log` of its own `ACCOUNT/REGION/NAME/LOG`.

    `keys` are the ARNs of the keys that sign.
    """

    table: str
    bucket: str
    keys: tuple[str, ...]
    stack: str
    log: str
    gate: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables. Raises MissingSetting."""
        log = _required(environ, "SLUICEGATE_EVIDENCE_LOG")
        place = (_required(environ, "SLUICEGATE_ACCOUNT"), _required(environ, "AWS_REGION"))
        name = _required(environ, "SLUICEGATE_STACK")
        return cls(
            table=_required(environ, "SLUICEGATE_TABLE"),
            bucket=_required(environ, "SLUICEGATE_EVIDENCE_BUCKET"),
            keys=_names(environ, "SLUICEGATE_EVIDENCE_KEYS"),
            stack="/".join((*place, name) if log == FIRST_LOG else (*place, name, log)),
            log=log,
            gate=_required(environ, "SLUICEGATE_GATE"),
        )

    @property
    def prefix(self) -> str:
        """What the names of the log's objects begin with."""
        return "" if self.log == FIRST_LOG else f"log-{self.log}/"


def _required(environ: Mapping[str, str], name: str) -> str:
    if value := environ.get(name):
        return value
    raise MissingSetting(name)


def _number(environ: Mapping[str, str], name: str) -> int:
    """Return a whole number from 1; anything else is an error too."""
    value = _required(environ, name)
    if value.isascii() and value.isdigit() and int(value):
        return int(value)
    raise MissingSetting(name)


def _flag(environ: Mapping[str, str], name: str) -> bool:
    """Return true or false; anything else is an error too."""
    match _required(environ, name):
        case "true":
            return True
        case "false":
            return False
        case _:
            raise MissingSetting(name)


def _names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return a list of names, separated by commas; none at all is an error too."""
    if names := tuple(filter(None, _required(environ, name).split(","))):
        return names
    raise MissingSetting(name)
