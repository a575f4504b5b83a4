"""The gate file's principals, people, agents, targets and limits: what is refused, and with which advice."""

from collections.abc import Callable

import pytest

from sluicegate.gate.model import OWN_TARGET, TargetReference
from sluicegate.gate.rules import Hours, RuleLimits
from sluicegate_gatefile.compile import Report

Check = Callable[[str], Report]

SOUND = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://a.example.com, sts_audience: https://sts.example.com}
targets:
  eu: {account: "222222222222", region: eu-central-1, external_id: 3c9e1f7a}
people:
  ada: {gitlab: [{user_id: "8"}], iam: [{session_name: ada@example.com}]}
sso:
  - {account: "111111111111", principal_id: AROASSO11111111111111, org: o-a1b2c3d4e5}
agents:
  - {user_id: "91"}
stages:
  dev: {}
  prod: {target: eu, protected: true, agents: {actions: [deploy], propose: true}}
  test: {alias: tested, approval: {}}
  fresh: {max_age: 5m}
functions:
  orders-*: {}
rules:
  - name: by role
    via: iam
    claims: {account: "111111111111", principal_id: AROACALLER11111111111}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
  - name: both
    via: iam+id_token
    claims:
      {account: "111111111111", principal_id: AROACALLER11111111111, project_id: "1", ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [prod]}
    limits: {per_hour: 5}
  - name: ada
    via: iam
    claims: {account: "111111111111", principal_id: AROASSO11111111111111, session_name: ada@example.com}
    allow: {actions: [approve, reject], functions: [orders-*], stages: [test, prod]}
deny:
  - {principal_id: AROAGONE1111111111111}
"""


READ_ONLY = "[read], functions: [orders-*], stages: [test]}\n    limits: {per_hour: 2, propose: true}"

ROLE = '{account: "111111111111", principal_id: AROACALLER11111111111}'


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, f"{old!r} is there {SOUND.count(old)} times"
    return SOUND.replace(old, new)


def test_a_sound_file_is_compiled_without_a_word(check: Check) -> None:
    report = check(SOUND)
    assert report.diagnostics == ()
    gate = report.gate
    assert gate is not None
    eu = TargetReference("eu", "222222222222", "eu-central-1", "sluicegate-target-eu-central-1", "3c9e1f7a")
    assert gate.targets == {"eu": eu}
    assert (gate.stages["prod"].target, gate.stages["dev"].target) == (eu, OWN_TARGET)
    assert gate.rules[1].limits == RuleLimits(per_hour=5)
    assert gate.rules[0].limits is None
    assert gate.rules[0].issuer == ""
    ada = gate.principals.people[0]
    assert ada.gitlab == (("https://gitlab.example.com", "8"),)
    assert ada.iam == (("o-a1b2c3d4e5", "ada@example.com"),)
    assert gate.principals.agent_users == {("https://gitlab.example.com", "91")}


@pytest.mark.parametrize(
    ("text", "at", "hint"),
    [
        (changed("https://sts", "https://a"), ("sts_audience", "audience"), "leaked token"),
        (
            changed(f"claims: {ROLE}", f"issuer: corp\n    claims: {ROLE}"),
            ("issuer:", "iam"),
            "no GitLab vouches",
        ),
        (changed(ROLE, '{account: "111111111111"}'), ("claims:", "pin"), "must pin principal_id"),
        (changed("CALLER11111111111}", "*}"), ("claims:", "pin"), "principal_id"),
        (changed("AROACALLER11111111111}", "caller}"), ("claims:", "value"), "unique id"),
        (
            changed("11}\n    allow: {actions: [deploy]", "11, ref: main}\n    allow: {actions: [deploy]"),
            ("claims:", "iam"),
            "have no `ref`",
        ),
        (
            changed("11}\n    allow: {actions: [deploy]", "11}\n    allow: {actions: [approve]"),
            ("allow:", "iam"),
            "`approve` is for persons",
        ),
        (changed("stages: [dev]", "stages: [dev, prod]"), ("allow:", "iam"), "`prod` is protected"),
        (changed("stages: [dev]", "stages: [test]"), ("allow:", "iam"), "asks for an approval"),
        (changed("stages: [dev]", "stages: [fresh]"), ("allow:", "iam"), "max_age"),
        (changed(', project_id: "1"', ""), ("claims:", "pin"), "project_id"),
        (changed(", session_name: ada@example.com}", "}"), ("claims:", "pin"), "session_name"),
        (changed("ada@example.com}\n    allow", "ada*}\n    allow"), ("claims:", "pin"), "patterns"),
        (changed("via: iam+id_token\n", "via: id_token\n"), ("AROACALLER", "iam"), "is of AWS credentials"),
        (
            changed("{principal_id: AROAGONE", '{project_id: "1", principal_id: AROAGONE'),
            ("AROAGONE", "deny"),
            "two entries",
        ),
        (
            changed("{principal_id: AROAGONE", "{issuer: corp, principal_id: AROAGONE"),
            ("AROAGONE", "deny"),
            "two entries",
        ),
        (
            changed('- {user_id: "91"}', '- {user_id: "91", account: "111111111111"}'),
            ("- {", "agents"),
            "an agent is",
        ),
        (
            changed('- {user_id: "91"}', '- {account: "111111111111", principal_id: AROASSO11111111111111}'),
            ("- {", "agents"),
            "persons",
        ),
        (
            changed("  ada: {gitlab", '  eve: {gitlab: [{user_id: "8"}]}\n  ada: {gitlab'),
            ("ada:", "people"),
            "`eve` has this identity",
        ),
        (
            changed(
                "org: o-a1b2c3d4e5}\n", 'org: o-a1b2c3d4e5}\n  - {account: "1", principal_id: AROA, org: x}\n'
            ),
            ("account:", "value"),
            "12 digits",
        ),
        (changed("target: eu,", "target: us,"), ("prod:", "target"), "no target `us`"),
        (changed("  eu: {", "  default: {"), ("account:", "target"), "the stack's own"),
        (
            changed(
                "3c9e1f7a}\n",
                '3c9e1f7a}\n  e2: {account: "222222222222", region: eu-central-1, external_id: xx}\n',
            ),
            ("e2:", "target"),
            "same account and region",
        ),
        (changed("region: eu-central-1", "region: Europe"), ("account:", "value"), "an AWS region"),
        (
            changed("actions: [deploy], propose", "actions: [approve], propose"),
            ("prod:", "agents"),
            "no agent may",
        ),
        (changed("{per_hour: 5}", "{}"), ("limits:", "limits"), "limits nothing"),
        (changed("{per_hour: 5}", "{per_hour: 101}"), ("limits:", "value"), "from 1 to 100"),
        (
            changed(
                "{per_hour: 5}", '{hours: {zone: Europe/Atlantis, days: [mon], from: "09:00", to: "10:00"}}'
            ),
            ("limits:", "value"),
            "not a time zone",
        ),
        (
            changed("{per_hour: 5}", '{hours: {zone: UTC, days: [mon], from: "10:00", to: "10:00"}}'),
            ("limits:", "hours"),
            "the window is empty",
        ),
        (
            changed("{per_hour: 5}", '{hours: {zone: UTC, days: [mon], begin: "19:00", to: "10:00"}}'),
            ("limits:", "unknown_key"),
            "from",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_its_place(
    check: Check, text: str, at: tuple[str, str], hint: str
) -> None:
    report = check(text)
    assert report.gate is None
    errors = [d for d in report.diagnostics if d.severity == "error"]
    lines, (part, code) = text.splitlines(), at
    said = [d.message for d in errors if d.code == code and part in lines[d.line - 1]]
    assert any(hint in message for message in said), errors


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (changed("target: eu, ", ""), ("account:", "target")),
        (changed('agents:\n  - {user_id: "91"}\n', ""), ("prod:", "agents")),
        (changed(", iam: [{session_name: ada@example.com}]", ""), ("ada:", "people")),
        (
            changed("[approve, reject], functions: [orders-*], stages: [test, prod]}", READ_ONLY),
            ("limits:", "limits"),
        ),
        (changed("{per_hour: 5}", "{per_hour: 5, per_day: 5}"), ("limits:", "limits")),
        (changed("{per_hour: 5}", "{propose: true, unapproved_percent: 5}"), ("limits:", "limits")),
    ],
)
def test_what_has_no_effect_is_warned_of(check: Check, text: str, at: tuple[str, str]) -> None:
    lines, (part, code) = text.splitlines(), at
    warned = [d for d in check(text).diagnostics if d.severity == "warning"]
    assert any(d.code == code and part in lines[d.line - 1] for d in warned), warned


def test_hours_are_minutes_of_the_day(check: Check) -> None:
    hours = '{hours: {zone: Europe/Berlin, days: [mon, fri, mon], from: "09:30", to: "24:00"}}'
    gate = check(changed("{per_hour: 5}", hours)).gate
    assert gate is not None
    assert gate.rules[1].limits == RuleLimits(hours=Hours("Europe/Berlin", ("mon", "fri"), 570, 1440))


@pytest.mark.parametrize(("end", "minutes"), [("02:00", 120), ("00:00", 1_440)])
def test_hours_may_go_over_midnight(check: Check, end: str, minutes: int) -> None:
    hours = f'{{hours: {{zone: UTC, days: [fri], from: "22:00", to: "{end}"}}}}'
    gate = check(changed("{per_hour: 5}", hours)).gate
    assert gate is not None
    assert gate.rules[1].limits == RuleLimits(hours=Hours("UTC", ("fri",), 1_320, minutes))


def test_one_alias_may_be_in_two_targets(check: Check) -> None:
    assert check(changed("target: eu,", "target: eu, alias: dev,")).ok
    assert not check(changed("target: eu,", "alias: dev,")).ok


def test_the_gate_files_own_tests_ask_for_principals(check: Check) -> None:
    tests = """\
tests:
  - identity: {via: iam, account: "111111111111", principal_id: AROACALLER11111111111}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: true, rule: by role}
  - identity: {via: iam, account: "111111111111", principal_id: AROAGONE1111111111111}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: false}
  - identity: {via: id_token, account: "111111111111", principal_id: AROACALLER11111111111}
    request: {action: deploy, function: orders-api, stage: dev}
    expect: {allowed: false}
"""
    report = check(SOUND + tests)
    assert [result.passed for result in report.test_results] == [True, True, True]


def with_another(
    proposer: str, other: str, allow: str, via: str = "iam", limits: str = "{propose: true}"
) -> str:
    """The sound file with a rule that lets its identities only propose, and another one."""
    return changed(
        "deny:\n",
        f"""\
  - name: proposes
    via: iam
    claims: {{account: "111111111111", principal_id: AROAPROPOSER111111111, {proposer}}}
    allow: {{actions: [deploy], functions: [orders-*], stages: [dev]}}
    limits: {limits}
  - name: decides
    via: {via}
    claims: {{account: "111111111111", principal_id: [AROAPROPOSER111111111, AROAOTHER11111111111A], {other}}}
    allow: {allow}
deny:
""",
    )


HOLD = "{actions: [deploy, hold], functions: [orders-a*], stages: [dev, prod]}"
ANY, BOT = "session_name: '**'", "session_name: bot-*"


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (with_another(BOT, ANY, HOLD), True),
        (with_another(BOT, "session_name: '*-7'", HOLD), True),
        (with_another(BOT, BOT, "{actions: [approve], functions: [orders-*], stages: [dev]}"), True),
        (with_another(BOT, "session_name: ada", HOLD), False),
        (with_another(BOT, ANY, HOLD, limits="{per_hour: 5}"), False),
        (with_another(BOT, ANY, HOLD.replace("dev, ", "")), False),
        (with_another(BOT, ANY, HOLD.replace(", hold", ", abort")), False),
        (
            with_another(BOT, f'{ANY}, project_id: "1", ref_protected: "true"', HOLD, via="iam+id_token"),
            False,
        ),
    ],
)
def test_whom_one_rule_lets_only_propose_no_other_should_let_decide(
    check: Check, text: str, warned: bool
) -> None:
    found = [(d.line, d.message) for d in check(text).diagnostics if d.code == "propose"]
    assert [text.splitlines()[line - 1].strip() for line, _ in found] == ["limits: {propose: true}"] * warned
    assert all("`decides` grants" in message for _, message in found)


AGENT = 'project_id: "1", user_id: "91", ref_type: branch, ref: main'
MAIN = 'project_id: "1", ref_type: branch, ref: [main, next]'


def in_order(
    earlier: str,
    more: str = "",
    *,
    allow: str = "{actions: [deploy], functions: [orders-*], stages: [dev]}",
    limits: str = "{per_hour: 5}",
) -> str:
    """The sound file with two rules for jobs, the second one with limits."""
    return changed(
        "deny:\n",
        f"""\
  - name: earlier
    claims: {{{earlier}}}
    allow: {allow}{more}
  - name: limited
    claims: {{{AGENT}}}
    allow: {{actions: [deploy, rollback], functions: [orders-*], stages: [dev, fresh]}}
    limits: {limits}
deny:
""",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (in_order(MAIN), "it grants `deploy` in `dev` to all that this one matches"),
        (in_order('project_id: "1"'), "it grants `deploy` in `dev`"),
        (in_order(MAIN, "\n    limits: {per_day: 50}"), ""),
        (in_order(MAIN, allow="{actions: [deploy], functions: [orders-*], stages: [test]}"), ""),
        (in_order(MAIN, allow="{actions: [rollback], functions: [orders-*], stages: [dev]}"), ""),
        (
            in_order(
                MAIN,
                allow="{actions: [rollback], functions: [orders-*], stages: [dev]}",
                limits="{propose: true}",
            ),
            "it grants `rollback` in `dev`",
        ),
        (in_order(f'{MAIN}, user_id: "7"'), ""),
        (in_order('project_id: "1", ref_type: branch, ref: next'), ""),
        (in_order(f'{MAIN}, ref_protected: "true"'), ""),
    ],
)
def test_limits_that_an_earlier_rule_lets_everybody_pass_are_named(
    check: Check, text: str, said: str
) -> None:
    found = [d.message for d in check(text).diagnostics if d.code == "limits"]
    assert len(found) == bool(said)
    assert all(said in message and "`earlier` comes first" in message for message in found)


WITHOUT_APPROVER = changed("stages: [test, prod]}", "stages: [test]}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SOUND, ""),
        (WITHOUT_APPROVER, "prod: {target"),
        (WITHOUT_APPROVER.replace(", propose: true}", "}"), ""),
        (WITHOUT_APPROVER.replace('agents:\n  - {user_id: "91"}\n', "").replace("propose: true", ""), ""),
        (in_order(MAIN.replace("main, ", ""), limits="{propose: true}"), "limits: {propose"),
        (in_order(MAIN.replace("main, ", ""), limits="{unapproved_percent: 10}"), "limits: {unapproved"),
    ],
)
def test_a_proposal_that_nobody_can_approve_is_warned_of(check: Check, text: str, line: str) -> None:
    found = {d.line for d in check(text).diagnostics if d.code == "approval"}
    assert len(found) == bool(line)
    assert all(text.splitlines()[at - 1].strip().startswith(line) for at in found)
