"""The rollout keys of the gate file: what they come to, how overrides merge, and what is wrong where."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, Smoke, TrafficStep, Unclear, Watch
from sluicegate.gate.model import Placement
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile.compile import Report
from sluicegate_gatefile.overrides import merged

FILE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  test: {TEST}
  prod: {PROD}
functions:
  orders-*: {ENTRY}
rules:
  - name: orders
    claims: {project_id: "4213"}
    allow: {actions: [ACTIONS], functions: [orders-*], stages: [dev, test, prod]}
"""
APPROVERS = """\
  - name: people
    claims: {project_id: "4213", ref_protected: "true", pipeline_source: web, user_id: "8"}
    allow: {actions: [approve], APPROVERS}
"""
LINE, OVERRIDE = 7, 9  # of `prod`, and of the entry

Check = Callable[..., Report]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def check(prod: str = "", entry: str = "", test: str = "", actions: str = "deploy") -> Report:
        path = tmp_path / "sluicegate.yaml"
        text = FILE.replace("TEST", test).replace("PROD", prod).replace("ACTIONS", actions)
        path.write_text(text.replace("ENTRY", f"stages: {{prod: {{{entry}}}}}" if entry else ""))
        return gatefile.check(path)

    return check


def placed(report: Report, function: str = "orders-api", stage: str = "prod") -> Placement:
    assert report.gate is not None, report.diagnostics
    placement = report.gate.place(function, stage)
    assert placement is not None
    return placement


def found(report: Report) -> list[tuple[int, int, str, str]]:
    return [(d.line, d.column, d.severity, d.code) for d in report.diagnostics]


def at(before: str, line: int = LINE) -> int:
    """The column of what comes after `before`, the first that the stage or the entry's override has."""
    return len("  prod: {" if line == LINE else "  orders-*: {stages: {prod: {") + len(before) + 1


def one_error(report: Report, line: int, code: str) -> str:
    """The message of the only finding, which must be there."""
    [diagnostic] = report.diagnostics
    assert (diagnostic.line, diagnostic.severity, diagnostic.code) == (line, "error", code)
    assert report.gate is None
    assert report.document is None
    return diagnostic.message


# What the keys come to


def test_without_keys_a_rollout_is_all_at_once(check: Check) -> None:
    placement = placed(check())
    assert placement.steps == ALL_AT_ONCE
    assert (placement.smoke, placement.watch, placement.approval, placement.requires) == (None,) * 4
    assert not placement.ordered


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        ("{type: all-at-once}", ((100, 0),)),
        ("{type: all-at-once, bake: 5m}", ((100, 300),)),
        ("{type: canary, percent: 10, bake: 5m}", ((10, 300), (100, 0))),
        ("{type: canary, percent: 99, bake: 7d}", ((99, 604_800), (100, 0))),
        ("{type: linear, percent: 40, every: 3m}", ((40, 180), (80, 180), (100, 0))),
        (
            "{type: steps, steps: [{percent: 5, bake: 1m}, {percent: 50, bake: 10m}, {percent: 100}]}",
            ((5, 60), (50, 600), (100, 0)),
        ),
        ("{type: steps, steps: [{percent: 100, bake: 1h}]}", ((100, 3600),)),
    ],
)
def test_a_strategy_comes_to_steps(check: Check, strategy: str, steps: tuple[tuple[int, int], ...]) -> None:
    report = check(f"strategy: {strategy}")
    assert report.diagnostics == ()
    assert placed(report).steps == tuple(TrafficStep(*step) for step in steps)


@pytest.mark.parametrize(
    ("smoke", "value"),
    [
        ("{payload: {ping: true}}", Smoke(10, payload='{"ping":true}')),
        ("{payload: {ping: true}, expect: {status: ok}}", Smoke(10, '{"ping":true}', '{"status":"ok"}')),
        ("{expect: ok, timeout: 1m}", Smoke(60, "{}", '"ok"')),
        ("{payload: null, timeout: 1s}", Smoke(1, "null")),
        ("{payload: [], expect: null}", Smoke(10, "[]", "null")),
        ("{hook: check-it, timeout: 30s}", Smoke(30, hook="check-it")),
        ("{hook: check-it}", Smoke(10, hook="check-it")),
    ],
)
def test_a_smoke_test_is_a_payload_or_a_hook(check: Check, smoke: str, value: Smoke) -> None:
    report = check(f"smoke: {smoke}")
    assert report.diagnostics == ()
    assert placed(report).smoke == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", "1"),
        ("-1.50", "-1.5"),
        ("2e3", "2000.0"),
        ("0", "0"),
        ('"1"', '"1"'),
        ("true", "true"),
        ('"true"', '"true"'),
        ("null", "null"),
        ("plain text", '"plain text"'),
        ("é", r'"\u00e9"'),
        ('"\\x07"', r'"\u0007"'),
        ("{b: 1, a: [x, {}, []]}", '{"b":1,"a":["x",{},[]]}'),
        ("v1.2.3", '"v1.2.3"'),
    ],
)
def test_a_payload_is_any_json_in_its_own_order(check: Check, value: str, text: str) -> None:
    smoke = placed(check(f"smoke: {{payload: {value}, expect: {value}}}")).smoke
    assert smoke == Smoke(10, text, text)
    json.loads(text)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("0x10", "unquoted"),
        ("010", "unquoted"),
        ("1_000", "unquoted"),
        ("+1", "unquoted"),
        (".5", "unquoted"),
        ("1.", "unquoted"),
        (".inf", "unquoted"),
        ("1e999", "unquoted"),
        ("12:30:45", "unquoted"),
        ("yes", "unquoted"),
        ("True", "unquoted"),
        ("2025-01-01", "unquoted"),
        ("1" * 19, "unquoted"),
        ("~", "type"),
        ("", "type"),
        ("NULL", "type"),
        ('"' + "x" * 16_383 + '"', "value"),
        ("{1: x}", "unquoted"),
        ("[*a]", "anchor"),
        ("[" * 14 + "]" * 14, "depth"),
    ],
)
def test_what_json_spells_otherwise_is_an_error_with_its_place(check: Check, value: str, code: str) -> None:
    for key in ("payload", "expect"):
        report = check(f"smoke: {{{key}: {value}}}")
        one_error(report, LINE, code)
        if code not in ("depth", "anchor") and value and value[0] not in "[{":
            assert report.diagnostics[0].column == at(f"smoke: {{{key}: ")


def test_a_payload_of_16_kib_is_fine(check: Check) -> None:
    assert check(f'smoke: {{payload: "{"x" * 16_382}"}}').ok


def test_a_watch_comes_to_alarms_and_limits(check: Check) -> None:
    report = check(
        'strategy: {type: canary, percent: 10, bake: 5m}, alias: live, watch: {alarms: ["{function}-5xx", '
        '"{stage}/{alias}"], errors: {max_percent: 1, max_ratio: 2, min_samples: 200}, '
        "throttles: {max_percent: 9, max_ratio: 1.25}, duration_p95: {max_ms: 800.5}, unclear: extend}"
    )
    assert report.diagnostics == ()
    assert placed(report).watch == Watch(
        alarms=("orders-api-5xx", "prod/live"),
        limits=(
            Limit(Metric.ERRORS, 200, 1.0, 2.0),
            Limit(Metric.THROTTLES, 100, 9, 1.25),
            Limit(Metric.DURATION_P95, 100, 800.5, None),
        ),
        unclear=Unclear.EXTEND,
    )


@pytest.mark.parametrize("unclear", [*Unclear])
def test_no_data_is_one_of_three_words(check: Check, unclear: Unclear) -> None:
    report = check(f"strategy: {{type: all-at-once, bake: 5m}}, watch: {{alarms: [x], unclear: {unclear}}}")
    assert placed(report).watch == Watch(("x",), unclear=unclear)


@pytest.mark.parametrize(
    ("approval", "seconds"), [("{}", 86_400), ("{expires: 1m}", 60), ("{expires: 14d}", 1_209_600)]
)
def test_an_approval_expires(check: Check, approval: str, seconds: int) -> None:
    assert placed(check(f"approval: {approval}")).approval == seconds


def test_a_stage_can_require_another_and_be_in_order(check: Check) -> None:
    report = check("requires: {succeeded_in: test}, order: pipeline", test="requires: {succeeded_in: dev}")
    placement = placed(report)
    assert (placement.requires, placement.ordered) == ("test", True)


# What is wrong, and where


@pytest.mark.parametrize(
    ("before", "after", "code", "hint"),
    [
        ("strategy: {type: canary, percent: ", '"10", bake: 5m}', "type", "without quotes"),
        ("strategy: ", "{}", "missing_key", "the key `type` is missing"),
        ("strategy: ", "canary", "type", "expected a mapping"),
        ("strategy: {type: ", "canry, percent: 10, bake: 5m}", "value", "did you mean `canary`?"),
        ("", "strategy: {type: canary, percent: 10}", "missing_key", "`canary` needs `bake`"),
        ("", "strategy: {type: canary, bake: 5m}", "missing_key", "`canary` needs `percent`"),
        ("", "strategy: {type: linear, percent: 10}", "missing_key", "`linear` needs `every`"),
        ("", "strategy: {type: steps}", "missing_key", "`steps` needs `steps`"),
        ("strategy: {type: canary, percent: 10, bake: 5m, every: ", "2m}", "key",
         "does not belong to `canary`, which has `type`, `percent`, `bake`"),
        ("strategy: {type: linear, percent: 10, every: 5m, bake: ", "2m}", "key", "not belong to `linear`"),
        ("strategy: {type: all-at-once, percent: ", "10}", "key", "does not belong to `all-at-once`"),
        ("strategy: {type: all-at-once, ", "steps: [{percent: 100}]}", "key", "does not belong"),
        ("strategy: {type: steps, steps: [{percent: 100}], percent: ", "5}", "key", "not belong to `steps`"),
        ("strategy: {type: canary, percent: ", "0, bake: 5m}", "value", "a whole number from 1 to 99"),
        ("strategy: {type: canary, percent: ", "100, bake: 5m}", "value", "a whole number from 1 to 99"),
        ("strategy: {type: canary, percent: ", "1.5, bake: 5m}", "type", "write a whole number from 1 to 99"),
        ("strategy: {type: canary, percent: ", "010, bake: 5m}", "type", "without quotes"),
        ("strategy: {type: canary, percent: ", "0x10, bake: 5m}", "type", "without quotes"),
        ("strategy: {type: canary, percent: ", "-1, bake: 5m}", "type", "without quotes"),
        ("strategy: {type: canary, percent: ", "10%, bake: 5m}", "type", "without quotes"),
        ("strategy: {type: canary, percent: ", "[], bake: 5m}", "type", "without quotes"),
        ("strategy: {type: canary, percent: 10, bake: ", "8d}", "duration", "from 1s to 7d"),
        ("strategy: {type: canary, percent: 10, bake: ", "0s}", "duration", "from 1s to 7d"),
        ("strategy: {type: canary, percent: 10, bake: ", "5}", "type", 'such as "5m"'),
        ("", "strategy: {type: linear, percent: 1, every: 2m}", "strategy", "this makes 100 steps"),
        ("strategy: {type: steps, steps: ", "[]}", "value", "name at least one"),
        ("strategy: {type: steps, steps: [", "{bake: 5m}]}", "missing_key", "`percent`"),
        ("strategy: {type: steps, steps: [{percent: ", "101}]}", "value", "from 1 to 100"),
        ("", "strategy: {type: steps, steps: [{percent: 5, bake: 1m}]}", "strategy", "last step must be 100"),
        ("", "strategy: {type: steps, steps: [{percent: 5}, {percent: 100}]}", "strategy", "least a second"),
        ("", "strategy: {type: steps, steps: [{percent: 5, bake: 1m}, {percent: 5}, {percent: 100}]}",
         "strategy", "a higher percentage than the one before"),
        ("", "smoke: {}", "smoke", "give a `payload`, `expect` or a `hook`"),
        ("", "smoke: {timeout: 5s}", "smoke", "nothing is invoked"),
        ("smoke: ", "none", "type", "expected a mapping"),
        ("smoke: {payload: 1, hook: ", "f}", "smoke", "remove either `hook`, or `payload` and `expect`"),
        ("smoke: {expect: 1, hook: ", "f}", "smoke", "a hook decides by itself"),
        ("smoke: {hook: ", "'f*'}", "value", "a function's name"),
        ("smoke: {hook: ", "'arn:aws:lambda'}", "value", "a function's name"),
        ("smoke: {hook: ", "sluicegate-gateway}", "smoke", "a function of Sluicegate itself"),
        ("smoke: {payload: 1, timeout: ", "61s}", "duration", "from 1s to 1m"),
        ("smoke: {payload: 1, timeout: ", "0s}", "duration", "from 1s to 1m"),
        ("smoke: {payload: 1, ", "retries: 2}", "unknown_key", "known keys"),
        ("", "watch: {}", "watch", "give one of `alarms`, `errors`, `throttles`, `duration_p95`"),
        ("", "watch: {alarms: []}", "watch", "nothing is watched"),
        ("", "watch: {unclear: fail}", "watch", "nothing is watched"),
        ("watch: {alarms: [x], unclear: ", "ignore}", "value", "not one of `pass`, `fail`, `extend`"),
        ("watch: {", "errors: {}}", "watch", "give `max_percent`, `max_ratio` or both"),
        ("watch: {", "throttles: {min_samples: 5}}", "watch", "`throttles` has no maximum"),
        ("watch: {", "duration_p95: {}}", "watch", "give `max_ms`, `max_ratio` or both"),
        ("watch: {errors: {", "max_ms: 5}}", "unknown_key", "known keys: max_percent"),
        ("watch: {duration_p95: {", "max_percent: 5}}", "unknown_key", "no key `max_percent`"),
        ("watch: {errors: {max_percent: ", "0}}", "value", "from 0.001 to 100"),
        ("watch: {errors: {max_percent: ", "101}}", "value", "from 0.001 to 100"),
        ("watch: {errors: {max_percent: ", '"1"}}', "type", "without quotes"),
        ("watch: {errors: {max_percent: ", "1e1}}", "type", "without quotes"),
        ("watch: {errors: {max_percent: ", "0.0001}}", "type", "at most three decimals"),
        ("watch: {errors: {max_ratio: ", "0.9}}", "value", "from 1 to 1000"),
        ("watch: {errors: {max_ratio: 2, min_samples: ", "0}}", "value", "a whole number from 1 to 1000000"),
        ("watch: {errors: {max_ratio: 2, min_samples: ", "1.5}}", "type", "a whole number"),
        ("watch: {duration_p95: {max_ms: ", "0}}", "value", "from 0.001 to 900000"),
        ("watch: {alarms: ", "[a, b, c, d, e, f, g, h, i, j, k]}", "value", "the limit is 10"),
        ("watch: {alarms: ", "x}", "type", "expected a list"),
        ("watch: {alarms: [a, ", "'{function}-{region}']}", "value", "`{function}`, `{stage}` and `{alias}`"),
        ("watch: {alarms: [a, ", "'{function']}", "value", "not a placeholder"),
        ("watch: {alarms: [a, ", "'{{function}}']}", "value", "not a placeholder"),
        ("watch: {alarms: [a, ", f"{'a' * 256}]}}", "value", "longer than 255"),
        ("watch: {alarms: [a, ", f"'{{function}}{'a' * 192}']}}", "watch", "shorten it"),
        ("approval: {expires: ", "59s}", "duration", "from 1m to 14d"),
        ("approval: {expires: ", "15d}", "duration", "from 1m to 14d"),
        ("approval: {", "by: ada}", "unknown_key", "known keys: expires"),
        ("requires: ", "{}", "missing_key", "`succeeded_in`"),
        ("requires: ", "dev", "type", "expected a mapping"),
        ("requires: {succeeded_in: ", "tset}", "stage", "did you mean `test`?"),
        ("", "requires: {succeeded_in: prod}", "requires", "`prod` requires itself: nothing"),
        ("order: ", "none", "value", "not one of `pipeline`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error_with_its_place(
    check: Check, before: str, after: str, code: str, hint: str
) -> None:
    report = check(f"{before}{after}")
    [error] = [d for d in report.diagnostics if d.severity == "error"]
    assert (error.line, error.column, error.code) == (LINE, at(before), code)
    assert hint in error.message
    assert report.gate is None


def test_several_errors_are_told_at_once(check: Check) -> None:
    report = check("strategy: {type: canary, every: 2m}, smoke: {}, requires: {succeeded_in: x}")
    codes = [d.code for d in report.diagnostics]
    assert codes == ["missing_key", "missing_key", "key", "smoke", "stage"]


def test_stages_cannot_require_one_another_in_a_circle(check: Check) -> None:
    report = check("requires: {succeeded_in: test}", test="requires: {succeeded_in: prod}")
    message = one_error(report, LINE - 1, "requires")
    assert "`test` requires `prod`, which requires `test`: nothing could be deployed there" in message


# Warnings


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ("watch: {alarms: [x]}", "nothing to watch in: give it a `bake`; alarms are still"),
        ("watch: {errors: {max_percent: 2}}", "give it a `bake`"),
        ("strategy: {type: all-at-once}, watch: {alarms: [x]}", "never bakes"),
        ("strategy: {type: steps, steps: [{percent: 100}]}, watch: {alarms: [x]}", "never bakes"),
        ("strategy: {type: canary, percent: 9, bake: 179s}, watch: {errors: {max_percent: 2}}", "of 179s"),
        ("strategy: {type: linear, percent: 50, every: 2m}, watch: {errors: {max_percent: 2}}", "of 2m"),
        ("strategy: {type: canary, percent: 9, bake: 3m}, watch: {errors: {max_percent: 2}}", None),
        ("strategy: {type: canary, percent: 9, bake: 1m}, watch: {alarms: [x]}", None),
        ("strategy: {type: all-at-once, bake: 5m}, watch: {alarms: [x]}", None),
        ("strategy: {type: canary, percent: 9, bake: 1m}", None),
    ],
)  # fmt: skip
def test_a_watch_that_sees_little_is_warned_of(check: Check, keys: str, hint: str | None) -> None:
    report = check(keys)
    assert report.ok
    if hint is None:
        assert report.diagnostics == ()
    else:
        assert found(report) == [(LINE, at(keys[: keys.index("watch")]), "warning", "watch")]
        assert hint in report.diagnostics[0].message
        assert ("alarms" in report.diagnostics[0].message) is ("alarms" in keys)


@pytest.mark.parametrize(
    ("percent", "expression", "warned"),
    [(9, "a * 2", True), (34, "a * 2", True), (35, "a * 2", False), (66, "a * 2", True), (9, "a/b", False)],
)
def test_values_that_are_compared_at_an_uneven_share_are_warned_of(
    check: Check, percent: int, expression: str, warned: bool
) -> None:
    one = "{namespace: N, metric: M, stat: Sum, dimensions: {Version: '{version}'}}"
    sources = f"{{a: {one}, b: {one}}}" if "b" in expression else f"{{a: {one}}}"
    metric = f"{{name: m, metrics: {sources}, expression: '{expression}', max: 1, max_ratio: 2}}"
    report = check(
        f"strategy: {{type: canary, percent: {percent}, bake: 9m}}, watch: {{metrics: [{metric}]}}"
    )
    assert report.ok
    assert [one.code for one in report.diagnostics] == (["uneven"] if warned else [])


@pytest.mark.parametrize(
    ("limit", "maximum"),
    [
        ("errors: {max_ratio: 2}", "max_percent"),
        ("throttles: {max_ratio: 2, min_samples: 5}", "max_percent"),
        ("duration_p95: {max_ratio: 2}", "max_ms"),
    ],
)
def test_a_limit_that_has_only_a_ratio_is_warned_of(check: Check, limit: str, maximum: str) -> None:
    """Without requests of the old version there is nothing to compare with."""
    report = check(f"strategy: {{type: canary, percent: 9, bake: 9m}}, watch: {{{limit}}}")
    assert report.ok
    [diagnostic] = report.diagnostics
    assert (diagnostic.severity, diagnostic.code) == ("warning", "watch")
    assert f"give `{maximum}` too" in diagnostic.message


@pytest.mark.parametrize(
    ("actions", "approvers", "warned"),
    [
        ("deploy", "stages: [prod], functions: [orders-*]", False),
        ("deploy", "stages: [prod], functions: [orders-api]", False),
        ("deploy", "stages: [dev, test], functions: [orders-*]", True),
        ("promote", "stages: [prod], functions: [billing]", True),
        ("deploy", None, True),
        ("read, rollback", None, False),  # nothing there waits for an approval
    ],
)
def test_an_approval_that_nobody_can_give_is_warned_of(
    tmp_path: Path, actions: str, approvers: str | None, warned: bool
) -> None:
    text = FILE.replace("TEST", "").replace("ENTRY", "").replace("ACTIONS", actions)
    text = text.replace("PROD", "approval: {}").replace("functions:\n", "functions:\n  billing: {}\n", 1)
    if approvers:
        text += APPROVERS.replace("APPROVERS", approvers)
    (tmp_path / "sluicegate.yaml").write_text(text)
    report = gatefile.check(tmp_path / "sluicegate.yaml")
    assert found(report) == ([(LINE, at(""), "warning", "approval")] if warned else [])
    assert all("nobody can approve `orders-*` in `prod`" in d.message for d in report.diagnostics)
    assert report.ok


@pytest.mark.parametrize(
    ("actions", "prod", "warned"),
    [
        ("deploy, rollback", "approval: {}", True),
        ("promote, rollback", "approval: {}", True),
        ("deploy, rollback", "", False),
        ("rollback, abort", "approval: {}", False),
        ("deploy", "approval: {}", False),
    ],
)
def test_a_rule_that_needs_no_approval_to_go_back_is_warned_of(
    check: Check, actions: str, prod: str, warned: bool
) -> None:
    report = check(prod=prod, actions=actions)
    places = [d.line for d in report.diagnostics if d.code == "rollback"]
    assert places == ([13] if warned else [])
    assert report.ok


def test_an_overrides_approval_is_warned_of_where_it_is(check: Check) -> None:
    assert found(check(entry="approval: {}")) == [(OVERRIDE, at("", OVERRIDE), "warning", "approval")]


@pytest.mark.parametrize("key", ["approval", "requires", "smoke", "watch"])
def test_taking_care_away_from_a_protected_stage_is_warned_of(check: Check, key: str) -> None:
    keys = (
        "approval: {}, requires: {succeeded_in: dev}, smoke: {payload: 1}, watch: {alarms: [a]},"
        " strategy: {type: canary, percent: 10, bake: 10m}, order: pipeline"
    )

    def weaker(protected: str, entry: str) -> list[tuple[int, int, str]]:
        found = check(f"{protected}{keys}", entry).diagnostics
        return [(d.line, d.column, d.severity) for d in found if d.code == "weaker"]

    assert weaker("protected: true, ", f"{key}: none") == [(OVERRIDE, at(f"{key}: ", OVERRIDE), "warning")]
    assert weaker("", f"{key}: none") == []
    assert weaker("protected: true, ", "order: none") == []
    assert weaker("protected: true, ", "smoke: {payload: 2}, watch: {alarms: [b]}") == []
    assert weaker("protected: true, ", "approval: {expires: 1h}, requires: {succeeded_in: test}") == []


@pytest.mark.parametrize(
    ("strategy", "override", "lost"),
    [
        ("{type: canary, percent: 10, bake: 10m}", "{type: all-at-once}", "steps of less than all traffic"),
        (
            "{type: canary, percent: 10, bake: 10m}",
            "{type: all-at-once, bake: 1h}",
            "steps of less than all traffic",
        ),
        ("{type: linear, percent: 10, every: 5m}", "{type: all-at-once}", "steps of less than all traffic"),
        ("{type: all-at-once, bake: 10m}", "{type: steps, steps: [{percent: 100}]}", "bake"),
        ("{type: canary, percent: 10, bake: 10m}", "{percent: 50}", None),
        ("{type: canary, percent: 10, bake: 10m}", "{type: linear, percent: 50, every: 1h}", None),
        ("{type: all-at-once}", "{type: canary, percent: 10, bake: 10m}", None),
    ],
)
def test_taking_the_canary_from_a_protected_stage_is_warned_of(
    check: Check, strategy: str, override: str, lost: str | None
) -> None:
    report = check(f"protected: true, strategy: {strategy}", f"strategy: {override}")
    found = [d for d in report.diagnostics if d.code == "weaker"]
    assert [(d.line, d.severity) for d in found] == ([(OVERRIDE, "warning")] if lost else [])
    assert all(f"this removes its {lost}:" in d.message for d in found)
    assert "weaker" not in [
        d.code for d in check(f"strategy: {strategy}", f"strategy: {override}").diagnostics
    ]


def test_taking_away_what_is_not_there_is_no_weakening(check: Check) -> None:
    report = check("protected: true", "approval: none, requires: none, smoke: none, watch: none, order: none")
    assert "weaker" not in [d.code for d in report.diagnostics]


# Overrides


def test_maps_merge_and_lists_replace() -> None:
    watch = {"alarms": ["a"], "errors": {"max_ratio": 2.0, "min_samples": 5}}
    below = {"watch": watch, "approval": {"expires": 60}}
    above = {"watch": {"alarms": ["b", "c"], "errors": {"min_samples": 9}}}
    assert merged(below, above) == {
        "watch": {"alarms": ["b", "c"], "errors": {"max_ratio": 2.0, "min_samples": 9}},
        "approval": {"expires": 60},
    }
    assert watch == {"alarms": ["a"], "errors": {"max_ratio": 2.0, "min_samples": 5}}


STAGE = (
    "alias: live, strategy: {type: canary, percent: 10, bake: 5m}, approval: {expires: 1h}, order: pipeline, "
    "smoke: {payload: {a: 1, b: 2}, expect: 1, timeout: 20s}, requires: {succeeded_in: test}, "
    'watch: {alarms: [a, b], errors: {max_percent: 5, max_ratio: 2, min_samples: 200}, unclear: fail}'
)  # fmt: skip
ERRORS = Limit(Metric.ERRORS, 200, 5, 2.0)


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("strategy: {percent: 20}", "steps", (TrafficStep(20, 300), TrafficStep(100, 0))),
        ("strategy: {type: canary, bake: 9m}", "steps", (TrafficStep(10, 540), TrafficStep(100, 0))),
        ("strategy: {type: all-at-once}", "steps", ALL_AT_ONCE),
        (
            "strategy: {type: linear, percent: 50, every: 4m}",
            "steps",
            (TrafficStep(50, 240), TrafficStep(100, 0)),
        ),
        ("strategy: {}", "steps", (TrafficStep(10, 300), TrafficStep(100, 0))),
        ("smoke: {timeout: 5s}", "smoke", Smoke(5, '{"a":1,"b":2}', "1")),
        ("smoke: {payload: {a: 3}}", "smoke", Smoke(20, '{"a":3}', "1")),  # a value, not settings
        ("smoke: {expect: 2}", "smoke", Smoke(20, '{"a":1,"b":2}', "2")),
        ("smoke: {hook: check}", "smoke", Smoke(10, hook="check")),
        ("smoke: none", "smoke", None),
        ("watch: {alarms: ['{alias}']}", "watch", Watch(("live",), (ERRORS,), unclear=Unclear.FAIL)),
        (
            "watch: {alarms: ['{alias}']}, alias: blue",
            "watch",
            Watch(("blue",), (ERRORS,), unclear=Unclear.FAIL),
        ),
        ("watch: {alarms: []}", "watch", Watch((), (ERRORS,), unclear=Unclear.FAIL)),
        ("watch: {unclear: pass}", "watch", Watch(("a", "b"), (ERRORS,), unclear=Unclear.PASS)),
        (
            "watch: {errors: {max_percent: 1}, throttles: {max_percent: 2}}",
            "watch",
            Watch(
                ("a", "b"),
                (Limit(Metric.ERRORS, 200, 1.0, 2.0), Limit(Metric.THROTTLES, 100, 2.0, None)),
                unclear=Unclear.FAIL,
            ),
        ),
        ("watch: none", "watch", None),
        ("approval: {}", "approval", 3600),
        ("approval: {expires: 2h}", "approval", 7200),
        ("approval: none", "approval", None),
        ("requires: {succeeded_in: dev}", "requires", "dev"),
        ("requires: none", "requires", None),
        ("order: none", "ordered", False),
        ("order: pipeline", "ordered", True),
    ],
)
def test_an_override_changes_what_it_names_and_nothing_else(
    check: Check, override: str, field: str, value: object
) -> None:
    report = check(STAGE, override, actions="deploy")
    plain, changed = placed(check(STAGE)), placed(report)
    assert getattr(changed, field) == value
    for other in {"steps", "smoke", "watch", "approval", "requires", "ordered"} - {field}:
        assert getattr(changed, other) == getattr(plain, other)


def test_a_hook_gives_way_to_a_payload_as_a_whole(check: Check) -> None:
    hooked = "smoke: {hook: check, timeout: 30s}"
    assert placed(check(hooked, "smoke: {payload: 1}")).smoke == Smoke(10, "1")
    assert placed(check(hooked, "smoke: {expect: 1}")).smoke == Smoke(10, "{}", "1")
    assert placed(check(hooked, "smoke: {timeout: 5s}")).smoke == Smoke(5, hook="check")


def test_overrides_add_what_the_stage_has_not(check: Check) -> None:
    report = check(entry="strategy: {bake: 5m}, smoke: {expect: 1}, watch: {alarms: [x]}, order: pipeline")
    assert report.diagnostics == ()
    placement = placed(report)
    assert placement.steps == (TrafficStep(100, 300),)
    assert placement.smoke == Smoke(10, "{}", "1")
    assert placement.watch == Watch(("x",))
    assert placement.ordered
    assert placed(report, stage="test").steps == ALL_AT_ONCE


@pytest.mark.parametrize(
    ("stage", "before", "after", "code", "hint"),
    [
        ("", "strategy: {percent: ", "10}", "key", "does not belong to `all-at-once`"),
        ("", "", "strategy: {type: canary, percent: 10}", "missing_key", "needs `bake`"),
        (STAGE, "strategy: {every: ", "5m}", "key", "does not belong to `canary`"),
        (STAGE, "", "strategy: {type: linear, every: 5m}", "missing_key", "needs `percent`"),
        ("strategy: {type: linear, percent: 9, every: 5m}", "", "strategy: {percent: 1}", "strategy", "100"),
        ("", "", "smoke: {timeout: 5s}", "smoke", "nothing is invoked"),
        (STAGE, "smoke: {hook: ", "sluicegate-janitor}", "smoke", "of Sluicegate itself"),
        ("", "", "watch: {unclear: fail}", "watch", "nothing is watched"),
        ("strategy: {type: all-at-once, bake: 5m}, watch: {alarms: [x]}", "", "watch: {alarms: []}", "watch",
         "nothing is watched"),
        (STAGE, "watch: {", "throttles: {min_samples: 5}}", "watch", "no maximum"),
        ("requires: {succeeded_in: dev}", "", "requires: {succeeded_in: prod}", "requires", "`prod`"),
        (STAGE, "requires: {succeeded_in: ", "x}", "stage", "no stage `x`"),
        (f"strategy: {{type: all-at-once, bake: 5m}}, watch: {{alarms: ['{{alias}}{'a' * 190}']}}", None,
         f"alias: {'b' * 128}", "watch", "shorten it"),
    ],
)  # fmt: skip
def test_what_is_wrong_after_merging_is_told_at_the_override(
    check: Check, stage: str, before: str | None, after: str, code: str, hint: str
) -> None:
    report = check(stage, f"{before or ''}{after}")
    [error] = [d for d in report.diagnostics if d.severity == "error"]
    assert (error.line, error.code) == (OVERRIDE, code)
    assert hint in error.message
    if before is None:  # nothing of the override is at fault by itself: its stage is
        assert error.column == len("  orders-*: {stages: {") + 1
    else:
        assert error.column == at(before, OVERRIDE)


def test_an_override_that_closes_a_circle_is_told_there(check: Check) -> None:
    report = check(
        "requires: {succeeded_in: test}", "order: pipeline}, test: {requires: {succeeded_in: prod}"
    )
    assert "`test` requires `prod`, which" in one_error(report, OVERRIDE, "requires")


def test_an_override_can_open_a_circle(check: Check) -> None:
    """The stages' own circle stays an error, of the stages."""
    own = check("requires: {succeeded_in: test}", "requires: none", test="requires: {succeeded_in: prod}")
    one_error(own, LINE - 1, "requires")
    crossed = check(
        "requires: {succeeded_in: test}", "requires: none}, test: {requires: {succeeded_in: prod}"
    )
    assert crossed.ok
    assert placed(crossed, stage="test").requires == "prod"


@pytest.mark.parametrize(
    ("stage", "override", "before"),
    [
        ("", "watch: {alarms: [x]}", ""),
        (
            "strategy: {type: all-at-once, bake: 5m}, watch: {alarms: [x]}",
            "strategy: {type: steps, steps: [{percent: 100}]}",
            "",
        ),
        (STAGE, "approval: none, strategy: {bake: 1m}", "approval: none, "),
    ],
)
def test_a_watch_that_an_override_blinds_is_warned_of_there(
    check: Check, stage: str, override: str, before: str
) -> None:
    report = check(stage, override)
    assert found(report) == [(OVERRIDE, at(before, OVERRIDE), "warning", "watch")]


def test_an_override_that_says_nothing_new_is_not_kept(check: Check) -> None:
    report = check(STAGE, "approval: {expires: 1h}, alias: blue")
    assert report.document is not None
    [entry] = json.loads(report.document)["functions"]
    assert entry == {
        "pattern": "orders-*",
        "prune": None,
        "alias": {"prod": "blue"},
        "max_age": {},
        "rollout": {},
    }
