"""Write a deployment as one HTML page that needs nothing else: no script, no image, nothing that it loads.

Text of the record is cleaned and escaped wherever it is written: Jinja2 escapes all of it, and `plot.svg`
builds elements. The page's policy (CSP) allows its own style by hash and nothing besides.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

import sluicegate
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.documents import describe, observed
from sluicegate.documents.figures import figures
from sluicegate.documents.links import links
from sluicegate.text import clean
from sluicegate_cli.durations import format_duration

_TEXT: Final = 4096  # characters of one value
_WIDE: Final = (760, 280)
_NARROW: Final = (360, 260)


def page(deployment: Mapping[str, Any], ending: str, now: float) -> str:
    """Return the page. `ending`: its end in a sentence. `now`: epoch seconds, when the page is made."""
    style = _resource("page.css")
    return (
        _environment()
        .get_template("page.html")
        .render(
            deployment=deployment,
            ending=ending,
            facts=_facts(deployment),
            links=links(deployment.get("requested_by")),
            newest=observed.observations(deployment)[-1:],
            alarms=_alarms(deployment),
            overlooked=deployment.get("fix_forward"),
            would_have=deployment.get("would_have") or (),
            describe=describe,
            plots=figures(deployment, wide=_WIDE, narrow=_NARROW, markup=Markup),
            timeline=_timeline(deployment),
            looks=_looks(deployment),
            watched=describe.watch(deployment.get("watch")),
            made=timestamp(now),
            release=sluicegate.__version__,
            observed=observed,
            style=Markup(style),  # noqa: S704 (a file of this package)
            policy=_policy(style),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    return environment


def _moment(timestamp: object) -> str:
    """Format a timestamp of the API, which is in UTC, for a reader: `2026-11-26 14:23:44`."""
    return str(timestamp)[:19].replace("T", " ")


def _finalize(value: object) -> object:
    """Clean what a template writes: control characters, and those that show text in another order."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else clean(str(value), _TEXT)


def _resource(name: str) -> str:
    return files("sluicegate_cli.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _facts(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Return what the review asks first, by name; without what is unknown."""
    by, alias, source = deployment["requested_by"], deployment["alias"], deployment.get("from")
    reason = deployment.get("reason")
    ends = deployment.get("finished_at")
    took = format_duration(seconds(ends) - seconds(deployment["created_at"])) if ends else ""
    facts = {
        "Asked by": describe.marked(by, describe.requester(by)),
        "Allowed by rule": deployment["rule"],
        "Action": deployment["action"] + (f" from {source}" if source else ""),
        "Release": deployment.get("release"),
        "Description": deployment.get("description"),
        "Reason of the end": reason and f"{reason['message']} [{reason['code']}]",
        "Approval": describe.approval(deployment.get("approval")),
        "Steps": describe.steps(deployment["steps"]),
        "Alias before": describe.serving(alias["original"]),
        "Alias after": describe.serving(alias["current"]),
        "Target": describe.target(deployment["target"]),
        "Code (SHA-256)": deployment["artifact"]["sha256"],
        "Gate file": deployment.get("gate"),
        "Ref": by.get("ref"),
        "Commit": by.get("sha"),
        "Began": _moment(deployment["created_at"]),
        "Ended": ends and f"{_moment(ends)}, after {took}",
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _timeline(deployment: Mapping[str, Any]) -> list[dict[str, str]]:
    began = seconds(deployment["created_at"])
    return [
        {
            "at": entry["at"],
            "after": f"+{format_duration(seconds(entry['at']) - began)}",
            "status": str(entry["status"]).replace("_", " "),
            "message": entry["message"],
        }
        for entry in deployment["timeline"]
    ]


def _looks(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each finding of each look, the newest look first."""
    return [
        {"at": look["at"], "percent": look.get("percent"), "findings": observed.findings(look)}
        for look in reversed(observed.observations(deployment))
    ]


def _alarms(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each alarm that was not OK once, as it was seen last, with its address if that may be a link."""
    found = {
        str(alarm.get("name")): alarm
        for look in observed.observations(deployment)
        for alarm in observed.ringing(look)
    }
    return [{"text": observed.alarm(alarm), "link": _https(alarm.get("link"))} for alarm in found.values()]


def _https(address: object) -> str | None:
    """Return the address if it may be a link: https, with a host, and nothing that hides what it is."""
    text = str(address or "")
    if not text.isascii() or not text.isprintable() or len(text) > 2048:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme == "https" and parts.hostname and not parts.username else None
