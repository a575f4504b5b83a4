"""`sluicegate deploy` against an API that does what APIs do on bad days."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from support.cli_running import Run
from support.cli_server import (
    ID,
    SIGNATURE,
    TOKEN,
    Reply,
    Server,
    accepted,
    failed,
    problem,
    publishing,
    shown,
    succeeded,
)

SHA = "ab" * 32


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "orders.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 1\n")
    return path


def permission(server: Server, size: int) -> Reply:
    upload = {
        "method": "PUT",
        "url": f"{server.origin}/bucket/key?X-Amz-Signature={SIGNATURE}",
        "headers": {"content-type": "application/zip", "if-none-match": "*", "content-length": str(size)},
        "expires_at": "2026-01-01T00:00:00.000Z",
    }
    return Reply(201, {"artifact": {}, "upload": upload})


def test_uploads_what_is_missing_then_deploys_and_tells_the_timeline(
    run: Run, server: Server, zipped: Path
) -> None:
    server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
    server.on("PUT", "/bucket/key", Reply(200, b""))
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(publishing()), shown(succeeded()))

    ended = run("deploy", "orders-api", "prod", "--zip", str(zipped), "--release", "v1.4.0")

    assert ended.code == 0
    digest = hashlib.sha256(zipped.read_bytes()).hexdigest()
    [announced] = server.calls("POST", "/artifacts")
    assert announced.json == {"function": "orders-api", "sha256": digest, "size": zipped.stat().st_size}
    [put] = server.calls("PUT", "/bucket/key")
    assert put.body == zipped.read_bytes()
    assert put.headers["if-none-match"] == "*"
    assert "authorization" not in put.headers
    [posted] = server.calls("POST", "/deployments")
    assert posted.json == {
        "action": "deploy",
        "function": "orders-api",
        "stage": "prod",
        "artifact": {"sha256": digest},
        "release": "v1.4.0",
    }
    lines = ended.out.splitlines()
    assert lines[-1] == "succeeded: orders-api serves version 42 (was 41) in prod, 1.9 s"
    assert [line.split()[:2] for line in lines[-4:-1]] == [
        ["+0.0s", "accepted"],
        ["+0.3s", "publishing"],
        ["+1.9s", "succeeded"],
    ]
    assert "\x1b" not in ended.out + ended.err


def test_asks_only_for_news_and_waits_for_it(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(publishing()), shown(succeeded()))

    run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert [asked.query for asked in server.calls("GET", f"/deployments/{ID}")] == [
        "after=1&wait=20",
        "after=2&wait=20",
    ]


@pytest.mark.parametrize("there", ["known to the API", "found by the upload"])
def test_an_artifact_that_is_there_is_not_an_error(
    run: Run, server: Server, zipped: Path, there: str
) -> None:
    if there == "known to the API":
        server.on("POST", "/artifacts", Reply(200, {"artifact": {}, "upload": None}))
    else:
        server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
        server.on("PUT", "/bucket/key", Reply(412, b"<Error><Code>PreconditionFailed</Code></Error>"))
    server.on("POST", "/deployments", shown(succeeded(), 202))

    assert run("deploy", "orders-api", "prod", "--zip", str(zipped)).code == 0


def test_a_permission_that_ran_out_is_asked_for_once_more(run: Run, server: Server, zipped: Path) -> None:
    server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
    server.on("PUT", "/bucket/key", Reply(403, b"<Error><Code>AccessDenied</Code></Error>"), Reply(200, b""))
    server.on("POST", "/deployments", shown(succeeded(), 202))

    assert run("deploy", "orders-api", "prod", "--zip", str(zipped)).code == 0
    assert len(server.calls("POST", "/artifacts")) == 2


def test_a_store_that_keeps_refusing_is_an_error_with_its_word(
    run: Run, server: Server, zipped: Path
) -> None:
    server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
    server.on("PUT", "/bucket/key", Reply(403, b"<Error><Code>AccessDenied</Code></Error>"))

    ended = run("deploy", "orders-api", "prod", "--zip", str(zipped))

    assert ended.code == 4
    assert "403 AccessDenied" in ended.err


def test_what_the_store_says_about_a_refused_upload_is_not_repeated(
    run: Run, server: Server, zipped: Path
) -> None:
    quoted = f"<Error><Code>BadDigest</Code><Message>{SIGNATURE}</Message></Error>".encode()
    server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
    server.on("PUT", "/bucket/key", Reply(400, quoted))

    ended = run("deploy", "orders-api", "prod", "--zip", str(zipped), "--json")

    assert ended.code == 4
    assert "400 BadDigest" in ended.err
    assert SIGNATURE not in ended.out + ended.err


def test_a_503_is_tried_again_and_so_is_an_answer_that_got_lost(run: Run, server: Server) -> None:
    unavailable = problem(503, "unavailable", "too many requests at once")
    server.on(
        "POST",
        "/deployments",
        Reply(503, unavailable),
        Reply(lost=True),
        shown(succeeded(), 200, **{"Idempotent-Replayed": "true"}),
    )

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--idempotency-key", "once")

    assert ended.code == 0
    asked = server.calls("POST", "/deployments")
    assert len(asked) == 3
    assert len({(one.body, one.headers["idempotency-key"]) for one in asked}) == 1
    assert "responded with 503; retrying in" in ended.err
    assert " was lost; retrying in" in ended.err
    assert "(already requested)" in ended.out


def test_without_a_key_the_request_itself_says_which_it_is(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(succeeded(), 202))

    run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert "idempotency-key" not in server.calls("POST", "/deployments")[0].headers


def test_a_refusal_names_the_nearest_rule_and_the_claim_that_failed(run: Run, server: Server) -> None:
    nearest = [
        {
            "rule": "orders to prod",
            "failed": [
                {"claim": "ref_protected", "value": "false"},
                {"claim": "environment", "value": None},
            ],
        }
    ]
    detail = "no rule allows this identity to deploy orders-api in prod"
    server.on("POST", "/deployments", Reply(403, problem(403, "not_allowed", detail, nearest=nearest)))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert ended.code == 3
    assert detail in ended.err
    rows = [line.split("  ") for line in ended.err.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["orders to prod", "ref_protected", "false"] in cells
    assert ["environment", "(not in the token)"] in cells
    assert "sluicegate whoami" in ended.err


def test_busy_names_the_deployment_that_is_in_the_way(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", Reply(409, problem(409, "busy", "not final yet", deployment=ID)))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--json")

    assert ended.code == 4
    assert json.loads(ended.out)["deployment"] == ID
    assert ID in ended.err


def test_a_request_that_is_wrong_shows_where(run: Run, server: Server) -> None:
    errors = [{"pointer": "/function", "detail": "must be the name of a function"}]
    server.on("POST", "/deployments", Reply(400, problem(400, "invalid_request", "wrong", errors=errors)))

    ended = run("deploy", "orders api", "prod", "--artifact", SHA)

    assert ended.code == 4
    assert "/function" in ended.err
    assert "must be the name of a function" in ended.err


def test_a_deployment_that_fails_is_exit_1_with_its_reason(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(failed()))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert ended.code == 1
    assert ended.out.splitlines()[-1] == (
        "failed: there is no function orders-api [function_not_found]; alias prod was not changed"
    )


def test_still_running_after_max_wait_is_exit_6_and_says_how_to_go_on(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(publishing()))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--max-wait", "1s")

    assert ended.code == 6
    assert f"sluicegate watch {ID}" in ended.out
    # It answered at once every time; asking again and again without a pause would be hundreds of requests.
    assert len(server.calls("GET", f"/deployments/{ID}")) < 8


def test_losing_sight_of_an_accepted_deployment_says_that_it_goes_on(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    expired = problem(401, "invalid_token", "expired", check="exp")
    server.on("GET", f"/deployments/{ID}", Reply(401, expired))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA)

    assert ended.code == 3
    assert f"deployment {ID} continues on its own" in ended.err


def test_no_wait_ends_with_acceptance(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--no-wait", "--json")

    assert ended.code == 0
    assert json.loads(ended.out)["status"] == "accepted"
    assert not server.calls("GET", f"/deployments/{ID}")


def test_json_is_one_document_on_stdout_and_progress_is_on_stderr(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--json")

    assert json.loads(ended.out)["status"] == "succeeded"
    assert "+1.9s" in ended.err


def test_a_dry_run_shows_the_plan_and_who_is_in_the_way(run: Run, server: Server) -> None:
    plan = {
        "target": {"account": "000000000000", "region": "eu-central-1"},
        "alias": "prod",
        "steps": [{"percent": 100, "bake": "0s"}],
        "gate": "cd" * 32,
    }
    answer = {
        "dry_run": True,
        "allowed": True,
        "rule": "orders to prod",
        "plan": plan,
        "busy": True,
        "deployment": ID,
    }
    server.on("POST", "/deployments", Reply(200, answer))

    ended = run("deploy", "orders-api", "prod", "--artifact", SHA, "--dry-run", "--expect-version", "41")

    assert ended.code == 0
    [posted] = server.calls("POST", "/deployments")
    assert posted.json["dry_run"] is True
    assert posted.json["expect"] == {"version": "41"}
    assert "nothing was changed" in ended.out
    assert ID in ended.out


FIX = ("--artifact", SHA, "--fix-forward", "--reason", "v1.4 fails")


def test_a_fix_is_asked_for_with_its_reason(run: Run, server: Server) -> None:
    server.on("POST", "/deployments", shown(accepted(), 202))
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))
    assert run("deploy", "orders-api", "prod", *FIX).code == 0
    [posted] = server.calls("POST", "/deployments")
    assert (posted.json["fix_forward"], posted.json["reason"]) == (True, "v1.4 fails")


@pytest.mark.parametrize(
    ("alarms", "said"), [(["5xx", "slow"], "before the first move, of alarms 5xx, slow"), ([], "nothing to")]
)
def test_a_dry_run_says_what_a_fix_would_overlook(
    run: Run, server: Server, alarms: list[str], said: str
) -> None:
    plan = {
        "target": {"account": "000000000000", "region": "eu-central-1"},
        "alias": "prod",
        "steps": [{"percent": 100, "bake": "0s"}],
        "gate": "cd" * 32,
    }
    answer = {"rule": "fixes", "plan": plan, "busy": False, "deployment": None}
    fix = {"reason": "v1.4 fails", "alarms": alarms}
    server.on("POST", "/deployments", Reply(200, {**answer, "fix_forward": fix}))
    assert said in run("deploy", "orders-api", "prod", *FIX, "--dry-run").out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--artifact", SHA, "--zip", __file__),
        ("--artifact", "v1.4.0"),
        ("--zip", __file__),
        ("--artifact", SHA, "--max-wait", "10"),
        ("--artifact", SHA, "--expect-version", "$LATEST"),
        ("--artifact", SHA, "--fix-forward"),
        ("--artifact", SHA, "--fix-forward", "--reason", " "),
        ("--artifact", SHA, "--reason", "why"),
    ],
    ids=lambda arguments: " ".join(arguments).replace(SHA, "SHA").replace(__file__, "FILE") or "nothing",
)
def test_wrong_use_is_exit_2_before_anything_is_asked(
    run: Run, server: Server, arguments: tuple[str, ...]
) -> None:
    assert run("deploy", "orders-api", "prod", *arguments).code == 2
    assert not server.asked


def test_neither_token_nor_presigned_url_is_ever_printed(run: Run, server: Server, zipped: Path) -> None:
    server.on("POST", "/artifacts", permission(server, zipped.stat().st_size))
    server.on("PUT", "/bucket/key", Reply(lost=True), Reply(503, b""), Reply(200, b""))
    server.on("POST", "/deployments", Reply(lost=True), Reply(502, b"<html>"), shown(succeeded(), 202))

    ended = run("deploy", "orders-api", "prod", "--zip", str(zipped))

    assert ended.code == 0
    for secret in (TOKEN, "canary-of-the-token", SIGNATURE):
        assert secret not in ended.out + ended.err
