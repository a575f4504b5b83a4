"""Map each revision of a deployment to one EventBridge event (docs/reference/events.md).

A pure function of the table's stream: the same record always makes the same event, so that a consumer
recognizes a duplicate by (id, revision).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sluicegate.deployment.drift import Drift, findings_view
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observation_views import bounded
from sluicegate.deployment.plan import Target
from sluicegate.deployment.views import target_view, view
from sluicegate.store import keys
from sluicegate.store.codec import shown_deployment, unmarshal
from sluicegate.store.drift import drift_of

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "sluicegate"
DETAIL_TYPE: Final = "Sluicegate Deployment"
DRIFT_TYPE: Final = "Sluicegate Drift"

VERSION: Final = 1
"""Version of the detail. It grows when a field is removed or changes its meaning, not when one is added."""

MAX_BATCH_ENTRIES: Final = 10
MAX_BATCH_BYTES: Final = 256 * 1024
"""The limits of one PutEvents call (EventBridge API reference, PutEvents)."""

MAX_DATA_BYTES: Final = 16 * 1024
"""The size of a reason's `data` above which an event has `{}`: nothing else limits this field."""


MAX_OBSERVATION_BYTES: Final = 64 * 1024
"""The size of an observation above which an event has it without its alarms and findings."""


@dataclass(frozen=True)
class DeploymentEvent:
    """An event, and the sequence number of the stream record behind it.

    `deployment` is the id of what it is about: that of a deployment, or of an alias's drift.
    """

    sequence: str
    deployment: str
    revision: int
    time: datetime
    function: str
    detail: str
    detail_type: str = DETAIL_TYPE

    def entry(self, bus: str) -> "PutEventsRequestEntryTypeDef":
        """Return the event as an entry of a PutEvents call."""
        return {
            "EventBusName": bus,
            "Source": SOURCE,
            "DetailType": self.detail_type,
            "Time": self.time,
            "Resources": [self.function],
            "Detail": self.detail,
        }

    @property
    def size(self) -> int:
        """Return the size in bytes (EventBridge user guide, "Calculating PutEvents event entry size")."""
        texts = (SOURCE, self.detail_type, self.function, self.detail)
        return 14 + sum(len(text.encode()) for text in texts)


def from_record(record: Mapping[str, Any], board: str) -> DeploymentEvent | None:
    """Return the event for a record of the table's stream, or None if it has no event.

    One whose revision stays has none: the janitor notes in the record when it looks again.

    `board` is the address of the board, where people see the deployment and decide on it.

    Raises an exception of any kind if the deployment, or the drift, in the record is malformed.
    """
    change = record["dynamodb"]
    if change["Keys"]["pk"] == {"S": keys.DRIFT}:
        return drift_event(record, board)
    if change["Keys"]["sk"] != {"S": "record"} or "NewImage" not in change:
        return None
    if change["NewImage"].get("revision") == change.get("OldImage", {}).get("revision", "none"):
        return None
    deployment = shown_deployment(unmarshal(change["NewImage"]))
    partition = record["eventSourceARN"].split(":")[1]
    target = deployment.plan.target
    return DeploymentEvent(
        sequence=change["SequenceNumber"],
        deployment=deployment.id,
        revision=deployment.revision,
        time=datetime.fromisoformat(deployment.updated_at),
        function=f"arn:{partition}:lambda:{target.region}:{target.account}:function:{deployment.function}",
        detail=json.dumps(detail(deployment, board), ensure_ascii=False, separators=(",", ":")),
    )


def detail(deployment: Deployment, board: str) -> dict[str, Any]:
    """Return the event's detail: the API's view, with the newest entry in place of the timeline.

    `version` is the detail's own. The API's `version`, which the deployment published, is `deployed_version`.
    """
    fields = view(deployment)
    timeline = fields.pop("timeline")
    deployed = fields.pop("version")
    if fields["reason"] and len(json.dumps(fields["reason"]["data"]).encode()) > MAX_DATA_BYTES:
        fields["reason"]["data"] = {}
    fields["observation"] = bounded(fields["observation"], MAX_OBSERVATION_BYTES)
    return {
        "version": VERSION,
        **fields,
        "deployed_version": deployed,
        "board": f"{board}/deployments/{deployment.id}",
        "previous_status": timeline[-2]["status"] if len(timeline) > 1 else None,
        "entry": timeline[-1],
    }


def drift_event(record: Mapping[str, Any], board: str) -> DeploymentEvent | None:
    """Return the event for a record of an alias's drift, or None if no finding has begun or ended."""
    change = record["dynamodb"]
    drift = drift_of(unmarshal(change["NewImage"])) if "NewImage" in change else None
    if drift is None or not (drift.began or drift.ended):
        return None
    partition = record["eventSourceARN"].split(":")[1]
    place = f"arn:{partition}:lambda:{drift.region}:{drift.account}"
    return DeploymentEvent(
        sequence=change["SequenceNumber"],
        deployment=drift.id,
        revision=drift.revision,
        time=datetime.fromisoformat(drift.at),
        function=f"{place}:function:{drift.function}" if drift.function else place,
        detail=json.dumps(drift_detail(drift, board), ensure_ascii=False, separators=(",", ":")),
        detail_type=DRIFT_TYPE,
    )


def drift_detail(drift: Drift, board: str) -> dict[str, Any]:
    """Return the detail of an event about drift. Of a place that lets nobody look, it names no function."""
    return {
        "version": VERSION,
        "id": drift.id,
        "revision": drift.revision,
        "status": drift.status,
        "function": drift.function or None,
        "stage": drift.stage or None,
        "alias": drift.alias or None,
        "target": target_view(Target(drift.account, drift.region), drift.target_name),
        "deployment": drift.deployment or None,
        "since": drift.since,
        "at": drift.at,
        "findings": findings_view(drift.findings),
        "began": findings_view(drift.began),
        "ended": findings_view(drift.ended),
        "board": f"{board}/functions/{drift.function}" if drift.function else board,
    }


def batches(events: Iterable[DeploymentEvent]) -> Iterator[list[DeploymentEvent]]:
    """Split the events, in order, into batches that one PutEvents call accepts.

    A batch never has two revisions of a deployment: any entry may fail, and the later revision must not be
    published before the earlier one.
    """
    batch: list[DeploymentEvent] = []
    for event in events:
        if batch and (
            len(batch) == MAX_BATCH_ENTRIES
            or sum(queued.size for queued in batch) + event.size > MAX_BATCH_BYTES
            or event.deployment in {queued.deployment for queued in batch}
        ):
            yield batch
            batch = []
        batch.append(event)
    if batch:
        yield batch
