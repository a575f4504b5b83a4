"""`watch`, `status`, `history`, `whoami`, and how anything looks on a terminal and in a log."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from sluicegate.deployment.views import view
from sluicegate_cli.exit_codes import ExitCode
from support.cli_running import Run, hear_interrupts
from support.cli_server import ID, Reply, Server, accepted, failed, publishing, shown, succeeded
from support.cli_terminal import NASTY, environment, on_a_terminal

SERVING = {
    "version": "42",
    "artifact": {"sha256": "ab" * 32},
    "weights": {},
    "alias": "prod",
    "target": {"account": "000000000000", "region": "eu-central-1"},
    "deployment": ID,
    "sha": "714a629c",
    "ref": "v1.4.0",
    "since": "2026-01-01T00:00:00.000Z",
    "by": {"project_path": "acme/orders", "user_login": "ada"},
}
WHO: dict[str, Any] = {
    "via": "id_token",
    "issuer": "https://gitlab.example.com",
    "project_id": "4213",
    "expires_at": "2036-01-01T00:00:00.000Z",
    "claims": {"project_path": "acme/orders", "ref": "v1.4.0", "groups_direct": ["acme", "staff"]},
    "rules": [
        {"name": "orders to prod", "actions": ["deploy"], "functions": ["orders-*"], "stages": ["prod"]}
    ],
}


def test_watch_ends_as_the_deployment_does(run: Run, server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", shown(publishing()), shown(failed()))

    ended = run("watch", ID)

    assert ended.code == 1
    assert ended.out.splitlines()[0].split()[:2] == ["+0.0s", "accepted"]
    assert "function_not_found" in ended.out


def test_watch_of_what_may_not_be_seen_is_exit_4(run: Run) -> None:
    ended = run("watch", ID)

    assert ended.code == 4
    assert "does not reveal which" in ended.err
    assert "continues on its own" not in ended.err


@pytest.mark.parametrize(
    "command",
    [("watch",), ("approve",), ("reject",), ("abort",), ("report",), ("audit", "trail")],
    ids=" ".join,
)
def test_what_is_no_id_is_refused_with_what_one_looks_like(
    run: Run, server: Server, command: tuple[str, ...]
) -> None:
    for text in ("nope", "orders-api", f"{ID}X", "8" + ID[1:], "\udcff"):
        ended = run(*command, text)

        said = " ".join(ended.err.split())
        assert ended.code == 2
        assert "a deployment's id looks like 01KAQ3ZV6N8T4R1F0C2H7M5XWE; `sluicegate history` lists" in said
    assert server.asked == []


@pytest.mark.parametrize("command", ["status", "watch"])
def test_an_id_in_lower_case_is_the_id(run: Run, server: Server, command: str) -> None:
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))

    assert run(command, ID.lower()).code == 0
    assert run(command, ID.lower(), "--field", "id").out == f"{ID}\n"


def test_status_of_a_deployment_is_exit_0_however_it_ended(run: Run, server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", shown(failed()))

    ended = run("status", ID)

    assert ended.code == 0
    assert ended.out.startswith(f"failed  {ID}")
    assert "there is no function orders-api [function_not_found]" in ended.out
    assert "job 302 of acme/orders" in ended.out


def test_status_of_a_function_shows_each_stage(run: Run, server: Server) -> None:
    shifting = {**SERVING, "version": "41", "weights": {"42": 0.1}}
    function = {"function": "orders-api", "stages": {"prod": shifting, "dev": SERVING}}
    server.on("GET", "/functions/orders-api", Reply(200, function))

    ended = run("status", "orders-api")

    rows = [line.split("  ") for line in ended.out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[1][:3] == ["orders-api", "dev", "version 42"]
    assert cells[2][:3] == ["orders-api", "prod", "version 41, version 42: 10%"]


def test_status_of_everything(run: Run, server: Server) -> None:
    first, last = ({"function": name, "stages": {"prod": SERVING}} for name in ("orders-api", "orders-jobs"))
    pages = (
        Reply(200, {"items": [first], "next_cursor": "orders-api"}),
        Reply(200, {"items": [last], "next_cursor": None}),
    )
    server.on("GET", "/functions", *pages, *pages)

    assert "orders-jobs" in run("status").out
    assert json.loads(run("status", "--json").out) == {"items": [first, last]}
    assert [asked.query for asked in server.asked] == ["", "cursor=orders-api"] * 2


def test_history_reads_as_many_pages_as_it_takes(run: Run, server: Server) -> None:
    pages = [
        Reply(200, {"items": [view(succeeded())] * 100, "next_cursor": ID}),
        Reply(200, {"items": [view(failed())] * 5, "next_cursor": None}),
    ]
    server.on("GET", "/deployments", *pages)

    ended = run("history", "--function", "orders-api", "--limit", "150")

    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1 + 105
    assert [asked.query for asked in server.asked] == [
        "function=orders-api&limit=100",
        f"cursor={ID}&function=orders-api&limit=100",
    ]


def test_whoami_shows_claims_and_what_the_rules_allow(run: Run, server: Server) -> None:
    server.on("GET", "/whoami", Reply(200, WHO))

    ended = run("whoami")

    assert ended.code == 0
    assert "acme/orders (project 4213) of https://gitlab.example.com" in ended.out
    assert "acme, staff" in ended.out
    assert "orders to prod" in ended.out
    assert json.loads(run("whoami", "--json").out) == WHO


def test_whoami_says_so_when_nothing_is_allowed(run: Run, server: Server) -> None:
    server.on("GET", "/whoami", Reply(200, {**WHO, "rules": []}))

    ended = run("whoami")

    assert ended.code == 0
    assert "nothing is allowed" in ended.out


def test_what_a_server_says_can_neither_forge_a_line_nor_move_a_cursor(run: Run, server: Server) -> None:
    document = view(failed())
    document["timeline"][0]["message"] = NASTY
    document["reason"]["message"] = NASTY
    document["requested_by"]["ref"] = NASTY
    document["rule"] = NASTY
    server.on("GET", f"/deployments/{ID}", Reply(200, document))
    server.on("GET", "/deployments", Reply(200, {"items": [document], "next_cursor": None}))
    server.on("GET", "/whoami", Reply(403, {"code": NASTY, "title": NASTY, "detail": NASTY, "check": NASTY}))

    for arguments in (("watch", ID), ("status", ID), ("history",), ("whoami",)):
        for form in ((), ("--json",)):
            ended = run(*arguments, *form)
            for written in (ended.out, ended.err):
                assert not {"\x1b", "\u202e", "\u2028"} & set(written)
                assert not any(line.startswith("succeeded: forged") for line in written.splitlines())


@pytest.fixture
def slow(server: Server) -> Server:
    server.on(
        "GET",
        f"/deployments/{ID}",
        shown(accepted()),
        shown(publishing()),
        shown(publishing()),
        shown(succeeded()),
    )
    return server


def test_a_terminal_sees_it_happen_in_colour(slow: Server) -> None:
    written = on_a_terminal(slow, "watch", ID)

    assert "⠋" in written  # the spinner
    assert "\x1b[1;32msucceeded: orders-api serves version 42" in written


def test_no_color_is_honoured(slow: Server) -> None:
    written = on_a_terminal(slow, "watch", ID, NO_COLOR="1")

    assert "succeeded: orders-api serves version 42" in written
    assert "\x1b[32m" not in written
    assert ";32m" not in written


def test_json_on_a_terminal_is_still_one_document(slow: Server) -> None:
    written = on_a_terminal(slow, "status", ID, "--json")

    assert json.loads(written)["id"] == ID


def test_an_interrupt_is_no_failed_deployment(server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", shown(publishing()))
    process = subprocess.Popen(
        [sys.executable, "-c", "from sluicegate_cli.main import main; main()", "watch", ID],
        env=environment(server),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout
    process.stdout.readline()

    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "continues on its own" in said


VERBS = (
    *("abort", "approve", "check", "deploy", "doctor", "history", "hold"),
    *("promote", "reject", "rollback", "status", "watch", "whoami"),
)


@pytest.mark.parametrize("arguments", [(), *((verb,) for verb in VERBS)], ids=" ".join)
def test_help_has_what_the_command_does_and_examples(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, "--help")

    assert ended.code == 0
    said = ended.out.split("Options:")[0]
    assert f"\n    sluicegate {' '.join(arguments)}" in said or not arguments


def test_help_groups_the_commands_by_purpose(run: Run) -> None:
    groups = run("--help").out.split("-h, --help")[1]

    lines = [line.split()[0] for line in groups.splitlines()[1:] if line.strip()]
    assert lines[: len(VERBS) + 15] == [
        *("Deploy:", "deploy", "promote", "rollback", "abort"),
        *("Approve:", "approve", "reject", "hold"),
        *("Sign", "login", "logout", "sessions"),
        *("Inspect:", "status", "versions", "history", "watch", "whoami", "report", "audit"),
        *("Check:", "check", "access", "replay", "watch-plan", "target", "doctor"),
    ]
    assert set(VERBS) <= set(lines)


@pytest.mark.parametrize(
    ("typed", "meant"), [("deplyo", "deploy"), ("statuss", "status"), ("Promote", "promote"), ("xyz", None)]
)
def test_a_typo_in_a_command_gets_a_suggestion(run: Run, typed: str, meant: str | None) -> None:
    ended = run(typed, "--json")

    assert ended.code == ExitCode.USAGE
    assert f"No such command {typed!r}." in ended.err
    assert ("Did you mean" in ended.err) == (meant is not None)
    assert meant is None or f"Did you mean {meant!r}?" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", "exprot"), "Did you mean 'export'? `sluicegate audit --help` lists all."),
        (("sessions", "edn"), "Did you mean 'end'? `sluicegate sessions --help` lists all."),
        (("audit", "xyz"), "No such command 'xyz'. `sluicegate audit --help` lists all."),
        (("--json", "status"), "Options come after the command: sluicegate COMMAND --json"),
        (("audit", "--json", "key"), "Options come after the command: sluicegate audit COMMAND --json"),
        (("--versoin",), "Did you mean --version?"),
        (("status", "--jsn"), "Did you mean --json?"),
    ],
)
def test_what_is_mistyped_gets_what_may_be_meant(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)

    assert ended.code == ExitCode.USAGE
    assert said in " ".join(ended.err.split())
    assert ended.err.count("Did you mean") == said.count("Did you mean")


def test_help_imports_neither_the_http_client_nor_the_terminal_library(server: Server) -> None:
    look = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from sluicegate_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'httpx2', 'rich', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", look],
        env=environment(server),
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.splitlines()[-1] == "[]"


PRUNING: dict[str, Any] = {
    "target": {"name": "default", "account": "000000000000", "region": "eu-central-1"},
    "at": "2026-01-01T00:00:00.000Z",
    "dry_run": True,
    "versions": [
        {
            "version": "42",
            "keep": [{"reason": "newest", "alias": None}, {"reason": "alias", "alias": "prod"}],
        },
        {"version": "41", "keep": [{"reason": "in_flight", "alias": None}]},
        {"version": "40", "keep": []},
        {"version": "39", "keep": [{"reason": NASTY, "alias": NASTY}]},
    ],
    "left_out": 7,
    "deleted": [],
}


def test_versions_say_what_is_pruned_and_why_the_others_stay(run: Run, server: Server) -> None:
    server.on(
        "GET", "/functions/orders", Reply(200, {"function": "orders", "stages": {}, "pruning": [PRUNING]})
    )

    ended = run("versions", "orders")

    assert ended.code == 0
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "1 of 4 would be pruned" in lines[0]
    assert "42 one of the newest; an alias names it (prod)" in lines
    assert "41 a deployment names it" in lines
    assert "40 would be" in lines
    assert "7 older versions are not listed" in lines
    assert NASTY not in ended.out


def test_versions_in_json_are_the_apis(run: Run, server: Server) -> None:
    server.on(
        "GET", "/functions/orders", Reply(200, {"function": "orders", "stages": {}, "pruning": [PRUNING]})
    )

    ended = run("versions", "orders", "--json")

    assert json.loads(ended.out) == {"function": "orders", "pruning": [PRUNING]}


def test_versions_of_what_is_not_pruned_say_so(run: Run, server: Server) -> None:
    server.on("GET", "/functions/orders", Reply(200, {"function": "orders", "stages": {}, "pruning": []}))

    assert "no version of orders is pruned" in run("versions", "orders").out
