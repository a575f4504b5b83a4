"""Processes, and the clients of AWS that they have: every call may fail, before it takes effect or after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ReadTimeoutError

from simulation.engine import Engine
from support.refusals import refused
from support.table_model import cancelled

THROTTLES: Final[Mapping[str, tuple[str, int]]] = {
    "lambda": ("TooManyRequestsException", 429),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "stepfunctions": ("ThrottlingException", 400),
    "s3": ("SlowDown", 503),
    "cloudwatch": ("Throttling", 400),
    "events": ("ThrottlingException", 400),
    "sqs": ("ThrottlingException", 400),
    "secretsmanager": ("ThrottlingException", 400),
}
"""The error of a service that has had too many calls, and its status."""

FAILURES: Final[Mapping[str, tuple[str, int]]] = {
    "lambda": ("ServiceException", 500),
    "dynamodb": ("InternalServerError", 500),
    "stepfunctions": ("InternalServerError", 500),
    "s3": ("InternalError", 500),
    "cloudwatch": ("InternalServiceFault", 500),
    "events": ("InternalException", 500),
    "sqs": ("InternalFailure", 500),
    "secretsmanager": ("InternalServiceError", 500),
}

READ_TIMEOUT: Final = 10.0
"""Seconds that a client waits for an answer (`aws.clients`)."""

DELAYS: Final = (0.05, 0.3, 1.0, 4.0, 9.0)
"""Seconds that a slow call takes."""

LATE: Final = (0.5, 2.0, 6.0, 20.0)
"""Seconds after which a call takes effect whose client has given up."""

KINDS: Final = (
    "none", "slow", "throttled", "failed", "lost", "late", "killed before", "killed after", "meanwhile",
)  # fmt: skip
"""What may happen to a call.

`lost`: it takes effect, and its answer never arrives. `late`: it takes effect after its client has given up.
`meanwhile`: somebody else changes something just before it.
"""


@dataclass
class Faults:
    """How likely each kind of fault is at a call; no kind is, after `stop`."""

    chances: dict[str, float] = field(default_factory=dict)
    kills: int = 0
    """Processes that may still be killed: every execution ends after so many of its own."""

    meanwhile: Callable[[], None] = lambda: None
    """What somebody else does."""

    held_up: dict[tuple[str, str], float] = field(default_factory=dict)
    """The seconds by which a function's next call of a name begins late."""

    def stop(self) -> None:
        """Let nothing fail any more."""
        self.chances = {}

    def weights(self, may_die: bool) -> list[tuple[str, float]]:
        """Return the kinds with their weights; the first is that nothing happens."""
        given = [(kind, self.chances.get(kind, 0.0)) for kind in KINDS[1:]]
        given = [(kind, 0.0 if kind.startswith("killed") and not may_die else one) for kind, one in given]
        return [("none", max(0.0, 1.0 - sum(one for _, one in given))), *given]


@dataclass(eq=False)
class Process:
    """A sandbox of one function: what it caches, and a clock that may be wrong by some seconds."""

    engine: Engine
    name: str
    skew: float = 0.0
    services: dict[str, Any] = field(default_factory=dict)
    may_die: bool = True

    def clock(self) -> float:
        """Return what this process takes for the time."""
        return self.engine.now + self.skew

    def sleep(self, seconds: float) -> None:
        """Wait, as `time.sleep` does."""
        self.engine.sleep(seconds)


class Client:
    """A client of one service in one process. `model` answers, `effect` runs what it answers."""

    def __init__(
        self,
        process: Process,
        service: str,
        model: Any,
        faults: Faults,
        effect: Callable[[str, Callable[..., Any], dict[str, Any]], Any],
    ) -> None:
        self._process, self._service, self._model = process, service, model
        self._faults, self._effect = faults, effect

    def __getattr__(self, name: str) -> Any:
        if name == "get_paginator":
            return self._paginator
        found = getattr(self._model, name)
        if name == "exceptions" or not callable(found):
            return found

        def call(**arguments: Any) -> Any:
            return self._call(name, found, arguments)

        setattr(self, name, call)
        return call

    def _paginator(self, name: str) -> "_Pages":
        return _Pages(
            lambda **arguments: self._call(
                name, lambda **given: list(self._model.get_paginator(name).paginate(**given)), arguments
            )
        )

    def _call(self, name: str, found: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        engine, faults = self._process.engine, self._faults
        if faults.held_up:
            engine.sleep(faults.held_up.pop((self._process.name.split()[0], name), 0.0))
        engine.pause()
        kind = "none"
        if faults.chances:
            may_die = self._process.may_die and faults.kills > 0
            kind = engine.choices.weighted(faults.weights(may_die))
        if kind != "none":
            engine.note(f"{self._service}.{name}: {kind}")
        match kind:
            case "slow":
                engine.sleep(engine.choices.one_of(DELAYS))
            case "throttled" if name == "transact_write_items" and engine.choices.chance(0.5):
                raise cancelled([{"Code": "TransactionConflict"}] * len(arguments["TransactItems"]))
            case "throttled":
                raise self._error(THROTTLES, name)
            case "failed":
                raise self._error(FAILURES, name)
            case "late":
                delay = engine.choices.one_of(LATE)
                about = engine.current.about if engine.current else None
                engine.spawn(
                    f"late {name}", lambda: self._late(name, found, arguments), READ_TIMEOUT + delay, about
                )
                if engine.choices.chance(0.3):
                    faults.meanwhile()
                engine.sleep(READ_TIMEOUT)
                raise ReadTimeoutError(endpoint_url=f"https://{self._service}")
            case "killed before":
                self._die()
            case "meanwhile":
                faults.meanwhile()
        answer = self._effect(name, found, arguments)
        match kind:
            case "lost":
                engine.sleep(READ_TIMEOUT)
                raise ReadTimeoutError(endpoint_url=f"https://{self._service}")
            case "killed after":
                self._die()
        engine.pause()
        return answer

    def _late(self, name: str, found: Callable[..., Any], arguments: dict[str, Any]) -> None:
        try:
            self._effect(name, found, arguments)
        except AssertionError:
            raise
        except Exception as error:  # nobody hears of it
            self._process.engine.note(f"late {name}: {type(error).__name__}")

    def _die(self) -> None:
        self._faults.kills -= 1
        self._process.engine.die()

    def _error(self, errors: Mapping[str, tuple[str, int]], call: str) -> Exception:
        code, status = errors[self._service]
        return refused(code, "simulated", status, call)


@dataclass
class _Pages:
    paginate: Callable[..., Any]
