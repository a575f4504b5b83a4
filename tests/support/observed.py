"""Deployments with observations, as the API shows them: a rollout whose new version fails more often."""

import math
from collections.abc import Mapping
from typing import Any

from sluicegate.deployment.durations import timestamp
from support.cli_server import BEGAN, STEPS, baking

NASTY_HTML = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>'\"&{{ 7*7 }}"


def finding(limit: str = "errors", rule: str = "max_ratio", **members: Any) -> dict[str, Any]:
    """A finding: 1.2 % of 1,204 requests against 0.4 % of 10,812, which may be chance."""
    shown: dict[str, Any] = {
        "limit": limit,
        "rule": rule,
        "bound": 2,
        "unit": "%",
        "mode": "enforce",
        "verdict": "unclear",
        "message": "errors: 1.2 % of 1,204 (0.7–2.0 %), old 0.4 %; ×3.1 (1.2–8.0), limit ×2: unclear",
        "new": {"value": 1.2, "low": 0.7, "high": 2.0, "requests": 1204, "hits": 14},
        "old": {"value": 0.4, "low": 0.29, "high": 0.54, "requests": 10812, "hits": 43},
        "ratio": {"value": 3.1, "low": 1.2, "high": 8.0},
        "needed": None,
    }
    return shown | members


def look(at: float, *findings: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What was observed `at` seconds after acceptance, in the first step of three."""
    verdicts = {one["verdict"] for one in findings} or {"unclear"}
    worst = next((verdict for verdict in ("bad", "unclear", "good") if verdict in verdicts), "unclear")
    shown: dict[str, Any] = {
        "at": timestamp(BEGAN + at),
        "step": 0,
        "percent": 10,
        "verdict": worst,
        "spend": 0.1,
        "alarms": [],
    }
    return {**shown, "findings": list(findings) or [finding()], **members}


def alarm(name: str = "orders-5xx", state: str = "ALARM", **members: Any) -> dict[str, Any]:
    """An alarm that rings since 20 s after acceptance."""
    return {
        "name": name,
        "state": state,
        "since": timestamp(BEGAN + 20),
        "reason": "Threshold Crossed: 1 datapoint (7.0) was greater than the threshold (5.0)",
        "link": f"https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#alarmsV2:alarm/{name}",
        **members,
    }


def series(looks: int = 20, interval: float = 15.0) -> list[dict[str, Any]]:
    """So many looks at a version that fails three times as often; the last is bad."""
    return [_look_of_series(index, looks, interval) for index in range(1, looks + 1)]


def _look_of_series(index: int, looks: int, interval: float) -> dict[str, Any]:
    requests, verdict = 60 * index, "bad" if index == looks else "unclear"
    share, spread = 3.1 * (1 - math.exp(-index / 6)), 40 / math.sqrt(60 * index)
    low, high = round(share / (1 + spread), 2), round(share * (1 + spread), 2)
    errors = finding(
        verdict=verdict,
        new=_measured(share, spread, requests),
        old=_measured(1.0, spread / 3, requests * 9),
        ratio={"value": round(share, 2), "low": low, "high": high},
        message=f"errors: {share:.1f} % of {requests:,}, old 1.0 %; ×{share:.1f}, limit ×2: {verdict}",
    )
    most = finding(
        rule="max_percent",
        bound=5,
        verdict="good" if index > 8 else "unclear",
        new=errors["new"],
        old=None,
        ratio=None,
        message=f"errors: {share:.1f} % of {requests:,}, limit 5 %",
    )
    slow = finding(
        "duration_p95",
        bound=1.5,
        verdict="good",
        mode="observe",
        new=_measured(5.2, 2 * spread, requests),
        old=_measured(5.0, spread / 3, requests * 9),
        ratio={"value": 1.04, "low": 0.9, "high": 1.2},
        message="duration_p95: 5.2 % slower than 412 ms, old 5.0 %; ×1.0 (0.9–1.2), limit ×1.5: good",
    )
    return look(5 + index * interval, errors, most, slow)


def observed(looks: list[dict[str, Any]] | None = None, **members: Any) -> dict[str, Any]:
    """A deployment that bakes, with the observation of its newest look."""
    shown = series(4) if looks is None else looks
    return baking(**{"observation": shown[-1] if shown else None, "steps": STEPS} | members)


def went_back(looks: list[dict[str, Any]] | None = None, **members: Any) -> Mapping[str, Any]:
    """A deployment that a bad verdict rolled back, with all its observations."""
    shown = series() if looks is None else looks
    document = observed(shown, observations=shown)
    at = (len(shown) + 1) * 15.0
    timeline = [
        *document["timeline"],
        {"seq": 90, "at": timestamp(BEGAN + at), "status": "rolling_back", "message": "errors: bad"},
        {
            "seq": 91,
            "at": timestamp(BEGAN + at + 1),
            "status": "rolled_back",
            "message": "alias prod serves what it served before",
        },
    ]
    ended = {
        "status": "rolled_back",
        "final": True,
        "finished_at": timestamp(BEGAN + at + 1),
        "reason": {"code": "metric", "message": "errors: ×3.1 (1.8–4.4), limit ×2", "data": {}},
        "timeline": timeline,
    }
    return {**document, **ended, **members}


def _measured(value: float, spread: float, requests: int) -> dict[str, Any]:
    return {
        "value": round(value, 3),
        "low": round(max(0.0, value - spread), 3),
        "high": round(value + spread, 3),
        "requests": requests,
        "hits": round(value * requests / 100),
    }
