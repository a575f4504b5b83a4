"""Put a message into the form that a channel takes. Nothing from outside is markup, a mention or a link.

- **Slack**: blocks of an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-
  webhooks, https://docs.slack.dev/reference/block-kit/composition-objects/text-object, November 2026). Values
  are `plain_text`, which Slack does not parse; what must be `mrkdwn` is escaped, with `verbatim`.
- **Teams**: an Adaptive Card in a message, as the trigger "When a Teams webhook request is received" of
  Workflows takes it (https://learn.microsoft.com/connectors/teams/, November 2026). Office 365 connectors,
  which took the same message or a MessageCard, are retired. Values are `TextRun`s, in which Markdown is not
  supported (https://adaptivecards.io/explorer/TextRun.html).
"""

from typing import Any, Final

from sluicegate.messages.content import MessageContent, Tone

CARD: Final = "application/vnd.microsoft.card.adaptive"

_COLOURS: Final[dict[Tone, str]] = {
    "good": "Good",
    "bad": "Attention",
    "waiting": "Warning",
    "plain": "Default",
}
_SIGNS: Final[dict[Tone, str]] = {
    "good": ":large_green_circle:",
    "bad": ":red_circle:",
    "waiting": ":large_yellow_circle:",
    "plain": ":white_circle:",
}


def slack(message: MessageContent) -> dict[str, Any]:
    """Return the body for an incoming webhook of Slack."""
    title = _escaped(message.title)
    fields = [
        {"type": "plain_text", "text": f"{name}: {value}", "emoji": False} for name, value in message.facts
    ]
    return {
        "text": title,
        "blocks": [
            _section(f"{_SIGNS[message.tone]} *{title}*"),
            {"type": "section", "fields": fields},
            _section(f"<{message.link}|{message.link_text}>"),
        ],
    }


def teams(message: MessageContent) -> dict[str, Any]:
    """Return the body for a webhook of Teams' Workflows."""
    title = {"text": message.title, "weight": "Bolder", "size": "Medium", "color": _COLOURS[message.tone]}
    facts = [_runs({"text": f"{name}: ", "isSubtle": True}, {"text": value}) for name, value in message.facts]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [_runs(title), *facts],
        "actions": [{"type": "Action.OpenUrl", "title": message.link_text, "url": message.link}],
    }
    return {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": card}]}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}


def _escaped(text: str) -> str:
    """Escape the three characters that begin Slack's markup, among them `<!channel>` and `<@U1>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
