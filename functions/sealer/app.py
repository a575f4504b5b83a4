"""Lambda handler of the sealer: every minute, seal what was decided, and sign the head once an hour."""

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any, Final

from sluicegate.aws import clients
from sluicegate.aws.evidence_bucket import EvidenceBucket
from sluicegate.aws.kms import SigningKey
from sluicegate.observability import count, logger, measure, metrics
from sluicegate.sealer.sealer import SealedGate, Sealer
from sluicegate.settings import SealerSettings
from sluicegate.store.evidence_log import EvidenceLog
from sluicegate.store.table import Table

SECONDS: Final = 40
"""For which a run seals. What is left then is the next minute's."""


@cache
def service() -> Sealer:
    """Build the sealer at the first event."""
    given = SealerSettings.from_environment()
    return Sealer(
        EvidenceLog(Table(clients.client("dynamodb"), given.table), given.log, time.time),
        EvidenceBucket(clients.client("s3"), given.bucket),
        [SigningKey(clients.client("kms"), arn) for arn in given.keys],
        stack=given.stack,
        prefix=given.prefix,
        gate=gate(given),
        clock=time.time,
    )


def gate(given: SealerSettings) -> SealedGate:
    """Return the gate file of this version of its layer, as it is: it is kept, not read."""
    data = Path(given.gate).read_bytes()
    origin = Path(given.gate).with_name("gate-origin.json")
    known = json.loads(origin.read_bytes()) if origin.is_file() else {}
    return SealedGate(hashlib.sha256(data).hexdigest(), data, tuple(sorted(known.items())))


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Seal at each event of the schedule. Errors of AWS are raised: the next minute's run goes on."""
    report = service().run(time.time() + SECONDS)
    measure("SealingLag", report.lag)
    count("EvidenceForked", int(report.fork is not None))
    count("HeadsSigned", int(report.signed))
    if report.fork is not None:
        logger.error("evidence_forked", extra={"reason": report.fork, "size": report.size})
    elif report.sealed or report.signed:
        logger.info(
            "evidence_sealed", extra={"sealed": report.sealed, "size": report.size, "left": report.left}
        )
    return {"sealed": report.sealed, "size": report.size, "left": report.left, "fork": report.fork}
