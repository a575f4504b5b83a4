"""A gate file with stages in the stand's targets, and the targets' stacks, for tests that go there."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluicegate.deployment.target_names import bucket_name
from stand import control, wide
from stand.api import Stand
from stand.say import StandError
from stand.targets import STACK, TARGETS, Target

PROJECT: Final = "4800"
"""Whose jobs may do everything with functions `roam-*`."""

STAGES: Final = {
    "away-account": "other-account",
    "away-both": "other-both",
    "away-canary": "other-both",
    "away-region": "other-region",
}
"""Targets by stage."""

_STAGES: Final = """
  away-account: {target: other-account}
  away-both: {target: other-both}
  away-canary:
    target: other-both
    strategy: {type: canary, percent: 10, bake: 10m}
    watch: {alarms: ["{function}-{stage}"]}
  away-region: {target: other-region}
"""
_RULES: Final = """
  - name: roaming
    issuer: stand
    claims: {project_id: "4800"}
    allow:
      actions: [deploy, promote, rollback, abort]
      functions: [roam-*]
      stages: [dev, away-account, away-both, away-canary, away-region]
"""


@dataclass(frozen=True)
class Afar:
    """The stand with its targets' stacks."""

    stand: Stand

    def token(self, **claims: Any) -> str:
        return self.stand.token(project_id=PROJECT, **claims)

    def target(self, stage: str) -> Target:
        return TARGETS[STAGES[stage]]

    def client(self, service: str, stage: str) -> Any:
        """A client of the administrator of a stage's account and region; `dev` is the stack's own."""
        return self.stand.client(service, **(self.target(stage).where if stage in STAGES else {}))

    def bucket(self, stage: str) -> str:
        target = self.target(stage)
        return bucket_name(target.account, target.region, target.role)

    def release(self, function: str, stage: str, code: bytes, **more: Any) -> dict[str, Any]:
        """One job: upload, deploy, wait."""
        token = self.token()
        artifact = {"sha256": self.stand.upload(function, code, token=token)}
        return self.ask("deploy", function, stage, token, artifact=artifact, **more)

    def ask(
        self,
        action: str,
        function: str,
        stage: str,
        token: str | None = None,
        *,
        wait: bool = True,
        source: str | None = None,
        **body: Any,
    ) -> dict[str, Any]:
        """Ask for a deployment, and wait for its end unless that is not wanted. Raises HTTPStatusError."""
        token = token or self.token()
        asked = {"action": action, "function": function, "stage": stage, **body}
        if source:
            asked["from"] = source
        answer = self.stand.http("POST", "/deployments", asked, token=token).raise_for_status().json()
        return self.stand.wait(answer["id"], token=token, patience=150) if wait else answer


@contextmanager
def targets(directory: Path) -> Iterator[Afar]:
    """The stand with these stages and each target's stack; afterwards it is as it was before."""
    before = control.State.load()
    was_up = before is not None and before.is_running()
    stand = wide.up(directory, _with_targets).stand
    try:
        yield Afar(stand)
    finally:
        if was_up and before is not None:
            for name in TARGETS:
                remove(stand, name)
            stand.install_gate(Path(before.gate_file))
        else:
            control.down()


def _with_targets(text: str) -> str:
    listed = "".join(
        f'\n  {name}: {{account: "{target.account}", region: {target.region}, role: {target.role},'
        f" external_id: {target.external_id}}}"
        for name, target in TARGETS.items()
    )
    text = re.sub(r"\ntargets:\n(?:  .+\n)+", "\n", text)
    for old, new in (
        ("\nstages:", f"\ntargets:{listed}\nstages:"),
        ("\nfunctions:", f"{_STAGES.rstrip()}\nfunctions:"),
        ("\nrules:", "\n  roam-*: {}\nrules:"),
        ("\ndeny:", f"{_RULES.rstrip()}\ndeny:"),
    ):
        if text.count(old) != 1:
            raise StandError(f"the gate file in force has no place for {old.strip()}")
        text = text.replace(old, new)
    return text


def remove(stand: Stand, name: str) -> None:
    """Delete a target's stack, with the bucket that would stay."""
    target = TARGETS[name]
    s3 = stand.client("s3", **target.where)
    bucket = bucket_name(target.account, target.region, target.role)
    if bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
        empty(s3, bucket)
        s3.delete_bucket(Bucket=bucket)
    stand.client("cloudformation", **target.where).delete_stack(StackName=STACK)


def empty(s3: Any, bucket: str) -> None:
    """Delete everything in a bucket, as nobody but the stand may: its policy denies that."""
    s3.delete_bucket_policy(Bucket=bucket)
    found = s3.list_object_versions(Bucket=bucket)
    for one in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
        s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
