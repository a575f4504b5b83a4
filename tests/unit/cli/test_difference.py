"""The difference of two gate files: each request that they decide otherwise is in a sentence."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.gate.policy import Gate
from sluicegate.gate.rules import RuleLimits
from sluicegate.oidc.identity import Identity
from sluicegate_cli.review.changes import Change
from sluicegate_cli.review.difference import Difference
from support import gate_documents as documents
from support.gate_documents import CORP
from support.gate_strategies import ACCOUNT, BEGIN, HOURS, NO_LIMITS, PROPOSED, SSO, pairs, requests


@given(pairs(), st.lists(requests, min_size=5, max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_request_that_is_decided_otherwise_is_in_a_sentence(
    gates: tuple[Gate, Gate], asked: list[tuple[Identity, frozenset[str], str, str]]
) -> None:
    old, new = gates
    changes = Difference.of(old, new).changes
    for identity, actions, function, stage in asked:
        before = outcome(old, identity, actions, function, stage)
        after = outcome(new, identity, actions, function, stage)
        about = [change for change in changes if change.about(identity, actions, function, stage)]
        if before is None and after is not None:
            assert {change.effect for change in about} & {"more", "both"}
        elif before is not None and after is None:
            assert {change.effect for change in about} & {"less", "both"}
        elif before is not None and after is not None:
            for kinds, was, now in zip(({"limit", "agent"}, {"stage"}), before, after, strict=True):
                assert was == now or {change.kind for change in about} & kinds


def outcome(
    gate: Gate, identity: Identity, actions: frozenset[str], function: str, stage: str
) -> tuple[Any, Any] | None:
    """What the gate says: nothing where it refuses, else what limits a request, and how it proceeds."""
    rule = gate.decide(identity, actions=actions, function=function, stage=stage).rule
    place = gate.place(function, stage)
    if rule is None or place is None:
        return None
    limits = rule.limits or RuleLimits()
    by_agent = bool(place.agents and place.agents.propose and gate.principals.actor(identity) == "agent")
    proposes = bool(actions & PROPOSED) and (limits.propose or by_agent)
    numbers = replace(limits, propose=False) if actions & BEGIN else None
    return (numbers, proposes), replace(place, agents=None)


@given(pairs())
@settings(max_examples=15, deadline=None)
def test_nothing_changes_between_a_file_and_itself_renamed(gates: tuple[Gate, Gate]) -> None:
    gate = gates[0]
    renamed = replace(gate, rules=tuple(replace(rule, name=f"also {rule.name}") for rule in gate.rules))
    assert Difference.of(gate, renamed).changes == ()
    assert Difference.of(gate, renamed).verdict == "neither"


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return list(Difference.of(documents.gate(**old), documents.gate(**new)).changes)


def test_a_rule_that_is_split_by_values_is_no_change() -> None:
    whole = documents.rule(claims=documents.claims(user_id=["7", "8"]), actions=["deploy", "promote"])
    split = [whole | {"name": user, "claims": documents.claims(user_id=[user])} for user in ("7", "8")]
    assert changed({"rules": [whole]}, {"rules": split}) == []


def test_actions_that_are_split_take_away_what_one_rule_must_grant() -> None:
    whole = documents.rule(actions=["deploy", "override-strategy"])
    split = [whole | {"name": action, "actions": [action]} for action in whole["actions"]]
    (change,) = changed({"rules": [whole]}, {"rules": split})
    assert change.effect == "less"
    assert "may no longer deploy with a less cautious strategy orders-* in prod" in change.text


@pytest.mark.parametrize(
    ("old", "new", "effect", "text"),
    [
        (["v*"], ["v1.*"], "less", "`ref` was v*, is v1.*"),
        (["v1.*"], ["v*"], "more", "`ref` was v1.*, is v*"),
        (["v*"], ["v*", "v1.*"], None, ""),
    ],
)
def test_patterns_that_cover_each_other(
    old: list[str], new: list[str], effect: str | None, text: str
) -> None:
    rules = [documents.rule(claims=documents.claims(ref=ref)) for ref in (old, new)]
    found = changed({"rules": rules[:1]}, {"rules": rules[1:]})
    assert [change.effect for change in found] == ([effect] if effect else [])
    assert all(text in change.text for change in found)


def test_a_function_that_is_no_longer_an_entry_is_lost_by_all_rules() -> None:
    both = [documents.entry("orders-*"), documents.entry("billing")]
    rule = documents.rule(functions=["**"])
    (change,) = changed({"functions": both, "rules": [rule]}, {"functions": both[:1], "rules": [rule]})
    assert change.effect == "less"
    assert "may no longer deploy billing in prod" in change.text


APPROVAL = documents.rollout(approval=3600)
STAGE = {"protected": False, "max_age": None}


@pytest.mark.parametrize(
    ("old", "new", "effect", "text"),
    [
        ({"rollout": APPROVAL}, {}, "more", "prod, orders-*: no second person has to approve any more"),
        ({}, {"rollout": APPROVAL}, "less", "prod, orders-*: a second person must approve, within 1h"),
        (
            {"rollout": APPROVAL},
            {"rollout": documents.rollout(approval=7200)},
            "neither",
            "an approval has 2h (before: 1h)",
        ),
        (
            {"rollout": documents.rollout(requires="dev")},
            {},
            "more",
            "need not have succeeded in dev any more",
        ),
        ({"rollout": documents.rollout(ordered=True)}, {}, "more", "an older pipeline may overwrite"),
        (
            {"rollout": documents.rollout(steps=documents.CANARY)},
            {},
            "more",
            "traffic moves 100% (before: 10% for 5m, 100%)",
        ),
        ({}, {"rollout": documents.rollout(smoke=documents.SMOKE)}, "less", "the smoke test is payload"),
        ({"rollout": documents.rollout(watch=documents.WATCH)}, {}, "more", "nothing is watched any more"),
        (
            {"rollout": documents.rollout(watch=documents.WATCH)},
            {"rollout": documents.rollout(watch=documents.WATCH | {"alarms": []})},
            "more",
            "no longer the alarm",
        ),
        (
            {"rollout": documents.rollout(watch=documents.WATCH)},
            {"rollout": documents.rollout(watch=documents.WATCH | {"false_rollbacks": 0.5})},
            "both",
            "false_rollbacks 0.5",
        ),
        ({}, {"max_age": 900}, "less", "tokens are at most 15m old (before: no limit)"),
        ({"max_age": 900}, {"max_age": 3600}, "more", "tokens are at most 1h old (before: 15m)"),
        ({"protected": True}, {}, "more", "prod is protected no longer"),
        ({}, {"alias": "live"}, "both", "deployments move the alias live, and not prod"),
    ],
)
def test_what_stands_between(old: Any, new: Any, effect: str, text: str) -> None:
    before, after = ([documents.stage("dev"), documents.stage("prod", **STAGE | each)] for each in (old, new))
    (change,) = changed({"stages": before}, {"stages": after})
    assert (change.effect, text in change.text) == (effect, True), change.text


def test_an_override_is_a_change_for_its_functions_alone() -> None:
    stages = [documents.stage("dev"), documents.stage("prod", rollout=APPROVAL)]
    report = documents.entry("orders-report", rollout={"prod": documents.rollout()})
    one = {"stages": stages}
    (change,) = changed(one, one | {"functions": [documents.entry(), report]})
    assert change.text == "prod, orders-report: no second person has to approve any more"
    nobody = Identity("id_token", CORP, {}, None, 0, 0)
    assert change.about(nobody, {"deploy"}, "orders-report", "prod")
    assert not change.about(nobody, {"deploy"}, "orders-api", "prod")
    assert not change.about(nobody, {"deploy"}, "orders-report", "dev")


@pytest.mark.parametrize(
    ("old", "new", "effect", "text"),
    [
        (
            {},
            {"issuers": [each | {"audience": "https://other"} for each in documents.document()["issuers"]]},
            "both",
            "tokens must have the audience https://other, and not https://deploy.example.com",
        ),
        (
            {},
            {"people": [{"name": "ada", "gitlab": [{"issuer": CORP, "user_id": "7"}], "iam": []}]},
            "both",
            "`people`: ada is new",
        ),
        (
            {"sso": [{"account": ACCOUNT, "principal_id": SSO, "org": "o-a1b2c3d4e5"}]},
            {},
            "less",
            f"sessions of role {SSO} of account {ACCOUNT} are persons no longer",
        ),
    ],
)
def test_what_else_changes(old: Any, new: Any, effect: str, text: str) -> None:
    found = changed(old, new)
    assert found
    assert {change.effect for change in found} == {effect}
    assert any(text in change.text for change in found)


def test_limits_follow_the_rule_that_decides() -> None:
    wide = documents.rule("wide", claims=documents.claims(ref=["**"]))
    tight = documents.rule("tight", limits=NO_LIMITS | {"per_hour": 2, "per_day": 9})
    tighter = tight | {"limits": NO_LIMITS | {"per_hour": 2, "per_day": 5}}
    assert [one.effect for one in changed({"rules": [tight, wide]}, {"rules": [wide, tight]})] == ["more"]
    (change,) = changed({"rules": [tight]}, {"rules": [tighter]})
    assert "at most 2 an hour and 5 a day (before: at most 2 an hour and 9 a day" in change.text


def test_hours_are_compared_by_the_minutes_of_the_week() -> None:
    def hours(**changes: Any) -> dict[str, Any]:
        return documents.rule(limits=NO_LIMITS | {"hours": HOURS | changes})

    def effects(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        return [change.effect for change in changed({"rules": [old]}, {"rules": [new]})]

    assert effects(hours(), hours(days=["mon", "tue"])) == ["more"]
    assert effects(hours(), hours(end=600)) == ["less"]
    assert effects(hours(), hours(start=600, end=1080)) == ["both"]
    assert effects(hours(), hours(zone="Europe/Berlin")) == ["both"]
    assert effects(hours(start=1380, end=60), hours(start=1380, end=90)) == ["more"]


def test_a_new_function_without_the_stages_approval_is_seen() -> None:
    stages = [documents.stage("dev"), documents.stage("prod", rollout=APPROVAL)]
    billing = documents.entry("billing", rollout={"prod": documents.rollout()})
    old = {"stages": stages, "rules": [documents.rule(functions=["**"])]}
    found = changed(old, old | {"functions": [documents.entry(), billing]})
    assert ["may now deploy billing in prod" in found[0].text, found[1].text] == [
        True,
        "prod, billing, new: traffic moves 100%, no second person has to approve",
    ]


def test_another_external_id_is_another_target() -> None:
    def at(external_id: str) -> dict[str, Any]:
        where = {"account": "222222222222", "region": "eu-central-1", "role": "deployer"}
        targets = [{"name": "eu", "external_id": external_id, **where}]
        return {"targets": targets, "stages": [documents.stage("dev"), documents.stage("prod", target="eu")]}

    (change,) = changed(at("one"), at("two"))
    assert (change.effect, "external id two" in change.text) == ("both", True)


def test_a_function_must_match_the_rule_and_the_entry() -> None:
    rule = documents.rule(functions=["orders-*"])
    old, new = ({"functions": [documents.entry(text)], "rules": [rule]} for text in ("*-api", "orders-*"))
    (change,) = changed(old, new)
    assert change.effect == "more"
    assert "may now deploy orders-* in prod, except those that could before by 'orders'" in change.text
    (change,) = changed(new, old)
    assert change.effect == "less"
    (change,) = changed(old, {"functions": [documents.entry("*-web")], "rules": [rule]})[:1]
    assert "may now deploy what matches orders-* and *-web in prod" in change.text


AGENT = {"users": [{"issuer": CORP, "user_id": "91"}], "principals": []}


def test_who_counts_as_an_agent() -> None:
    (change,) = changed({}, {"agents": AGENT})
    assert (change.effect, change.text.partition(":")[0]) == (
        "both",
        "user 91 of corp counts as an agent from now on",
    )
    agent, other = (Identity("id_token", CORP, {"user_id": user}, None, 0, 0) for user in ("91", "7"))
    assert change.about(agent, {"hold"}, "orders-api", "prod")
    assert not change.about(other, {"hold"}, "orders-api", "prod")
    (change,) = changed({"agents": AGENT}, {})
    assert (change.effect, change.kind) == ("both", "agent")
    principals = [{"account": ACCOUNT, "principal_id": SSO}]
    (change,) = changed({}, {"agents": {"users": [], "principals": principals}})
    assert change.text.startswith(f"AWS principal {SSO} of account {ACCOUNT} counts as an agent")


def test_what_a_stage_leaves_agents() -> None:
    def stages(agents: dict[str, Any] | None) -> dict[str, Any]:
        return {"stages": [documents.stage("dev"), documents.stage("prod", agents=agents)]}

    def demands(propose: bool, *actions: str) -> dict[str, Any]:
        return stages({"actions": list(actions), "propose": propose})

    def said(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
        return [(change.effect, change.text) for change in changed(old, new)]

    no_more = "agents may no longer promote in prod, whatever rules grant"
    assert said(demands(False, "deploy", "promote"), demands(False, "deploy")) == [("less", no_more)]
    now = "agents may now promote in prod by rules that grant it"
    assert said(demands(False, "deploy"), demands(False, "deploy", "promote")) == [("more", now)]
    proposes = "agents only propose in prod: a person approves each request"
    assert said(demands(False, "deploy"), demands(True, "deploy")) == [("less", proposes)]
    assert [effect for effect, _ in said(demands(True, "deploy"), stages(None))] == ["more", "more"]


def test_a_denial_that_refuses_more() -> None:
    def denying(*users: str) -> dict[str, Any]:
        return {"deny": [{"issuer": CORP, "claims": {"user_id": list(users)}}]}

    less = ("less", "user_id 8 of corp is refused from now on, whatever the rules say")
    more = ("more", "user_id 8 of corp is refused no longer: rules decide")
    assert [(one.effect, one.text) for one in changed(denying("7"), denying("7", "8"))] == [less]
    assert [(one.effect, one.text) for one in changed(denying("7", "8"), denying("7"))] == [more]


def test_a_longer_pattern_counts_for_its_own_functions_alone() -> None:
    stages = [documents.stage("dev"), documents.stage("prod", rollout=APPROVAL)]
    longer = documents.entry("*-internal-api")
    old = {"stages": stages, "functions": [documents.entry(), longer]}
    override = documents.entry(rollout={"prod": documents.rollout()})
    (change,) = changed(old, old | {"functions": [override, longer]})
    assert change.text == "prod, orders-*: no second person has to approve any more"
