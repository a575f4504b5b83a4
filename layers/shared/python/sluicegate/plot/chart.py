"""What a plot of measurements over time shows, as values; `plot.svg` draws it."""

from dataclasses import dataclass
from enum import StrEnum


class MarkerKind(StrEnum):
    """What a mark tells apart, by shape as well as by colour."""

    GOOD = "good"
    UNCLEAR = "unclear"
    BAD = "bad"
    ALARM = "alarm"
    EVENT = "event"


@dataclass(frozen=True)
class Point:
    """A measurement at `at` (seconds from any origin, the same in the whole chart), with its interval."""

    at: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """Measurements of one thing in order of time. `kind` is its CSS class: `new` or `old`."""

    name: str
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Bound:
    """A limit over time: (`at`, value) in order; each holds until the next."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Period:
    """A stretch of time, such as a step. `short` is its label where there is no room for its name."""

    name: str
    begin: float
    end: float
    short: str = ""


@dataclass(frozen=True)
class Marker:
    """Something that happened at a moment. A verdict is drawn below the plot, anything else across it."""

    kind: MarkerKind
    name: str
    at: float


@dataclass(frozen=True)
class Chart:
    """A plot from `begin` to `end`. `description` is its text for people who do not see it."""

    title: str
    description: str
    unit: str
    begin: float
    end: float
    lines: tuple[Line, ...] = ()
    bounds: tuple[Bound, ...] = ()
    periods: tuple[Period, ...] = ()
    marks: tuple[Marker, ...] = ()
