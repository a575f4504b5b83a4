"""What is to be written where a mapping or a list is expected."""

from collections.abc import Callable

import pytest
import yaml

from sluicegate_cli.strategy import parse_strategy
from sluicegate_gatefile.compile import Report
from sluicegate_gatefile.shapes import strategy

GATE_FILE = """\
version: 1
issuers:
  corp: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  prod: {}
functions:
  orders-*: {}
rules:
  - name: main
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
"""


def changed(old: str, new: str) -> str:
    assert GATE_FILE.count(old) == 1
    return GATE_FILE.replace(old, new)


def prod(key: str) -> str:
    return changed("prod: {}", f"prod: {{{key}}}")


STRATEGIES = ["canary:10:10m", "linear:20:2m", "steps:5:1m,50:10m,100", "steps:100", "all-at-once"]
CANARY = "`strategy: {type: canary, percent: 10, bake: 10m}`"


@pytest.mark.parametrize("spelling", STRATEGIES)
def test_a_strategy_of_the_command_line_is_given_in_the_files_form(
    check: Callable[[str], Report], spelling: str
) -> None:
    found = strategy(spelling)
    assert found is not None
    assert yaml.safe_load(found) == parse_strategy(spelling)
    (error,) = check(changed("prod: {}", f"prod:\n    strategy: {spelling}")).diagnostics
    assert error.message == f"expected a mapping, not a string: write `strategy: {found}`"
    assert check(prod(f"strategy: {found}")).ok


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (prod("strategy: canary"), f"write one such as {CANARY}"),
        (prod("strategy: 10"), f"write one such as {CANARY}"),
        (changed("prod: {}", "prod:\n    strategy: canary:10"), f"write one such as {CANARY}"),
        (changed("orders-*: {}", "orders-*"), "not a string: write `orders-*: {}`"),
        (changed("orders-*: {}", "orders-*\n  pay-*"), "write `orders-*: {}`, `pay-*: {}`"),
        (changed("  orders-*: {}", "  - orders-*"), "not a list: write `orders-*: {}`"),
        (changed("orders-*: {}", "orders-*: x"), "write `orders-*: {}`, or its keys below it"),
        (changed("prod: {}", "prod: true"), "write `prod: {}`, or its keys below it"),
        (prod("requires: dev"), "write `requires: {succeeded_in: dev}`"),
        (prod("approval: 24h"), "write `approval: {expires: 24h}`"),
        (prod("approval: true"), "write `approval: {}`"),
        (prod("smoke: ping"), "its keys are `payload`, `expect`, `hook`, `timeout`"),
        (changed('{project_id: "4213"}', "\n      ref:main"), "missing after `:`, write `ref: main`"),
        (changed("[orders-*]", "orders-*"), "expected a list, not a string: write `[orders-*]`"),
        (changed("[orders-*]", '"*-api"'), 'write `["*-api"]`'),
        (GATE_FILE + 'deny: {user_id: "7"}\n', "begin its first key with `- `"),
    ],
)  # fmt: skip
def test_another_shape_is_an_error_that_says_what_to_write(
    check: Callable[[str], Report], text: str, advice: str
) -> None:
    (error,) = check(text).diagnostics
    assert error.code == "type"
    assert advice in error.message
