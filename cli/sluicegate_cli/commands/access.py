"""`sluicegate access`: who can bring code to a stage, by which way, and with whose approval."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.text import Text

from sluicegate.gate.rollout_settings import FUNCTION
from sluicegate.text import clean
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import PatternParam
from sluicegate_cli.review import words
from sluicegate_cli.review.access import BRINGING, Access, document
from sluicegate_cli.review.gate_files import gate_options, load
from sluicegate_cli.screen import Screen, stacked
from sluicegate_gatefile.diagnostics import did_you_mean

_TITLES: Final = {
    "job": "GitLab jobs",
    "webhook": "GitLab webhooks",
    "AWS credentials": "AWS credentials",
    "signed-in person": "People who signed in",
    "agent": "Agents",
}
_Value = TypeVar("_Value")

_ACTIONS: Final = {"override-strategy": "with a less cautious strategy", "fix-forward": "as a fix forward"}


@click.command("access")
@click.argument("stage")
@click.option(
    "--function",
    type=PatternParam("name", FUNCTION, "a function's name"),
    help="Only what holds for this function.",
)
@gate_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
def command(
    stage: str, function: str | None, file: Path, allow_loopback: bool, stack_name: str, as_json: bool
) -> ExitCode:
    """Show who can bring code to STAGE, by which way, and with whose approval.

    It reads the gate file, and calls neither the API nor AWS. Which person is behind an id, GitLab and AWS
    know. Exit codes: 0, or 2 if the gate file has an error or no such stage.

    \b
      sluicegate access prod
      sluicegate access prod --function orders-api --gate gates/sluicegate.yaml
      sluicegate access prod --json | jq '.rules[] | .who'
    """
    screen = Screen(as_json=as_json)
    gate = load(screen, file, allow_loopback=allow_loopback, stack_name=stack_name)
    if stage not in gate.stages:
        hint = did_you_mean(stage, tuple(gate.stages)) or f": it has {', '.join(gate.stages)}"
        raise click.UsageError(f"{file} has no stage {stage!r}{hint}")
    access = Access(gate, gate.stages[stage], function)
    found = document(access)
    screen.document(found)
    if not as_json:
        _show(screen, found)
    return ExitCode.OK


def _show(screen: Screen, found: dict[str, Any]) -> None:
    what = f"{found['function']} in {found['stage']}" if found["function"] else found["stage"]
    protected = ", protected" if found["protected"] else ""
    screen.line(f"{what}: alias {found['alias']}, target {found['target']}{protected}", "bold")
    screen.line(f"gate file {found['gate']}", "dim")
    if found["function"] and not found["between"]:
        screen.line("")
        screen.line(f"No entry of `functions` matches {found['function']}: nobody can deploy it.")
        return
    for way, title in _TITLES.items():
        if rules := [rule for rule in found["rules"] if rule["way"] == way]:
            screen.line("")
            screen.line(title, "bold")
            for rule in rules:
                _say(screen, _sentence(rule))
    if not found["rules"]:
        screen.line("")
        _say(screen, "No rule grants anything that changes what the stage serves: nobody can.")
    else:
        screen.line("")
        _table(screen, found)
    _section(screen, "What stands between", _between(found))
    _section(screen, "What bypasses it", found["bypasses"])


def _section(screen: Screen, title: str, sentences: list[str]) -> None:
    screen.line("")
    screen.line(title, "bold")
    for sentence in sentences:
        _say(screen, sentence)


def _say(screen: Screen, sentence: str) -> None:
    """Print a sentence: a list of claims is as long as it is."""
    screen.text(Text(f"  {clean(sentence, 100_000)}"))


def _sentence(rule: dict[str, Any]) -> str:
    limits = f"; {'; '.join(rule['limits'])}" if rule["limits"] else ""
    functions = words.either(rule["functions"], "and")
    return f"{rule['rule']}: {rule['who']}, may {_may(rule['actions'])} {functions}{limits}."


def _may(actions: list[str]) -> str:
    """Say what is granted. Two actions change how a deploy goes, and grant nothing alone."""
    plain = [words.verb(name) for name in BRINGING if name in actions and name not in _ACTIONS]
    how = [text for name, text in _ACTIONS.items() if name in actions]
    if not plain:
        return f"change nothing by `{words.actions(actions)}` alone on" if actions else "change nothing on"
    also = f" (also {words.either(how, 'and')})" if how else ""
    return f"{words.either(plain, 'and')}{also}"


def _table(screen: Screen, found: dict[str, Any]) -> None:
    screen.table(
        [
            Column("rule", least=16, wrap=True),
            Column("way", least=10, wrap=True),
            Column("may", least=10, wrap=True),
            Column("functions", least=12, wrap=True),
            Column("approval", least=12, wrap=True),
            Column("limits", drop=1, least=16, wrap=True),
        ],
        [
            (
                rule["rule"],
                rule["way"],
                stacked(rule["actions"] or ["nothing"]),
                stacked(rule["functions"]),
                rule["approval"] or "none",
                stacked(rule["limits"]),
            )
            for rule in found["rules"]
        ],
    )


def _between(found: dict[str, Any]) -> list[str]:
    return [*_approvals(found), *_settings(found), *_holds(found), *_agents(found), *_denied(found)]


def _approvals(found: dict[str, Any]) -> Iterator[str]:
    asking = [each for each in found["between"] if each["approval"]]
    for time, each in _alike((each["approval"], each) for each in asking):
        yield (
            f"Approval: a second person must approve within {time}, before anything of {each} is deployed."
        )
    if lost := [each["functions"] for each in asking if not each["approvers"]]:
        yield f"No rule grants `approve` on {words.either(lost, 'and')}: what waits there is never approved."
    if without := [each["functions"] for each in found["between"] if not each["approval"]]:
        yield f"No approval: the stage asks for none of {words.either(without, 'and')}."
    if any(rule["approval"] for rule in found["rules"]):
        for person in found["approvers"]:
            functions = words.either(person["functions"], "and")
            yield f"{person['rule']}: {person['who']}, may approve {functions}."
        if found["approvers"]:
            yield "The approver must be another person than the requester, in another pipeline."
        elif not asking:
            yield "No rule grants `approve`: what waits for a person is never approved."
    if any("rollback" in rule["actions"] and rule["approval"] != "always" for rule in found["rules"]):
        yield "A rollback waits for no approval: it goes back to what the stage has served."


def _settings(found: dict[str, Any]) -> Iterator[str]:
    between = found["between"]
    for stage, names in _alike((each["requires"], each) for each in between):
        if stage:
            yield (
                f"Requires: an artifact of {names} must have succeeded in {stage} first"
                f" (`sluicegate access {stage}`)."
            )
    for order, names in _alike((each["order"], each) for each in between):
        if order:
            yield f"Order: an older pipeline cannot overwrite what a newer one deployed of {names}."
    for age, names in _alike((each["max_age"], each) for each in between):
        if age:
            yield f"Age: tokens for {names} are at most {age} old."
    for (steps, smoke, watch), names in _alike(
        ((each["strategy"], each["smoke"], tuple(each["watch"])), each) for each in between
    ):
        checks = ["a smoke test"] if smoke else []
        checks += [f"a watch ({'; '.join(watch)})"] if watch else []
        tested = words.either(checks, "and") if checks else "no smoke test and no watch"
        yield f"Rollout: traffic of {names} moves {steps}, with {tested}."


def _alike(pairs: Iterable[tuple[_Value, dict[str, Any]]]) -> Iterator[tuple[_Value, str]]:
    """Yield each value with the functions that have it."""
    found: dict[_Value, list[str]] = {}
    for value, each in pairs:
        found.setdefault(value, []).append(each["functions"])
    for value, names in found.items():
        yield value, words.either(names, "and")


def _holds(found: dict[str, Any]) -> Iterator[str]:
    if not found["holders"]:
        return
    yield (
        "Hold: nothing new is deployed while the stage is held, and rollbacks go on. `sluicegate hold"
        f" {found['stage']}` says whether it is held now."
    )
    for person in found["holders"]:
        yield f"{person['rule']}: {person['who']}, may hold {words.either(person['functions'], 'and')}."


def _agents(found: dict[str, Any]) -> Iterator[str]:
    agents = found["agents"]
    if not agents["listed"]:
        return
    allowed = agents["actions"]
    never = words.either(map(words.verb, agents["never"]))
    who = words.either(agents["listed"], "and")
    yield f"Agents: {who}, and callers that say they are one, never {never}, whatever a rule grants."
    if allowed is not None:
        most = words.either(map(words.verb, allowed), "and") if allowed else "read"
        yield f"Here agents may at most {most}, also by other rules that match them."
    if agents["propose"]:
        yield "Here agents only propose: a person approves each request before anything happens."


def _denied(found: dict[str, Any]) -> Iterator[str]:
    if found["denied"]:
        yield f"Denied, whatever the rules say: {'; '.join(found['denied'])}."
