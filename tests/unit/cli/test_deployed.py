"""`make deploy` ends by saying how to call the API."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from sluicegate_cli.deployed import calls
from support.template import ROOT, TEMPLATE

OUTPUTS = {
    "Endpoint": "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/v1",
    "IamApiArn": "arn:aws:execute-api:eu-central-1:111111111111:a1b2c3d4e5/v1",
    "IamEndpoint": "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/v1/iam",
}


@dataclass
class Account:
    """The calls of boto3's session, and CloudFormation's answer."""

    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    error: Exception | None = None
    region_name: str | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, *, profile_name: str | None, region_name: str | None) -> "Account":
        if profile_name == "unknown":
            raise ProfileNotFound(profile=profile_name)
        self.region_name = region_name
        return self

    def client(self, service: str, **_: Any) -> "Account":
        assert service == "cloudformation"
        return self

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 (boto3's)
        self.asked.append(StackName)
        if self.error:
            raise self.error
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        return {"Stacks": [{"StackStatus": "REVIEW_IN_PROGRESS", "Outputs": outputs}]}


def test_it_says_both_addresses_and_what_a_callers_policy_names() -> None:
    account = Account()
    said = calls(["--region", "eu-central-1", "--stack-name=other"], {}, account)
    assert account.asked == ["other"]
    for value in (
        OUTPUTS["Endpoint"],
        OUTPUTS["IamEndpoint"],
        f"{OUTPUTS['IamApiArn']}/POST/iam/deployments",
    ):
        assert value in said
    assert "execute-api in eu-central-1" in said
    assert OUTPUTS.keys() <= TEMPLATE["Outputs"].keys()


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks"),
        EndpointConnectionError(endpoint_url="https://cloudformation.nowhere.amazonaws.com"),
    ],
)
def test_a_deployment_is_no_failure_because_its_outputs_cannot_be_read(error: Exception) -> None:
    assert "could not be read" in calls([], {"AWS_REGION": "eu-central-1"}, Account(error=error))
    assert "could not be read" in calls(["--profile", "unknown"], {}, Account())


def test_a_change_set_that_was_not_executed_has_no_address() -> None:
    assert "REVIEW_IN_PROGRESS, and has no address yet" in calls([], {}, Account(outputs={}))


def test_make_deploy_ends_with_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "sam deploy $(ARGS) && $(BIN)/python -m sluicegate_cli.deployed $(ARGS) &&" in makefile
