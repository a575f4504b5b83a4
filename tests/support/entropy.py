"""What the product draws by lot (ids, salts, pauses), the same in each run."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def entropy() -> Iterator[None]:
    """Let everything that the product draws by lot be the same in each run."""
    kept, state = os.urandom, random.getstate()
    draw_from(1)
    try:
        yield
    finally:
        os.urandom = random._urandom = kept  # type: ignore[attr-defined] # the latter: `secrets`
        random.setstate(state)


def draw_from(seed: int) -> None:
    """Let what is drawn from now on follow from this seed. Only within `entropy`."""
    drawn = random.Random(seed)  # noqa: S311 (a simulation)
    os.urandom = random._urandom = drawn.randbytes  # type: ignore[attr-defined]
    random.seed(seed)
