"""The gate: what rules allow and show to a caller, and where functions are placed."""

import time
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, Smoke, TrafficStep, Unclear, Watch
from sluicegate.gate.model import Placement, TargetReference
from sluicegate.gate.policy import Decision, Gate, Nearest
from sluicegate.gate.rules import Deny, Failed
from sluicegate.oidc.identity import ClaimValue, Identity, Principal, Via
from support.gate_documents import (
    CORP,
    FULL,
    HOOK,
    OTHER,
    OWN,
    WATCH,
    claims,
    entry,
    gate,
    rollout,
    rule,
    stage,
)


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


ROLE = Principal(
    account="111111111111",
    principal_id="AROACALLER11111111111",
    principal_type="role",
    arn="arn:aws:sts::111111111111:assumed-role/deployer/job-302",
    access_key="ASIA1111111111111111",
    role="deployer",
    session_name="job-302",
)
PRINCIPAL = {"account": [ROLE.account], "principal_id": [ROLE.principal_id]}


def caller(principal: Principal = ROLE) -> Identity:
    return Identity("iam", "", principal.claims, None, 0, 0, principal=principal)


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
        rule("another way", via="iam", issuer="", claims=PRINCIPAL, stages=["dev"]),
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


def test_only_id_tokens_have_pipeline_sources() -> None:
    by_iam = rule(via="iam", issuer="", claims=PRINCIPAL, stages=["dev"])
    assert name_of(decide(gate(rules=[by_iam]), caller(), stage="dev")) == "orders"
    assert name_of(decide(gate(rules=[by_iam]), identity(), stage="dev")) is None


# Placement


def placement(function: str, stage: str, alias: str, protected: bool, max_age: int | None) -> Placement:
    """With the plainest rollout there is."""
    return Placement(
        function=function,
        stage=stage,
        alias=alias,
        target=TargetReference(name=None, account=None, region=None, role=None, external_id=None),
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


def test_a_placement_has_the_whole_rollout_with_its_alarms_own_names() -> None:
    full = gate(stages=[stage("dev"), stage("prod", alias="live", rollout=FULL)])
    placed = full.place("orders-api", "prod")
    assert placed is not None
    assert placed.steps == (TrafficStep(10, 300), TrafficStep(100, 0))
    assert placed.smoke == Smoke(10, payload='{"ping":true}', expect='"pong"')
    assert placed.watch == Watch(
        ("orders-api-live-prod-5xx",), (Limit(Metric.ERRORS, 100, 1.5, None),), unclear=Unclear.EXTEND
    )
    assert (placed.approval, placed.requires, placed.ordered) == (3600, "dev", True)


def test_an_alarms_placeholders_are_filled_in_once_and_equal_names_are_one() -> None:
    names = ["{function}", "{stage}", "orders-api", "{alias}"]
    watched = rollout(watch=WATCH | {"alarms": names, "limits": [], "unclear": "pass"})
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
