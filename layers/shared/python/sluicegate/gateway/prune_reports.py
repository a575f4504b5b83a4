"""Show what the pruner found out about a function's versions, as far as the caller may see it."""

from collections.abc import Iterable, Sequence
from typing import Any

from sluicegate.deployment.plan import Target
from sluicegate.deployment.views import target_view
from sluicegate.store.prunings import PruneReport
from sluicegate.store.serving import Serving


def prune_views(reports: Iterable[PruneReport], visible: Sequence[Serving]) -> list[dict[str, Any]]:
    """Return the reports of the targets where the caller sees a stage.

    A reason names an alias only where the caller sees its stage: other stages, and aliases of other people,
    are not their concern.
    """
    shown = []
    for report in reports:
        here = [one for one in visible if (one.account, one.region) == (report.account, report.region)]
        if here:
            shown.append(_view(report, here[0].target_name, {one.alias for one in here}))
    return shown


def _view(report: PruneReport, target_name: str | None, aliases: set[str]) -> dict[str, Any]:
    return {
        "target": target_view(Target(report.account, report.region), target_name),
        "at": report.at,
        "dry_run": report.dry_run,
        "versions": [
            {
                "version": one.version,
                "keep": [
                    {"reason": reason, "alias": detail if detail in aliases else None}
                    for reason, detail in one.keep
                ],
            }
            for one in report.versions
        ],
        "left_out": report.left_out,
        "deleted": list(report.deleted),
    }
