"""`doctor --try`: the sample's way through deploy, canary and rollback, and that it is always removed."""

import base64
import hashlib
import io
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sluicegate_cli.doctor import trial as trials
from sluicegate_cli.doctor.aws_calls import permission_of
from sluicegate_cli.doctor.duration_counts import COUNTS
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.sample import REMOVED, Sample, interrupts, leftovers
from sluicegate_cli.doctor.stack import DeployedStack
from sluicegate_cli.doctor.stack_examination import StackExamination
from sluicegate_cli.doctor.trial import Trial
from support.aws_account import AwsAccount, Refusal
from support.statistics_model import statistic

NAME = "sluicegate-doctor-0a1b2c3d"
STACK = DeployedStack(
    "sluicegate",
    "arn:aws:cloudformation:eu-central-1:111111111111:stack/sluicegate/1",
    "CREATE_COMPLETE",
    {},
    {},
    (),
)


class Cloud:
    """Lambda, IAM and CloudWatch as far as the sample meets them, as AWS documents their answers.

    `splits`: whether an alias's weights are followed. `throttles_by_version`: whether CloudWatch has them.
    `snap_start`: whether a version with SnapStart is Pending at first. `counts_durations`: which part of the
    durations `TC` counts, or None where it is refused.
    """

    def __init__(self) -> None:
        self.account = AwsAccount()
        self.splits = self.throttles_by_version = self.snap_start = True
        self.fenced = True
        self.counts_durations: float | None = 1.0
        self.slow_role = 0
        self.removal_conflicts = 0
        self.role = self.function = False
        self.now = 1_790_000_000.0
        self.code = b""
        self.revision = 0
        self.snapshots = False
        self.versions: dict[str, dict[str, Any]] = {}
        self.alias: dict[str, Any] = {}
        self.concurrency: int | None = None
        self.invocations = 0
        self.counts: dict[tuple[str, str], int] = {}
        answers: dict[str, Any] = {
            "iam:CreateRole": self._create_role,
            "iam:DeleteRole": self._delete_role,
            "iam:ListRoles": {"Roles": []},
            "lambda:CreateFunction": self._create_function,
            "lambda:DeleteFunction": self._delete_function,
            "lambda:GetFunction": lambda given: {"Configuration": self._version(given["Qualifier"])},
            "lambda:UpdateFunctionCode": self._update_code,
            "lambda:UpdateFunctionConfiguration": self._configure,
            "lambda:PublishVersion": self._publish,
            "lambda:CreateAlias": self._move,
            "lambda:UpdateAlias": self._move,
            "lambda:GetAlias": lambda _: self.alias,
            "lambda:PutFunctionConcurrency": lambda given: self._reserve(
                given["ReservedConcurrentExecutions"]
            ),
            "lambda:DeleteFunctionConcurrency": lambda _: self._reserve(None),
            "lambda:Invoke": self._invoke,
            "cloudwatch:GetMetricData": self._metrics,
        }
        self.account.answers.update(answers)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def sample(self) -> Sample:
        return Sample(self.account.calls(), NAME, sleep=self.sleep, clock=lambda: self.now)

    def trial(self) -> Trial:
        return Trial(self.account.calls(), self.sample(), sleep=self.sleep, clock=lambda: self.now)

    def _create_role(self, given: Mapping[str, Any]) -> Any:
        self.role = True
        arn = f"arn:aws:iam::111111111111:role{given['Path']}{given['RoleName']}"
        return {"Role": {"Arn": arn, "RoleName": given["RoleName"]}}

    def _delete_role(self, _: Any) -> Any:
        found, self.role = self.role, False
        return {} if found else Refusal("NoSuchEntity", status=404)

    def _create_function(self, given: Mapping[str, Any]) -> Any:
        if self.slow_role:
            self.slow_role -= 1
            message = "The role defined for the function cannot be assumed by Lambda."
            return Refusal("InvalidParameterValueException", message)
        self.function = True
        self.code = given["Code"]["ZipFile"]
        return self._version("$LATEST")

    def _delete_function(self, _: Any) -> Any:
        if self.removal_conflicts:
            self.removal_conflicts -= 1
            return Refusal("ResourceConflictException", "An update is in progress", 409)
        found, self.function = self.function, False
        return {} if found else Refusal("ResourceNotFoundException", status=404)

    def _version(self, number: str) -> dict[str, Any]:
        if number in self.versions:
            found = self.versions[number]
            answered, found["State"] = dict(found), "Active"
            return answered
        return self._latest()

    def _latest(self) -> dict[str, Any]:
        return {
            "Version": "$LATEST",
            "RevisionId": f"revision-{self.revision}",
            "CodeSha256": base64.b64encode(hashlib.sha256(self.code).digest()).decode(),
            "State": "Active",
            "LastUpdateStatus": "Successful",
        }

    def _update_code(self, given: Mapping[str, Any]) -> Any:
        self.code = given["ZipFile"]
        self.revision += 1
        return self._latest()

    def _configure(self, _: Any) -> Any:
        self.snapshots = self.snap_start
        self.revision += 1
        return self._latest()

    def _publish(self, given: Mapping[str, Any]) -> Any:
        latest = self._latest()
        if self.fenced and given.get("CodeSha256", latest["CodeSha256"]) != latest["CodeSha256"]:
            return Refusal(
                "InvalidParameterValueException", "CodeSHA256 (a) is different from current CodeSHA256"
            )
        if self.fenced and given.get("RevisionId", latest["RevisionId"]) != latest["RevisionId"]:
            return Refusal("PreconditionFailedException", status=412)
        state = "Pending" if self.snapshots else "Active"
        number = str(len(self.versions) + 1)
        self.versions[number] = {**latest, "Version": number, "State": state}
        return dict(self.versions[number])

    def _move(self, given: Mapping[str, Any]) -> Any:
        if given.get("RevisionId", self.alias.get("RevisionId")) != self.alias.get("RevisionId"):
            return Refusal("PreconditionFailedException", status=412)
        self.revision += 1
        self.alias = {
            "Name": given["Name"],
            "FunctionVersion": given["FunctionVersion"],
            "RoutingConfig": given.get("RoutingConfig", {}),
            "RevisionId": f"alias-{self.revision}",
        }
        return self.alias

    def _reserve(self, count: int | None) -> Any:
        self.concurrency = count
        return {}

    def _invoke(self, given: Mapping[str, Any]) -> Any:
        version = self.alias["FunctionVersion"]
        others = self.alias["RoutingConfig"].get("AdditionalVersionWeights")
        self.invocations += 1
        if others and self.splits and self.invocations % 2:
            version = next(iter(others))
        if self.concurrency == 0:
            self._count("Throttles", version)
            return Refusal("TooManyRequestsException", "Rate Exceeded.", 429)
        self._count("Invocations", version)
        if given["Payload"] != b"{}":
            self._count("Errors", version)
        return {"StatusCode": 200, "ExecutedVersion": version, "Payload": io.BytesIO(b"null")}

    def _count(self, metric: str, version: str) -> None:
        for key in ((metric, version), (metric, "")):
            self.counts[key] = self.counts.get(key, 0) + 1

    def _metrics(self, given: Mapping[str, Any]) -> Any:
        results = []
        for query in given["MetricDataQueries"]:
            if query["MetricStat"]["Metric"]["MetricName"] == "Duration":
                found = self._durations(query["MetricStat"]["Stat"])
                if isinstance(found, Refusal):
                    return found
                results.append({"Id": query["Id"], "Values": found, "StatusCode": "Complete"})
                continue
            metric = query["MetricStat"]["Metric"]
            dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
            version = dimensions.get("ExecutedVersion", "")
            count = self.counts.get((metric["MetricName"], version))
            if metric["MetricName"] == "Throttles" and version and not self.throttles_by_version:
                count = None
            results.append({"Id": query["Id"], "Values": [count] if count else [], "StatusCode": "Complete"})
        return {"MetricDataResults": results}

    def _durations(self, name: str) -> list[float] | Refusal:
        if name.startswith("TC") and self.counts_durations is None:
            return Refusal("ValidationError", f"The value {name} for parameter Stat is not valid.")
        found = statistic(name, [(2.0, 30.0), (90.0, 5.0)])
        part = (self.counts_durations or 1.0) if name.startswith("TC") else 1.0
        return [found * part] if found and part else []


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Cloud()


def verdicts(findings: Iterator[Finding] | list[Finding]) -> dict[str, CheckVerdict]:
    return {one.check: one.verdict for one in findings}


def test_the_sample_goes_through_deploy_canary_and_rollback(cloud: Cloud) -> None:
    trial = cloud.trial()

    found = verdicts(trial.run())

    assert found == {
        trials.DEPLOYS: CheckVerdict.OK,
        trials.CANARY: CheckVerdict.OK,
        trials.ROLLS_BACK: CheckVerdict.OK,
        trials.FENCES: CheckVerdict.OK,
        trials.METRICS: CheckVerdict.OK,
        COUNTS: CheckVerdict.OK,
    }
    assert trial.sample.remove().verdict is CheckVerdict.OK
    assert not cloud.role
    assert not cloud.function


def test_what_is_open_today_is_read_back(cloud: Cloud) -> None:
    trial = cloud.trial()

    list(trial.run())

    answers = {one.question: one.answer for one in trial.answers}
    assert answers["UpdateAlias with an old revision"] == "refused: PreconditionFailedException"
    assert answers["PublishVersion of other code"] == "refused: InvalidParameterValueException"
    assert answers["Invoke with a reserved concurrency of 0"] == "TooManyRequestsException: 5"
    assert answers["PublishVersion during a SnapStart build, same code"].startswith("accepted: version 4")
    assert "version 1: 5" in answers["Throttles of the alias 5, by ExecutedVersion"]


def test_throttles_that_are_not_written_by_version_are_found(cloud: Cloud) -> None:
    cloud.throttles_by_version = False
    trial = cloud.trial()

    findings = list(trial.run())

    assert findings[-2].check == trials.METRICS
    assert findings[-2].verdict is CheckVerdict.WARNING
    assert "Throttles are not written by version" in findings[-2].seen


@pytest.mark.parametrize(
    ("part", "verdict", "seen"),
    [
        (
            1.0,
            CheckVerdict.OK,
            "of 35 durations, CloudWatch counts above 0, above 45.0000 ms and below it: 35, 5, 30",
        ),
        (0.99, CheckVerdict.OK, "34.65"),  # a fraction: interpolated
        (0.5, CheckVerdict.WARNING, "17.5"),
        (None, CheckVerdict.WARNING, "CloudWatch refuses TC(45.0000:)"),
    ],
)
def test_whether_cloudwatch_counts_slow_requests_is_read_back(
    cloud: Cloud, part: float | None, verdict: CheckVerdict, seen: str
) -> None:
    cloud.counts_durations = part
    found = list(cloud.trial().run())[-1]
    assert (found.check, found.verdict) == (COUNTS, verdict)
    assert seen in found.seen
    assert bool(found.change) is (verdict is CheckVerdict.WARNING)


def test_an_alias_that_does_not_split_is_wrong(cloud: Cloud) -> None:
    cloud.splits = False

    found = verdicts(cloud.trial().run())

    assert found[trials.CANARY] is CheckVerdict.WRONG
    assert found[trials.ROLLS_BACK] is CheckVerdict.OK


def test_fences_that_do_not_hold_are_wrong(cloud: Cloud) -> None:
    cloud.fenced = False

    found = verdicts(cloud.trial().run())

    assert found[trials.FENCES] is CheckVerdict.WRONG


def test_a_role_that_spreads_late_is_waited_for(cloud: Cloud) -> None:
    cloud.slow_role = 5

    found = verdicts(cloud.trial().run())

    assert found[trials.DEPLOYS] is CheckVerdict.OK


@pytest.mark.parametrize(
    "name",
    [
        "iam:CreateRole",
        "lambda:CreateFunction",
        "lambda:GetFunction",
        "lambda:PublishVersion",
        "lambda:CreateAlias",
        "lambda:UpdateFunctionCode",
        "lambda:UpdateAlias",
        "lambda:PutFunctionConcurrency",
        "lambda:DeleteFunctionConcurrency",
        "cloudwatch:GetMetricData",
    ],
)
def test_a_refusal_anywhere_ends_the_trial_and_the_sample_is_removed(cloud: Cloud, name: str) -> None:
    del cloud.account.answers[name]
    trial = cloud.trial()

    findings = list(trial.run())

    assert findings[-1].verdict in (CheckVerdict.UNKNOWN, CheckVerdict.WRONG)
    assert trial.sample.remove().verdict is CheckVerdict.OK
    assert not cloud.role
    assert not cloud.function


def test_a_creation_whose_answer_was_lost_is_removed_too(cloud: Cloud) -> None:
    create = cloud._create_function

    def lost(given: Mapping[str, Any]) -> Any:
        create(given)
        return Refusal("ServiceException", "try again", 500)

    cloud.account.answers["lambda:CreateFunction"] = lost
    trial = cloud.trial()

    list(trial.run())
    removed = trial.sample.remove()

    assert removed.verdict is CheckVerdict.OK
    assert not cloud.function


def test_a_removal_waits_for_an_update(cloud: Cloud) -> None:
    trial = cloud.trial()
    list(trial.run())
    cloud.removal_conflicts = 4

    assert trial.sample.remove().verdict is CheckVerdict.OK
    assert not cloud.function


def test_what_cannot_be_removed_is_named_with_the_commands(cloud: Cloud) -> None:
    trial = cloud.trial()
    list(trial.run())
    del cloud.account.answers["lambda:DeleteFunction"]

    removed = trial.sample.remove()

    assert removed.verdict is CheckVerdict.WRONG
    assert f"aws lambda delete-function --function-name {NAME}" in removed.change
    assert "delete-role" not in removed.change
    assert not cloud.role


def examination(cloud: Cloud) -> StackExamination:
    return StackExamination(cloud.account.calls(), "sluicegate", stack=STACK)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_removes_the_sample_and_a_second_one_changes_nothing(
    cloud: Cloud, number: signal.Signals
) -> None:
    def interrupted(_: Any) -> Any:
        os.kill(os.getpid(), number)
        return {}

    delete = cloud._delete_role

    def deaf(given: Any) -> Any:
        os.kill(os.getpid(), number)
        return delete(given)

    cloud.account.answers["lambda:PublishVersion"] = interrupted
    cloud.account.answers["iam:DeleteRole"] = deaf
    before = signal.getsignal(number)

    findings = examination(cloud).trial(lambda _: None, lambda _: True)

    assert [one.seen for one in findings if one.verdict is CheckVerdict.UNKNOWN] == ["interrupted"]
    assert findings[-1].check == REMOVED
    assert findings[-1].verdict is CheckVerdict.OK
    assert not cloud.function
    assert not cloud.role
    assert signal.getsignal(number) == before


def test_a_bug_in_the_trial_removes_the_sample_too(cloud: Cloud) -> None:
    cloud.account.answers["lambda:Invoke"] = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        examination(cloud).trial(lambda _: None, lambda _: True)

    assert not cloud.function
    assert not cloud.role


def test_nothing_is_created_without_consent(cloud: Cloud) -> None:
    asked: list[str] = []

    def refuse(about: str) -> bool:
        asked.append(about)
        return False

    findings = examination(cloud).trial(lambda _: None, refuse)

    assert not cloud.account.asked
    assert findings[0].seen == "not tried"
    assert "0.01 USD" in asked[0]
    assert "111111111111" in asked[0]


def test_samples_of_killed_runs_are_reported(cloud: Cloud) -> None:
    roles = [
        {
            "Path": "/sluicegate-doctor/",
            "RoleName": name,
            "RoleId": "AROA1",
            "Arn": f"arn:aws:iam::111111111111:role/{name}",
            "CreateDate": "2026-01-01T00:00:00Z",
        }
        for name in (NAME, "somebody-elses")
    ]
    cloud.account.answers["iam:ListRoles"] = {"Roles": roles}

    (finding,) = leftovers(cloud.account.calls())

    assert finding.verdict is CheckVerdict.WARNING
    assert f"delete-role --role-name {NAME}" in finding.change


def test_handlers_return_after_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with interrupts():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


def test_the_page_names_every_permission_of_the_trial(cloud: Cloud) -> None:
    page = (Path(__file__).parents[3] / "docs/guides/troubleshooting.md").read_text()
    section = page.partition("\n## Try it in your account\n")[2]

    findings = examination(cloud).trial(lambda _: None, lambda _: True)

    assert findings[-1].verdict is CheckVerdict.OK
    for name in cloud.account.names():
        assert f"`{permission_of(*name.split(':'))}`" in section, name
