"""Compare what Lambda answers of an alias with the record. Values in, values out.

guarantees.md#4-failure-restores-the-alias says why a move by somebody else is left alone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.aws.lambda_ import Alias, FunctionVersion
from sluicegate.aws.lambda_settings import difference
from sluicegate.aws.lambda_triggers import Trigger
from sluicegate.deployment.drift import MAX_FINDINGS, DriftFinding, DriftKind
from sluicegate.store.serving import Serving
from sluicegate.text import clean

MAX_NAMES: Final = 20
"""Names of environment variables in one finding."""

_SETTLED: Final = "Successful"


@dataclass(frozen=True)
class SeenFunction:
    """One function as Lambda answered it at one look. A part that is None could not be looked at.

    `aliases` are empty and `exists` is False where there is no such function. `versions` has those that
    aliases serve by the record; one that does not exist is missing.
    """

    exists: bool = True
    aliases: Mapping[str, Alias] | None = None
    latest: FunctionVersion | None = None
    versions: Mapping[str, FunctionVersion] | None = None
    triggers: tuple[Trigger, ...] | None = None


DriftFindings = Mapping[DriftKind, tuple[DriftFinding, ...] | None]
"""The findings of each kind, None where the look could not tell."""


def compare(serving: Serving, seen: SeenFunction, known: Collection[str]) -> DriftFindings:
    """Return how an alias differs from its record. `known` are the function's aliases with a record."""
    return {
        DriftKind.ALIAS: _alias(serving, seen),
        DriftKind.TRIGGER: _triggers(seen.triggers, known),
        DriftKind.SETTINGS: _settings(serving, seen),
    }


def _alias(serving: Serving, seen: SeenFunction) -> tuple[DriftFinding, ...] | None:
    if not seen.exists:
        return (_of_alias("function_gone", "the function does not exist any more"),)
    if seen.aliases is None:
        return None
    alias = seen.aliases.get(serving.alias)
    if alias is None:
        return (_of_alias("alias_gone", f"there is no alias {serving.alias} any more"),)
    state = alias.state
    if state.version != serving.version or dict(state.weights) != dict(serving.weights):
        shares = (f", {share * 100:g} % of it version {other}" for other, share in state.weights.items())
        expected = f"by the record it serves version {serving.version}"
        message = f"the alias serves version {state.version}{''.join(shares)}; {expected}"
        data = {"version": state.version, "weights": dict(state.weights), "expected": serving.version}
        return (_of_alias("alias_moved", message, data),)
    version = (seen.versions or {}).get(serving.version)
    if version is not None and serving.sha256 and version.code_sha256 != serving.sha256:
        message = (
            f"version {serving.version} has other code than the record says; was the function made again?"
        )
        return (
            _of_alias("other_code", message, {"version": serving.version, "sha256": version.code_sha256}),
        )
    return ()


def _of_alias(code: str, message: str, data: Mapping[str, Any] | None = None) -> DriftFinding:
    return DriftFinding(DriftKind.ALIAS, code, message, data or {})


def _triggers(triggers: Iterable[Trigger] | None, known: Collection[str]) -> tuple[DriftFinding, ...] | None:
    """Find what invokes `$LATEST`, or an alias or version that no deployment of Sluicegate's moves."""
    if triggers is None:
        return None
    past = [one for one in triggers if one.qualifier not in known]
    found = {one.key: one for one in map(_trigger, past)}
    return tuple(found[key] for key in sorted(found))


def _trigger(trigger: Trigger) -> DriftFinding:
    invoked = trigger.qualifier or "$LATEST"
    match trigger.kind:
        case "event_source":
            message = f"an event source mapping invokes {invoked}: {trigger.source}"
        case "function_url":
            message = f"a function URL invokes {invoked}: {trigger.id}"
        case _:
            message = f"a resource policy lets {trigger.source} invoke {invoked}: statement {trigger.id}"
    data = {"qualifier": invoked, "id": trigger.id, "source": trigger.source}
    return DriftFinding(DriftKind.TRIGGER, trigger.kind, clean(message, 512), data)


def _settings(serving: Serving, seen: SeenFunction) -> tuple[DriftFinding, ...] | None:
    """Find the settings that the next version would change. Values are compared, and names reported."""
    if not seen.exists:
        return ()
    latest, served = seen.latest, (seen.versions or {}).get(serving.version)
    if latest is None or served is None or latest.last_update_status != _SETTLED:
        return None
    changed = difference(served.settings, latest.settings).changed
    if not changed:
        return ()
    variables = _variables(served, latest)
    names = [name for name in changed if name != "environment"]
    more = [f"environment ({', '.join(variables)})"] if "environment" in changed else []
    message = f"$LATEST has other settings than version {serving.version}: {', '.join([*names, *more])}"
    data = {"version": serving.version, "changed": list(changed), "variables": variables}
    return (DriftFinding(DriftKind.SETTINGS, "settings_changed", clean(message, 512), data),)


def _variables(served: FunctionVersion, latest: FunctionVersion) -> list[str]:
    """Return the names of environment variables that differ, never a value."""
    one, other = _environment(served), _environment(latest)
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    more = [f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return [clean(name, 100) for name in names[:MAX_NAMES]] + more


def _environment(version: FunctionVersion) -> Mapping[str, Any]:
    environment = version.settings.get("environment")
    variables = environment.get("Variables") if isinstance(environment, Mapping) else None
    return variables if isinstance(variables, Mapping) else {}


def agreed(
    before: Iterable[DriftFinding], first: DriftFindings, second: DriftFindings, kinds: Iterable[DriftKind]
) -> tuple[DriftFinding, ...]:
    """Return the findings after two looks: what both saw, without what neither saw.

    What one of them saw, or could not tell, stays as it was.
    """
    old = list(before)
    result: list[DriftFinding] = []
    for kind in kinds:
        known = {one.key: one for one in old if one.kind == kind}
        one, other = first.get(kind), second.get(kind)
        if one is None or other is None:
            result += known.values()
            continue
        seen, again = {each.key: each for each in one}, {each.key: each for each in other}
        result += [
            each
            for key, each in sorted({**known, **seen, **again}.items())
            if (key in seen and key in again) or (key in known and (key in seen or key in again))
        ]
    return _bounded(result)


def _bounded(findings: list[DriftFinding]) -> tuple[DriftFinding, ...]:
    """Keep a number that an item holds; the last one says how many there are beside."""
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    left = len(findings) - MAX_FINDINGS + 1
    more = DriftFinding(DriftKind.TRIGGER, "more", f"{left} more findings are not listed", {"count": left})
    return (*findings[: MAX_FINDINGS - 1], more)
