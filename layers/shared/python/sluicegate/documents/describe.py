"""Describe parts of a deployment in words, for `status`, `watch` and dry runs.

A member that an older API does not send yet counts as null.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sluicegate.text import clean

_LIMITS: Final = {
    "errors": ("errors", "%"),
    "throttles": ("throttles", "%"),
    "duration_p95": ("p95 duration", " ms"),
}
_UNCLEAR: Final = {
    "pass": "an unclear verdict passes",
    "fail": "an unclear verdict counts as a breach",
    "extend": "an unclear verdict extends the bake",
}


def serving(state: Mapping[str, Any] | None) -> str:
    """Describe what an alias serves: `version 41, version 42: 10%`; empty for nothing or unknown."""
    if not state:
        return ""
    others = (f"version {version}: {weight:.0%}" for version, weight in state["weights"].items())
    return ", ".join((f"version {state['version']}", *others))


def target(where: Mapping[str, Any]) -> str:
    """Describe a target: `prod-eu (222222222222, eu-west-1)`; of the stack's own, account and region."""
    place, name = f"{where['account']}, {where['region']}", where.get("name") or "default"
    return place if name == "default" else f"{clean(name)} ({place})"


def entry_status(deployment: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """Return the status of a timeline entry, as wide as its column. Only an approval has the longest one."""
    width = len("awaiting_approval") if deployment.get("approval") else len("rolling_back")
    return f"{clean(one['status']):<{width}}"


def step(one: Mapping[str, Any]) -> str:
    """Describe a step: `10% for 5m`, or `100%`."""
    bake = one.get("bake") or "0s"
    return f"{one['percent']}%" if bake == "0s" else f"{one['percent']}% for {bake}"


def steps(several: Sequence[Mapping[str, Any]], most: int | None = None) -> str:
    """Describe the steps in order; of more than `most`, only the first ones and the last."""
    if most is not None and len(several) > most:
        return ", ".join((*map(step, several[: most - 1]), "…", step(several[-1])))
    return ", ".join(map(step, several))


def watch(watched: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Describe the alarms and limits of a bake, one by one; empty if nothing is watched."""
    return tuple(_watched(watched)) if watched else ()


def approval(required: Mapping[str, Any] | str | None) -> str:
    """Describe an approval: its deadline or its decision; empty if none is required."""
    if not required:
        return ""
    if isinstance(required, str):
        return f"by a second person within {required}"
    decision = required.get("decision")
    if not decision:
        return f"by a second person within {required['expires']}"
    reason = f": {required['reason']}" if required.get("reason") else ""
    return f"{decision} by {requester(required.get('by'))}{reason}"


def fix_forward(fix: Mapping[str, Any] | None) -> str:
    """Describe why alarms may be overlooked, and which ones are; empty for a deployment as any other."""
    if not fix:
        return ""
    return "; ".join((str(fix["reason"]), *map(overlooked_alarm, fix["overlooked"])))


def still_firing(fix: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Describe the overlooked alarms that have not fallen silent, and by when they must."""
    if not fix:
        return ()
    by = f", must be silent by {fix['silent_by']}" if fix.get("silent_by") else ""
    return tuple(
        f"{overlooked_alarm(alarm)}{by}" for alarm in fix["overlooked"] if not alarm.get("silent_at")
    )


def overlooked_alarm(alarm: Mapping[str, Any]) -> str:
    """Describe an alarm that a fix-forward overlooks: since when, why, and when it fell silent."""
    since = f" since {alarm['since']}" if alarm.get("since") else ""
    why = f" ({alarm['reason']})" if alarm.get("reason") else ""
    silent = f", silent at {alarm['silent_at']}" if alarm.get("silent_at") else ""
    return f"overlooks alarm {alarm['name']}, firing{since}{silent}{why}"


def requester(by: Mapping[str, Any] | None) -> str:
    """Describe a requester: `ada, job 302 of acme/orders`, `grace, signed in`, a webhook or a principal."""
    if not by:
        return "?"
    if by.get("principal_id") and not by.get("project_id"):
        return principal(by)
    if by.get("via") == "session":
        return f"{by.get('user_login') or 'user ' + str(by.get('user_id') or '?')}, signed in"
    place = by.get("project_path") or by.get("project_id") or "?"
    if by.get("webhook") and not by.get("job_id"):
        return f"webhook {by['webhook']} of {place}"
    job = f"job {by['job_id']} of " if by.get("job_id") else ""
    return f"{by.get('user_login') or '?'}, {job}{place}"


def principal(by: Mapping[str, Any]) -> str:
    """Describe an AWS principal: `ada@example.com (Identity Center) of ACCOUNT`, `role NAME/SESSION of …`."""
    account = by.get("account") or "?"
    session = by.get("session_name")
    if by.get("principal_type") == "sso":
        return f"{session or '?'} (Identity Center) of {account}"
    if by.get("principal_type") == "user":
        arn = str(by.get("arn") or "")
        return f"user {arn.rpartition('/')[2] or by.get('principal_id') or '?'} of {account}"
    name = by.get("role") or by.get("principal_id") or "?"
    return f"role {name}{f'/{session}' if session else ''} of {account}"


def name(by: Mapping[str, Any]) -> str:
    """Name a requester in a word or two: the user's login, or the principal; empty if neither is known."""
    login = str(by.get("user_login") or "")
    return login or (principal(by) if by.get("principal_id") else "")


def marked(by: Mapping[str, Any] | None, text: str) -> str:
    """Mark what an agent asked for: `duo-developer (agent)`."""
    return f"{text} (agent)".lstrip() if by and by.get("actor") == "agent" else text


def actor(kind: str) -> str:
    """Name the kind of a caller with its article: `an agent`, `a person`, `a pipeline`."""
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {clean(kind, 32)}"


def built(origin: Mapping[str, Any] | None) -> str:
    """Describe where a version was built from: `v1.4.0 (8c6d3b1a9f42)`; `unknown` if nobody is known."""
    if not origin:
        return "unknown"
    name = origin.get("release") or origin.get("ref") or "?"
    sha = origin.get("sha")
    return f"{name} ({sha[:12]})" if sha else str(name)


def plan(document: Mapping[str, Any]) -> dict[str, str]:
    """Describe the requirements of a plan besides its steps, by name; omit those that it lacks."""
    requires = document.get("requires")
    order = document.get("order")
    facts = {
        "smoke": "the new version must pass a smoke test before it gets traffic"
        if document.get("smoke")
        else "",
        "watch": "; ".join(watch(document.get("watch"))),
        "approval": approval(document.get("approval")),
        "requires": f"the same code must have succeeded in {_stage(requires)}" if requires else "",
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
            bounds.append(f"at most {limit['max_ratio']:g} times the previous version's")
        yield f"{name} {' and '.join(bounds)}, with at least {limit['min_samples']} requests"
    for metric in watched.get("metrics") or ():
        yield f"metric {clean(metric['name'])}"
    if judge := watched.get("judge"):
        yield f"judged by function {clean(judge['function'])}"
    if limits and watched.get("unclear") in _UNCLEAR:
        yield _UNCLEAR[watched["unclear"]]
    if watched.get("mode") == "observe":
        yield "observed only: nothing is rolled back"
