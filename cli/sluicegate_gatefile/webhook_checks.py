"""What is wrong with a gate file's `webhooks`, and with the rules that are for them.

Takes the plain values that `gatekeys` shaped. Error by error what `gatehooks` refuses when it reads gate.json
back, but with a place and with what to do about it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluicegate.gate import patterns
from sluicegate.gate.webhooks import ACTIONS, CLAIMS, EVENTS
from sluicegate_gatefile.overrides import no_stage
from sluicegate_gatefile.yaml_source import Path, Report

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class WebhookChecks:
    """Checks entries and rules. `stages` and `functions` are the gate file's, `own_functions` the stack's."""

    report: Report
    stages: Mapping[str, Keys]
    functions: Collection[str]
    own_functions: Collection[str]

    def entry(self, name: str, entry: Keys, issuer: str) -> dict[str, Any]:
        """gate.json's entry; `issuer` is its url."""
        at: Path = ("webhooks", name)
        self._secret(at, entry)
        if "status" in entry and entry["event"] != "pipeline":
            what = "is a pipeline's: take it out; of a tag, the pipeline's success counts in any case"
            self._error("webhook", (*at, "status"), f"`status` {what}")
        self._deploys((*at, "deploy"), entry["deploy"]["function"], entry["deploy"]["stage"])
        return {
            "name": name,
            "issuer": issuer,
            "project_id": entry["project_id"],
            "scheme": entry["scheme"],
            "secret": entry.get("secret"),
            "event": entry["event"],
            "ref": entry["ref"],
            "function": entry["deploy"]["function"],
            "stage": entry["deploy"]["stage"],
        }

    def secrets_differ(self, entries: Sequence[Keys]) -> None:
        """Reports a secret with which the maintainers of one project could speak for another."""
        owners: dict[str, Keys] = {}
        for entry in entries:
            if entry["secret"] is None:
                continue
            first = owners.setdefault(entry["secret"], entry)
            if (first["issuer"], first["project_id"]) != (entry["issuer"], entry["project_id"]):
                what = f"`{first['name']}`, of another project, has this secret too: give each its own"
                self._error("webhook", ("webhooks", entry["name"], "secret"), what)

    def rule(self, at: Path, rule: Keys, protected: Sequence[str]) -> None:
        """Reports what a rule with `via: webhook` may not say."""
        claims: Mapping[str, list[str]] = rule["claims"]
        for claim in claims:
            if claim not in CLAIMS:
                what = f"no webhook has `{claim}`: it has {_listed(CLAIMS)}"
                self._error("webhook", (*at, "claims", claim), what)
        pinned = claims.get("project_id")
        if not pinned or any("*" in value for value in pinned):
            self._error("pin", (*at, "claims"), "a rule for webhooks must pin project_id")
        for event in claims.get("event", ()):
            if not any(patterns.compile(event).matches(known) for known in EVENTS):
                self._error("value", (*at, "claims", "event"), f"`{event}` is not one of {_listed(EVENTS)}")
        for i, action in enumerate(rule["allow"]["actions"]):
            if action not in ACTIONS:
                what = f"a webhook proves too little for `{action}`: it can be granted {_listed(ACTIONS)}"
                self._error("webhook", (*at, "allow", "actions", i), what)
        for stage in protected:
            i = rule["allow"]["stages"].index(stage)
            what = f"`{stage}` is protected, and no webhook may deploy there: let a job do it"
            self._error("webhook", (*at, "allow", "stages", i), what)

    def allowed(self, entries: Sequence[Keys], rules: Sequence[Keys]) -> None:
        """Warns of entries whose deliveries no rule can allow. Those with an ID token meet a job's rules."""
        for entry in entries:
            via = "id_token" if entry["scheme"] == "id_token" else "webhook"
            if not any(rule["via"] == via and _can_allow(rule, entry) for rule in rules):
                what = f"no rule with `via: {via}` allows it to deploy `{entry['function']}` to"
                self.report(
                    "warning", "webhook", ("webhooks", entry["name"]), f"{what} `{entry['stage']}`: add one"
                )

    def _secret(self, at: Path, entry: Keys) -> None:
        if entry["scheme"] == "id_token" and "secret" in entry:
            self._error("webhook", (*at, "secret"), "an ID token needs no secret: take it out")
        elif entry["scheme"] != "id_token" and "secret" not in entry:
            what = f"the scheme `{entry['scheme']}` needs a `secret`: its name in Secrets Manager"
            self._error("webhook", at, what)

    def _deploys(self, at: Path, function: str, stage: str) -> None:
        if stage not in self.stages:
            self._error("stage", (*at, "stage"), no_stage(stage, self.stages))
        elif self.stages[stage].get("protected"):
            what = f"`{stage}` is protected, and no webhook may deploy there: let a job do it"
            self._error("webhook", (*at, "stage"), what)
        if function in self.own_functions:
            self._error("own_function", (*at, "function"), f"`{function}` is a function of Sluicegate itself")
        elif not any(patterns.compile(pattern).matches(function) for pattern in self.functions):
            self._error("webhook", (*at, "function"), f"`{function}` is in no entry of `functions`")

    def _error(self, code: str, at: Path, message: str) -> None:
        self.report("error", code, at, message)


def _can_allow(rule: Keys, entry: Keys) -> bool:
    """Whether there is a delivery to the entry that the rule allows."""
    claims = rule["claims"]
    events = EVENTS if entry["event"] == "tag_push" else ("pipeline",)
    return (
        rule["issuer"] == entry["issuer"]
        and "deploy" in rule["actions"]
        and entry["stage"] in rule["stages"]
        and any(patterns.compile(text).matches(entry["function"]) for text in rule["functions"])
        and _takes(claims, "project_id", entry["project_id"])
        and ("event" not in claims or any(_takes(claims, "event", event) for event in events))
        and (entry["event"] != "tag_push" or _takes(claims, "ref_type", "tag"))
        and (
            "ref" not in claims
            or any(
                patterns.overlap(patterns.compile(t), patterns.compile(entry["ref"])) for t in claims["ref"]
            )
        )
    )


def _takes(claims: Mapping[str, list[str]], claim: str, value: str) -> bool:
    return claim not in claims or any(patterns.compile(text).matches(value) for text in claims[claim])


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
