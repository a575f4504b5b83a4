"""Which versions of a function were invoked."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from sluicegate.aws.metric_data import read_metric_data

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDataQueryTypeDef

_DAY: Final = 86_400


def was_invoked(
    client: "CloudWatchClient",
    function: str,
    version: str,
    aliases: Collection[str],
    since: float,
    until: float,
) -> bool:
    """Return whether the version was invoked between two moments (epoch seconds), to the day.

    By its number, or through one of these aliases: metrics with the dimension `Resource` alone are about what
    was invoked, and with `ExecutedVersion` about the version that an alias led to (Lambda developer guide,
    "Types of metrics for Lambda functions", read on 2026-11-26). Raises botocore's errors, and LookFailed.
    """
    queries = [_query("version", function, version, None)]
    queries += [_query(f"alias{n}", function, alias, version) for n, alias in enumerate(sorted(aliases))]
    values = read_metric_data(client, queries, since // _DAY * _DAY, until)
    return any(value > 0 for found in values.values() for value in found.values())


def _query(name: str, function: str, qualifier: str, executed: str | None) -> "MetricDataQueryTypeDef":
    dimensions: list[DimensionTypeDef] = [
        {"Name": "FunctionName", "Value": function},
        {"Name": "Resource", "Value": f"{function}:{qualifier}"},
    ]
    if executed is not None:
        dimensions.append({"Name": "ExecutedVersion", "Value": executed})
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": dimensions},
            "Stat": "Sum",
            "Period": _DAY,
        },
        "ReturnData": True,
    }
