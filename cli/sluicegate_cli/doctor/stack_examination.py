"""`doctor --stack`: examine a deployed stack with the operator's AWS credentials. Read-only but for a trial.

Every check stands alone: what the credentials may not read is reported as unknown, with the permission.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import click

from sluicegate.gate.policy import Gate
from sluicegate_cli.api import endpoint
from sluicegate_cli.doctor import (
    account_checks,
    api_checks,
    endpoint_checks,
    evidence_checks,
    gate_checks,
    invoker_checks,
    judge_checks,
    role_checks,
    sign_in_checks,
    stack_checks,
)
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck, NoAccess, looked
from sluicegate_cli.doctor.findings import Answer, CheckVerdict, Finding
from sluicegate_cli.doctor.stack import STACK, DeployedStack, of_stack, read_stack

_CHECKS: Final[tuple[tuple[str, Callable[[AwsCalls, DeployedStack], Iterator[Finding]]], ...]] = (
    (account_checks.CONCURRENCY, account_checks.concurrency),
    (account_checks.STORAGE, account_checks.storage),
    (account_checks.LOG_ROLE, account_checks.log_role),
    (stack_checks.TARGET_ROLE, stack_checks.target_role),
    (invoker_checks.INVOKERS, invoker_checks.invokers),
    (stack_checks.TRIGGERS, stack_checks.triggers),
    (stack_checks.DEAD_LETTERS, stack_checks.dead_letters),
    (stack_checks.ALARMS, stack_checks.alarms),
    (stack_checks.LOGS, stack_checks.log_groups),
    (evidence_checks.HEADS, evidence_checks.heads),
    (evidence_checks.KEYS, evidence_checks.keys),
    (evidence_checks.LOCK, evidence_checks.lock),
)
_GATE_CHECKS: Final[tuple[tuple[str, Callable[[AwsCalls, Gate], Iterator[Finding]]], ...]] = (
    (gate_checks.FUNCTIONS, gate_checks.functions),
    (gate_checks.WATCHED, gate_checks.watched_alarms),
    (gate_checks.SECRETS, gate_checks.secrets),
    (role_checks.PEOPLE, role_checks.people),
)

_MASK: Final = "************"


@dataclass
class StackExamination:
    """An examination of one stack. `url` replaces the stack's output `Endpoint`.

    `gate` is the local gate file. `note` gets a line when something takes time.
    """

    aws: AwsCalls
    name: str
    url: str | None = None
    gate: Gate | None = None
    gate_path: str = ""
    gate_error: Finding | None = None
    note: Callable[[str], None] = lambda _: None
    download: gate_checks.Download = endpoint_checks.download
    stack: DeployedStack | None = None
    answers: list[Answer] = field(default_factory=list)
    interrupted: bool = False
    target_accounts: set[str] = field(default_factory=set)

    def findings(self) -> list[Finding]:
        """Return the findings, in the order in which to fix them."""
        found: list[Finding] = []
        try:
            for finding in self._findings():
                found.append(finding)
        except CouldNotCheck as error:  # of the stack itself, or NoAccess: the rest cannot be looked at
            verdict = CheckVerdict.WRONG if isinstance(error, NoAccess) else CheckVerdict.UNKNOWN
            found.append(Finding(STACK, verdict, error.seen, error.change))
        return found

    def _findings(self) -> Iterator[Finding]:
        self.note(f"reading stack {self.name} in {self.aws.region}")
        stack = read_stack(self.aws, self.name)
        if isinstance(stack, Finding):
            yield stack
            return
        self.stack = stack
        yield from of_stack(stack, self.aws.region)
        if "Endpoint" not in stack.outputs:
            return
        for title, check in _CHECKS:
            yield from looked(title, lambda check=check: check(self.aws, stack))  # type: ignore[misc]
        if self.gate_error:
            yield self.gate_error
        deployed: Gate | None = None
        try:
            deployed = gate_checks.deployed_gate(self.aws, stack, self.download)
        except NoAccess:
            raise
        except CouldNotCheck as error:
            yield Finding(gate_checks.DIGEST, CheckVerdict.UNKNOWN, error.seen, error.change)
        if deployed is not None:
            gate = deployed
            yield from gate_checks.of_digest(gate, self.gate, self.gate_path)
            for title, of_gate in _GATE_CHECKS:
                yield from looked(title, lambda of_gate=of_gate: of_gate(self.aws, gate))  # type: ignore[misc]
            yield from looked(judge_checks.JUDGES, lambda: judge_checks.judges(self.aws, stack, gate))
            yield from self._of_targets(stack, gate)
        yield from self._of_endpoint(stack, deployed)

    def _of_targets(self, stack: DeployedStack, gate: Gate) -> Iterator[Finding]:
        if gate.targets:
            from sluicegate_cli.doctor import target_checks  # with PyYAML
            from sluicegate_gatefile.compile import own_function_names
            from sluicegate_gatefile.target_template import stacks

            deployer = stack.outputs.get("DeployerRoleArn", "")
            targets = stacks(gate, own_functions=own_function_names(stack.name))
            self.target_accounts = {target.account for target in targets.values()}
            yield from target_checks.of_targets(self.aws, stack.account, deployer, targets)

    def _of_endpoint(self, stack: DeployedStack, gate: Gate | None) -> Iterator[Finding]:
        output = stack.outputs["Endpoint"]
        try:
            url = endpoint(self.url or output)
        except click.UsageError as error:
            yield api_checks.of_address(self.url or output, error.message)
            return
        yield from endpoint_checks.of_output(output, url)
        health, now = endpoint_checks.of_health(url)
        yield health
        if health.verdict is not CheckVerdict.OK:
            return
        yield from endpoint_checks.of_gateway_responses(url)
        if gate is None:
            seen = "could not check: the deployed gate file, which names the issuers, was not read"
            yield Finding(endpoint_checks.REACHED, CheckVerdict.UNKNOWN, seen)
        else:
            self.note("asking the gateway for each issuer's keys")
            yield from endpoint_checks.of_issuers(url, gate, now)
            self.note("asking the board to sign in with a made-up code")
            board = f"{url.rstrip('/')}/board" if self.url else stack.outputs.get("Board", "")
            yield from sign_in_checks.of_sign_ins(board or f"{url.rstrip('/')}/board", gate)

    def trial(self, say: Callable[[str], None], confirm: Callable[[str], bool]) -> list[Finding]:
        """Take a sample function through deploy, canary and rollback, and remove it, if `confirm` agrees.

        Whatever happens in between, the sample is removed: a failure, Ctrl-C, SIGTERM.
        """
        from sluicegate_cli.doctor import sample as samples
        from sluicegate_cli.doctor.trial import DEPLOYS, Trial

        if self.stack is None:
            return [Finding(DEPLOYS, CheckVerdict.UNKNOWN, "not tried: the stack could not be read")]
        name = f"{samples.PREFIX}{secrets.token_hex(4)}"
        about = samples.COST.format(name=name, account=self.stack.account, region=self.aws.region)
        if not confirm(about):
            return [Finding(DEPLOYS, CheckVerdict.UNKNOWN, "not tried")]
        sample = samples.Sample(self.aws, name, self.stack.parameters.get("PermissionsBoundary", ""))
        trial = Trial(self.aws, sample, say)
        found: list[Finding] = []
        with samples.interrupts() as ignore_interrupts:
            try:
                found += looked(samples.REMOVED, lambda: samples.leftovers(self.aws))
                found.extend(trial.run())
            except KeyboardInterrupt:
                self.interrupted = True
                found.append(Finding(DEPLOYS, CheckVerdict.UNKNOWN, "interrupted"))
            finally:
                ignore_interrupts()
                if sample.attempted:
                    say(f"removing {name}")
                    found.append(sample.remove())
        self.answers = trial.answers
        return found


def masked(findings: Sequence[Finding], account: str | None) -> list[Finding]:
    """Return the findings without the account's number, which ARNs and addresses of queues contain."""
    return [
        Finding(one.check, one.verdict, mask(one.seen, account), mask(one.change, account), one.compared)
        for one in findings
    ]


def mask(text: str, account: str | None) -> str:
    """Replace the account's number, or without one everything that looks like one in an ARN or address."""
    if account:
        return text.replace(account, _MASK)
    return re.sub(r"(?<![0-9])[0-9]{12}(?![0-9])", _MASK, text)
