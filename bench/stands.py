"""The stand that a measurement runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

from stand import Stand, control


@contextmanager
def running_stand() -> Iterator[Stand]:
    """A stand that is up. Afterwards it is as before: up with its own gate file, or down."""
    was_up = (state := control.State.load()) is not None and state.is_running()
    control.up()
    try:
        yield Stand.running()
    finally:
        if was_up:
            control.up()
        else:
            control.down()
