"""Sessions of STS as AWS gives and ends them. `launch_emulator` loads it in the emulator.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- AssumeRoleWithWebIdentity verifies the token: see `web_identity`.
- A session lasts 900 seconds to the role's MaxSessionDuration, at most an hour from another role's session.
- A source identity needs `sts:SetSourceIdentity`, in the caller's policies and in the role's trust policy;
  it is a condition key there, stays for all sessions that follow, and cannot be changed.
- Session tags need `sts:TagSession` of the caller's policies too. Keys have their documented alphabet.
- A session ends with its role, and a role of the same name that is made later does not bring it back.
- An expired session is answered as expired, and not as unknown.

Sources, read on 26 November 2026: STS API reference, AssumeRole and AssumeRoleWithWebIdentity; IAM user
guide, "Monitor and control actions taken with assumed roles", "Pass session tags in AWS STS", "IAM
identifiers" (unique ids), "Common scenarios for roles" (role chaining). The words about MaxSessionDuration:
kreuzwerker/awsu#27 of 11 June 2018.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

Pinned = Callable[..., Callable[..., Any]]

_SHORTEST, _LONGEST, _CHAINED = 900, 43_200, 3_600
_KEPT = 24 * 3_600
"""Seconds for which an ended session is remembered as expired."""

_PATTERN = "Member must satisfy regular expression pattern"

_SOURCE_IDENTITY: ContextVar[str | None] = ContextVar("the source identity of this call", default=None)
_GIVEN: ContextVar[Any] = ContextVar("what this call brings with it", default=None)


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    end_sessions_with_their_role()
    remember_expired_sessions(pinned)
    add_source_identity_to_conditions(pinned)
    check_sessions(pinned)


class Sessions(dict[str, dict[str, Any]]):
    """Sessions by access key, without those whose role is gone or another by now."""

    def get(self, key: Any, default: Any = None) -> Any:
        session = super().get(key)
        if session is None:
            return default
        if is_of_a_role_that_is_gone(session):
            self.pop(key, None)
            return default
        return session

    def __getitem__(self, key: str) -> dict[str, Any]:
        session: dict[str, Any] | None = self.get(key)
        if session is None:
            raise KeyError(key)
        return session

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None


def is_of_a_role_that_is_gone(session: Mapping[str, Any]) -> bool:
    role_id = str(session.get("UserId", "")).partition(":")[0]
    arn = str(session.get("Arn", ""))
    if not role_id.startswith("AROA") or ":assumed-role/" not in arn:
        return False
    iam: Any = import_module("ministack.services.iam")
    role = iam._roles.get_scoped(arn.split(":")[4], None, arn.split("/")[1])
    return role is None or role["RoleId"] != role_id


def end_sessions_with_their_role() -> None:
    sts: Any = import_module("ministack.services.sts")
    sts._sessions = Sessions(sts._sessions)


def remember_expired_sessions(pinned: Pinned) -> None:
    sts: Any = import_module("ministack.services.sts")
    pinned(sts, "_evict_expired_sessions")

    def evict_expired_sessions() -> None:
        oldest = time.time() - _KEPT
        ends = {key: session.get("Expiration") for key, session in dict.items(sts._sessions)}
        for key, end in ends.items():
            if isinstance(end, int | float) and end < oldest:
                sts._sessions.pop(key, None)

    sts._evict_expired_sessions = evict_expired_sessions


def add_source_identity_to_conditions(pinned: Pinned) -> None:
    """Set `sts:SourceIdentity` where a role is assumed, and `aws:SourceIdentity` in the session's calls."""
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    sts: Any = import_module("ministack.services.sts")
    evaluate = pinned(evaluator, "evaluate_trust_policy", "trust_doc", "caller_arn", "ctx")
    principal_keys = pinned(evaluator, "_principal_keys", "credential")

    def evaluate_trust_policy(trust_doc: Any, caller_arn: str, ctx: Any = None) -> bool:
        source_identity = _SOURCE_IDENTITY.get()
        if ctx is not None and source_identity is not None:
            keys = {**ctx.service_context, "sts:sourceidentity": source_identity}
            ctx = replace(ctx, service_context=keys)
        return bool(evaluate(trust_doc, caller_arn, ctx))

    def with_source_identity(credential: Any) -> dict[str, Any]:
        keys = dict(principal_keys(credential))
        session = sts._sessions.get(credential.access_key_id) or {}
        if session.get("SourceIdentity"):
            keys["aws:sourceidentity"] = session["SourceIdentity"]
        return keys

    evaluator.evaluate_trust_policy = evaluate_trust_policy
    evaluator._principal_keys = sts._principal_keys = with_source_identity


def check_sessions(pinned: Pinned) -> None:
    """Check what is asked of AssumeRole and AssumeRoleWithWebIdentity, around the emulator's own answer."""
    sts: Any = import_module("ministack.services.sts")
    handle = pinned(sts, "handle_request", "method", "path", "headers", "body", "query_params")
    pinned(sts, "_web_identity_principal", "token", "provider_id", "role_arn")

    async def handle_request(method: str, path: str, headers: Any, body: bytes, query_params: Any) -> Any:
        asked = parameters(headers, body, query_params)
        if asked.get("Action") not in ("AssumeRole", "AssumeRoleWithWebIdentity"):
            return await handle(method, path, headers, body, query_params)
        try:
            check_request(asked)
            if asked["Action"] == "AssumeRole":
                given = Given.of_caller(sts, asked, headers, query_params)
            else:
                given = await asyncio.to_thread(Given.of_token, asked)
            before = _SOURCE_IDENTITY.set(given.source_identity), _GIVEN.set(given)
            try:
                answer = await handle(method, path, headers, body, query_params)
            finally:
                _SOURCE_IDENTITY.reset(before[0])
                _GIVEN.reset(before[1])
            if answer[0] != 200:
                return answer
            key = access_key(answer[2])
            try:
                given.check()
            except Refused:
                sts._sessions.pop(key, None)
                raise
            sts._sessions[key].update(given.remembered())
            return given.completed(answer)
        except Refused as refused:
            return refused.answer(sts, "amz-json" in headers.get("content-type", ""))

    def web_identity_principal(_token: str, _provider_id: str, _role_arn: str) -> Any:
        given = _GIVEN.get()
        return given.arn, given.keys()

    sts.handle_request = handle_request
    sts._web_identity_principal = web_identity_principal


class Refused(Exception):
    """What STS answers instead of credentials."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def answer(self, sts: Any, as_json: bool) -> Any:
        if as_json:
            return sts.error_response_json(self.code, self.message, self.status)
        return sts._error(self.status, self.code, escape(self.message), ns="sts")


class Given:
    """What a call brings with it: an identity, tags, and a source identity."""

    def __init__(self, asked: Mapping[str, str], arn: str, account: str) -> None:
        self.asked, self.arn, self.account = asked, arn, account
        self.access_key: str | None = None
        self.chained = False
        self.identity: Any = None
        self.source_identity: str | None = None
        self.tags: dict[str, str] = {}

    @classmethod
    def of_caller(cls, sts: Any, asked: Mapping[str, str], headers: Any, query_params: Any) -> "Given":
        """Of AssumeRole's caller. A source identity that is set stays."""
        caller = sts._caller_identity(headers, query_params)
        if not isinstance(caller, dict):
            status, _, body = sts._credential_error_response(caller)
            found = re.search(rb"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", body, re.DOTALL)
            code, message = (part.decode() for part in found.groups()) if found else ("AccessDenied", "")
            raise Refused(status, code, message)
        given = cls(asked, caller["userArn"], caller["accountId"])
        given.access_key = caller["accessKey"]
        given.chained = caller["principalType"] == "AssumedRole"
        before = (sts._sessions.get(given.access_key) or {}).get("SourceIdentity")
        wanted = asked.get("SourceIdentity")
        if before and wanted not in (None, before):
            raise not_authorized(given.arn, "sts:SetSourceIdentity", asked["RoleArn"])
        given.source_identity = wanted or before
        given.tags = {asked[key]: asked.get(key[:-3] + "Value", "") for key in tag_keys(asked)}
        return given

    @classmethod
    def of_token(cls, asked: Mapping[str, str]) -> "Given":
        """Of a web identity token, verified with the providers of the role's account."""
        iam: Any = import_module("ministack.services.iam")
        rules: Any = import_module("web_identity")
        account = asked["RoleArn"].split(":")[4]
        providers = {
            provider["Url"]: provider["ClientIDList"]
            for (owner, _), provider in iam._oidc_providers.to_dict().items()
            if owner == account
        }
        try:
            identity = rules.verify(asked["WebIdentityToken"], providers, time.time(), rules.read_url)
        except rules.RejectedToken as error:
            raise Refused(error.status, error.code, error.message) from None
        given = cls(asked, provider_arn(asked["RoleArn"], identity.host), account)
        given.identity, given.source_identity, given.tags = identity, identity.source_identity, identity.tags
        return given

    def keys(self) -> dict[str, Any]:
        """The condition keys of the role's trust policy, in lower case."""
        keys = {
            "sts:externalid": self.asked.get("ExternalId"),
            "sts:rolesessionname": self.asked.get("RoleSessionName"),
            "sts:sourceidentity": self.source_identity,
        }
        return keys | {"aws:federatedprovider": self.arn, **self.identity.keys} if self.identity else keys

    def check(self) -> None:
        """Refuse what the emulator let pass. Raises Refused."""
        role = role_of(self.asked["RoleArn"])
        for wanted, action in (
            (self.source_identity, "sts:SetSourceIdentity"),
            (self.tags, "sts:TagSession"),
        ):
            if wanted and not self._may(action, role):
                raise self._denied(action)
        seconds = int(self.asked.get("DurationSeconds") or _CHAINED)
        if seconds > int(role.get("MaxSessionDuration") or _CHAINED):
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise Refused(400, "ValidationError", message)
        if self.chained and seconds > _CHAINED:
            message = (
                "The requested DurationSeconds exceeds the 1 hour session limit for roles "
                "assumed by role chaining"
            )
            raise Refused(400, "ValidationError", message)

    def _may(self, action: str, role: Mapping[str, Any]) -> bool:
        """Whether the trust policy allows it, and the caller's own policies where it has some."""
        evaluator: Any = import_module("ministack.core.iam_evaluator")
        region: str = import_module("ministack.core.responses").get_region()
        assumed = "sts:AssumeRoleWithWebIdentity"
        trust = json.loads(role["AssumeRolePolicyDocument"])
        context = evaluator.EvalContext(
            principal_arn=self.arn,
            principal_type="WebIdentityUser" if self.identity else "AssumedRole",
            principal_account=self.account,
            action=assumed if self.identity else action,
            resource_arn=self.asked["RoleArn"],
            region=region,
            service_context=self.keys(),
            request_tags=dict(self.tags),
            tag_keys=list(self.tags),
        )
        if self.identity:
            trust = with_action(trust, action, assumed)
        if not evaluator.evaluate_trust_policy(trust, self.arn, context):
            return False
        if self.identity:
            return True
        key = self.access_key
        return evaluator.enforce(key, action, "sts", region, self.asked["RoleArn"], self.keys()) is None

    def _denied(self, action: str) -> Refused:
        if self.identity:
            return Refused(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        return not_authorized(self.arn, action, self.asked["RoleArn"])

    def remembered(self) -> dict[str, Any]:
        """What the session keeps."""
        if self.identity is None:
            return {"SourceIdentity": self.source_identity}
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return {"SourceIdentity": self.source_identity, "SessionTags": tags, "FederatedProvider": self.arn}

    def completed(self, answer: Any) -> Any:
        """The answer, with what the token says where the emulator has made something up."""
        status, headers, body = answer
        if self.identity is None:
            if self.source_identity:
                added = f"<SourceIdentity>{escape(self.source_identity)}</SourceIdentity></AssumeRoleResult>"
                body = body.replace(b"</AssumeRoleResult>", added.encode())
            return status, headers, body
        said = {
            "SubjectFromWebIdentityToken": self.identity.subject,
            "Audience": self.identity.audience,
            "Provider": self.identity.issuer,
        }
        for name, value in said.items():
            before, _, rest = body.partition(f"<{name}>".encode())
            body = before + f"<{name}>{escape(value)}".encode() + rest[rest.index(b"</") :]
        return status, headers, body


def not_authorized(arn: str, action: str, role_arn: str) -> Refused:
    message = f"User: {arn} is not authorized to perform: {action} on resource: {role_arn}"
    return Refused(403, "AccessDenied", message)


def with_action(trust: Mapping[str, Any], allowed: str, named: str) -> dict[str, Any]:
    """A trust policy with the statements about one action, as if they were about another."""
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    statements = trust.get("Statement", [])
    kept = []
    for statement in statements if isinstance(statements, list) else [statements]:
        actions, others = (
            [value] if isinstance(value, str) else value or []
            for value in (statement.get("Action"), statement.get("NotAction"))
        )
        if evaluator._action_matches(allowed, actions, others):
            kept.append({**{k: v for k, v in statement.items() if k != "NotAction"}, "Action": named})
    return {"Statement": kept}


def provider_arn(role_arn: str, host: str) -> str:
    """The ARN of the OIDC provider in the role's account."""
    parts = role_arn.split(":")
    return f"arn:{parts[1]}:iam::{parts[4]}:oidc-provider/{host}"


def role_of(arn: str) -> dict[str, Any]:
    iam: Any = import_module("ministack.services.iam")
    role: dict[str, Any] = iam._roles.get_scoped(arn.split(":")[4], None, arn.rpartition("/")[2]) or {}
    return role


def access_key(body: bytes) -> str:
    """The access key of the credentials in an answer."""
    found = re.search(rb"ASIA\w{16}", body)
    if found is None:
        raise SystemExit("the emulator's credentials have changed, and this launcher must follow")
    return found.group().decode()


def parameters(headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]) -> dict[str, str]:
    """What a call asks for, from its query, form or JSON document. Tags are as in a form."""
    if "amz-json" in headers.get("content-type", ""):
        document = json.loads(body or b"{}")
        asked = {key: str(value) for key, value in document.items() if not isinstance(value, list)}
        for number, tag in enumerate(document.get("Tags") or (), 1):
            asked[f"Tags.member.{number}.Key"] = str(tag.get("Key", ""))
            asked[f"Tags.member.{number}.Value"] = str(tag.get("Value", ""))
        return asked | {"Action": headers.get("x-amz-target", "").rpartition(".")[2]}
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {key: value[0] for key, value in {**query_params, **form}.items() if value}


def tag_keys(asked: Mapping[str, str]) -> list[str]:
    return [name for name in asked if re.fullmatch(r"Tags\.member\.\d+\.Key", name)]


def check_request(asked: Mapping[str, str]) -> None:
    """Refuse what STS's model of the request does not take. Raises Refused."""
    rules: Any = import_module("emulator_answers")
    if not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/.+", asked.get("RoleArn", "")):
        raise invalid("roleArn", "Member must be an ARN of a role")
    seconds = asked.get("DurationSeconds")
    if seconds and (not re.fullmatch(r"-?\d{1,9}", seconds) or int(seconds) < _SHORTEST):
        raise invalid(
            "durationSeconds", f"Member must have value greater than or equal to {_SHORTEST}", seconds
        )
    if seconds and int(seconds) > _LONGEST:
        raise invalid("durationSeconds", f"Member must have value less than or equal to {_LONGEST}", seconds)
    source = asked.get("SourceIdentity")
    if source is not None and not re.fullmatch(r"[\w+=,.@-]{2,64}", source, re.ASCII):
        raise invalid("sourceIdentity", rf"{_PATTERN}: [\w+=,.@-]*", source)
    keys = [asked[name] for name in tag_keys(asked)]
    if len(keys) > 50:
        raise invalid("tags", "Member must have length less than or equal to 50")
    if any(not 1 <= len(key) <= 128 or not rules.takes(key) for key in keys):
        raise invalid(
            "tags.1.member.key",
            rf"{_PATTERN}: [\p{{L}}\p{{Z}}\p{{N}}_.:/=+\-@]+",
        )
    if any(text.lower().startswith("aws:") for text in (source or "", *keys)):
        message = "aws: prefixed tag key names are not allowed for external use."
        raise Refused(400, "InvalidParameterValue", message)
    if asked.get("Action") == "AssumeRoleWithWebIdentity":
        length = len(asked.get("WebIdentityToken", ""))
        if not 4 <= length <= 20_000:
            raise invalid("webIdentityToken", "Member must have length between 4 and 20000")


def invalid(member: str, constraint: str, value: str | None = None) -> Refused:
    shown = f"Value '{value}'" if value is not None else "Value"
    message = f"1 validation error detected: {shown} at '{member}' failed to satisfy constraint: {constraint}"
    return Refused(400, "ValidationError", message)
