"""Stages' aliases, and the entries of `functions`."""

from collections.abc import Mapping

from sluicegate.gate import patterns
from sluicegate.gate.model import OWN_NAME
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.grants import Grants
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.yaml_source import Path

_NAMED = 5
"""Patterns that one warning names at most."""


def check_functions(context: CheckContext) -> None:
    """Check that aliases differ, overridden stages exist, and no pattern matches a function of ours."""
    stages = context.file.stages
    aliases = {stage: context.alias(stage) for stage in stages}
    _check_aliases(context, ("stages",), aliases)
    for pattern, entry in context.file.functions.items():
        at: Path = ("functions", pattern)
        check_own_functions(context, at, pattern)
        for stage in entry.stages:
            context.check_stage((*at, "stages", stage), stage)
        if entry.prune is not None and all(stage.target not in (None, OWN_NAME) for stage in stages.values()):
            what = "no stage is in the stack's own account and region, and elsewhere no version is pruned yet"
            context.warning("prune", (*at, "prune"), f"{what}: it deletes nothing")
        own = {stage: override.alias for stage, override in entry.stages.items() if override.alias}
        if own:
            merged = {stage: own.get(stage, alias) for stage, alias in aliases.items()}
            _check_aliases(context, (*at, "stages"), merged)


def check_own_functions(context: CheckContext, at: Path, pattern: str) -> None:
    """Report a pattern that matches a function of Sluicegate itself."""
    compiled = patterns.compile(pattern)
    own = [name for name in context.own_functions if compiled.matches(name)]
    if len(own) == 1:
        what = f"`{pattern}` matches `{own[0]}`, a function of Sluicegate itself"
        context.error("own_function", at, what)
    elif own:
        what = f"`{pattern}` matches functions of Sluicegate itself: {listed(own)}"
        context.error("own_function", at, what)


def check_shared_targets(context: CheckContext, grants: Grants) -> None:
    """Warn where a rule on an unprotected stage also lets write the `$LATEST` of a protected one."""
    shared: dict[tuple[str, str], list[str]] = {}
    for pattern in context.file.functions:
        granted = {stage for stage, _ in grants.on(pattern)}
        known = [stage for stage in context.file.stages if stage in granted]
        for target in dict.fromkeys(map(context.target, known)):
            here = [stage for stage in known if context.target(stage) == target]
            protected = context.protected(here)
            others = [stage for stage in here if stage not in protected]
            if protected and others:
                shared.setdefault((listed(protected), listed(others)), []).append(pattern)
    for (protected_stages, other_stages), found in shared.items():  # one warning, however many functions
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        what = f"{protected_stages} (protected) and {other_stages} (not) of {listed(found[:_NAMED])}{more}"
        context.warning(
            "shared_target",
            ("functions", found[0]),
            f"{what} share one target, with one role and `$LATEST`: use separate functions for protected"
            " stages",
        )


def _check_aliases(context: CheckContext, at: Path, aliases: Mapping[str, str]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for stage, alias in aliases.items():
        place = (context.target(stage), alias)
        if place in owners:
            what = f"`{stage}` and `{owners[place]}` have the same alias, `{alias}`, in one target"
            context.error("alias", (*at, stage), f"the stages {what}: give one of them another `alias`")
        owners[place] = stage
