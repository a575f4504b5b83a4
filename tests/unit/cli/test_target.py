"""`sluicegate target`: the templates of targets, and the list of them."""

import json
from pathlib import Path

import pytest

from sluicegate_cli.screen import Screen
from sluicegate_gatefile.target_template import template
from support.cli_running import Run
from support.target_stacks import GATE, stacks_of
from support.template import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE)
    return path


def test_it_prints_the_template_that_the_build_writes(run: Run, file: Path, tmp_path: Path) -> None:
    ended = run("target", "prod-eu", "--gate-file", str(file))
    stacks = stacks_of(tmp_path)
    assert (ended.code, ended.out) == (0, template(stacks["prod-eu"], list(stacks.values())))
    assert load(ended.out)["Resources"]["TargetRole"]


def test_without_a_name_it_lists_them(run: Run, file: Path, tmp_path: Path) -> None:
    ended = run("target", "--gate-file", str(file))
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["name", "account", "region", "role", "digest", "stages"]
    ended = run("target", "--gate-file", str(file), "--json")
    listed = {each["name"]: each for each in json.loads(ended.out)["targets"]}
    assert listed["prod-eu"] == {
        "name": "prod-eu",
        "account": "222222222222",
        "region": "eu-central-1",
        "role": "sluicegate-target-eu-central-1",
        "external_id": "3c9e",
        "bucket": "sluicegate-222222222222-eu-central-1-48df97c8",
        "digest": stacks_of(tmp_path)["prod-eu"].digest,
        "stages": ["prod"],
    }
    assert set(listed) == {"prod-eu", "prod-us", "pay"}


def test_the_list_fits_a_terminal_and_names_what_it_leaves_out(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "width", 80)
    ended = run("target", "--gate-file", str(file))
    assert ended.out.splitlines()[0].split() == ["name", "account", "region", "digest", "stages"]
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "no room for role" in ended.err


def test_a_name_that_is_none_is_refused(run: Run, file: Path) -> None:
    ended = run("target", "prod-euu", "--gate-file", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert "prod-eu" in ended.err


def test_a_gate_file_with_an_error_makes_no_template(run: Run, file: Path) -> None:
    file.write_text(GATE.replace("external_id: 3c9e", ""))
    ended = run("target", "prod-eu", "--gate-file", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert "the key `external_id` is missing here: for example `external_id: " in ended.err


def test_two_suggestions_differ(run: Run, file: Path) -> None:
    file.write_text(GATE.replace("external_id: 3c9e", ""))
    assert run("target", "--gate-file", str(file)).err != run("target", "--gate-file", str(file)).err


def test_without_a_gate_file_it_says_how_to_name_one(run: Run, tmp_path: Path) -> None:
    ended = run("target", "--gate-file", str(tmp_path / "none.yaml"))
    assert ended.code == 2
    assert "or name it" in ended.err


def test_a_template_is_no_json(run: Run, file: Path) -> None:
    ended = run("target", "prod-eu", "--gate", str(file), "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "a template is YAML" in ended.err
