"""A client for tests with threads."""

from threading import Lock
from typing import Any


class OneAtATime:
    """A client whose calls are atomic, as DynamoDB's are and moto's, between threads, are not."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def locked(**arguments: Any) -> Any:
            with self._lock:
                return call(**arguments)

        return locked
