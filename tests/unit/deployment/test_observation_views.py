"""What the API shows of an observation."""

import json
import math
from typing import Any

import pytest

from sluicegate.deployment.observation_views import bounded, observation_view
from sluicegate.deployment.observations import (
    AlarmReading,
    AlarmState,
    Interval,
    LimitFinding,
    Observation,
    Tally,
    Verdict,
)
from sluicegate.deployment.plan import Plan, Target, TrafficStep

PLAN = Plan(
    Target("111111111111", "eu-central-1"), "prod", (TrafficStep(10, 600), TrafficStep(100, 0)), "ab" * 32
)
FINDING = LimitFinding(
    "errors",
    "max_ratio",
    Verdict.UNCLEAR,
    "errors: unclear",
    bound=2,
    tally=Tally(n=1204, x=14, m=10812, y=43),
    new=Interval(100 * 14 / 1204, 0.7, 2.0),
    old=Interval(0.4, 0.29, 0.54),
    ratio=Interval(3.1, 1.2, math.inf),
    needed=2300,
)
AT = "2026-11-26T14:00:00.000Z"


def shown(*findings: LimitFinding, **members: Any) -> dict[str, Any]:
    observation = Observation(AT, members.pop("step", 0), 0.125, Verdict.UNCLEAR, findings, **members)
    return observation_view(observation, PLAN)


def test_a_finding_has_the_numbers_that_its_verdict_is_from() -> None:
    assert shown(FINDING) == {
        "at": AT,
        "step": 0,
        "percent": 10,
        "verdict": "unclear",
        "spend": 0.125,
        "alarms": [],
        "findings": [
            {
                "limit": "errors",
                "rule": "max_ratio",
                "bound": 2.0,
                "unit": "%",
                "mode": "enforce",
                "verdict": "unclear",
                "message": "errors: unclear",
                "new": {"value": 1.16279, "low": 0.7, "high": 2.0, "requests": 1204, "hits": 14},
                "old": {"value": 0.4, "low": 0.29, "high": 0.54, "requests": 10812, "hits": 43},
                "ratio": {"value": 3.1, "low": 1.2, "high": None},
                "needed": 2300,
            }
        ],
    }


def test_every_document_is_json_as_other_programs_read_it() -> None:
    odd = Interval(math.inf, math.nan, -math.inf)
    finding = LimitFinding("errors", "gross", Verdict.BAD, "", bound=math.inf, new=odd, old=odd, ratio=odd)

    json.dumps(shown(finding), allow_nan=False)


@pytest.mark.parametrize(
    ("limit", "rule", "unit"),
    [
        ("errors", "max_ratio", "%"),
        ("errors", "gross", "%"),
        ("throttles", "max_percent", "%"),
        ("duration_p95", "max_ratio", "ms"),
        ("duration_p95", "max_ms", "ms"),
        ("refused", "max_ratio", None),
        ("judge", "judge", None),
    ],
)
def test_estimates_have_their_unit(limit: str, rule: str, unit: str | None) -> None:
    assert shown(LimitFinding(limit, rule, Verdict.GOOD, ""))["findings"][0]["unit"] == unit


def test_a_judge_has_no_numbers_and_observe_is_said() -> None:
    finding = shown(LimitFinding("judge", "judge", Verdict.BAD, "judge: bad", observe=True))["findings"][0]

    assert (finding["mode"], finding["new"], finding["old"], finding["ratio"], finding["bound"]) == (
        "observe",
        None,
        None,
        None,
        None,
    )


def test_alarms_have_state_since_reason_and_link() -> None:
    alarm = AlarmReading("orders-5xx", AlarmState.ALARM, AT, "Threshold Crossed", "https://console.example/")

    assert shown(alarms=(alarm, AlarmReading("quiet", AlarmState.OK)))["alarms"] == [
        {
            "name": "orders-5xx",
            "state": "ALARM",
            "since": AT,
            "reason": "Threshold Crossed",
            "link": "https://console.example/",
        },
        {"name": "quiet", "state": "OK", "since": None, "reason": None, "link": None},
    ]


def test_a_step_that_the_plan_does_not_have_has_no_share() -> None:
    assert shown(step=7)["percent"] is None


def test_a_large_observation_is_its_verdict() -> None:
    large = shown(*[FINDING] * 100)

    assert bounded(None, 10) is None
    assert bounded(shown(FINDING), 16_384) == shown(FINDING)
    assert bounded(large, 16_384) == {**large, "alarms": [], "findings": []}
