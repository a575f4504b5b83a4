"""The steps of a deployment as a line: what is done, where it is, what is to come."""

from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.durations import duration
from sluicegate.deployment.model import Deployment, Status


@dataclass(frozen=True)
class Stop:
    """One stop of the line. `state` is done, now, todo, or ended: the deployment got no further."""

    name: str
    detail: str
    state: str


_PASSED: Final = {
    Status.PUBLISHING: "publish",
    Status.VERIFYING: "verify",
    Status.AWAITING_APPROVAL: "approval",
}


def line(deployment: Deployment) -> list[Stop]:
    """Return the stops of a deployment, in order."""
    stops = _stops(deployment)
    at = _position(deployment, [key for key, _, _ in stops])
    over = deployment.status.final or deployment.status is Status.ROLLING_BACK
    states = [
        "done" if index < at else "todo" if index > at else ("ended" if over else "now")
        for index in range(len(stops))
    ]
    return [Stop(name, detail, state) for (_, name, detail), state in zip(stops, states, strict=True)]


def _stops(deployment: Deployment) -> list[tuple[str, str, str]]:
    plan = deployment.plan
    stops = [("accepted", "Accepted", "")]
    if plan.approval is not None and not plan.unapproved_percent:
        stops.append(("approval", "Approval", ""))
    if deployment.action == "deploy":
        stops.append(("publish", "Publish", ""))
    stops.append(("verify", "Smoke test" if plan.smoke else "Check", ""))
    for index, step in enumerate(plan.steps):
        watched = f"for {duration(step.bake)}" if step.bake else ""
        stops.append((f"step{index}", f"{step.percent} %", watched))
    stops.append(("end", "Done", ""))
    return stops


def _position(deployment: Deployment, keys: list[str]) -> int:
    """Return the index of the stop where it is, or where it ended; past the last for a success."""
    if deployment.status is Status.SUCCEEDED:
        return len(keys)
    if deployment.traffic_since is not None and f"step{deployment.step}" in keys:
        return keys.index(f"step{deployment.step}")
    if deployment.status in (Status.SHIFTING, Status.BAKING):
        return keys.index(f"step{deployment.step}")
    reached = [_PASSED[entry.status] for entry in deployment.timeline if entry.status in _PASSED]
    return max((keys.index(key) for key in reached if key in keys), default=0)
