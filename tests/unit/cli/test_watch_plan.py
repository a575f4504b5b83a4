"""`sluicegate watch-plan`: what a stage's watch would see, from simulated rollouts."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli_running import Ended, Run

GATE = """
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  alarms: {watch: {alarms: [orders-5xx]}, strategy: {type: canary, percent: 10, bake: 30m}}
  at-once: {watch: {errors: {max_ratio: 2}}, strategy: {type: all-at-once, bake: 30m}}
  prod:
    strategy: {type: canary, percent: 10, bake: 30m}
    watch: {errors: {max_ratio: 2, min_samples: 50}}
  slow:
    strategy: {type: steps, steps: [{percent: 10, bake: 10m}, {percent: 50, bake: 5m}, {percent: 100}]}
    watch: {errors: {max_ratio: 2, max_percent: 5}, duration_p95: {max_ratio: 1.5}}
functions:
  orders-*: {}
rules:
  - name: main
    claims: {project_id: "4213", ref_type: branch, ref: main, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev, alarms, at-once, prod, slow]}
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE)
    return path


def plan(
    run: Run, gate: Path, stage: str, *options: str, requests: str = "200/min", errors: str = "1%"
) -> Ended:
    given = ("--requests", requests, "--errors", errors, "--gate", str(gate), "--runs", "20", *options)
    return run("watch-plan", "orders-api", stage, *given)


def planned(run: Run, gate: Path, stage: str, *options: str, **traffic: str) -> dict[str, Any]:
    ended = plan(run, gate, stage, "--json", *options, **traffic)
    assert (ended.code, ended.err) == (0, "")
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_it_says_what_each_step_gets_and_how_likely_which_version_goes_back(run: Run, gate: Path) -> None:
    found = planned(run, gate, "prod")
    assert [(step["percent"], step["requests"], step["old_requests"]) for step in found["steps"]] == [
        (10, 600, 5_400),
        (100, 0, 0),
    ]
    assert found["rolled_back_if_equal"] <= 0.05
    assert set(found["caught"]) == {"2", "3", "5"}
    assert found["caught"]["2"] < found["caught"]["3"] < found["caught"]["5"]
    assert found["caught"]["5"] > 0.9
    low, high = found["intervals"]["caught"]["3"]
    assert low < found["caught"]["3"] < high
    assert 0 < found["median_seconds"]["5"] < found["median_seconds"]["3"] <= 1_800
    assert found["enough"]["bakes"]["2"] is None  # it is what max_ratio allows
    assert found["enough"]["bakes"]["3"][0] in (1_800, 2_700, 3_600)
    assert found["enough"]["bakes"]["5"] == [1_800, 0]


def test_the_same_question_has_the_same_answer(run: Run, gate: Path) -> None:
    assert planned(run, gate, "slow") == planned(run, gate, "slow")


def test_more_requests_see_more(run: Run, gate: Path) -> None:
    caught = [planned(run, gate, "prod", requests=f"{n}/min")["caught"]["3"] for n in (20, 100, 1_000)]
    assert caught[0] < caught[1] < caught[2] == 1


def test_steps_and_limits_on_durations_are_planned_too(run: Run, gate: Path) -> None:
    found = planned(run, gate, "slow", "--traffic", "bursts", requests="2000/min")
    assert [step["requests"] for step in found["steps"]] == [2_000, 5_000, 0]
    assert found["traffic"] == "bursts"
    assert found["rolled_back_if_equal"] <= 0.05


def test_people_get_tables(run: Run, gate: Path) -> None:
    ended = plan(run, gate, "prod")
    assert ended.code == 0
    assert "orders-api in prod: 200 requests a minute, 1% of them fail" in ended.out
    assert "10%   30m   600       5,400" in ended.out
    assert "fails 5 times as often" in ended.out


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ("200", "write 200/min"),
        ("3/s", "write 180/min"),
        ("12000/h", "write 200/min"),
        ("many", "are given as 200/min"),
        ("200/fortnight", "are given as 200/min"),
        ("0/min", "must be above 0"),
        ("-5/min", "are given as 200/min"),
        ("1e3/min", "are given as 200/min"),
        ("99999999/min", "at most 10000000/min"),
    ],
)
def test_requests_in_another_form_are_refused(run: Run, gate: Path, requests: str, message: str) -> None:
    ended = plan(run, gate, "prod", requests=requests)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("0.5", "write 0.5%, or 50% if it is a fraction"),
        ("0%", "must be above 0%"),
        ("100%", "below 100%"),
        ("few", "in percent, as 0.5%"),
        ("nan%", "in percent, as 0.5%"),
    ],
)
def test_rates_in_another_form_are_refused(run: Run, gate: Path, errors: str, message: str) -> None:
    ended = plan(run, gate, "prod", errors=errors)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("prd", "no stage 'prd'; did you mean `prod`?"),
        ("dev", "nothing is watched while orders-api in dev is deployed"),
        ("alarms", "`watch.errors` is missing"),
        ("at-once", "there is no comparison"),
    ],
)
def test_a_stage_that_compares_nothing_is_refused(run: Run, gate: Path, stage: str, message: str) -> None:
    ended = plan(run, gate, stage)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_a_function_that_is_not_deployed_is_refused(run: Run, gate: Path) -> None:
    ended = run("watch-plan", "pay", "prod", "--requests", "1/min", "--errors", "1%", "--gate", str(gate))
    assert (ended.code, ended.out) == (2, "")
    assert "`functions` has `orders-*`" in ended.err


def test_a_gate_file_that_is_missing_or_wrong_is_an_error(run: Run, gate: Path) -> None:
    gate.write_text(GATE.replace("bake: 30m", "bake: soon"))
    assert plan(run, gate, "prod").code == 2
    gate.unlink()
    assert "there is no gate file" in plan(run, gate, "prod").err


def test_explain_says_what_each_watch_means_and_would_see(run: Run, gate: Path) -> None:
    lines = run("check", str(gate), "--explain", "--requests", "600/min", "--errors", "2%").out.splitlines()
    watches = [line for line in lines if line.startswith("watch of ")]
    assert watches == ["watch of alarms", "watch of at-once", "watch of prod", "watch of slow"]
    found = lines[lines.index("watch of slow") :]
    assert "  10% for 10m: looked at every 30s" in found
    assert (
        "  errors: back if at least 2 times the old version's and not by chance, or surely above 5%" in found
    )
    assert "  a bake that ends unclear goes on" in found
    [outlook] = [line for line in found if "caught: x2 in" in line]
    assert outlook.startswith("    10%: 600, 50%: 1,500 requests of the new version")
    assert found[-1] == "    sluicegate watch-plan FUNCTION slow --requests 600/min --errors 2%"
    alone = lines[lines.index("watch of at-once") : lines.index("watch of prod")]
    assert "  100% for 30m: looked at every 1m30s, without a comparison" in alone
    assert not any("caught" in line for line in alone)
