"""The gate file's `webhooks` and rules with `via: webhook`: what is wrong where, and what comes of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sluicegate.gate import codec
from sluicegate.gate.decoding import GateError
from sluicegate.gate.records import FORMAT
from sluicegate_gatefile.compile import Report

CORP = "https://gitlab.example.com"
SOUND = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  prod: {protected: true}
functions:
  orders-*: {}
rules:
  - name: release tags by webhook
    via: webhook
    claims: {project_id: "4213", ref_type: tag, ref: v*}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
webhooks:
  orders-tags:
    project_id: "4213"
    scheme: signature
    secret: sluicegate/webhooks/orders
    event: tag_push
    ref: v*
    deploy: {function: orders-api, stage: dev}
"""

Check = Callable[[str], Report]


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, old
    return SOUND.replace(old, new)


def found(report: Report) -> list[tuple[int, int, str, str]]:
    return [(d.line, d.column, d.severity, d.code) for d in report.diagnostics]


def test_a_sound_entry_is_compiled(check: Check) -> None:
    report = check(SOUND)
    assert report.diagnostics == ()
    assert report.document is not None
    assert json.loads(report.document)["webhooks"] == [
        {
            "name": "orders-tags",
            "issuer": CORP,
            "project_id": "4213",
            "scheme": "signature",
            "secret": "sluicegate/webhooks/orders",
            "event": "tag_push",
            "ref_type": "tag",
            "ref": "v*",
            "function": "orders-api",
            "stage": "dev",
        }
    ]
    assert report.gate is not None
    hook = report.gate.webhooks["orders-tags"]
    assert (hook.scheme, hook.event, str(hook.ref)) == ("signature", "tag_push", "v*")


def test_a_rule_for_webhooks_takes_pushes_and_the_button_unless_it_says_more(check: Check) -> None:
    report = check(SOUND)
    assert report.document is not None
    [rule] = json.loads(report.document)["rules"]
    assert rule["claims"]["pipeline_source"] == ["push", "web"]


@pytest.mark.parametrize(
    "text",
    [
        changed("event: tag_push", "event: pipeline\n    ref_type: tag"),
        changed("event: tag_push", "event: pipeline\n    ref_type: tag\n    status: success"),
        changed("event: tag_push", "event: tag_push\n    ref_type: tag"),
        changed("event: tag_push", "event: pipeline").replace("ref_type: tag", "ref_type: branch"),
        changed("scheme: signature", "scheme: token"),
        changed("ref_type: tag, ref: v*", 'event: tag_push, ref_type: tag, ref: v1, sha: "**"'),
        SOUND.replace("webhook\n", "id_token\n").replace("scheme: signature", "scheme: id_token")
        .replace("    secret: sluicegate/webhooks/orders\n", ""),
        SOUND + SOUND[SOUND.index("  orders-tags:") :].replace("orders-tags", "orders-more"),
    ],
)  # fmt: skip
def test_what_else_is_sound(check: Check, text: str) -> None:
    assert check(text).diagnostics == ()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (changed("scheme: signature", "scheme: password"), (17, 13, "value")),
        (changed("    secret: sluicegate/webhooks/orders\n", ""), (15, 3, "webhook")),
        (changed("scheme: signature", "scheme: id_token"), (18, 13, "webhook")),
        (changed("webhooks/orders", "gitlab/orders"), (18, 13, "value")),
        (changed("webhooks/orders", "webhooks/"), (18, 13, "value")),
        (changed("webhooks/orders", "webhooks/../gitlab/x"), (18, 13, "value")),
        (changed('project_id: "4213"\n    scheme', "project_id: acme\n    scheme"), (16, 17, "value")),
        (changed("event: tag_push", "event: push"), (19, 12, "value")),
        (changed("event: tag_push", "event: tag_push\n    status: success"), (20, 13, "webhook")),
        (changed("event: tag_push", "event: pipeline\n    status: failed"), (20, 13, "value")),
        (changed("    ref: v*\n", "    ref: '***'\n"), (20, 10, "value")),
        (changed("event: tag_push", "event: tag_push\n    ref_type: branch"), (20, 15, "webhook")),
        (changed("event: tag_push", "event: pipeline\n    ref_type: tags"), (20, 15, "value")),
        (changed("stage: dev", "stage: prod"), (21, 43, "webhook")),
        (changed("stage: dev", "stage: nowhere"), (21, 43, "stage")),
        (changed("function: orders-api", "function: billing"), (21, 24, "webhook")),
        (changed("function: orders-api", "function: sluicegate-gateway"), (21, 24, "own_function")),
        (changed("function: orders-api", "function: orders-*"), (21, 24, "value")),
        (changed("  orders-tags:", "  -x:"), (15, 3, "value")),
        (changed("    event: tag_push\n", ""), (16, 5, "missing_key")),
        (SOUND + "    more: x\n", (22, 5, "unknown_key")),
        (SOUND + "    issuer: other\n", (22, 13, "issuer")),
        # Rules
        (changed("ref_type: tag, ref: v*", "user_id: '7'"), (12, 43, "webhook")),
        (changed("ref_type: tag, ref: v*", 'ref_protected: "true"'), (12, 49, "webhook")),
        (changed("ref_type: tag, ref: v*", "event: release"), (12, 41, "value")),
        (changed("ref_type: tag, ref: v*", "ref: v*"), (12, 39, "ref_type")),
        (changed('project_id: "4213", ref_type', "ref_type"), (12, 5, "pin")),
        (changed('project_id: "4213", ref_type', "project_id: '42*', ref_type"), (12, 5, "pin")),
        (changed('project_id: "4213", ref_type', "namespace_id: '72', ref_type"), (12, 5, "pin")),
        (changed("actions: [deploy]", "actions: [deploy, rollback]"), (13, 31, "webhook")),
        (changed("actions: [deploy]", "actions: [deploy, approve]"), (13, 31, "webhook")),
        (changed("actions: [deploy]", "actions: [override-strategy]"), (13, 23, "webhook")),
        (changed("actions: [deploy]", "actions: [deploy, fix-forward]"), (13, 31, "webhook")),
        (changed("stages: [dev]", "stages: [dev, prod]"), (13, 69, "webhook")),
        (
            changed("via: webhook", "via: id_token").replace("v*}", "v*, event: tag_push}"),
            (12, 65, "webhook"),
        ),
    ],
)
def test_an_error_says_where_it_is(check: Check, text: str, at: tuple[int, int, str]) -> None:
    report = check(text)
    line, column, code = at
    assert (line, column, "error", code) in found(report), report.diagnostics
    assert report.gate is None


def test_a_secret_is_one_projects(check: Check) -> None:
    other = SOUND[SOUND.index("  orders-tags:") :].replace("orders-tags", "others").replace("4213", "9")
    report = check(SOUND + other)
    assert (25, 13, "error", "webhook") in found(report)
    assert "of another project, has the same secret" in report.diagnostics[-1].message


@pytest.mark.parametrize(
    "text",
    [
        changed("via: webhook", "via: id_token"),
        changed('claims: {project_id: "4213"', 'claims: {project_id: "1"'),
        changed("ref_type: tag, ref: v*", "ref_type: branch"),
        changed("event: tag_push", "event: pipeline"),
        changed("ref_type: tag, ref: v*", "ref_type: tag, ref: release-*"),
        changed("functions: [orders-*]", "functions: [orders-web]"),
        changed("actions: [deploy]", "actions: [read]"),
        SOUND.replace("tag_push", "pipeline").replace("ref_type: tag", "event: tag_push, ref_type: tag"),
    ],
)
def test_an_entry_that_no_rule_can_allow_is_warned_of(check: Check, text: str) -> None:
    report = check(text)
    assert found(report) == [(15, 3, "warning", "webhook")]
    assert report.gate is not None


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/heads/*"])
def test_a_full_ref_in_an_entry_is_warned_of(check: Check, ref: str) -> None:
    report = check(changed("    ref: v*\n", f"    ref: {ref}\n"))
    assert (20, 10, "warning", "ref") in found(report)
    assert "the bare name" in report.diagnostics[-1].message


def test_an_approval_that_nobody_can_give_is_warned_of(check: Check) -> None:
    report = check(changed("dev: {}", "dev: {approval: {}}"))
    assert (21, 43, "warning", "approval") in found(report)


def test_the_files_own_tests_ask_for_deliveries_too(check: Check) -> None:
    asked = """\
tests:
  - identity: {via: webhook, project_id: "4213", pipeline_source: push, ref_type: tag, ref: v1}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: true, rule: release tags by webhook}
  - identity: {project_id: "4213", pipeline_source: push, ref_type: tag, ref: v1}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: false}
"""
    report = check(SOUND + asked)
    assert report.ok, report
    assert len(report.test_results) == 2


# gate.json


def document(**changes: Any) -> bytes:
    rollout = {
        "steps": [{"percent": 100, "bake": 0}],
        "smoke": None,
        "watch": None,
        "approval": None,
        "requires": None,
        "ordered": False,
    }
    stages = [
        {"name": name, "alias": name, "protected": name == "prod", "max_age": None, "rollout": rollout}
        | {"target": None, "agents": None}
        for name in ("dev", "prod")
    ]
    whole = {
        "format": FORMAT,
        "issuers": [
            {
                "name": "corp",
                "url": CORP,
                "audience": "x",
                "max_age": None,
                "jwks": None,
                "feedback": None,
                "gitlab_url": None,
                "sts_audience": None,
                "groups": None,
                "sign_in": None,
            }
        ],
        "targets": [],
        "people": [],
        "sso": [],
        "agents": {"users": [], "principals": []},
        "stages": stages,
        "functions": [{"pattern": "orders-*", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}],
        "rules": [rule()],
        "deny": [],
        "webhooks": [webhook()],
        "notify": [],
    }
    return json.dumps(whole | changes).encode()


def rule(**changes: Any) -> dict[str, Any]:
    return {
        "name": "by webhook",
        "issuer": CORP,
        "via": "webhook",
        "claims": {"project_id": ["4213"], "pipeline_source": ["push"]},
        "actions": ["deploy"],
        "functions": ["orders-*"],
        "stages": ["dev"],
        "limits": None,
    } | changes


def webhook(**changes: Any) -> dict[str, Any]:
    return {
        "name": "orders-tags",
        "issuer": CORP,
        "project_id": "4213",
        "scheme": "signature",
        "secret": "sluicegate/webhooks/orders",
        "event": "tag_push",
        "ref_type": "tag",
        "ref": "v*",
        "function": "orders-api",
        "stage": "dev",
    } | changes


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}


NOTHINGS: tuple[Any, ...] = ("", 7, [], {}, "***")


def test_the_sound_document_is_sound() -> None:
    assert list(codec.parse(document(), own_functions=()).webhooks) == ["orders-tags"]
    by_token = webhook(scheme="id_token", secret=None)
    assert codec.parse(document(webhooks=[by_token]), own_functions=()).webhooks["orders-tags"].secret is None


@pytest.mark.parametrize(
    "changes",
    [
        *({"webhooks": value} for value in (*NOTHINGS[:2], "x", [None], [webhook(), webhook()])),
        *({"webhooks": [without(webhook(), key)]} for key in webhook()),
        *({"webhooks": [webhook(**{key: value})]} for key in webhook() for value in NOTHINGS),
        {"webhooks": [webhook(more=1)]},
        {"webhooks": [webhook(issuer="corp")]},
        {"webhooks": [webhook(project_id="0")]},
        {"webhooks": [webhook(scheme="none")]},
        {"webhooks": [webhook(secret=None)]},
        {"webhooks": [webhook(scheme="id_token")]},
        {"webhooks": [webhook(secret="sluicegate/gitlab/x")]},
        {"webhooks": [webhook(secret="sluicegate/webhooks/x/../../y")]},
        {"webhooks": [webhook(secret="sluicegate/webhooks/x\n")]},
        {"webhooks": [webhook(event="push")]},
        {"webhooks": [webhook(stage="prod")]},
        {"webhooks": [webhook(stage="nowhere")]},
        {"webhooks": [webhook(function="billing")]},
        {"webhooks": [webhook(function="orders-own")]},
        {"rules": [rule(claims={"namespace_id": ["72"], "pipeline_source": ["push"]})]},
        {"rules": [rule(claims={"project_id": ["42*"], "pipeline_source": ["push"]})]},
        {"rules": [rule(claims={"project_id": ["4213"]})]},
        {"rules": [rule(claims=rule()["claims"] | {"user_id": ["7"]})]},
        {"rules": [rule(actions=["deploy", "rollback"])]},
        {"rules": [rule(actions=["approve"])]},
        {"rules": [rule(stages=["dev", "prod"])]},
    ],
)
def test_a_document_that_says_more_than_it_may_is_refused_whole(changes: dict[str, Any]) -> None:
    with pytest.raises(GateError):
        codec.parse(document(**changes), own_functions=("orders-own",))


def test_an_entry_for_pipelines_of_tags_that_does_not_say_so_is_told_how(check: Check) -> None:
    waits_for_branches = changed("event: tag_push", "event: pipeline")

    [said] = check(waits_for_branches).diagnostics

    assert "one does from a tag: give the entry `ref_type: tag`" in said.message
    [said] = check(waits_for_branches.replace("actions: [deploy]", "actions: [read]")).diagnostics
    assert said.message.endswith("add one")
