"""A fix that is deployed while alarms are firing: which alarms it may overlook, and for how long.

Pure decisions. security.md#fix-forward
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sluicegate.deployment.durations import duration, seconds, timestamp
from sluicegate.deployment.fix_forward import FixForward, OverlookedAlarm
from sluicegate.deployment.model import Deployment, Reason
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.deployment.plan import SILENT_WITHIN
from sluicegate.text import clean

# Before the first move


def find_firing(alarms: Iterable[AlarmReading]) -> tuple[OverlookedAlarm, ...]:
    """Return the alarms that are firing."""
    return tuple(
        OverlookedAlarm(one.name, one.since, one.reason and clean(one.reason), one.link)
        for one in alarms
        if one.state is AlarmState.ALARM
    )


def refusal(deployment: Deployment, firing: Sequence[OverlookedAlarm]) -> Reason:
    """Return why a plain deployment does not begin, and what ships the fix."""
    first, *others = firing
    since = f" since {first.since}" if first.since else ""
    more = f", and {len(others)} more" if others else ""
    command = (
        f"sluicegate deploy {deployment.function} {deployment.stage} --artifact {deployment.sha256}"
        " --fix-forward --reason TEXT"
    )
    message = (
        f"before any traffic: alarm {first.name} is firing{since}{more}. A rule with fix-forward may ship the"
        f" fix: {command} (component: fix_forward, reason)"
    )
    data = {"alarm": first.name, "since": first.since, "reason": first.reason, "link": first.link}
    known = {name: value for name, value in data.items() if value is not None}
    return Reason("alarm", message, {**known, "command": command})


def with_overlooked(deployment: Deployment, firing: Sequence[OverlookedAlarm]) -> dict[str, Any]:
    """Return the changed field of a deployment that overlooks what is firing; none for a plain one."""
    fix = deployment.fix_forward
    return {} if fix is None else {"fix_forward": replace(fix, overlooked=tuple(firing))}


# With traffic


def with_deadline(deployment: Deployment, now: float) -> dict[str, Any]:
    """Return the changed field once the version has all traffic: from now the time of the alarms runs."""
    fix = deployment.fix_forward
    percent = deployment.plan.steps[deployment.step].percent
    if fix is None or not fix.ringing or percent < 100 or fix.silent_by is not None:
        return {}
    return {"fix_forward": replace(fix, silent_by=timestamp(now + _silent_within(deployment)))}


def is_waiting(deployment: Deployment) -> bool:
    """Return whether the last bake goes on for alarms that are not silent."""
    return deployment.fix_forward is not None and deployment.fix_forward.lasts_until > 0


def changes(deployment: Deployment, alarms: Iterable[AlarmReading], now: float) -> dict[str, Any]:
    """Return the changed field after a look; none if no overlooked alarm fell silent."""
    fix = deployment.fix_forward
    after = after_look(fix, alarms, now) if fix else None
    return {} if after is fix else {"fix_forward": after}


def after_look(fix: FixForward, alarms: Iterable[AlarmReading], now: float) -> FixForward:
    """Return the record of the overlooked alarms after a look: the same object if nothing changes.

    An alarm in state OK is silent. INSUFFICIENT_DATA proves less: it is silent when the time is over.
    """
    states = _states(alarms)
    silent = {
        name
        for name in fix.ringing
        if states.get(name) is AlarmState.OK
        or (states.get(name) is AlarmState.INSUFFICIENT_DATA and _is_over(fix, now))
    }
    if not silent:
        return fix
    at = timestamp(now)
    overlooked = (replace(alarm, silent_at=at) if alarm.name in silent else alarm for alarm in fix.overlooked)
    return replace(fix, overlooked=tuple(overlooked))


def judged(fix: FixForward | None, alarms: Iterable[AlarmReading], now: float) -> tuple[AlarmReading, ...]:
    """Return the alarms that count as in any deployment: all but the overlooked ones that may still fire."""
    alarms = tuple(alarms)
    if fix is None or _is_over(fix, now):
        return alarms
    return tuple(one for one in alarms if one.state is not AlarmState.ALARM or one.name not in fix.ringing)


def find_failure(deployment: Deployment, alarms: Iterable[AlarmReading], now: float) -> Reason | None:
    """Return why the fix does not stay because of an alarm that it overlooked; None while it may.

    One that is no longer among the alarms that were read says nothing: that counts as missing.
    """
    fix = deployment.fix_forward
    if fix is None:
        return None
    states = _states(alarms)
    for alarm in fix.overlooked:
        name, state = alarm.name, states.get(alarm.name)
        data = {"alarm": name, "overlooked": True}
        if state is None or state is AlarmState.MISSING:
            return Reason(
                "alarm_missing", f"alarm {name}, which was overlooked, does not exist any more", data
            )
        if state is not AlarmState.ALARM:
            continue
        if alarm.silent_at is not None:
            return Reason("alarm", f"alarm {name} had fallen silent, and is firing again", data)
        if _is_over(fix, now):
            within = duration(_silent_within(deployment))
            message = f"alarm {name} is still firing {within} after all traffic: the fix did not silence it"
            return Reason("alarm", message, data)
    return None


# In words


def described(firing: Sequence[OverlookedAlarm]) -> str:
    """Return which alarms are firing, for the timeline."""
    each = (
        f"alarm {alarm.name}, firing"
        + (f" since {alarm.since}" if alarm.since else "")
        + (f" ({clean(alarm.reason, 100)})" if alarm.reason else "")
        for alarm in firing
    )
    return "; ".join(each)


def _states(alarms: Iterable[AlarmReading]) -> dict[str, AlarmState]:
    return {one.name: one.state for one in alarms}


def _silent_within(deployment: Deployment) -> int:
    watch = deployment.plan.watch
    return watch.silent_within if watch else SILENT_WITHIN


def _is_over(fix: FixForward, now: float) -> bool:
    return fix.silent_by is not None and now >= seconds(fix.silent_by)
