"""Fuzz tests: a fixed number of examples, the same in every run, and counted for the end of the run.

@fuzz("tokens", data=st.binary())
def test_any_token_is_refused(data: bytes) -> None: ...
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES: Final = 120
"""Of each test, unless it says otherwise: all of them together take seconds."""

COUNTS: Final[Counter[str]] = Counter()
"""Examples so far in this process, by target."""


def fuzz(
    target: str, examples: int = EXAMPLES, **strategies: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try a test with examples of the strategies, and count them for the target."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(**strategies)
        @wraps(test)
        def counted(*arguments: Any, **named: Any) -> None:
            COUNTS[target] += 1
            test(*arguments, **named)

        return counted

    return decorate


def summary(counts: Iterable[Mapping[str, int]]) -> str | None:
    """Return a line for the end of the run; None if nothing was fuzzed."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    if not total:
        return None
    listed = ", ".join(f"{target} {number}" for target, number in sorted(total.items()))
    return f"fuzz: {total.total()} examples over {len(total)} targets ({listed})"
