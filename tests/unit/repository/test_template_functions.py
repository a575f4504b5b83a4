"""Functions in template.yaml: settings, concurrency, layers, and what they are invoked by."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from sluicegate.delivery import consumer
from sluicegate.messages import messenger
from sluicegate.notifier import notifier
from sluicegate.relay import event as events
from sluicegate.settings import (
    BoardSettings,
    DeployerSettings,
    DriftSettings,
    GatewaySettings,
    JanitorSettings,
    MessengerSettings,
    MissingSetting,
    NotifierSettings,
    PrunerSettings,
    RelaySettings,
    SealerSettings,
    WakerSettings,
)
from support.template import (
    FUNCTIONS,
    ROOT,
    TEMPLATE,
    Json,
    actions,
    of_type,
    properties,
    statements,
)

SETTINGS: Final[dict[str, Callable[[Mapping[str, str]], object]]] = {
    "Gateway": GatewaySettings.from_environment,
    "Watcher": GatewaySettings.from_environment,
    "GatewayIam": GatewaySettings.from_environment,
    "WatcherIam": GatewaySettings.from_environment,
    "Deployer": DeployerSettings.from_environment,
    "Rollback": DeployerSettings.from_environment,
    "Janitor": JanitorSettings.from_environment,
    "Relay": RelaySettings.from_environment,
    "Waker": WakerSettings.from_environment,
    "Notifier": NotifierSettings.from_environment,
    "Messenger": MessengerSettings.from_environment,
    "Board": BoardSettings.from_environment,
    "Sealer": SealerSettings.from_environment,
    "Drift": DriftSettings.from_environment,
    "Pruner": PrunerSettings.from_environment,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_given_all_that_it_reads_and_nothing_else(name: str) -> None:
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    own = properties(f"{name}Function").get("Environment", {}).get("Variables", {})
    given = {**dict.fromkeys({**shared, **own}, "given"), "AWS_REGION": "eu-central-1"}
    given |= {"SLUICEGATE_WAITS": "4"} if "SLUICEGATE_WAITS" in own else {}
    given |= {key: own[key] for key in own if key == "SLUICEGATE_SIGNED_CALLS"}
    SETTINGS[name](given)
    for variable in own:
        with pytest.raises(MissingSetting) as missing:
            SETTINGS[name]({key: value for key, value in given.items() if key != variable})
        assert missing.value.name == variable


@pytest.mark.parametrize("name", ["Gateway", "Watcher", "GatewayIam", "WatcherIam"])
def test_only_functions_for_signed_calls_take_api_gateways_word_for_the_caller(name: str) -> None:
    variables = properties(f"{name}Function")["Environment"]["Variables"]
    assert variables["SLUICEGATE_SIGNED_CALLS"] == ("true" if name.endswith("Iam") else "false")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_switch_reserves_each_functions_concurrency(name: str) -> None:
    """A new account has a limit of 10 and can reserve none, so none is the default."""
    reserved = {"Ref": f"{name}Concurrency"}
    assert properties(f"{name}Function")["ReservedConcurrentExecutions"] == {
        "Fn::If": ["Reserved", reserved, {"Ref": "AWS::NoValue"}]
    }
    assert TEMPLATE["Conditions"]["Reserved"] == {"Fn::Equals": [{"Ref": "ReserveConcurrency"}, "true"]}
    assert TEMPLATE["Parameters"]["ReserveConcurrency"]["Default"] == "false"
    # 0 would stop the function.
    assert TEMPLATE["Parameters"][f"{name}Concurrency"]["MinValue"] >= 1


def test_a_queue_invokes_no_more_than_its_function_may_run() -> None:
    """Otherwise Lambda throttles the queue, and messages are received in vain (Lambda's guide to SQS)."""
    scaling = properties("NotifierFunction")["Events"]["Change"]["Properties"]["ScalingConfig"]
    assert TEMPLATE["Parameters"]["NotifierConcurrency"]["MinValue"] >= scaling["MaximumConcurrency"] >= 2


def test_waiting_calls_leave_room_in_a_new_account() -> None:
    """Of ten: the waits, a gateway that accepts, and a deployer for each of two deployments, at least."""
    for name in ("Watcher", "WatcherIam"):
        waits = properties(f"{name}Function")["Environment"]["Variables"]["SLUICEGATE_WAITS"]
        assert waits == {"Fn::If": ["Reserved", {"Ref": f"{name}Concurrency"}, {"Ref": "ConcurrentWaits"}]}
    assert TEMPLATE["Parameters"]["ConcurrentWaits"]["Default"] <= 10 - 6


def test_the_pages_figures_of_concurrency_are_the_templates() -> None:
    defaults = [TEMPLATE["Parameters"][f"{name}Concurrency"]["Default"] for name in FUNCTIONS]
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "start" / "deploy.md").read_text())
    assert f"The {len(FUNCTIONS)} functions reserve {sum(defaults)} together" in page
    assert f"a limit of {sum(defaults) + 100} or more" in page
    parameters = ", ".join(f"`{name}Concurrency`" for name in FUNCTIONS)
    assert f"| {parameters} | {', '.join(map(str, defaults))} |" in page
    assert not re.search(r"Concurrency=0", page)


RELAYED: Final[Json] = properties("RelayFunction")["Events"]["Record"]


@pytest.mark.parametrize(
    ("sid", "resource"),
    [
        ("Stream", {"Fn::GetAtt": ["Table", "StreamArn"]}),
        ("FindStream", "*"),
        ("Tell", {"Fn::GetAtt": ["EventBus", "Arn"]}),
        ("SetAside", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
    ],
)
def test_the_relay_reads_one_stream_and_tells_one_bus(sid: str, resource: Json | str) -> None:
    [statement] = [statement for statement in statements("RelayRole") if statement.get("Sid") == sid]
    assert statement["Resource"] == resource


def test_the_bus_is_told_by_the_relay_alone_and_called_after_the_stack() -> None:
    assert properties("EventBus")["Name"] == {"Ref": "AWS::StackName"}
    tellers = [role for role in of_type("AWS::IAM::Role") if "events:PutEvents" in actions(role)]
    assert tellers == ["RelayRole"]
    variables = properties("RelayFunction")["Environment"]["Variables"]
    assert variables["SLUICEGATE_BUS"] == {"Ref": "EventBus"}
    assert variables.keys() == {"SLUICEGATE_BUS", "SLUICEGATE_BOARD_URL"}


def test_the_relay_is_given_every_change_of_a_deployment_or_drift_and_nothing_else() -> None:
    mapping = RELAYED["Properties"]
    assert RELAYED["Type"] == "DynamoDB"
    assert mapping["Stream"] == {"Fn::GetAtt": ["Table", "StreamArn"]}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    given = [json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"]]
    assert given == [
        {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": keys}}
        for keys in ({"sk": {"S": ["record"]}}, {"pk": {"S": ["drift"]}})
    ]


def test_what_the_relay_could_not_tell_comes_again_until_it_is_set_aside() -> None:
    mapping = RELAYED["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRetryAttempts"] == -1
    assert mapping["ParallelizationFactor"] == 1
    # The stream forgets after a day; a dead letter is of use while the stream still has what it points to.
    assert 3_600 <= mapping["MaximumRecordAgeInSeconds"] <= 12 * 3_600
    assert mapping["DestinationConfig"] == {
        "OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
    }
    assert properties("DeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


@pytest.mark.parametrize("name", ["Notifier", "Messenger"])
def test_a_reporter_is_given_every_event_one_at_a_time(name: str) -> None:
    rule = properties(f"{name}Rule")
    assert rule["EventBusName"] == {"Ref": "EventBus"}
    assert rule["EventPattern"] == {"source": [events.SOURCE], "detail-type": [events.DETAIL_TYPE]}
    [target] = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": [f"{name}Queue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [f"{name}DeadLetters", "Arn"]}}
    mapping = properties(f"{name}Function")["Events"]["Change"]["Properties"]
    assert mapping["Queue"] == {"Fn::GetAtt": [f"{name}Queue", "Arn"]}
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize(
    ("name", "queue"),
    [(name, f"{name}{queue}") for name in ("Notifier", "Messenger") for queue in ("Queue", "DeadLetters")],
)
def test_only_the_rule_sends_to_a_reporter(name: str, queue: str) -> None:
    policy = properties(f"{queue}Policy")
    assert policy["Queues"] == [{"Ref": queue}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [f"{name}Rule", "Arn"]}}}


@pytest.mark.parametrize("name", ["Notifier", "Messenger"])
def test_an_outage_of_a_day_loses_nothing(name: str) -> None:
    queue = properties(f"{name}Queue")
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": [f"{name}DeadLetters", "Arn"]}
    pauses = (consumer.backoff(times) for times in range(1, redrive["maxReceiveCount"]))
    assert 86_400 <= sum(pauses) < 2 * 86_400
    timeout = properties(f"{name}Function")["Timeout"]
    assert timeout > notifier.SECONDS + 10 == messenger.SECONDS + 10
    assert queue["VisibilityTimeout"] == 6 * timeout
    for kept in (f"{name}Queue", f"{name}DeadLetters"):
        assert properties(kept)["MessageRetentionPeriod"] == 14 * 86_400


def test_the_layer_keeps_every_service_that_is_called() -> None:
    makefile = (ROOT / "layers" / "dependencies" / "Makefile").read_text()
    [kept] = re.findall(r"^SERVICES := (.*)$", makefile, re.MULTILINE)
    handlers = "".join(path.read_text() for path in (ROOT / "functions").glob("*/app.py"))
    called = set(re.findall(r"clients\.client\(\"(\w+)\"\)", handlers))
    assert called
    assert called <= set(kept.split())


def test_versions_of_the_gate_stay_and_only_those_who_ask_it_carry_it() -> None:
    assert properties("GateLayer")["RetentionPolicy"] == "Retain"
    carriers = {name for name in FUNCTIONS if {"Ref": "GateLayer"} in properties(f"{name}Function")["Layers"]}
    assert carriers == {
        "Gateway",
        "Watcher",
        "GatewayIam",
        "WatcherIam",
        "Notifier",
        "Messenger",
        "Board",
        "Sealer",
        "Drift",
        "Pruner",
    }


def test_the_dependencies_are_locked_with_hashes() -> None:
    lock = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    for requirement in re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE)):
        assert re.match(r"[a-z0-9-]+==[0-9.a-z]+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement
    version = re.search(r"^pyjwt==([0-9.]+)", lock, re.MULTILINE)
    assert version
    assert tuple(map(int, version[1].split("."))) >= (2, 15, 1)
