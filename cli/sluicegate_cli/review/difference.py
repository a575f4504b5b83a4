"""The difference of two gate files, in sentences: rights that are gained and lost, and what else changes."""

from dataclasses import dataclass
from typing import Any

from sluicegate.gate.policy import Gate
from sluicegate_cli.review import rights, surroundings
from sluicegate_cli.review.changes import Change, verdict


@dataclass(frozen=True)
class Difference:
    """All changes: rights first, then what limits them and stands between, then the rest.

    Each request that the two files decide otherwise is one that some change is about. Other requests may be,
    too: where patterns overlap, and neither covers the other, a change says more than there is.
    """

    old: str
    new: str
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, old: Gate, new: Gate) -> "Difference":
        """Compare two gate files."""
        found = (*rights.changes(old, new), *surroundings.changes(old, new))
        return cls(old.digest, new.digest, found)

    @property
    def verdict(self) -> str:
        """The word for a reviewer: `grants more`, `grants less`, `both`, `neither`."""
        return verdict(self.changes)

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "old": self.old,
            "new": self.new,
            "changes": [change.document for change in self.changes],
            "verdict": self.verdict,
        }
