"""The actions that deployments call in a target, as the policies of its role and of sessions name them."""

from typing import Final

ACTIONS: Final = (
    "lambda:CreateAlias",
    "lambda:DeleteAlias",
    "lambda:GetAlias",
    "lambda:GetFunction",
    "lambda:GetProvisionedConcurrencyConfig",
    "lambda:PublishVersion",
    "lambda:UpdateAlias",
    "lambda:UpdateFunctionCode",
)
"""All that every deployment calls in a target. A session's own policy narrows them to one function."""

INVOKE: Final = "lambda:InvokeFunction"
"""For smoke tests: versions that are deployed with a payload, and hooks."""

WATCHING: Final = ("cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData")
"""For watches. GetMetricData knows no resources (service authorization reference)."""
