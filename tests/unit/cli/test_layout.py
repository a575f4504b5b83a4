"""Tables and lines at the widths that terminals have, in pipes and in GitLab's log."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.views import view
from sluicegate.documents.links import links, new_pipeline, with_links
from sluicegate_cli.fields import chosen, lines, unknown
from sluicegate_cli.layout import Column, dropped, indent_of, table, wrapped
from sluicegate_cli.screen import is_coloured
from sluicegate_cli.times import ago
from support.cli_running import Run, running
from support.cli_server import BEGAN, ID, TOKEN, Reply, Server, baking, failed, serving, succeeded
from support.cli_terminal import environment

COLUMNS = (Column("id"), Column("created", drop=1), Column("ref", drop=2, least=6), Column("status"))
ROW = (ID, "5m ago", "a-branch-with-a-long-name", "awaiting_approval")
MAIN = (sys.executable, "-c", "from sluicegate_cli.main import main; main()")
ANSI = re.compile(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return running(monkeypatch, capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as server:
        server.clock = lambda: BEGAN + 3600
        monkeypatch.setenv("SLUICEGATE_URL", server.url)
        monkeypatch.setenv("SLUICEGATE_TOKEN", TOKEN)
        yield server


def plain(width: int | None) -> list[str]:
    return [line.plain for line in table(COLUMNS, [ROW], width)]


def test_a_log_has_every_column_in_full() -> None:
    (head, row) = plain(None)

    assert head.split() == ["id", "created", "ref", "status"]
    assert re.split(r" {2,}", row) == list(ROW)


def test_ids_never_fold_and_columns_are_dropped_by_importance() -> None:
    assert plain(80)[1] == f"{ID}  5m ago   a-branch-with-a-long-na…  awaiting_approval"
    assert plain(60)[1] == f"{ID}  5m ago   awaiting_approval"
    assert plain(50)[1] == f"{ID}  awaiting_approval"
    assert plain(10)[1] == f"{ID}  awaiting_approval"  # nothing else can go
    assert dropped(COLUMNS, [ROW], 50) == ["created", "ref"]


@pytest.mark.parametrize("width", range(45, 130))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, plain(width))) <= width


def test_wrapping_breaks_at_spaces_only() -> None:
    line = Text("a description that is long, with https://gitlab.example.com/acme/orders/-/jobs/302 in it")

    parts = [part.plain for part in wrapped(line, 30, 4)]

    assert parts == [
        "a description that is long,",
        "    with",
        "    https://gitlab.example.com/acme/orders/-/jobs/302",
        "    in it",
    ]


def test_words_of_the_text_survive_every_width() -> None:
    text = "  hint: `sluicegate whoami` shows the claims of this job, and what the rules allow."
    for width in range(1, 90):
        parts = [part.plain for part in wrapped(Text(text), width, indent_of(text, width))]

        assert " ".join(" ".join(parts).split()) == " ".join(text.split())


def test_cells_of_several_lines_and_wide_characters() -> None:
    rows: list[tuple[str | Text, str]] = [(Text("one\ntwo"), "x"), ("日本語", "y")]

    assert [line.plain for line in table((Column("a"), Column("b")), rows, 80)] == [
        "a       b",
        "one     x",
        "two",
        "日本語  y",
    ]


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (-5, "just now"),
        (0, "just now"),
        (59, "59s ago"),
        (60, "1m ago"),
        (3599, "59m ago"),
        (7200, "2h ago"),
        (86_400 * 59, "59d ago"),
        (86_400 * 61, timestamp(BEGAN)[:10]),
    ],
)
def test_how_long_ago(passed: float, said: str) -> None:
    assert ago(timestamp(BEGAN), BEGAN + passed) == said


def test_what_is_no_timestamp_is_shown_as_it_is() -> None:
    assert ago("yesterday", BEGAN) == "yesterday"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),  # no-color.org: present and not empty
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ({"CLICOLOR": "0"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"GITLAB_CI": "true"}, True, True),
        ({"GITLAB_CI": "true", "NO_COLOR": "1"}, False, False),
        ({"GITLAB_CI": "true", "TERM": "dumb"}, False, False),
    ],
)
def test_who_gets_colours(variables: dict[str, str], terminal: bool, pipe: bool) -> None:
    assert is_coloured(Terminal(), variables) is terminal
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w") as stream:
        assert is_coloured(stream, variables) is pipe


def test_a_file_gets_no_colours_in_a_job(tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as file:
        assert not is_coloured(file, {"GITLAB_CI": "true"})
        assert is_coloured(file, {"FORCE_COLOR": "1"})


def on(server: Server, columns: int, *arguments: str, **more: str) -> str:
    """What a terminal of so many columns gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {
        name: value
        for name, value in environment(server).items()
        if name not in ("COLUMNS", "CI", "GITLAB_CI", "NO_COLOR")
    }
    process = subprocess.Popen(
        [*MAIN, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=variables | {"TERM": "xterm-256color"} | more,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:
        pass
    os.close(ours)
    process.wait(timeout=30)
    return written.decode().replace("\r", "")


def many(server: Server) -> None:
    documents: list[Any] = [view(succeeded()), view(failed()), baking()]
    server.on("GET", "/deployments", Reply(200, {"items": documents, "next_cursor": None}))


@pytest.mark.parametrize("columns", [80, 120])
def test_history_on_a_terminal_has_whole_ids_short_times_and_colours(server: Server, columns: int) -> None:
    many(server)

    written = on(server, columns, "history")

    shown = ANSI.sub("", written).splitlines()
    assert max(map(len, shown)) <= columns
    assert sum(line.startswith(f"{ID}  ") for line in shown) == 3
    assert "59m ago" in shown[1] or "1h ago" in shown[1]
    assert "\x1b[1;32msucceeded" in written
    assert "\x1b[1;31mfailed" in written


def test_a_terminal_gets_links_and_a_job_log_none(server: Server) -> None:
    many(server)
    link = "\x1b]8;"

    assert link in on(server, 120, "history")
    assert "https://gitlab.example.com/acme/orders/-/jobs/302" in on(server, 120, "history")
    assert link not in on(server, 120, "history", TERM="dumb")
    job = subprocess.run(
        [*MAIN, "history"],
        env=environment(server) | {"GITLAB_CI": "true", "TERM": "xterm"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert link not in job.stdout
    assert "\x1b[1;32msucceeded" in job.stdout


def test_a_pipe_gets_timestamps_and_no_escape(run: Run, server: Server) -> None:
    many(server)

    out = run("history").out

    assert timestamp(BEGAN) in out
    assert "\x1b" not in out


def test_long_lines_break_at_spaces_on_a_terminal(server: Server) -> None:
    document = {**view(failed()), "description": "word " * 40}
    server.on("GET", f"/deployments/{ID}", Reply(200, document))

    shown = ANSI.sub("", on(server, 80, "status", ID)).splitlines()

    described = [line for line in shown if "word" in line]
    assert len(described) > 2
    assert all(re.fullmatch(r"(?:description|\s+)(?:\s+word)+", line) for line in described)


def test_links_of_a_deployment() -> None:
    by = {
        "issuer": "https://gitlab.example.com/",
        "project_path": "acme/orders",
        "job_id": "302",
        "pipeline_id": "574",
        "sha": "714a629c",
    }

    assert links(by) == {
        "job": "https://gitlab.example.com/acme/orders/-/jobs/302",
        "commit": "https://gitlab.example.com/acme/orders/-/commit/714a629c",
        "pipeline": "https://gitlab.example.com/acme/orders/-/pipelines/574",
    }
    assert links({**by, "gitlab": "https://git.example.com"})["job"].startswith(
        "https://git.example.com/acme"
    )
    assert new_pipeline({**by, "gitlab": "https://git.example.com"}, "DEPLOYMENT", "1&x") == (
        "https://git.example.com/acme/orders/-/pipelines/new?var%5BDEPLOYMENT%5D=1%26x"
    )
    assert new_pipeline({**by, "issuer": "https://git\x1b.example.com"}, "DEPLOYMENT", "1") is None
    assert links({**by, "issuer": "javascript:alert(1)//"}) == {}
    assert links({**by, "project_path": None}) == {}
    assert links(None) == {}
    assert links({**by, "sha": "../\x1b"})["commit"].endswith("/commit/..%2F%1B")
    assert with_links({"requested_by": by, "links": {"self": "/v1"}})["links"]["self"] == "/v1"


def test_fields_of_a_document_and_of_items() -> None:
    document = {"id": ID, "alias": {"current": {"version": "7"}}, "steps": [{"percent": 10}], "final": True}

    assert lines(chosen(document, ["id", "alias.current.version"])) == [f"{ID}\t7"]
    assert lines(chosen(document, ["steps.0.percent", "final", "nope", "id.x"])) == ["10\ttrue\t\t"]
    assert lines(chosen({"items": [document, document]}, ["id"])) == [ID, ID]
    assert unknown(document, ["id", "nope.x"]) == ["nope.x"]
    assert lines(chosen({"id": "a\nforged\x1b"}, ["id"])) == ["a\ufffdforged\ufffd"]


def test_field_prints_values_alone_and_json_with_it_an_object(run: Run, server: Server) -> None:
    many(server)
    server.on("GET", f"/deployments/{ID}", Reply(200, view(succeeded())))

    assert run("status", ID, "--field", "status").out == "succeeded\n"
    assert run("history", "--field", "status", "--field", "stage").out == (
        "succeeded\tprod\nfailed\tprod\nbaking\tprod\n"
    )
    assert json.loads(run("status", ID, "--field", "status", "--json").out) == {"status": "succeeded"}


def test_field_keeps_the_outcome_of_a_command(run: Run, server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, view(failed())))

    ended = run("watch", ID, "--field", "reason.code")

    assert ended.code == 1
    assert ended.out == "function_not_found\n"


@pytest.mark.parametrize(
    ("shell", "has"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete ")]
)
def test_completion_of_each_shell(run: Run, shell: str, has: str) -> None:
    ended = run("completion", shell)

    assert ended.code == 0
    assert has in ended.out
    assert "_SLUICEGATE_COMPLETE" in ended.out


def test_completion_knows_commands_and_options(server: Server) -> None:
    for words, cword, wanted in (
        ("sluicegate ro", "1", "rollback"),
        ("sluicegate hold --re", "2", "--release"),
    ):
        ended = subprocess.run(
            MAIN,
            env=environment(server)
            | {"_SLUICEGATE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": cword},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert wanted in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cancel", ID), "Did you mean 'abort'?"),
        (("undo",), "Did you mean 'rollback'?"),
        (("ls",), "Did you mean 'history'?"),
        (("Satus",), "Did you mean 'status'?"),
        (("abort", ID, "--raeson", "x"), "Did you mean --reason?"),
        (("deploy", "f", "s", "--dryrun"), "Did you mean --dry-run?"),
    ],
)
def test_did_you_mean(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)

    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("command", ["status", "watch", "hold", "deploy", "promote", "approve", "completion"])
def test_help_and_completion_load_no_http_client(command: str) -> None:
    source = (
        "import sys; sys.argv = ['sluicegate', *sys.argv[1:]]\n"
        "from sluicegate_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx2', 'boto3', 'botocore', 'yaml', 'pydantic', 'jwt', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", source, command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ended.stdout.splitlines()[-1] == "[]"
