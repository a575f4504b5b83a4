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
"""For smoke tests (versions that are deployed with a payload, and hooks), and functions that judge."""

WATCHING: Final = ("cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData")
"""For watches. GetMetricData knows no resources (service authorization reference)."""

EVENT_SOURCES: Final = "lambda:ListEventSourceMappings"
"""For watches of event source mappings. It knows neither resources nor conditions (service authorization
reference, read on 2026-11-26).
"""

KEYS: Final = ("kms:Decrypt", "kms:GenerateDataKey")
"""For a function whose code or environment has a key of the customer's: only in sessions, and only for that
function. The role gets it from the key's own policy, if its owner wants that.

Lambda's developer guide, "Encrypting Lambda .zip deployment packages", names both actions and the encryption
context `aws:lambda:FunctionArn` (read on 2026-11-26).
"""

LOOKING: Final = (
    "lambda:GetFunction",
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListFunctionUrlConfigs",
)
"""What the look for drift calls, with `EVENT_SOURCES`. All of them know the function as their resource
(service authorization reference, read on 2026-11-26).
"""

PRUNE_LOOKING: Final = (
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListDurableExecutionsByFunction",
    "lambda:ListFunctionEventInvokeConfigs",
    "lambda:ListProvisionedConcurrencyConfigs",
    "lambda:ListVersionsByFunction",
)
"""What the pruner reads of a function, with `PRUNE_LOOKING_EVERYWHERE`. All know the function as their
resource (service authorization reference, read on 2026-11-26).
"""

PRUNE: Final = "lambda:DeleteFunction"
"""Deletes a version, or without a qualifier the function: only ever allowed for `function:NAME:NUMBER`."""

PRUNE_LOOKING_EVERYWHERE: Final = ("cloudwatch:GetMetricData", EVENT_SOURCES)
"""What it reads beside; these know no resource."""

PRUNE_IDENTITY: Final = "sluicegate-prune"
"""The source identity of the pruner's sessions, as `DRIFT_IDENTITY` is that of the look for drift."""

DRIFT_IDENTITY: Final = "sluicegate-drift"
"""The source identity of a session that only looks.

A deployment's begins with another word (`project-`, `principal-`, `person-` or `user-`), and none can be
changed in a session (IAM user guide, "Monitor and control actions taken with assumed roles", read on
2026-11-26).
"""
