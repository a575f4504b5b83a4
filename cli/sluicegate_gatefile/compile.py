"""The gate file, `sluicegate.yaml`: checked, compiled to gate.json, and asked its own tests.

For the build and the command line only; what runs in Lambda reads gate.json and needs no YAML.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sluicegate.gate import codec, rollout_settings
from sluicegate.gate.model import OWN_NAME
from sluicegate.gate.policy import Gate
from sluicegate.gate.records import FORMAT
from sluicegate_gatefile import (
    policy_tests,
    prune_policy,
    reading,
    stack_policies,
    target_policy,
    target_template,
    yaml_source,
)
from sluicegate_gatefile.checks import (
    functions,
    issuers,
    limits,
    notifications,
    principals,
    rollouts,
    rules,
    targets,
    webhooks,
)
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.grants import Grants, TooManySteps
from sluicegate_gatefile.diagnostics import Diagnostic, Findings, Mark, Severity
from sluicegate_gatefile.files import UnusableFile, read_file
from sluicegate_gatefile.policy_tests import TestResult
from sluicegate_gatefile.reading import UNSUPPORTED
from sluicegate_gatefile.schema.file import GateFile
from sluicegate_gatefile.schema.stages import FunctionSection
from sluicegate_gatefile.yaml_source import Source

OWN_FUNCTIONS = (
    *("gateway", "watcher", "gateway-iam", "watcher-iam"),
    *("deployer", "rollback", "janitor", "waker", "relay", "notifier", "messenger", "board"),
    *("sealer", "drift", "pruner"),
)
"""The functions of Sluicegate's own stack, after its name."""

_ORIGIN = {
    "commit": "CI_COMMIT_SHA",
    "pipeline": "CI_PIPELINE_ID",
    "project": "CI_PROJECT_ID",
    "server": "CI_SERVER_URL",
}
"""Which pipeline built it, for the evidence: from GitLab's predefined variables, where GitLab built it."""

MAX_FILE = 512 * 1024
"""Bytes of a gate file. A thousand rules take 250 KiB."""

MAX_PLACES = 100_000
"""Stages, times entries of `functions`: each pair is looked at. A hundred by a thousand take two seconds."""

MAX_JWKS = 65_536
"""Bytes of a key set's file, as for keys that are fetched."""


@dataclass(frozen=True)
class Report:
    """What checking a gate file gave. Where it has an error, `gate` and `document` (gate.json) are None."""

    gate: Gate | None
    document: bytes | None
    diagnostics: tuple[Diagnostic, ...]
    test_results: tuple[TestResult, ...]

    @property
    def ok(self) -> bool:
        """Whether it may be built: no error, and no test that fails."""
        return self.gate is not None and all(result.passed for result in self.test_results)


def own_function_names(stack_name: str) -> tuple[str, ...]:
    """Return the names of the functions of Sluicegate's own stack."""
    return tuple(f"{stack_name}-{name}" for name in OWN_FUNCTIONS)


def check(path: str | Path, *, allow_loopback: bool = False, stack_name: str = "sluicegate") -> Report:
    """Read, compile and test a gate file; raises nothing for what is in it.

    `allow_loopback` lets an issuer be http on this machine, for the stand. `stack_name` tells the names of
    Sluicegate's own functions, which no pattern may match.
    """
    path = Path(path)
    findings = Findings(str(path))
    found = _source(path, findings)
    if found is None:
        return Report(None, None, findings.in_order(), ())
    source, file = found
    own_functions = own_function_names(stack_name)

    def report(severity: Severity, code: str, at: yaml_source.Path, message: str) -> None:
        findings.add(severity, code, source.shown(at), message)

    if len(file.stages) * len(file.functions) > MAX_PLACES:
        what = (
            f"{len(file.stages)} stages for {len(file.functions)} entries of `functions` are more than can be"
        )
        report(
            "error", "size", ("stages",), f"{what} checked in reasonable time: combine names into patterns"
        )
        return Report(None, None, findings.in_order(), ())
    context = CheckContext(file, report, own_functions)
    read_keys = partial(_keys_beside, path.parent)
    try:
        document = _json(_document(context, read_keys, allow_loopback=allow_loopback))
    except TooManySteps:
        what = "the rules name more functions and patterns than can be compared with these in reasonable time"
        report("error", "size", ("functions",), f"{what}: combine names into patterns")
        return Report(None, None, findings.in_order(), ())
    if any(diagnostic.severity == "error" for diagnostic in findings.found):
        return Report(None, None, findings.in_order(), ())
    gate = codec.parse(document, own_functions=own_functions)
    try:
        target_policy.of(gate)
        targets = target_template.stacks(gate, own_functions=own_functions)
        stack_policies.roles(targets.values())
        stack_policies.events(targets.values())
        prune_policy.of(gate)
    except target_policy.PolicyError as error:
        report("error", "policy", ("functions",), str(error))
        return Report(None, None, findings.in_order(), ())
    webhooks.check_waiting(gate, report)
    try:
        results = policy_tests.run_all(gate, file.tests, lambda i: source.shown(("tests", i)))
    except TooManySteps:
        what = "they ask more than the rules can answer in reasonable time: leave some out"
        report("error", "size", ("tests",), what)
        return Report(None, None, findings.in_order(), ())
    return Report(gate, document, findings.in_order(), results)


def _document(context: CheckContext, read_keys: issuers.KeyReader, *, allow_loopback: bool) -> dict[str, Any]:
    """Check the file, section by section; returns gate.json's document, for use if no error was reported."""
    found_targets = targets.targets(context)
    functions.check_functions(context)
    merged = rollouts.rollouts(context)
    found_rules = rules.rules(context, rollouts.waiting_stages(context, merged))
    grants = Grants(context.entries, found_rules)
    functions.check_shared_targets(context, grants)
    limits.check_proposers(context, found_rules)
    limits.check_order(context, found_rules)
    rollouts.check_approvers(context, merged, grants, found_rules)
    rollouts.check_rollbacks(context, merged, found_rules)
    rollouts.check_fixes(context, merged, found_rules)
    policy_tests.check_tests(context, found_rules)
    return {
        "format": FORMAT,
        "issuers": list(issuers.issuers(context, read_keys, allow_loopback=allow_loopback)),
        "targets": found_targets,
        "people": principals.people(context),
        "sso": principals.sso(context),
        "agents": principals.agents(context),
        "stages": [
            {
                "name": name,
                "alias": context.alias(name),
                "target": None if stage.target in (None, OWN_NAME) else stage.target,
                "protected": stage.protected,
                "max_age": stage.max_age,
                "agents": limits.agents(context, name, stage.agents),
                "rollout": rollout_settings.document(merged.own[name]),
            }
            for name, stage in context.file.stages.items()
        ],
        "functions": [_function(pattern, entry, merged) for pattern, entry in context.file.functions.items()],
        "rules": found_rules,
        "deny": rules.deny(context),
        "webhooks": webhooks.webhooks(context, found_rules),
        "notify": notifications.notifications(context),
    }


def _function(pattern: str, entry: FunctionSection, merged: rollouts.MergedRollouts) -> dict[str, Any]:
    """Return gate.json's entry. An override that changes nothing of a rollout is left out."""
    return {
        "pattern": pattern,
        "prune": entry.prune and entry.prune.model_dump(),
        "alias": {name: override.alias for name, override in entry.stages.items() if override.alias},
        "max_age": {name: override.max_age for name, override in entry.stages.items() if override.max_age},
        "rollout": {
            stage: rollout_settings.document(rollout)
            for stage, rollout in merged.overriding[pattern].items()
            if rollout != merged.own[stage]
        },
    }


def _source(path: Path, findings: Findings) -> tuple[Source, GateFile] | None:
    """Return the file's values with their places, and the gate file; None if it has not the shape of one."""
    try:
        text = read_file(path, MAX_FILE).decode("utf-8")
    except UnusableFile as error:
        findings.add("error", "file", Mark(), str(error))
        return None
    except UnicodeDecodeError as error:
        findings.add("error", "file", *yaml_source.not_utf_8(error))
        return None
    source = yaml_source.read(text, findings)
    if source is None:
        return None
    file = reading.read(source, findings)
    if file is None or any(found.code != UNSUPPORTED for found in findings.found):
        return None
    return source, file


def _keys_beside(directory: Path, name: str) -> str:
    """The JWK set in a file; raises ValueError where it is none."""
    from sluicegate.oidc.jwks import parse_jwks  # with cryptography, which only a file of keys needs

    data = read_file(directory / name, MAX_JWKS)
    parse_jwks(data)
    return data.decode("utf-8-sig")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The build's step: writes DIR/sluicegate/gate.json and the policy made from it. 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m sluicegate_gatefile.compile", description=main.__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("sluicegate.yaml"))
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR")
    target.add_argument("--schema", action="store_true", help="print the JSON Schema and do nothing else")
    parser.add_argument("--policy", type=Path, default=Path("build/target-policy.json"), metavar="FILE")
    parser.add_argument("--allow-loopback", action="store_true", help="issuers may be http on this machine")
    parser.add_argument("--stack-name", default="sluicegate")
    options = parser.parse_args(arguments)
    if options.schema:
        from sluicegate_gatefile.schema.editors import json_schema  # which nothing else needs

        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return 0
    report = check(options.file, allow_loopback=options.allow_loopback, stack_name=options.stack_name)
    for diagnostic in report.diagnostics:
        print(diagnostic, file=sys.stderr)
    for result in report.test_results:
        if not result.passed:
            what = f"test failed: {result.name}: {result.message}"
            failed = Diagnostic(str(options.file), result.line, result.column, "error", "test", what)
            print(failed, file=sys.stderr)
    if not report.ok or report.document is None or report.gate is None:
        return 1
    out = options.out / "sluicegate" / "gate.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(report.document)
    origin = {name: os.environ[variable] for name, variable in _ORIGIN.items() if os.environ.get(variable)}
    out.with_name("gate-origin.json").write_text(json.dumps(origin, sort_keys=True))
    options.policy.parent.mkdir(parents=True, exist_ok=True)
    target_policy.write(report.gate, options.policy)
    own_functions = own_function_names(options.stack_name)
    targets = target_template.stacks(report.gate, own_functions=own_functions)
    stack_policies.write(targets.values(), options.policy.parent)
    prune_policy.write(report.gate, options.policy.parent)
    target_template.write(targets, options.policy.parent / "targets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
