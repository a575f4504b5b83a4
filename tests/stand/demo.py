"""Sluicegate as a user sees it: releases of one function, from a tag's pipeline to production and back.

What is printed comes from `sluicegate`, the command a job runs; what is checked comes from Lambda itself. The
demo ends what it started, and fails if anything differs from what it announced.
"""

import base64
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from stand import callers, control, places, samples
from stand.api import Stand, package
from stand.say import StandError, paint, say
from stand.traffic import Traffic

T = TypeVar("T")

FUNCTION: Final = "orders-api"
CANARY: Final = "canary-4f1c0b7e-not-to-be-seen"
_FAILING: Final = 0.6
"""The share of requests that the broken release fails: no smoke test of one request finds it reliably."""


@dataclass(frozen=True)
class Job:
    """A pipeline's job: its claims, and what its runner has on disk."""

    name: str
    claims: Mapping[str, Any]
    token: str
    directory: Path
    more: Mapping[str, str] = field(default_factory=dict)
    """Further variables."""


def demo() -> int:
    """Play it on the stand that is up, or on one that ends with it. Raises StandError where it goes wrong."""
    before = control.State.load()
    was_up = before is not None and before.is_running()
    began = time.monotonic()
    say(
        paint(
            "Sluicegate, all of it on this machine: an AWS emulator with IAM enforced, a stand-in GitLab",
            "bold",
        )
    )
    try:
        control.up(places.DEMO_GATE_FILE)
        with tempfile.TemporaryDirectory(prefix="sluicegate-demo-") as directory:
            stand = Stand.running()
            say(f"While it runs, the board shows it (sign in as grace): {paint(stand.board, 'bold')}")
            play(stand, Path(directory))
    finally:
        if was_up and before:
            control.up(Path(before.gate_file))
        else:
            control.down()
    left = "the stand is up as before" if was_up else "nothing is left running"
    say(paint(f"\nDone in {time.monotonic() - began:.0f} s; {left}. Next: make up, and README.md", "bold"))
    return 0


def play(stand: Stand, directory: Path) -> None:
    """The scenes, each announced before it happens and checked after."""
    stand.create_function(FUNCTION, samples.good("none yet"), env={"DATABASE_PASSWORD": CANARY})
    first_release(stand, directory)
    by_role(stand, directory)
    with Traffic(stand, FUNCTION, "prod", rate=20):
        canaries(stand, directory)
        way_back(stand, directory)
    refusal(stand, directory)
    tag_push(stand, directory)
    record(stand, directory)


def first_release(stand: Stand, directory: Path) -> None:
    """From nothing to dev, and from dev to prod."""
    scene(
        "A function that Terraform made, and a tag's pipeline in GitLab",
        f"{FUNCTION} exists; nothing serves it yet",
    )
    job = start_job(stand, directory, "v1.0.0", ref="v1.0.0", pipeline_id="574")
    run(stand, job, "whoami")

    scene("The job of v1.0.0 deploys to dev", "uploads the zip, publishes a version, moves the alias")
    first = archive(directory, "v1.0.0", samples.good("v1.0.0"))
    release = ("deploy", FUNCTION, "dev", "--zip", first, "--release", "v1.0.0")
    run(stand, job, *release)
    expect_release(stand, "dev", "v1.0.0")

    scene(
        "The same request again, as after a lost connection",
        "finds what it started; nothing is deployed twice",
    )
    versions = published(stand)
    run(stand, job, *release)
    expect(published(stand) == versions, f"still {len(versions)} published version")

    scene("Promoted to prod", "the same version that dev serves, after a smoke test")
    run(stand, job, "promote", FUNCTION, "prod", "--from", "dev", "--release", "v1.0.0")
    expect_release(stand, "prod", "v1.0.0")


def by_role(stand: Stand, directory: Path) -> None:
    """With IAM credentials in the place of a bearer token: job, role, signed request, deployment."""
    role = callers.existing(stand, callers.JOB)
    if role is None:
        raise StandError(f"there is no role {callers.JOB}")
    scene(
        "A job calls with IAM credentials",
        "its ID token gives it a role for 15 minutes, and API Gateway verifies each request's signature",
    )
    claims = {"ref": "v1.0.1", "pipeline_id": "577"}
    sts_token = callers.sts_token(stand, **claims)
    signing = {
        "SLUICEGATE_STS_TOKEN": sts_token,
        "SLUICEGATE_ROLE_ARN": role.arn,
        "AWS_ENDPOINT_URL_STS": stand.aws_endpoint_url,
        "AWS_REGION": stand.region,
    }
    job = Job("v1.0.1", claims, "", directory, signing)
    run(stand, job, "whoami", "--auth", "iam")
    code = archive(directory, "v1.0.1", samples.good("v1.0.1"))
    run(stand, job, "deploy", FUNCTION, "dev", "--zip", code, "--release", "v1.0.1", "--auth", "iam")
    expect_release(stand, "dev", "v1.0.1")
    branch = callers.sts_token(stand, ref="quick-fix", ref_type="branch")
    expect(callers.refusal(stand, role, branch) == "AccessDenied", "STS gives a branch's job no such role")


def canaries(stand: Stand, directory: Path) -> None:
    """While requests come in: a good release by steps, and one that is found out."""
    scene("The next release, by canary", "20% of prod's traffic for 10 s, beside the version that serves now")
    job = to_dev(stand, directory, "v1.1.0", "581", samples.good("v1.1.0"))
    run(stand, job, "promote", FUNCTION, "prod", "--from", "dev", "--release", "v1.1.0")
    expect_release(stand, "prod", "v1.1.0")

    scene("A broken release", f"passes every smoke test, and fails {_FAILING:.0%} of its requests")
    job = to_dev(stand, directory, "v1.2.0", "590", samples.raising("v1.2.0", share=_FAILING))
    run(stand, job, "promote", FUNCTION, "prod", "--from", "dev", "--release", "v1.2.0", exits=1)
    expect_release(stand, "prod", "v1.1.0")


def way_back(stand: Stand, directory: Path) -> None:
    """What no metric shows, a person finds."""
    scene("Somebody finds a fault in v1.1.0 that no metric shows", "back to what prod served before, at once")
    job = start_job(stand, directory, "v1.1.0", ref="v1.1.0", pipeline_id="581")
    run(stand, job, "rollback", FUNCTION, "prod", "--description", "prices without tax")
    expect_release(stand, "prod", "v1.0.0")


def refusal(stand: Stand, directory: Path) -> None:
    """The prober's other half: what must not work does not."""
    scene("A branch's job tries prod", "refused, with the claims that did not match")
    branch = {"ref": "quick-fix", "ref_type": "branch", "ref_protected": "false", "pipeline_id": "593"}
    job = start_job(stand, directory, "quick-fix", **branch)
    run(stand, job, "rollback", FUNCTION, "prod", exits=3)
    expect_release(stand, "prod", "v1.0.0")


def tag_push(stand: Stand, directory: Path) -> None:
    """A webhook instead of a job, and the word that comes back to GitLab."""
    scene(
        "A tag is pushed, and GitLab's webhook says so",
        "a job of that commit has uploaded the code; the delivery is signed, and deploys it to staging",
    )
    secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
    stand.put_secret("sluicegate/webhooks/orders-tags", secret)
    stand.put_secret("sluicegate/gitlab/stand", stand.gitlab.new_api_token())
    sha = os.urandom(20).hex()
    job = start_job(stand, directory, "v1.3.0", ref="v1.3.0", pipeline_id="601", sha=sha)
    code = archive(directory, "v1.3.0", samples.good("v1.3.0"))
    run(stand, job, "deploy", FUNCTION, "staging", "--zip", code, "--dry-run")
    started = deliver(stand, sha, secret)
    run(stand, job, "watch", started)
    expect_release(stand, "staging", "v1.3.0")
    expect(deliver(stand, sha, secret) == started, "the delivery that GitLab repeats has one effect")
    name = f"sluicegate/{FUNCTION}:staging"
    histories = until(lambda: [status["history"] for status in stand.gitlab.statuses(sha, name)], ended)
    expect(ended(histories), f"GitLab's commit shows {name}: {' → '.join(histories[-1])}")


def deliver(stand: Stand, sha: str, secret: str) -> str:
    """The deployment that GitLab's delivery is about, as it is answered."""
    url = f"{stand.endpoint}/webhooks/gitlab/orders-tags"
    push = {"ref": "refs/tags/v1.3.0", "checkout_sha": sha}
    [answer] = stand.gitlab.deliver(url, "tag_push", body=push, signing_token=secret)["answers"]
    result = answer["body"]
    hook = paint("[GitLab]", "cyan")
    say(f"{hook} Tag Push Hook, answered {answer['status']}: {result['code']}, {result['why']}")
    return str(result["deployment"])


def ended(histories: list[list[str]]) -> bool:
    return bool(histories) and histories[-1][-1] == "success"


def until(look: Callable[[], T], enough: Callable[[T], bool], patience: float = 20) -> T:
    """What there is to see once it is enough, or when patience ends."""
    deadline = time.monotonic() + patience
    while not enough(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen


def record(stand: Stand, directory: Path) -> None:
    """What there is to read afterwards, and what there is not."""
    scene("What serves what", "and who put it there")
    job = start_job(stand, directory, "v1.1.0", ref="v1.1.0", pipeline_id="581")
    run(stand, job, "status", FUNCTION)
    run(stand, job, "history", "--function", FUNCTION)
    expect(not leaked(stand), "the value of the function's environment variable is in no record and no log")


def to_dev(stand: Stand, directory: Path, release: str, pipeline: str, source: str) -> Job:
    """A release's job, once it has deployed to dev."""
    job = start_job(stand, directory, release, ref=release, pipeline_id=pipeline)
    run(
        stand,
        job,
        "deploy",
        FUNCTION,
        "dev",
        "--zip",
        archive(directory, release, source),
        "--release",
        release,
    )
    return job


def start_job(stand: Stand, directory: Path, name: str, **claims: Any) -> Job:
    return Job(name, claims, stand.token(**claims), directory)


def run(stand: Stand, job: Job, *arguments: str, exits: int = 0) -> None:
    """Run `sluicegate` as the job's script would, and hold it to its exit code."""
    say(f"{paint(f'[{job.name}]', 'cyan')} {paint('$ sluicegate ' + ' '.join(arguments), 'bold')}")
    with timed():
        done = subprocess.run(
            [places.VENV / "bin/sluicegate", *arguments],
            cwd=job.directory,
            env=environment(stand, job),
            check=False,
        )
    if done.returncode != exits:
        raise StandError(
            f"sluicegate {arguments[0]} exited {done.returncode}, not {exits}. See {places.STAND}/*.log"
        )


def environment(stand: Stand, job: Job) -> dict[str, str]:
    """All that a job needs: the address and its tokens. Not one AWS key."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "TERM", "LANG", "NO_COLOR", "COLUMNS")
        if name in os.environ
    }
    token = {"SLUICEGATE_TOKEN": job.token} if job.token else {}
    return {**kept, "SLUICEGATE_URL": stand.endpoint, **token, **job.more}


@contextmanager
def timed() -> Iterator[None]:
    began = time.monotonic()
    yield
    say(paint(f"  ({time.monotonic() - began:.1f} s)", "dim"))


def scene(title: str, what: str) -> None:
    say(f"\n{paint('── ' + title, 'bold', 'blue')}\n   {paint(what, 'dim')}")


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise StandError(f"not true: {what}")
    say(f"  {paint('✓', 'green')} {what}")


def expect_release(stand: Stand, stage: str, release: str) -> None:
    """Ask the function itself, under the stage's alias, which nothing else serves."""
    result = stand.invoke(FUNCTION, {"ping": True}, alias=stage)
    state = stand.alias_state(FUNCTION, stage) or {"version": "none", "weights": {}}
    expect(
        result == {"status": "ok", "release": release} and not state["weights"],
        f"{FUNCTION}:{stage} is version {state['version']} and returns {result}",
    )


def published(stand: Stand) -> list[str]:
    versions = stand.client("lambda").list_versions_by_function(FunctionName=FUNCTION)["Versions"]
    return [version["Version"] for version in versions if version["Version"] != "$LATEST"]


def archive(directory: Path, release: str, source: str) -> str:
    file = directory / f"{FUNCTION}-{release}.zip"
    file.write_bytes(package(source))
    return file.name


def leaked(stand: Stand) -> bool:
    """Whether the canary is anywhere that Sluicegate writes: its table, its executions, its logs."""

    def pages(service: str, call: str, **given: str) -> Iterator[dict[str, Any]]:
        yield from stand.client(service).get_paginator(call).paginate(**given)

    def written() -> Iterator[dict[str, Any]]:
        yield from pages("dynamodb", "scan", TableName=stand.table)
        for groups in pages("logs", "describe_log_groups"):
            for name in [group["logGroupName"] for group in groups["logGroups"]]:
                if FUNCTION not in name:
                    yield from pages("logs", "filter_log_events", logGroupName=name)
        for found in pages("stepfunctions", "list_executions", stateMachineArn=stand.state_machine_arn):
            for arn in [execution["executionArn"] for execution in found["executions"]]:
                yield from pages("stepfunctions", "get_execution_history", executionArn=arn)

    return any(CANARY in repr(page) for page in written())
