"""What the product reads of CloudWatch by the minute is what was served, in fractions of a second too."""

import time

import pytest

from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.deployment.observations import AlarmState
from stand import Stand
from stand.metric_traffic import Behaviour, Fault, MetricTraffic


def with_two_versions(stand: Stand, function: str, share: float) -> None:
    lambda_ = stand.client("lambda")
    for _ in range(2):
        lambda_.publish_version(FunctionName=function)
        lambda_.update_function_configuration(FunctionName=function, Description=str(time.time()))
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=function)
    routing = {"AdditionalVersionWeights": {"2": share}}
    lambda_.create_alias(FunctionName=function, Name="prod", FunctionVersion="1", RoutingConfig=routing)


def test_both_versions_are_read_as_they_were_served(stand: Stand, function: str) -> None:
    """An exact share of errors, three hours of before, and durations above the old version's percentile."""
    with_two_versions(stand, function, 0.2)
    burst = Fault(0, 20, 0.5, every=1_800)
    behaviours = {"1": Behaviour(errors=0.01, bursts=(burst,)), "2": Behaviour(errors=0.1, median=60.0)}
    cloudwatch = CloudWatch(stand.client("cloudwatch"))
    traffic = MetricTraffic(stand, function, "prod", rate=400, behaviours=behaviours, exact=True)
    traffic.remember(180, "1")
    began = time.time()
    with traffic:
        time.sleep(4)
    until = time.time()
    found = cloudwatch.version_series(
        function, "prod", "2", "1", began, until, tau=None, over=500, steps_since=began
    )
    errors = found.series["errors"]
    assert sum(minute.n for minute in errors.minutes) == traffic.served["2"]
    assert sum(minute.x for minute in errors.minutes) == traffic.errors["2"]
    assert len(errors.before) == 180
    assert sum(y for _, y in errors.before) > 0.01 * sum(m for m, _ in errors.before)
    assert found.step["errors"].minutes == errors.minutes
    assert found.uncounted is None
    assert found.tau == pytest.approx(45.5, rel=0.1)
    slow = found.series["duration_p95"]
    assert sum(minute.x for minute in slow.minutes) > 0.5 * traffic.served["2"]
    assert sum(y for _, y in slow.before) == pytest.approx(0.05 * sum(m for m, _ in slow.before), rel=0.6)
    new, old = found.p95
    assert new is not None
    assert old is not None
    assert new > 2 * old
    again = cloudwatch.version_series(function, "prod", "2", "1", began, until, tau=found.tau)
    assert again.series["duration_p95"] == slow


def test_alarms_are_read_by_pattern_with_their_reasons(stand: Stand, function: str) -> None:
    with stand.alarm(f"{function}-5xx") as ringing, stand.alarm(f"{function}-slow"):
        ringing.set("ALARM")
        parent = f"{function}-any"
        client = stand.client("cloudwatch")
        client.put_composite_alarm(AlarmName=parent, AlarmRule=f'ALARM("{function}-5xx")')
        try:
            readings = CloudWatch(client).alarm_readings([f"{function}-*", f"{function}-gone"])
        finally:
            client.delete_alarms(AlarmNames=[parent])
    states = {alarm.name: alarm.state for alarm in readings}
    assert states == {
        f"{function}-5xx": AlarmState.ALARM,
        f"{function}-any": AlarmState.ALARM,
        f"{function}-slow": AlarmState.OK,
        f"{function}-gone": AlarmState.MISSING,
    }
    [rings] = [alarm for alarm in readings if alarm.name == f"{function}-5xx"]
    assert rings.reason == "set by a test"
    assert rings.since is not None
    assert rings.link is not None
    assert rings.link.endswith(f"#alarmsV2:alarm/{function}-5xx")
