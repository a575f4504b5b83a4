"""What a chart draws, and that nothing in it can become more than text."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.plot.axes import tick_label, time_label, time_ticks, top, value_ticks
from sluicegate.plot.chart import Bound, Chart, Line, Marker, MarkerKind, Period, Point
from sluicegate.plot.svg import svg
from sluicegate.text import clean, number

SVG = "{http://www.w3.org/2000/svg}"
POINTS = tuple(Point(60.0 * index, 1.0 + index / 10, 0.5, 2.0 + index / 10) for index in range(5))
CHART = Chart(
    title="errors of the new and the old version",
    description="errors: 1.4 %",
    unit=" %",
    begin=0.0,
    end=300.0,
    lines=(Line("new version", "new", POINTS), Line("old version", "old", POINTS[:1])),
    bounds=(Bound("limit 5 %", ((0.0, 5.0),)),),
    periods=(Period("10 % of the traffic", 0.0, 200.0), Period("50 % of the traffic", 200.0, 300.0)),
    marks=tuple(Marker(kind, kind.value, 120.0) for kind in MarkerKind),
)


def drawn(chart: Chart = CHART, width: int = 720, height: int = 260) -> ElementTree.Element:
    return ElementTree.fromstring(svg(chart, "plot-0", width=width, height=height))  # noqa: S314 (our own)


def test_a_chart_has_lines_intervals_limits_steps_and_a_mark_for_each_verdict() -> None:
    classes = [element.get("class") for element in drawn().iter()]

    for kind in ("line new", "interval new", "whisker old", "point old", "bound", "period p0", "period p1"):
        assert kind in classes
    for kind in MarkerKind:
        assert classes.count(f"mark {kind.value}") == 1


def test_a_chart_has_a_title_and_a_description_for_people_who_do_not_see_it() -> None:
    root = drawn()

    named = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert [named[name] for name in str(root.get("aria-labelledby")).split()] == [
        CHART.title,
        CHART.description,
    ]


def test_a_chart_loads_nothing_and_has_no_style_of_its_own() -> None:
    for element in drawn().iter():
        assert element.tag in {
            "svg",
            "title",
            "desc",
            "defs",
            "clipPath",
            "rect",
            "path",
            "g",
            "text",
            "circle",
        }
        assert not {name for name in element.attrib if "href" in name or name == "style" or name[:2] == "on"}


@given(text=st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_text_stays_text(text: str) -> None:
    nasty = replace(
        CHART,
        title=text,
        bounds=(Bound(text, ((0.0, 5.0),)),),
        periods=(Period(text, 0.0, 300.0),),
        marks=(Marker(MarkerKind.ALARM, text, 3.0),),
    )
    root = drawn(nasty)

    assert root[0].text in (clean(text), None if not text else clean(text))
    assert [element.tag for element in root.iter() if element.tag == "script"] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, 1e30])
def test_a_value_that_is_no_measurement_makes_no_invalid_drawing(value: float) -> None:
    chart = replace(CHART, lines=(Line("new version", "new", (Point(0, value, value, value),) * 2),))

    for element in drawn(chart).iter():
        assert "nan" not in str(element.attrib)
        assert "inf" not in str(element.attrib).replace("interval", "")


def test_a_chart_without_measurements_is_empty_axes() -> None:
    chart = replace(CHART, lines=(), bounds=(), marks=(), periods=(), end=0.0)

    assert top(chart) == 1.0
    assert next(element.text for element in drawn(chart).iter("text")) == "0"


def test_an_interval_of_the_first_requests_leaves_room_for_what_follows() -> None:
    first = (Point(0.0, 0.0, 0.0, 70.0), Point(60.0, 1.0, 0.5, 2.0))

    assert top(replace(CHART, lines=(Line("new version", "new", first),), bounds=())) == pytest.approx(2.3)


def test_a_limit_far_above_the_measurements_leaves_them_room() -> None:
    far = replace(CHART, bounds=(Bound("limit 500 %", ((0.0, 500.0),)), Bound("limit 3 %", ((0.0, 3.0),))))
    labels = [one.text for one in drawn(far).iter("text") if one.get("class") == "bound"]

    assert top(far) == pytest.approx(3.45)
    assert labels == ["limit 500 % ↑", "limit 3 %"]
    assert top(replace(far, lines=())) == pytest.approx(575)


def test_a_period_has_the_label_for_which_there_is_room() -> None:
    periods = (Period("10 % of the traffic", 0, 20, "10 %"), Period("50 % of the traffic", 20, 300, "50 %"))
    labels = [
        one.text
        for one in drawn(replace(CHART, periods=periods)).iter("text")
        if one.get("class") == "period"
    ]
    narrow = drawn(replace(CHART, periods=(Period("10 % of the traffic", 0, 2, "10 %"),)))

    assert labels == ["10 %", "50 % of the traffic"]
    assert [one for one in narrow.iter("text") if one.get("class") == "period"] == []


def test_many_verdicts_are_drawn_smaller() -> None:
    many = tuple(Marker(MarkerKind.GOOD, "good", 2.0 * index) for index in range(150))

    sizes = {float(one.get("r", 0)) for one in drawn(replace(CHART, lines=(), marks=many)).iter("circle")}

    assert max(sizes) * 2 * 150 <= 720


def test_everything_is_within_the_drawing() -> None:
    for width, height in ((720, 260), (340, 220)):
        for element in drawn(width=width, height=height).iter():
            for name, most in (("x", width), ("cx", width), ("y", height)):
                assert -1 <= float(element.get(name, 0)) <= most


def test_ticks_are_round_and_few() -> None:
    assert value_ticks(5.75, 4) == [0, 2, 4]
    assert value_ticks(0.046, 4) == pytest.approx([0, 0.02, 0.04])
    assert time_ticks(300, 9) == [0, 60, 120, 180, 240, 300]
    assert len(time_ticks(7 * 86_400, 9)) == 8
    assert [time_label(one) for one in (0, 30, 90, 300, 5_400, 172_800)] == [
        "0",
        "30s",
        "1m30s",
        "5m",
        "1h30m",
        "2d",
    ]


def test_numbers_have_the_digits_that_count() -> None:
    shown = [
        number(one)
        for one in (0, 0.04, 0.123, 0.7, 0.998, 1, 2.0, 3.14, 9.96, 12, 1204, float("nan"), float("inf"))
    ]

    assert shown == ["0", "0.04", "0.12", "0.7", "1.0", "1.0", "2.0", "3.1", "10", "12", "1,204", "?", "∞"]
    assert [tick_label(one) for one in (0, 0.04, 2.0, 2.5, 1000)] == ["0", "0.04", "2", "2.5", "1,000"]
