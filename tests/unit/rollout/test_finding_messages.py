"""How a finding is said in one line."""

import math
from dataclasses import replace

import pytest

from sluicegate.deployment.observations import Interval, LimitFinding, Observation, Tally, Verdict
from sluicegate.rollout.finding_messages import described, summary

ERRORS = LimitFinding(
    "errors",
    "max_ratio",
    Verdict.UNCLEAR,
    "",
    bound=2,
    tally=Tally(n=1204, x=14, m=10812, y=43),
    new=Interval(1.163, 0.69, 1.97),
    old=Interval(0.398, 0.29, 0.54),
    ratio=Interval(3.1, 1.24, 8.01),
)
POINT = Interval(431, 431, 431)
SLOW = replace(
    ERRORS,
    limit="duration_p95",
    bound=1.5,
    new=POINT,
    old=Interval(402, 402, 402),
    ratio=Interval(1.07, 1.07, 1.07),
)


BAD = replace(ERRORS, verdict=Verdict.BAD)
ALONE = replace(BAD, rule="max_percent", bound=0.5, old=None, ratio=None)
GROSS = replace(BAD, rule="gross", bound=None, ratio=None, new=Interval(95, 76, 99))
ABOVE = replace(SLOW, rule="max_ms", bound=1200, old=None, ratio=None)
OWN = replace(ALONE, limit="refused", rule="max", bound=0.05, new=Interval(0.012, 0.007, 0.02))

KEPT = Interval(0.97, 0.96, 0.98)
ALL = Interval(0.99, 0.99, 0.99)
SHARE = "errors: 1.2 % of 1,204 (0.69–2.0 %)"
LINE = f"{SHARE}, old 0.4 %; ×3.1 (1.2–8.0), limit ×2: unclear"


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (ERRORS, LINE),
        (replace(ERRORS, needed=2_300), f"{LINE}, about 2,300 more requests would settle it"),
        (replace(ERRORS, needed=1), f"{LINE}, a later look needs less evidence"),
        (
            replace(BAD, needed=2_300, ratio=Interval(12.2, 3.1, math.inf)),
            f"{SHARE}, old 0.4 %; ×12 (3.1–∞), limit ×2: bad",
        ),
        (
            replace(ERRORS, old=None, ratio=None),
            f"{SHARE}, no requests of the old version in the same minutes, limit ×2: unclear",
        ),
        (ALONE, f"{SHARE}, limit 0.5 %: bad"),
        (
            replace(ALONE, step=True),
            "errors: 1.2 % of 1,204 since the current share began (0.69–2.0 %), limit 0.5 %: bad",
        ),
        (GROSS, "errors: 95 % of 1,204 (76–99 %), old 0.4 %: fails grossly"),
        (replace(ERRORS, tally=Tally(), new=None), "errors: no requests of the new version: unclear"),
        (replace(ERRORS, tally=None, new=None), "errors: no requests of the new version: unclear"),
        (SLOW, "duration_p95: 431 ms of 1,204, old 402 ms; ×1.1, limit ×1.5: unclear"),
        (ABOVE, "duration_p95: 431 ms of 1,204, limit 1,200 ms: unclear"),
        (
            replace(SLOW, tally=Tally()),
            "duration_p95: not compared, as there were no durations of the old version in the hour "
            "before: unclear",
        ),
        (
            replace(OWN, rule="max_ratio", bound=2, misses=True, new=KEPT, old=ALL, ratio=ERRORS.ratio),
            "refused: 0.97 of 1,204 (0.96–0.98), old 0.99; misses ×3.1 (1.2–8.0), limit ×2: bad",
        ),
        (OWN, "refused: 0.012 of 1,204 (0.007–0.02), limit 0.05: bad"),
    ],
)
def test_a_finding_is_said_in_one_line(finding: LimitFinding, line: str) -> None:
    assert described(finding).message == line


def test_a_look_is_said_in_one_line_with_the_worst_first() -> None:
    findings = (
        replace(OWN, verdict=Verdict.GOOD, message="refused: good"),
        replace(ERRORS, message="errors: unclear"),
        replace(SLOW, verdict=Verdict.BAD, observe=True, message="duration_p95: bad"),
        replace(ALONE, step=True, message="errors since the current share began: bad"),
    )
    look = Observation("2026-11-26T14:00:00.000Z", 0, 0.1, Verdict.UNCLEAR, findings)

    assert summary(look) == "duration_p95: bad (observed); errors: unclear; refused: good"
    assert summary(replace(look, findings=())) == "no limits"
