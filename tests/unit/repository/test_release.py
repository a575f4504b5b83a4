"""What makes a release, what a push to GitLab starts, and the example of a project for a gate file."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluicegate import __version__
from sluicegate_gatefile import compile as gatefile
from support.pages import PAGES, ROOT, name

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
EXAMPLE = ROOT / "examples/gate-file"


def test_a_push_starts_no_pipeline() -> None:
    """A project that only offers the component has no privileged runner, and needs none."""
    conditions = [rule["if"] for rule in PIPELINE["workflow"]["rules"]]
    assert conditions == [
        r'$CI_COMMIT_TAG =~ /^[0-9]+\.[0-9]+\.[0-9]+$/ && $CI_COMMIT_REF_PROTECTED == "true"',
        '$RUN_TESTS == "yes"',
    ]
    assert PIPELINE["test"]["rules"] == [{"if": conditions[1]}]
    for each in ("package", "release"):
        assert PIPELINE[each]["extends"] == ".release"
        assert "tags" not in PIPELINE[each]
    assert PIPELINE[".release"]["rules"][0]["if"] in conditions[0]


def test_a_release_is_made_as_the_catalog_wants_it() -> None:
    """By a job with the keyword `release`: docs.gitlab.com/ci/components, "Publish a new release"."""
    assert PIPELINE["release"]["release"]["tag_name"] == "$CI_COMMIT_TAG"
    assert PIPELINE["release"]["release"]["description"] in PIPELINE["package"]["script"][1]
    assert all(isinstance(line, str) for job in ("test", "package") for line in PIPELINE[job]["script"])


@pytest.mark.parametrize(
    ("version", "heading", "notes"),
    [
        (__version__, f"## {__version__} - 2026-12-01", "- New.\n- More.\n"),
        (__version__, f"## {__version__}", "- New.\n- More.\n"),
        (__version__, f"## {__version__}0", None),
        (__version__, "## Unreleased", None),
        ("9.9.9", "## 9.9.9", None),
        (".*", "## .*", None),
    ],
)
def test_a_release_has_the_changelogs_words_or_is_none(
    tmp_path: Path, version: str, heading: str, notes: str | None
) -> None:
    init = "layers/shared/python/sluicegate/__init__.py"
    for file in (".ci/release-notes", init):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{heading}\n\n- New.\n- More.\n\n## 0.0.1\n\n- Old.\n"
    )
    done = subprocess.run([tmp_path / ".ci/release-notes", version], capture_output=True, text=True)
    assert (done.returncode == 0, done.stdout.lstrip()) == (notes is not None, notes or "")


def test_the_tag_that_the_pages_tell_to_push_makes_a_release() -> None:
    done = subprocess.run([ROOT / ".ci/release-notes", __version__], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"refs/tags/{__version__}" in (ROOT / "docs/start/connect.md").read_text()


def test_the_pages_name_no_other_version_of_the_product() -> None:
    for page in PAGES:
        for version in re.findall(r"sluicegate(?:/deploy@|==)(\S+)", page.read_text()):
            assert version == __version__, name(page)


def test_the_examples_gate_file_has_no_error() -> None:
    found = gatefile.check(EXAMPLE / "sluicegate.yaml").diagnostics
    assert [(one.severity, one.code) for one in found] == [("warning", "shared_target")]


def test_the_examples_pipeline_holds_no_key_and_no_variable() -> None:
    text = (EXAMPLE / ".gitlab-ci.yml").read_text()
    pipeline = yaml.safe_load(text)
    assert "AWS_ACCESS_KEY_ID" not in text
    assert "variables" not in text
    assert pipeline["check"]["script"] == ["sluicegate check sluicegate.yaml"]
    assert pipeline["deploy"]["rules"][0]["when"] == "manual"
    assert "id_tokens" not in pipeline["check"]
    script = "\n".join(pipeline["deploy"]["script"])
    parsed = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
    assert parsed.stderr == ""


def test_the_examples_pipeline_writes_its_token_where_nobody_else_can_read_or_foresee_it(
    tmp_path: Path,
) -> None:
    script: list[str] = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text())["deploy"]["script"]
    lines = [line for line in script if "AWS_WEB_IDENTITY_TOKEN_FILE" in line]
    show = 'printf "\\n%s" "$AWS_WEB_IDENTITY_TOKEN_FILE"'
    files: set[Path] = set()
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-euc", "\n".join(["umask 000", *lines, show])],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "AWS_ID_TOKEN": "a.b.c"},
        )
        file = Path(done.stdout.strip())
        assert (file.read_text(), file.stat().st_mode & 0o777, file.parent) == ("a.b.c", 0o600, tmp_path)
        files.add(file)
    assert len(files) == 2
