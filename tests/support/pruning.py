"""The pruner over a table and a model of Lambda, and releases that leave versions to prune."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from sluicegate.aws.lambda_versions import CodeStorage, NumberedVersion, VersionDeleter, VersionsApi
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.gate.policy import Gate
from sluicegate.pruning.places import PruneLook
from sluicegate.pruning.pruner import Pruner, PruneRun
from support.gate_documents import entry
from support.gateway_simulation import gate_of
from support.lambda_versions_model import VersionsModel
from support.simulation import OWN, Simulation, simulation

PRUNE: dict[str, Any] = {"keep": 2, "rollbacks": 2, "older_than": 30 * 86_400, "dry_run": False}
MONTH = 31 * 86_400


def gate(**changes: Any) -> Gate:
    return gate_of(functions=[entry("orders*", prune=PRUNE | changes)])


@dataclass
class PlaceModel:
    """The stack's own account and region. `sessions` are the versions for which one was made."""

    at: Simulation
    model: VersionsModel
    refusal: Exception | None = None
    sessions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return OWN

    def storage(self) -> CodeStorage:
        return VersionsApi(cast(Any, self.model)).code_storage()

    def look(self) -> PruneLook:
        return PruneLook(cast(Any, self.model), cast(Any, self.at.cloudwatch))

    def deleter(self, function: str, number: NumberedVersion) -> VersionDeleter:
        if self.refusal is not None:
            raise self.refusal
        self.sessions.append((function, number.text))
        return VersionDeleter(cast(Any, self.model), function, number)


@dataclass
class PruningSimulation:
    at: Simulation
    model: VersionsModel
    place: PlaceModel

    def release(self, *codes: str, function: str = "orders", **fields: Any) -> list[Deployment]:
        """Release each code, one after the other."""
        done = []
        for code in codes:
            sha256 = self.at.upload(function, code.encode())
            done.append(self.at.run(self.at.accept(sha256, function=function, **fields)))
            assert done[-1].status == "succeeded"
        return done

    def age(self, seconds: float = MONTH) -> None:
        self.at.clock.now += seconds

    def prune(self, used: Gate | None = None, until: float = 1e12) -> PruneRun:
        clock = self.at.clock
        return Pruner(self.at.store, used or gate(), cast(Any, self.place), clock, clock.sleep).run(until)

    def versions(self, function: str = "orders") -> list[str]:
        return sorted(self.model.functions[function]["versions"], key=int)

    def reasons(self, version: str, function: str = "orders") -> list[tuple[str, str]]:
        report = self.at.store.prunings.report(OWN, function)
        assert report is not None
        return next(list(one.keep) for one in report.versions if one.version == version)


@contextmanager
def pruning() -> Iterator[PruningSimulation]:
    with simulation() as at:
        model = VersionsModel()
        at.model = model
        at.__post_init__()
        model.add("orders")
        yield PruningSimulation(at, model, PlaceModel(at, model))
