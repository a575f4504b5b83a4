"""Actions on the board: a page that says what would happen, one button, and one effect.

security.md#actions-on-the-board

A form carries the secret of an intent: one session, one action, one revision, one rehearsal. What is pressed
again gets the same answer, and what has changed since is shown again.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs

from sluicegate.board import addresses, notices, signing_in
from sluicegate.board.api import ApiAnswer
from sluicegate.board.context import BoardContext, page
from sluicegate.board.pages import sign_in
from sluicegate.board.pages.missing import missing
from sluicegate.board.proposals import Proposal, Shown
from sluicegate.board.responses import BoardResponse, redirect
from sluicegate.board.viewers import Viewer
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.intents import INTENT_SECONDS, Intent
from sluicegate.store.sessions import user_part
from sluicegate.text import clean

MAX_FORM: Final = 8 * 1024
"""Bytes of a form: a reason of 256 characters takes 3 KiB at most."""

MAX_REASON: Final = 256

_FORM: Final = "application/x-www-form-urlencoded"
_OF_THE_RECORD: Final = frozenset({"revision", "status", "message"})
"""What a rehearsal says of the record as it was: an action about no revision does not depend on it."""

_CHANGED: Final = "This has changed since you looked. Look again."


@dataclass(frozen=True)
class _Asked:
    """A request for an action by a person who has signed in."""

    context: BoardContext
    request: GatewayRequest
    person: Viewer
    proposal: Proposal

    @property
    def viewer(self) -> Visibility:
        return Visibility(self.context.gate, self.person.identity)

    @property
    def user(self) -> str:
        """What names the person, and not the session."""
        return user_part(self.person.session.issuer, self.person.session.user_id)

    def call(self, reason: str = "", found: Any = None, key: str = "") -> ApiAnswer:
        """Rehearse the action; with what that found, do it."""
        wanted = self.proposal.rehearsal if found is None else self.proposal.real(found, reason, key)
        return self.context.api(addresses.origin_of(self.request), self.person.bearer, wanted)


def show(context: BoardContext, request: GatewayRequest, person: Viewer, wanted: Proposal) -> BoardResponse:
    """`GET`: say what would happen, and offer the button. GitLab signs the person in again where it must."""
    asked = _Asked(context, request, person, wanted)
    found = asked.call()
    if found.status == 401:
        return signing_in.again(context, request, person)
    return _confirm(asked, found, reason=_draft(asked))


def press(
    context: BoardContext, request: GatewayRequest, person: Viewer | None, wanted: Proposal
) -> BoardResponse:
    """`POST`: do what the form's page has said, once."""
    if not addresses.is_same_origin(request) or not request.header("content-type").startswith(_FORM):
        context.log("action_refused", check="origin", address=wanted.address)
        return notices.show(context, 403, "other_site")
    form = _form(request)
    secret, reason = form.get("intent", ""), form.get("reason", "")
    intent = context.store.intents.find(secret) if secret else None
    if person is None:
        return _signed_out(context, request, intent, secret, reason)
    asked = _Asked(context, request, person, wanted)
    if intent is None or not _is_of(intent, asked):
        # Another session's, another form's, or one whose time is over.
        return _again(asked, reason, _CHANGED)
    if intent.outcome:
        return _concluded(asked, intent)
    if not intent.pressed and (refused := _unpressed(asked, intent, secret, reason)) is not None:
        return refused
    pressed = context.store.intents.press(secret, clean(reason, MAX_REASON))
    if pressed is None:
        return _again(asked, reason, _CHANGED)
    return _do(asked, pressed, secret)


# Pressing


def _unpressed(asked: _Asked, intent: Intent, secret: str, reason: str) -> BoardResponse | None:
    """Return a page instead of pressing: where the reason is missing, or what would happen has changed."""
    found = asked.call()
    if found.status == 401:
        return _signed_out(asked.context, asked.request, intent, secret, reason)
    if found.status != 200:
        return _confirm(asked, found, reason=reason)
    if _digest(asked.proposal, found) != intent.digest:
        return _confirm(asked, found, reason=reason, status=409, said=_CHANGED)
    if asked.proposal.takes_reason and not 0 < len(reason.strip()) <= MAX_REASON:
        return _confirm(asked, found, reason=reason, status=422, said="Say why, in at most 256 characters.")
    return None


def _do(asked: _Asked, intent: Intent, secret: str) -> BoardResponse:
    """Make the call. Its key is the intent's: made twice, it has one effect and one answer."""
    found = {"revision": intent.revision, "version": intent.version}
    answer = asked.call(intent.reason, found, _key(secret))
    asked.context.log("action_pressed", address=asked.proposal.address, status=answer.status)
    if answer.status == 401:
        return _signed_out(asked.context, asked.request, intent, secret, intent.reason)
    if not answer.is_lasting:
        # It may have had its effect. The same form again asks the same, by the same key.
        said = "The API did not answer. Press again: it happens once."
        return _page(asked, 503, secret, intent.reason, said=said)
    outcome: dict[str, Any]
    asked.context.reads.forget()
    if answer.status < 300:
        outcome = {"to": asked.proposal.leads_to(answer.value)}
    else:
        outcome = {"status": answer.status, "detail": clean(answer.detail, 600)}
    asked.context.store.intents.conclude(secret, json.dumps(outcome))
    return _concluded(asked, replace(intent, outcome=json.dumps(outcome)))


def _concluded(asked: _Asked, intent: Intent) -> BoardResponse:
    """Return the answer of an intent that has one."""
    outcome = json.loads(intent.outcome)
    if "to" in outcome:
        return redirect(addresses.to(outcome["to"]))
    return _again(asked, intent.reason, str(outcome["detail"]), status=int(outcome["status"]))


def _signed_out(
    context: BoardContext, request: GatewayRequest, intent: Intent | None, secret: str, reason: str
) -> BoardResponse:
    """Ask the person to sign in, and keep what they typed for the page that they come back to."""
    query: dict[str, list[str]] = {name: values for name, values in request.query.items() if name != "kept"}
    if intent is not None and reason:
        context.store.intents.keep(secret, clean(reason, MAX_REASON))
        query["kept"] = [secret]
    return sign_in.show(context, replace(request, query=query))


# Pages


def _again(asked: _Asked, reason: str, said: str, *, status: int = 409) -> BoardResponse:
    """Return a new page that says why the form did nothing, with what was typed."""
    return _confirm(asked, asked.call(), reason=reason, status=status, said=said)


def _confirm(
    asked: _Asked, found: ApiAnswer, *, reason: str = "", status: int = 200, said: str = ""
) -> BoardResponse:
    """Return the page of a rehearsal, with a new intent; of a refused one, without a button."""
    if found.status == 404:
        return missing(asked.context, asked.viewer)
    if found.status != 200:
        refused = found.status if found.is_lasting or found.status in (401, 429) else 503
        return _page(asked, refused if status == 200 else status, "", reason, said=said or found.detail)
    shown = asked.proposal.shown(asked.context, found.value)
    secret = ""
    if found.value.get("changes", True):
        secret = secrets.token_urlsafe(32)
        asked.context.store.intents.issue(secret, _intent(asked, found))
    return _page(asked, status, secret, reason, shown=shown, said=said)


def _page(
    asked: _Asked, status: int, secret: str, reason: str, *, said: str = "", shown: Shown | None = None
) -> BoardResponse:
    return page(
        asked.context,
        "confirm.html",
        status=status,
        headers={"Retry-After": "5"} if status in (429, 503) else {},
        viewer=asked.viewer,
        heading=asked.proposal.heading,
        button=asked.proposal.button,
        action=addresses.to(asked.proposal.address),
        back=addresses.to(asked.proposal.back),
        takes_reason=asked.proposal.takes_reason,
        intent=secret,
        reason=clean(reason, MAX_REASON),
        said=said,
        shown=shown,
    )


# Parts


def _intent(asked: _Asked, found: ApiAnswer) -> Intent:
    return Intent(
        session=asked.person.bearer_hash,
        user=asked.user,
        address=asked.proposal.address,
        revision=int(found.value.get("revision") or 0),
        version=found.value.get("version"),
        digest=_digest(asked.proposal, found),
        until=int(asked.context.clock()) + INTENT_SECONDS,
    )


def _is_of(intent: Intent, asked: _Asked) -> bool:
    mine = intent.session == asked.person.bearer_hash and intent.address == asked.proposal.address
    return mine and asked.context.clock() < intent.until


def _digest(wanted: Proposal, found: ApiAnswer) -> str:
    """Return the digest of what was shown, as far as the action depends on it."""
    left = frozenset() if wanted.of_revision else _OF_THE_RECORD
    compared = {name: value for name, value in found.value.items() if name not in left}
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()


def _draft(asked: _Asked) -> str:
    """Return what the same person typed into a form of this address, before the session ended."""
    values = asked.request.query.get("kept", [])
    intent = asked.context.store.intents.find(values[0]) if len(values) == 1 else None
    mine = intent is not None and (intent.user, intent.address) == (asked.user, asked.proposal.address)
    return intent.reason if intent and mine else ""


def _key(secret: str) -> str:
    """Return the intent's id: 64 letters and digits that do not tell the form's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _form(request: GatewayRequest) -> dict[str, str]:
    """Return the form's fields that are there once; none of one that is too long, or no text."""
    if len(request.body) > MAX_FORM:
        return {}
    try:
        fields = parse_qs(request.body.decode(), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
