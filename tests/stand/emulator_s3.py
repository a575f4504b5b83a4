"""The owner of a bucket, for policies. Loaded by `launch_emulator`.

One thing that AWS does and MiniStack 1.5.33 does not: `aws:ResourceAccount` of a bucket is the account that
owns it (IAM user guide, "AWS global condition context keys", read on 26 November 2026).
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install it. `pinned` finds a function and stops where it has changed."""
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    resolve = pinned(evaluator, "_resolve_condition_key", "key", "ctx")

    def resolve_condition_key(key: str, ctx: Any) -> Any:
        if key.lower() == "aws:resourceaccount" and (owner := owner_of(ctx.resource_arn)):
            return owner
        return resolve(key, ctx)

    evaluator._resolve_condition_key = resolve_condition_key


def owner_of(arn: str) -> str | None:
    """The account of an existing bucket."""
    s3: Any = import_module("ministack.services.s3")
    if not arn.startswith("arn:aws:s3:::"):
        return None
    bucket = arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    return next((account for account, name in s3._buckets.to_dict() if name == bucket), None)
