"""`doctor --try`: whether CloudWatch counts Lambda's durations above a bound (the statistic `TC(a:)`).

AWS documents the statistic for metrics with raw values, and for none of Lambda's by name. A limit on
durations counts slow requests by it, so this is known before a rollout depends on it.
"""

from typing import Final

from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

COUNTS: Final = "slow requests can be counted"

_UNCLEAR: Final = (
    "Limits on `duration_p95` stay `unclear`; see `unclear` in the gate file. Please report this."
)


def count_durations(
    aws: AwsCalls, name: str, alias: str, version: str, began: float, until: float
) -> Finding:
    """Compare the counts of durations above, below and without a bound with the number of all durations."""

    def read(*statistics: str) -> list[float | None]:
        dimensions = [
            {"Name": "FunctionName", "Value": name},
            {"Name": "Resource", "Value": f"{name}:{alias}"},
            {"Name": "ExecutedVersion", "Value": version},
        ]
        metric = {"Namespace": "AWS/Lambda", "MetricName": "Duration", "Dimensions": dimensions}
        answer = aws.call(
            "cloudwatch",
            "GetMetricData",
            MetricDataQueries=[
                {"Id": f"d{number}", "MetricStat": {"Metric": metric, "Period": 3_600, "Stat": statistic}}
                for number, statistic in enumerate(statistics)
            ],
            StartTime=began - 120,
            EndTime=until + 60,
        )
        values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        found = (values.get(f"d{number}") for number in range(len(statistics)))
        # The sample may run across the hour.
        return [sum(each) if each else None for each in found]

    durations, longest = read("SampleCount", "Maximum")
    if not durations or not longest:
        return Finding(COUNTS, CheckVerdict.UNKNOWN, "CloudWatch has no durations of the sample yet")
    bound = f"{longest / 2:.4f}"
    try:
        every, above, below = read("TC(0:)", f"TC({bound}:)", f"TC(:{bound})")
    except CouldNotCheck as error:
        return Finding(
            COUNTS, CheckVerdict.WARNING, f"CloudWatch refuses TC({bound}:): {error.seen}", _UNCLEAR
        )
    shown = ", ".join("none" if each is None else f"{each:g}" for each in (every, above, below))
    seen = f"of {durations:g} durations, CloudWatch counts above 0, above {bound} ms and below it: {shown}"
    agrees = abs((every or 0) - durations) <= 1 and abs((above or 0) + (below or 0) - durations) <= 1
    if not agrees:
        return Finding(COUNTS, CheckVerdict.WARNING, seen, _UNCLEAR)
    return Finding(COUNTS, CheckVerdict.OK, seen)
