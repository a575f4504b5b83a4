"""Findings of checkov that are not mended are answered one by one, in .checkov.yaml."""

import re

import yaml

from support.template import ROOT

TEXT = (ROOT / ".checkov.yaml").read_text()


def test_each_check_that_is_skipped_has_a_reason_of_its_own() -> None:
    reasons = re.findall(r"((?:  # .+\n)+)  - (CKV2?_AWS_\d+)\n", TEXT)
    skipped = yaml.safe_load(TEXT)["skip-check"]
    assert [check for _, check in reasons] == skipped
    assert len({reason for reason, _ in reasons}) == len(skipped)
    for reason, check in reasons:
        # It begins with the resources that the check finds.
        assert re.match(r"  # [A-Z]\w+(, \w+)*: ", reason), check


def test_ci_runs_it_on_the_templates() -> None:
    templates = ["template.yaml", "cloudformation/caller-role.yaml", "build/lint/prod-eu.yaml"]
    assert yaml.safe_load(TEXT)["file"] == templates
    assert "> build/lint/prod-eu.yaml" in (ROOT / ".ci" / "checkov").read_text()
    assert re.search(r"^part \.ci/checkov$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
