"""The groups of AWS's calls that share a quota, by CloudTrail's events."""

from typing import Final

from sluicegate_cli.audit.explanation import operation

CONTROL_PLANE: Final = "lambda control plane (15/s, all)"


def quota(service: str, event: str) -> str:
    """Return an event's group (AWS Lambda and CloudWatch developer guides, quotas)."""
    match service, operation(event):
        case "lambda", "GetFunction":
            return "lambda GetFunction (100/s)"
        case "lambda", "Invoke":
            return "lambda Invoke"
        case "lambda", _:
            return CONTROL_PLANE
        case "monitoring", "GetMetricData":
            return "cloudwatch GetMetricData (50/s)"
        case "monitoring", "DescribeAlarms":
            return "cloudwatch DescribeAlarms (9/s)"
        case _:
            return service
