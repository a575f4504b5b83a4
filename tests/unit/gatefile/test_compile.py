"""The gate file: what is an error, what is a warning and where, and what it is compiled to."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.gate import patterns, principals
from sluicegate.oidc import claims as gitlab
from sluicegate.oidc.identity import Feedback, Identity
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import reading, yaml_source
from sluicegate_gatefile.compile import Report
from sluicegate_gatefile.diagnostics import Findings
from sluicegate_gatefile.schema.editors import json_schema
from sluicegate_gatefile.schema.stages import StageSection
from support.signing import jwk

ROOT = Path(__file__).parents[3]

SOUND = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com, jwks: discovery, max_age: 1h}
stages:
  dev: {}
  prod: {alias: live, protected: true, max_age: 15m}
functions:
  orders-*: {}
rules:
  - name: orders to prod
    issuer: corp
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [prod]}
deny:
tests: []
"""

ALL_AT_ONCE = {
    "steps": [{"percent": 100, "bake": 0}],
    "smoke": None,
    "watch": None,
    "approval": None,
    "requires": None,
    "ordered": False,
}

Check = Callable[..., Report]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="session")
def check(directory: Path) -> Check:
    def check(text: str | bytes, **options: Any) -> Report:
        path = directory / "sluicegate.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return gatefile.check(path, **options)

    return check


def changed(old: str, new: str) -> str:
    """The sound gate file with one part of it replaced."""
    assert SOUND.count(old) == 1, f"{old!r} is there {SOUND.count(old)} times"
    return SOUND.replace(old, new)


def found(report: Report) -> list[tuple[int, int, str, str]]:
    return [(d.line, d.column, d.severity, d.code) for d in report.diagnostics]


def messages(report: Report, severity: str = "error") -> str:
    return "\n".join(str(d.message) for d in report.diagnostics if d.severity == severity)


OWN: dict[str, Any] = {"target": None, "agents": None}


def test_a_sound_file_is_compiled_without_a_word(check: Check) -> None:
    report = check(SOUND)
    assert report.diagnostics == ()
    assert report.ok
    assert report.gate is not None
    assert report.document is not None
    assert json.loads(report.document) == {
        "format": 9,
        "issuers": [
            {
                "name": "corp",
                "url": "https://gitlab.example.com",
                "audience": "https://deploy.example.com",
                "max_age": 3600,
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
        "stages": [
            OWN
            | {"name": "dev", "alias": "dev", "protected": False, "max_age": None, "rollout": ALL_AT_ONCE},
            OWN
            | {"name": "prod", "alias": "live", "protected": True, "max_age": 900, "rollout": ALL_AT_ONCE},
        ],
        "functions": [{"pattern": "orders-*", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}],
        "rules": [
            {
                "name": "orders to prod",
                "issuer": "https://gitlab.example.com",
                "via": "id_token",
                "claims": {
                    "project_id": ["4213"],
                    "ref_type": ["tag"],
                    "ref": ["v*"],
                    "ref_protected": ["true"],
                    "pipeline_source": ["push", "web"],
                },
                "actions": ["deploy"],
                "functions": ["orders-*"],
                "stages": ["prod"],
                "limits": None,
            }
        ],
        "deny": [],
        "webhooks": [],
        "notify": [],
    }


def test_the_same_file_gives_the_same_bytes(check: Check) -> None:
    assert check(SOUND).document == check(SOUND).document


# YAML


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "at"),
    [
        (changed('"4213"', "4213"), (12, 26, "unquoted")),
        (changed('"4213"', "0x10"), (12, 26, "unquoted")),
        (changed('"4213"', "4_213"), (12, 26, "unquoted")),
        (changed('"4213"', "0o17"), (12, 26, "unquoted")),  # YAML 1.2
        (changed('"4213"', "12:30:45"), (12, 26, "unquoted")),
        (changed("ref: v*", "ref: 1.0"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: 1e10"), (12, 54, "unquoted")),  # YAML 1.2; a commit can look so
        (changed("ref: v*", "ref: .inf"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: on"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: No"), (12, 54, "unquoted")),
        (changed('"true"', "true"), (12, 73, "unquoted")),
        (changed("ref: v*", "ref: 2025-01-01"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: 2025-01-01 10:00:00"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: null"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: ~"), (12, 54, "unquoted")),
        (changed("ref: v*", "ref: [v*, 7]"), (12, 59, "unquoted")),
        (changed("15m", "900"), (6, 49, "type")),
        (changed("dev: {}", "on: {}"), (5, 3, "unquoted")),
        (changed("dev: {}", "1: {}"), (5, 3, "unquoted")),
        (changed("dev: {}", "prod: {}"), (6, 3, "duplicate_key")),
        (changed("ref: v*", "ref: v*, ref: main"), (12, 58, "duplicate_key")),
        (changed("ref: v*", "ref: &a v*"), (12, 54, "anchor")),
        (changed("dev: {}", "dev: &a {}"), (5, 8, "anchor")),
        (changed("[orders-*]", "&a [orders-*]"), (13, 43, "anchor")),
        (changed("ref: v*", "ref: *a"), (12, 54, "anchor")),
        (changed("dev: {}", "*a : {}"), (5, 3, "anchor")),
        (changed("dev: {}", "<<: {}"), (5, 3, "merge_key")),
        (changed("ref: v*", "ref: !!str 7"), (12, 54, "tag")),
        (changed("ref: v*", "ref: ! v*"), (12, 54, "tag")),
        (changed("ref: v*", "ref: !!python/name:os.system x"), (12, 54, "tag")),
        (changed("dev: {}", "dev: !!map {}"), (5, 8, "tag")),
        (changed("dev: {}", "? [a]\n  : {}"), (5, 5, "key")),
        (SOUND + "---\n", (16, 1, "documents")),
        (SOUND + "...\n---\nversion: 1\n", (17, 1, "documents")),
        ("%YAML 1.1\n---\n" + SOUND, (1, 1, "directive")),
        ("%TAG ! tag:x,2000:\n---\n" + SOUND, (1, 1, "directive")),
        ("", (1, 1, "empty")),
        ("# nothing\n", (2, 1, "empty")),
        ("[" * 17, (1, 17, "depth")),
    ],
)
def test_what_yaml_could_read_in_two_ways_is_an_error_with_its_place(
    check: Check, monkeypatch: pytest.MonkeyPatch, loader: str, text: str, at: tuple[int, int, str]
) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    report = check(text)
    line, column, code = at
    assert found(report) == [(line, column, "error", code)]
    assert report.gate is None
    assert report.document is None
    assert not report.ok


@pytest.mark.parametrize(
    ("text", "line"), [("a: [", 1), ("a: b: c", 1), ("\tx: 1", 1), ("a: **", 1), ("a: b\x00", 1), ("a: }", 1)]
)
def test_what_is_no_yaml_is_an_error_with_its_line(check: Check, text: str, line: int) -> None:
    report = check("# first\n" + text)
    assert [(d.line, d.code) for d in report.diagnostics] in ([(line + 1, "syntax")], [(line + 2, "syntax")])


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_a_character_that_yaml_has_not_is_found(monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    findings = Findings("f")
    assert yaml_source.read("a: b\nc: d\x07", findings) is None
    assert [(d.line, d.code) for d in findings.found] == [(2, "syntax")]


def test_what_is_missing_or_no_character_is_an_error(check: Check) -> None:
    assert [(d.line, d.code) for d in check(changed("ref: v*", "ref: ")).diagnostics] == [(12, "unquoted")]
    report = check(changed("ref: v*", 'ref: "\\ud800"'))  # libyaml's parser refuses it by itself
    assert [(d.line, d.code) for d in report.diagnostics] in ([(12, "text")], [(12, "syntax")])


def test_a_star_without_quotes_is_explained(check: Check) -> None:
    assert 'needs quotes: "*-api"' in messages(check(changed("ref: v*", "ref: *-api")))
    assert "needs quotes" in messages(check(changed("ref: v*", "ref: **")))


def test_what_is_not_utf_8_or_not_there_is_an_error(check: Check, directory: Path) -> None:
    assert found(check(b"version: \xff")) == [(1, 10, "error", "file")]
    assert messages(gatefile.check(directory / "nowhere.yaml")) == "cannot read it: No such file or directory"


@pytest.mark.parametrize("value", ["'on'", '"1e10"', "v1.2.3", "1.2.3", "0b", "y", "|-\n          7"])
def test_quoted_and_block_texts_are_texts(check: Check, value: str) -> None:
    rule = RULE.format(name="x", functions="[orders-x]", stages="[dev]")
    rule = rule.replace('{project_id: "1"}', f'\n      project_id: "1"\n      user_login: {value}')
    report = check(changed("deny:\n", rule + "deny:\n"))
    assert report.ok


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text())
def test_any_text_is_read_or_found_at_fault(text: str) -> None:
    findings = Findings("f")
    source = yaml_source.read(text, findings)
    gate_file = reading.read(source, findings) if source is not None else None
    assert findings.found or gate_file is not None


# Keys and values


@pytest.mark.parametrize(
    ("text", "at", "hint"),
    [
        (SOUND + "rule: []\n", (16, 1, "unknown_key"), "did you mean `rules`?"),
        (SOUND + "zzz: []\n", (16, 1, "unknown_key"), "known keys: version, issuers"),
        (changed("protected: true", "Protected: true"), (6, 23, "unknown_key"), "did you mean `protected`?"),
        (changed("max_age: 15m", "max-age: 15m"), (6, 40, "unknown_key"), "did you mean `max_age`?"),
        (changed("ref_type: tag", "ref_tpye: tag"), (12, 34, "unknown_key"), "did you mean `ref_type`?"),
        (changed("actions:", "action:"), (13, 13, "unknown_key"), "did you mean `actions`?"),
        (changed("ref: v*", "aud: x"), (12, 49, "key"), "see the issuer's `audience`"),
        (changed("ref: v*", "iss: x"), (12, 49, "key"), "name the issuer with `issuer`"),
        (changed("ref: v*", "jti: x"), (12, 49, "key"), "use `deny`"),
        (changed("ref: v*", "exp: x"), (12, 49, "key"), "cannot be in a rule"),
        (changed("version: 1\n", ""), (1, 1, "missing_key"), "`version`"),
        (changed("    issuer: corp\n", "").replace("name: orders to prod", "via: id_token"),
         (10, 5, "missing_key"), "`name`"),
        (changed(", stages: [prod]", ""), (13, 12, "missing_key"), "`stages`"),
        (changed("audience: https://deploy.example.com, ", ""), (3, 9, "missing_key"), "`audience`"),
        (changed("version: 1", 'version: "1"'), (1, 10, "type"), "write 1 here"),
        (changed("version: 1", "version: 2"), (1, 10, "type"), "no other version"),
        (changed("version: 1", "version: 0x1"), (1, 10, "type"), "write 1 here"),
        (changed("protected: true", 'protected: "true"'), (6, 34, "type"), "without quotes"),
        (changed("protected: true", "protected: yes"), (6, 34, "type"), "write true or false"),
        (changed("15m", "15"), (6, 49, "type"), 'such as "5m"'),
        (changed("15m", '"15"'), (6, 49, "duration"), 'such as "300s"'),
        (changed("15m", "0m"), (6, 49, "duration"), "from 1s to 31d"),
        (changed("15m", "32d"), (6, 49, "duration"), "from 1s to 31d"),
        (changed("15m", "15M"), (6, 49, "duration"), "such as"),
        (changed("15m", "1h30m"), (6, 49, "duration"), "such as"),
        (changed("15m", "[15m]"), (6, 49, "unquoted"), "this is a list"),
        (changed("alias: live", 'alias: "7"'), (6, 17, "value"), "not digits alone"),
        (changed("alias: live", "alias: $LATEST"), (6, 17, "value"), "Lambda alias"),
        (changed("alias: live", "alias: a.b"), (6, 17, "value"), "Lambda alias"),
        (changed("alias: live", f"alias: {'a' * 129}"), (6, 17, "value"), "Lambda alias"),
        (changed("  dev: {}", '  "a b": {}'), (5, 3, "value"), "a stage's name"),
        (changed("  orders-*: {}", "  orders/*: {}"), (8, 3, "value"), "function's name or pattern"),
        (changed("  orders-*: {}", '  "": {}'), (8, 3, "value"), "function's name or pattern"),
        (changed("[orders-*]", "[orders-*, ord.ers]"), (13, 54, "value"), "function's name or pattern"),
        (changed("[orders-*]", "orders-*"), (13, 43, "type"), "expected a list"),
        (changed("[orders-*]", "[]"), (13, 43, "value"), "name at least one"),
        (changed("[deploy]", "[deploi]"), (13, 23, "value"), "did you mean `deploy`?"),
        (changed("ref: v*", "ref: []"), (12, 54, "value"), "name at least one"),
        (changed("ref: v*", 'ref: ""'), (12, 54, "value"), "empty"),
        (changed("ref: v*", "ref: {a: b}"), (12, 54, "type"), "not a mapping"),
        (changed("ref: v*", "ref: v***"), (12, 54, "value"), "three stars"),
        (changed("ref: v*", f"ref: {'v*' * 9}"), (12, 54, "value"), "more than 8 wildcards"),
        (changed("ref: v*", f"ref: {'v' * 257}"), (12, 54, "value"), "longer than 256"),
        (changed("name: orders to prod", 'name: "a\\eb"'), (10, 11, "value"), "unprintable characters"),
        (changed("name: orders to prod", 'name: " a"'), (10, 11, "value"), "without spaces"),
        (changed("issuers:\n", "issuers: {}\nstage:\n"), (2, 10, "value"), "name at least one"),
        (changed("deny:\n", "deny: {}\n"), (14, 7, "type"), "expected a list, not a mapping"),
        (changed("deny:\n", "deny: [{project_id: acme}]\n"), (14, 21, "value"), "digits"),
        (changed("deny:\n", 'deny: [{project_id: "42*"}]\n'), (14, 21, "value"), "digits"),
        (changed("deny:\n", 'deny: [{jti: "x*"}]\n'), (14, 14, "value"), "no patterns"),
        (changed("deny:\n", "deny: [{ref: main}]\n"), (14, 9, "unknown_key"), "known keys"),
        (changed("jwks: discovery", "jwks: /etc/keys"), (3, 87, "value"), "file beside this one"),
        (changed("jwks: discovery", "jwks: ../keys"), (3, 87, "value"), "file beside this one"),
        (changed("jwks: discovery", "jwks: https://x/y"), (3, 87, "value"), "file beside this one"),
        ("[]", (1, 1, "type"), "expected a mapping, not a list"),
        ("x", (1, 1, "type"), "expected a mapping, not a string"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_an_error_that_says_what_to_do(
    check: Check, text: str, at: tuple[int, int, str], hint: str
) -> None:
    report = check(text)
    line, column, code = at
    assert (line, column, "error", code) in found(report)
    assert hint in messages(report)
    assert report.gate is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (changed("    allow:", "    alow:"), "there is no key `alow` here; did you mean `allow`?"),
        (changed("    claims:", "    claim:"), "there is no key `claim` here; did you mean `claims`?"),
        (changed("dev: {}", "dev: {requires: {suceeded_in: prod}}"), "did you mean `succeeded_in`?"),
        (changed("dev: {}", "dev: {<<: *x}"), "write the keys out instead of merging them with `<<`"),
    ],
)
def test_one_mistake_is_one_error(check: Check, text: str, hint: str) -> None:
    (error,) = check(text).diagnostics
    assert hint in error.message


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (changed("    allow:", "    zzz:"), "allow"),
        (changed("    allow: {actions: [deploy],", "    alow: {}\n    allow: {"), "actions"),
    ],
)
def test_a_key_is_missing_unless_it_is_misspelled(check: Check, text: str, missing: str) -> None:
    assert sorted(d.code for d in check(text).diagnostics) == ["missing_key", "unknown_key"]
    assert f"the key `{missing}` is missing here" in messages(check(text))


def test_all_errors_of_a_kind_are_told_at_once(check: Check) -> None:
    text = changed('"4213"', "4213").replace("15m", "15").replace("[deploy]", "[x]")
    assert [d.line for d in check(text).diagnostics] == [6, 12, 13]


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        (changed("orders-*: {}", "orders-*: {images: [x]}"), 8, "images"),
    ],
)
def test_what_later_versions_bring_to_life_is_an_error_until_then(
    check: Check, text: str, line: int, name: str
) -> None:
    report = check(text)
    assert found(report) == [(line, report.diagnostics[0].column, "error", "unsupported")]
    assert f"`{name}` is not supported yet" in messages(report)
    assert report.gate is None


def test_empty_sections_and_the_one_strategy_are_fine(check: Check) -> None:
    text = changed("alias: live", "strategy: {type: all-at-once}") + "targets: {}\nwebhooks:\n"
    assert check(text).diagnostics == ()
    text = changed("dev: {}", "dev:").replace("orders-*: {}", "orders-*:")
    assert check(text).diagnostics == ()
    assert check(changed("issuer: corp", "via: id_token")).diagnostics == ()


# Issuers


@pytest.mark.parametrize(
    "url",
    [
        "http://gitlab.example.com",
        "https://gitlab.example.com/",
        "https://gitlab.example.com/gitlab/",
        "https://user@gitlab.example.com",
        "https://user:password@gitlab.example.com",
        "https://gitlab.example.com?x=y",
        '"https://gitlab.example.com#x"',
        "ftp://gitlab.example.com",
        "gitlab.example.com",
        "https://",
        '"https://gitlab.example.com:x"',
        '"https://gitlab.example.com:99999"',
        '"https://:443"',
        '"https://[::1"',
        "https://gitläb.example.com",
        '"https://gitlab.example.com\\\\x"',
        "'https://gitlab.example.com x'",
        "HTTPS://gitlab.example.com",
        "http://127.0.0.1:8080",
    ],
)
def test_an_issuer_is_a_plain_https_url(check: Check, url: str) -> None:
    report = check(changed("https://gitlab.example.com", url))
    assert [(d.line, d.column) for d in report.diagnostics] == [(3, 15)]
    assert report.gate is None


@pytest.mark.parametrize("url", ["http://gitlab.example.com", "https://gitlab.example.com/", "https://", "x"])
def test_a_gitlabs_own_address_is_a_plain_https_url_too(check: Check, url: str) -> None:
    report = check(changed("https://gitlab.example.com", f"https://keys.example.com, gitlab_url: '{url}'"))
    assert [(d.line, d.column) for d in report.diagnostics] == [(3, 53)]


def test_an_issuer_says_who_signs_and_which_gitlab_it_is(check: Check) -> None:
    report = check(
        changed("https://gitlab.example.com", "https://keys.example.com, gitlab_url: https://gitlab.internal")
    )
    assert report.gate is not None
    issuer = report.gate.issuers["https://keys.example.com"]
    assert (issuer.url, issuer.instance) == ("https://keys.example.com", "https://gitlab.internal")


@pytest.mark.parametrize("url", ["https://gitlab.example.com/gitlab", '"https://gitlab.example.com:8443"'])
def test_a_path_and_a_port_are_fine(check: Check, url: str) -> None:
    assert check(changed("https://gitlab.example.com", url)).ok


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ('"http://[::1]:8080"', True),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("http://localhost@example.com", False),
        ("https://gitlab.example.com", True),
    ],
)
def test_http_is_for_loopback_when_it_is_allowed(check: Check, url: str, fine: bool) -> None:
    assert check(changed("https://gitlab.example.com", url), allow_loopback=True).ok is fine


TWO = SOUND.replace(
    "stages:\n  dev",
    "  other: {url: https://gitlab.example.org, audience: https://deploy.example.com}\nstages:\n  dev",
)


def test_two_issuers_are_told_apart(check: Check) -> None:
    report = check(TWO)
    assert report.ok
    assert report.gate is not None
    assert report.gate.rules[0].issuer == "https://gitlab.example.com"
    other = check(TWO.replace("issuer: corp", "issuer: other"))
    assert other.gate is not None
    assert other.gate.rules[0].issuer == "https://gitlab.example.org"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (TWO.replace("    issuer: corp\n", ""), 11, "specify the `issuer`: `corp`, `other`"),
        (TWO.replace("issuer: corp", "issuer: othr"), 12, "there is no issuer `othr`; did you mean `other`?"),
        (changed("issuer: corp", "issuer: x"), 11, "there is no issuer `x`"),
        (TWO.replace("deny:", 'deny: [{user_id: "7"}]'), 15, "specify the `issuer`"),
        (TWO.replace("gitlab.example.org", "gitlab.example.com"), 4, "`corp` has the same url"),
    ],
)
def test_an_issuer_must_be_known_and_plain_which(check: Check, text: str, line: int, hint: str) -> None:
    report = check(text)
    assert [d.line for d in report.diagnostics] == [line]
    assert hint in messages(report)


@pytest.mark.parametrize("audience", ["https://gitlab.example.com", "https://gitlab.example.com/"])
def test_a_gitlabs_own_url_as_audience_is_warned_of(check: Check, audience: str) -> None:
    report = check(changed("https://deploy.example.com", audience))
    assert found(report) == [(3, 53, "warning", "audience")]
    assert report.ok


def test_keys_may_be_in_a_file_beside_the_gate_file(check: Check, directory: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    keys = json.dumps({"keys": [RSAAlgorithm.to_jwk(public, as_dict=True) | {"kid": "k1"}]})
    (directory / "keys").mkdir()
    (directory / "keys" / "corp.json").write_text(keys)
    report = check(changed("jwks: discovery", "jwks: keys/corp.json"))
    assert report.diagnostics == ()
    assert report.gate is not None
    assert report.gate.issuers["https://gitlab.example.com"].jwks == keys.encode()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (None, "No such file"),
        (b"{}", "`bad.json`:"),
        (b'{"keys": []}', "`bad.json`:"),
        (b"\xff", "`bad.json`:"),
        (b" " * 65_537, "larger than 64 KiB"),
    ],
)
def test_a_file_of_keys_must_be_one(check: Check, directory: Path, content: bytes | None, hint: str) -> None:
    (directory / "bad.json").unlink(missing_ok=True)
    if content is not None:
        (directory / "bad.json").write_bytes(content)
    report = check(changed("jwks: discovery", "jwks: bad.json"))
    assert found(report) == [(3, 87, "error", "jwks")]
    assert hint in messages(report)


# Stages and functions


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed("alias: live", "alias: dev"), 6),
        (changed("dev: {}", "dev: {alias: live}"), 6),
        (changed("orders-*: {}", "orders-*: {stages: {dev: {alias: live}}}"), 8),
        (changed("orders-*: {}", "orders-*: {stages: {prod: {alias: dev}}}"), 8),
    ],
)
def test_two_stages_cannot_share_an_alias(check: Check, text: str, line: int) -> None:
    report = check(text)
    assert [(d.line, d.code) for d in report.diagnostics] == [(line, "alias")]
    assert "have the same alias" in messages(report)


def test_aliases_may_be_swapped_for_a_function(check: Check) -> None:
    text = changed(
        "orders-*: {}", "orders-*: {stages: {dev: {alias: live}, prod: {alias: dev, max_age: 5m}}}"
    )
    report = check(text)
    assert report.ok
    assert report.gate is not None
    placement = report.gate.place("orders-api", "prod")
    assert placement is not None
    assert (placement.alias, placement.max_age, placement.protected) == ("dev", 300, True)


@pytest.mark.parametrize("key", ["protected: false", "target: eu"])
def test_what_protects_a_stage_cannot_differ_between_functions(check: Check, key: str) -> None:
    report = check(changed("orders-*: {}", f"orders-*: {{stages: {{prod: {{{key}}}}}}}"))
    assert [d.code for d in report.diagnostics] == ["key"]
    assert "cannot differ from function to function" in messages(report)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (changed("[prod]", "[prd]"), (13, 64)),
        (changed("orders-*: {}", "orders-*: {stages: {prd: {}}}"), (8, 23)),
        (
            changed(
                "tests: []",
                "tests:\n  - identity: {}\n    request: {action: deploy, function: f, stage: prd}\n",
            )
            + "    expect: {allowed: false}\n",
            (17, 51),
        ),
    ],
)
def test_a_stage_must_be_known(check: Check, text: str, at: tuple[int, int]) -> None:
    report = check(text)
    assert found(report) == [(*at, "error", "stage")]
    assert messages(report) == "there is no stage `prd`; did you mean `prod`?"


@pytest.mark.parametrize(
    "own", ["gateway", "watcher", "gateway-iam", "watcher-iam", "deployer", "janitor", "relay", "notifier"]
)
def test_no_pattern_may_match_a_function_of_sluicegate_itself(check: Check, own: str) -> None:
    text = changed("orders-*: {}", f"orders-*: {{}}\n  rel*-{own}: {{}}")
    report = check(text, stack_name="releases")
    assert [(d.line, d.column, d.code) for d in report.diagnostics] == [(9, 3, "own_function")]
    assert f"matches `releases-{own}`" in messages(report)
    assert check(text).ok
    report = check(changed("[orders-*]", f"[orders-*, '*-{own}']"))
    assert [(d.line, d.code) for d in report.diagnostics] == [(13, "own_function")]


def test_all_functions_of_sluicegate_that_a_pattern_matches_are_one_error(check: Check) -> None:
    (error,) = check(changed("orders-*: {}", '"*": {}\n  orders-*: {}')).diagnostics
    assert (error.line, error.code) == (8, "own_function")
    assert all(f"`{name}`" in error.message for name in gatefile.own_function_names("sluicegate"))


def test_the_compiled_gate_knows_its_own_functions(check: Check) -> None:
    gate = check(SOUND, stack_name="releases").gate
    assert gate is not None
    assert gate.own_functions == {
        f"releases-{name}"
        for name in (
            *("gateway", "watcher", "gateway-iam", "watcher-iam"),
            *("deployer", "rollback", "janitor", "waker", "relay", "notifier", "messenger", "board"),
            *("sealer", "drift"),
            "pruner",
        )
    }


# Rules

CLAIMS = 'project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"'


@pytest.mark.parametrize(
    ("claims", "codes"),
    [
        ('project_id: ["1", "2"], ref_protected: "true"', []),
        ('project_id: "4213", ref_path: refs/tags/v*, ref: v*, ref_protected: "true"', []),
        ('ref_protected: "true"', ["pin"]),
        ('project_id: "42*", ref_protected: "true"', ["pin", "value"]),
        ('project_id: ["1", "2*"], ref_protected: "true"', ["pin", "value"]),
        ('project_path: a/b, user_login: ada, sub: "**", job_project_id: "1", ref_protected: "true"',
         ["pin", "project_path"]),
        ('namespace_id: "72", ref_protected: "true"', ["pin"]),  # a protected stage
        ('project_id: "1"', ["pin"]),
        ('project_id: "1", ref_protected: "false"', ["pin"]),
        ('project_id: "1", ref_protected: ["true", "false"]', ["pin"]),
        ('project_id: "1", ref_protected: t*', ["pin"]),
        ('namespace_id: "72"', ["pin", "pin"]),
        (CLAIMS.replace("ref_type: tag, ", ""), ["ref_type"]),
        (f'{CLAIMS}, environment: production', ["environment"]),
        (f'{CLAIMS}, environment: production, environment_protected: "true"', []),
        (f"{CLAIMS}, project_path: a/b", []),
        (f'namespace_id: "1", project_path: a/b, {CLAIMS}', []),
        ('project_id: acme, ref_protected: "true"', ["value"]),
        ('project_id: "04213", ref_protected: "true"', ["value"]),
        (f'{CLAIMS}, user_id: "*"', []),
        (f'{CLAIMS}, environment: x, environment_protected: "yes"', ["value"]),
        (f"{CLAIMS}, pipeline_source: [push, merge_request_event]", ["pipeline_source"]),
        (f"{CLAIMS}, pipeline_source: parent_*", ["pipeline_source"]),
        (f'{CLAIMS}, pipeline_source: "**"', ["pipeline_source"]),
        (f"{CLAIMS}, pipeline_source: [push, api, schedule]", []),
    ],
)  # fmt: skip
def test_the_claims_that_a_rule_must_and_must_not_have(check: Check, claims: str, codes: list[str]) -> None:
    report = check(changed(CLAIMS, claims))
    assert [d.code for d in report.diagnostics] == codes
    assert {d.line for d in report.diagnostics} <= {12}
    assert all(d.severity == "warning" for d in report.diagnostics) == report.ok


def test_an_unprotected_stage_needs_less(check: Check) -> None:
    report = check(changed("[prod]", "[dev]").replace(CLAIMS, 'namespace_id: "72", project_path: a/b'))
    assert found(report) == [(12, 48, "warning", "project_path")]
    assert report.ok


@pytest.mark.parametrize(
    ("claims", "fine"),
    [
        (f"{CLAIMS}, pipeline_source: web", True),
        (f"{CLAIMS}, pipeline_source: [web, push]", False),
        (CLAIMS, False),
        ('project_id: "1", pipeline_source: web', False),
        ('namespace_id: "1", ref_protected: "true", pipeline_source: web', False),
    ],
)
def test_a_rule_that_approves_wants_a_person(check: Check, claims: str, fine: bool) -> None:
    text = changed("[deploy]", "[approve]").replace("[prod]", "[dev]").replace(CLAIMS, claims)
    report = check(text)
    assert report.ok is fine
    assert ("approve" in messages(report)) is not fine
    warned = [d.code for d in report.diagnostics if d.severity == "warning" and d.code == "approvers"]
    assert warned == ["approvers"]  # an account with any name could approve
    named = check(text.replace(claims, f'{claims}, user_id: ["7", "8"]'))
    assert "approvers" not in [d.code for d in named.diagnostics]


def test_a_rule_that_names_its_sources_matches_those_alone(check: Check) -> None:
    gate = check(changed(CLAIMS, f"{CLAIMS}, pipeline_source: [schedule]")).gate
    assert gate is not None
    assert [str(p) for p in dict(gate.rules[0].claims)["pipeline_source"]] == ["schedule"]


FEEDBACK = "jwks: discovery, feedback: {secret: sluicegate/gitlab/corp}"
NOTHING_SENT = (
    "{secret: sluicegate/gitlab/a, commit_status: false, deployment: false, merge_request_note: false}"
)


def test_an_issuer_that_is_told_is_told_everything_unless_it_says_otherwise(check: Check) -> None:
    report = check(changed("jwks: discovery", FEEDBACK))
    assert report.diagnostics == ()
    assert report.gate is not None
    [issuer] = report.gate.issuers.values()
    assert issuer.feedback == Feedback(
        "sluicegate/gitlab/corp", commit_status=True, deployment=True, merge_request_note=True
    )
    report = check(changed("jwks: discovery", FEEDBACK.replace("corp}", "corp, deployment: false}")))
    assert report.gate is not None
    [issuer] = report.gate.issuers.values()
    assert issuer.feedback == Feedback(
        "sluicegate/gitlab/corp", commit_status=True, deployment=False, merge_request_note=True
    )


@pytest.mark.parametrize(
    ("feedback", "code", "message"),
    [
        ("{commit_status: true}", "missing_key", "`secret`"),
        ("{secret: sluicegate/webhooks/corp}", "value", "begins with sluicegate/gitlab/"),
        ("{secret: sluicegate/gitlab/}", "value", "begins with sluicegate/gitlab/"),
        ('{secret: "sluicegate/gitlab/a b"}', "value", "the name of a secret"),
        ('{secret: sluicegate/gitlab/a, commit_status: "no"}', "type", "true or false"),
        (
            NOTHING_SENT,
            "feedback",
            "leave `feedback` out",
        ),
    ],
)
def test_feedback_that_cannot_be_given_is_an_error(
    check: Check, feedback: str, code: str, message: str
) -> None:
    report = check(changed("jwks: discovery", f"jwks: discovery, feedback: {feedback}"))
    assert [(line, severity, code) for line, _, severity, code in found(report)] == [(3, "error", code)]
    assert message in messages(report)


def test_feedback_to_a_gitlab_that_aws_cannot_reach_is_warned_of(check: Check, directory: Path) -> None:
    (directory / "corp.json").write_text(json.dumps({"keys": [jwk()]}))
    report = check(changed("jwks: discovery", FEEDBACK.replace("discovery", "corp.json")))
    assert [code for _, _, _, code in found(report)] == ["feedback"]
    assert report.ok


def test_a_protected_and_an_unprotected_stage_of_one_function_are_warned_of(check: Check) -> None:
    report = check(changed("[prod]", "[dev, prod]"))
    assert found(report) == [(8, 3, "warning", "shared_target")]
    two = SOUND.replace("deny:", RULE.format(name="x", functions="[orders-a*]", stages="[dev]") + "deny:")
    assert found(check(two)) == [(8, 3, "warning", "shared_target")]
    elsewhere = two.replace("orders-*: {}", "orders-*: {}\n  billing: {}").replace("[orders-a*]", "[billing]")
    assert found(check(elsewhere)) == []


RULE = """\
  - name: {name}
    claims: {{project_id: "1"}}
    allow: {{actions: [deploy], functions: {functions}, stages: {stages}}}
"""


def test_rules_have_different_names(check: Check) -> None:
    rule = RULE.format(name="orders to prod", functions="[orders-x]", stages="[dev]")
    report = check(changed("orders-*: {}", "orders-*: {}").replace("deny:", rule + "deny:"))
    assert (14, 11, "error", "name") in found(report)


def test_a_grant_that_no_function_entry_covers_is_warned_of(check: Check) -> None:
    report = check(changed("[orders-*]", "[orders-*, billing]"))
    assert found(report) == [(13, 54, "warning", "uncovered")]


@pytest.mark.parametrize("action", ["promote", "rollback", "reject", "abort", "hold", "override-strategy"])
def test_every_action_can_be_granted_and_asked_for(check: Check, action: str) -> None:
    text = with_test(request=REQUEST.replace("deploy", action), expect="allowed: true, rule: orders to prod")
    report = check(text.replace("[deploy]", f"[read, {action}]"))
    assert report.diagnostics == ()
    assert report.ok


WATCHED = "alias: live, watch: {alarms: [orders-5xx]}, "


@pytest.mark.parametrize(
    ("actions", "stage", "warned"),
    [
        ("[deploy, fix-forward]", WATCHED, []),
        ("[fix-forward, deploy]", WATCHED, []),
        (
            "[deploy, fix-forward]",
            "alias: live, watch: {errors: {max_percent: 5}}, ",
            [(13, 31, "fix_forward")],
        ),
        ("[deploy, fix-forward]", "alias: live, ", [(13, 31, "fix_forward")]),
        ("[promote, fix-forward]", WATCHED, [(13, 32, "fix_forward")]),
        ("[fix-forward]", WATCHED, [(13, 23, "fix_forward")]),
    ],
)
def test_fix_forward_that_grants_nothing_is_warned_of(
    check: Check, actions: str, stage: str, warned: list[tuple[int, int, str]]
) -> None:
    bake = "strategy: {type: all-at-once, bake: 10m}, "
    report = check(changed("[deploy]", actions).replace("alias: live, ", bake + stage))
    assert report.ok
    assert found(report) == [(line, column, "warning", code) for line, column, code in warned]


def test_a_test_of_fix_forward_asks_for_the_deploy_as_well(check: Check) -> None:
    text = with_test(request=REQUEST.replace("deploy", "fix-forward"), expect="allowed: false")
    for actions, passes in (("[fix-forward]", True), ("[deploy]", True), ("[deploy, fix-forward]", False)):
        assert check(text.replace("[deploy]", actions)).ok is passes


def test_a_denied_identity_is_named_by_one_claim_at_least(check: Check) -> None:
    assert found(check(changed("deny:", "deny: [{}]"))) == [(14, 8, "error", "deny")]
    assert found(check(changed("deny:", "deny: [{issuer: corp}]"))) == [(14, 8, "error", "deny")]


def test_deny_is_compiled_with_its_issuer(check: Check) -> None:
    gate = check(changed("deny:", 'deny: [{user_id: ["7", "8"], project_id: "1"}, {jti: x}]')).gate
    assert gate is not None
    assert [(entry.issuer, entry.claims) for entry in gate.deny] == [
        ("https://gitlab.example.com", (("project_id", ("1",)), ("user_id", ("7", "8")))),
        ("https://gitlab.example.com", (("jti", ("x",)),)),
    ]


# Tests

TEST = """\
tests:
  - {name: NAME, identity: {IDENTITY}, request: {REQUEST}, expect: {EXPECT}}
"""
RELEASE = CLAIMS.replace("v*", "v1") + ", pipeline_source: push"
REQUEST = "action: deploy, function: orders-api, stage: prod"


def with_test(identity: str = RELEASE, request: str = REQUEST, expect: str = "allowed: true") -> str:
    test = TEST.replace("IDENTITY", identity).replace("REQUEST", request).replace("EXPECT", expect)
    return changed("tests: []\n", test)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_test(), ""),
        (with_test(expect="allowed: true, rule: orders to prod"), ""),
        (with_test(request=REQUEST.replace("prod", "dev"), expect="allowed: false"), ""),
        (with_test(request=REQUEST.replace("deploy", "read")), ""),
        (with_test(expect="allowed: false"), "allowed by the rule `orders to prod`"),
        (
            with_test(identity=RELEASE.replace("push", "api").replace("ref_type: tag, ", "")),
            "not allowed: the nearest rule is `orders to prod`, "
            "but ref_type is missing, pipeline_source is api",
        ),
        (
            with_test(request=REQUEST.replace("prod", "dev")),
            "not allowed: the nearest rule is `orders to prod`, but it does not grant this",
        ),
        (with_test(identity='project_id: "1"'), "not allowed: no rule for this project almost matches"),
        (
            with_test().replace("deny:", "deny: [{jti: j}]").replace("{project_id", "{jti: j, project_id", 2)
            .replace("claims: {jti: j, ", "claims: {"),
            "not allowed: an entry of `deny` matches (jti)",
        ),
        (
            with_test(request=REQUEST.replace("orders-api", "bill")).replace("[orders-*]", "[bill, orders]"),
            "not allowed: `bill` matches no entry of `functions`",
        ),
    ],
)  # fmt: skip
def test_a_files_own_tests_are_asked(check: Check, text: str, message: str) -> None:
    report = check(text)
    (result,) = report.test_results
    assert (result.name, result.line, result.column) == ("NAME", 16, 5)
    assert result.message == message
    assert result.passed is (message == "") is report.ok
    assert report.gate is not None


def test_a_test_says_which_rule_must_decide(check: Check) -> None:
    second = RULE.format(name="second", functions="[orders-api]", stages="[dev]")
    text = with_test(expect="allowed: true, rule: second").replace("deny:", second + "deny:")
    report = check(text)
    assert [r.message for r in report.test_results] == ["allowed by the rule `orders to prod`"]


def test_a_test_may_be_nameless_and_have_a_list(check: Check) -> None:
    text = with_test(identity=RELEASE + ", groups_direct: [a, b]").replace("name: NAME, ", "")
    text = text.replace('ref_protected: "true"}\n', 'ref_protected: "true", groups_direct: [b]}\n')
    assert [(r.name, r.passed) for r in check(text).test_results] == [("deploy orders-api to prod", True)]


def test_a_tests_issuer_tells_it_apart(check: Check) -> None:
    text = TWO.replace("tests: []\n", with_test()[with_test().index("tests:") :])
    named = text.replace("identity: {", "identity: {issuer: corp, ")
    assert check(named).ok
    assert [r.passed for r in check(named.replace("{issuer: corp, ", "{issuer: other, ")).test_results] == [
        False
    ]
    assert [d.code for d in check(text).diagnostics] == ["issuer"]


@pytest.mark.parametrize(
    ("expect", "hint"),
    [
        ("allowed: false, rule: orders to prod", "no rule decides what is not allowed"),
        ("allowed: true, rule: orders to prd", "did you mean `orders to prod`?"),
    ],
)
def test_a_tests_expectation_must_make_sense(check: Check, expect: str, hint: str) -> None:
    report = check(with_test(expect=expect))
    assert [(d.line, d.code) for d in report.diagnostics] == [(16, "test")]
    assert hint in messages(report)


# The schema, and the build

FULL = changed(
    "alias: live",
    """alias: live, strategy: {type: steps, steps: [{percent: 5, bake: 10m}, {percent: 100}]},
    smoke: {payload: [1, null, {a: 0.5}], expect: null, timeout: 1m}, approval: {}, order: pipeline,
    watch: {alarms: ["{function}-x"], errors: {max_percent: 0.5}, duration_p95: {max_ms: 800, max_ratio: 1.5},
    unclear: extend}, requires: {succeeded_in: dev}""",
).replace(
    "orders-*: {}",
    "orders-*: {stages: {prod: {watch: none, smoke: {hook: f}, strategy: {steps: [{percent: 100}]}}}}",
)


def test_the_schema_in_the_repository_is_in_step() -> None:
    kept = json.loads((ROOT / "sluicegate.schema.json").read_text())
    assert kept == json_schema(), "python -m sluicegate_gatefile.compile --schema > sluicegate.schema.json"
    jsonschema.Draft202012Validator.check_schema(kept)


@pytest.mark.parametrize("text", [SOUND, TWO, with_test(), FULL, (ROOT / "sluicegate.yaml").read_text()])
def test_the_schema_takes_what_is_sound(text: str) -> None:
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"4213"', "4213"),
        ("v*", "v***"),
        ("v*", "v*" * 9),
        ("v*", "v" * 257),
        ("v*", '""'),
        ("ref_type: tag", "ref_tpye: tag"),
        ("alias: live", 'alias: "7"'),
        ("alias: live", "smoke: none"),
        ("alias: live", "smoke: {hook: 'a*'}"),
        ("alias: live", "strategy: {type: quick}"),
        ("alias: live", "strategy: {percent: 10}"),
        ("alias: live", 'strategy: {type: canary, percent: "10", bake: 5m}'),
        ("alias: live", "strategy: {type: canary, percent: 100, bake: 5m}"),
        ("alias: live", "strategy: {type: canary, percent: 1.5, bake: 5m}"),
        ("alias: live", "strategy: {type: steps, steps: []}"),
        ("alias: live", "watch: {errors: {max_ratio: 0.5}}"),
        ("alias: live", "watch: {errors: {max_percent: 0}}"),
        ("alias: live", "watch: {alarms: ['{x}']}"),
        ("alias: live", "watch: {unclear: ignore}"),
        ("alias: live", "requires: {}"),
        ("alias: live", "order: none"),
        ("15m", "15"),
        ("version: 1", 'version: "1"'),
        ("[deploy]", "[]"),
        ("[deploy]", "[x]"),
        ("orders-*: {}", "a.b: {}"),
        ("issuer: corp", "via: oauth"),
        ("name: orders to prod\n    ", ""),
        ("deny:", "targets: {x: {}}\ndeny:"),
    ],
)
def test_the_schema_refuses_what_the_check_refuses(check: Check, old: str, new: str) -> None:
    text = changed(old, new)
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(text)))
    assert not check(text).ok


@cache
def schema_of_refs() -> jsonschema.Draft202012Validator:
    claim = json_schema()["$defs"]["Claims"]
    return jsonschema.Draft202012Validator(claim["properties"]["ref"])


@given(st.lists(st.sampled_from(["a", "*", "**", "/", "\n"]), max_size=12).map("".join))
def test_the_schemas_pattern_agrees_with_the_matchers(text: str) -> None:
    fits = schema_of_refs().is_valid(text)
    try:
        patterns.compile(text)
    except patterns.PatternError:
        assert not fits
    else:
        assert fits == (text != "")


def test_every_claim_that_rules_can_read_has_its_key() -> None:
    claim = json_schema()["$defs"]["Claims"]
    assert claim["properties"].keys() == gitlab.READABLE | {"email", "event", *principals.CLAIMS}


def test_the_documented_file_is_sound(check: Check) -> None:
    text = (ROOT / "docs" / "reference" / "gate-file.md").read_text().split("```yaml\n")[1].split("```")[0]
    report = check(text)
    assert report.ok
    assert report.diagnostics == ()
    assert yaml.safe_load(text)["stages"]["prod"].keys() == StageSection.model_fields.keys()


def test_the_example_does_what_it_says() -> None:
    report = gatefile.check(ROOT / "sluicegate.yaml")
    assert report.ok
    assert len(report.test_results) == 4
    assert {d.code for d in report.diagnostics} <= {"shared_target"}


def test_more_functions_than_a_role_can_name_are_an_error(check: Check) -> None:
    many = "".join(f"  payments-{'x' * 40}-{i}: {{}}\n" for i in range(200))
    report = check(changed("  orders-*: {}\n", f"  orders-*: {{}}\n{many}"))
    assert found(report) == [(7, 1, "error", "policy")]
    assert "combine several names into one pattern" in messages(report)
    assert not report.ok


def test_the_build_writes_gate_and_policy(
    directory: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check(changed("[orders-*]", "[orders-*, billing]"))
    file, out, policy = directory / "sluicegate.yaml", directory / "out", directory / "b" / "policy.json"
    assert gatefile.main([str(file), "--out", str(out), "--policy", str(policy)]) == 0
    assert (out / "sluicegate" / "gate.json").read_bytes() == report.document
    assert json.loads(policy.read_text())["Version"] == "2012-10-17"
    assert capsys.readouterr().err.startswith(f"{file}:13:54: warning: `billing` matches no entry")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed('"4213"', "4213"), ":12:26: error: expected a string"),
        (with_test(expect="allowed: false"), ":16:5: error: test failed: NAME: allowed by the rule"),
    ],
)
def test_the_build_stops_at_an_error(
    directory: Path, check: Check, capsys: pytest.CaptureFixture[str], text: str, line: str
) -> None:
    check(text)
    file, out = directory / "sluicegate.yaml", directory / "never"
    assert gatefile.main([str(file), "--out", str(out), "--policy", str(directory / "p.json")]) == 1
    assert f"{file}{line}" in capsys.readouterr().err
    assert not out.exists()


def test_the_build_takes_the_stands_options(directory: Path, check: Check) -> None:
    check(changed("https://gitlab.example.com", "http://127.0.0.1:1"))
    arguments = [
        str(directory / "sluicegate.yaml"),
        "--out",
        str(directory),
        "--policy",
        str(directory / "p.json"),
    ]
    assert gatefile.main(arguments) == 1
    assert gatefile.main([*arguments, "--allow-loopback"]) == 0
    assert gatefile.main([*arguments, "--allow-loopback", "--stack-name", "orders"]) == 1


def test_the_layers_build_writes_gate_and_policy(directory: Path, check: Check) -> None:
    report = check(SOUND)
    ended = make_layer(directory / "sluicegate.yaml", directory / "layer", python=sys.executable)
    assert ended.returncode == 0, ended.stderr
    assert (directory / "layer" / "sluicegate" / "gate.json").read_bytes() == report.document
    assert json.loads((directory / "layer-policy.json").read_text())["Version"] == "2012-10-17"


def test_the_layers_build_names_the_packages_that_it_misses(directory: Path) -> None:
    bare = directory / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    ended = make_layer(directory / "sluicegate.yaml", directory / "never-made", python=str(bare))
    assert ended.returncode != 0
    assert "needs PyJWT, msgspec, pydantic, PyYAML to compile the gate file: make setup" in ended.stderr
    assert not (directory / "never-made").exists()


def make_layer(gate: Path, out: Path, python: str) -> subprocess.CompletedProcess[str]:
    options = [f"PYTHON={python}", f"ARTIFACTS_DIR={out}", f"SLUICEGATE_GATE_FILE={gate}"]
    policy = f"SLUICEGATE_TARGET_POLICY={out}-policy.json"
    return subprocess.run(
        ["make", "--directory", ROOT / "layers" / "gate", "build-GateLayer", *options, policy],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert gatefile.main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_what_a_message_quotes_is_safe_to_print(check: Check) -> None:
    report = check(changed("ref: v*", 'ref: "\\e[31m***"'))
    assert "\x1b" not in str(report.diagnostics[0])
    assert str(report.diagnostics[0]).endswith(
        "sluicegate.yaml:12:54: error: " + report.diagnostics[0].message
    )


def test_the_compiled_gate_decides_as_the_file_says(check: Check) -> None:
    gate = check(SOUND).gate
    assert gate is not None
    claims = {
        "project_id": "4213",
        "ref_type": "tag",
        "ref": "v1",
        "ref_protected": "true",
        "pipeline_source": "push",
    }
    who = Identity("id_token", "https://gitlab.example.com", claims, "j", 0, 1)
    assert gate.decide(who, actions=("deploy",), function="orders-api", stage="prod").rule is not None


def test_which_pipeline_built_the_gate_file_is_beside_it(
    directory: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(changed("[orders-*]", "[orders-*, billing]"))
    monkeypatch.delenv("CI_PIPELINE_ID", raising=False)
    monkeypatch.setenv("CI_COMMIT_SHA", "abc")
    monkeypatch.setenv("CI_JOB_TOKEN", "a secret")
    out = directory / "out"
    file, policy = str(directory / "sluicegate.yaml"), str(directory / "policy.json")
    assert gatefile.main([file, "--out", str(out), "--policy", policy]) == 0
    assert json.loads((out / "sluicegate" / "gate-origin.json").read_text()) == {"commit": "abc"}
