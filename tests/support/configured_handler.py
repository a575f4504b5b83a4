"""The handler of a function that works in targets, with the settings that the template gives it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from moto import mock_aws

from sluicegate.observability import metrics
from support.gate_documents import document
from support.own_metrics import handler
from support.simulation import OWN, TABLE


@contextmanager
def configured(
    name: str, role: str, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> Iterator[ModuleType]:
    """The module of the function's handler, in an account of its own; `role` is that of the target."""
    gate = directory / "gate.json"
    gate.write_text(json.dumps(document()))
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": OWN.region,
        "AWS_DEFAULT_REGION": OWN.region,
        "POWERTOOLS_METRICS_NAMESPACE": "Sluicegate",
        "SLUICEGATE_ACCOUNT": OWN.account,
        "SLUICEGATE_EXTERNAL_ID": "arn:aws:cloudformation:eu-central-1:111111111111:stack/sluicegate/1",
        "SLUICEGATE_GATE": str(gate),
        "SLUICEGATE_OWN_FUNCTIONS": "sluicegate-gateway,sluicegate-deployer",
        "SLUICEGATE_TABLE": TABLE,
        "SLUICEGATE_TARGET_ROLE": role,
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(metrics.provider, "namespace", "Sluicegate")
    with mock_aws():
        yield handler(name)
