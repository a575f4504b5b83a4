"""Say why a version is not pruned: the reasons of the API's `pruning`, in words."""

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.text import clean

_REASONS: Final[Mapping[str, str]] = {
    "not_recorded": "Sluicegate did not publish it",
    "other_code": "it has other code than was published",
    "newest": "one of the newest",
    "young": "not old enough",
    "alias": "an alias names it",
    "serving": "served",
    "rollback": "to roll back to",
    "found": "somebody else had put it there",
    "in_flight": "a deployment names it",
    "event_source": "an event source mapping names it",
    "policy": "it has a resource policy",
    "provisioned": "it has provisioned concurrency",
    "invoke_config": "it has a configuration for asynchronous invocations",
    "durable": "a durable execution runs on it",
    "invoked": "invoked within 14 days",
    "refused": "Lambda refused to delete it",
    "later": "looked at later",
    "unknown": "not everything about it could be read",
}


def why_kept(version: Mapping[str, Any]) -> str:
    """Return why a version stays: `alias prod; one of the newest`. Empty for one that goes."""
    return "; ".join(dict.fromkeys(_reason(one) for one in version["keep"]))


def _reason(keep: Mapping[str, Any]) -> str:
    reason = _REASONS.get(keep["reason"], clean(str(keep["reason"]), 64))
    return f"{reason} ({clean(str(keep['alias']), 128)})" if keep.get("alias") else reason
