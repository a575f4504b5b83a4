"""What an observation of the API says, in words: numbers, verdicts and alarms.

A member that an older API does not send yet counts as null.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sluicegate.text import clean, number, settled_by

LookDocument = Mapping[str, Any]
FindingDocument = Mapping[str, Any]

VERDICTS: Final = ("bad", "unclear", "good")
"""The worst first."""

_MESSAGE: Final = 1024  # characters of a finding's message

RATIO_RULE: Final = "max_ratio"

_BOUND_UNITS: Final = {"max_percent": " %", "max_ms": " ms"}
"""Units of limits by rule; of any other rule it is the values' own."""


def observations(deployment: Mapping[str, Any]) -> list[LookDocument]:
    """Return all observations of a document, oldest first: of one without the series, the newest."""
    series = deployment.get("observations")
    newest = deployment.get("observation")
    return list(series) if series else [newest] if newest else []


def findings(observation: LookDocument) -> list[FindingDocument]:
    """Return the findings of an observation, the worst verdict first."""
    found: Sequence[FindingDocument] = observation.get("findings") or ()
    return sorted(found, key=rank)


def rank(finding: FindingDocument) -> int:
    """Return the place of a finding's verdict in an order, the worst first; of an unknown one, the last."""
    verdict = finding.get("verdict")
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def limits(observation: LookDocument) -> dict[str, list[FindingDocument]]:
    """Return the findings by limit, the worst limit first: one limit can have several rules."""
    found: dict[str, list[FindingDocument]] = {}
    for finding in findings(observation):
        found.setdefault(str(finding.get("limit")), []).append(finding)
    return found


def is_observed(finding: FindingDocument) -> bool:
    """Return whether the finding is recorded only, and rolls nothing back."""
    return finding.get("mode") == "observe"


def verdict(finding: FindingDocument) -> str:
    """Return the verdict in a word: `bad`; of a limit that is only observed, `bad (observed)`."""
    return f"{clean(str(finding.get('verdict')), 32)}{' (observed)' if is_observed(finding) else ''}"


def unit(finding: FindingDocument) -> str:
    """Return the unit of a finding's values, with the space before it: ` %`, ` ms`, or none."""
    known = finding.get("unit")
    return f" {clean(str(known), 16)}" if known else ""


def quantity(value: object, unit_of_it: str = "") -> str:
    """Format a value with its unit: `1.2 %`; `?` if it is unknown."""
    return f"{number(value)}{unit_of_it}" if isinstance(value, (int, float)) else "?"


def share(measured: Mapping[str, Any] | None, unit_of_it: str) -> str:
    """Format what was measured of a version: `1.2 % of 1,204 (0.7–2.0 %)`; empty if nothing was."""
    if not measured or measured.get("value") is None:
        return ""
    requests = measured.get("requests")
    of = f" of {requests:,}" if isinstance(requests, int) and requests else ""
    return f"{quantity(measured['value'], unit_of_it)}{of}{between(measured, unit_of_it)}"


def between(interval: Mapping[str, Any], unit_of_it: str = "") -> str:
    """Format an interval: ` (0.7–2.0 %)`; without an upper end ` (1.2–∞)`; empty if there is none."""
    low, high = interval.get("low"), interval.get("high")
    if low is None or low == high:
        return ""
    return f" ({quantity(low)}–{'∞' if high is None else quantity(high, unit_of_it)})"


def ratio(finding: FindingDocument) -> str:
    """Format how many times the old version's value the new one's is: `×3.1 (1.2–8.0)`; or empty."""
    measured = finding.get("ratio")
    return f"×{quantity(measured['value'])}{between(measured)}" if measured else ""


def bound(finding: FindingDocument) -> str:
    """Format the limit of a finding: `×2`, `5 %`, or the rule's name where it has no number."""
    value, rule = finding.get("bound"), clean(str(finding.get("rule")), 64)
    if value is None:
        return rule
    # A limit is what somebody wrote, and is shown as they wrote it.
    written = f"{value:,.6g}" if isinstance(value, (int, float)) else "?"
    return f"×{written}" if rule == RATIO_RULE else f"{written}{_BOUND_UNITS.get(rule, unit(finding))}"


def bound_value(finding: FindingDocument) -> float | None:
    """Return the limit on the scale of the finding's values; None if there is none.

    `max_ratio` is so many times the old version's value.
    """
    value, rule, old = finding.get("bound"), finding.get("rule"), finding.get("old") or {}
    if not isinstance(value, (int, float)):
        return None
    if rule != RATIO_RULE:
        return float(value)
    return value * old["value"] if isinstance(old.get("value"), (int, float)) else None


def needed(finding: FindingDocument) -> str:
    """Say what would settle an unclear finding: `about 2,300 more requests would settle it`; or empty."""
    more = finding.get("needed")
    return settled_by(more) if isinstance(more, int) else ""


def message(finding: FindingDocument) -> str:
    """Return a finding in one line, as the record has it."""
    text = clean(str(finding.get("message") or finding.get("limit")), _MESSAGE)
    return f"{text} (observed)" if is_observed(finding) else text


def alarm(one: Mapping[str, Any]) -> str:
    """Describe an alarm: `orders-5xx is in ALARM since 2026-11-26T14:00:00Z: Threshold Crossed`."""
    since = f" since {clean(str(one['since']), 64)}" if one.get("since") else ""
    reason = f": {clean(str(one['reason']), 512)}" if one.get("reason") else ""
    return f"{clean(str(one.get('name')))} is in {clean(str(one.get('state')), 32)}{since}{reason}"


def ringing(observation: LookDocument) -> list[Mapping[str, Any]]:
    """Return the alarms of an observation that are not OK."""
    return [one for one in observation.get("alarms") or () if one.get("state") != "OK"]


class Looks:
    """The observations of a deployment that were seen so far, each once, oldest first."""

    def __init__(self, seen: Iterable[LookDocument] = ()) -> None:
        self._seen = {str(one.get("at")): one for one in seen}

    def add(self, deployment: Mapping[str, Any]) -> None:
        """Add what a document of the API has."""
        for one in observations(deployment):
            self._seen[str(one.get("at"))] = one

    def values(self, limit: str, version: str) -> list[float]:
        """Return a limit's values of a version (`new`, `old`), oldest first."""
        found = []
        for observation in self._seen.values():
            for finding in observation.get("findings") or ():
                measured = finding.get(version) or {}
                if finding.get("limit") == limit and isinstance(measured.get("value"), (int, float)):
                    found.append(float(measured["value"]))
                    break
        return found
