"""What a gate file means as a whole: names that must exist, pins that rules must have, what is easily wrong.

Takes the plain values that `gatekeys` shaped and makes gate.json's document of them. security.md#rules.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sluicegate.gate import patterns, rollout_settings
from sluicegate.gate.records import FORMAT
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gate.rules import DENIABLE, PINS
from sluicegate_gatefile.diagnostics import did_you_mean
from sluicegate_gatefile.overrides import Rollouts, no_stage
from sluicegate_gatefile.schema.base import ID
from sluicegate_gatefile.webhook_checks import WebhookChecks
from sluicegate_gatefile.yaml_source import Path, Report

OWN_FUNCTIONS = ("gateway", "watcher", "deployer", "janitor", "waker", "relay", "notifier")
LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Started by people and by themselves, on a ref of the project. All else a rule must name.
DEFAULT_SOURCES = ("push", "web")
# What the commits of a merge request can start; its author may be anybody who can fork.
_FORK_SOURCES = ("merge_request_event", "external_pull_request_event", "parent_pipeline")

_IDS = ("project_id", "namespace_id", "user_id", "pipeline_id", "job_id")
_FLAGS = ("ref_protected", "environment_protected")

Document = dict[str, Any]


@dataclass(frozen=True)
class Checks:
    """One gate file, shaped; `report` takes severity, code, path and message of what is found in it.

    `read_keys` gives the JWK set in a file beside the gate file, and raises ValueError where there is none.
    """

    source: Document
    report: Report
    read_keys: Callable[[str], str]
    allow_loopback: bool
    own_functions: tuple[str, ...]

    def document(self) -> Document:
        """gate.json's document; only to be used where no error was reported."""
        stages = {name: stage or {} for name, stage in self.source["stages"].items()}
        functions = self.source["functions"]
        self._functions(functions, stages)
        rollouts = self._rollouts(functions, stages)
        hooks = WebhookChecks(self.report, stages, functions, self.own_functions)
        rules = [self._rule(i, rule, stages, hooks) for i, rule in enumerate(self.source["rules"])]
        self._names_differ(rules)
        self._shared_targets(functions, stages, rules)
        self._approvers(functions, rollouts, rules)
        self._tests(stages, rules)
        webhooks = [
            hooks.entry(name, entry, self._issuer_of(("webhooks", name), entry))
            for name, entry in self.source.get("webhooks", {}).items()
        ]
        hooks.secrets_differ(webhooks)
        hooks.allowed(webhooks, rules)
        return {
            "format": FORMAT,
            "issuers": list(self._issuers()),
            "stages": [
                {
                    "name": name,
                    "alias": _alias(name, stage),
                    "protected": stage.get("protected", False),
                    "max_age": stage.get("max_age"),
                    "rollout": rollout_settings.document(rollouts.own[name]),
                }
                for name, stage in stages.items()
            ],
            "functions": [
                {
                    "pattern": pattern,
                    "alias": _overrides(entry, "alias"),
                    "max_age": _overrides(entry, "max_age"),
                    "rollout": {
                        stage: rollout_settings.document(rollout)
                        for stage, rollout in rollouts.overriding[pattern].items()
                        if rollout != rollouts.own[stage]
                    },
                }
                for pattern, entry in functions.items()
            ],
            "rules": rules,
            "deny": [self._deny(i, entry) for i, entry in enumerate(self.source.get("deny", ()))],
            "webhooks": webhooks,
        }

    # Issuers

    def _issuers(self) -> Iterator[Document]:
        urls: dict[str, str] = {}
        for name, issuer in self.source["issuers"].items():
            at: Path = ("issuers", name)
            url, audience = issuer["url"], issuer["audience"]
            self._url((*at, "url"), url)
            if url in urls:
                self._error(
                    "issuer", (*at, "url"), f"`{urls[url]}` has this url too; an issuer has one entry"
                )
            urls[url] = name
            yield {
                "name": name,
                "url": url,
                "audience": audience,
                "max_age": issuer.get("max_age"),
                "jwks": self._keys((*at, "jwks"), issuer.get("jwks", "discovery")),
                "feedback": self._feedback(at, issuer),
            }
        for name, issuer in self.source["issuers"].items():
            if issuer["audience"].rstrip("/") in urls:
                what = "is a GitLab's own URL, which many jobs use for other services; choose one of your own"
                self._warning("audience", ("issuers", name, "audience"), f"the audience {what}")

    def _url(self, at: Path, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port  # raises ValueError where it is no port
        except ValueError:
            host = ""
        if not host or not url.isascii() or "\\" in url:
            self._error("issuer", at, f"`{url}` is not a URL of a GitLab")
        elif parts.scheme == "http" and not (self.allow_loopback and host in LOOPBACK):
            self._error(
                "issuer", at, "an issuer is https; http is for this machine's own address on the stand"
            )

    def _keys(self, at: Path, jwks: str) -> str | None:
        if jwks == "discovery":
            return None
        try:
            return self.read_keys(jwks)
        except ValueError as error:
            self._error("jwks", at, f"`{jwks}`: {error}; `discovery` fetches keys from the issuer")
            return None

    def _feedback(self, at: Path, issuer: Mapping[str, Any]) -> Document | None:
        if "feedback" not in issuer:
            return None
        feedback: Document = {"commit_status": True, "deployment": True, **issuer["feedback"]}
        if not (feedback["commit_status"] or feedback["deployment"]):
            self._error(
                "feedback", (*at, "feedback"), "both are false, so nothing is sent: leave `feedback` out"
            )
        if issuer.get("jwks", "discovery") != "discovery":
            what = (
                "`jwks` is a file, as for a GitLab that AWS cannot reach: then no feedback reaches it either"
            )
            self._warning("feedback", (*at, "feedback"), what)
        return feedback

    def _issuer_of(self, at: Path, entry: Mapping[str, Any]) -> str:
        """The url of the issuer that an entry names, or that it need not name."""
        issuers = self.source["issuers"]
        name = entry.get("issuer")
        if name is None and len(issuers) > 1:
            self._error("issuer", at, f"say which `issuer`: {_listed(issuers)}")
        elif name is not None and name not in issuers:
            self._error(
                "issuer", (*at, "issuer"), f"there is no issuer `{name}`{did_you_mean(name, issuers)}"
            )
        return str((issuers.get(name) or next(iter(issuers.values())))["url"])

    # Stages and functions

    def _functions(self, functions: Mapping[str, Any], stages: Mapping[str, Any]) -> None:
        self._aliases_differ(("stages",), {name: _alias(name, stage) for name, stage in stages.items()})
        for pattern, entry in functions.items():
            at: Path = ("functions", pattern)
            self._not_ours(at, pattern)
            overrides = _overrides(entry, "alias")
            for stage in _stages_of(entry):
                self._stage((*at, "stages", stage), stage, stages)
            if overrides:
                aliases = {name: overrides.get(name, _alias(name, stage)) for name, stage in stages.items()}
                self._aliases_differ((*at, "stages"), aliases)

    def _aliases_differ(self, at: Path, aliases: Mapping[str, str]) -> None:
        owners: dict[str, str] = {}
        for stage, alias in aliases.items():
            if alias in owners:
                what = f"`{stage}` and `{owners[alias]}` come to one alias, `{alias}`, of one target"
                self._error("alias", (*at, stage), f"the stages {what}: give one of them another `alias`")
            owners[alias] = stage

    def _stage(self, at: Path, stage: str, stages: Mapping[str, Any]) -> None:
        if stage not in stages:
            self._error("stage", at, no_stage(stage, stages))

    def _not_ours(self, at: Path, pattern: str) -> None:
        compiled = patterns.compile(pattern)
        for own in self.own_functions:
            if compiled.matches(own):
                self._error(
                    "own_function", at, f"`{pattern}` matches `{own}`, a function of Sluicegate itself"
                )

    def _shared_targets(
        self, functions: Mapping[str, Any], stages: Mapping[str, Any], rules: list[Document]
    ) -> None:
        """Warns where whoever may deploy to an unprotected stage writes the `$LATEST` of a protected one."""
        for pattern in functions:
            granted = {s for rule in rules if _reaches(rule, pattern) for s in rule["stages"]}
            known = [stage for stage in stages if stage in granted]
            protected = [stage for stage in known if stages[stage].get("protected")]
            others = [stage for stage in known if stage not in protected]
            if protected and others:
                what = (
                    f"{_listed(protected)} (protected) and {_listed(others)} (not) of `{pattern}` are in one"
                )
                self._warning(
                    "shared_target",
                    ("functions", pattern),
                    f"{what} target, with one role and `$LATEST`: keep protected stages to other functions",
                )

    # Rollouts

    def _rollouts(self, functions: Mapping[str, Any], stages: Mapping[str, Any]) -> "_Found":
        make = Rollouts(self.report, stages, self.own_functions)
        own = {name: make.of_stage(name, stage) for name, stage in stages.items()}
        requires = {name: rollout.requires for name, rollout in own.items()}
        make.circles(("stages",), requires, stages)
        found = _Found(own, {})
        for pattern, entry in functions.items():
            at: Path = ("functions", pattern, "stages")
            found.overriding[pattern] = overriding = {
                name: make.of_override((*at, name), name, stages[name], own[name], override)
                for name, override in _stages_of(entry).items()
                if name in stages
            }
            changed = {name: rollout.requires for name, rollout in overriding.items()}
            make.circles(
                at, requires | changed, [name for name in changed if changed[name] != requires[name]]
            )
        return found

    def _approvers(self, functions: Mapping[str, Any], rollouts: "_Found", rules: list[Document]) -> None:
        """Warns where what may be deployed waits for an approval that nobody may give."""
        for pattern, entry in functions.items():
            for stage in rollouts.own:
                granted = {
                    action
                    for rule in rules
                    if stage in rule["stages"] and _reaches(rule, pattern)
                    for action in rule["actions"]
                }
                asks = rollouts.of(pattern, stage).approval is not None
                if asks and {"deploy", "promote"} & granted and "approve" not in granted:
                    overridden = "approval" in _stages_of(entry).get(stage, {})
                    at: Path = ("functions", pattern, "stages", stage) if overridden else ("stages", stage)
                    what = f"nobody can approve `{pattern}` in `{stage}`: no rule grants `approve` there"
                    self._warning("approval", (*at, "approval"), what)

    # Rules

    def _rule(self, i: int, rule: Document, stages: Mapping[str, Any], hooks: WebhookChecks) -> Document:
        at: Path = ("rules", i)
        claims: dict[str, list[str]] = dict(rule["claims"])
        allow = rule["allow"]
        protected = [stage for stage in allow["stages"] if stages.get(stage, {}).get("protected")]
        self._claims((*at, "claims"), claims)
        if rule.get("via") == "webhook":
            hooks.rule(at, rule, protected)
        else:
            self._pins((*at, "claims"), claims, protected, allow["actions"])
            if "event" in claims:
                what = "no token has `event`: it is for rules with `via: webhook`"
                self._error("webhook", (*at, "claims", "event"), what)
        for j, stage in enumerate(allow["stages"]):
            self._stage((*at, "allow", "stages", j), stage, stages)
        for j, pattern in enumerate(allow["functions"]):
            where: Path = (*at, "allow", "functions", j)
            self._not_ours(where, pattern)
            if not any(_overlap(pattern, covered) for covered in self.source["functions"]):
                self._warning(
                    "uncovered", where, f"`{pattern}` is in no entry of `functions`: it grants nothing"
                )
        return {
            "name": rule["name"],
            "issuer": self._issuer_of(at, rule),
            "via": rule.get("via") or "id_token",
            "claims": claims | {"pipeline_source": claims.get("pipeline_source", list(DEFAULT_SOURCES))},
            "actions": allow["actions"],
            "functions": allow["functions"],
            "stages": allow["stages"],
        }

    def _pins(
        self, at: Path, claims: Mapping[str, list[str]], protected: list[str], actions: Collection[str]
    ) -> None:
        if not any(_pinned(claims, claim) for claim in PINS):
            what = "gives neither project_id nor namespace_id exactly: anybody's project could match"
            self._error("pin", at, f"the rule {what}; pin one of them")
        elif protected and not _pinned(claims, "project_id"):
            self._error("pin", at, f"{_listed(protected)} is protected: the rule must pin project_id")
        if protected and claims.get("ref_protected") != ["true"]:
            self._error(
                "pin", at, f'{_listed(protected)} is protected: the rule must say ref_protected: "true"'
            )
        if "approve" in actions and not (
            _pinned(claims, "project_id")
            and claims.get("ref_protected") == ["true"]
            and claims.get("pipeline_source") == ["web"]
        ):
            what = 'must pin project_id, ref_protected: "true" and pipeline_source: web'
            self._error("pin", at, f"a rule with `approve` {what}")

    def _claims(self, at: Path, claims: Mapping[str, list[str]]) -> None:
        if "ref" in claims and not {"ref_type", "ref_path"} & claims.keys():
            what = "a branch and a tag can have one name: say `ref_type` too, or `ref_path` instead"
            self._error("ref_type", (*at, "ref"), what)
        if "environment" in claims and "environment_protected" not in claims:
            what = "any developer can write this keyword in a job; ask for environment_protected too"
            self._warning("environment", (*at, "environment"), what)
        if "project_path" in claims and "project_id" not in claims:
            what = "a path can be freed and taken by somebody else; give project_id too"
            self._warning("project_path", (*at, "project_path"), what)
        for source in _FORK_SOURCES:
            if any(patterns.compile(text).matches(source) for text in claims.get("pipeline_source", ())):
                what = f"`{source}` pipelines run what a merge request brings, from forks too"
                self._warning("pipeline_source", (*at, "pipeline_source"), what)
                break
        for claim, values in claims.items():
            for value in values:
                self._possible((*at, claim), claim, value)

    def _possible(self, at: Path, claim: str, value: str) -> None:
        """A value that GitLab never sends is a slip of the pen."""
        if "*" in value:
            return
        if claim in _IDS and not re.fullmatch(ID, value):
            self._error("value", at, f'`{value}` is not an id, which is digits such as "4213"')
        if claim in _FLAGS and value not in ("true", "false"):
            self._error("value", at, f'{claim} is "true" or "false", never `{value}`')

    def _names_differ(self, rules: list[Document]) -> None:
        seen: set[str] = set()
        for i, rule in enumerate(rules):
            if rule["name"] in seen:
                what = f"there is a rule `{rule['name']}` already; records tell rules apart by their names"
                self._error("name", ("rules", i, "name"), what)
            seen.add(rule["name"])

    def _deny(self, i: int, entry: Document) -> Document:
        at: Path = ("deny", i)
        claims = {claim: entry[claim] for claim in DENIABLE if claim in entry}
        if not claims:
            self._error("deny", at, f"the entry refuses nobody: give one of {_listed(DENIABLE)}")
        return {"issuer": self._issuer_of(at, entry), "claims": claims}

    # Tests

    def _tests(self, stages: Mapping[str, Any], rules: list[Document]) -> None:
        names = tuple(rule["name"] for rule in rules)
        for i, test in enumerate(self.source.get("tests", ())):
            at: Path = ("tests", i)
            self._issuer_of((*at, "identity"), test["identity"])
            self._stage((*at, "request", "stage"), test["request"]["stage"], stages)
            rule = test["expect"].get("rule")
            if rule is not None and not test["expect"]["allowed"]:
                self._error("test", (*at, "expect", "rule"), "no rule decides what is not allowed")
            elif rule is not None and rule not in names:
                what = f"there is no rule `{rule}`{did_you_mean(rule, names)}"
                self._error("test", (*at, "expect", "rule"), what)

    def _error(self, code: str, at: Path, message: str) -> None:
        self.report("error", code, at, message)

    def _warning(self, code: str, at: Path, message: str) -> None:
        self.report("warning", code, at, message)


@dataclass(frozen=True)
class _Found:
    """The rollouts of stages, and by entry of `functions` those that it overrides."""

    own: dict[str, Rollout]
    overriding: dict[str, dict[str, Rollout]]

    def of(self, pattern: str, stage: str) -> Rollout:
        return self.overriding[pattern].get(stage, self.own[stage])


def _alias(name: str, stage: Mapping[str, Any]) -> str:
    return str(stage.get("alias", name))


def _overrides(entry: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """By stage, what an entry of `functions` has for the key."""
    return {name: stage[key] for name, stage in _stages_of(entry).items() if key in stage}


def _stages_of(entry: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """An entry's overrides, by stage."""
    stages: Mapping[str, Mapping[str, Any]] = (entry or {}).get("stages", {})
    return stages


def _pinned(claims: Mapping[str, list[str]], claim: str) -> bool:
    values = claims.get(claim, ())
    return bool(values) and not any("*" in value for value in values)


def _overlap(one: str, other: str) -> bool:
    return patterns.overlap(patterns.compile(one), patterns.compile(other))


def _reaches(rule: Document, pattern: str) -> bool:
    return any(_overlap(granted, pattern) for granted in rule["functions"])


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
