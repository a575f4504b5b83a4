"""`doctor --try`: take a sample function through deploy, canary and rollback in AWS.

The calls are those that a deployment makes, by the deployer's own code (`sluicegate.aws.lambda_`), with the
operator's credentials. So it shows how this account's Lambda and CloudWatch answer. It does not exercise the
API, tokens, rules, Step Functions, the target role or the artifact bucket.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.lambda_ import FunctionApi, FunctionVersion, LambdaError, StaleLambdaRevision
from sluicegate.deployment.model import AliasState
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.duration_counts import COUNTS, count_durations
from sluicegate_cli.doctor.findings import Answer, CheckVerdict, Finding
from sluicegate_cli.doctor.sample import ALIAS, Sample, package

DEPLOYS: Final = "a sample function deploys"
CANARY: Final = "a canary splits its traffic"
ROLLS_BACK: Final = "a rollback restores the alias"
FENCES: Final = "outdated changes are refused"
METRICS: Final = "metrics tell versions apart"

_INVOCATIONS: Final = 40  # at a weight of one half: both versions answer, but for once in 10^12
_FAILURES: Final = 3
_THROTTLED: Final = 5
_SETTLE: Final = 120.0  # seconds for an update or a new version
_SNAPSHOT: Final = 240.0  # seconds for a snapshot
_METRICS: Final = 300.0  # seconds until CloudWatch has the metrics


@dataclass
class Trial:
    """One run with one sample. `say` gets a line for each step; `sleep` and `clock` are in seconds."""

    aws: AwsCalls
    sample: Sample
    say: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    answers: list[Answer] = field(default_factory=list)

    def run(self) -> Iterator[Finding]:
        """Yield what was found, step by step. The caller removes the sample afterwards, whatever happens."""
        step = DEPLOYS
        try:
            self.say(f"creating function and role {self.sample.name}")
            self.sample.create()
            began = self.clock()
            first, second = yield from self._deploy()
            step = CANARY
            yield from self._canary(first, second)
            step = FENCES
            yield from self._fences(first)
            step = METRICS
            self._throttle()
            self._snapshot()
            yield from self._metrics(first, second, began)
            step = COUNTS
            yield count_durations(self.aws, self.sample.name, ALIAS, second, began, self.clock())
        except LambdaError as error:
            yield Finding(step, CheckVerdict.WRONG, f"Lambda answered {error.code}: {error.message}")
        except CouldNotCheck as error:
            yield Finding(step, CheckVerdict.UNKNOWN, error.seen, error.change)

    @property
    def _function(self) -> FunctionApi:
        client = self.aws.client("lambda")
        return FunctionApi(client, self.sample.name, lambda _: client, CallMeter())

    def _deploy(self) -> Generator[Finding, None, tuple[str, str]]:
        """Publish two versions and create the alias. Return the versions' numbers."""
        function = self._function
        latest = self._settled("$LATEST")
        first = self._published(latest)
        function.create_alias(ALIAS, first, "sluicegate doctor")
        self.say(f"version {first} is published, and alias {ALIAS} serves it")
        code = package("two")
        self.aws.call(
            "lambda",
            "UpdateFunctionCode",
            FunctionName=self.sample.name,
            ZipFile=code,
            RevisionId=function.version().revision,
        )
        second = self._published(self._settled("$LATEST"))
        self.say(f"version {second} is published")
        yield Finding(
            DEPLOYS, CheckVerdict.OK, f"versions {first} and {second} were published and are Active"
        )
        return first, second

    def _settled(self, version: str, limit: float = _SETTLE) -> FunctionVersion:
        """Wait for the end of an update, or for a version to become Active. Raises CouldNotCheck."""
        deadline = self.clock() + limit
        while True:
            found = self._function.version(version)
            if found.last_update_status != "InProgress" and found.state != "Pending":
                return found
            if self.clock() >= deadline:
                raise CouldNotCheck(f"{version} is still {found.state} after {limit:.0f} s")
            self.sleep(1)

    def _published(self, latest: FunctionVersion) -> str:
        function = self._function
        found = function.publish(latest.code_sha256, function.version().revision, "sluicegate doctor")
        return self._settled(found.version).version

    def _canary(self, first: str, second: str) -> Iterator[Finding]:
        function = self._function
        alias = function.alias(ALIAS)
        if alias is None:
            yield Finding(
                CANARY, CheckVerdict.WRONG, f"alias {ALIAS} does not exist, though it was just created"
            )
            return
        shifted = function.update_alias(ALIAS, AliasState(first, {second: 0.5}), alias.revision)
        self.say(f"alias {ALIAS}: half of the requests go to version {second}")
        served = Counter(self._invoke({}) for _ in range(_INVOCATIONS))
        for _ in range(_FAILURES):
            self._invoke({"fail": True})
        shares = ", ".join(f"version {version}: {count}" for version, count in sorted(served.items()))
        seen = f"of {_INVOCATIONS} requests at a weight of 50%: {shares}"
        both = served[first] > 0 and served[second] > 0
        change = "" if both else "A canary needs both versions to answer. Please report this."
        yield Finding(CANARY, CheckVerdict.OK if both else CheckVerdict.WRONG, seen, change)
        back = function.update_alias(ALIAS, AliasState(first), shifted.revision)
        after = {self._invoke({}) for _ in range(5)}
        self.say(f"alias {ALIAS} serves version {first} again")
        restored = back.state == AliasState(first) and after == {first}
        seen = f"alias {ALIAS} serves version {first} alone again"
        if not restored:
            seen = f"after the rollback, these versions answered: {', '.join(sorted(after))}"
        yield Finding(ROLLS_BACK, CheckVerdict.OK if restored else CheckVerdict.WRONG, seen)

    def _fences(self, first: str) -> Iterator[Finding]:
        """Send what must be refused: an alias's old revision, another code's hash, $LATEST's old revision."""
        function = self._function
        latest, stale = function.version(), "00000000-0000-4000-8000-000000000000"
        attempts: tuple[tuple[str, Callable[[], object]], ...] = (
            (
                "UpdateAlias with an old revision",
                lambda: function.update_alias(ALIAS, AliasState(first), stale),
            ),
            ("PublishVersion of other code", lambda: function.publish("0" * 64, latest.revision, "")),
            ("PublishVersion with an old revision", lambda: function.publish(latest.code_sha256, stale, "")),
        )
        accepted = []
        for what, attempt in attempts:
            try:
                attempt()
            except StaleLambdaRevision as error:
                self.answers.append(Answer(what, f"refused: {error.code}"))
            else:
                accepted.append(what)
                self.answers.append(Answer(what, "accepted"))
        if accepted:
            seen = f"Lambda accepted {' and '.join(accepted)}"
            yield Finding(
                FENCES, CheckVerdict.WRONG, seen, "Two deployments could overtake each other. Report this."
            )
        else:
            yield Finding(FENCES, CheckVerdict.OK, f"Lambda refused {len(attempts)} of {len(attempts)}")

    def _throttle(self) -> None:
        """Cause throttles at the alias: with a reserved concurrency of 0, Lambda throttles every request."""
        name = self.sample.name
        self.aws.call("lambda", "PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=0)
        outcomes = Counter(self._invoke({}) for _ in range(_THROTTLED))
        self.answers.append(
            Answer(
                "Invoke with a reserved concurrency of 0", ", ".join(f"{k}: {v}" for k, v in outcomes.items())
            )
        )
        self.aws.call("lambda", "DeleteFunctionConcurrency", FunctionName=name)

    def _snapshot(self) -> None:
        """Publish with SnapStart, and again while the snapshot is built."""
        question = "PublishVersion during a SnapStart build"
        name = self.sample.name
        try:
            self.aws.call(
                "lambda",
                "UpdateFunctionConfiguration",
                FunctionName=name,
                SnapStart={"ApplyOn": "PublishedVersions"},
            )
        except CouldNotCheck as error:
            self.answers.append(Answer(question, f"SnapStart cannot be set: {error.seen}"))
            return
        self._settled("$LATEST")
        began = self.clock()
        first: Any = self.aws.call("lambda", "PublishVersion", FunctionName=name)
        if first.get("State") != "Pending":
            self.answers.append(Answer(question, f"unknown: the version was {first.get('State')} at once"))
            return
        self.say(f"version {first['Version']} has SnapStart: its snapshot is built")
        self.answers.append(Answer(f"{question}, same code", self._attempt("PublishVersion")))
        self.answers.append(
            Answer(
                "UpdateFunctionCode during it", self._attempt("UpdateFunctionCode", ZipFile=package("three"))
            )
        )
        self._settled("$LATEST")
        self.answers.append(Answer(f"{question}, other code", self._attempt("PublishVersion")))
        try:
            state = self._settled(first["Version"], _SNAPSHOT).state
            took = f"{state} after {self.clock() - began:.0f} s"
        except CouldNotCheck as error:
            took = error.seen
        self.answers.append(Answer("a SnapStart build takes", took))

    def _attempt(self, operation: str, **arguments: Any) -> str:
        try:
            answer = self.aws.call("lambda", operation, FunctionName=self.sample.name, **arguments)
        except CouldNotCheck as error:
            return error.seen
        return f"accepted: version {answer.get('Version')}, {answer.get('State')}"

    def _invoke(self, payload: object) -> str:
        """Invoke the alias; return the version that answered, or Lambda's error code."""
        from botocore.exceptions import ClientError

        try:
            answer = self.aws.client("lambda").invoke(
                FunctionName=f"{self.sample.name}:{ALIAS}", Payload=json.dumps(payload).encode()
            )
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        answer["Payload"].read(10_000)
        return str(answer.get("ExecutedVersion", "unknown"))

    def _metrics(self, first: str, second: str, began: float) -> Iterator[Finding]:
        """Wait for CloudWatch, and say which metrics it has by version."""
        self.say("waiting for CloudWatch's metrics, for five minutes at most")
        deadline = self.clock() + _METRICS
        while True:
            sums = _sums(self.aws, self.sample.name, (first, second), began, self.clock())
            throttles = sums["Throttles", None]
            if (
                sums["Invocations", second] and sums["Errors", None] and throttles
            ) or self.clock() >= deadline:
                break
            self.sleep(15)
        for name in ("Invocations", "Errors", "Throttles"):
            by_version = {version: sums[name, version] for version in (first, second)}
            text = ", ".join(
                f"version {v}: {'none' if s is None else f'{s:g}'}" for v, s in by_version.items()
            )
            whole = sums[name, None]
            total = "none" if whole is None else f"{whole:g}"
            self.answers.append(Answer(f"{name} of the alias {total}, by ExecutedVersion", text))
        if sums["Invocations", first] and sums["Invocations", second]:
            missing = not (sums["Throttles", first] or sums["Throttles", second])
            word = "; Throttles are not written by version" if throttles and missing else ""
            seen = f"CloudWatch counts Invocations by alias and version{word}"
            change = (
                "A limit on `throttles` in `watch` would see nothing. Please report this." if word else ""
            )
            yield Finding(METRICS, CheckVerdict.WARNING if word else CheckVerdict.OK, seen, change)
        else:
            seen = f"CloudWatch had no Invocations by version within {_METRICS / 60:.0f} minutes"
            yield Finding(METRICS, CheckVerdict.WARNING, seen, "Run it again later: metrics can be late.")


def _sums(
    aws: AwsCalls, name: str, versions: tuple[str, ...], began: float, until: float
) -> dict[tuple[str, str | None], float | None]:
    """Return the sum of each metric by version, and of the alias (None); None if it has no value."""
    wanted = [(each, v) for each in ("Invocations", "Errors", "Throttles") for v in (None, *versions)]
    queries = []
    for number, (metric_name, version) in enumerate(wanted):
        dimensions = [
            {"Name": "FunctionName", "Value": name},
            {"Name": "Resource", "Value": f"{name}:{ALIAS}"},
            *([{"Name": "ExecutedVersion", "Value": version}] if version else []),
        ]
        metric = {"Namespace": "AWS/Lambda", "MetricName": metric_name, "Dimensions": dimensions}
        queries.append({"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}})
    answer = aws.call(
        "cloudwatch",
        "GetMetricData",
        MetricDataQueries=queries,
        StartTime=began - 120,
        EndTime=until + 60,
    )
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    return {
        key: sum(found) if (found := values.get(f"q{number}")) else None for number, key in enumerate(wanted)
    }
