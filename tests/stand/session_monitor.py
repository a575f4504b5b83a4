"""Reads what sessions of roles called, and says where one touched another account or region than its own.

The emulator's launcher writes the log (`emulator_trail`), from the request's own signature: access key,
account and region. It knows nothing of the code that asked.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stand import places

GLOBAL: Final = ("iam", "sts")
"""Services whose region says nothing: a target's session calls them nowhere yet."""

_ARN: Final = re.compile(r"arn:[\w-]+:[\w-]+:([\w-]*):(\d{12}):")


@dataclass
class Touched:
    """What sessions called while somebody watched."""

    places: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Accounts and regions by access key."""

    sessions: dict[str, str] = field(default_factory=dict)
    """ARN by access key."""

    sources: dict[str, str] = field(default_factory=dict)
    """Source identity by access key."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def of(self, role: str, account: str) -> list[dict[str, Any]]:
        """The calls of one role's sessions."""
        prefix = f"arn:aws:sts::{account}:assumed-role/{role}/"
        return [call for call in self.calls if call["session"].startswith(prefix)]


class SessionMonitor:
    """Watches the sessions of roles, each in one account and one region.

    `roles` says which: account and region by the role's ARN. The stack's own target is one of them.
    """

    def __init__(self, roles: Mapping[str, tuple[str, str]], log: Path = places.CALLS) -> None:
        self._roles = {
            arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/": where
            for arn, where in roles.items()
        }
        self._log = log

    @contextmanager
    def watching(self) -> Iterator[Touched]:
        """Watch until the block ends.

        Raises AssertionError at its end where a session called, or named, another account or region than its
        role's, or was used in two.
        """
        start = self._log.stat().st_size if self._log.is_file() else 0
        touched = Touched()
        yield touched
        self._read(start, touched)
        assert not touched.strays, "\n".join(touched.strays)

    def _read(self, start: int, touched: Touched) -> None:
        if not self._log.is_file():
            return
        with self._log.open() as log:
            log.seek(start)
            for line in log:
                self._look(json.loads(line), touched)

    def _look(self, call: dict[str, Any], touched: Touched) -> None:
        where = next((w for prefix, w in self._roles.items() if call["session"].startswith(prefix)), None)
        if where is None:
            return
        key, service = call["key"], call["call"].partition(":")[0]
        touched.calls.append(call)
        touched.sessions[key] = call["session"]
        touched.sources[key] = call["source_identity"]
        found = (call["account"], call["region"])
        touched.places.setdefault(key, set()).add(found)
        named = {(region, account) for text in call["resources"] for region, account in _ARN.findall(text)}
        others = {(a, r) for r, a in named if a != where[0] or (r and r != where[1])}
        if (found != where and service not in GLOBAL) or found[0] != where[0] or others:
            what = f"{call['call']} {call['resources']} in {found}"
            touched.strays.append(f"a session of {call['session']} for {where} called {what}")
