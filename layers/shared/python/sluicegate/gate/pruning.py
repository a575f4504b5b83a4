"""Pruning: which old versions of a function may be deleted, as the gate file says it."""

from dataclasses import dataclass
from typing import Final

KEEP: Final = (1, 1_000)
"""The least and the most of `keep`. The newest version is what PublishVersion may return: it always stays."""

ROLLBACKS: Final = (1, 100)
"""The least and the most of `rollbacks`."""

OLDER_THAN: Final = (86_400, 3_650 * 86_400)
"""The least and the most of `older_than`, in seconds."""


@dataclass(frozen=True)
class Prune:
    """An entry's `prune`. A version may go once it is older than `older_than` seconds.

    It may not go while it is one of the newest `keep` that Sluicegate published, or one of the newest
    `rollbacks` that a rollback of any stage may go to. With `dry_run` nothing is deleted.
    """

    keep: int
    rollbacks: int
    older_than: int
    dry_run: bool = False
