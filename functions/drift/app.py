"""Lambda handler of the look for drift: every hour, look at each alias that Sluicegate has moved."""

import time
from functools import cache
from typing import Any, Final

from sluicegate.aws import clients
from sluicegate.drift.places import Places
from sluicegate.drift.sweep import DriftSweep
from sluicegate.gate.codec import load
from sluicegate.observability import count, logger, metrics
from sluicegate.settings import DriftSettings
from sluicegate.store.store import Store

SECONDS: Final = 720
"""For which a run looks. The next run goes on where it stopped."""

LISTED: Final = 20
"""Functions that could not be looked at, in one line of the log."""


@cache
def service() -> DriftSweep:
    """Build it at the first event. An error is not cached."""
    settings = DriftSettings.from_environment()
    return DriftSweep(
        Store(clients.client("dynamodb"), settings.table),
        load(settings.gate, own_functions=settings.own_functions),
        Places(settings, clients.sts_of),
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Look at each event of the schedule. Errors of the table are raised: the next run goes on."""
    report = service().run(time.time() + SECONDS)
    for drift in report.saved:
        found = {"began": [one.code for one in drift.began], "ended": [one.code for one in drift.ended]}
        where = {"function": drift.function, "alias": drift.alias}
        where |= {"account": drift.account, "region": drift.region}
        logger.warning(f"drift_{drift.status}", extra={"drift": drift.id, **where, **found})
    if report.unseen:
        logger.warning(
            "drift_unseen", extra={"functions": report.unseen[:LISTED], "number": len(report.unseen)}
        )
    count("DriftBegan", sum(drift.status == "began" for drift in report.saved))
    count("DriftUnseen", len(report.unseen))
    return {
        "looked": report.looked,
        "changed": [drift.id for drift in report.saved],
        "unseen": len(report.unseen),
        "finished": report.finished,
    }
