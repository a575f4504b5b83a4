"""What is drawn of an observation, on terminals of several sizes, and what `status` shows of it."""

import io
from typing import Any

import pytest
from rich.console import Console

from sluicegate.documents import observed as documents
from sluicegate.documents.observed import Looks
from sluicegate_cli.rollout_view import RolloutView
from support.cli_running import Run
from support.cli_server import BEGAN, ID, Reply, Server, document, succeeded
from support.cli_terminal import NASTY, on_a_terminal
from support.observed import alarm, finding, look, observed, series


def seen(
    looks: list[dict[str, Any]],
    *,
    width: int = 100,
    height: int = 40,
    encoding: str = "utf-8",
    **members: Any,
) -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(RolloutView(observed(looks, **members), lambda: BEGAN + 100, Looks(looks)))
    file.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def test_old_and_new_share_a_scale_with_their_intervals_the_limit_and_the_verdict() -> None:
    head, new, old = seen([look(20)])[2:5]

    assert head == "  errors  unclear  ×3.1 (1.2–8.0), limit ×2"
    assert new.index("├") < new.index("●") < new.index("┤")
    assert new.index("├") > old.index("●")
    assert "1.2 % of 1,204 (0.7–2.0 %)" in new
    assert "0.4 % of 10,812 (0.29–0.54 %)" in old
    assert new.index("│") == old.index("│")  # the limit: twice the old version's


def test_the_series_grows_with_the_looks() -> None:
    bars = "▁▂▃▄▅▆▇█"
    shown = [bars.index(bar) for bar in seen(series(6))[3][-6:]]

    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    assert seen(series(1))[3].endswith(")")


@pytest.mark.parametrize("width", [200, 120, 80, 64, 60, 40, 20, 10])
def test_a_line_is_never_wider_than_the_terminal(width: int) -> None:
    looks = series(15)
    looks[-1]["alarms"] = [alarm()]
    looks[-1]["findings"].append(
        finding("a-metric-with-a-name-of-its-own-that-is-long" * 2, needed=10_000_000)
    )

    lines = seen(looks, width=width)

    assert max(map(len, lines)) <= width
    assert ("├" in "".join(lines)) == (width >= 64)


def test_a_low_terminal_names_every_limit_and_draws_the_worst() -> None:
    findings = [finding(f"metric-{index}", verdict="good") for index in range(8)] + [
        finding("errors", verdict="bad")
    ]

    lines = seen([look(20, *findings)], height=18)

    assert len(lines) <= 18
    assert lines[2].startswith("  errors  bad")
    assert sum(line.startswith("    new") for line in lines) == 2
    assert sum("metric-" in line for line in lines) == 8


def test_more_limits_than_a_terminal_has_lines_are_counted() -> None:
    lines = seen([look(20, *(finding(f"metric-{index}") for index in range(30)))], height=24)

    assert "  and 18 more limits" in lines
    assert len(lines) <= 24


def test_a_terminal_without_unicode_is_drawn_too() -> None:
    new = seen([look(20)], encoding="ascii")[3]

    assert new.startswith("    new ")
    assert {"[", "o", "]", "="} <= set(new)


def test_only_observed_is_said() -> None:
    lines = seen([look(20, finding(mode="observe", verdict="bad"))])

    assert "  errors  bad (observed)  ×3.1 (1.2–8.0), limit ×2" in lines


def test_a_ratio_without_an_upper_end_is_shown_as_such() -> None:
    lines = seen([look(20, finding(ratio={"value": 12.0, "low": 3.1, "high": None}))])

    assert "  errors  unclear  ×12 (3.1–∞), limit ×2" in lines


def test_what_would_settle_it_is_said() -> None:
    assert seen([look(20, finding(needed=2_300))])[2].endswith(
        "limit ×2; about 2,300 more requests would settle it"
    )


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (1, "a later look needs less evidence"),
        (2, "about 2 more requests would settle it"),
        (None, ""),
    ],
)
def test_where_there_are_enough_requests_time_settles_it(needed: int | None, said: str) -> None:
    assert documents.needed({"needed": needed}) == said


def test_a_finding_without_measurements_is_its_message() -> None:
    judge = finding(
        "judge", "judge", bound=None, new=None, old=None, ratio=None, message="judge: unclear: no answer"
    )
    empty = finding(new=None, old=None, ratio=None, message="errors: no requests of the old version: unclear")

    lines = seen([look(20, judge, empty)])

    assert "  judge: unclear: no answer" in lines
    assert "  errors: no requests of the old version: unclear" in lines


def test_an_alarm_that_is_not_ok_comes_first() -> None:
    alarms = [alarm("quiet", "OK"), alarm(), alarm("new", "INSUFFICIENT_DATA", since=None, reason=None)]

    lines = seen([look(20, alarms=alarms)], width=160)

    assert lines[2].startswith("  alarm orders-5xx is in ALARM since 2026-09-21T")
    assert lines[3] == "  alarm new is in INSUFFICIENT_DATA"
    assert not any("quiet" in line for line in lines)


@pytest.mark.parametrize("members", [{}, {"status": "verifying"}, {"status": "succeeded", "final": True}])
def test_without_an_observation_or_a_bake_nothing_is_drawn(members: dict[str, Any]) -> None:
    lines = seen(series(3) if members else [], **members)

    assert not any("errors" in line for line in lines)


def test_what_the_record_says_cannot_move_the_cursor() -> None:
    nasty = {**finding(limit=NASTY, rule=NASTY, verdict=NASTY, message=NASTY, unit=NASTY), "mode": NASTY}
    nothing = finding(NASTY + "2", message=NASTY, new=None)

    text = "\n".join(
        seen([look(20, finding(), alarms=[alarm(NASTY, NASTY, since=NASTY, reason=NASTY)])])
    ) + "".join(seen([look(20, finding()) | {"findings": [nasty, nothing]}]))

    assert not {"\x1b", "\u202e", "\u2028"} & set(text)


# The commands


def test_a_terminal_is_drawn_from_all_looks_at_once(server: Server) -> None:
    looks = series(6)
    server.clock = lambda: BEGAN + 100
    server.on(
        "GET",
        f"/deployments/{ID}",
        Reply(200, observed(looks)),
        Reply(200, observed(looks, observations=looks)),
        *(Reply(200, observed(looks)) for _ in range(3)),
        Reply(200, _ended(looks)),
    )

    written = on_a_terminal(server, "watch", ID)

    queries = [call.query for call in server.calls("GET", f"/deployments/{ID}")]
    assert [query for query in queries if "observations" in query] == ["observations=all"]
    assert "bad" in written
    assert "├" in written
    assert "▆" in written
    assert "\x1b[1;31m" in written


def test_without_colour_a_terminal_has_the_drawing_and_no_colour(server: Server) -> None:
    looks = series(6)
    server.clock = lambda: BEGAN + 100
    baking, ended = Reply(200, observed(looks, observations=looks)), Reply(200, _ended(looks))
    server.on("GET", f"/deployments/{ID}", *(baking for _ in range(3)), ended)

    written = on_a_terminal(server, "watch", ID, NO_COLOR="1")

    assert "├" in written
    assert "\x1b[31m" not in written
    assert "\x1b[1;31m" not in written
    assert "\x1b[34m" not in written


def test_a_log_has_lines_and_no_drawing(run: Run, server: Server) -> None:
    looks = series(2)
    said = {"seq": 9, "at": looks[-1]["at"], "status": "baking", "message": "errors: 1.2 % of 1,204: unclear"}
    shown = observed(looks)
    shown = {**shown, "timeline": [*shown["timeline"], said]}
    server.on("GET", f"/deployments/{ID}", Reply(200, shown), Reply(200, _ended(looks)))

    ended = run("watch", ID)

    assert "baking        errors: 1.2 % of 1,204: unclear\n" in ended.out
    assert "├" not in ended.out
    assert "\x1b" not in ended.out
    assert server.calls("GET", f"/deployments/{ID}")[0].query == ""


def test_status_shows_the_newest_look_as_a_table(run: Run, server: Server) -> None:
    answer = {"verdict": "bad", "message": "judge: bad: stock is wrong"}
    judge = finding("judge", "judge", bound=None, new=None, old=None, ratio=None, **answer)
    newest = look(20, finding(), judge, alarms=[alarm()])
    server.on("GET", f"/deployments/{ID}", Reply(200, observed([newest])))

    lines = run("status", ID).out.splitlines()

    assert any(line.startswith("observed 2026-09-21T") and line.endswith("at 10%: bad") for line in lines)
    assert any(line.startswith("alarm orders-5xx is in ALARM") for line in lines)
    answered, errors = (next(line for line in lines if line.startswith(name)) for name in ("judge", "errors"))
    assert lines.index(answered) < lines.index(errors)
    assert answered.endswith("judge: bad: stock is wrong")
    for part in ("unclear", "1.2 % of 1,204 (0.7–2.0 %)", "0.4 % of 10,812", "×3.1 (1.2–8.0)", "×2"):
        assert part in errors


def test_status_without_an_observation_has_no_such_table(run: Run, server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, observed([])))

    assert "observed" not in run("status", ID).out


def _ended(looks: list[dict[str, Any]]) -> dict[str, Any]:
    return document(succeeded(), observation=looks[-1])
