"""`prune` in the gate file: what is compiled of it, and what is wrong where."""

import json
from collections.abc import Callable

import pytest

from sluicegate.gate.pruning import Prune
from sluicegate_gatefile.compile import Report

FILE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
targets:
  far: {account: "222222222222", region: eu-central-1, external_id: 3c9e}
stages:
  dev: {TARGET}
functions:
  orders-*: {prune: {PRUNE}}
  orders-api: {}
rules:
  - name: orders
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
"""
PRUNE = "keep: 20, rollbacks: 5, older_than: 30d"

Check = Callable[[str], Report]


def file(prune: str = PRUNE, target: str = "target: default") -> str:
    return FILE.replace("TARGET", target).replace("PRUNE", prune)


@pytest.mark.parametrize(("more", "dry_run"), [("", False), (", dry_run: true", True)])
def test_pruning_is_compiled(check: Check, more: str, dry_run: bool) -> None:
    report = check(file(PRUNE + more, "").replace('  far: {account: "222', '  # far: {account: "222'))
    assert report.gate
    assert report.document
    assert report.gate.prune("orders-web") == Prune(20, 5, 30 * 86_400, dry_run)
    assert report.gate.prune("orders-api") is None
    assert [entry["prune"] for entry in json.loads(report.document)["functions"]][1] is None


@pytest.mark.parametrize(
    ("prune", "code", "words"),
    [
        ("keep: 0, rollbacks: 5, older_than: 30d", "value", "from 1 to 1000"),
        ("keep: 20, rollbacks: 101, older_than: 30d", "value", "from 1 to 100"),
        ("keep: 20, rollbacks: 5, older_than: 12h", "duration", "from 1d to 3650d"),
        ("keep: 20, rollbacks: 5, older_than: 30", "type", "a duration is a string"),
        ("rollbacks: 5, older_than: 30d", "missing_key", "keep"),
        (f"{PRUNE}, newest: 3", "unknown_key", "newest"),
        (f"{PRUNE}, dry_run: maybe", "type", "true"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(check: Check, prune: str, code: str, words: str) -> None:
    found = [one for one in check(file(prune)).diagnostics if one.severity == "error"]
    assert [(one.code, one.line) for one in found] == [(code, 9)]
    assert words in found[0].message


def test_pruning_where_no_version_is_pruned_is_warned_of(check: Check) -> None:
    report = check(file(target="target: far"))
    assert [(one.code, one.line, one.severity) for one in report.diagnostics] == [("prune", 9, "warning")]
