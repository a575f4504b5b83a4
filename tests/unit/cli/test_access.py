"""`sluicegate access`: who can bring code to a stage, by which way, and with whose approval."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli_running import Run

GATE_FILE = """\
version: 1
issuers:
  corp:
    url: https://gitlab.example.com
    audience: https://deploy.example.com
    groups: trusted
    sign_in: {client_id: 5f1d, secret: sluicegate/sign-in/corp}
sso:
  - {account: "111111111111", principal_id: AROASSO11111111111111, org: o-a1b2c3d4e5}
agents:
  - {account: "111111111111", principal_id: AROAAGENT111111111111}
stages:
  dev: {agents: {actions: [deploy], propose: true}}
  prod:
    protected: true
    requires: {succeeded_in: dev}
    order: pipeline
    approval: {expires: 24h}
    strategy: {type: canary, percent: 10, bake: 30m}
    watch: {alarms: ["{function}-5xx"]}
functions:
  orders-*: {}
  orders-report: {stages: {prod: {approval: none}}}
  billing: {}
rules:
  - name: release tags
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy, promote, fix-forward], functions: [orders-*], stages: [dev, prod]}
    limits: {per_hour: 10, unapproved_percent: 10}
  - name: assistants
    via: iam
    claims: {account: "111111111111", principal_id: AROAAGENT111111111111}
    allow: {actions: [deploy, rollback, hold], functions: [orders-*], stages: [dev]}
  - name: ada from her terminal
    via: iam
    claims: {account: "111111111111", principal_id: AROASSO11111111111111, session_name: ada@example.com}
    allow: {actions: [approve, reject, rollback, abort, hold], functions: [orders-*], stages: [prod]}
  - name: release managers
    via: session
    claims: {groups_direct: acme/release-managers}
    allow: {actions: [approve, promote], functions: [orders-*], stages: [prod]}
  - name: tags by webhook
    via: webhook
    claims: {project_id: "4213", ref_type: tag, ref: v*}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
  - name: billing, no approver
    claims: {project_id: "77", ref_type: branch, ref: main, ref_protected: "true"}
    allow: {actions: [deploy], functions: [billing], stages: [prod]}
  - name: nothing alone
    claims: {project_id: "78", ref_type: branch, ref: main, ref_protected: "true"}
    allow: {actions: [override-strategy], functions: [billing], stages: [prod]}
deny:
  - {principal_id: AROAGONE1111111111111}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE_FILE)
    return path


def shown(run: Run, *arguments: str) -> dict[str, Any]:
    ended = run("access", *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    return dict(json.loads(ended.out))


@pytest.mark.usefixtures("file")
def test_each_rule_by_its_way_in_a_sentence(run: Run) -> None:
    ended = run("access", "prod")

    lines = [line.strip() for line in ended.out.splitlines()]
    assert ended.code == 0
    titles = ["GitLab jobs", "AWS credentials", "People who signed in", "What stands between"]
    assert [line for line in lines if line in titles] == titles
    assert (
        "release tags: jobs of project 4213, for protected tags v*, after a push or started by hand, may"
        " deploy and promote (also as a fix forward) orders-* and orders-report; at most 10 an hour; at most"
        " 10% of the traffic without an approval."
    ) in lines
    assert (
        "ada from her terminal: ada@example.com by Identity Center role AROASSO11111111111111 of account"
        " 111111111111, may roll back orders-* and orders-report."
    ) in lines
    assert (
        "release managers: people who sign in with GitLab, as members of acme/release-managers, may promote"
        " orders-* and orders-report."
    ) in lines
    assert any(line.startswith("nothing alone: ") and "may change nothing" in line for line in lines)


@pytest.mark.usefixtures("file")
def test_what_stands_between_and_what_bypasses_it(run: Run) -> None:
    lines = [line.strip() for line in run("access", "prod").out.splitlines()]

    assert (
        "Approval: a second person must approve within 1d, before anything of orders-* and billing is"
        " deployed."
    ) in lines
    assert "No rule grants `approve` on billing: what waits there is never approved." in lines
    assert "No approval: the stage asks for none of orders-report." in lines
    assert any(line.startswith("release managers: ") and "may approve orders-*" in line for line in lines)
    assert any(line.startswith("ada from her terminal: ") and "may hold orders-*" in line for line in lines)
    assert any(line.startswith("Requires: ") and "`sluicegate access dev`" in line for line in lines)
    assert any("10% for 30m, 100%, with a watch (alarm {function}-5xx)" in line for line in lines)
    assert "Denied, whatever the rules say: principal_id AROAGONE1111111111111." in lines
    assert any("outside of this file" in line and "security.md" in line for line in lines)


@pytest.mark.usefixtures("file")
def test_an_agent_has_what_its_stage_leaves_it(run: Run) -> None:
    rules = {rule["rule"]: rule for rule in shown(run, "dev")["rules"]}

    assert {name: rule["way"] for name, rule in rules.items()} == {
        "release tags": "job",
        "assistants": "agent",
        "tags by webhook": "webhook",
    }
    assert rules["assistants"]["actions"] == ["deploy"]
    assert rules["assistants"]["approval"] == "always"
    assert rules["release tags"]["approval"] == "above 10% of the traffic"
    assert rules["tags by webhook"]["approval"] == ""


@pytest.mark.usefixtures("file")
def test_when_a_rule_waits_for_an_approval(run: Run) -> None:
    found = {rule["rule"]: rule["approval"] for rule in shown(run, "prod")["rules"]}

    assert found == {
        "release tags": "before any traffic of orders-*; above 10% of the traffic of the rest",
        "ada from her terminal": "",
        "release managers": "before any traffic of orders-*",
        "billing, no approver": "before any traffic",
        "nothing alone": "",
    }


@pytest.mark.usefixtures("file")
def test_one_function_has_its_own_entry(run: Run) -> None:
    found = shown(run, "prod", "--function", "orders-report")

    assert [each["approval"] for each in found["between"]] == [None]
    assert {rule["rule"] for rule in found["rules"]} == {
        "release tags",
        "ada from her terminal",
        "release managers",
    }
    assert all(rule["functions"] == ["orders-report"] for rule in found["rules"])


def test_patterns_of_which_neither_covers_the_other(run: Run, file: Path) -> None:
    file.write_text(
        GATE_FILE.replace("functions: [billing], stages: [prod]", 'functions: ["*-x"], stages: [prod]')
    )
    found = {rule["rule"]: rule["functions"] for rule in shown(run, "prod")["rules"]}
    assert found["billing, no approver"] == ["what matches *-x and orders-*"]


@pytest.mark.usefixtures("file")
def test_a_function_without_an_entry_is_nobodys(run: Run) -> None:
    ended = run("access", "prod", "--function", "invoices")

    assert ended.code == 0
    assert "nobody can deploy it" in ended.out
    assert shown(run, "prod", "--function", "invoices")["rules"] == []


@pytest.mark.usefixtures("file")
def test_a_stage_that_is_none_gets_a_suggestion(run: Run) -> None:
    ended = run("access", "prd")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean `prod`?" in ended.err


def test_a_gate_file_with_an_error_says_which(run: Run, file: Path) -> None:
    file.write_text(GATE_FILE.replace("order: pipeline", "order: pipelines"))
    ended = run("access", "prod")
    assert (ended.code, ended.out) == (2, "")
    assert "sluicegate.yaml:17:12: error: " in ended.err
    ended = run("access", "prod", "--gate", "none.yaml")
    assert ended.code == 2
    assert "there is no gate file none.yaml" in ended.err


def test_hostile_names_end_no_line(run: Run, file: Path) -> None:
    file.write_text(GATE_FILE.replace("name: release tags", 'name: "x\\nGitLab jobs\\u001b[2J"'))
    ended = run("access", "prod")
    assert ended.code in (0, 2)
    assert "\x1b" not in ended.out
    assert ended.out.count("\nGitLab jobs") <= 1
