"""What an acceptance rests on: read in one call, before anything is refused.

A repetition is answered from what it made before, whatever the rest says. So the request is among what is
read, and the rest is only looked at where it is new.
"""

from dataclasses import dataclass

from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.holds import Hold, Holds
from sluicegate.store.requests import AcceptedRequest
from sluicegate.store.table import Table
from sluicegate.store.uploads import Announcer, Uploads


@dataclass(frozen=True)
class Ground:
    """The items as they were read. What they do not say is read when it is asked for."""

    stage: str
    announcer: Announcer | None
    items: tuple[Item | None, Item | None, Item | None]
    _holds: Holds
    _uploads: Uploads

    @property
    def request(self) -> AcceptedRequest | None:
        """What the same request has accepted before, or None."""
        item = self.items[0]
        return read(item, AcceptedRequest) if item else None

    def holds(self) -> list[Hold]:
        """Return the holds of the stage."""
        return self._holds.listed(self.stage, self.items[1])

    def is_registered(self, function: str, sha256: str) -> bool:
        """Say whether a job announced this digest for this function: the requester's own, or any other."""
        mine = self.announcer and (self.announcer.function, self.announcer.sha256) == (function, sha256)
        return bool(mine and self.items[2]) or self._uploads.is_registered(function, sha256)


class Grounds:
    """The reads of acceptances."""

    def __init__(self, table: Table, holds: Holds, uploads: Uploads) -> None:
        self._table = table
        self._holds = holds
        self._uploads = uploads

    def read(self, request_key: str, stage: str, announcer: Announcer | None) -> Ground:
        """Read the request, the stage's holds and what the announcer announced (a consistent read)."""
        request, holds = keys.request(request_key), keys.hold_list(stage)
        announced = announcer.key if announcer else None
        asked = (request, holds, announced)
        found = {
            (item["pk"], item["sk"]): item
            for item in self._table.get_many([key for key in asked if key], consistent=True)
        }
        first, second, third = (found.get((key["pk"], key["sk"])) if key else None for key in asked)
        return Ground(stage, announcer, (first, second, third), self._holds, self._uploads)
