"""What the endpoints need to answer, made once per process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sluicegate.aws.s3 import Artifacts
from sluicegate.aws.secrets import Secrets
from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.plan import Target
from sluicegate.gate.policy import Gate
from sluicegate.oidc.jwks import KeySource
from sluicegate.store.store import Store


class EventLog(Protocol):
    """Log one event per decision: what happened, to what, for whom, and by which rule."""

    def __call__(self, event: str, **fields: Any) -> None: ...


@dataclass(frozen=True)
class Context:
    """The gate file in force, the issuers' keys, the table, and the services that the gateway calls.

    `own` is the account and region of a stage without a target, `waits` the number of long polls at once.
    """

    gate: Gate
    keys: KeySource
    store: Store
    artifacts: Artifacts
    executions: Executions
    secrets: Secrets
    own: Target
    log: EventLog
    waits: int
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
