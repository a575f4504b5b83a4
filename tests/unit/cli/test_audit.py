"""`sluicegate audit trail`: a record beside what CloudTrail has of it, and what no deployment explains."""

import json
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from sluicegate.deployment.views import view
from sluicegate_cli.audit import cloudtrail
from sluicegate_cli.audit.cloudtrail import EventHistory, RecordedCall
from sluicegate_cli.audit.explanation import is_about, operation
from sluicegate_cli.doctor.aws_calls import CouldNotCheck
from support.aws_account import AwsAccount, Refusal
from support.cli_running import Run
from support.cli_server import BEGAN, ID, Reply, Server, succeeded
from support.cloudtrail_model import CloudTrailModel

ACCOUNT = "000000000000"
REGION = "eu-central-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sluicegate-target"
IDENTITY = "project-4213-job-302"
OTHER_ID = "01KAQ3ZV6N8T4R1F0C2H7M5XWF"
ALIAS = {"functionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-api", "name": "prod"}


FUNCTION = {"functionName": "orders-api"}


@pytest.fixture
def trail() -> CloudTrailModel:
    """CloudTrail an hour after the deployment, with what a deployment leaves there."""
    model = CloudTrailModel(now=BEGAN + 3_600)
    own = partial(model.add, user=ID, role=ROLE, source_identity=IDENTITY)
    model.add(
        BEGAN + 0.4,
        "AssumeRole",
        user="sluicegate-deployer",
        role=f"arn:aws:iam::{ACCOUNT}:role/sluicegate-DeployerRole",
        source="sts.amazonaws.com",
        request={
            "roleArn": ROLE,
            "roleSessionName": ID,
            "sourceIdentity": IDENTITY,
            "tags": [{"key": "Deployment", "value": ID}, {"key": "Project", "value": "4213"}],
        },
        resources=(ROLE, ID),
        read_only=True,
    )
    own(BEGAN + 0.6, "GetAlias20150331", request=ALIAS, read_only=True)
    own(
        BEGAN + 0.8,
        "UpdateFunctionCode20150331v2",
        request={"functionName": "orders-api", "s3Key": "x", "environment": {"canary": "canary"}},
        response={"functionName": "orders-api", "environment": {"variables": "canary"}},
    )
    own(
        BEGAN + 1.4,
        "PublishVersion20150331",
        request={"functionName": "orders-api"},
        response={"version": "42"},
    )
    own(BEGAN + 1.8, "UpdateAlias20150331", request={**ALIAS, "functionVersion": "42"})
    return model


@pytest.fixture
def aws(trail: CloudTrailModel, monkeypatch: pytest.MonkeyPatch) -> AwsAccount:
    account = AwsAccount(
        {"sts:GetCallerIdentity": {"Account": ACCOUNT}, "cloudtrail:LookupEvents": trail.look_up}
    )
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: account.calls())
    patient = partial(EventHistory, clock=trail.clock, sleep=trail.sleep)
    monkeypatch.setattr(cloudtrail, "EventHistory", patient)
    return account


@pytest.fixture
def api(server: Server, trail: CloudTrailModel) -> Server:
    server.clock = lambda: trail.now
    server.on("GET", f"/deployments/{ID}", Reply(200, view(succeeded())))
    return server


def document(run: Run, *arguments: str) -> dict[str, Any]:
    ended = run("audit", "trail", ID, "--json", *arguments)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def names(calls: list[dict[str, Any]]) -> list[str]:
    return [call["operation"] for call in calls]


@pytest.mark.usefixtures("api", "aws")
def test_the_record_stands_beside_its_calls(run: Run) -> None:
    ended = run("audit", "trail", ID)

    lines = ended.out.splitlines()
    assert ended.code == 0, ended.err
    assert lines[0].startswith(f"succeeded  {ID}: deploy of orders-api to prod")
    assert f"source identity {IDENTITY}" in lines[1]
    order = ["accepted", "AssumeRole", "GetAlias", "UpdateFunctionCode", "publishing", "PublishVersion"]
    found = [next(i for i, line in enumerate(lines) if name in line.split()) for name in order]
    assert found == sorted(found)
    assert "functionVersion 42" in ended.out
    assert f"Deployment={ID}, Project=4213" in ended.out
    assert "no call on orders-api since" in ended.out
    assert "canary" not in ended.out


@pytest.mark.usefixtures("api", "aws")
def test_the_document_has_both_and_no_code_or_environment(run: Run) -> None:
    found = document(run)

    assert found["deployment"]["id"] == ID
    assert found["role"] == ROLE
    assert names(found["sessions"]) == ["AssumeRole"]
    assert names(found["calls"]) == ["GetAlias", "UpdateFunctionCode", "PublishVersion", "UpdateAlias"]
    assert found["unexplained"] == found["others"] == found["notes"] == []
    assert found["complete"] is True
    assert "canary" not in json.dumps(found)


@pytest.mark.usefixtures("api", "aws")
def test_a_call_that_no_deployment_explains_is_marked(run: Run, trail: CloudTrailModel) -> None:
    trail.add(BEGAN + 600, "UpdateAlias20150331", user="bob", request={"functionName": "orders-api:prod"})
    trail.add(
        BEGAN + 601, "UpdateFunctionConfiguration20150331v2", user="bob", request={"functionName": "other"}
    )
    trail.add(
        BEGAN + 602,
        "GetFunction20150331v2",
        user="bob",
        request={"functionName": "orders-api"},
        read_only=True,
    )
    trail.add(
        BEGAN + 603,
        "UpdateFunctionCode20150331v2",
        user="",
        service="cloudformation.amazonaws.com",
        request={"functionName": f"{ACCOUNT}:function:orders-api"},
        error="AccessDenied",
    )

    found = document(run)
    shown = run("audit", "trail", ID).out

    assert names(found["unexplained"]) == ["UpdateAlias", "UpdateFunctionCode"]
    assert [call["principal"].rpartition("/")[2] for call in found["unexplained"]] == [
        "bob",
        "cloudformation.amazonaws.com",
    ]
    assert "2 calls on the function that no deployment explains:" in shown
    assert "refused: AccessDenied" in shown
    assert names(document(run, "--reads")["unexplained"]) == [
        "UpdateAlias",
        "GetFunction",
        "UpdateFunctionCode",
    ]
    assert document(run, "--around", "5m")["unexplained"] == []


IMITATIONS = [
    ("", "", "no session of a role"),
    (f"arn:aws:iam::{ACCOUNT}:role/admin", IDENTITY, "sessions of several roles"),
    (ROLE, "", "its source identity is none"),
    (ROLE, "project-1-job-1", "its source identity is project-1-job-1"),
]


@pytest.mark.usefixtures("api", "aws")
@pytest.mark.parametrize(("role", "identity", "why"), IMITATIONS)
def test_the_name_of_a_deployment_alone_explains_nothing(
    run: Run, trail: CloudTrailModel, role: str, identity: str, why: str
) -> None:
    trail.add(BEGAN + 2, "DeleteAlias20150331", user=ID, role=role, source_identity=identity, request=ALIAS)

    found = document(run)

    imitated = [call for call in found["unexplained"] if call["operation"] == "DeleteAlias"]
    assert [why in call["why"] for call in imitated] == [True]


@pytest.mark.usefixtures("api", "aws")
def test_a_role_that_is_named_counts_alone(run: Run) -> None:
    other = f"arn:aws:iam::{ACCOUNT}:role/another"

    assert names(document(run, "--role", ROLE)["unexplained"]) == []
    unexplained = document(run, "--role", other)["unexplained"]

    assert {call["why"] for call in unexplained} == {
        f"it is named like the deployment, but is a session of {ROLE}"
    }


@pytest.mark.usefixtures("aws")
def test_calls_of_other_deployments_are_explained_by_their_records(
    run: Run, trail: CloudTrailModel, api: Server
) -> None:
    trail.add(BEGAN + 900, "UpdateAlias20150331", user=OTHER_ID, role=ROLE, request=ALIAS)
    trail.add(BEGAN + 901, "UpdateAlias20150331", user=OTHER_ID, role=ROLE, request=ALIAS)
    unknown = document(run)
    api.on("GET", f"/deployments/{OTHER_ID}", Reply(200, view(succeeded()) | {"id": OTHER_ID}))
    known = document(run)
    api.on(
        "GET",
        f"/deployments/{OTHER_ID}",
        Reply(200, view(succeeded()) | {"id": OTHER_ID, "function": "another"}),
    )
    of_another = document(run)

    assert "does not exist, or that you may not see" in unknown["unexplained"][0]["why"]
    assert (len(known["others"]), known["unexplained"]) == (2, [])
    assert "of another function" in of_another["unexplained"][0]["why"]
    assert len(api.calls("GET", f"/deployments/{OTHER_ID}")) == 3


@pytest.mark.usefixtures("api", "aws")
def test_the_delay_is_said_and_what_is_not_there_yet_is_no_finding(run: Run, trail: CloudTrailModel) -> None:
    trail.now = BEGAN + 60

    found = document(run)

    assert found["calls"] == []
    assert any("Run this again in 15 minutes" in note for note in found["notes"])


@pytest.mark.usefixtures("api", "aws")
def test_all_pages_are_read_two_a_second_and_a_limit_is_said(run: Run, trail: CloudTrailModel) -> None:
    for number in range(170):
        trail.add(
            BEGAN + 600 + number, "UpdateAlias20150331", user="bob", request={"functionName": "orders-api"}
        )

    found = document(run)

    assert len(found["unexplained"]) == 170
    assert found["complete"] is True
    assert all(later - earlier >= 0.5 for earlier, later in zip(trail.times, trail.times[1:], strict=False))

    limited = document(run, "--pages", "2")

    assert (len(limited["unexplained"]), limited["complete"]) == (100, False)
    assert any("raise --pages" in note for note in limited["notes"])


def test_a_throttled_call_is_made_again_and_not_for_ever(trail: CloudTrailModel) -> None:
    refusals = [Refusal("ThrottlingException", "Rate exceeded")] * 2
    account = AwsAccount(
        {"cloudtrail:LookupEvents": lambda given: refusals.pop() if refusals else trail.look_up(given)}
    )
    history = EventHistory(account.calls(), clock=trail.clock, sleep=trail.sleep)

    reading = history.look_up("Username", ID, BEGAN - 1, BEGAN + 10, most=5)

    assert len(reading.calls) == 4
    refusals.extend([Refusal("ThrottlingException", "Rate exceeded")] * 50)
    with pytest.raises(CouldNotCheck, match="Rate exceeded"):
        history.look_up("Username", ID, BEGAN - 1, BEGAN + 10, most=5)
    assert len(refusals) == 45


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("permission", "answer", "said", "code"),
    [
        ("sts:GetCallerIdentity", {"Account": "222222222222"}, "the target is in 000000000000", 2),
        ("cloudtrail:LookupEvents", Refusal("AccessDenied", "no", 400), "cloudtrail:LookupEvents", 3),
        ("sts:GetCallerIdentity", Refusal("ExpiredToken", "old", 403), "have expired", 3),
        ("sts:GetCallerIdentity", NoCredentialsError(), "there are no AWS credentials", 2),
        ("sts:GetCallerIdentity", EndpointConnectionError(endpoint_url="https://x"), "got no answer", 5),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(
    run: Run, aws: AwsAccount, permission: str, answer: Any, said: str, code: int
) -> None:
    aws.answers[permission] = answer

    ended = run("audit", "trail", ID, "--json")

    assert ended.code == code
    assert said in json.loads(ended.out)["detail"]


@pytest.mark.usefixtures("api", "aws")
def test_what_is_older_than_the_history_is_said(run: Run, trail: CloudTrailModel) -> None:
    trail.now = BEGAN + 91 * 86_400

    ended = run("audit", "trail", ID)

    assert ended.code == 4
    assert "more than 90 days ago" in ended.err


@pytest.mark.parametrize(
    ("subject", "about"),
    [
        ("orders-api", True),
        ("orders-api:prod", True),
        ("orders-api:$LATEST", True),
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-api", True),
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-api:42", True),
        (f"{ACCOUNT}:function:orders-api", True),
        ("function:orders-api", True),
        ("orders-api-2", False),
        ("other:orders-api", False),
        ("arn:aws:lambda:us-east-1:000000000000:function:orders-api", False),
        ("arn:aws:lambda:eu-central-1:222222222222:function:orders-api", False),
        ("222222222222:function:orders-api", False),
        ("", False),
    ],
)
def test_a_function_is_known_by_each_of_its_names(subject: str, about: bool) -> None:
    call = RecordedCall("", 0.0, "", "", "", "", "", "", False, "", "", "", "", (subject,), {})

    assert is_about(call, "orders-api", ACCOUNT, REGION) is about


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("UpdateFunctionCode20150331v2", "UpdateFunctionCode"),
        ("UpdateAlias20150331", "UpdateAlias"),
        ("TagResource20170331v2", "TagResource"),
        ("PutFunctionConcurrency20171031", "PutFunctionConcurrency"),
        ("Decrypt", "Decrypt"),
    ],
)
def test_an_event_has_the_name_of_its_operation(event: str, name: str) -> None:
    assert operation(event) == name
