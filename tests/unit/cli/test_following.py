"""`promote`, `rollback`, `approve`, `reject`, `abort`, `hold`: what they ask for, and what they end with."""

import json
import re
from typing import Any

import pytest

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Status
from support.cli_running import Run
from support.cli_server import (
    BEGAN,
    ID,
    STEPS,
    Reply,
    Server,
    accepted,
    awaiting,
    baking,
    document,
    ended,
    failed,
    problem,
    publishing,
    shown,
    succeeded,
)
from support.cli_terminal import NASTY

SHA = "ab" * 32
SERVING = {
    "version": "42",
    "artifact": {"sha256": SHA},
    "weights": {},
    "alias": "staging",
    "target": {"account": "000000000000", "region": "eu-central-1"},
    "deployment": ID,
    "sha": "714a629c",
    "ref": "v1.4.0",
    "since": "2026-01-01T00:00:00.000Z",
    "by": {"project_path": "acme/orders", "user_login": "ada"},
}
PLAN = {
    "target": {"account": "000000000000", "region": "eu-central-1"},
    "alias": "prod",
    "steps": STEPS,
    "gate": "cd" * 32,
}
WOULD = {
    "dry_run": True,
    "allowed": True,
    "rule": "orders to prod",
    "plan": PLAN,
    "busy": False,
    "deployment": None,
}
WATCH = {
    "alarms": ["orders-5xx"],
    "limits": [
        {"metric": "errors", "most": 1.5, "max_ratio": 2, "min_samples": 200},
        {"metric": "duration_p95", "most": 800, "max_ratio": None, "min_samples": 50},
    ],
    "unclear": "extend",
}
GRACE = {"user_login": "grace", "project_path": "acme/ops", "job_id": "9"}


def serves(server: Server, **stages: Any) -> None:
    server.on("GET", "/functions/orders-api", Reply(200, {"function": "orders-api", "stages": stages}))


def posted(server: Server, path: str = "/deployments") -> Any:
    [asked] = server.calls("POST", path)
    return asked.json


def promotion(**members: Any) -> Reply:
    return Reply(202, document(succeeded(), **{"action": "promote", "from": "staging"} | members))


# Promote


@pytest.mark.parametrize(
    ("option", "member"),
    [(("--version", "42"), {"version": "42"}), (("--artifact", SHA), {"artifact": {"sha256": SHA}})],
    ids=["version", "artifact"],
)
def test_promotes_what_it_is_told(
    run: Run, server: Server, option: tuple[str, ...], member: dict[str, Any]
) -> None:
    server.on("POST", "/deployments", promotion())

    ran = run("promote", "orders-api", "prod", "--from", "staging", *option)

    assert ran.code == 0
    about = {"action": "promote", "function": "orders-api", "stage": "prod", "from": "staging"}
    assert posted(server) == about | member
    assert not server.calls("GET", "/functions/orders-api")
    assert ran.out.splitlines()[-1] == (
        "succeeded: orders-api serves version 42 (was 41) in prod, promoted from staging, 1.9 s"
    )


def test_promotes_exactly_what_the_source_serves_and_says_so(run: Run, server: Server) -> None:
    serves(server, staging=SERVING, dev={**SERVING, "version": "43"})
    server.on("POST", "/deployments", promotion())

    ran = run("promote", "orders-api", "prod", "--from", "staging")

    assert ran.code == 0
    assert posted(server)["version"] == "42"
    assert "artifact" not in posted(server)
    assert ran.out.splitlines()[0] == (
        f"staging serves version 42 of v1.4.0, sha256 {SHA[:12]}: promoting it"
    )


@pytest.mark.parametrize(
    ("stages", "detail"),
    [
        ({"dev": SERVING}, "orders-api serves nothing in staging that you may see"),
        (
            {"staging": {**SERVING, "version": "41", "weights": {"42": 0.1}}},
            "orders-api serves two versions in staging now: version 41, version 42: 10%",
        ),
    ],
    ids=["nothing there", "in between"],
)
def test_does_not_guess_what_to_promote(run: Run, server: Server, stages: Any, detail: str) -> None:
    serves(server, **stages)

    ran = run("promote", "orders-api", "prod", "--from", "staging", "--json")

    assert ran.code == 4
    assert json.loads(ran.out)["code"] == "nothing_to_promote"
    assert detail in ran.err
    assert not server.calls("POST", "/deployments")


def test_every_option_of_a_request_is_a_member_of_its_body(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", promotion())

    run(
        *("promote", "orders-api", "prod", "--from", "staging", "--version", "42"),
        *("--strategy", "canary:10:5m", "--on-busy", "supersede", "--expect-version", "41"),
        *("--release", "v1.4.0", "--description", "first", "--idempotency-key", "once"),
    )

    assert posted(server) == {
        "action": "promote",
        "function": "orders-api",
        "stage": "prod",
        "from": "staging",
        "version": "42",
        "strategy": {"type": "canary", "percent": 10, "bake": "5m"},
        "on_busy": "supersede",
        "expect": {"version": "41"},
        "release": "v1.4.0",
        "description": "first",
    }
    assert server.calls("POST", "/deployments")[0].headers["idempotency-key"] == "once"


def test_deploy_takes_a_strategy_and_what_to_do_when_busy(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(succeeded(), 202))

    run(
        *("deploy", "orders-api", "prod", "--artifact", SHA),
        *("--strategy", "steps:5:1m,100", "--on-busy", "fail"),
    )

    assert posted(server)["strategy"] == {
        "type": "steps",
        "steps": [{"percent": 5, "bake": "1m"}, {"percent": 100}],
    }
    assert posted(server)["on_busy"] == "fail"


# Rollback


@pytest.mark.parametrize("option", [(), ("--version", "41")], ids=["to the one before", "to a version"])
def test_a_rollback_that_succeeded_is_exit_0(run: Run, server: Server, option: tuple[str, ...]) -> None:
    back = document(succeeded(), action="rollback", version="41")
    back["alias"] = {**back["alias"], "original": {"version": "42", "weights": {}}}
    server.on("POST", "/deployments", Reply(202, back))

    ran = run("rollback", "orders-api", "prod", *option)

    assert ran.code == 0
    about = {"action": "rollback", "function": "orders-api", "stage": "prod"}
    assert posted(server) == about | ({"version": "41"} if option else {})
    assert ran.out.splitlines()[-1] == (
        "succeeded: orders-api serves version 41 again (was 42) in prod, 1.9 s"
    )


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        (("rollback", "orders-api", "prod"), f"{ID} is in progress and would be aborted first"),
        (("rollback", "orders-api", "prod", "--on-busy", "fail"), "rejected as busy"),
        (("deploy", "orders-api", "prod", "--artifact", SHA), "rejected as busy"),
        (
            ("deploy", "orders-api", "prod", "--artifact", SHA, "--on-busy", "supersede"),
            f"{ID} is in progress and would be aborted first",
        ),
    ],
    ids=lambda value: " ".join(value).replace(SHA, "SHA") if isinstance(value, tuple) else "",
)
def test_a_dry_run_says_what_becomes_of_who_is_in_the_way(
    run: Run, server: Server, verb: tuple[str, ...], says: str
) -> None:
    server.on("POST", "/deployments", Reply(200, {**WOULD, "busy": True, "deployment": ID}))

    ran = run(*verb, "--dry-run")

    assert ran.code == 0
    assert posted(server)["dry_run"] is True
    assert says in ran.out


def test_a_dry_run_shows_all_that_the_plan_asks_for(run: Run, server: Server) -> None:
    plan = {
        **PLAN,
        "smoke": True,
        "watch": WATCH,
        "approval": {"expires": "24h"},
        "requires": {"succeeded_in": "dev"},
        "order": "pipeline",
    }
    server.on("POST", "/deployments", Reply(200, {**WOULD, "plan": plan}))

    ran = run("deploy", "orders-api", "prod", "--artifact", SHA, "--dry-run")

    assert ran.out.splitlines()[1:] == [
        "would move alias prod in 000000000000, eu-central-1",
        "  10% for 5m",
        "  50% for 10m",
        "  100%",
        "smoke: the new version must pass a smoke test before it gets traffic",
        "watch: alarm orders-5xx; errors at most 1.5% and at most 2 times the previous version's, with at "
        "least 200 requests; p95 duration at most 800 ms, with at least 50 requests; "
        "an unclear verdict extends the bake",
        "approval: by a second person within 24h",
        "requires: the same code must have succeeded in dev",
        "order: an older pipeline cannot overwrite a newer one",
    ]


# Approve, reject, abort


@pytest.mark.parametrize("verb", ["approve", "reject", "abort"])
@pytest.mark.parametrize(
    ("option", "body"), [((), {}), (("--reason", "change 812"), {"reason": "change 812"})], ids=["", "reason"]
)
def test_a_decision_is_one_post(
    run: Run, server: Server, verb: str, option: tuple[str, ...], body: dict[str, str]
) -> None:
    server.on("POST", f"/deployments/{ID}/{verb}", shown(publishing(), 202))

    ran = run(verb, ID, "--no-wait", *option)

    assert ran.code == 0
    assert posted(server, f"/deployments/{ID}/{verb}") == body
    assert f"status: publishing; it continues on its own. To follow it: sluicegate watch {ID}" in ran.out
    assert not server.calls("GET", f"/deployments/{ID}")


def test_an_approval_is_not_followed_unless_told_to(run: Run, server: Server) -> None:
    server.on("POST", f"/deployments/{ID}/approve", shown(publishing(), 202))
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))

    assert run("approve", ID).out.startswith(f"deployment {ID} approved\n")
    assert not server.calls("GET", f"/deployments/{ID}")
    assert run("approve", ID, "--wait").code == 0
    assert server.calls("GET", f"/deployments/{ID}")


def test_an_approved_deployment_that_fails_is_exit_1_for_who_waits(run: Run, server: Server) -> None:
    server.on("POST", f"/deployments/{ID}/approve", shown(publishing(), 202))
    server.on("GET", f"/deployments/{ID}", shown(failed()))

    assert run("approve", ID, "--wait").code == 1


def test_the_same_decision_again_says_so(run: Run, server: Server) -> None:
    server.on(
        "POST", f"/deployments/{ID}/approve", shown(succeeded(), 200, **{"Idempotent-Replayed": "true"})
    )

    ran = run("approve", ID)

    assert ran.code == 0
    assert ran.out.splitlines() == [f"deployment {ID} approved (already requested)", "status: succeeded"]


@pytest.mark.parametrize(
    ("verb", "status", "code", "exit_code"),
    [
        ("abort", Status.ABORTED, "aborted", 0),
        ("abort", Status.FAILED, "shift_failed", 1),
        ("reject", Status.REJECTED, "rejected", 0),
        ("reject", Status.REJECTED, "approval_expired", 0),
        ("reject", Status.ABORTED, "superseded", 1),
    ],
)
def test_an_abort_and_a_rejection_are_followed_to_the_end_they_want(
    run: Run, server: Server, verb: str, status: Status, code: str, exit_code: int
) -> None:
    server.on("POST", f"/deployments/{ID}/{verb}", Reply(202, baking()))
    server.on("GET", f"/deployments/{ID}", Reply(200, ended(status, code, "grace: wrong branch")))

    ran = run(verb, ID)

    assert ran.code == exit_code
    assert ran.out.splitlines()[-1] == (
        f"{status}: grace: wrong branch [{code}]; alias prod was restored; "
        "orders-api serves version 41 in prod"
    )


def test_a_rejection_by_grace_touched_nothing(run: Run, server: Server) -> None:
    alias = {"name": "prod", "original": None, "current": None, "outcome": "untouched"}
    rejected = ended(Status.REJECTED, "rejected", "rejected by grace", alias=alias, version=None)
    server.on("POST", f"/deployments/{ID}/reject", Reply(202, rejected))

    assert run("reject", ID).out.splitlines()[-1] == (
        "rejected: rejected by grace [rejected]; alias prod was not changed"
    )


@pytest.mark.parametrize(
    ("verb", "status", "code", "exit_code", "hint"),
    [
        ("approve", 403, "not_allowed", 3, "sluicegate whoami"),
        ("approve", 409, "wrong_state", 4, "sluicegate status ID"),
        ("reject", 409, "wrong_state", 4, "too late or too early"),
        ("abort", 409, "wrong_state", 4, "too late or too early"),
        ("abort", 404, "not_found", 4, "does not reveal which"),
    ],
)
def test_a_decision_that_is_refused(
    run: Run, server: Server, verb: str, status: int, code: str, exit_code: int, hint: str
) -> None:
    server.on("POST", f"/deployments/{ID}/{verb}", Reply(status, problem(status, code, "no, because")))

    ran = run(verb, ID, "--json")

    assert ran.code == exit_code
    assert json.loads(ran.out)["code"] == code
    assert "no, because" in ran.err
    assert hint in ran.err


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("source_changed", "sluicegate status FUNCTION"),
        ("outdated", "A newer pipeline has deployed there"),
        ("held", "sluicegate hold STAGE"),
        ("busy", "--on-busy supersede"),
    ],
)
def test_each_conflict_has_a_way_on(run: Run, server: Server, code: str, hint: str) -> None:
    server.on("POST", "/deployments", Reply(409, problem(409, code, "no, because")))

    ran = run("promote", "orders-api", "prod", "--from", "staging", "--version", "42")

    assert ran.code == 4
    assert hint in ran.err


# Hold

HELD = {
    "stage": "prod",
    "holds": [
        {
            "rule": "orders to prod",
            "functions": ["orders-*", "bills-*"],
            "reason": "incident 77",
            "since": "2026-01-01T00:00:00.000Z",
            "by": GRACE,
        }
    ],
}
FREE: dict[str, Any] = {"stage": "prod", "holds": []}


def test_a_stage_is_held_with_a_reason(run: Run, server: Server) -> None:
    server.on("POST", "/stages/prod/hold", Reply(200, HELD))

    ran = run("hold", "prod", "--reason", "incident 77")

    assert ran.code == 0
    assert posted(server, "/stages/prod/hold") == {"reason": "incident 77"}
    head, _, row = ran.out.splitlines()
    assert head == "prod is held"
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == [
        "orders-*, bills-*",
        "incident 77",
        "2026-01-01T00:00:00.000Z",
        "grace, job 9 of acme/ops",
        "orders to prod",
    ]


@pytest.mark.parametrize(
    ("option", "method", "answer", "says"),
    [
        ((), "GET", HELD, "prod is held"),
        ((), "GET", FREE, "prod is not held"),
        (("--release",), "DELETE", FREE, "prod is no longer held"),
        (("--release",), "DELETE", HELD, "prod is still held, by another rule"),
    ],
    ids=["shows", "shows none", "releases", "releases its own only"],
)
def test_a_hold_is_shown_and_released(
    run: Run, server: Server, option: tuple[str, ...], method: str, answer: Any, says: str
) -> None:
    server.on(method, "/stages/prod/hold", Reply(200, answer))

    ran = run("hold", "prod", *option)

    assert ran.code == 0
    assert ran.out.splitlines()[0] == says
    assert [asked.method for asked in server.asked] == [method]
    assert json.loads(run("hold", "prod", *option, "--json").out) == answer


# Wrong use


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "orders-api", "prod"),
        ("promote", "orders-api", "prod", "--from", "staging", "--version", "42", "--artifact", SHA),
        ("promote", "orders-api", "prod", "--from", "staging", "--version", "$LATEST"),
        ("promote", "orders-api", "prod", "--from", "staging", "--strategy", "canary"),
        ("promote", "orders-api", "prod", "--from", "staging", "--on-busy", "wait"),
        ("rollback", "orders-api"),
        ("rollback", "orders-api", "prod", "--strategy", "all-at-once"),
        ("approve",),
        ("hold", "prod", "--reason", "incident 77", "--release"),
        ("hold", "--release"),
    ],
    ids=lambda arguments: " ".join(arguments).replace(SHA, "SHA"),
)
def test_wrong_use_is_exit_2_before_anything_is_asked(
    run: Run, server: Server, arguments: tuple[str, ...]
) -> None:
    assert run(*arguments).code == 2
    assert not server.asked


def test_a_strategy_that_is_none_says_what_it_may_be(run: Run) -> None:
    ran = run("deploy", "orders-api", "prod", "--artifact", SHA, "--strategy", "canary:10%:5m")

    assert ran.code == 2
    assert "'10%' is not a percentage" in ran.err


# What a log and `status` show


def test_a_log_says_once_how_to_approve_and_by_whom(run: Run, server: Server) -> None:
    server.clock = lambda: BEGAN + 1
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", Reply(200, awaiting()), Reply(200, awaiting()), shown(succeeded()))

    ran = run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert ran.out.count(f"sluicegate approve {ID}") == 1
    form = "https://gitlab.example.com/acme/orders/-/pipelines/new?var%5BDEPLOYMENT%5D="
    assert ran.out.count(f"{form}{ID}\n") == 1
    assert "as a different user and in a different pipeline" in ran.out
    assert "\x1b" not in ran.out + ran.err


def test_a_log_has_a_plain_line_a_minute_by_the_apis_clock(run: Run, server: Server) -> None:
    server.clock = lambda: BEGAN + 104.5
    server.on("GET", f"/deployments/{ID}", Reply(200, baking()), Reply(200, baking()), shown(succeeded()))

    ran = run("watch", ID)

    lines = [line.strip() for line in ran.out.splitlines()]
    assert lines[:-2] == [
        "+0.0s  accepted      accepted by rule 'orders to prod'",
        "+0.3s  publishing    publishing",
        "+4.9s  baking        alias prod: 10% on version 42",
    ]
    assert re.fullmatch(r"baking 10%, 3m(20|1[0-9])s left", lines[-2])


def test_waiting_lasts_as_long_as_the_steps_bake_and_ten_minutes(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 500))
    monkeypatch.setattr("sluicegate_cli.follow.time.monotonic", lambda: next(now))
    server.on("GET", f"/deployments/{ID}", Reply(200, baking()))

    ran = run("watch", ID)

    assert ran.code == 6
    assert "still baking after 1500 s" in ran.out


def test_status_shows_where_a_rollout_is(run: Run, server: Server) -> None:
    server.clock = lambda: BEGAN + 64.5
    approval = {"expires": "24h", "decision": "approved", "by": GRACE, "reason": "change 812"}
    members: dict[str, Any] = {"action": "promote", "from": "staging", "smoke": True, "watch": WATCH}
    server.on("GET", f"/deployments/{ID}", Reply(200, baking(approval=approval, **members)))

    ran = run("status", ID)

    assert ran.code == 0
    facts = dict(line.split("  ", 1) for line in ran.out.splitlines() if "  " in line)
    facts = {name: fact.strip() for name, fact in facts.items()}
    assert facts["action"] == "promote from staging"
    assert facts["steps"] == "10% for 5m, 50% for 10m, 100%"
    assert facts["step"] == "1 of 3; 10% of the traffic on version 42"
    assert facts["until"].startswith(f"{timestamp(BEGAN + 304.9)} (")
    assert re.search(r"\((4m0|3m5[0-9])s left\)$", facts["until"])
    assert facts["approval"] == "approved by grace, job 9 of acme/ops: change 812"
    assert facts["smoke"] == "the new version must pass a smoke test before it gets traffic"
    assert facts["watch"].startswith("alarm orders-5xx; errors at most 1.5%")


def test_history_shows_the_action(run: Run, server: Server) -> None:
    items = [document(succeeded(), action="rollback"), document(failed())]
    server.on("GET", "/deployments", Reply(200, {"items": items, "next_cursor": None}))

    rows = run("history").out.splitlines()

    assert [row.split()[2] for row in rows] == ["action", "rollback", "deploy"]


def test_what_a_server_says_is_clean_here_too(run: Run, server: Server) -> None:
    by = {"user_login": NASTY, "project_path": NASTY, "job_id": NASTY}
    approval = {"expires": NASTY, "decision": NASTY, "by": by, "reason": NASTY}
    limit = {"metric": NASTY, "most": 1, "max_ratio": 2, "min_samples": 3}
    watch = {"alarms": [NASTY], "limits": [limit], "unclear": NASTY}
    nasty = {"approval": approval, "watch": watch, "from": NASTY, "action": NASTY}
    hold = {"rule": NASTY, "functions": [NASTY], "reason": NASTY, "since": NASTY, "by": by}
    plan = {**PLAN, "watch": watch, "approval": NASTY, "requires": NASTY, "order": NASTY}
    end = ended(Status.ABORTED, NASTY, NASTY, **nasty)
    end["alias"]["current"] = {"version": NASTY, "weights": {NASTY: 0.5}}
    serves(server, staging={**SERVING, "version": NASTY, "ref": NASTY})
    server.on("POST", "/deployments", Reply(200, {**WOULD, "plan": plan}))
    server.on("GET", "/stages/prod/hold", Reply(200, {"stage": NASTY, "holds": [hold]}))
    server.on("POST", f"/deployments/{ID}/abort", Reply(202, baking(**nasty)))
    server.on("GET", f"/deployments/{ID}", Reply(200, end))

    for arguments in (
        ("abort", ID),
        ("abort", ID, "--no-wait"),
        ("status", ID),
        ("hold", "prod"),
        ("promote", "orders-api", "prod", "--from", "staging", "--dry-run"),
    ):
        ran = run(*arguments)
        for written in (ran.out, ran.err):
            assert not {"\x1b", "\u202e", "\u2028"} & set(written)
            assert not any(line.startswith("succeeded: forged") for line in written.splitlines())
