"""The facts of a deployment in words, for `status`, for a dry run and for whoever follows one.

Documents of an API that does not know a member yet read as if it were null.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_LIMITS: Final = {
    "errors": ("errors", " %"),
    "throttles": ("throttles", " %"),
    "duration_p95": ("p95 of the duration", " ms"),
}
_NO_DATA: Final = {
    "pass": "too few requests count as fine",
    "fail": "too few requests count as a breach",
    "extend": "with too few requests it bakes longer",
}


def serving(state: Mapping[str, Any] | None) -> str:
    """What an alias serves: `version 41, version 42: 10%`; empty where that is not known, or nothing."""
    if not state:
        return ""
    others = (f"version {version}: {weight:.0%}" for version, weight in state["weights"].items())
    return ", ".join((f"version {state['version']}", *others))


def entry(deployment: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """A line of the timeline, in columns; the longest status occurs only where an approval is asked for."""
    width = len("awaiting_approval") if deployment.get("approval") else len("rolling_back")
    return f"{one['status']:<{width}}  {one['message']}"


def step(one: Mapping[str, Any]) -> str:
    """`10 % for 5m`, or `100 %`."""
    bake = one.get("bake") or "0s"
    return f"{one['percent']} %" if bake == "0s" else f"{one['percent']} % for {bake}"


def steps(several: Sequence[Mapping[str, Any]], most: int | None = None) -> str:
    """The steps in their order; beyond `most` of them, only how it ends."""
    if most is not None and len(several) > most:
        return ", ".join((*map(step, several[: most - 1]), "…", step(several[-1])))
    return ", ".join(map(step, several))


def watch(watched: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The alarms and limits of a bake, one by one; nothing where nothing is watched."""
    return tuple(_watched(watched)) if watched else ()


def approval(asked: Mapping[str, Any] | str | None) -> str:
    """Within which time a second person must agree, and what they said; empty where nobody is asked."""
    if not asked:
        return ""
    if isinstance(asked, str):
        return f"by a second person within {asked}"
    decision = asked.get("decision")
    if not decision:
        return f"by a second person within {asked['expires']}"
    reason = f": {asked['reason']}" if asked.get("reason") else ""
    return f"{decision} by {requester(asked.get('by'))}{reason}"


def requester(by: Mapping[str, Any] | None) -> str:
    """`ada, job 302 of acme/orders`; `webhook orders-tags of 4213`."""
    if not by:
        return "?"
    place = by.get("project_path") or by.get("project_id") or "?"
    if by.get("webhook") and not by.get("job_id"):
        return f"webhook {by['webhook']} of {place}"
    job = f"job {by['job_id']} of " if by.get("job_id") else ""
    return f"{by.get('user_login') or '?'}, {job}{place}"


def plan(document: Mapping[str, Any]) -> dict[str, str]:
    """What a plan asks for besides its steps, by name; only what it has."""
    requires = document.get("requires")
    order = document.get("order")
    facts = {
        "smoke": "the new version has to answer well before it gets traffic" if document.get("smoke") else "",
        "watch": "; ".join(watch(document.get("watch"))),
        "approval": approval(document.get("approval")),
        "requires": f"to have succeeded in {_stage(requires)}" if requires else "",
        "order": "an older pipeline cannot overwrite a newer one" if order else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _stage(requires: Mapping[str, Any] | str) -> str:
    return requires if isinstance(requires, str) else str(requires.get("succeeded_in", "?"))


def _watched(watched: Mapping[str, Any]) -> Iterator[str]:
    if alarms := watched.get("alarms"):
        yield f"alarm{'' if len(alarms) == 1 else 's'} {', '.join(map(str, alarms))}"
    limits = watched.get("limits") or ()
    for limit in limits:
        name, unit = _LIMITS.get(limit["metric"], (limit["metric"], ""))
        bounds = []
        if limit.get("most") is not None:
            bounds.append(f"at most {limit['most']:g}{unit}")
        if limit.get("max_ratio") is not None:
            bounds.append(f"at most {limit['max_ratio']:g} times those of the version before")
        yield f"{name} {' and '.join(bounds)}, from {limit['min_samples']} requests on"
    if limits and watched.get("no_data") in _NO_DATA:
        yield _NO_DATA[watched["no_data"]]
