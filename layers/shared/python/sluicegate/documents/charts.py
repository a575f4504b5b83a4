"""Turn the observations of a deployment into charts, one for each limit that has values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sluicegate.deployment.durations import seconds
from sluicegate.documents import observed
from sluicegate.plot.chart import Bound, Chart, Line, Marker, MarkerKind, Period, Point

_VERSIONS: Final = {"new": "new version", "old": "old version"}
_ENDS: Final = {
    "rolling_back": "rolling back",
    "rolled_back": "rolled back",
    "succeeded": "succeeded",
    "aborted": "aborted",
    "rejected": "rejected",
    "failed": "failed",
}
_MOST: Final = 24
"""Charts in a report; a watch has fewer limits."""


def charts(deployment: Mapping[str, Any]) -> list[Chart]:
    """Return the charts, in the order in which the newest observation names the limits."""
    looks = observed.observations(deployment)
    if not looks:
        return []
    found = dict.fromkeys(_key(one) for look in (looks[-1], *looks) for one in look.get("findings") or ())
    drawn = [_chart(deployment, looks, key) for key in found]
    return [chart for chart in drawn if chart is not None][:_MOST]


def _key(finding: observed.FindingDocument) -> tuple[str, str]:
    """Return what findings of one chart have in common: the limit, and the unit of the values."""
    return str(finding.get("limit")), observed.unit(finding)


def _chart(
    deployment: Mapping[str, Any], looks: Sequence[observed.LookDocument], key: tuple[str, str]
) -> Chart | None:
    rows = [
        (seconds(look["at"]), finding)
        for look in looks
        for finding in look.get("findings") or ()
        if _key(finding) == key
    ]
    lines = tuple(line for name in _VERSIONS if (line := _line(name, rows)).points)
    if not lines:
        return None
    begin = _traffic_since(deployment, looks)
    end = max(seconds(looks[-1]["at"]), _ended(deployment) or 0.0)
    limit = key[0]
    return Chart(
        title=f"{limit} of the new and the old version" if len(lines) > 1 else limit,
        description=" ".join(observed.message(finding) for at, finding in rows if at == rows[-1][0]),
        unit=key[1],
        begin=begin,
        end=max(end, begin + 1),
        lines=lines,
        bounds=tuple(_bounds(rows)),
        periods=tuple(_periods(deployment, looks, end)),
        marks=(*_verdicts(rows), *_events(deployment, begin, end), *_alarms(looks, begin, end)),
    )


def _line(version: str, rows: Sequence[tuple[float, observed.FindingDocument]]) -> Line:
    points: dict[float, Point] = {}
    for at, finding in rows:
        measured = finding.get(version) or {}
        value = _number(measured.get("value"))
        if value is not None and at not in points:
            low, high = _number(measured.get("low")), _number(measured.get("high"))
            points[at] = Point(at, value, value if low is None else low, value if high is None else high)
    return Line(_VERSIONS[version], version, tuple(points.values()))


def _bounds(rows: Sequence[tuple[float, observed.FindingDocument]]) -> Iterator[Bound]:
    """Yield each limit: a constant one, or so many times the old version's value at each look."""
    found: dict[str, list[tuple[float, float]]] = {}
    for at, finding in rows:
        value = observed.bound_value(finding)
        if value is not None:
            whose = " the old version's" if finding.get("rule") == observed.RATIO_RULE else ""
            found.setdefault(f"limit {observed.bound(finding)}{whose}", []).append((at, value))
    for name, points in found.items():
        yield Bound(name, tuple(points))


def _periods(
    deployment: Mapping[str, Any], looks: Sequence[observed.LookDocument], end: float
) -> Iterator[Period]:
    """Yield the steps that were observed, each until the next one."""
    first: dict[int, observed.LookDocument] = {}
    for look in looks:
        first.setdefault(int(look["step"]), look)
    begins = [(_shifted(deployment, seconds(look["at"])), look) for look in first.values()]
    for index, (begin, look) in enumerate(begins):
        until = begins[index + 1][0] if index + 1 < len(begins) else end
        yield Period(f"{look['percent']} % of the traffic", begin, until, f"{look['percent']} %")


def _shifted(deployment: Mapping[str, Any], look: float) -> float:
    """Return when the bake of a look began: the last entry before it that says so, if there is one."""
    baking = [seconds(one["at"]) for one in deployment["timeline"] if one["status"] == "baking"]
    return max((at for at in baking if at < look), default=look)


def _traffic_since(deployment: Mapping[str, Any], looks: Sequence[observed.LookDocument]) -> float:
    """Return when the first bake began: before that the new version had no traffic."""
    return _shifted(deployment, seconds(looks[0]["at"]))


def _verdicts(rows: Sequence[tuple[float, observed.FindingDocument]]) -> Iterator[Marker]:
    """Yield the worst verdict of each look, observed ones included."""
    worst: dict[float, observed.FindingDocument] = {}
    for at, finding in rows:
        known = worst.get(at)
        if known is None or observed.rank(finding) < observed.rank(known):
            worst[at] = finding
    for at, finding in worst.items():
        if finding.get("verdict") in observed.VERDICTS:
            yield Marker(MarkerKind(str(finding["verdict"])), observed.message(finding), at)


def _events(deployment: Mapping[str, Any], begin: float, end: float) -> Iterator[Marker]:
    for entry in deployment["timeline"]:
        at = seconds(entry["at"])
        if entry["status"] in _ENDS and begin <= at <= end:
            yield Marker(MarkerKind.EVENT, f"{_ENDS[entry['status']]}: {entry['message']}", at)


def _alarms(looks: Sequence[observed.LookDocument], begin: float, end: float) -> Iterator[Marker]:
    """Yield each alarm once for each time that it began to ring, as far as that is in the chart."""
    seen: set[tuple[str, float]] = set()
    for look in looks:
        for alarm in look.get("alarms") or ():
            if alarm.get("state") != "ALARM":
                continue
            since = _moment(alarm.get("since"))
            at = seconds(look["at"]) if since is None or since < begin else since
            if (str(alarm.get("name")), since or 0.0) not in seen and begin <= at <= end:
                seen.add((str(alarm.get("name")), since or 0.0))
                yield Marker(MarkerKind.ALARM, observed.alarm(alarm), at)


def _ended(deployment: Mapping[str, Any]) -> float | None:
    return _moment(deployment.get("finished_at"))


def _moment(text: object) -> float | None:
    try:
        return seconds(str(text)) if text else None
    except ValueError:
        return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
