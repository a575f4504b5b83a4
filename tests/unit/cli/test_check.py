"""`sluicegate check`: places, tests, the table, and exit codes."""

import json
from pathlib import Path

import pytest

from sluicegate_cli.screen import Screen
from support.cli_running import Run

GATE_FILE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  prod: {protected: true}
functions:
  orders-*: {}
rules:
  - name: orders to prod
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev, prod]}
deny:
  - {jti: leaked}
tests:
  - name: a tag may deploy
    identity: {project_id: "4213", ref_type: tag, ref: v1, ref_protected: "true", pipeline_source: push}
    request: {action: deploy, function: orders-api, stage: prod}
    expect: {allowed: true, rule: orders to prod}
"""

ENVIRONMENT = 'ref_protected: "true", environment: production, environment_protected: "true"'


@pytest.fixture
def gate_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE_FILE)
    return path


def test_a_good_file_passes_with_its_tests(run: Run, gate_file: Path) -> None:
    ended = run("check")

    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith(f"{gate_file.name}: 0 errors")
    assert ended.out.splitlines()[-1].endswith("1 of 1 test passed")


def test_an_error_is_exit_2_with_its_line_and_column(run: Run, gate_file: Path) -> None:
    gate_file.write_text(GATE_FILE.replace('project_id: "4213", ref_type: tag, ref: v*', "project_id: 4213"))

    ended = run("check")

    assert ended.code == 2
    assert "sluicegate.yaml:11:26: error: " in ended.out
    assert "no tests run" in ended.out


def test_a_test_that_fails_is_exit_2_and_says_what_the_gate_said(run: Run, gate_file: Path) -> None:
    gate_file.write_text(GATE_FILE.replace("ref: v1", "ref: main"))

    ended = run("check")

    assert ended.code == 2
    assert "sluicegate.yaml:16:5: error: test failed: a tag may deploy: not allowed" in ended.out
    assert "ref is main" in ended.out
    assert ended.out.splitlines()[-1] == "sluicegate.yaml: 1 error, 1 warning, 0 of 1 test passed"


def test_a_warning_alone_is_exit_0(run: Run, gate_file: Path) -> None:
    gate_file.write_text(GATE_FILE.replace("[orders-*]", "[orders-*, billing]"))

    ended = run("check")

    assert ended.code == 0
    assert ": warning: " in ended.out


def test_explain_shows_what_each_rule_grants_where(run: Run, gate_file: Path) -> None:
    ended = run("check", str(gate_file), "--explain")

    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ended.out.splitlines()]
    assert ["rule", "for", "functions", "dev", "prod"] in rows
    assert ["orders to prod", "project_id: 4213", "orders-*", "deploy", "deploy"] in rows
    assert "denied before any rule: jti: leaked" in ended.out


def test_explain_shows_how_a_deployment_goes_in_each_stage(run: Run, gate_file: Path) -> None:
    prod = """prod:
    protected: true
    strategy: {type: canary, percent: 10, bake: 5m}
    smoke: {payload: {ping: true}, expect: ok}
    watch: {alarms: ["{function}-5xx"], errors: {max_percent: 1, max_ratio: 2}}
    approval: {}
    requires: {succeeded_in: dev}
    order: pipeline"""
    override = (
        "orders-*: {stages: {prod: {smoke: {hook: check}, approval: none, requires: none, order: none}}}"
    )
    text = GATE_FILE.replace("prod: {protected: true}", prod).replace("orders-*: {}", override)
    gate_file.write_text(text)

    ended = run("check", "--explain")

    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ended.out.splitlines()]
    assert ["stage", "functions", "strategy", "smoke", "watch", "approval", "requires", "order"] in rows
    assert ["dev", "by default", "100%"] in rows
    steps, alarm = "10% for 5m, 100%", "alarm {function}-5xx"
    assert ["prod", "orders-*", steps, "hook check, 10s", alarm] in rows
    smoke = 'payload {"ping":true}, expects "ok", 10s'
    assert ["prod", "by default", steps, smoke, alarm, "within 1d", "dev", "pipeline"] in rows
    assert ["errors: 1%, 2x the old; 100 samples"] in rows
    assert ["unclear: pass"] in rows

    rollouts = json.loads(run("check", "--json").out)["rollouts"]
    assert [(each["stage"], each["functions"]) for each in rollouts] == [
        ("dev", None),
        ("prod", None),
        ("prod", "orders-*"),
    ]
    assert rollouts[1]["approval"] == 86_400
    assert rollouts[2]["smoke"]["hook"] == "check"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_explain_fits_a_terminal_however_many_stages_there_are(
    run: Run, gate_file: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(Screen, "width", width)
    others = ("test", "integration", "staging", "canary", "rule")
    text = GATE_FILE.replace("  dev: {}\n", "".join(f"  {stage}: {{}}\n" for stage in ("dev", *others)))
    text = text.replace('ref_protected: "true"}\n    allow', f"{ENVIRONMENT}}}\n    allow")
    text = text.replace("stages: [dev, prod]", f"stages: [dev, prod, {', '.join(others)}]")
    gate_file.write_text(text.replace("actions: [deploy]", "actions: [deploy, override-strategy, rollback]"))

    ended = run("check", "--explain")

    tables = ended.out.split("\n\n")[1:3]
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in tables[0].splitlines()]
    assert max(map(len, "\n".join(tables).splitlines())) <= width
    assert all(word in tables[0] for word in ("project_id: 4213", "environment_protected:", "orders-*"))
    if width == 200:
        assert rows[0] == ["rule", "for", "functions", "dev", *others, "prod"]
    else:
        assert rows[0] == ["rule", "for", "functions", "stage", "actions"]
        assert [row[-2] for row in rows if row[-1].startswith("deploy,")] == ["dev", *others, "prod"]


def test_json_is_one_document(run: Run, gate_file: Path) -> None:
    document = json.loads(run("check", "--json").out)

    assert document["ok"] is True
    assert document["tests"][0]["passed"] is True
    assert document["rules"][0]["stages"] == ["dev", "prod"]

    gate_file.write_text("version: 2\n")
    document = json.loads(run("check", "--json").out)

    assert document["ok"] is False
    assert {"file", "line", "column", "severity", "code", "message"} == set(document["diagnostics"][0])


def test_loopback_issuers_are_for_the_stand(run: Run, gate_file: Path) -> None:
    gate_file.write_text(GATE_FILE.replace("https://gitlab.example.com", "http://127.0.0.1:18080"))

    assert run("check").code == 2
    assert run("check", "--allow-loopback").code == 0


def test_no_file_is_exit_2(run: Run, tmp_path: Path) -> None:
    assert run("check", str(tmp_path / "absent.yaml")).code == 2


def test_no_file_says_what_to_do_next(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    ended = run("check", "--json")

    assert (ended.code, ended.out) == (2, "")
    assert "no gate file sluicegate.yaml" in ended.err
    assert "sluicegate check PATH" in ended.err
    assert "docs/start/deploy.md" in ended.err


def test_needs_neither_endpoint_nor_token(run: Run, gate_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICEGATE_URL")
    monkeypatch.delenv("SLUICEGATE_TOKEN")

    assert run("check", str(gate_file)).code == 0


def test_diff_says_who_gains_and_ends_with_one_word(run: Run, gate_file: Path) -> None:
    gate_file.with_name("old.yaml").write_text(GATE_FILE.replace("stages: [dev, prod]", "stages: [dev]"))

    ended = run("check", "--diff", "old.yaml")

    lines = ended.out.splitlines()
    assert ended.code == 0
    assert "compared with old.yaml: 1 change" in lines
    assert lines[-2] == (
        "  +  jobs of project 4213, for protected tags v*, after a push or started by hand, may now deploy"
        " orders-* in prod (rule 'orders to prod')"
    )
    assert lines[-1] == "grants more"
    found = json.loads(run("check", "--diff", "old.yaml", "--json").out)["diff"]
    assert (found["verdict"], [change["effect"] for change in found["changes"]]) == ("grants more", ["more"])


def test_diff_with_itself_says_that_nothing_changes(run: Run, gate_file: Path) -> None:
    ended = run("check", "--diff", str(gate_file))
    assert ended.code == 0
    assert ended.out.splitlines()[-2:] == [f"compared with {gate_file}: nothing changes", "neither"]


def test_diff_needs_an_old_file_that_compiles(run: Run, gate_file: Path) -> None:
    assert run("check", "--diff", "none.yaml").code == 2
    gate_file.with_name("old.yaml").write_text(GATE_FILE.replace("version: 1", "version: 2"))
    ended = run("check", "--diff", "old.yaml")
    assert ended.code == 2
    assert "old.yaml:1:10: error: " in ended.err


def test_diff_leaves_the_exit_code_to_the_file_that_is_checked(run: Run, gate_file: Path) -> None:
    gate_file.with_name("old.yaml").write_text(GATE_FILE)
    gate_file.write_text(GATE_FILE.replace("ref: v1,", "ref: main,"))
    ended = run("check", "--diff", "old.yaml")
    assert (ended.code, ended.out.splitlines()[-1]) == (2, "neither")
    gate_file.write_text("version: 2")
    ended = run("check", "--diff", "old.yaml", "--json")
    assert (ended.code, json.loads(ended.out)["diff"]) == (2, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "broken.yaml"),
        ("check", "--diff", "broken.yaml"),
        ("access", "prod", "--gate", "broken.yaml"),
        ("access", "prod", "--gate-file", "broken.yaml"),
        ("target", "--gate", "broken.yaml"),
        ("target", "--gate-file", "broken.yaml"),
        ("replay", "--since", "30d", "--gate", "broken.yaml"),
        ("replay", "--since", "30d", "--gate-file", "broken.yaml"),
        ("watch-plan", "f", "prod", "--requests", "9/min", "--errors", "1%", "--gate", "broken.yaml"),
        ("watch-plan", "f", "prod", "--requests", "9/min", "--errors", "1%", "--gate-file", "broken.yaml"),
    ],
    ids=" ".join,
)
def test_a_broken_gate_file_is_the_same_document_everywhere(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sluicegate.yaml").write_text("version: 1\n")
    Path("broken.yaml").write_text("version: 1\nstages: 7\n")

    ended = run(*arguments, "--json")
    document = json.loads(ended.out)

    assert (ended.code, document["file"], document["ok"], document["digest"]) == (
        2,
        "broken.yaml",
        False,
        None,
    )
    codes = {found["code"] for found in document["diagnostics"] if found["severity"] == "error"}
    said = run(*arguments)
    assert said.code == 2
    assert all(f"[{code}]" in said.out + said.err for code in codes)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("check",), ("access", "prod"), ("target",), ("replay",), ("doctor",), ("audit", "key")),
        ("audit", "export"),
        ("watch-plan",),
    ],
    ids=" ".join,
)
def test_a_stack_has_both_names_everywhere(run: Run, arguments: tuple[str, ...]) -> None:
    said = run(*arguments, "--help").out
    assert "--stack, --stack-name" in said
    if arguments[0] not in ("check", "audit"):
        assert "--gate, --gate-file" in said
