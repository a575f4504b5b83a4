"""What the world is told: each revision of a deployment as one EventBridge event (docs/reference/events.md).

A plain mapping of the table's stream: the same record always makes the same event, so that whoever hears it
twice knows it by (id, revision).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.views import view
from sluicegate.store.codec import deployment_of, unmarshal

SOURCE: Final = "sluicegate"
DETAIL_TYPE: Final = "Sluicegate Deployment"

VERSION: Final = 1
"""Of the detail. It grows when a field goes or changes its meaning, not when one is added."""

CALL_ENTRIES: Final = 10
CALL_BYTES: Final = 256 * 1024
"""What one PutEvents takes at most (EventBridge API reference, PutEvents)."""

DATA_BYTES: Final = 16 * 1024
"""What an event has of a reason's `data`, the one part whose size nothing else bounds; beyond it, `{}`."""


@dataclass(frozen=True)
class Event:
    """One event, and the sequence number of the stream's record that it tells of."""

    sequence: str
    deployment: str
    revision: int
    time: datetime
    function: str
    detail: str

    def entry(self, bus: str) -> dict[str, Any]:
        """The entry of a PutEvents call."""
        return {
            "EventBusName": bus,
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Time": self.time,
            "Resources": [self.function],
            "Detail": self.detail,
        }

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them (user guide, "Calculating PutEvents event entry size")."""
        texts = (SOURCE, DETAIL_TYPE, self.function, self.detail)
        return 14 + sum(len(text.encode()) for text in texts)


def of_record(record: Mapping[str, Any]) -> Event | None:
    """The event of one record of the table's stream; None where it changes no deployment.

    Raises some exception or other where what should be a deployment is none.
    """
    change = record["dynamodb"]
    if change["Keys"]["sk"] != {"S": "record"} or "NewImage" not in change:
        return None
    deployment = deployment_of(unmarshal(change["NewImage"]))
    partition = record["eventSourceARN"].split(":")[1]
    target = deployment.plan.target
    return Event(
        sequence=change["SequenceNumber"],
        deployment=deployment.id,
        revision=deployment.revision,
        time=datetime.fromisoformat(deployment.updated_at),
        function=f"arn:{partition}:lambda:{target.region}:{target.account}:function:{deployment.function}",
        detail=json.dumps(detail(deployment), ensure_ascii=False, separators=(",", ":")),
    )


def detail(deployment: Deployment) -> dict[str, Any]:
    """The event's detail: the API's view, with the newest entry in place of the timeline.

    `version` is the detail's own; the API's `version`, which the deployment published, is `deployed_version`.
    """
    told = view(deployment)
    timeline = told.pop("timeline")
    deployed = told.pop("version")
    if told["reason"] and len(json.dumps(told["reason"]["data"]).encode()) > DATA_BYTES:
        told["reason"]["data"] = {}
    return {
        "version": VERSION,
        **told,
        "deployed_version": deployed,
        "previous_status": timeline[-2]["status"] if len(timeline) > 1 else None,
        "entry": timeline[-1],
    }


def calls(events: Iterable[Event]) -> Iterator[list[Event]]:
    """The events in their order, cut into what one PutEvents takes.

    One call never has two revisions of a deployment: of its entries any may fail, and the later one must not
    be heard before the earlier one is.
    """
    call: list[Event] = []
    for event in events:
        if call and (
            len(call) == CALL_ENTRIES
            or sum(other.size for other in call) + event.size > CALL_BYTES
            or event.deployment in {other.deployment for other in call}
        ):
            yield call
            call = []
        call.append(event)
    if call:
        yield call
