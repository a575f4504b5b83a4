"""The gate file, `sluicegate.yaml`: checked, compiled to gate.json, and asked its own tests.

For the build and the command line only; what runs in Lambda reads gate.json and needs no YAML.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sluicegate.aws import permissions
from sluicegate.gate import codec
from sluicegate.gate.policy import Decision, Gate
from sluicegate.oidc.identity import Identity
from sluicegate.text import clean
from sluicegate_gatefile import reading, yaml_source
from sluicegate_gatefile.checks import OWN_FUNCTIONS, Checks
from sluicegate_gatefile.diagnostics import Diagnostic, Findings, Mark, Severity
from sluicegate_gatefile.reading import UNSUPPORTED

MAX_JWKS = 65_536  # bytes, as for keys that are fetched


@dataclass(frozen=True)
class TestResult:
    """How one entry of `tests` came out. `message` is empty if it passed, else what the gate said instead."""

    name: str
    line: int
    column: int
    passed: bool
    message: str


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


def check(path: str | Path, *, allow_loopback: bool = False, stack_name: str = "sluicegate") -> Report:
    """Reads, compiles and tests a gate file; raises nothing for what is in it.

    `allow_loopback` lets an issuer be http on this machine, for the stand. `stack_name` tells the names of
    Sluicegate's own functions, which no pattern may match.
    """
    path = Path(path)
    findings = Findings(str(path))
    found = _source(path, findings)
    if found is None:
        return Report(None, None, findings.in_order(), ())
    tree, source = found
    own_functions = tuple(f"{stack_name}-{name}" for name in OWN_FUNCTIONS)

    def report(severity: Severity, code: str, at: yaml_source.Path, message: str) -> None:
        findings.add(severity, code, tree.shown(at), message)

    checks = Checks(source, report, partial(_keys_beside, path.parent), allow_loopback, own_functions)
    document = _json(checks.document())
    if any(diagnostic.severity == "error" for diagnostic in findings.found):
        return Report(None, None, findings.in_order(), ())
    gate = codec.parse(document, own_functions=own_functions)
    try:
        permissions.of(gate)
    except permissions.PolicyError as error:
        report("error", "policy", ("functions",), str(error))
        return Report(None, None, findings.in_order(), ())
    _warn_of_waiting(gate, report)
    tests = enumerate(source.get("tests", ()))
    results = tuple(_ask(gate, test, tree.shown(("tests", i))) for i, test in tests)
    return Report(gate, document, findings.in_order(), results)


def _warn_of_waiting(gate: Gate, report: yaml_source.Report) -> None:
    """Of webhooks whose deployments would wait for an approval: a webhook has no user to differ from."""
    for hook in gate.webhooks.values():
        placement = gate.place(hook.function, hook.stage)
        if hook.scheme != "id_token" and placement and placement.approval is not None:
            what = f"`{hook.stage}` asks for an approval, and nobody can approve what a webhook asks for"
            report("warning", "approval", ("webhooks", hook.name, "deploy", "stage"), what)


def _source(path: Path, findings: Findings) -> tuple[yaml_source.Source, dict[str, Any]] | None:
    """The file's nodes, for their places, and its values; None where it has not the shape of a gate file."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        findings.add("error", "file", Mark(), f"cannot read it: {error.strerror}")
        return None
    except UnicodeDecodeError:
        findings.add("error", "file", Mark(), "the file is not UTF-8")
        return None
    tree = yaml_source.read(text, findings)
    if tree is None:
        return None
    source = reading.read(tree, findings)
    if source is None or any(found.code != UNSUPPORTED for found in findings.found):
        return None
    return tree, source.given()


def _keys_beside(directory: Path, name: str) -> str:
    """The JWK set in a file; raises ValueError where it is none."""
    from sluicegate.oidc.jwks import parse_jwks  # with cryptography, which only a file of keys needs

    try:
        data = (directory / name).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read it: {error.strerror}") from error
    if len(data) > MAX_JWKS:
        raise ValueError("larger than 64 KiB")
    parse_jwks(data)
    return data.decode("utf-8")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def _ask(gate: Gate, test: dict[str, Any], mark: Mark) -> TestResult:
    request, expect = test["request"], test["expect"]
    asking = dict(test["identity"])
    issuer, jti, via = (asking.pop(name, None) for name in ("issuer", "jti", "via"))
    identity = Identity(
        via=via or "id_token",
        issuer=next(known.url for known in gate.issuers.values() if issuer in (None, known.name)),
        jti=jti,
        claims={name: tuple(value) if isinstance(value, list) else value for name, value in asking.items()},
        issued_at=0,
        expires_at=0,
    )
    function, stage = request["function"], request["stage"]
    decision = gate.decide(identity, actions=(request["action"],), function=function, stage=stage)
    rule = decision.rule.name if decision.rule and gate.covers(function) else None
    passed = (rule is not None) == expect["allowed"] and expect.get("rule", rule) == rule
    name = test.get("name") or f"{request['action']} {function} to {stage}"
    return TestResult(
        name, mark.line, mark.column, passed, "" if passed else _answer(gate, decision, function)
    )


def _answer(gate: Gate, decision: Decision, function: str) -> str:
    """What the gate said, in one line."""
    if decision.rule and gate.covers(function):
        return f"allowed by the rule `{decision.rule.name}`"
    if decision.rule:
        return f"not allowed: `{function}` is in no entry of `functions`"
    if decision.denied:
        return f"not allowed: an entry of `deny` matches ({decision.denied})"
    if not decision.nearest:
        return "not allowed: no rule of this project comes near"
    nearest = decision.nearest[0]
    failed = ", ".join(f"{f.claim} is {'missing' if f.value is None else f.value}" for f in nearest.failed)
    return clean(
        f"not allowed: of the nearest rule `{nearest.rule}`, {failed or 'only the grant is another'}", 512
    )


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
    options.policy.parent.mkdir(parents=True, exist_ok=True)
    permissions.write(report.gate, options.policy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
