"""Check the deployed gate file: that it is the local one, and that what it names exists in AWS.

It is read from the layer of the deployed gateway. Of secrets only the names are looked up, never the values.
"""

import io
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from sluicegate.aws.alarms import MAX_PAGES
from sluicegate.gate.alarm_names import filled, is_pattern, matches, prefix
from sluicegate.gate.codec import parse
from sluicegate.gate.decoding import GateError
from sluicegate.gate.model import OWN_TARGET, Stage
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.text import clean
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.stack import DeployedStack
from sluicegate_cli.doctor.stack_checks import alarms_by_name

DIGEST: Final = "the deployed gate file is this one"
FUNCTIONS: Final = "the gate file's functions exist"
WATCHED: Final = "the gate file's alarms exist"
SECRETS: Final = "the gate file's secrets exist"

Download = Callable[[str, int], bytes]
"""Return the bytes at a presigned URL, at most so many. Raises CouldNotCheck."""

_MAX_LAYER: Final = 5_000_000  # bytes of the layer's zip
_MAX_GATE: Final = 10_000_000  # bytes of gate.json
_MAX_NAMES: Final = 100  # functions, alarms or secrets looked up
_MEMBER: Final = "sluicegate/gate.json"


def deployed_gate(aws: AwsCalls, stack: DeployedStack, download: Download) -> Gate:
    """Return the gate file that the gateway runs. Raises NoAccess and CouldNotCheck."""
    gateway = stack.resource("GatewayFunction")
    if gateway is None:
        raise CouldNotCheck("the stack has no function GatewayFunction")
    settings = aws.call("lambda", "GetFunctionConfiguration", FunctionName=gateway.physical)
    layers = [str(layer["Arn"]) for layer in settings.get("Layers") or ()]
    arn = next((layer for layer in layers if layer.split(":")[6] == f"{stack.name}-gate"), None)
    if arn is None:
        raise CouldNotCheck(f"{gateway.physical} has no layer {stack.name}-gate", "Run `make deploy`.")
    layer: Any = aws.call("lambda", "GetLayerVersionByArn", Arn=arn)
    data = _gate_json(download(str(layer["Content"]["Location"]), _MAX_LAYER))
    try:
        return parse(data, own_functions=())
    except GateError as error:
        change = "Use the command line of the version that is deployed, or run `make deploy` with this one."
        raise CouldNotCheck(f"the deployed gate file cannot be read: {error}", change) from None


def _gate_json(layer: bytes) -> bytes:
    """Return gate.json of the layer's zip, whose size is checked before it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(layer)) as archive:
            names = [info for info in archive.infolist() if info.filename.lstrip("./") == _MEMBER]
            if not names or names[0].file_size > _MAX_GATE:
                raise CouldNotCheck("the layer of the gate file has no gate.json of a usual size")
            with archive.open(names[0]) as member:
                return member.read(_MAX_GATE)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise CouldNotCheck("the layer of the gate file is not a readable zip archive") from None


def of_digest(deployed: Gate, local: Gate | None, path: str) -> Iterator[Finding]:
    """Compare the deployed gate file with the local one, by the digest that every record names as `gate`."""
    if local is None:
        seen = f"its digest is {deployed.digest}; there is no gate file here to compare"
        yield Finding(DIGEST, CheckVerdict.UNKNOWN, seen, "Use --gate, or run this where sluicegate.yaml is.")
    elif local.digest == deployed.digest:
        yield Finding(DIGEST, CheckVerdict.OK, f"{path} is deployed, digest {deployed.digest}")
    else:
        seen = (
            f"{path} has the digest {local.digest[:12]}…, and the deployed gate file {deployed.digest[:12]}…"
        )
        change = "Deploy it with `make deploy`, or check out the file that is deployed."
        yield Finding(DIGEST, CheckVerdict.WARNING, seen, change)


def functions(aws: AwsCalls, gate: Gate) -> Iterator[Finding]:
    """Check that each function that the gate file names exactly exists, its hooks included.

    Those in other targets are not looked for: that takes credentials of their accounts.
    """
    hooks = {rollout.smoke.hook for rollout in _own_rollouts(gate) if rollout.smoke and rollout.smoke.hook}
    names = sorted({*filter(partial(_is_here, gate), _exact(gate)), *hooks})[:_MAX_NAMES]
    missing = [
        name for name in names if aws.find("lambda", "GetFunctionConfiguration", FunctionName=name) is None
    ]
    if missing:
        seen = f"{some(missing)} not in {aws.region}"
        change = "Create the function before its first deployment, or correct its name in the gate file."
        yield Finding(FUNCTIONS, CheckVerdict.WARNING, seen, change)
    elif names:
        yield Finding(
            FUNCTIONS, CheckVerdict.OK, f"all {len(names)} that it names exactly are in {aws.region}"
        )


def judges_of(gate: Gate) -> list[str]:
    """Return the functions that judge in the stack's own account and region, by name."""
    found = {
        rollout.watch.judge.function
        for rollout in _own_rollouts(gate)
        if rollout.watch and rollout.watch.judge
    }
    return sorted(found)[:_MAX_NAMES]


def watched_alarms(aws: AwsCalls, gate: Gate) -> Iterator[Finding]:
    """Check that each alarm of a `watch` exists: without it, a bake ends with `alarm_missing`.

    Names with `{function}` are filled in for the functions that the gate file names exactly.
    """
    names = sorted(set(_alarm_names(gate)))[:_MAX_NAMES]
    if not names:
        return
    patterns = [name for name in names if is_pattern(name)]
    exact = [name for name in names if not is_pattern(name)]
    missing = sorted(set(exact) - set(alarms_by_name(aws, exact)))
    missing += [pattern for pattern in patterns if not _matches_an_alarm(aws, pattern)]
    if missing:
        seen = f"{some(missing)} not in {aws.region}: a deployment that watches it fails with alarm_missing"
        change = "Create the alarm, or correct its name in `watch`."
        yield Finding(WATCHED, CheckVerdict.WRONG, seen, change)
    else:
        yield Finding(WATCHED, CheckVerdict.OK, f"all {len(names)} that it watches are in {aws.region}")


def _matches_an_alarm(aws: AwsCalls, pattern: str) -> bool:
    """Whether there is an alarm for the pattern, among as many as a deployment reads."""
    more: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        answer = aws.call(
            "cloudwatch",
            "DescribeAlarms",
            AlarmNamePrefix=prefix(pattern),
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
            MaxRecords=100,
            **more,
        )
        alarms = (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ()))
        if any(matches(pattern, alarm["AlarmName"]) for alarm in alarms):
            return True
        if not (token := answer.get("NextToken")):
            return False
        more = {"NextToken": token}
    return False


def _alarm_names(gate: Gate) -> Iterator[str]:
    functions = [name for name in _exact(gate) if _is_here(gate, name)]
    for rollout in _own_rollouts(gate):
        for name in rollout.watch.alarms if rollout.watch else ():
            if "{" not in name:
                yield name
    for stage in _own_stages(gate):
        for function in functions:
            placement = gate.place(function, stage.name)
            if placement and placement.watch:
                yield from (
                    filled(name, function=function, stage=stage.name, alias=placement.alias)
                    for name in placement.watch.alarms
                )


_SOME: Final = {"": ["AWSCURRENT"]}


def secrets(aws: AwsCalls, gate: Gate) -> Iterator[Finding]:
    """Check that the gate file's secrets exist, and have a value. None is read."""
    names = {hook.secret for hook in gate.webhooks.values() if hook.secret}
    names |= {issuer.feedback.secret for issuer in gate.issuers.values() if issuer.feedback}
    names |= {issuer.sign_in.secret for issuer in gate.issuers.values() if issuer.sign_in}
    names |= {one.secret for one in gate.notifications}
    found = 0
    for name in sorted(names)[:_MAX_NAMES]:
        answer = aws.find("secretsmanager", "DescribeSecret", SecretId=name)
        if answer is None:
            change = "Create it as docs/guides/webhooks.md, commit-statuses.md, sign-in.md and notify.md say."
            yield Finding(SECRETS, CheckVerdict.WRONG, f"there is no secret {name} in {aws.region}", change)
        elif answer.get("DeletedDate"):
            change = f"Restore it: `aws secretsmanager restore-secret --secret-id {name}`."
            yield Finding(SECRETS, CheckVerdict.WRONG, f"the secret {name} is being deleted", change)
        elif not any("AWSCURRENT" in one for one in answer.get("VersionIdsToStages", _SOME).values()):
            change = f"Put one: `aws secretsmanager put-secret-value --secret-id {name}`."
            yield Finding(SECRETS, CheckVerdict.WRONG, f"the secret {name} has no value", change)
        else:
            found += 1
    if found:
        yield Finding(
            SECRETS, CheckVerdict.OK, f"{found} exist{'s' if found == 1 else ''}; values were not read"
        )


def _own_stages(gate: Gate) -> list[Stage]:
    """Return the stages in the stack's own account and region."""
    return [stage for stage in gate.stages.values() if stage.target == OWN_TARGET]


def _own_rollouts(gate: Gate) -> Iterator[Rollout]:
    """Yield what holds in each stage here, and for the functions that have settings of their own."""
    for stage in _own_stages(gate):
        yield stage.rollout
        yield from (entry.rollout_in(stage) for entry in gate.functions)


def _is_here(gate: Gate, function: str) -> bool:
    """Whether a function can be deployed in the stack's own account and region, or nowhere at all."""
    stages = {name for rule in gate.rules if rule.grants((), function, None) for name in rule.stages}
    own = {stage.name for stage in _own_stages(gate)}
    return bool(own) and (not stages or bool(stages & own))


def _exact(gate: Gate) -> Iterator[str]:
    """Yield the function names in `functions` without a wildcard."""
    for entry in gate.functions:
        if "*" not in entry.pattern.text:
            yield entry.pattern.text


def some(names: list[str]) -> str:
    """Return at most five of the names, with the verb for all of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{clean(', '.join(names[:5]), 300)}{more} {'is' if len(names) == 1 else 'are'}"
