"""Make a failing run simpler: fewer choices, and more of them dull."""

from collections.abc import Callable, Sequence
from time import monotonic

from simulation.runs import Outcome

Try = Callable[[Sequence[int]], Outcome]


def shrink(failed: Outcome, again: Try, seconds: float = 30.0) -> Outcome:
    """Return the simplest failure that is found in so many seconds, of the same guarantee."""
    until, best = monotonic() + seconds, failed
    what = _kind(failed)

    def fails(choices: list[int]) -> bool:
        nonlocal best
        if monotonic() > until:
            return False
        outcome = again(choices)
        if _kind(outcome) != what or _weight(outcome.choices) >= _weight(best.choices):
            return False
        best = outcome
        return True

    length = 1 << max(0, len(best.choices).bit_length() - 1)
    while length and monotonic() < until:  # cut the end off
        if (length < len(best.choices) and not fails(best.choices[:-length])) or length >= len(best.choices):
            length //= 2
    block = max(1, len(best.choices) // 4)
    while monotonic() < until:
        changed = False
        for start in range(0, len(best.choices), block):
            choices = list(best.choices)
            if any(choices[start : start + block]):
                choices[start : start + block] = [0] * len(choices[start : start + block])
                changed = fails(choices) or changed
        if block == 1 and not changed:
            break
        block = max(1, block // 2)
    for number, choice in enumerate(list(best.choices)):
        if choice > 1 and number < len(best.choices) and best.choices[number] == choice:
            fails([*best.choices[:number], 1, *best.choices[number + 1 :]])
    return best


def _kind(outcome: Outcome) -> str | None:
    """Return the number and the name of the guarantee that does not hold."""
    return outcome.violation.split(":")[0] if outcome.violation else None


def _weight(choices: Sequence[int]) -> tuple[int, int]:
    """Return how many choices are not dull, and how large they are: a list may end in zeros for nothing."""
    return sum(1 for choice in choices if choice), sum(choices)
