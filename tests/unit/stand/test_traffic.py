"""How the stand deals requests out by an alias' weights, and what it writes of them."""

from base64 import b64encode
from collections import Counter
from itertools import pairwise

import pytest

from stand.api import AliasState, function_of
from stand.launch_emulator import report
from stand.samples import good, raising, slow
from stand.traffic import Dealer, Tally, format_counts, metric_data, reported_duration, shares


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ({"version": "1", "weights": {}}, {"1": 1.0}),
        ({"version": "1", "weights": {"2": 0.1}}, {"1": 0.9, "2": 0.1}),
        ({"version": "1", "weights": {"2": 1.0}}, {"2": 1.0}),
        ({"version": "1", "weights": {"2": 0.0}}, {"1": 1.0}),
    ],
)
def test_the_alias_own_version_gets_what_the_others_leave(
    alias: AliasState, expected: dict[str, float]
) -> None:
    assert shares(alias) == expected


@pytest.mark.parametrize(
    ("weight", "requests", "expected"),
    [(0.1, 50, 5), (0.1, 10, 1), (0.5, 7, 3), (0.25, 100, 25), (0.01, 100, 1)],
)
def test_a_version_is_dealt_its_share(weight: float, requests: int, expected: int) -> None:
    dealer = Dealer()
    dealt = Counter(dealer.deal({"1": 1 - weight, "2": weight}) for _ in range(requests))
    assert dealt["2"] == expected


def test_a_share_is_spread_evenly() -> None:
    dealer = Dealer()
    dealt = [dealer.deal({"1": 0.9, "2": 0.1}) for _ in range(100)]
    at = [number for number, version in enumerate(dealt) if version == "2"]
    assert {after - before for before, after in pairwise(at)} == {10}


def test_changed_weights_hold_from_the_next_request() -> None:
    dealer = Dealer()
    for weight in (0.1, 0.5, 0.2):
        dealt = Counter(dealer.deal({"1": 1 - weight, "2": weight}) for _ in range(50))
        assert dealt["2"] == pytest.approx(50 * weight, abs=1)
    assert {dealer.deal({"2": 1.0}) for _ in range(10)} == {"2"}


def test_what_is_written_of_requests_is_of_the_alias_and_of_each_version() -> None:
    tallies = {"1": Tally(3, durations=[20.0, 20.0, 25.0]), "2": Tally(2, 1, 1, [30.0, 31.0])}
    written = {
        (datum["MetricName"], datum["Dimensions"][-1]["Value"]): dict(
            zip(datum["Values"], datum["Counts"], strict=True)
        )
        for datum in metric_data("orders", "prod", tallies)
    }
    assert written == {
        ("Invocations", "1"): {1: 3},
        ("Errors", "1"): {0: 3},
        ("Throttles", "1"): {0: 3},
        ("Duration", "1"): {20.0: 2, 25.0: 1},
        ("Invocations", "2"): {1: 2},
        ("Errors", "2"): {0: 1, 1: 1},
        ("Throttles", "2"): {0: 2, 1: 1},
        ("Duration", "2"): {30.0: 1, 31.0: 1},
        ("Invocations", "orders:prod"): {1: 5},
        ("Errors", "orders:prod"): {0: 4, 1: 1},
        ("Throttles", "orders:prod"): {0: 5, 1: 1},
        ("Duration", "orders:prod"): {20.0: 2, 25.0: 1, 30.0: 1, 31.0: 1},
    }


def test_nothing_is_written_of_no_requests() -> None:
    assert metric_data("orders", "prod", {}) == []


def test_a_duration_is_read_from_the_report_without_the_start_of_the_worker() -> None:
    log = b64encode(f"a line\n{report('1', 0.02, 1.5)}".encode()).decode()
    assert reported_duration(log) == 20.0
    assert reported_duration("") is None


def test_a_second_of_traffic_is_told_by_version() -> None:
    assert (
        format_counts({"41": 9}, {}, {"41": 18, "100": 1}, {"100": 1})
        == "41: 9 served   100: 1 served, 1 of them errors"
    )


@pytest.mark.parametrize(
    "reference",
    ["orders", "orders:3", "orders:prod", "arn:aws:lambda:eu-central-1:111111111111:function:orders:3"],
)
def test_calls_by_any_name_are_about_the_function(reference: str) -> None:
    assert function_of(reference) == "orders"


class Context:
    aws_request_id = "80000000-0000-0000-0000-000000000000"
    """In the middle: fails of a share above one half."""


@pytest.mark.parametrize(
    ("source", "event", "answers"),
    [
        (good("v1"), {"ping": True}, True),
        (good("v1"), {}, True),
        (raising("v1"), {"ping": True}, True),
        (raising("v1"), {}, False),
        (raising("v1", answers_ping=False), {"ping": True}, False),
        (raising("v1", share=0.4), {}, True),
        (raising("v1", share=0.6), {}, False),
        (slow("v1", 0.03), {}, True),
    ],
)
def test_a_sample_release_does_what_its_name_says(source: str, event: dict[str, bool], answers: bool) -> None:
    scope: dict[str, object] = {}
    exec(source, scope)  # noqa: S102 - our own, and a function is what comes of it
    handler = scope["handler"]
    assert callable(handler)
    if answers:
        assert handler(event, Context()) == {"status": "ok", "release": "v1"}
    else:
        with pytest.raises(RuntimeError):
            handler(event, Context())
