"""Alarms in template.yaml."""

import pytest

from support.template import ALARM, TEMPLATE, of_type, properties


def test_what_goes_wrong_with_sluicegate_itself_alarms() -> None:
    watched = {(properties(name)["Namespace"], properties(name)["MetricName"]) for name in of_type(ALARM)}
    assert watched >= {
        ("AWS/ApiGateway", "5XXError"),
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "IteratorAge"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/States", "ExecutionsFailed"),
        ("AWS/States", "ExecutionsTimedOut"),
        ("Sluicegate", "OutcomeUnknown"),
        ("Sluicegate", "Stuck"),
    }


@pytest.mark.parametrize("name", of_type(ALARM))
def test_an_alarm_says_what_it_means_and_whom_it_tells(name: str) -> None:
    alarm = properties(name)
    notified = [{"Fn::If": ["AlarmsNotify", {"Ref": "AlarmTopicArn"}, {"Ref": "AWS::NoValue"}]}]
    assert alarm["AlarmActions"] == notified
    assert alarm["AlarmDescription"].endswith(".")
    assert alarm["TreatMissingData"] == ("breaching" if name == "JanitorSilentAlarm" else "notBreaching")


def test_alarms_on_own_metrics_have_the_dimension_that_powertools_gives_them() -> None:
    service = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    for name in of_type(ALARM):
        if properties(name)["Namespace"] == "Sluicegate":
            assert properties(name)["Dimensions"] == [{"Name": "service", "Value": service}]
