"""Models of what takes messages: Slack, Teams' Workflows, and a program that verifies Standard Webhooks.

Sources, November 2026: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (`ok`,
`invalid_blocks`, `no_service`), https://docs.slack.dev/reference/block-kit (limits),
https://docs.slack.dev/messaging/formatting-message-text (what `<...>` means);
https://learn.microsoft.com/connectors/teams/ (28 KB, 202) and https://adaptivecards.io/explorer; the library
`standardwebhooks`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from standardwebhooks import Webhook

from sluicegate.http_client import FetchError, HttpResponse

SLACK = "https://hooks.slack.com/services/T01/B02/SecretOfTheChannel"
TEAMS = "https://prod-7.westeurope.logic.azure.com/workflows/5f1d/triggers/manual/paths/invoke?sig=Secret-1"
PROGRAM = "https://ci.example.com/hooks/sluicegate?k=Secret"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receivers:
    """Everything that takes messages, and how it fails. `faults` are used up, one by each request."""

    keys: list[str] = field(default_factory=lambda: [KEY])
    addresses: dict[str, Callable[[dict[str, Any], bytes, Mapping[str, str]], tuple[int, str]]] = field(
        default_factory=dict
    )
    faults: list[Any] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.addresses = {SLACK: self.slack, TEAMS: self.teams, PROGRAM: self.program}

    def exchange(
        self,
        url: str,
        method: str = "GET",
        *,
        seconds: float,
        headers: Any = None,
        body: bytes = b"",
        most: int = 0,
    ) -> HttpResponse:
        assert 0 < seconds <= 5
        assert (method, headers["Content-Type"]) == ("POST", "application/json")
        self.requests.append(url)
        self.meanwhile()
        fault = self.faults.pop(0) if self.faults else None
        if fault == "unsent":
            raise FetchError(f"TimeoutError: {url}")
        if isinstance(fault, tuple):
            sent = Message()
            for name, value in fault[1].items():
                sent[name] = value
            return HttpResponse(fault[0], sent, f"no: {url}".encode())
        if url not in self.addresses:
            return HttpResponse(404, Message(), b"no_service")
        status, text = self.addresses[url](json.loads(body), body, headers)
        if 200 <= status < 300:
            self.taken.setdefault(url, []).append(json.loads(body))
        if fault == "unseen":
            raise FetchError(f"TimeoutError: {url}")
        return HttpResponse(status, Message(), text.encode())

    def slack(self, message: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        texts = []
        for block in message["blocks"]:
            found = [block["text"]] if "text" in block else block["fields"]
            if block["type"] != "section" or len(found) > 10:
                return 400, "invalid_blocks"
            texts += [(one, 2000 if "fields" in block else 3000) for one in found]
        for one, limit in texts:
            if not 0 < len(one["text"]) <= limit or set(one) - {"type", "text", "emoji", "verbatim"}:
                return 400, "invalid_blocks"
        return 200, "ok"

    def teams(self, message: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        if len(body) > 28 * 1024:
            return 413, "Request Entity too large"
        [attachment] = message["attachments"]
        card = attachment["content"]
        is_card = attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        if message["type"] != "message" or not is_card or card["type"] != "AdaptiveCard":
            return 400, "TriggerInputSchemaMismatch"
        return 202, ""

    def program(self, message: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        for key in self.keys:
            Webhook(key).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
        self.ids.append(headers["webhook-id"])
        return 204, ""


def slack_markup(message: dict[str, Any]) -> list[str]:
    """Return what Slack takes for links, mentions and commands in a message."""
    texts = [message["text"]]
    for block in message["blocks"]:
        found = [block["text"]] if "text" in block else block["fields"]
        texts += [one["text"] for one in found if one["type"] == "mrkdwn"]
    return [markup for text in texts for markup in re.findall(r"<[^>]*>", text)]


def slack_text(message: dict[str, Any]) -> str:
    """Return all texts of a message."""
    return json.dumps(message, ensure_ascii=False)


def card_texts(message: dict[str, Any]) -> list[str]:
    """Return the lines of a card. Every text in it must be a run, which has no markup."""
    [attachment] = message["attachments"]
    lines = []
    for block in attachment["content"]["body"]:
        assert block["type"] == "RichTextBlock"
        assert all(run["type"] == "TextRun" for run in block["inlines"])
        lines.append("".join(run["text"] for run in block["inlines"]))
    return lines
