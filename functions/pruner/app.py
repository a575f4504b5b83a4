"""Lambda handler of the pruner: every hour, look at functions whose old versions may go, and delete a few."""

import time
from functools import cache
from typing import Any, Final

from sluicegate.aws import clients
from sluicegate.gate.codec import load
from sluicegate.observability import count, logger, measure_percent, metrics
from sluicegate.pruning.places import PrunePlace
from sluicegate.pruning.pruner import Pruner
from sluicegate.settings import PrunerSettings
from sluicegate.store.store import Store

SECONDS: Final = 720
"""For which a run prunes. The next run goes on where it stopped."""

LISTED: Final = 20
"""Functions or versions in one line of the log."""


@cache
def service() -> Pruner:
    """Build it at the first event. An error is not cached."""
    settings = PrunerSettings.from_environment()
    return Pruner(
        Store(clients.client("dynamodb"), settings.table),
        load(settings.gate, own_functions=settings.own_functions),
        PrunePlace(settings, clients.client("sts")),
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Prune at each event of the schedule. Errors of the table are raised: the next run goes on."""
    run = service().run(time.time() + SECONDS)
    for function, version in run.deleted:
        logger.info("version_pruned", extra={"function": function, "version": version})
    if run.refused:
        logger.warning("prune_refused", extra={"versions": run.refused[:LISTED], "number": len(run.refused)})
    if run.unseen:
        logger.warning("prune_unseen", extra={"functions": run.unseen[:LISTED], "number": len(run.unseen)})
    count("VersionsPruned", len(run.deleted))
    if run.storage is not None and run.storage.limit:
        measure_percent("CodeStorage", 100 * run.storage.used / run.storage.limit)
    return {
        "looked": run.looked,
        "deleted": len(run.deleted),
        "refused": len(run.refused),
        "unseen": len(run.unseen),
        "finished": run.finished,
    }
