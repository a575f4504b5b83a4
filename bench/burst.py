"""Hundreds of functions released at the same moment: how long it takes, with Lambda's quotas and without.

Each is released three times, by the command line, which follows it to its end: once to begin with, once
without quotas, and once through a proxy that enforces them (`stand.lambda_quotas`). The stack's own budget of
calls is in force all the time.

What the quotas allow is the calls that passed the proxy at 15 a second. On a small machine the emulator takes
longer than that, which the burst without quotas shows.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

from bench.results import record
from bench.stands import running_stand

from sluicegate.deployment.durations import seconds
from stand import Stand, control
from stand.jobs import Ended, Job, Jobs, entered, release, reserved_concurrency, rollback
from stand.lambda_quotas import SHARED, LambdaQuotas, lambda_quotas
from stand.say import progress

MOST: Final = 1.25
"""Times the larger of what the quotas allow and the burst without them."""

PROJECTS: Final = 50
FIRST_PROJECT: Final = 5_000
CLAIMS: Final = {"ref_type": "tag", "ref": "v1.4.0", "ref_protected": "true"}
SHOWN: Final = 3
"""Logs of jobs that did not succeed, at most."""

_RULE: Final = """
  - name: releases of the morning
    claims: {{project_id: [{projects}], ref_type: tag, ref: v*, ref_protected: "true"}}
    allow: {{actions: [deploy, rollback], functions: [burst-*], stages: [staging]}}
"""


@dataclass(frozen=True)
class Burst:
    """What became of releases at the same moment.

    `lasted`: seconds until the last success; `followed`: until the last client knew. `waited`: seconds that a
    deployment waited at most before it was published. `calls` and `throttled` are the proxy's. `rollback`: of
    one that was asked for in the middle, seconds from the request to its end, and from its acceptance.
    """

    lasted: float
    followed: float
    calls: int
    throttled: int
    waited: float
    in_line: int
    failed: int
    gave_up: int
    rollback: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=300)
    parser.add_argument("--processes", type=int, default=6, help="clients that are processes of their own")
    given = parser.parse_args()
    with running_stand() as stand, TemporaryDirectory() as name:
        stand.install_gate(gate_file(Path(name)))
        measure(stand, Path(name), given)


def gate_file(directory: Path) -> Path:
    """The gate file in force, with a rule for fifty projects more."""
    state = control.State.load()
    if state is None:
        raise SystemExit("the stand is not up: make up")
    text = Path(state.gate_file).read_text()
    projects = ", ".join(f'"{FIRST_PROJECT + number}"' for number in range(PROJECTS))
    rule = _RULE.format(projects=projects)
    for old, new in (
        ("\nrules:", "\n  burst-*: {}\nrules:"),
        ("\ndeny:", f"{rule.rstrip()}\ndeny:"),
    ):
        text = text.replace(old, new, 1)
    file = directory / "sluicegate.yaml"
    file.write_text(text)
    return file


def measure(stand: Stand, directory: Path, given: argparse.Namespace) -> None:
    names = [f"burst-{number:03}-{uuid4().hex[:4]}" for number in range(given.functions)]
    back = f"burst-back-{uuid4().hex[:4]}"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stand.create_function, (*names, back)))
    progress(f"{len(names)} functions")
    with reserved_concurrency(stand), lambda_quotas(stand) as quotas:
        quotas.lifted = True
        run(stand, directory, [release(directory, stand, back, "one", **claims_of(0))])
        rounds = {}
        for title in ("to begin with", "without quotas", "with quotas"):
            quotas.lifted = title != "with quotas"
            rounds[title] = burst(stand, directory, quotas, names, back, title, given.processes)
            show(title, rounds[title])
    for name in (*names, back):
        stand.delete_function(name)
    verdict(rounds["without quotas"], rounds["with quotas"], len(names))


def claims_of(number: int) -> dict[str, Any]:
    return {**CLAIMS, "project_id": str(FIRST_PROJECT + number % PROJECTS)}


def burst(
    stand: Stand,
    directory: Path,
    quotas: LambdaQuotas,
    names: Sequence[str],
    back: str,
    text: str,
    processes: int,
) -> Burst:
    run(stand, directory, [release(directory, stand, back, text, **claims_of(0))])
    jobs = [release(directory, stand, name, text, **claims_of(number)) for number, name in enumerate(names)]
    calls, throttled = len(quotas.shared.passed), len(quotas.shared.throttled)
    with Jobs(stand, directory, jobs, processes=processes) as running:
        while running.ended() < len(jobs) // 3:
            time.sleep(0.2)
        asked = time.time()
        went = run(stand, directory / "back", [rollback(stand, back, **claims_of(0))])[0]
        ended = running.results()
    shown = [one.document or {} for one in ended]
    gave_up = [one for one in ended if not (one.document or {}).get("final")]
    failed = [one for one in shown if one.get("final") and one["status"] != "succeeded"]
    for one in [each for each in ended if not each.succeeded][:SHOWN]:
        progress(f"exit code {one.exit_code}\n{one.log}")
    done = [one for one in shown if one.get("status") == "succeeded"]
    return Burst(
        lasted=max(seconds(one["finished_at"]) for one in done) - running.began,
        followed=max(one.at for one in ended) - running.began,
        calls=len(quotas.shared.passed) - calls,
        throttled=len(quotas.shared.throttled) - throttled,
        waited=max(map(waited, done)),
        in_line=sum("in line" in str(one["timeline"]) for one in done),
        failed=len(failed),
        gave_up=len(gave_up),
        rollback=rolled_back(went, asked),
    )


def waited(deployment: Mapping[str, Any]) -> float:
    """The seconds until it was published."""
    created = deployment["created_at"]
    return seconds(entered(deployment, "publishing") or created) - seconds(created)


def rolled_back(job: Ended, asked: float) -> tuple[float, float]:
    """The seconds of a rollback since it was asked for, and since it was accepted."""
    if not job.succeeded or not job.document:
        raise SystemExit(f"the rollback in the middle ended with {job.exit_code}\n{job.log}")
    end = seconds(job.document["finished_at"])
    return end - asked, end - seconds(job.document["created_at"])


def run(stand: Stand, directory: Path, jobs: Sequence[Job]) -> list[Ended]:
    with Jobs(stand, directory, jobs) as running:
        return running.results()


def show(title: str, burst: Burst) -> None:
    print(f"{title}:")
    for what, figure in (
        ("until the last success", f"{burst.lasted:7.1f} s"),
        ("until the last client knew", f"{burst.followed:7.1f} s"),
        ("calls of the control plane", f"{burst.calls:5}"),
        ("throttled of these", f"{burst.throttled:5}"),
        ("deployments that stood in line", f"{burst.in_line:5}"),
        ("longest wait to be published", f"{burst.waited:7.1f} s"),
        ("failed", f"{burst.failed:5}"),
        ("clients that gave up", f"{burst.gave_up:5}"),
        ("a rollback in the middle", f"{burst.rollback[0]:7.1f} s, {burst.rollback[1]:.1f} s of it accepted"),
    ):
        print(f"  {what:<36} {figure}", flush=True)


def verdict(without: Burst, through: Burst, functions: int) -> None:
    allowed = through.calls / SHARED
    bound = max(allowed, without.lasted)
    ratio = through.lasted / bound
    record(
        {
            "burst.functions": functions,
            "burst.without_quotas_s": without.lasted,
            "burst.with_quotas_s": through.lasted,
            "burst.quota_bound_s": allowed,
            "burst.ratio": ratio,
            "burst.throttled_calls": through.throttled,
            "burst.longest_wait_s": through.waited,
            "burst.failed": without.failed + through.failed,
            "burst.gave_up": without.gave_up + through.gave_up,
            "burst.rollback_s": through.rollback[0],
        }
    )
    print(f"{functions} functions, {through.calls / functions:.2f} calls each")
    print(f"  what the quotas allow                {allowed:7.1f} s")
    print(f"  without quotas                       {without.lasted:7.1f} s")
    print(f"  with quotas                          {through.lasted:7.1f} s")
    good = ratio <= MOST and not (through.failed or through.gave_up)
    print(f"  ratio to the larger                  {ratio:7.2f}    {'holds' if good else 'MISSED'} ({MOST})")


if __name__ == "__main__":
    main()
