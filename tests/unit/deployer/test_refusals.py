"""How a deployment ends where AWS refuses, and what its record says about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from support.simulation import Simulation, simulation


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def refusal(code: str, message: str, status: int = 400, call: str = "AssumeRole") -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, call)


@dataclass
class Refusing:
    """STS, which refuses for so many seconds from the first call on."""

    simulation: Simulation
    granted: Any
    error: ClientError
    seconds: float = float("inf")
    calls: list[float] = field(default_factory=list)

    def access(self, deployment: Deployment) -> TargetAccess:
        self.calls.append(self.simulation.clock())
        if self.simulation.clock() - self.calls[0] < self.seconds:
            raise self.error
        return cast(TargetAccess, self.granted.access(deployment))


def refuse(simulated: Simulation, error: ClientError, seconds: float = float("inf")) -> Refusing:
    refusing = Refusing(simulated, simulated.runner._targets, error, seconds)
    simulated.runner._targets = cast(Any, refusing)
    return refusing


def deployed(simulated: Simulation, **fields: Any) -> Deployment:
    simulated.model.add("orders", b"old")
    return simulated.run(simulated.accept(simulated.upload("orders", b"new"), **fields))


def test_a_refusal_that_stays_ends_at_once_with_awss_own_words(simulated: Simulation) -> None:
    words = "Packed size of session tags consumes 104% of allotted space."
    sts = refuse(simulated, refusal("PackedPolicyTooLarge", words))
    ended = deployed(simulated)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.reason is not None
    assert (ended.reason.code, ended.reason.data) == ("aws_refused", {"error": "PackedPolicyTooLarge"})
    assert words in ended.reason.message
    assert "AssumeRole" in ended.reason.message
    assert len(sts.calls) == 1
