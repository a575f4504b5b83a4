"""`webhooks`, and the rules that are for them.

`gate.codec` refuses the same when it reads gate.json back; here each error has a place and says what to do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate
from sluicegate.gate.webhooks import ACTIONS, CLAIMS, EVENTS
from sluicegate_gatefile.checks.context import CheckContext, no_stage
from sluicegate_gatefile.checks.grants import Rules
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.rules import RuleSection, WebhookSection
from sluicegate_gatefile.yaml_source import Path, Reporter

WebhookEntry = Mapping[str, Any]


def webhooks(context: CheckContext, rules: Rules) -> list[dict[str, Any]]:
    """Check the entries; returns gate.json's."""
    entries = [_entry(context, name, entry) for name, entry in context.file.webhooks.items()]
    _check_secrets(context, entries)
    _check_allowed(context, entries, rules)
    return entries


def check_rule(context: CheckContext, at: Path, rule: RuleSection, protected: Sequence[str]) -> None:
    """Report what a rule with `via: webhook` may not say."""
    for claim in rule.claims:
        if claim not in CLAIMS:
            what = f"no webhook has `{claim}`: it has {listed(CLAIMS)}"
            context.error("webhook", (*at, "claims", claim), what)
    pinned = rule.claims.get("project_id")
    if not pinned or any("*" in value for value in pinned):
        context.error("pin", (*at, "claims"), "a rule for webhooks must pin project_id")
    for i, action in enumerate(rule.allow.actions):
        if action not in ACTIONS:
            what = f"a webhook proves too little for `{action}`: it can be granted {listed(ACTIONS)}"
            context.error("webhook", (*at, "allow", "actions", i), what)
    for stage in protected:
        i = rule.allow.stages.index(stage)
        what = f"`{stage}` is protected, and no webhook may deploy there: let a job do it"
        context.error("webhook", (*at, "allow", "stages", i), what)


def check_waiting(gate: Gate, report: Reporter) -> None:
    """Warn of webhooks whose deployments would wait for an approval: a webhook has no user to differ from."""
    for hook in gate.webhooks.values():
        placement = gate.place(hook.function, hook.stage)
        if hook.scheme != "id_token" and placement and placement.approval is not None:
            what = f"`{hook.stage}` requires an approval, and nobody can approve what a webhook requests"
            report("warning", "approval", ("webhooks", hook.name, "deploy", "stage"), what)


def _entry(context: CheckContext, name: str, entry: WebhookSection) -> dict[str, Any]:
    at: Path = ("webhooks", name)
    issuer = context.issuer(at, entry.issuer)
    if entry.scheme == "id_token" and entry.secret is not None:
        context.error("webhook", (*at, "secret"), "an ID token needs no secret: remove it")
    elif entry.scheme != "id_token" and entry.secret is None:
        what = f"the scheme `{entry.scheme}` needs a `secret`: its name in Secrets Manager"
        context.error("webhook", at, what)
    if entry.status is not None and entry.event != "pipeline":
        what = "is only for `event: pipeline`: remove it; a tag's successful pipeline counts in any case"
        context.error("webhook", (*at, "status"), f"`status` {what}")
    if entry.ref_type == "branch" and entry.event == "tag_push":
        what = "`tag_push` waits for tags; for a branch, use `event: pipeline`"
        context.error("webhook", (*at, "ref_type"), what)
    if re.match(r"refs/(heads|tags)/", entry.ref):
        what = "give the bare name of the branch or tag, such as `main`: as written, no delivery matches"
        context.warning("ref", (*at, "ref"), what)
    _check_deploys(context, (*at, "deploy"), entry.deploy.function, entry.deploy.stage)
    return {
        "name": name,
        "issuer": issuer,
        "project_id": entry.project_id,
        "scheme": entry.scheme,
        "secret": entry.secret,
        "event": entry.event,
        "ref_type": entry.ref_type or ("branch" if entry.event == "pipeline" else "tag"),
        "ref": entry.ref,
        "function": entry.deploy.function,
        "stage": entry.deploy.stage,
    }


def _check_deploys(context: CheckContext, at: Path, function: str, stage: str) -> None:
    if stage not in context.file.stages:
        context.error("stage", (*at, "stage"), no_stage(stage, context.file.stages))
    elif context.protected([stage]):
        what = f"`{stage}` is protected, and no webhook may deploy there: let a job do it"
        context.error("webhook", (*at, "stage"), what)
    if function in context.own_functions:
        what = f"`{function}` is a function of Sluicegate itself"
        context.error("own_function", (*at, "function"), what)
    elif not any(patterns.compile(pattern).matches(function) for pattern in context.file.functions):
        context.error("webhook", (*at, "function"), f"`{function}` matches no entry of `functions`")


def _check_secrets(context: CheckContext, entries: Sequence[WebhookEntry]) -> None:
    """Report a secret with which the maintainers of one project could speak for another."""
    owners: dict[str, WebhookEntry] = {}
    for entry in entries:
        if entry["secret"] is None:
            continue
        first = owners.setdefault(entry["secret"], entry)
        if (first["issuer"], first["project_id"]) != (entry["issuer"], entry["project_id"]):
            what = f"`{first['name']}`, of another project, has the same secret: give each its own"
            context.error("webhook", ("webhooks", entry["name"], "secret"), what)


def _check_allowed(context: CheckContext, entries: Sequence[WebhookEntry], rules: Rules) -> None:
    """Warn of entries whose deliveries no rule can allow. Those with an ID token meet a job's rules."""
    for entry in entries:
        via = "id_token" if entry["scheme"] == "id_token" else "webhook"
        able = [rule for rule in rules if rule["via"] == via]
        if any(_can_allow(rule, entry) for rule in able):
            continue
        kind = entry["ref_type"]
        what = f"no rule with `via: {via}` allows it to deploy `{entry['function']}` to `{entry['stage']}`"
        what += f" from a {kind}"
        other = {**entry, "ref_type": "tag"}
        if entry["event"] == "pipeline" and any(_can_allow(rule, other) for rule in able):
            what += ", and one does from a tag: give the entry `ref_type: tag` if it waits for tags"
        else:
            what += ": add one"
        context.warning("webhook", ("webhooks", entry["name"]), what)


def _can_allow(rule: WebhookEntry, entry: WebhookEntry) -> bool:
    """Return whether there is a delivery to the entry that the rule allows."""
    claims = rule["claims"]
    events = EVENTS if entry["event"] == "tag_push" else ("pipeline",)
    return (
        rule["issuer"] == entry["issuer"]
        and "deploy" in rule["actions"]
        and entry["stage"] in rule["stages"]
        and any(patterns.compile(text).matches(entry["function"]) for text in rule["functions"])
        and _takes(claims, "project_id", entry["project_id"])
        and ("event" not in claims or any(_takes(claims, "event", event) for event in events))
        and _takes(claims, "ref_type", entry["ref_type"])
        and (
            "ref" not in claims
            or any(
                patterns.overlap(patterns.compile(t), patterns.compile(entry["ref"])) for t in claims["ref"]
            )
        )
    )


def _takes(claims: Mapping[str, Sequence[str]], claim: str, value: str) -> bool:
    return claim not in claims or any(patterns.compile(text).matches(value) for text in claims[claim])
