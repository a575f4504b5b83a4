"""Pages that say one thing: why a sign-in did not work, and what to do."""

from typing import Final

from sluicegate.board.context import BoardContext, page
from sluicegate.board.responses import BoardResponse

NOTICES: Final = {
    "no_such_gitlab": ("No such GitLab", "Nobody signs in with a GitLab of that name here."),
    "sign_in_over": (
        "This sign-in is over",
        "It was used already, it took longer than ten minutes, or it is another one's. Begin again.",
    ),
    "other_browser": (
        "Begun in another browser",
        "This sign-in was begun in another browser, or cookies are blocked here. Begin again.",
    ),
    "denied_there": ("Not signed in", "You did not let GitLab say who you are. Begin again if you want to."),
    "refused_there": (
        "GitLab did not sign you in",
        "Its answer is not one that signs a person in. The board's log says which check failed.",
    ),
    "wrong_secret": (
        "GitLab does not know this board",
        "GitLab refuses the application's id or secret. The operator has to mend the gate file's sign_in.",
    ),
    "unavailable": (
        "GitLab does not answer",
        "Signing in is not possible at the moment. Try again in a minute.",
    ),
    "denied_here": ("You may not sign in", "The gate file denies this account."),
    "other_site": (
        "Not sent from this board",
        "Another site sent this, or a browser that hides where it is from.",
    ),
    "signed_out": (
        "You are signed out",
        "You are signed out of this board. You are still signed in to GitLab: signing in again may need no"
        " password.",
    ),
    "bad_terminal": (
        "Not a terminal's address",
        "Run sluicegate login again, and open the address that it prints.",
    ),
    "used_up": ("Done already", "This form was used, or is too old. Run sluicegate login again."),
}
"""By notice: the heading, and a sentence or two."""


def show(context: BoardContext, status: int, notice: str) -> BoardResponse:
    """Return the page of a notice."""
    heading, text = NOTICES[notice]
    return page(context, "notice.html", status=status, heading=heading, text=text)
