"""When the new version's share grew, which a comparison of the same minutes needs to know."""

from dataclasses import replace

from sluicegate.deployer.observe import larger_shares
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Entry, Status
from sluicegate.deployment.plan import TrafficStep
from support.simulation import START, new_deployment


def test_each_later_shift_has_its_time_and_share() -> None:
    steps = (TrafficStep(10, 60), TrafficStep(50, 60), TrafficStep(100, 60))
    timeline = [
        (Status.VERIFYING, 0),
        (Status.SHIFTING, 1),
        (Status.BAKING, 2),  # the first traffic
        (Status.BAKING, 30),  # a look
        (Status.AWAITING_APPROVAL, 62),
        (Status.SHIFTING, 70),
        (Status.SHIFTING, 71),  # a retry
        (Status.BAKING, 72),
        (Status.BAKING, 132),  # extended
        (Status.SHIFTING, 192),
        (Status.BAKING, 193),
    ]
    deployment = new_deployment(0, "0" * 64)
    deployment = replace(
        deployment,
        plan=replace(deployment.plan, steps=steps),
        timeline=tuple(
            Entry(seq, timestamp(START + after), status, "") for seq, (status, after) in enumerate(timeline)
        ),
    )
    assert larger_shares(deployment) == [(START + 72, 0.5), (START + 193, 1.0)]
    first = replace(deployment, timeline=deployment.timeline[:4])
    assert larger_shares(first) == []
    assert seconds(timestamp(START)) == START
