"""Work that goes on in a thread of its own for as long as a block runs."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Background(ABC):
    """Begins with a block and ends with it: the block's end waits until the work has ended."""

    def __init__(self, name: str) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether the work is not, or no longer, under way."""
        return not self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """Work until `_end` is set."""
