"""Examine a job's token and the API together, and explain what is wrong."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from sluicegate.gate.policy import Gate
from sluicegate_cli.api import ApiClient, endpoint
from sluicegate_cli.doctor import api_checks, rule_checks, token_checks
from sluicegate_cli.doctor.findings import FORM, ROTATION, RULES, CheckVerdict, Finding
from sluicegate_cli.doctor.token_checks import UnverifiedToken
from sluicegate_cli.errors import ApiError


@dataclass(frozen=True)
class Examination:
    """An examination of a token, and of the API with it. `given` None: of the API alone.

    `gate` is the local gate file, `gate_error` what is wrong with it.
    """

    url: str | None
    given: str | None
    request: tuple[str, str] | None
    gate: Gate | None
    gate_error: Finding | None

    def findings(self) -> list[Finding]:
        """Return the findings, in the order in which to fix them."""
        found = [self.gate_error] if self.gate_error else []
        token = None if self.given is None else token_checks.read_token(self.given)
        address, health, now = self._health()
        if health is None or health.verdict is not CheckVerdict.OK or not isinstance(token, UnverifiedToken):
            return [*found, *self._alone(token), *([health] if health else [])]
        return [*found, *self._together(address, token, now, health)]

    def _health(self) -> tuple[str, Finding | None, float]:
        """Return the address, a health check, and the API's time. No token is sent before it succeeds."""
        if self.url is None:
            return "", None, time.time()
        try:
            address = endpoint(self.url)
        except click.UsageError as error:
            return "", api_checks.of_address(self.url, error.message), time.time()
        with ApiClient(address, "", attempts=1) as api:
            try:
                return address, api_checks.of_health(api.get("health"), address), api.now()
            except ApiError as error:
                return address, api_checks.of_health_error(error.document, address), time.time()

    def _alone(self, token: UnverifiedToken | Finding | None) -> list[Finding]:
        """Examine the token without the API, and the rules if the token is right."""
        if token is None:
            return [
                Finding(
                    FORM,
                    CheckVerdict.UNKNOWN,
                    "no token was given",
                    "Run it in the job, or use --token-file.",
                )
            ]
        if isinstance(token, Finding):
            return [token]
        found = list(self._local(token, time.time(), by_api=False))
        if self.gate is not None and not any(one.verdict is CheckVerdict.WRONG for one in found):
            found.append(self._rules(token))
        return found

    def _local(self, token: UnverifiedToken, now: float, *, by_api: bool) -> Iterator[Finding]:
        issuers = list(self.gate.issuers.values()) if self.gate else []
        for finding in token_checks.of_token(token, issuers, now, by_api=by_api):
            yield finding
            if finding.check == ROTATION and finding.verdict is CheckVerdict.OK and self.gate:
                yield from _of_keys(token, self.gate)

    def _together(self, address: str, token: UnverifiedToken, now: float, health: Finding) -> list[Finding]:
        """Examine the token locally and with the API, and what the rules grant."""
        local = list(self._local(token, now, by_api=True))
        with ApiClient(address, self.given or "", attempts=1) as api:
            try:
                identity = api.get("whoami")
            except ApiError as error:
                refusal = api_checks.of_problem(error.document, token)
                if refusal.check in api_checks.OF_TOKEN:
                    return [*api_checks.rejected_by_api(local, refusal), health]
                if refusal.check == RULES:  # checked after the token is verified
                    return [*api_checks.accepted_by_api(local), health, refusal]
                return [*local, refusal]
            differs = any(one.verdict is CheckVerdict.WRONG for one in local)  # reported already
            rules = list(self._of_rules(api, token, identity, compare=not differs))
        return [*api_checks.accepted_by_api(local), health, *rules]

    def _of_rules(
        self, api: ApiClient, token: UnverifiedToken, identity: Mapping[str, Any], *, compare: bool
    ) -> Iterator[Finding]:
        if self.gate is not None and compare:
            other = api_checks.other_rules(identity, self.gate.rules_of(_identity(token)))
            if other is not None:
                yield other
        if self.request is None:
            found = api_checks.of_whoami(identity)
            if found.verdict is CheckVerdict.WRONG and self.gate is not None:
                local = self._rules(token)  # names the nearest rule
                found = local if local.verdict is CheckVerdict.WRONG else found
            yield found
            return
        function, stage = self.request
        body = {"action": "deploy", "function": function, "stage": stage, "dry_run": True}
        try:
            api.post("deployments", body=body | {"artifact": {"sha256": "0" * 64}})
        except ApiError as error:
            yield api_checks.of_dry_run(error.document, function, stage)
        else:
            yield Finding(RULES, CheckVerdict.OK, f"this job may deploy {function} in {stage}")

    def _rules(self, token: UnverifiedToken) -> Finding:
        assert self.gate is not None  # noqa: S101 (called only with a gate file)
        return rule_checks.of_rules(self.gate, _identity(token), self.request)


def _identity(token: UnverifiedToken) -> Any:
    from sluicegate.oidc.token import rule_claims  # with PyJWT

    return rule_checks.identity_of(token, rule_claims(token.claims))


def _of_keys(token: UnverifiedToken, gate: Gate) -> Iterator[Finding]:
    """Check the keys of the gate file's issuer only: a token must not choose where to connect to."""
    known = gate.issuers.get(token.issuer)
    if known is None:
        return
    from sluicegate.http_client import FetchError
    from sluicegate.oidc.discovery import fetch_key_set
    from sluicegate.oidc.jwks import InvalidKeySet, parse_jwks

    kid, from_file = token.header["kid"], known.jwks is not None
    try:
        keys = parse_jwks(known.jwks if known.jwks is not None else fetch_key_set(known.url))
    except (FetchError, InvalidKeySet) as error:
        yield token_checks.of_keys(kid, None, str(error), from_file=from_file)
    else:
        yield token_checks.of_keys(kid, list(keys), from_file=from_file)
