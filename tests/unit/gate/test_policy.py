"""The compiled gate: who is allowed what, who sees what, and which gate.json is refused."""

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, NoData, Smoke, TrafficStep, Watch
from sluicegate.gate import policy as gates
from sluicegate.gate.policy import Decision, Deny, Failed, Gate, GateError, Nearest, Placement, Target
from sluicegate.oidc.identity import ClaimValue, Feedback, Identity, Via

CORP = "https://gitlab.example.com"
OTHER = "https://gitlab.example.org"
OWN = ("sluicegate-gateway", "sluicegate-deployer")


def rule(name: str = "orders", **changes: Any) -> dict[str, Any]:
    claims = {"project_id": ["4213"], "ref_type": ["tag"], "ref": ["v*"], "pipeline_source": ["push", "web"]}
    return {
        "name": name,
        "issuer": CORP,
        "via": "id_token",
        "claims": claims,
        "actions": ["deploy"],
        "functions": ["orders-*"],
        "stages": ["prod"],
    } | changes


def claims(**changes: list[str]) -> dict[str, list[str]]:
    return dict(rule()["claims"]) | changes


def rollout(**changes: Any) -> dict[str, Any]:
    steps = [{"percent": 100, "bake": 0}]
    plain = {"steps": steps, "smoke": None, "watch": None, "approval": None, "requires": None}
    return plain | {"ordered": False} | changes


def entry(pattern: str = "orders-*", **changes: Any) -> dict[str, Any]:
    return {"pattern": pattern, "alias": {}, "max_age": {}, "rollout": {}} | changes


def stage(name: str = "dev", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "alias": name,
        "protected": False,
        "max_age": None,
        "rollout": rollout(),
    } | changes


def document(**changes: Any) -> dict[str, Any]:
    issuers = [
        {"name": name, "url": url, "audience": "https://deploy.example.com", "max_age": 3600}
        | {"jwks": None, "feedback": None}
        for name, url in (("corp", CORP), ("other", OTHER))
    ]
    stages = [
        stage("dev"),
        stage("prod", alias="live", protected=True, max_age=900),
    ]
    whole = {"format": 3, "issuers": issuers, "stages": stages, "functions": [entry()], "rules": [rule()]}
    return whole | {"deny": [], "webhooks": []} | changes


def gate(**changes: Any) -> Gate:
    return gates.parse(json.dumps(document(**changes)).encode(), own_functions=OWN)


def identity(
    via: Via = "id_token", issuer: str = CORP, jti: str | None = "j1", **changes: ClaimValue | None
) -> Identity:
    values: dict[str, ClaimValue | None] = {
        "project_id": "4213",
        "namespace_id": "72",
        "user_id": "7",
        "pipeline_id": "574",
        "ref_type": "tag",
        "ref": "v1",
        "pipeline_source": "push",
    }
    values |= changes
    claims = {claim: value for claim, value in values.items() if value is not None}
    return Identity(via, issuer, claims, jti, 0, 3600)


def decide(
    gate: Gate,
    who: Identity,
    action: str = "deploy",
    function: str = "orders-api",
    stage: str | None = "prod",
) -> Decision:
    return gate.decide(who, actions=(action,), function=function, stage=stage)


def name_of(decision: Decision) -> str | None:
    return decision.rule.name if decision.rule else None


# Rules


def test_a_rule_that_matches_allows_what_it_grants() -> None:
    decision = decide(gate(), identity())
    assert name_of(decision) == "orders"
    assert decision.denied is None
    assert decision.nearest == ()


@pytest.mark.parametrize(
    ("who", "asked"),
    [
        (identity(project_id="4214"), {}),
        (identity(project_id=None), {}),
        (identity(issuer=OTHER), {}),
        (identity(via="iam"), {}),
        (identity(via="webhook"), {}),
        (identity(ref="main"), {}),
        (identity(ref=None), {}),
        (identity(ref_type="branch"), {}),
        (identity(pipeline_source="merge_request_event"), {}),
        (identity(), {"action": "rollback"}),
        (identity(), {"action": "nonsense"}),
        (identity(), {"function": "billing"}),
        (identity(), {"stage": "dev"}),
        (identity(), {"stage": "nowhere"}),
        (identity(), {"function": "sluicegate-gateway"}),
    ],
)
def test_everything_else_is_refused(who: Identity, asked: dict[str, str]) -> None:
    assert name_of(decide(gate(), who, **asked)) is None


def test_nothing_is_allowed_without_rules() -> None:
    assert decide(gate(rules=[]), identity()) == Decision(None, None, ())


def test_any_stage_will_do_when_none_is_asked() -> None:
    assert name_of(decide(gate(), identity(), stage=None)) == "orders"
    assert name_of(decide(gate(), identity(), stage=None, function="billing")) is None


def test_any_action_includes_reading() -> None:
    assert name_of(decide(gate(), identity(), "read")) == "orders"
    assert name_of(decide(gate(rules=[rule(actions=["read"])]), identity(), "deploy")) is None


def test_a_request_without_an_action_is_no_request() -> None:
    with pytest.raises(ValueError, match="needs an action"):
        gate().decide(identity(), actions=(), function="orders-api", stage="prod")


def test_grants_of_several_rules_never_add_up() -> None:
    two = gate(rules=[rule("one", actions=["deploy"]), rule("two", actions=["rollback"])])
    both = two.decide(identity(), actions=("deploy", "rollback"), function="orders-api", stage="prod")
    assert both.rule is None
    one = gate(rules=[rule("one", actions=["deploy"]), rule("two", actions=["rollback", "deploy"])])
    both = one.decide(identity(), actions=("deploy", "rollback"), function="orders-api", stage="prod")
    assert name_of(both) == "two"


def test_the_first_rule_that_grants_everything_decides() -> None:
    rules = [
        rule("other stage", stages=["dev"]),
        rule("by namespace", claims={"namespace_id": ["72"], "pipeline_source": ["push"]}),
        rule("by project"),
    ]
    assert name_of(decide(gate(rules=rules), identity())) == "by namespace"
    assert name_of(decide(gate(rules=rules[::-1]), identity())) == "by project"


def test_a_rule_that_pins_both_ids_wants_both() -> None:
    both = gate(rules=[rule(claims=claims(namespace_id=["72"]))])
    assert name_of(decide(both, identity())) == "orders"
    assert name_of(decide(both, identity(namespace_id="73"))) is None
    assert name_of(decide(both, identity(project_id="1"))) is None


def test_any_of_a_claims_patterns_is_enough() -> None:
    several = gate(rules=[rule(claims=claims(project_id=["1", "4213", "4213"], ref=["main", "v*"]))])
    assert name_of(decide(several, identity())) == "orders"
    assert name_of(decide(several, identity(ref="main"))) == "orders"
    assert name_of(decide(several, identity(project_id="2"))) is None


def test_a_project_pattern_beside_a_pinned_namespace_is_matched_too() -> None:
    mixed = gate(rules=[rule(claims=claims(project_id=["42*"], namespace_id=["72"]))])
    assert name_of(decide(mixed, identity())) == "orders"
    assert name_of(decide(mixed, identity(project_id="5"))) is None
    assert decide(mixed, identity(ref="x")).nearest == ()  # not pinned, so not the caller's own


@pytest.mark.parametrize(
    ("claim", "value", "allowed"),
    [
        ("groups_direct", ("acme/other", "acme/releasers"), True),
        ("groups_direct", ("acme/other",), False),
        ("groups_direct", (), False),
        ("groups_direct", "acme/releasers", True),
        ("environment", ("acme/releasers",), False),  # any other list never matches
        ("environment", "acme/releasers", True),
        ("project_path", "Acme/RELEASERS", True),
        ("namespace_path", "ACME/releasers", True),
        ("environment", "Acme/releasers", False),
    ],
)
def test_lists_and_case(claim: str, value: ClaimValue, allowed: bool) -> None:
    one = gate(rules=[rule(claims=claims(**{claim: ["acme/releasers"]}))])
    plain = identity()
    who = replace(plain, claims={**plain.claims, claim: value})
    assert (name_of(decide(one, who)) == "orders") is allowed


def test_a_missing_list_matches_nothing() -> None:
    grouped = gate(rules=[rule(claims=claims(groups_direct=["**"]))])
    assert decide(grouped, identity()).nearest == (Nearest("orders", (Failed("groups_direct", None),)),)


def test_any_of_a_rules_functions_is_enough() -> None:
    several = gate(rules=[rule(functions=["billing", "orders-*"])])
    assert name_of(decide(several, identity())) == "orders"
    assert name_of(decide(several, identity(), function="billing")) == "orders"


def test_a_list_is_no_pin() -> None:
    assert name_of(decide(gate(), identity(project_id=("4213",)))) is None


# Deny


@pytest.mark.parametrize(
    ("entry", "denied"),
    [
        ({"project_id": ["4213"]}, "project_id"),
        ({"user_id": ["1", "7"]}, "user_id"),
        ({"pipeline_id": ["574"]}, "pipeline_id"),
        ({"jti": ["j1"]}, "jti"),
        ({"project_id": ["4213"], "user_id": ["7"]}, "project_id, user_id"),
        ({"project_id": ["4213"], "user_id": ["8"]}, None),
        ({"user_id": ["70"]}, None),
        ({"jti": ["j"]}, None),
    ],
)
def test_deny_comes_before_any_rule(entry: dict[str, list[str]], denied: str | None) -> None:
    denying = gate(deny=[{"issuer": CORP, "claims": {"user_id": ["99"]}}, {"issuer": CORP, "claims": entry}])
    decision = decide(denying, identity())
    assert denying.denied(identity()) == decision.denied == denied
    assert (decision.rule is None) == (denied is not None)
    assert denying.may_see(identity(), function="orders-api", stage="prod") == (denied is None)
    assert denying.rules_of(identity()) == (() if denied else denying.rules)


def test_who_is_denied_learns_of_no_rule() -> None:
    denying = gate(deny=[{"issuer": CORP, "claims": {"user_id": ["7"]}}])
    assert decide(denying, identity(ref="main")) == Decision(None, "user_id", ())


def test_deny_means_the_issuers_own_ids() -> None:
    denying = gate(deny=[{"issuer": OTHER, "claims": {"project_id": ["4213"]}}])
    assert name_of(decide(denying, identity())) == "orders"


def test_an_entry_alone_knows_its_issuer_too() -> None:
    assert Deny(CORP, (("user_id", ("7",)),)).matches(identity())
    assert not Deny(OTHER, (("user_id", ("7",)),)).matches(identity())


def test_deny_does_not_take_a_missing_claim_for_one_it_names() -> None:
    denying = gate(deny=[{"issuer": CORP, "claims": {"jti": ["None"], "user_id": ["7"]}}])
    assert name_of(decide(denying, identity(jti=None, user_id=None))) == "orders"


# What an identity may see


def test_nearest_names_the_claims_that_failed_with_the_callers_own_values() -> None:
    decision = decide(gate(), identity(ref="main", ref_type="branch", pipeline_source=None))
    failed = (Failed("ref_type", "branch"), Failed("ref", "main"), Failed("pipeline_source", None))
    assert decision.nearest == (Nearest("orders", failed),)


def test_nearest_shows_a_list_as_the_caller_has_it() -> None:
    grouped = gate(rules=[rule(claims=claims(groups_direct=["x"], environment=["y"]))])
    failed = decide(grouped, identity(groups_direct=("a", "b"), environment=("y",))).nearest[0].failed
    assert failed == (Failed("groups_direct", "a, b"), Failed("environment", ""))


def test_nearest_has_only_rules_that_pin_the_callers_own_project() -> None:
    rules = [
        rule("another project", claims=claims(project_id=["1"])),
        rule("by namespace", claims={"namespace_id": ["72"], "ref": ["x"], "pipeline_source": ["push"]}),
        rule("another issuer", issuer=OTHER),
        rule("another way", via="iam"),
        rule("own"),
    ]
    assert [near.rule for near in decide(gate(rules=rules), identity(ref="main")).nearest] == ["own"]


def test_nearest_begins_with_what_is_nearest() -> None:
    rules = [
        rule("matches, grants something else", claims=claims(ref=["main"]), stages=["dev"]),
        rule("neither"),
        rule("two off", claims=claims(ref=["x"], ref_type=["branch"])),
        rule("one off", claims=claims(ref=["y"])),
    ]
    rules[1]["stages"] = ["dev"]
    near = decide(gate(rules=rules), identity(ref="main")).nearest
    assert [n.rule for n in near] == ["one off", "two off", "matches, grants something else"]
    assert near[-1].failed == ()


def test_nearest_is_bounded() -> None:
    near = decide(gate(rules=[rule(f"r{i}") for i in range(9)]), identity(ref="main")).nearest
    assert [n.rule for n in near] == ["r0", "r1", "r2", "r3", "r4"]


def test_a_rule_on_that_function_and_that_stage_may_see() -> None:
    reading = gate(rules=[rule(actions=["abort"])])
    assert reading.may_see(identity(), function="orders-api", stage="prod")
    assert not reading.may_see(identity(), function="orders-api", stage="dev")
    assert not reading.may_see(identity(), function="billing", stage="prod")
    assert not reading.may_see(identity(ref="main"), function="orders-api", stage="prod")
    assert not reading.may_see(identity(issuer=OTHER), function="orders-api", stage="prod")


def test_the_stacks_own_functions_are_nobodys() -> None:
    wide = gate(rules=[rule(functions=["**"])], functions=[entry("*")])
    for own in OWN:
        assert decide(wide, identity(), function=own) == Decision(None, None, ())
        assert not wide.may_see(identity(), function=own, stage="prod")
        assert not wide.covers(own)
        assert wide.place(own, "prod") is None
    assert wide.covers("sluicegate-gatewa")


def test_whoami_has_the_rules_that_match_in_order() -> None:
    rules = [
        rule("one"),
        rule("two", claims=claims(ref=["main"])),
        rule("three", claims={"namespace_id": ["72"], "pipeline_source": ["*"]}),
    ]
    assert [r.name for r in gate(rules=rules).rules_of(identity())] == ["one", "three"]


# Placement


def placement(function: str, stage: str, alias: str, protected: bool, max_age: int | None) -> Placement:
    """With the plainest rollout there is."""
    return Placement(
        function=function,
        stage=stage,
        alias=alias,
        target=Target(name=None, account=None, region=None, role=None, external_id=None),
        protected=protected,
        max_age=max_age,
        steps=ALL_AT_ONCE,
        smoke=None,
        watch=None,
        approval=None,
        requires=None,
        ordered=False,
    )


def test_a_function_is_placed_by_its_stage() -> None:
    assert gate().place("orders-api", "prod") == placement("orders-api", "prod", "live", True, 900)
    assert gate().place("orders-api", "dev") == placement("orders-api", "dev", "dev", False, None)
    assert gate().place("orders-api", "nowhere") is None
    assert gate().place("billing", "prod") is None
    assert gate().covers("orders-api")
    assert not gate().covers("Orders-api")
    assert not gate().covers("billing")


def test_an_exact_name_beats_the_longest_pattern() -> None:
    several = gate(
        functions=[
            entry(pattern, alias={"dev": alias})
            for pattern, alias in (
                ("*", "any"),
                ("or**", "short"),
                ("orders-*", "long"),
                ("orders-api", "exact"),
                ("**orders-api*", "longer than exact"),
            )
        ]
    )

    def alias(function: str) -> str | None:
        placement = several.place(function, "dev")
        return placement.alias if placement else None

    assert alias("orders-api") == "exact"
    assert alias("orders-web") == "long"
    assert alias("orx") == "short"
    assert alias("x") == "any"


def test_of_equally_long_patterns_the_first_counts() -> None:
    equals = [entry(p, alias={"dev": a}) for p, a in (("ab*", "one"), ("*bc", "two"))]
    for entries, alias in ((equals, "one"), (equals[::-1], "two")):
        placement = gate(functions=entries).place("abc", "dev")
        assert placement is not None
        assert placement.alias == alias


def test_an_override_replaces_only_what_it_names() -> None:
    merged = gate(functions=[entry(alias={"prod": "stable"}, max_age={"dev": 60})])
    assert merged.place("orders-api", "prod") == placement("orders-api", "prod", "stable", True, 900)
    assert merged.place("orders-api", "dev") == placement("orders-api", "dev", "dev", False, 60)


CANARY = [{"percent": 10, "bake": 300}, {"percent": 100, "bake": 0}]
SMOKE = {"timeout": 10, "payload": '{"ping":true}', "expect": '"pong"', "hook": None}
HOOK = SMOKE | {"payload": None, "expect": None, "hook": "orders-check"}
LIMIT = {"metric": "errors", "min_samples": 100, "most": 1.5, "max_ratio": None}
WATCH = {"alarms": ["{function}-{alias}-{stage}-5xx"], "limits": [LIMIT], "no_data": "extend"}
FULL = rollout(steps=CANARY, smoke=SMOKE, watch=WATCH, approval=3600, requires="dev", ordered=True)


def test_a_placement_has_the_whole_rollout_with_its_alarms_own_names() -> None:
    full = gate(stages=[stage("dev"), stage("prod", alias="live", rollout=FULL)])
    placed = full.place("orders-api", "prod")
    assert placed is not None
    assert placed.steps == (TrafficStep(10, 300), TrafficStep(100, 0))
    assert placed.smoke == Smoke(10, payload='{"ping":true}', expect='"pong"')
    assert placed.watch == Watch(
        ("orders-api-live-prod-5xx",), (Limit(Metric.ERRORS, 100, 1.5, None),), NoData.EXTEND
    )
    assert (placed.approval, placed.requires, placed.ordered) == (3600, "dev", True)


def test_an_alarms_placeholders_are_filled_in_once_and_equal_names_are_one() -> None:
    names = ["{function}", "{stage}", "orders-api", "{alias}"]
    watched = rollout(watch={"alarms": names, "limits": [], "no_data": "pass"})
    functions = [entry(alias={"prod": "blue"})]
    placed = gate(stages=[stage("prod", rollout=watched)], functions=functions).place("orders-api", "prod")
    assert placed is not None
    assert placed.watch == Watch(("orders-api", "prod", "blue"))


def test_an_entrys_rollout_is_whole() -> None:
    hooked = rollout(smoke=HOOK)
    stages = [stage("dev", rollout=rollout(approval=60))]
    whole = gate(stages=stages, functions=[entry(rollout={"dev": hooked})], rules=[])
    placed = whole.place("orders-api", "dev")
    assert placed is not None
    assert placed.smoke == Smoke(10, hook="orders-check")
    assert placed.approval is None


# gate.json


def test_the_digest_is_of_the_bytes() -> None:
    data = json.dumps(document()).encode()
    assert gates.parse(data, own_functions=()).digest == hashlib.sha256(data).hexdigest()


def test_issuers_are_found_by_url() -> None:
    whole = document()
    whole["issuers"][0]["jwks"] = '{"keys": []}'
    loaded = gate(issuers=whole["issuers"])
    assert loaded.issuers[CORP].name == "corp"
    assert loaded.issuers[CORP].max_age == 3600
    assert loaded.issuers[CORP].jwks == b'{"keys": []}'
    assert loaded.issuers[OTHER].jwks is None
    assert loaded.stages["prod"].alias == "live"


def test_an_issuer_is_told_what_its_feedback_says() -> None:
    corp, other = document()["issuers"]
    loaded = gate(issuers=[corp | {"feedback": FEEDBACK}, other])
    assert loaded.issuers[CORP].feedback == Feedback(
        "sluicegate/gitlab/corp", commit_status=True, deployment=False
    )
    assert loaded.issuers[OTHER].feedback is None


def test_a_gate_cannot_be_changed() -> None:
    loaded = gate()
    with pytest.raises(TypeError):
        loaded.issuers["x"] = loaded.issuers[CORP]  # type: ignore[index]
    with pytest.raises(TypeError):
        loaded.stages["x"] = loaded.stages["dev"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        loaded.rules = ()  # type: ignore[misc]


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    with pytest.raises(GateError, match="cannot read the gate: No such file"):
        gates.load(path, own_functions=())
    path.write_text(json.dumps(document()))
    assert gates.load(path, own_functions=OWN).own_functions == set(OWN)


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}


ISSUER: dict[str, Any] = document()["issuers"][0]
FEEDBACK: dict[str, Any] = {"secret": "sluicegate/gitlab/corp", "commit_status": True, "deployment": False}
STAGE: dict[str, Any] = document()["stages"][0]
FUNCTION: dict[str, Any] = document()["functions"][0]
DENY: dict[str, Any] = {"issuer": CORP, "claims": {"jti": ["j1"]}}
WRONG: list[Any] = [None, {}, "x", 0, True, [None], [[]]]
NOTHINGS: list[Any] = [None, "", [], {}, 0, [1], [""]]
MALFORMED: list[Any] = [
    None,
    [],
    {},
    "x",
    document(format=2),
    document(format=4),
    document(format="3"),
    document(format=True),
    document(format=3.0),
    document(more=1),
    *(without(document(), key) for key in document()),
    *(document(**{key: value}) for key in document() for value in WRONG),
    *(document(issuers=[without(ISSUER, key)]) for key in ISSUER),
    *(document(issuers=[ISSUER | {key: value}]) for key in ISSUER for value in NOTHINGS[1:]),
    document(issuers=[ISSUER | {"more": 1}]),
    document(issuers=[ISSUER, ISSUER]),
    document(issuers=[], rules=[rule()]),
    document(issuers=[ISSUER | {"max_age": -1}]),
    document(issuers=[ISSUER | {"max_age": 1.5}]),
    *(document(issuers=[ISSUER | {"feedback": without(FEEDBACK, key)}]) for key in FEEDBACK),
    *(document(issuers=[ISSUER | {"feedback": FEEDBACK | {key: v}}]) for key in FEEDBACK for v in NOTHINGS),
    document(issuers=[ISSUER | {"feedback": FEEDBACK | {"more": 1}}]),
    document(issuers=[ISSUER | {"feedback": FEEDBACK | {"secret": "sluicegate/webhooks/corp"}}]),
    *(document(stages=[without(STAGE, key)], rules=[]) for key in STAGE),
    *(document(stages=[STAGE | {key: v}], rules=[]) for key in STAGE for v in NOTHINGS[1:]),
    document(stages=[STAGE | {"protected": "false"}], rules=[]),
    document(stages=[STAGE | {"protected": None}], rules=[]),
    document(stages=[STAGE | {"max_age": True}], rules=[]),
    document(stages=[STAGE, STAGE], rules=[]),
    *(document(functions=[without(FUNCTION, key)]) for key in FUNCTION),
    *(document(functions=[FUNCTION | {key: v}]) for key in FUNCTION for v in (*NOTHINGS[:3], 0)),
    document(functions=[FUNCTION | {"pattern": "***"}]),
    document(functions=[FUNCTION | {"alias": {"nowhere": "x"}}]),
    document(functions=[FUNCTION | {"alias": {"dev": ""}}]),
    document(functions=[FUNCTION | {"max_age": {"nowhere": 1}}]),
    document(functions=[FUNCTION | {"max_age": {"dev": None}}]),
    document(functions=[FUNCTION | {"max_age": {"dev": 0}}]),
    document(functions=[FUNCTION | {"rollout": {"nowhere": rollout()}}]),
    document(functions=[FUNCTION | {"rollout": {"dev": None}}]),
    document(functions=[FUNCTION | {"rollout": {"dev": rollout() | {"more": 1}}}]),
    *(document(rules=[without(rule(), key)]) for key in rule()),
    *(document(rules=[rule() | {key: value}]) for key in rule() for value in NOTHINGS),
    document(rules=[rule(more=1)]),
    document(rules=[rule(issuer="corp")]),
    document(rules=[rule(via="password")]),
    document(rules=[rule(actions=["delete"])]),
    document(rules=[rule(stages=["nowhere"])]),
    document(rules=[rule(functions=["***"])]),
    document(rules=[rule(claims=claims(ref=["***"]))]),
    document(rules=[rule(claims=claims(ref=[]))]),
    document(rules=[rule(claims=without(claims(), "project_id"))]),
    document(rules=[rule(claims=claims(project_id=["42*"]))]),
    document(rules=[rule(claims=claims(project_id=["4213", "5*"]))]),
    document(rules=[rule(claims=without(claims(), "pipeline_source"))]),
    *(document(deny=[without(DENY, key)]) for key in DENY),
    document(deny=[DENY | {"issuer": "corp"}]),
    document(deny=[DENY | {"claims": {}}]),
    document(deny=[DENY | {"claims": {"ref": ["main"]}}]),
    document(deny=[DENY | {"claims": {"jti": "j1"}}]),
    document(deny=[DENY | {"claims": {"jti": []}}]),
    document(deny=[DENY | {"more": 1}]),
]


@pytest.mark.parametrize("whole", MALFORMED)
def test_a_malformed_gate_is_refused_whole(whole: Any) -> None:
    with pytest.raises(GateError):
        gates.parse(json.dumps(whole).encode(), own_functions=())


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (document(issuers=[ISSUER, ISSUER]), f"issuer '{CORP}' occurs twice"),
        (document(stages=[STAGE, STAGE], rules=[]), "stage 'dev' occurs twice"),
        (document(functions=[FUNCTION | {"alias": {"x": "y"}}]), "there is no stage 'x'"),
        (document(rules=[rule(issuer="x")]), "there is no issuer 'x'"),
        (document(rules=[rule(via="x")]), "there is no via 'x'"),
        (document(rules=[rule(actions=["x"])]), "there is no action 'x'"),
        (document(rules=[rule(stages=["x"])]), "there is no stage 'x'"),
        (document(deny=[DENY | {"issuer": "x"}]), "there is no issuer 'x'"),
        (document(deny=[DENY | {"claims": {"x": ["y"]}}]), "there is no claim 'x'"),
        (document(format=1), "build it again"),
        (document(rules=[rule(functions=["***"])]), "has three stars in a row"),
    ],
)
def test_the_refusal_says_why(whole: Any, why: str) -> None:
    with pytest.raises(GateError, match=re.escape(why)):
        gates.parse(json.dumps(whole).encode(), own_functions=())


def placed_in(value: Any) -> list[dict[str, Any]]:
    """Gates with a rollout in a stage, and in an entry's override."""
    return [
        document(stages=[stage("dev"), stage("prod", rollout=value)]),
        document(functions=[entry(rollout={"prod": value})]),
    ]


def step(percent: Any, bake: Any = 0) -> dict[str, Any]:
    return {"percent": percent, "bake": bake}


def each(*values: Any) -> tuple[Any, ...]:
    return values


ALARMS = [f"a{i}" for i in range(11)]
DEEP = "[" * 17 + "]" * 17
TAMPERED: list[tuple[Any, str]] = [
    *((value, "") for value in each(None, [], "x", 1)),
    *((without(FULL, key), "has not exactly the members") for key in FULL),
    (FULL | {"more": 1}, "has not exactly the members"),
    *((FULL | {"steps": value}, "list is missing") for value in each(None, {}, "x", 1, True)),
    *((FULL | {"steps": [value]}, "") for value in each(None, [], "x", step(None), step("100"), step(True))),
    *((FULL | {"steps": [without(CANARY[1], key)]}, "exactly the members") for key in CANARY[1]),
    (FULL | {"steps": [step(100) | {"more": 1}]}, "exactly the members"),
    (FULL | {"steps": []}, "0 steps"),
    (FULL | {"steps": [step(99)]}, "last step is 100 percent"),
    (FULL | {"steps": [step(100.0)]}, "whole number from 1 to 100"),
    (FULL | {"steps": [step(0), step(100)]}, "whole number from 1 to 100"),
    (FULL | {"steps": [step(101)]}, "whole number from 1 to 100"),
    (FULL | {"steps": [step(100, -1)]}, "whole number from 0 to 604800"),
    (FULL | {"steps": [step(100, 604_801)]}, "whole number from 0 to 604800"),
    (FULL | {"steps": [step(100, False)]}, "whole number from 0 to 604800"),
    (FULL | {"steps": [step(10, 0), step(100)]}, "bakes for at least a second"),
    (FULL | {"steps": [step(10, 1), step(10, 1), step(100)]}, "more percent than the one before"),
    (FULL | {"steps": [*(step(i, 1) for i in range(1, 21)), step(100)]}, "21 steps"),
    *((FULL | {"smoke": value}, "object is missing") for value in each([], "x", 1, False)),
    *((FULL | {"smoke": without(SMOKE, key)}, "exactly the members") for key in SMOKE),
    (FULL | {"smoke": SMOKE | {"more": None}}, "exactly the members"),
    *(
        (FULL | {"smoke": SMOKE | {"timeout": value}}, "whole number from 1 to 60")
        for value in each(None, 0, 61, "10", 10.0, True)
    ),
    (FULL | {"smoke": SMOKE | {"hook": "f"}}, "a payload or a hook"),
    (FULL | {"smoke": SMOKE | {"payload": None}}, "a payload or a hook"),
    (FULL | {"smoke": SMOKE | {"payload": None, "expect": None}}, "a payload or a hook"),
    (FULL | {"smoke": HOOK | {"expect": "1"}}, "expects with a payload only"),
    *(
        (FULL | {"smoke": SMOKE | {key: value}}, why)
        for key in ("payload", "expect")
        for value, why in (
            ({}, "text is missing"),
            ("", "text is missing"),
            ("{", "not JSON"),
            ("NaN", "not JSON"),
            ('{"a":1,"a":1}', "twice"),
            ('{"a": 1}', "compact"),
            (DEEP, "nested too deep"),
            (f'"{"x" * 16_383}"', "at most 16384"),
            ('"é"', "compact"),
        )
    ),
    *(
        (FULL | {"smoke": HOOK | {"hook": value}}, "")
        for value in each("", 1, [], "a*", "a:1", "a\n", "a" * 65, "sluicegate-gateway")
    ),
    *((FULL | {"watch": value}, "object is missing") for value in each([], "x", 1, False)),
    *((FULL | {"watch": without(WATCH, key)}, "exactly the members") for key in WATCH),
    (FULL | {"watch": WATCH | {"more": 1}}, "exactly the members"),
    *((FULL | {"watch": WATCH | {"no_data": value}}, "") for value in each(None, "", "x", 1, [])),
    *((FULL | {"watch": WATCH | {"alarms": value}}, "") for value in each(None, "x", {}, [""], [1], [None])),
    (FULL | {"watch": WATCH | {"alarms": ALARMS}}, "watches nothing, or too much"),
    (FULL | {"watch": WATCH | {"alarms": [], "limits": []}}, "watches nothing, or too much"),
    (FULL | {"watch": WATCH | {"alarms": ["{region}"]}}, "no placeholder"),
    (FULL | {"watch": WATCH | {"alarms": ["{function"]}}, "no placeholder"),
    (FULL | {"watch": WATCH | {"alarms": ["a" * 256]}}, "longer than 255"),
    *((FULL | {"watch": WATCH | {"limits": value}}, "") for value in each(None, "x", {}, [None], [[]], [{}])),
    *((FULL | {"watch": WATCH | {"limits": [without(LIMIT, key)]}}, "exactly") for key in LIMIT),
    (FULL | {"watch": WATCH | {"limits": [LIMIT | {"more": 1}]}}, "exactly the members"),
    (FULL | {"watch": WATCH | {"limits": [LIMIT, LIMIT]}}, "metric 'errors' occurs twice"),
    (FULL | {"watch": WATCH | {"limits": [LIMIT | {"most": None}]}}, "nothing limits the metric errors"),
    *(
        (FULL | {"watch": WATCH | {"limits": [LIMIT | {key: value}]}}, "")
        for key, values in (
            ("metric", each(None, "", "cost", 1)),
            ("min_samples", each(None, 0, -1, 1.0, True, "1", 1_000_001)),
            ("most", each(0, -1, "1", True, 100.1, [])),
            ("max_ratio", each(0, 0.9, "2", True, 1001, [])),
        )
        for value in values
    ),
    *(
        (FULL | {"approval": value}, "whole number from 60 to 1209600")
        for value in each(0, 59, 1_209_601, 60.0, "1h", True, [])
    ),
    *((FULL | {"requires": value}, "") for value in each("", 1, [], "nowhere")),
    (FULL | {"requires": "prod"}, "the stage 'prod' requires itself"),
    *((FULL | {"ordered": value}, "ordered is true or false") for value in each(None, 0, 1, "pipeline", [])),
]  # fmt: skip


def test_what_is_tampered_with_was_sound() -> None:
    for whole in (*placed_in(FULL), *placed_in(FULL | {"smoke": HOOK, "approval": 60})):
        gates.parse(json.dumps(whole).encode(), own_functions=OWN)
    for key in ("smoke", "watch", "approval", "requires"):
        gate(functions=[entry(rollout={"prod": FULL | {key: None}})])


@pytest.mark.parametrize(("value", "why"), TAMPERED)
def test_a_rollout_that_was_tampered_with_is_refused(value: Any, why: str) -> None:
    for whole in placed_in(value):
        with pytest.raises(GateError, match=re.escape(why) or r"gate\.json"):
            gates.parse(json.dumps(whole).encode(), own_functions=OWN)


@pytest.mark.parametrize("ring", [["dev"], ["dev", "prod"], ["prod", "dev", "test"]])
def test_stages_cannot_require_one_another_in_a_circle(ring: list[str]) -> None:
    after = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    names = ("dev", "test", "prod")
    with pytest.raises(GateError, match="requires itself"):
        gate(stages=[stage(name, rollout=rollout(requires=after.get(name))) for name in names])
    overriding = {name: rollout(requires=after.get(name)) for name in ring}
    with pytest.raises(GateError, match="requires itself"):
        gate(stages=[stage(name) for name in names], functions=[entry(rollout=overriding)])


def test_an_override_can_close_a_circle_with_the_stages_own_requirement() -> None:
    stages = [stage("dev"), stage("prod", rollout=rollout(requires="dev"))]
    gate(stages=stages)
    with pytest.raises(GateError, match="requires itself"):
        gate(stages=stages, functions=[entry(rollout={"dev": rollout(requires="prod")})])
    crossed = {"dev": rollout(requires="prod"), "prod": rollout()}
    gate(stages=stages, functions=[entry(rollout=crossed)])


PERSON = claims(ref_protected=["true"], pipeline_source=["web"])


@pytest.mark.parametrize(
    "asked",
    [
        without(PERSON, "ref_protected"),
        PERSON | {"ref_protected": ["false"]},
        PERSON | {"ref_protected": ["true", "false"]},
        PERSON | {"ref_protected": ["*"]},
        PERSON | {"pipeline_source": ["web", "push"]},
        PERSON | {"pipeline_source": ["push"]},
        PERSON | {"pipeline_source": ["we*"]},
        PERSON | {"project_id": ["42*"], "namespace_id": ["72"]},
        without(PERSON, "project_id") | {"namespace_id": ["72"]},
    ],
)
def test_a_rule_that_approves_without_asking_a_person_is_refused(asked: dict[str, list[str]]) -> None:
    gate(rules=[rule(actions=["deploy", "approve"], claims=PERSON), rule("x", claims=asked)])
    with pytest.raises(GateError, match="rule 'orders' approves without pinning"):
        gate(rules=[rule(actions=["deploy", "approve"], claims=asked)])


def test_a_second_is_the_shortest_limit() -> None:
    assert gate(issuers=[ISSUER | {"max_age": 1}]).issuers[CORP].max_age == 1


def test_only_id_tokens_have_pipeline_sources() -> None:
    by_iam = rule(via="iam", claims={"project_id": ["4213"]})
    assert name_of(decide(gate(rules=[by_iam]), identity(via="iam"))) == "orders"
    assert name_of(decide(gate(rules=[by_iam]), identity())) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"format": 1, "format": 1}', b"[" * 100, b"NaN"])
def test_what_is_no_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(GateError, match=r"gate\.json"):
        gates.parse(data, own_functions=())


@given(st.binary())
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(GateError):
        gates.parse(data, own_functions=())


def test_the_sound_parts_of_the_malformed_ones_are_sound() -> None:
    gate(functions=[FUNCTION], deny=[DENY])


# Cost


def test_a_decision_is_as_cheap_among_ten_thousand_rules() -> None:
    """Only the handful that pins the caller's project or namespace is tried."""
    many = [rule(f"r{i}", claims=claims(project_id=[str(10_000 + i)])) for i in range(9_999)]

    def seconds(rules: list[dict[str, Any]]) -> float:
        loaded, who, times = gate(rules=rules), identity(), []
        for _ in range(50):
            start = time.thread_time()
            assert name_of(decide(loaded, who)) == "orders"
            times.append(time.thread_time() - start)
        return min(times)

    assert seconds([*many, rule()]) < 5 * seconds([rule()]) + 0.0001
