"""The gate file of the tests, wider than the stand's own: strangers, neighbours and other GitLabs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stand import control, hooked, places, processes, rollouts
from stand.api import Stand
from stand.claims import job_claims
from stand.gitlab import Key, new_key
from stand.issuer import Issuer
from stand.processes import HOST

OTHER_AUDIENCE: Final = "https://deploy.other.example.com"
FILED_URL: Final = "https://gitlab.unreachable.example.com"
FILED_AUDIENCE: Final = "https://deploy.unreachable.example.com"

SECRET: Final = "sluicegate/gitlab/stand"
"""The secret with the token for feedback to the stand's own issuer."""

_MORE_ISSUERS: Final = """
  other: {{url: "{bucket}", gitlab_url: "{other}", audience: {other_audience}, jwks: discovery}}
  filed: {{url: "{filed}", audience: {filed_audience}, jwks: keys.json}}
"""
_MORE_STAGES: Final = """
  gated: {protected: true, approval: {expires: 1h}}
"""
_MORE_FUNCTIONS: Final = """
  billing-*: {}
  shared-*: {}
  stock-*: {}
  pruned-*: {prune: {keep: 3, rollbacks: 2, older_than: 1d}}
"""
_MORE_RULES: Final = """
  - name: orders of the other gitlab
    issuer: other
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [billing-*, shared-*], stages: [dev]}
  - name: shared to dev
    issuer: stand
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [shared-*], stages: [dev]}
  - name: audit reads orders in dev
    issuer: stand
    claims: {project_id: "4400"}
    allow: {actions: [read], functions: [orders-*], stages: [dev]}
  - name: billing to dev
    issuer: stand
    claims: {project_id: "4500"}
    allow: {actions: [deploy], functions: [billing-*], stages: [dev]}
  - name: stock from a release tag
    issuer: stand
    claims: {project_id: "4700", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy, promote, rollback, abort], functions: [stock-*], stages: [staging, prod, gated]}
  - name: approvals of stock
    issuer: stand
    claims: {project_id: "4700", ref_type: branch, ref: main, ref_protected: "true", pipeline_source: web}
    allow: {actions: [approve, reject], functions: [stock-*], stages: [gated]}
  - name: pruned functions
    issuer: stand
    claims: {project_id: "4800", ref_type: tag, ref: v*, ref_protected: "true"}
    allow:
      actions: [deploy, promote, rollback, abort]
      functions: [pruned-*]
      stages: [dev, staging, prod, canary]
  - name: what no entry of functions covers
    issuer: stand
    claims: {project_id: "4600"}
    allow: {actions: [deploy], functions: ["*-api"], stages: [dev]}
"""
_NOTIFY: Final = """notify:
  - {name: said-slack, type: slack, secret: sluicegate/notify/said-slack, functions: [orders-said-*]}
  - name: said-teams
    type: teams
    secret: sluicegate/notify/said-teams
    functions: [orders-said-*]
    stages: [dev]
  - name: said-ci
    type: webhook
    secret: sluicegate/notify/said-ci
    functions: [orders-said-*]
    statuses: [publishing, succeeded]
"""
_DENY: Final = """deny:
  - {issuer: stand, user_id: "666"}
"""


@dataclass(frozen=True)
class Wide:
    """The stand with a gate file that adds two issuers, five projects and a denied user to its own.

    The stand's own issuer gets feedback; the others do not. The issuer of the other GitLab is a bucket.
    """

    stand: Stand
    gate: Path
    other: Issuer
    other_url: str
    """The issuer of the other GitLab's tokens: a bucket's address."""
    filed: Key

    def other_token(self, **claims: Any) -> str:
        """A job's token of the other GitLab, for its own audience."""
        return self.other.token(claims)

    def put_token(self, token: str) -> None:
        """Put a token where the notifier finds it."""
        self.stand.put_secret(SECRET, token)

    def filed_token(self, key: Key | None = None, **claims: Any) -> str:
        """A job's token of the GitLab that nobody can reach, whose keys are in the gate file."""
        header = {"alg": "RS256", "kid": self.filed.kid, "typ": "JWT"}
        payload = job_claims(FILED_URL, FILED_AUDIENCE, claims)
        return (key or self.filed).sign(json.dumps(header).encode(), json.dumps(payload).encode())


def up(directory: Path, more: Callable[[str], str] = lambda text: text) -> Wide:
    """Bring the stand up with the gate file of the tests, which is written into `directory`.

    It has the stages of `stand.rollouts` and the webhooks of `stand.hooked` too, and what `more` adds. The
    next start of the stand brings its own gate file back.
    """
    ports, filed = control.ports(), new_key()
    issuer, port = f"http://{HOST}:{ports[1]}", processes.choose_port("", ports[1] + 100)
    bucket = processes.choose_port("", ports[1] + 200)
    (directory / "keys.json").write_text(json.dumps({"keys": [filed.jwk()]}))
    issuers = _MORE_ISSUERS.format(
        bucket=f"http://{HOST}:{bucket}",
        other=f"http://{HOST}:{port}",
        other_audience=OTHER_AUDIENCE,
        filed=FILED_URL,
        filed_audience=FILED_AUDIENCE,
    )
    gate = directory / "sluicegate.yaml"
    text = _widened(places.GATE_FILE.read_text(), issuer, issuers)
    gate.write_text(more(hooked.with_hooks(rollouts.with_paths(text))))
    control.up(gate, ports)
    stand = Stand.running()
    other = stand.another_gitlab(OTHER_AUDIENCE, port, bucket)
    wide = Wide(stand, gate, other, f"http://{HOST}:{bucket}", filed)
    wide.put_token(stand.gitlab.new_api_token())
    return wide


def _widened(own: str, issuer: str, issuers: str) -> str:
    """The stand's own gate file with more of everything. With several issuers, each rule names its own."""
    text = own.replace("http://127.0.0.1:18080", issuer)
    for old, new in (
        ("jwks: discovery, max_age: 1h}", f"jwks: discovery, max_age: 1h, feedback: {{secret: {SECRET}}}}}"),
        ("\nstages:", f"{issuers.rstrip()}\nstages:"),
        ("\nfunctions:", f"{_MORE_STAGES.rstrip()}\nfunctions:"),
        ("\nrules:", f"{_MORE_FUNCTIONS.rstrip()}\nrules:"),
        ("    claims:", "    issuer: stand\n    claims:"),
        ("    via: iam\n    issuer: stand\n", "    via: iam\n"),
        ("\ndeny: []\n", f"{_MORE_RULES.rstrip()}\n{_DENY}{_NOTIFY}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text
