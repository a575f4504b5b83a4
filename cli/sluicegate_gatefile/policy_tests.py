"""The gate file's `tests`: questions to the compiled gate, and the answers that it must give."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.gate.policy import Decision, Gate
from sluicegate.gate.rules import PINS, PRINCIPAL_PINS
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.text import clean
from sluicegate_gatefile.checks.claims import complaint
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.grants import Rules, TooManySteps
from sluicegate_gatefile.diagnostics import Mark, did_you_mean
from sluicegate_gatefile.schema.rules import TestSection
from sluicegate_gatefile.yaml_source import Path


@dataclass(frozen=True)
class TestResult:
    """How one entry of `tests` came out. `message` is empty if it passed, else what the gate said instead."""

    name: str
    line: int
    column: int
    passed: bool
    message: str


def check_tests(context: CheckContext, rules: Rules) -> None:
    """Report tests that name what is not in the file, or expect what cannot be."""
    names = tuple(rule["name"] for rule in rules)
    for i, test in enumerate(context.file.tests):
        at: Path = ("tests", i)
        context.issuer((*at, "identity"), test.identity.issuer)
        context.check_stage((*at, "request", "stage"), test.request.stage)
        for claim, value in test.identity.given().items():
            for one in value if isinstance(value, list) else [value]:
                if wrong := complaint(claim, one.replace("*", "")):
                    context.warning("value", (*at, "identity", claim), f"{wrong}: the test proves nothing")
        rule = test.expect.rule
        if rule is not None and not test.expect.allowed:
            context.error("test", (*at, "expect", "rule"), "no rule decides what is not allowed")
        elif rule is not None and rule not in names:
            what = f"there is no rule `{rule}`{did_you_mean(rule, names)}"
            context.error("test", (*at, "expect", "rule"), what)


_PINS: Final = (*PINS, *PRINCIPAL_PINS)

MAX_STEPS: Final = 20_000_000
"""Characters that are compared with patterns, about three seconds."""


def run_all(gate: Gate, tests: Sequence[TestSection], mark: Callable[[int], Mark]) -> tuple[TestResult, ...]:
    """Ask the gate all of them. Raises TooManySteps before the first if together they ask too much."""
    patterns: Counter[tuple[str, str]] = Counter()
    for rule in gate.rules:
        number = len(rule.functions) + sum(len(wanted) for _, wanted in rule.claims)
        pinned = {(claim, value): number for claim in _PINS for value in rule.pinned(claim)}
        patterns.update(pinned)
    steps = 0
    for test in tests:
        given = test.identity.given()
        length = len(test.request.function) + sum(map(len, map(str, given.values())))
        steps += length * sum(patterns[claim, str(given.get(claim))] for claim in _PINS)
    if steps > MAX_STEPS:
        raise TooManySteps
    return tuple(run(gate, test, mark(i)) for i, test in enumerate(tests))


def run(gate: Gate, test: TestSection, mark: Mark) -> TestResult:
    """Ask the gate."""
    request, expect = test.request, test.expect
    # It is asked for with a deploy only, and one rule must grant both.
    actions = ("deploy", request.action) if request.action == "fix-forward" else (request.action,)
    decision = gate.decide(
        _identity(gate, test.identity.given()),
        actions=actions,
        function=request.function,
        stage=request.stage,
    )
    rule = decision.rule.name if decision.rule and gate.covers(request.function) else None
    passed = (rule is not None) == expect.allowed and (expect.rule or rule) == rule
    name = test.name or f"{request.action} {request.function} to {request.stage}"
    message = "" if passed else _answer(gate, decision, request.function)
    return TestResult(name, mark.line, mark.column, passed, message)


def _identity(gate: Gate, given: dict[str, Any]) -> Identity:
    issuer, jti, via, key = (given.pop(name, None) for name in ("issuer", "jti", "via", "access_key"))
    principal = None
    if via in ("iam", "iam+id_token"):
        principal = Principal(
            account=given.get("account", ""),
            principal_id=given.get("principal_id", ""),
            principal_type=given.get("principal_type", "role"),
            arn="",
            access_key=key or "",
            role=given.get("role"),
            session_name=given.get("session_name"),
            org=given.get("org"),
        )
        given |= principal.claims
    url = next(known.url for known in gate.issuers.values() if issuer in (None, known.name))
    return Identity(
        via=via or "id_token",
        issuer="" if via == "iam" else url,
        jti=jti,
        claims={name: tuple(value) if isinstance(value, list) else value for name, value in given.items()},
        issued_at=0,
        expires_at=0,
        principal=principal,
    )


def _answer(gate: Gate, decision: Decision, function: str) -> str:
    """Return what the gate said, in one line."""
    if decision.rule and gate.covers(function):
        return f"allowed by the rule `{decision.rule.name}`"
    if decision.rule:
        return f"not allowed: `{function}` matches no entry of `functions`"
    if decision.denied:
        return f"not allowed: an entry of `deny` matches ({decision.denied})"
    if not decision.nearest:
        return "not allowed: no rule for this project almost matches"
    nearest = decision.nearest[0]
    failed = ", ".join(f"{f.claim} is {'missing' if f.value is None else f.value}" for f in nearest.failed)
    return clean(
        f"not allowed: the nearest rule is `{nearest.rule}`, but {failed or 'it does not grant this'}", 512
    )
