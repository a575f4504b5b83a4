"""gate.json: what is read from it, and what is refused."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.gate import codec
from sluicegate.gate.decoding import GateError
from sluicegate.gate.pruning import Prune
from sluicegate.gate.records import FORMAT
from sluicegate.oidc.identity import Feedback
from support.gate_documents import (
    CANARY,
    CORP,
    FULL,
    HOOK,
    LIMIT,
    OTHER,
    OWN,
    SMOKE,
    WATCH,
    claims,
    document,
    entry,
    gate,
    rollout,
    rule,
    stage,
    without,
)


def test_the_digest_is_of_the_bytes() -> None:
    data = json.dumps(document()).encode()
    assert codec.parse(data, own_functions=()).digest == hashlib.sha256(data).hexdigest()


def test_issuers_are_found_by_url() -> None:
    whole = document()
    whole["issuers"][0]["jwks"] = '{"keys": []}'
    loaded = gate(issuers=whole["issuers"])
    assert loaded.issuers[CORP].name == "corp"
    assert loaded.issuers[CORP].max_age == 3600
    assert loaded.issuers[CORP].jwks == b'{"keys": []}'
    assert loaded.issuers[OTHER].jwks is None
    assert loaded.stages["prod"].alias == "live"


def test_pruning_is_that_of_the_entry_which_applies_and_off_without_one() -> None:
    loaded = gate(functions=[entry(prune=PRUNE), entry("orders-api"), entry("orders-a*", prune=None)])
    assert loaded.prune("orders-web") == Prune(20, 5, 30 * 86_400)
    assert loaded.prune("orders-api") is None
    assert loaded.prune("payments") is None
    assert not any(loaded.prune(own) for own in OWN)


def test_an_issuers_feedback_is_read() -> None:
    corp, other = document()["issuers"]
    loaded = gate(issuers=[corp | {"feedback": FEEDBACK}, other])
    assert loaded.issuers[CORP].feedback == Feedback(
        "sluicegate/gitlab/corp", commit_status=True, deployment=False, merge_request_note=True
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
        codec.load(path, own_functions=())
    path.write_text(json.dumps(document()))
    assert codec.load(path, own_functions=OWN).own_functions == set(OWN)


ISSUER: dict[str, Any] = document()["issuers"][0]
FEEDBACK: dict[str, Any] = {
    "secret": "sluicegate/gitlab/corp",
    "commit_status": True,
    "deployment": False,
    "merge_request_note": True,
}
STAGE: dict[str, Any] = document()["stages"][0]
FUNCTION: dict[str, Any] = document()["functions"][0]
PRUNE: dict[str, Any] = {"keep": 20, "rollbacks": 5, "older_than": 30 * 86_400, "dry_run": False}
DENY: dict[str, Any] = {"issuer": CORP, "claims": {"jti": ["j1"]}}
WRONG: list[Any] = [None, {}, "x", 0, True, [None], [[]]]
NOTHINGS: list[Any] = [None, "", [], {}, 0, [1], [""]]
MALFORMED: list[Any] = [
    None,
    [],
    {},
    "x",
    document(format=FORMAT - 1),
    document(format=FORMAT + 1),
    document(format=str(FORMAT)),
    document(format=True),
    document(format=float(FORMAT)),
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
    *(
        document(functions=[FUNCTION | {key: v}])
        for key in FUNCTION
        for v in (*NOTHINGS[:3], 0)
        if (key, v) != ("prune", None)
    ),
    *(document(functions=[FUNCTION | {"prune": without(PRUNE, key)}]) for key in PRUNE),
    *(document(functions=[FUNCTION | {"prune": PRUNE | {key: v}}]) for key in PRUNE for v in NOTHINGS),
    document(functions=[FUNCTION | {"prune": PRUNE | {"more": 1}}]),
    document(functions=[FUNCTION | {"prune": PRUNE | {"keep": 1_001}}]),
    document(functions=[FUNCTION | {"prune": PRUNE | {"older_than": 86_399}}]),
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
    *(
        document(rules=[rule() | {key: v}])
        for key in rule()
        for v in NOTHINGS
        if (key, v) != ("limits", None)
    ),
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
        codec.parse(json.dumps(whole).encode(), own_functions=())


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (document(issuers=[ISSUER, ISSUER]), f"issuer '{CORP}' occurs twice"),
        (document(stages=[STAGE, STAGE], rules=[]), "stage 'dev' occurs twice"),
        (document(functions=[FUNCTION | {"alias": {"x": "y"}}]), "there is no stage 'x'"),
        (document(rules=[rule(issuer="x")]), "there is no issuer 'x'"),
        (document(rules=[rule(via="x")]), "Invalid enum value 'x' - at `$.rules[0].via`"),
        (document(rules=[rule(actions=["x"])]), "Invalid enum value 'x' - at `$.rules[0].actions[0]`"),
        (document(rules=[rule(stages=["x"])]), "there is no stage 'x'"),
        (document(deny=[DENY | {"issuer": "x"}]), "there is no issuer 'x'"),
        (
            document(deny=[DENY | {"claims": {"x": ["y"]}}]),
            "Invalid enum value 'x' - at `key` in `$.deny[0].claims`",
        ),
        (document(format=1), "build it again"),
        (document(rules=[rule(functions=["***"])]), "has three stars in a row"),
    ],
)
def test_the_refusal_says_why(whole: Any, why: str) -> None:
    with pytest.raises(GateError, match=re.escape(why)):
        codec.parse(json.dumps(whole).encode(), own_functions=())


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
    *((without(FULL, key), "missing required field") for key in FULL),
    (FULL | {"more": 1}, "unknown field `more`"),
    *((FULL | {"steps": value}, "Expected `array`, got") for value in each(None, {}, "x", 1, True)),
    *((FULL | {"steps": [value]}, "") for value in each(None, [], "x", step(None), step("100"), step(True))),
    *((FULL | {"steps": [without(CANARY[1], key)]}, "missing required field") for key in CANARY[1]),
    (FULL | {"steps": [step(100) | {"more": 1}]}, "unknown field `more`"),
    (FULL | {"steps": []}, "0 steps"),
    (FULL | {"steps": [step(99)]}, "last step must be 100 percent"),
    (FULL | {"steps": [step(100.0)]}, "steps[0].percent`"),
    (FULL | {"steps": [step(0), step(100)]}, "steps[0].percent`"),
    (FULL | {"steps": [step(101)]}, "steps[0].percent`"),
    (FULL | {"steps": [step(100, -1)]}, "steps[0].bake`"),
    (FULL | {"steps": [step(100, 604_801)]}, "steps[0].bake`"),
    (FULL | {"steps": [step(100, False)]}, "steps[0].bake`"),
    (FULL | {"steps": [step(10, 0), step(100)]}, "bake for at least a second"),
    (FULL | {"steps": [step(10, 1), step(10, 1), step(100)]}, "a higher percentage than the one before"),
    (FULL | {"steps": [*(step(i, 1) for i in range(1, 21)), step(100)]}, "21 steps"),
    *((FULL | {"smoke": value}, "Expected `object | null`, got") for value in each([], "x", 1, False)),
    *((FULL | {"smoke": without(SMOKE, key)}, "missing required field") for key in SMOKE),
    (FULL | {"smoke": SMOKE | {"more": None}}, "unknown field `more`"),
    *(
        (FULL | {"smoke": SMOKE | {"timeout": value}}, "smoke.timeout`")
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
            ({}, "smoke."),
            ("", "smoke."),
            ("{", "not JSON"),
            ("NaN", "not JSON"),
            ('{"a":1,"a":1}', "twice"),
            ('{"a": 1}', "compact"),
            (DEEP, "nested too deep"),
            (f'"{"x" * 16_383}"', "length <= 16384"),
            ('"é"', "compact"),
        )
    ),
    *(
        (FULL | {"smoke": HOOK | {"hook": value}}, "")
        for value in each("", 1, [], "a*", "a:1", "a\n", "a" * 65, "sluicegate-gateway")
    ),
    *((FULL | {"watch": value}, "Expected `object | null`, got") for value in each([], "x", 1, False)),
    *((FULL | {"watch": without(WATCH, key)}, "missing required field") for key in WATCH),
    (FULL | {"watch": WATCH | {"more": 1}}, "unknown field `more`"),
    *((FULL | {"watch": WATCH | {"unclear": value}}, "") for value in each(None, "", "x", 1, [])),
    *((FULL | {"watch": WATCH | {"alarms": value}}, "") for value in each(None, "x", {}, [""], [1], [None])),
    (FULL | {"watch": WATCH | {"alarms": ALARMS}}, "length <= 10"),
    (FULL | {"watch": WATCH | {"alarms": [], "limits": []}}, "a watch has neither alarms nor limits"),
    (FULL | {"watch": WATCH | {"alarms": ["{region}"]}}, "not a placeholder"),
    (FULL | {"watch": WATCH | {"alarms": ["{function"]}}, "not a placeholder"),
    (FULL | {"watch": WATCH | {"alarms": ["a" * 256]}}, "longer than 255"),
    *((FULL | {"watch": WATCH | {"limits": value}}, "") for value in each(None, "x", {}, [None], [[]], [{}])),
    *((FULL | {"watch": WATCH | {"limits": [without(LIMIT, key)]}}, "missing required") for key in LIMIT),
    (FULL | {"watch": WATCH | {"limits": [LIMIT | {"more": 1}]}}, "unknown field `more`"),
    (FULL | {"watch": WATCH | {"limits": [LIMIT, LIMIT]}}, "metric 'errors' occurs twice"),
    (FULL | {"watch": WATCH | {"limits": [LIMIT | {"most": None}]}}, "the metric errors has no limit"),
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
        (FULL | {"approval": value}, ".approval`")
        for value in each(0, 59, 1_209_601, 60.0, "1h", True, [])
    ),
    *((FULL | {"requires": value}, "") for value in each("", 1, [], "nowhere")),
    (FULL | {"requires": "prod"}, "the stage 'prod' requires itself"),
    *((FULL | {"ordered": value}, ".ordered`") for value in each(None, 0, 1, "pipeline", [])),
]  # fmt: skip


def test_what_is_tampered_with_was_sound() -> None:
    for whole in (*placed_in(FULL), *placed_in(FULL | {"smoke": HOOK, "approval": 60})):
        codec.parse(json.dumps(whole).encode(), own_functions=OWN)
    for key in ("smoke", "watch", "approval", "requires"):
        gate(functions=[entry(rollout={"prod": FULL | {key: None}})])


@pytest.mark.parametrize(("value", "why"), TAMPERED)
def test_a_rollout_that_was_tampered_with_is_refused(value: Any, why: str) -> None:
    for whole in placed_in(value):
        with pytest.raises(GateError, match=rf"gate\.json: .*{re.escape(why)}"):
            codec.parse(json.dumps(whole).encode(), own_functions=OWN)


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
    with pytest.raises(GateError, match="rule 'orders' grants approve without pinning"):
        gate(rules=[rule(actions=["deploy", "approve"], claims=asked)])


def test_a_second_is_the_shortest_limit() -> None:
    assert gate(issuers=[ISSUER | {"max_age": 1}]).issuers[CORP].max_age == 1


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"format": 1, "format": 1}', b"[" * 100, b"NaN"])
def test_what_is_no_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(GateError, match=r"gate\.json"):
        codec.parse(data, own_functions=())


@given(st.binary())
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(GateError):
        codec.parse(data, own_functions=())


def test_the_sound_parts_of_the_malformed_ones_are_sound() -> None:
    gate(functions=[FUNCTION], deny=[DENY])
