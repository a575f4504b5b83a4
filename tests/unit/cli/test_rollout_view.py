"""What somebody at a terminal sees of a rollout, and how the clocks of two machines come together."""

import io
from typing import Any

import pytest
from rich.console import Console

from sluicegate.deployment.durations import timestamp
from sluicegate_cli.api import ApiClient
from sluicegate_cli.rollout_view import Reminder, RolloutView
from support.cli_server import (
    BEGAN,
    ID,
    STEPS,
    TOKEN,
    Reply,
    Server,
    awaiting,
    baking,
    document,
    publishing,
    shown,
)
from support.cli_server import succeeded as succeeded_deployment
from support.cli_terminal import on_a_terminal

FORM = f"https://gitlab.example.com/acme/orders/-/pipelines/new?var%5BDEPLOYMENT%5D={ID}"
WATCH = {
    "alarms": ["orders-5xx", "orders-slow"],
    "limits": [{"metric": "errors", "most": None, "max_ratio": 2, "min_samples": 200}],
    "unclear": "pass",
}


def seen(deployment: dict[str, Any], at: float, *, width: int = 80, **console: Any) -> list[str]:
    """The lines of the view, `at` seconds after acceptance."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None, **console).print(
        RolloutView(deployment, lambda: BEGAN + at)
    )
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_bake_shows_the_weights_the_step_the_time_left_and_what_is_next() -> None:
    assert seen(baking(watch=WATCH), 104.9, width=100) == [
        "⠋ baking, step 1 of 3, 3m20s left  (1m44s total)",
        f"  v41 {'█' * 36}{'░' * 4} v42 10%",
        "  next: 50% for 10m, 100%",
        "  watched: alarms orders-5xx, orders-slow",
        "  watched: errors at most 2 times the previous version's, with at least 200 requests",
        "  watched: an unclear verdict passes",
    ]
    assert seen(baking(watch=WATCH), 104.9, width=60)[4].endswith("the previous version's, w…")


def test_a_fix_shows_the_alarms_that_it_overlooks_until_they_are_silent() -> None:
    alarm = {"name": "5xx", "since": None, "reason": None, "link": None, "silent_at": None}
    fix = {"reason": "v1.4 fails", "overlooked": [alarm], "silent_by": None}
    line = "  fix-forward: overlooks alarm 5xx, firing"
    assert seen(baking(fix_forward=fix), 104.9)[-1] == line
    assert seen(baking(fix_forward={**fix, "silent_by": "T"}), 104.9)[-1] == f"{line}, must be silent by T"
    silent = {**fix, "overlooked": [{**alarm, "silent_at": "T"}]}
    assert line not in seen(baking(fix_forward=silent), 104.9)


def test_the_time_left_is_counted_down_between_answers() -> None:
    heads = [seen(baking(), at)[0].split(", ")[-1] for at in (5, 6, 250, 304, 310)]

    assert heads == [
        "4m59s left  (5.0s total)",
        "4m58s left  (6.0s total)",
        "54s left  (4m10s total)",
        "due now  (5m4s total)",
        "due now  (5m10s total)",
    ]


@pytest.mark.parametrize(
    ("weight", "new"), [(0, 0), (1, 1), (10, 4), (50, 20), (99, 39), (100, 40)], ids=lambda value: str(value)
)
def test_the_bar_is_the_share_and_never_hides_a_little_of_it(weight: int, new: int) -> None:
    bar = seen(baking(weight=weight), 10)[1]

    assert (bar.count("█"), bar.count("░")) == (40 - new, new)
    assert bar.endswith(f"v42 {weight}%")


def test_a_narrow_terminal_has_a_shorter_bar() -> None:
    lines = seen(baking(), 10, width=50)

    assert lines[1] == f"  v41 {'█' * 18}{'░' * 2} v42 10%"


def test_a_terminal_without_unicode_has_a_bar_too() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="replace")

    Console(file=file, width=80, force_terminal=True, color_system=None).print(
        RolloutView(baking(), lambda: BEGAN)
    )
    file.flush()

    assert f"  v41 {'#' * 36}{'-' * 4} v42 10%" in raw.getvalue().decode("ascii")


def test_there_is_no_bar_before_there_is_a_version_nor_where_none_was_replaced() -> None:
    new = baking()
    new["alias"]["original"] = None

    assert seen(document(publishing(), steps=STEPS), 0.4) == [
        "⠋ publishing  (0.4s total)",
        "  next: 10% for 5m, 50% for 10m, 100%",
    ]
    assert not any("v42" in line for line in seen(new, 10))


def test_a_shift_says_where_it_goes_and_a_way_back_has_no_next() -> None:
    shifting = baking(status="shifting", step=1, until=None)
    back = baking(status="rolling_back", step=None, until=None, watch=WATCH)

    assert seen(shifting, 310)[0] == "⠋ shifting to 50%, step 2 of 3  (5m10s total)"
    assert seen(document(succeeded_deployment(), steps=STEPS), 2)[1:] == [f"  v41 {'░' * 40} v42 100%"]
    assert seen(back, 20) == ["⠋ rolling back  (20.0s total)", f"  v41 {'█' * 36}{'░' * 4} v42 10%"]


def test_of_many_steps_the_next_ones_and_the_last_are_named() -> None:
    steps = [{"percent": percent, "bake": "2m"} for percent in range(10, 100, 10)]
    steps.append({"percent": 100, "bake": "0s"})

    assert seen(baking(steps=steps), 10)[2] == "  next: 20% for 2m, 30% for 2m, 40% for 2m, …, 100%"


def test_an_approval_says_how_by_whom_and_until_when() -> None:
    assert seen(awaiting(), 60.2, width=120) == [
        "⠋ awaiting approval, 23h59m left to approve it  (1m0s total)",
        "  next: 10% for 5m, 50% for 10m, 100%",
        "  to approve it (or reject it), as a different user and in a different pipeline:",
        f"  sluicegate approve {ID}",
        f"  {FORM}",
    ]


def test_without_a_project_path_there_is_no_link_to_approve() -> None:
    by = {**awaiting()["requested_by"], "project_path": None}

    assert seen(awaiting(requested_by=by), 60.2)[-1] == f"  sluicegate approve {ID}"


def test_a_link_to_approve_stays_whole_on_a_narrow_terminal() -> None:
    lines = seen(awaiting(), 60.2, width=60)

    assert "".join(lines).replace(" ", "").endswith(FORM)


def test_what_is_approved_already_does_not_ask_for_it() -> None:
    approval = {"expires": "24h", "decision": "approved", "by": {"user_login": "grace"}, "reason": None}

    assert not any("sluicegate approve" in line for line in seen(awaiting(approval=approval), 60))


def test_documents_without_the_new_members_are_shown_too() -> None:
    old = baking()
    for name in ("since", "until", "step", "approval", "smoke", "watch", "from"):
        del old[name]

    assert seen(old, 10)[0] == "⠋ baking  (10.0s total)"
    assert Reminder().due(old, BEGAN + 90) == "baking 10%"


def test_what_the_server_says_cannot_move_the_cursor() -> None:
    nasty = "\x1b[2J\n[bold]\u202e"
    steps = [{"percent": nasty, "bake": nasty}] * 2
    deployment = baking(status=nasty, version=nasty, steps=steps, watch={**WATCH, "alarms": [nasty]})

    file = io.StringIO()
    Console(file=file, width=200, force_terminal=True, color_system=None).print(
        RolloutView(deployment, lambda: BEGAN)
    )

    assert not {"\x1b", "\u202e"} & set(file.getvalue())


# A log


@pytest.mark.parametrize(
    ("deployment", "line"),
    [
        (baking(), "baking 10%, 4m0s left"),
        (awaiting(), "awaiting approval, 23h58m left to approve it"),
        (document(publishing()), None),
        (baking(status="shifting", until=None), None),
    ],
    ids=["baking", "awaiting", "publishing", "shifting"],
)
def test_a_log_is_reminded_of_what_only_waits(deployment: dict[str, Any], line: str | None) -> None:
    reminder = Reminder()

    assert reminder.due(deployment, BEGAN + 20) is None
    assert reminder.due(deployment, BEGAN + 64.9) == line


def test_a_log_is_reminded_once_a_minute_at_most() -> None:
    reminder = Reminder()

    lines = [at for at in range(5, 305, 5) if reminder.due(baking(), BEGAN + at)]

    assert lines == [65, 125, 185, 245]


def test_a_new_step_begins_a_new_minute() -> None:
    reminder = Reminder()
    later = baking(step=1, weight=50, since=timestamp(BEGAN + 310), until=timestamp(BEGAN + 910))

    assert reminder.due(baking(), BEGAN + 70)
    assert reminder.due(later, BEGAN + 320) is None
    assert reminder.due(later, BEGAN + 371) == "baking 50%, 8m59s left"


# Clocks


def test_the_time_left_is_by_the_apis_clock(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("GET", "/whoami", Reply(200, {}))
    monkeypatch.setattr("sluicegate_cli.api.time.time", lambda: BEGAN)
    with ApiClient(server.url, TOKEN) as api:
        assert api.now() == BEGAN
        server.clock = lambda: BEGAN + 3_600
        api.get("whoami")
        assert api.now() == BEGAN + 3_600.5
        server.clock = lambda: BEGAN + 3_601  # within what `Date` can tell: the countdown does not jump
        api.get("whoami")
        assert api.now() == BEGAN + 3_600.5


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 99:99:99 GMT"])
def test_an_answer_without_a_usable_date_changes_no_clock(
    server: Server, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    server.on("GET", "/whoami", Reply(200, {}, {"Date": date}))
    monkeypatch.setattr("sluicegate_cli.api.time.time", lambda: BEGAN)
    with ApiClient(server.url, TOKEN) as api:
        api.get("whoami")
        assert api.now() == BEGAN


def test_a_terminal_sees_the_bar(server: Server) -> None:
    server.clock = lambda: BEGAN + 104.5
    server.on(
        "GET",
        f"/deployments/{ID}",
        *(Reply(200, baking()) for _ in range(3)),
        shown(succeeded_deployment()),
    )

    written = on_a_terminal(server, "watch", ID)

    assert "baking, step 1 of 3, 3m" in written
    assert "░░░░" in written
    assert "\x1b[1;32m" in written
    assert "baking 10%, " not in written  # the line for logs
