"""The gate file's sign-in, rules for people who signed in, and notifications."""

from collections.abc import Callable

import pytest

from sluicegate.deployment.model import Status
from sluicegate.gate.notifications import DEFAULT_STATUSES
from sluicegate.oidc.identity import SignIn
from sluicegate_gatefile.compile import Report

Check = Callable[[str], Report]

SOUND = """\
version: 1
issuers:
  corp:
    url: https://gitlab.example.com
    audience: https://deploy.example.com
    groups: trusted
    sign_in: {client_id: 5f1d, secret: sluicegate/sign-in/corp}
stages:
  dev: {}
  prod: {protected: true, approval: {}}
functions:
  orders-*: {}
rules:
  - name: release managers
    via: session
    claims: {groups_direct: acme/release-managers}
    allow:
      actions: [approve, reject, abort, hold, rollback, promote, end-sessions]
      functions: [orders-*]
      stages: [dev, prod]
deny:
  - {user_id: "66"}
notify:
  - name: releases
    type: slack
    secret: sluicegate/notify/releases
    stages: [prod]
    statuses: [succeeded, failed]
  - {name: all, type: webhook, secret: sluicegate/notify/all}
"""


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, f"{old!r} is there {SOUND.count(old)} times"
    return SOUND.replace(old, new)


def test_a_sound_file_is_compiled_without_a_word(check: Check) -> None:
    report = check(SOUND)
    assert {d.code for d in report.diagnostics} == {"shared_target"}
    gate = report.gate
    assert gate is not None
    issuer = gate.issuers["https://gitlab.example.com"]
    assert issuer.sign_in == SignIn("5f1d", "sluicegate/sign-in/corp")
    assert issuer.trusts_groups
    [managers] = gate.rules
    assert "pipeline_source" not in dict(managers.claims)
    releases, everything = gate.notifications
    assert releases.wants("orders-api", "prod", Status.FAILED)
    assert not releases.wants("orders-api", "dev", Status.FAILED)
    assert not releases.wants("orders-api", "prod", Status.ROLLED_BACK)
    assert everything.statuses == set(DEFAULT_STATUSES)
    assert everything.wants("whatever", "dev", Status.AWAITING_APPROVAL)
    assert not everything.wants("whatever", "dev", Status.BAKING)


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        (changed("    groups: trusted\n", ""), "pin", "groups: trusted"),
        (changed("groups_direct: acme/release-managers", "groups_direct: acme/*"), "pin", "must pin one of"),
        (changed("groups_direct: acme/release-managers", "user_login: ada"), "pin", "must pin one of"),
        (changed("groups_direct: acme/release-managers", 'user_id: "7", ref: main'), "session", "`ref`"),
        (changed("groups_direct: acme/release-managers", 'project_id: "7"'), "session", "`project_id`"),
        (changed("end-sessions]", "deploy]"), "session", "`deploy` is for pipelines"),
        (changed("end-sessions]", "fix-forward]"), "session", "`fix-forward` is for pipelines"),
        (changed("end-sessions]", "override-strategy]"), "session", "`override-strategy` is for pipelines"),
        (
            changed("    sign_in: {client_id: 5f1d, secret: sluicegate/sign-in/corp}\n", ""),
            "session",
            "nobody can sign in at `corp`",
        ),
        (
            changed("audience: https://deploy.example.com", "audience: 5f1d"),
            "audience",
            "taken for a person's",
        ),
        (
            changed("    groups: trusted\n", "    groups: trusted\n    sts_audience: 5f1d\n"),
            "audience",
            "taken for a person's",
        ),
        (changed("sluicegate/sign-in/corp", "sluicegate/gitlab/corp"), "value", "sluicegate/sign-in/corp"),
        (changed("groups: trusted", "groups: all"), "value", "trusted"),
        (changed("name: all,", "name: releases,"), "notify", "already an entry `releases`"),
        (changed("    stages: [prod]\n    st", "    stages: [prd]\n    st"), "stage", "no stage `prd`"),
        (changed("[succeeded, failed]", "[done]"), "value", "succeeded"),
        (changed("sluicegate/notify/all", "sluicegate/gitlab/all"), "value", "sluicegate/notify/releases"),
        (changed("type: webhook", "type: email"), "value", "slack"),
    ],
)
def test_what_is_wrong_is_said(check: Check, text: str, code: str, hint: str) -> None:
    report = check(text)
    assert not report.ok
    assert any(d.code == code and hint in d.message for d in report.diagnostics), report.diagnostics


def test_a_jobs_rule_reads_no_email(check: Check) -> None:
    rule = SOUND[SOUND.index("  - name: release") : SOUND.index("deny:")]
    of_a_job = (
        rule.replace("release managers", "job")
        .replace("via: session", "via: id_token")
        .replace("groups_direct: acme/release-managers", 'project_id: "1", email: ada@example.com')
    )
    report = check(SOUND.replace(rule, rule + of_a_job))
    assert ("session", True) in [(d.code, "`user_email`" in d.message) for d in report.diagnostics]


def test_groups_of_a_gitlab_where_nobody_signs_in_are_a_warning(check: Check) -> None:
    start = SOUND.index("  - name: release")
    text = SOUND[:start].replace("rules:\n", "rules: []\n")
    text = text.replace("    sign_in: {client_id: 5f1d, secret: sluicegate/sign-in/corp}\n", "")
    report = check(text)
    assert report.ok
    assert [d.code for d in report.diagnostics] == ["sign_in"]
