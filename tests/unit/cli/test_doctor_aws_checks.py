"""What `doctor --function` makes of Lambda's and CloudWatch's answers, as botocore's models have them."""

import json
import sys
from functools import cache
from typing import Any, cast

import boto3
import click
import pytest
from botocore.stub import ANY, Stubber

from sluicegate_cli.doctor import aws_checks
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

NAME = "orders-api"
ARN = f"arn:aws:lambda:eu-central-1:000000000000:function:{NAME}"
QUEUE = "arn:aws:sqs:eu-central-1:000000000000:orders"
ROLE = "arn:aws:iam::000000000000:role/orders"
SECRET = "canary-of-an-environment-variable"


@cache
def client(service: str) -> Any:
    session = boto3.session.Session(
        aws_access_key_id="x", aws_secret_access_key="x", region_name="eu-central-1"
    )
    return session.client(cast(Any, service))


class Account:
    """A function's Lambda and CloudWatch, with given answers; everything else does not exist."""

    def __init__(self) -> None:
        self.lambda_, self.cloudwatch = client("lambda"), client("cloudwatch")
        self.mappings: list[dict[str, Any]] = []
        self.latest_mappings: list[dict[str, Any]] = []
        self.statements: list[dict[str, Any]] = []
        self.has_url = False
        self.aliases: list[dict[str, Any]] = [{"Name": "prod", "FunctionVersion": "7"}]
        self.provisioned: set[str] = set()
        self.settings: dict[str, dict[str, Any]] = {}
        self.counts: dict[str | None, float] = {}
        self.denied: set[str] = set()

    def look(self) -> list[Finding]:
        with Stubber(self.lambda_) as functions, Stubber(self.cloudwatch) as metrics:
            self._configuration(functions, None)
            self._triggers(functions)
            self._metrics(metrics, functions)
            self._weights(functions)
            return aws_checks.look(self.lambda_, self.cloudwatch, NAME)

    def _triggers(self, stub: Stubber) -> None:
        for name, mappings in ((NAME, self.mappings), (f"{NAME}:$LATEST", self.latest_mappings)):
            if self._answer(
                stub, "list_event_source_mappings", {"EventSourceMappings": mappings}, FunctionName=name
            ):
                return
        policy = {"Policy": json.dumps({"Statement": self.statements})} if self.statements else None
        self._answer(stub, "get_policy", policy, FunctionName=NAME)
        url = {
            "FunctionUrl": "https://x.lambda-url.eu-central-1.on.aws/",
            "FunctionArn": ARN,
            "AuthType": "NONE",
            "CreationTime": "2026-01-01T00:00:00Z",
            "LastModifiedTime": "2026-01-01T00:00:00Z",
        }
        self._answer(stub, "get_function_url_config", url if self.has_url else None, FunctionName=NAME)

    def _metrics(self, stub: Stubber, functions: Stubber) -> None:
        if "list_metrics" in self.denied:
            stub.add_client_error("list_metrics", "AccessDenied", "not you")
            return
        function = {"Name": "FunctionName", "Value": NAME}
        metrics: list[dict[str, Any]] = [{"Dimensions": [function]}]
        for resource in self.counts:
            if resource:
                dimensions = [function, {"Name": "Resource", "Value": resource}]
                executed = {"Name": "ExecutedVersion", "Value": "7"}
                metrics += [{"Dimensions": dimensions}, {"Dimensions": [*dimensions, executed]}]
        stub.add_response(
            "list_metrics",
            {"Metrics": metrics},
            {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": [function]},
        )
        self._answer(functions, "list_aliases", {"Aliases": self.aliases}, FunctionName=NAME)
        named = {one for one in self.counts if one and ":" in one and not one.endswith("$LATEST")}
        named |= {f"{NAME}:{alias['Name']}" for alias in self.aliases}
        results = [
            {"Id": f"q{number}", "Values": [self.counts[one]] if one in self.counts else []}
            for number, one in enumerate([None, *sorted(named)])
        ]
        stub.add_response(
            "get_metric_data",
            {"MetricDataResults": results},
            {"MetricDataQueries": ANY, "StartTime": ANY, "EndTime": ANY},
        )

    def _weights(self, stub: Stubber) -> None:
        self._configuration(stub, "$LATEST")
        self._answer(stub, "list_aliases", {"Aliases": self.aliases}, FunctionName=NAME)
        for alias in self.aliases:
            if alias["FunctionVersion"] == "$LATEST":
                continue
            name = alias["Name"]
            if name in self.provisioned:
                there = {"RequestedProvisionedConcurrentExecutions": 1, "Status": "READY"}
                stub.add_response(
                    "get_provisioned_concurrency_config", there, {"FunctionName": NAME, "Qualifier": name}
                )
                continue
            stub.add_client_error(
                "get_provisioned_concurrency_config",
                "ProvisionedConcurrencyConfigNotFoundException",
                expected_params={"FunctionName": NAME, "Qualifier": name},
            )
            if not alias.get("RoutingConfig"):
                self._configuration(stub, alias["FunctionVersion"])

    def _configuration(self, stub: Stubber, qualifier: str | None) -> None:
        answer = {
            "Role": ROLE,
            "Environment": {"Variables": {"KEY": SECRET}},
            **self.settings.get(qualifier or "$LATEST", {}),
        }
        given = {"FunctionName": NAME, "Qualifier": qualifier} if qualifier else {"FunctionName": NAME}
        stub.add_response("get_function_configuration", answer, given)

    def _answer(self, stub: Stubber, method: str, answer: dict[str, Any] | None, **given: str) -> bool:
        """Whether it was denied, which ends the look."""
        if method in self.denied:
            stub.add_client_error(method, "AccessDeniedException", "not you", expected_params=given)
        elif answer is None:
            stub.add_client_error(method, "ResourceNotFoundException", expected_params=given)
        else:
            stub.add_response(method, answer, given)
        return method in self.denied


@pytest.fixture
def account() -> Account:
    return Account()


def said(findings: list[Finding], verdict: CheckVerdict) -> list[str]:
    assert SECRET not in str(findings)
    return [finding.seen for finding in findings if finding.verdict is verdict]


def test_a_function_that_all_invoke_by_its_alias(account: Account) -> None:
    account.counts = {None: 100.0, f"{NAME}:prod": 90.0, f"{NAME}:7": 10.0}

    found = account.look()

    assert [one.seen for one in found] == [
        f"{NAME} is in eu-central-1",
        f"no event source, permission or URL names {NAME} itself",
        "all 100 requests of the last day named an alias or a version",
        "alias prod can split its traffic with a new version",
    ]
    assert {one.verdict for one in found} == {CheckVerdict.OK}


@pytest.mark.parametrize(
    ("qualifier", "state", "verdict", "words"),
    [
        ("", "Enabled", CheckVerdict.WRONG, f"{QUEUE} invokes {NAME} without an alias"),
        (":$LATEST", "Enabled", CheckVerdict.WRONG, f"{QUEUE} invokes {NAME} without an alias"),
        ("", "Disabled", CheckVerdict.WARNING, "but is disabled"),
        (":7", "Enabled", CheckVerdict.WARNING, f"invokes version 7 of {NAME}, which no deployment moves"),
    ],
)
def test_an_event_source_without_alias(
    account: Account, qualifier: str, state: str, verdict: CheckVerdict, words: str
) -> None:
    mapping = {"UUID": "1" * 36, "FunctionArn": f"{ARN}{qualifier}", "EventSourceArn": QUEUE, "State": state}
    account.mappings = [mapping, {"UUID": "2" * 36, "FunctionArn": f"{ARN}:prod", "EventSourceArn": QUEUE}]
    account.latest_mappings = [mapping]

    [seen] = said(account.look(), verdict)

    assert words in seen


def test_an_event_source_that_has_no_arn(account: Account) -> None:
    account.latest_mappings = [{"UUID": "1" * 36, "FunctionArn": f"{ARN}:$LATEST"}]

    assert "a self-managed event source (Kafka) invokes" in said(account.look(), CheckVerdict.WRONG)[0]


def test_who_may_invoke_it_without_alias(account: Account) -> None:
    allow = {"Effect": "Allow", "Action": "lambda:InvokeFunction"}
    source = {"ArnLike": {"AWS:SourceArn": "arn:aws:events:eu-central-1:000000000000:rule/night"}}
    account.statements = [
        {**allow, "Principal": {"Service": "events.amazonaws.com"}, "Condition": source},
        {**allow, "Principal": "*", "Action": ["lambda:*"]},
        {**allow, "Principal": {"AWS": "222222222222"}, "Action": "lambda:GetFunction"},
        {**allow, "Principal": {"AWS": "333333333333"}, "Effect": "Deny"},
        {**allow, "Principal": {"AWS": "x\x1b[2J"}},
    ]

    seen = said(account.look(), CheckVerdict.WARNING)

    assert seen == [
        f"events.amazonaws.com (arn:aws:events:eu-central-1:000000000000:rule/night)"
        f" may invoke {NAME} without an alias",
        f"anybody may invoke {NAME} without an alias",
        f"x\ufffd[2J may invoke {NAME} without an alias",
    ]


def test_a_url_without_alias(account: Account) -> None:
    account.has_url = True

    assert said(account.look(), CheckVerdict.WRONG) == [f"{NAME} has a URL without an alias"]


@pytest.mark.parametrize(
    ("counts", "past"),
    [
        ({None: 12.0, f"{NAME}:prod": 9.0, NAME: 3.0}, 3),
        ({None: 12.0, f"{NAME}:prod": 9.0}, 3),
        ({None: 12.0, f"{NAME}:prod": 9.0, f"{NAME}:$LATEST": 3.0}, 3),
        ({None: 12.0, NAME: 12.0}, 12),
        ({None: 12.0, f"{NAME}:prod": 12.0, NAME: 12.0}, 0),
        ({None: 12.0, f"{NAME}:prod": 12.0, f"{NAME}:7": 12.0}, 0),
    ],
)
def test_requests_that_went_past_every_alias(
    account: Account, counts: dict[str | None, float], past: int
) -> None:
    account.counts = counts

    expected = [f"{past} of 12 requests in the last day bypassed every alias"] if past else []
    assert said(account.look(), CheckVerdict.WRONG) == expected


def test_without_metrics_by_alias_it_does_not_accuse(account: Account) -> None:
    account.counts = {None: 12.0}

    assert said(account.look(), CheckVerdict.WARNING) == [
        "12 requests came in the last day, and CloudWatch counts none of them by alias"
    ]


@pytest.mark.parametrize(
    ("alias", "settings", "words"),
    [
        ({"FunctionVersion": "$LATEST"}, {}, "serves $LATEST, which cannot split"),
        (
            {"FunctionVersion": "7", "RoutingConfig": {"AdditionalVersionWeights": {"8": 0.1}}},
            {},
            "splits its traffic already",
        ),
        ({"FunctionVersion": "7"}, {"7": {"Role": f"{ROLE}-old"}}, "another role than version 7"),
        (
            {"FunctionVersion": "7"},
            {"7": {"DeadLetterConfig": {"TargetArn": QUEUE}}},
            "another dead-letter queue than version 7",
        ),
        (
            {"FunctionVersion": "7"},
            {"7": {"Role": "x", "DeadLetterConfig": {"TargetArn": QUEUE}}},
            "another role and dead-letter queue than",
        ),
    ],
)
def test_an_alias_that_cannot_share_its_traffic(
    account: Account, alias: dict[str, Any], settings: dict[str, dict[str, Any]], words: str
) -> None:
    account.aliases = [{"Name": "prod", **alias}]
    account.settings = settings

    [seen] = said(account.look(), CheckVerdict.WARNING)

    assert words in seen


def test_provisioned_concurrency_excludes_weights(account: Account) -> None:
    lambdas_own = {"RoutingConfig": {"AdditionalVersionWeights": {"6": 0.5}}}  # while it moves over
    account.aliases = [
        {"Name": "dev", "FunctionVersion": "6"},
        {"Name": "prod", "FunctionVersion": "7", **lambdas_own},
    ]
    account.provisioned = {"prod"}

    found = account.look()

    assert "alias prod has provisioned concurrency" in said(found, CheckVerdict.WARNING)[0]
    assert "alias dev can split its traffic with a new version" in said(found, CheckVerdict.OK)


def test_no_dead_letter_queue_is_as_good_as_an_empty_one(account: Account) -> None:
    account.settings = {"7": {"DeadLetterConfig": {"TargetArn": ""}}}

    assert not said(account.look(), CheckVerdict.WARNING)


def test_a_function_without_alias_is_no_trouble(account: Account) -> None:
    account.aliases = []

    assert "has no alias yet" in said(account.look(), CheckVerdict.OK)[-1]


@pytest.mark.parametrize("method", ["list_event_source_mappings", "list_metrics"])
def test_what_may_not_be_seen_is_left_open(account: Account, method: str) -> None:
    account.denied = {method}

    found = account.look()

    assert len(said(found, CheckVerdict.UNKNOWN)) == 1
    assert found[-1].check == aws_checks.WEIGHTS


@pytest.mark.parametrize(
    ("code", "verdict", "words"),
    [
        ("ResourceNotFoundException", CheckVerdict.WRONG, f"there is no function {NAME} in eu-central-1"),
        ("AccessDeniedException", CheckVerdict.UNKNOWN, "AWS did not allow or answer the request"),
        ("ExpiredTokenException", CheckVerdict.UNKNOWN, "AWS did not allow or answer the request"),
    ],
)
def test_a_function_that_cannot_be_found_is_said_once(
    account: Account, code: str, verdict: CheckVerdict, words: str
) -> None:
    with Stubber(account.lambda_) as functions:
        functions.add_client_error("get_function_configuration", code)
        [found] = aws_checks.look(account.lambda_, account.cloudwatch, NAME)

    assert (found.verdict, found.check) == (verdict, aws_checks.FOUND)
    assert words in found.seen
    assert found.change


def test_without_a_region_or_boto3_it_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(click.UsageError, match="region"):
        aws_checks.examine(NAME, None)

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(click.UsageError, match="pip install boto3"):
        aws_checks.examine(NAME, "eu-central-1")


def test_without_credentials_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    [found] = aws_checks.examine(NAME, "eu-central-1")

    assert found.verdict is CheckVerdict.UNKNOWN
    assert "credentials" in found.seen
