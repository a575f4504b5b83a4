"""What template.yaml promises as a whole, read from the template: also what no emulator enforces."""

from support.template import TEMPLATE


def test_every_parameter_has_a_default_and_says_what_it_is() -> None:
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert "Default" in parameter, name
    grouped = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert {name for group in grouped for name in group["Parameters"]} == set(TEMPLATE["Parameters"])


def test_the_outputs_say_where_everything_is() -> None:
    assert set(TEMPLATE["Outputs"]) == {
        *(
            "ApiId",
            "ArtifactBucket",
            "Board",
            "DeadLettersUrl",
            "DeployerRoleArn",
            "DomainTarget",
            "Endpoint",
            "DriftRoleArn",
            "EventBusArn",
            "EventBusName",
            "EvidenceBucket",
            "EvidenceKeyArn",
            "IamApiArn",
            "IamEndpoint",
            "MessengerDeadLettersUrl",
            "NotifierDeadLettersUrl",
            "StateMachineArn",
            "Table",
            "TargetRoleArn",
        )
    }
    condition, domain, own = TEMPLATE["Outputs"]["Endpoint"]["Value"]["Fn::If"]
    assert condition == "Named"
    assert domain == {"Fn::Sub": "https://${DomainName}/v1"}
    assert own["Fn::Sub"].endswith("/v1")
