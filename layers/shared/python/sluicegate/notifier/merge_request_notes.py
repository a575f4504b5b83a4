"""Write the note of a merge request: a table of what became of its commits.

Pure; `report_note` sends it. Everybody who sees the project sees it, in a public project the world: it says
no more than commit statuses do (security.md#what-is-never-written). GitLab runs a line that begins with `/`
as a command of the note's author (app/services/notes/create_service.rb and update_service.rb, read on
2026-11-26), turns names into mentions and commits into references. So each text from outside is in a code
span, of a few harmless characters, and none begins a line.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluicegate.deployment.model import Deployment, Requester, Status
from sluicegate.store.keys import Key, digest

MAX_ROWS: Final = 40
"""Rows of a note: the newest deployments."""

_CELL: Final = re.compile(r"[^A-Za-z0-9._:%+ -]")


@dataclass(frozen=True)
class MergeRequest:
    """A merge request of a project, by its number there."""

    issuer: str
    project_id: str
    number: int

    @property
    def key(self) -> Key:
        """The key of its item in the ledger."""
        of = digest("merge request", self.issuer, self.project_id, str(self.number))
        return {"pk": f"status#{of}", "sk": "merge-request"}


@dataclass(frozen=True)
class NoteRow:
    """The newest deployment of a function to a stage, with a commit of the merge request."""

    deployment: str
    function: str
    stage: str
    status: str
    version: str
    commit: str

    @property
    def place(self) -> tuple[str, str]:
        """What has one row."""
        return self.function, self.stage


def row_of(deployment: Deployment, source: Requester) -> NoteRow:
    """Return the deployment's row."""
    status = deployment.status.value.replace("_", " ")
    if deployment.status is Status.BAKING:
        status += f" {deployment.weight}%"
    if deployment.reason:
        status += f": {deployment.reason.code}"
    return NoteRow(
        deployment.id,
        deployment.function,
        deployment.stage,
        status,
        deployment.version or "",
        (source.sha or "")[:8],
    )


def rows_of(values: Mapping[str, Any]) -> tuple[NoteRow, ...]:
    """Return the rows in the ledger."""
    return tuple(NoteRow(**row) for row in values.get("rows", ()))


def stored(rows: Iterable[NoteRow]) -> list[dict[str, str]]:
    """Return the rows as the ledger keeps them."""
    return [asdict(row) for row in rows]


def with_row(rows: Iterable[NoteRow], row: NoteRow) -> tuple[NoteRow, ...]:
    """Return the rows with this one in its place, unless a newer deployment has it (ids sort by time)."""
    kept = {one.place: one for one in rows}
    before = kept.get(row.place)
    if before is None or before.deployment <= row.deployment:
        kept[row.place] = row
    newest = sorted(kept.values(), key=lambda one: one.deployment)[-MAX_ROWS:]
    return tuple(sorted(newest, key=lambda one: one.place))


def marker(stack: str) -> str:
    """Return what the note begins with, unseen: another stack's note is another one."""
    return f"<!-- sluicegate {stack} -->"


def body(stack: str, rows: Iterable[NoteRow], board: str | None = None) -> str:
    """Return the note in Markdown; deployments are links where there is a board."""
    lines = [
        marker(stack),
        "**Sluicegate** deployed commits of this merge request:",
        "",
        "| Function | Stage | Status | Version | Commit | Deployment |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row.function, row.stage, row.status, row.version, row.commit)
        link = _code(row.deployment)
        if board:
            link = f"[{link}]({board}/deployments/{row.deployment})"
        lines.append(f"| {' | '.join(_code(cell) for cell in cells)} | {link} |")
    lines += ["", "`sluicegate status DEPLOYMENT` says more, to those who may see it."]
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{_CELL.sub('·', text)}`" if text else ""
