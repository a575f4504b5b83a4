"""What limits and alarms that only observe would have done: each is recorded once, and stops nothing."""

from collections.abc import Iterable, Iterator

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import AlarmReading, LimitFinding, Verdict, WouldHave
from sluicegate.rollout.analysis import find_alarm
from sluicegate.text import clean


def before_traffic(
    deployment: Deployment, alarms: Iterable[AlarmReading], now: float
) -> tuple[WouldHave, ...]:
    """Return which alarms would have stopped the deployment before any traffic."""
    return tuple(WouldHave(name, timestamp(now), message) for name, message in _of_alarms(deployment, alarms))


def after_look(
    deployment: Deployment, findings: Iterable[LimitFinding], alarms: Iterable[AlarmReading], now: float
) -> tuple[WouldHave, ...]:
    """Return what would have sent the version back at this look, and at none before."""
    found: dict[str, str] = dict(_of_alarms(deployment, alarms))
    for finding in findings:
        if finding.observe and finding.verdict is Verdict.BAD:
            found.setdefault(finding.limit, finding.message)
    known = {one.limit for one in deployment.would_have if one.step is not None}
    look = len(deployment.observations) + 1
    return tuple(
        WouldHave(limit, timestamp(now), clean(message), deployment.step, look)
        for limit, message in found.items()
        if limit not in known
    )


def described(several: Iterable[WouldHave]) -> str:
    """Return what would have happened, for the timeline."""
    return "; ".join(
        f"{one.message}: would have {'gone back' if one.step is not None else 'been refused'} (mode: observe)"
        for one in several
    )


def _of_alarms(deployment: Deployment, alarms: Iterable[AlarmReading]) -> Iterator[tuple[str, str]]:
    watch = deployment.plan.watch
    for alarm in alarms if watch and watch.observe else ():
        if reason := find_alarm((alarm,)):
            yield f"alarm {clean(alarm.name)}", clean(reason.message)
