"""Conditions on a version's item: a condemned version is being deleted by the pruner, or has been."""

from typing import Final

from sluicegate.store.table import Condition

NOT_CONDEMNED: Final = Condition("attribute_not_exists(condemned)")
"""The pruner neither deletes the version nor has."""


def not_condemned(sha256: str) -> Condition:
    """Return the condition for the version with that code: a function made again counts from 1 again."""
    return Condition(f"{NOT_CONDEMNED.expression} OR NOT sha256 = :sha256", {":sha256": sha256})
