"""The sample function of `doctor --try`: created, and removed whatever happens in between.

Function and role have one name. The role has no permissions at all, so the function cannot even write a log.
"""

import io
import json
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

REMOVED: Final = "the sample is removed"
ALIAS: Final = "trial"
PREFIX: Final = "sluicegate-doctor-"
PATH: Final = "/sluicegate-doctor/"
"""The path of the sample's role, by which leftovers of a killed run are found."""

COST: Final = (
    "This creates a function and a role, both named {name}, in account {account}, {region}. It invokes the"
    " function about 60 times, publishes up to 4 versions, some of them with SnapStart, and removes both"
    " at the end, also after a failure or Ctrl-C. It takes up to ten minutes and costs less than 0.01 USD."
)

_TAGS: Final = {"sluicegate-doctor": "trial", "created-by": "sluicegate doctor --try"}
_SPREAD: Final = 90.0  # seconds in which a new role becomes known to Lambda
_REMOVAL: Final = 180.0  # seconds in which an update of the function may still prevent its removal
_SOURCE: Final = """
def handler(event, context):
    if event.get("fail"):
        raise RuntimeError("asked to fail by sluicegate doctor")
    return {{"release": {release!r}}}
"""


@dataclass
class Sample:
    """A function and its role. `boundary` is the permissions boundary that the account requires, or empty."""

    aws: AwsCalls
    name: str
    boundary: str = ""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    attempted: bool = False

    def create(self) -> None:
        """Create role and function. Raises CouldNotCheck; `attempted` is set before the first call."""
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        self.attempted = True
        role = self.aws.call(
            "iam",
            "CreateRole",
            RoleName=self.name,
            Path=PATH,
            Description="A sample of sluicegate doctor, without permissions. It can be deleted.",
            AssumeRolePolicyDocument=json.dumps(trust),
            MaxSessionDuration=3600,
            Tags=[{"Key": key, "Value": value} for key, value in _TAGS.items()],
            **({"PermissionsBoundary": self.boundary} if self.boundary else {}),
        )
        self._create_function(role["Role"]["Arn"])

    def _create_function(self, role: str) -> None:
        """Create the function; retry while Lambda does not know the new role yet.

        "The role defined for the function cannot be assumed by Lambda": IAM's changes take seconds to spread.
        """
        deadline = self.clock() + _SPREAD
        while True:
            try:
                self.aws.call(
                    "lambda",
                    "CreateFunction",
                    FunctionName=self.name,
                    Description="A sample of sluicegate doctor. It can be deleted.",
                    Runtime="python3.13",
                    Role=role,
                    Handler="app.handler",
                    Code={"ZipFile": package("one")},
                    MemorySize=128,
                    Timeout=10,
                    Tags=_TAGS,
                )
            except CouldNotCheck as error:
                if "cannot be assumed" not in error.seen or self.clock() >= deadline:
                    raise
                self.sleep(3)
            else:
                return

    def remove(self) -> Finding:
        """Remove function and role, also where it is unknown whether they were created. Raises nothing."""
        left = [
            what
            for what, gone in (("function", self._function_removed), ("role", self._role_removed))
            if not gone()
        ]
        if not left:
            return Finding(REMOVED, CheckVerdict.OK, f"function and role {self.name} do not exist any more")
        commands = {
            "function": f"aws lambda delete-function --function-name {self.name}",
            "role": f"aws iam delete-role --role-name {self.name}",
        }
        change = f"Remove it by hand: {'; '.join(commands[what] for what in left)}"
        return Finding(
            REMOVED, CheckVerdict.WRONG, f"the {' and the '.join(left)} {self.name} may be left", change
        )

    def _function_removed(self) -> bool:
        return self._removed("lambda", "DeleteFunction", FunctionName=self.name)

    def _role_removed(self) -> bool:
        return self._removed("iam", "DeleteRole", RoleName=self.name)

    def _removed(self, service: str, operation: str, **arguments: str) -> bool:
        deadline = self.clock() + _REMOVAL
        while True:
            try:
                self.aws.find(service, operation, **arguments)  # None: it does not exist, which is as good
            except CouldNotCheck as error:
                if "needs " in error.seen or self.clock() >= deadline:
                    return False
                self.sleep(5)
            else:
                return True


def leftovers(aws: AwsCalls) -> Iterator[Finding]:
    """Report samples of earlier runs that were killed. Raises CouldNotCheck."""
    for role in aws.pages("iam", "ListRoles", "Roles", 2, PathPrefix=PATH):
        name = role["RoleName"]
        if name.startswith(PREFIX):
            change = (
                "If no other run is in progress: "
                f"aws lambda delete-function --function-name {name}; aws iam delete-role --role-name {name}"
            )
            yield Finding(REMOVED, CheckVerdict.WARNING, f"{name} is left from another run", change)


def package(release: str) -> bytes:
    """Return the zip of the sample's code; each release has other code."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo("app.py")
        member.external_attr = 0o644 << 16
        archive.writestr(member, _SOURCE.format(release=release))
    return buffer.getvalue()


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Let SIGTERM and SIGHUP interrupt the block as Ctrl-C does; yield what makes it deaf to all of them.

    Nothing may cut the removal short. The previous handlers return at the end.
    """
    names = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before: dict[int, Any] = {each: signal.getsignal(each) for each in names}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in names:
            signal.signal(number, signal.SIG_IGN)

    for number in names:
        signal.signal(number, interrupt)
    try:
        yield ignore
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
