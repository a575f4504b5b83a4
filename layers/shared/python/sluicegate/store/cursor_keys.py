"""The key that seals cursors: random, made once for the table, and the same for every process."""

import base64
import os
from typing import Final

from sluicegate.store import keys
from sluicegate.store.table import ABSENT, Table

_BYTES: Final = 32


class CursorKeys:
    """The one key. It is read at the first list that needs it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._key: bytes | None = None

    def key(self) -> bytes:
        """Return 32 random bytes, made at the first call of all.

        Deleting the item makes another key, which ends the lists that somebody is reading. A process keeps
        the key that it has: until the last one of before has ended, lists that two processes answer end too.
        """
        if self._key is None:
            self._key = self._read() or self._make()
        return self._key

    def _read(self) -> bytes | None:
        item = self._table.get(keys.cursor_key())
        return base64.b64decode(item["key"]) if item else None

    def _make(self) -> bytes:
        made = os.urandom(_BYTES)
        changes = {"key": base64.b64encode(made).decode()}
        if self._table.update(keys.cursor_key(), changes, ABSENT):
            return made
        found = self._read()  # another process was faster
        if found is None:
            raise RuntimeError("the key of cursors was deleted just now")
        return found
