"""Report deployments in one note on the merge request that brought the commit, kept up to date in place."""

from sluicegate.delivery.errors import UndeliverableError
from sluicegate.deployment.model import Deployment, Requester
from sluicegate.notifier import gitlab_deployments, merge_request_notes
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.notifier.gitlab_merge_requests import MergeRequests
from sluicegate.notifier.merge_request_notes import MergeRequest
from sluicegate.notifier.reporting import Reporting, Sent
from sluicegate.store.keys import digest


def report_note(reporting: Reporting, deployment: Deployment, deadline: float) -> None:
    """Write or update the note, if the deployment's row in it is not up to date."""
    source = gitlab_deployments.code_source(deployment)
    receiver = reporting.receiver(source) if source else None
    if source is None or receiver is None or not receiver[1].merge_request_note:
        return
    number = _merge_request(reporting, source, reporting.gitlab(receiver, deadline))
    if not number:
        return
    request = MergeRequest(source.issuer, source.project_id, number)
    entry = reporting.ledger.entry(request.key)
    known = merge_request_notes.rows_of(entry.values)

    def text_with(current: Deployment) -> tuple[Sent, str]:
        rows = merge_request_notes.with_row(known, merge_request_notes.row_of(current, source))
        text = merge_request_notes.body(reporting.stack, rows, reporting.board)
        return {"rows": merge_request_notes.stored(rows), "sent": digest(text)}, text

    if text_with(deployment)[0]["sent"] == entry.values.get("sent"):
        return

    def act(gitlab: GitLab) -> Sent:
        current = reporting.deployment(deployment.id)
        values, text = text_with(current)
        if values["sent"] == entry.values.get("sent"):
            return {}
        note = entry.values.get("note")
        written: list[int] = []
        reporting.send(
            "merge_request_note",
            current,
            current.status.value,
            lambda: written.append(_write(MergeRequests(gitlab, request.project_id), number, note, text)),
        )
        return {**values, "note": written[0] if written else note}

    def _write(requests: MergeRequests, number: int, note: int | None, text: str) -> int:
        if note is not None and requests.update_note(number, note, text):
            return note
        found = requests.find_note(number, merge_request_notes.marker(reporting.stack))
        if found is not None and found != note and requests.update_note(number, found, text):
            return found
        return requests.create_note(number, text)

    reporting.under_lease(request.key, entry, receiver, deadline, act)


def _merge_request(reporting: Reporting, source: Requester, gitlab: GitLab) -> int:
    """Return the number of the commit's merge request, 0 if GitLab shows none."""
    commits, sha = reporting.store.commits, source.sha or ""
    known = commits.merge_request(source.issuer, source.project_id, sha)
    if known is not None:
        return known
    try:
        number = MergeRequests(gitlab, source.project_id).of_commit(sha)
    except UndeliverableError:
        number = None
    commits.set_merge_request(source.issuer, source.project_id, sha, number or 0)
    return number or 0
