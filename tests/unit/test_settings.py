"""Settings: every variable is required, and an error names the one that is missing."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from sluicegate.deployment.plan import Target
from sluicegate.settings import DeployerSettings, GatewaySettings, MissingSetting, RelaySettings

GATEWAY = {
    "AWS_REGION": "eu-central-1",
    "SLUICEGATE_ACCOUNT": "111111111111",
    "SLUICEGATE_BUCKET": "bucket",
    "SLUICEGATE_GATE": "/opt/sluicegate/gate.json",
    "SLUICEGATE_OWN_FUNCTIONS": "sluicegate-gateway,sluicegate-deployer",
    "SLUICEGATE_STATE_MACHINE_ARN": "arn",
    "SLUICEGATE_TABLE": "table",
    "SLUICEGATE_WAITS": "4",
    "SLUICEGATE_POLL_POOL": "shared",
    "SLUICEGATE_SIGNED_CALLS": "false",
}


def test_the_gateways_settings_are_read_from_its_environment() -> None:
    assert GatewaySettings.from_environment(GATEWAY) == GatewaySettings(
        table="table",
        bucket="bucket",
        state_machine="arn",
        own=Target("111111111111", "eu-central-1"),
        gate="/opt/sluicegate/gate.json",
        own_functions=("sluicegate-gateway", "sluicegate-deployer"),
        waits=4,
        poll_pool="shared",
        signed=False,
    )


@pytest.mark.parametrize("name", GATEWAY)
@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_missing_or_empty_is_named(name: str, value: str | None) -> None:
    environ = GATEWAY | {name: value or ""}
    if value is None:
        del environ[name]
    with pytest.raises(MissingSetting, match=name) as missing:
        GatewaySettings.from_environment(environ)
    assert missing.value.name == name


@pytest.mark.parametrize("value", ["0", "-1", "4.0", "many", "²"])
def test_a_number_that_is_none_is_missing(value: str) -> None:
    with pytest.raises(MissingSetting, match="SLUICEGATE_WAITS"):
        GatewaySettings.from_environment(GATEWAY | {"SLUICEGATE_WAITS": value})


@pytest.mark.parametrize("value", ["yes", "1", "True", "TRUE", " true"])
def test_a_flag_is_true_or_false_and_nothing_else(value: str) -> None:
    assert GatewaySettings.from_environment(GATEWAY | {"SLUICEGATE_SIGNED_CALLS": "true"}).signed
    with pytest.raises(MissingSetting, match="SLUICEGATE_SIGNED_CALLS"):
        GatewaySettings.from_environment(GATEWAY | {"SLUICEGATE_SIGNED_CALLS": value})


def test_a_list_without_a_name_is_missing() -> None:
    with pytest.raises(MissingSetting, match="SLUICEGATE_OWN_FUNCTIONS"):
        GatewaySettings.from_environment(GATEWAY | {"SLUICEGATE_OWN_FUNCTIONS": ","})


RELAY = {"SLUICEGATE_BUS": "bus", "SLUICEGATE_BOARD_URL": "https://deploy.example.com/v1/board"}


def test_a_function_reads_only_its_own_variables() -> None:
    assert RelaySettings.from_environment(RELAY) == RelaySettings("bus", RELAY["SLUICEGATE_BOARD_URL"])
    with pytest.raises(MissingSetting, match="SLUICEGATE_TARGET_ROLE"):
        DeployerSettings.from_environment(GATEWAY)


def handler(name: str) -> ModuleType:
    """The module of a deployed function."""
    path = Path(__file__).parents[2] / f"functions/{name}/app.py"
    spec = importlib.util.spec_from_file_location(f"{name}_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_a_gateway_without_its_settings_denies_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GATEWAY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Sluicegate")
    event = {
        "httpMethod": "POST",
        "resource": "/deployments",
        "path": "/deployments",
        "headers": {},
        "body": "{}",
        "isBase64Encoded": False,
        "requestContext": {"requestId": "a-request"},
    }
    logged: list[str] = []
    module = handler("gateway")
    monkeypatch.setattr(module.logger, "error", lambda _, extra: logged.append(extra["error"]))
    answer = module.handler(event, None)
    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["code"] == "unavailable"
    assert "SLUICEGATE_" not in answer["body"]
    [error] = logged
    assert "SLUICEGATE_TABLE" in error
