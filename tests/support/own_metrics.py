"""Run by a test with a function's environment: print what handlers emit where something is wrong.

A line on standard output that is a metric is in CloudWatch's embedded metric format.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Final

from sluicegate.aws.lambda_versions import CodeStorage
from sluicegate.deployment.model import AliasOutcome, Status
from sluicegate.drift.sweep import DriftReport
from sluicegate.observability import metrics
from sluicegate.pruning.pruner import PruneRun
from sluicegate.recovery.janitor import Swept
from sluicegate.rollout.outcomes import TransientFailure
from sluicegate.sealer.sealer import SealingReport
from support.simulation import new_deployment

FUNCTIONS: Final = Path(__file__).resolve().parents[2] / "functions"
AGE: Final = 1_800
"""Seconds that the message is old which GitLab does not take."""


def handler(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_app", FUNCTIONS / name / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    failed = new_deployment(1_790_000_000, "a" * 64).changed(1_790_000_001, "It failed.", Status.FAILED)
    unknown = replace(failed, outcome=AliasOutcome.UNKNOWN)
    handler("deployer").log_change(unknown, TransientFailure("busy", "It failed."))
    metrics.flush_metrics()
    janitor = handler("janitor")
    swept = Swept(abandoned=[unknown])
    vars(janitor)["service"] = lambda: SimpleNamespace(sweep=lambda: swept)
    janitor.handler({}, SimpleNamespace())
    drift = handler("drift")
    look = DriftReport(unseen=[("orders", "TooManyRequestsException")])
    vars(drift)["service"] = lambda: SimpleNamespace(run=lambda _: look)
    drift.handler({}, SimpleNamespace())
    pruner = handler("pruner")
    run = PruneRun(storage=CodeStorage(used=90, limit=100))
    vars(pruner)["service"] = lambda: SimpleNamespace(run=lambda _: run)
    pruner.handler({}, SimpleNamespace())
    sealer = handler("sealer")
    report = SealingReport(lag=AGE, fork="another segment")
    vars(sealer)["service"] = lambda: SimpleNamespace(run=lambda _: report)
    sealer.handler({}, SimpleNamespace())
    for name in ("notifier", "messenger"):
        handler(name).LOG.delayed("status 503", age=AGE, deployment="dep_1", seconds=900)
    metrics.flush_metrics()


if __name__ == "__main__":
    main()
