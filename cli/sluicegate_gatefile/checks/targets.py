"""`targets`: accounts and regions where functions live."""

from typing import Any

from sluicegate.gate.model import OWN_NAME
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.diagnostics import did_you_mean
from sluicegate_gatefile.yaml_source import Path


def targets(context: CheckContext) -> list[dict[str, Any]]:
    """Check the targets, and the stages that name them; returns gate.json's."""
    known = context.file.targets
    if OWN_NAME in known:
        what = f"`{OWN_NAME}` is the stack's own account and region: call this target something else"
        context.error("target", ("targets", OWN_NAME), what)
    places: dict[tuple[str, str], str] = {}
    for name, target in known.items():
        place = (target.account, target.region)
        if place in places:
            what = f"`{places[place]}` has the same account and region: name one target in both stages"
            context.error("target", ("targets", name), what)
        places[place] = name
    for stage, section in context.file.stages.items():
        if section.target not in (None, OWN_NAME, *known):
            at: Path = ("stages", stage, "target")
            hint = did_you_mean(section.target or "", tuple(known)) or ": add it under `targets`"
            context.error("target", at, f"there is no target `{section.target}`{hint}")
    for name in known.keys() - {section.target for section in context.file.stages.values()}:
        context.warning("target", ("targets", name), f"no stage is in `{name}`")
    return [
        {
            "name": name,
            "account": target.account,
            "region": target.region,
            "role": target.role or f"sluicegate-target-{target.region}",
            "external_id": target.external_id,
        }
        for name, target in known.items()
    ]
