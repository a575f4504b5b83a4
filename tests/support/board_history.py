"""A history of deployments, made by the gateway and the deployer, for the board to show."""

from typing import Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from support.board import looked_at
from support.gateway_simulation import (
    GatewaySimulation,
    artifact,
)

PROD: Final = Rollout(
    steps=(TrafficStep(10, 300), TrafficStep(100, 0)),
    approval=86_400,
    watch=Watch(limits=(Limit(Metric.ERRORS, 100, 5, 2),)),
)
ADA: Final = {"user_id": "7", "user_login": "ada", "project_path": "acme/orders", "sha": "8c6d3b1a" * 5}


class History:
    """Releases of the function `orders`: one in both stages, one that bakes, and one that waits."""

    def __init__(self, at: GatewaySimulation) -> None:
        self.at = at
        first = artifact(at, b"first")
        self.dev = at.finish(self.deploy(first, "dev", "v1.0.0"))
        self.released = at.finish(self.approved(self.promote(first, "v1.0.0")))
        second = artifact(at, b"second")
        at.finish(self.deploy(second, "dev", "v1.1.0"))
        baking = at.run_until(self.approved(self.promote(second, "v1.1.0")), "baking")
        self.baking = baking.changed(at.clock(), "looked", observations=looked_at(baking))
        at.store.deployments.save(baking, self.baking)
        at.model.add("orders-mail", b"of somebody")
        mail = artifact(at, b"mail", "orders-mail")
        waits = at.deploy(mail, at.job(**ADA), function="orders-mail", release="v2.0.0")
        self.waiting = at.run_until(waits, "awaiting_approval")

    def deploy(self, sha256: str, stage: str, release: str) -> Deployment:
        return self.at.deploy(sha256, self.at.job(**ADA, ref=release), stage=stage, release=release)

    def promote(self, sha256: str, release: str) -> Deployment:
        return self.at.promote(self.at.job(**ADA, ref=release), release=release, artifact={"sha256": sha256})

    def approved(self, deployment: Deployment) -> Deployment:
        assert self.at.decide("approve", deployment).status == 202
        return self.at.now(deployment)
