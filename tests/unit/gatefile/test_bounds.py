"""Checking a gate file ends, whatever it says and wherever its links lead. Steps are counted, not seconds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate.gate import patterns, rollout_settings
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import diagnostics, policy_tests
from sluicegate_gatefile.checks import grants
from sluicegate_gatefile.checks.grants import MAX_STEPS, Entries, Grants, TooManySteps
from sluicegate_gatefile.compile import MAX_FILE, MAX_JWKS, Report
from sluicegate_gatefile.files import UnusableFile, read_file
from support.signing import jwk, jwks

HEAD = """\
version: 1
issuers: {corp: {url: https://gitlab.example.com, audience: x, jwks: JWKS}}
stages: {dev: {}}
functions: {orders-*: {}}
rules:
"""


def rule(number: int, functions: str = "orders-*") -> str:
    claims = f'claims: {{project_id: "{number + 1}"}}'
    allow = f"allow: {{actions: [deploy], functions: [{functions}], stages: [dev]}}"
    return f"  - {{name: rule {number}, {claims}, {allow}}}\n"


def text(*, jwks_at: str = "discovery", rules: str = rule(0)) -> str:
    return HEAD.replace("JWKS", jwks_at) + rules


def messages(report: Report) -> list[tuple[str, str]]:
    return [(found.code, found.message) for found in report.diagnostics if found.severity == "error"]


# Files


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def directory(path: Path) -> None:
    path.mkdir()


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (device, "not a regular file"),
        (pipe, "not a regular file"),
        (directory, "not a regular file"),
        (circle, "Too many levels of symbolic links"),
        (large, "larger than"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_never_ends_is_not_read_to_its_end(
    tmp_path: Path, check: Callable[[str], Report], make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "keys.json")
    with pytest.raises(UnusableFile, match=message):
        read_file(tmp_path / "keys.json", MAX_JWKS)
    [(code, said)] = messages(check(text(jwks_at="keys.json")))
    assert (code, message in said) == ("jwks", True)
    [(code, said)] = messages(gatefile.check(tmp_path / "keys.json"))
    assert (code, message in said) == ("file", True)


def test_a_link_to_a_file_is_followed(tmp_path: Path, check: Callable[[str], Report]) -> None:
    (tmp_path / "there.json").write_bytes(b"\xef\xbb\xbf" + jwks(jwk()))
    (tmp_path / "keys.json").symlink_to("there.json")
    report = check(text(jwks_at="keys.json"))
    assert report.gate is not None
    assert report.gate.issuers["https://gitlab.example.com"].jwks == jwks(jwk())


def test_a_gate_file_has_a_limit(check: Callable[[str], Report]) -> None:
    sound = text()
    assert check(sound + "#" * (MAX_FILE - len(sound))).ok
    assert messages(check(sound + "#" * (MAX_FILE - len(sound) + 1))) == [("file", "larger than 512 KiB")]


# Steps


def test_a_thousand_rules_for_a_thousand_functions_are_far_from_the_limit() -> None:
    entries = Entries([f"orders-{number:04d}-*" for number in range(1_000)])
    rules = [
        {"functions": [f"orders-{number:04d}-*"], "stages": ["dev"], "actions": ["deploy"]}
        for number in range(1_000)
    ]
    granted = Grants(entries, rules)
    assert all(list(granted.on(f"orders-{number:04d}-*")) == [("dev", "deploy")] for number in (0, 7, 999))
    assert entries.steps < MAX_STEPS / 4


def test_each_pattern_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    overlap = patterns.overlap

    def counted(one: patterns.Pattern, other: patterns.Pattern) -> bool:
        asked.append(one.text)
        return overlap(one, other)

    monkeypatch.setattr(patterns, "overlap", counted)
    entries = Entries(["orders-*", "orders-a*"])
    for _ in range(100):
        assert entries.overlapping("orders-*") == 0b11
    assert len(asked) == 2


def test_patterns_that_were_made_to_be_slow_are_compared_in_bounded_steps(
    check: Callable[[str], Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """35 KiB of these took 72 seconds: each pair had tens of thousands of states."""

    def slow(number: int) -> str:
        return f'"{"*".join(["a" * 28] * 8)}{number}"'

    rules = "".join(rule(number, slow(number)) for number in range(60))
    functions = "functions:\n" + "".join(f"  {slow(100 + number)}: {{}}\n" for number in range(50))
    slow_file = text(rules=rules).replace("functions: {orders-*: {}}\n", functions)
    assert messages(check(slow_file)) == []
    monkeypatch.setattr(grants, "MAX_STEPS", 100_000)
    [(code, said)] = messages(check(slow_file))
    assert (code, "combine names" in said) == ("size", True)


class Counted(dict[str, str | None]):
    """What stages require, with the number of times that somebody asked."""

    asked = 0

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("last", [0, 1_500, None], ids=["round", "a tail", "an end"])
def test_stages_that_require_one_another_are_followed_in_linear_time(last: int | None) -> None:
    """27 KiB of these took four seconds, and 60 KiB a minute: each stage was compared with all before it."""
    number = 3_000
    requires = Counted({f"s{i}": f"s{i + 1}" for i in range(number - 1)})
    requires[f"s{number - 1}"] = None if last is None else f"s{last}"
    expected = set() if last is None else {f"s{i}" for i in range(last, number)}
    assert rollout_settings.circular(requires) == expected
    assert requires.asked <= 2 * number


def test_a_long_circle_is_told_once(check: Callable[[str], Report]) -> None:
    stages = "".join(f"  s{i}: {{requires: {{succeeded_in: s{(i + 1) % 500}}}}}\n" for i in range(500))
    found = messages(check(text().replace("stages: {dev: {}}\n", f"stages:\n  dev: {{}}\n{stages}")))
    assert [code for code, _ in found] == ["requires"]


def test_more_stages_and_functions_than_can_be_looked_at_are_an_error(
    check: Callable[[str], Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatefile, "MAX_PLACES", 3)
    functions = "functions: {orders-*: {}, mail-*: {}}\n"
    file = text().replace("functions: {orders-*: {}}\n", functions)
    assert messages(check(file)) == []
    [(code, said)] = messages(check(file.replace("{dev: {}}", "{dev: {}, prod: {}}")))
    assert (code, "2 stages for 2 entries" in said) == ("size", True)


def test_entries_that_are_compared_for_too_long_are_an_error() -> None:
    entries = Entries([f"*{number:05d}" for number in range(2_000)])

    def compare() -> None:
        for number in range(2_000):
            entries.overlapping(f"*{number:05d}-" + "*a" * 7)

    with pytest.raises(TooManySteps):
        compare()
    assert entries.steps <= MAX_STEPS + 256


def test_tests_that_ask_for_too_long_are_an_error(check: Callable[[str], Report]) -> None:
    wide = ", ".join(f'"{"*a" * 8}{number}"' for number in range(1_500))
    claims = f'claims: {{project_id: "1", ref_type: branch, ref: [{wide}]}}'
    rules = rule(0).replace('claims: {project_id: "1"}', claims)
    one = (
        f'  - {{identity: {{project_id: "1", pipeline_source: push, ref_type: branch, ref: {"a" * 256}}}, '
        "request: {action: deploy, function: orders-a, stage: dev}, expect: {allowed: false}}\n"
    )
    few = text(rules=rules) + "tests:\n" + one * 2
    assert len(check(few).test_results) == 2
    [(code, _)] = messages(check(few + one * 100))
    assert code == "size"
    assert policy_tests.MAX_STEPS == 20_000_000


def test_a_hint_is_looked_for_among_the_first_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(_name: str, names: tuple[str, ...], **_: int) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr(diagnostics, "get_close_matches", counted)
    diagnostics.did_you_mean("stage", [f"stage-{number}" for number in range(10_000)])
    diagnostics.did_you_mean("x", ["y" * 10_000])
    assert compared == [100, 100, 0, 0]


@pytest.mark.parametrize("depth", [17, 50_000])
def test_yaml_is_not_read_deeper_than_it_may_be(check: Callable[[str], Report], depth: int) -> None:
    assert [code for code, _ in messages(check("version: " + "[" * depth))] == ["depth"]


def test_aliases_multiply_nothing(check: Callable[[str], Report]) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    assert "anchor" in {code for code, _ in messages(check(bomb))}
