"""`notify`: which deployments are reported to which channel."""

from typing import Any

from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.yaml_source import Path


def notifications(context: CheckContext) -> list[dict[str, Any]]:
    """Check the entries; returns gate.json's."""
    found, names = [], set()
    for i, entry in enumerate(context.file.notify):
        at: Path = ("notify", i)
        if entry.name in names:
            context.error("notify", (*at, "name"), f"there is already an entry `{entry.name}`")
        names.add(entry.name)
        for k, stage in enumerate(entry.stages or ()):
            context.check_stage((*at, "stages", k), stage)
        for k, pattern in enumerate(entry.functions):
            if not context.entries.overlapping(pattern):
                what = f"`{pattern}` matches no entry of `functions`: it reports nothing"
                context.warning("uncovered", (*at, "functions", k), what)
        found.append(
            {
                "name": entry.name,
                "type": entry.type,
                "secret": entry.secret,
                "functions": list(entry.functions),
                "stages": list(entry.stages or ()),
                "statuses": [str(status) for status in dict.fromkeys(entry.statuses)],
            }
        )
    return found
