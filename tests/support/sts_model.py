"""STS as AWS answers it, for targets' and callers' roles, with the methods of boto3's clients.

Sources: AWS STS API reference (AssumeRole, AssumeRoleWithWebIdentity, Tag), IAM user guide ("IAM and STS
quotas", "Rules for tagging", "Changes that I make are not always immediately visible", "Monitor and control
actions taken with assumed roles", "Common scenarios for roles"), all read on 26 November 2026. Recorded
answers: localstack/localstack, `tests/aws/services/sts/test_sts.snapshot.json`, of 10 April and 21 July
2025. The size of packed tags: aws-actions/configure-aws-credentials#1898, of 21 July 2026. A role's longest
session: kreuzwerker/awsu#27 of 11 June 2018. What a web identity token has to be: `stand.web_identity`,
with its sources.
"""

import json
import re
import time
import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from botocore.exceptions import ClientError

from stand.web_identity import RejectedToken, WebIdentity, read_url, verify
from support.iam_roles_model import IamModel, Role, allows, listed
from support.refusals import refused

PACKED: Final = 4_096
"""Bytes for tags and session policy, since 15 September 2026."""

PACKED_BEFORE: Final = 455
"""The same before, and in China still: nine tags `T1` to `T9` of 250 characters took 498 percent of it."""

_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_POLICY: Final = re.compile("[\t\n\r\x20-\xff]{1,2048}")
_TAG_CATEGORIES: Final = ("L", "Z", "N")


_refused = partial(refused, call="AssumeRole")

CHAINED: Final = 3_600
"""Seconds that a session lasts at most that another role's session asked for."""


@dataclass
class Session:
    """A role's session. It ends with its time, and with its role."""

    role_arn: str
    role_id: str
    name: str
    ends: float
    source_identity: str | None

    @property
    def arn(self) -> str:
        return f"{_session_of(self.role_arn)}/{self.name}"


@dataclass
class StsModel:
    """Knows roles by their ARN, and those of `iam` by their trust policies.

    All calls within `spreads` seconds of the first one are denied. A role with an external id admits nobody
    without it. A role in `forbidden` is denied by a policy of the caller's organisation.
    """

    clock: Callable[[], float] = lambda: 0.0
    spreads: float = 0.0
    packed: int = PACKED
    roles: dict[str, str | None] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    granted: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    first_call: float | None = None
    iam: IamModel = field(default_factory=IamModel)
    sessions: dict[str, Session] = field(default_factory=dict)
    """By access key."""

    fetch: Callable[[str], bytes] = read_url
    now: Callable[[], float] = time.time
    """Seconds since the epoch, for tokens and the ends of sessions."""

    caller: Session | None = None
    """The session that the client is of; None for the account's administrator."""

    def add_role(self, arn: str, external_id: str | None = None) -> str:
        self.roles[arn] = external_id
        return arn

    def assume_role(
        self,
        *,
        RoleArn: str,
        RoleSessionName: str,
        DurationSeconds: int = 3_600,
        Policy: str | None = None,
        Tags: list[dict[str, str]] | None = None,
        SourceIdentity: str = "none",
        ExternalId: str = "none",
    ) -> dict[str, Any]:
        """Validate as AWS does, then decide on access, then pack."""
        self._check_caller("AssumeRole")
        tags = Tags or []
        self.calls += 1
        self.first_call = self.clock() if self.first_call is None else self.first_call
        _check("roleSessionName", RoleSessionName, _NAME.fullmatch)
        _check("sourceIdentity", SourceIdentity, _NAME.fullmatch)
        _check("externalId", ExternalId, re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII).fullmatch)
        _check("durationSeconds", DurationSeconds, lambda value: 900 <= value <= 43_200)
        _check("tags", tags, lambda value: len(value) <= 50)
        for tag in tags:
            _check("tags.member.key", tag["Key"], lambda value: _is_tag(value, 1, 128))
            _check("tags.member.value", tag["Value"], lambda value: _is_tag(value, 0, 256))
        keys = [tag["Key"].lower() for tag in tags]
        if len(keys) != len(set(keys)):
            raise _refused(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            )
        reserved = (SourceIdentity, *keys, *(tag["Value"] for tag in tags))
        if any(text.lower().startswith("aws:") for text in reserved):
            raise _refused(
                "InvalidParameterValue", "aws: prefixed tag key names are not allowed for external use."
            )
        if Policy is not None:
            _check("policy", Policy, _POLICY.fullmatch)
            try:
                json.loads(Policy)
            except ValueError:
                raise _refused("MalformedPolicyDocument", "This policy contains invalid Json") from None
        is_known = self.clock() - self.first_call >= self.spreads
        if RoleArn in self.forbidden:
            # "with an explicit deny in a service control policy" (IAM user guide, "Troubleshoot access
            # denied error messages", read on 26 November 2026).
            raise self._denied(
                "sts:AssumeRole", RoleArn, " with an explicit deny in a service control policy"
            )
        given = None if SourceIdentity == "none" else SourceIdentity
        if not is_known:
            raise self._denied("sts:AssumeRole", RoleArn)
        role, given = self._role_of_caller(RoleArn, RoleSessionName, given, ExternalId, bool(tags))
        self._check_duration(role, DurationSeconds, "AssumeRole")
        percent = self._packed_percent(tags, Policy)
        if percent > 100:
            what = "Packed size of session tags consumes" if tags else "Packed policy consumes"
            raise _refused("PackedPolicyTooLarge", f"{what} {percent}% of allotted space.")
        self.granted.append({"Tags": tags, "Policy": Policy, "SourceIdentity": SourceIdentity})
        return {
            **self._session(RoleArn, role, RoleSessionName, DurationSeconds, given),
            "PackedPolicySize": percent,
            **({"SourceIdentity": given} if given else {}),
        }

    def assume_role_with_web_identity(
        self, *, RoleArn: str, RoleSessionName: str, WebIdentityToken: str, DurationSeconds: int = 3_600
    ) -> dict[str, Any]:
        """Validate the request, then the token, then decide on access without a reason, as AWS does."""
        call = "AssumeRoleWithWebIdentity"
        _check("roleSessionName", RoleSessionName, _NAME.fullmatch, call)
        _check("durationSeconds", DurationSeconds, lambda value: 900 <= value <= 43_200, call)
        _check("webIdentityToken", WebIdentityToken, lambda value: 4 <= len(value) <= 20_000, call)
        account = RoleArn.split(":")[4]
        providers = {
            provider["Url"]: provider["ClientIDList"]
            for arn, provider in self.iam.providers.items()
            if arn.split(":")[4] == account
        }
        try:
            identity = verify(WebIdentityToken, providers, self.now(), self.fetch)
        except RejectedToken as error:
            raise refused(error.code, error.message, error.status, call) from None
        role = self.iam.roles.get(RoleArn)
        if role is None or not _trusts(role, identity, account, RoleSessionName):
            raise refused("AccessDenied", f"Not authorized to perform sts:{call}", 403, call)
        self._check_duration(role, DurationSeconds, call)
        return {
            **self._session(RoleArn, role, RoleSessionName, DurationSeconds, identity.source_identity),
            "SubjectFromWebIdentityToken": identity.subject,
            "Audience": identity.audience,
            "Provider": identity.issuer,
        }

    def get_caller_identity(self) -> dict[str, Any]:
        self._check_caller("GetCallerIdentity")
        if self.caller is None:
            account = self.iam.account
            return {"Account": account, "UserId": account, "Arn": f"arn:aws:iam::{account}:root"}
        account = self.caller.role_arn.split(":")[4]
        user_id = f"{self.caller.role_id}:{self.caller.name}"
        return {"Account": account, "UserId": user_id, "Arn": self.caller.arn}

    def with_credentials(self, credentials: Mapping[str, str]) -> "StsModel":
        """Return a client of a session, as boto3 makes one of the credentials in an answer."""
        return replace(self, caller=self.sessions[credentials["AccessKeyId"]])

    def _check_caller(self, call: str) -> None:
        """Raise the error for a session that has ended."""
        if self.caller is None:
            return
        role = self.iam.roles.get(self.caller.role_arn)
        if role is None or role.role_id != self.caller.role_id:
            message = "The security token included in the request is invalid."
            raise refused("InvalidClientTokenId", message, 403, call)
        if self.now() >= self.caller.ends:
            message = "The security token included in the request is expired"
            raise refused("ExpiredToken", message, 403, call)

    def _role_of_caller(
        self, arn: str, session: str, source_identity: str | None, external_id: str, tagged: bool
    ) -> tuple[Role | None, str | None]:
        """Return the role if the caller may assume it like this, and its session's source identity."""
        if arn in self.roles:
            if self.roles[arn] not in (None, external_id):
                raise self._denied("sts:AssumeRole", arn)
            return None, source_identity
        before = self.caller.source_identity if self.caller else None
        if before and source_identity not in (None, before):
            raise self._denied("sts:SetSourceIdentity", arn)
        source_identity = source_identity or before
        role = self.iam.roles.get(arn)
        keys = {
            "sts:externalid": None if external_id == "none" else external_id,
            "sts:rolesessionname": session,
            "sts:sourceidentity": source_identity,
        }
        actions = {
            "sts:AssumeRole": True,
            "sts:SetSourceIdentity": source_identity is not None,
            "sts:TagSession": tagged,
        }
        for action in (action for action, needed in actions.items() if needed):
            if role is None or not allows(role.trust, action, keys, principals=self._names()):
                raise self._denied(action, arn)
            if self.caller and not self._may(self.caller, action, arn):
                raise self._denied(action, arn)
        return role, source_identity

    def _may(self, caller: Session, action: str, arn: str) -> bool:
        own = self.iam.roles[caller.role_arn].policies.values()
        statements = [one for policy in own for one in listed(policy["Statement"])]
        about = [one for one in statements if any(fnmatchcase(arn, each) for each in listed(one["Resource"]))]
        return allows({"Statement": about}, action, {})

    def _names(self) -> frozenset[str]:
        """What a trust policy may call the caller."""
        account = self.caller.role_arn.split(":")[4] if self.caller else self.iam.account
        own = {self.caller.role_arn, self.caller.role_id, self.caller.arn} if self.caller else set()
        return frozenset({"*", *(f"AWS:{name}" for name in {account, f"arn:aws:iam::{account}:root", *own})})

    def _denied(self, action: str, arn: str, why: str = "") -> ClientError:
        who = self.caller.arn if self.caller else "deployer"
        message = f"User: {who} is not authorized to perform: {action} on resource: {arn}{why}"
        return _refused("AccessDenied", message, 403)

    def _check_duration(self, role: Role | None, seconds: int, call: str) -> None:
        if role and seconds > role.longest:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise refused("ValidationError", message, call=call)
        if self.caller and seconds > CHAINED:
            limit = "1 hour session limit for roles assumed by role chaining"
            message = f"The requested DurationSeconds exceeds the {limit}"
            raise refused("ValidationError", message, call=call)

    def _session(
        self, arn: str, role: Role | None, name: str, seconds: int, source_identity: str | None
    ) -> dict[str, Any]:
        role_id = role.role_id if role else "AROA0000000000000000"
        key = f"ASIA{len(self.sessions) + 1:016}"
        session = Session(arn, role_id, name, self.now() + seconds, source_identity)
        self.sessions[key] = session
        return {
            "Credentials": {"AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token"},
            "AssumedRoleUser": {"Arn": session.arn, "AssumedRoleId": f"{role_id}:{name}"},
        }

    def _packed_percent(self, tags: list[dict[str, str]], policy: str | None) -> int:
        size = sum(len((tag["Key"] + tag["Value"]).encode()) for tag in tags)
        return 100 * (size + len(zlib.compress((policy or "").encode()))) // self.packed


def _trusts(role: Role, identity: WebIdentity, account: str, session: str) -> bool:
    provider = f"Federated:arn:aws:iam::{account}:oidc-provider/{identity.host}"
    needed = {
        "sts:AssumeRoleWithWebIdentity": True,
        "sts:SetSourceIdentity": identity.source_identity is not None,
        "sts:TagSession": bool(identity.tags),
    }
    keys = {
        **identity.keys,
        "sts:rolesessionname": session,
        "sts:sourceidentity": identity.source_identity,
    }
    names = frozenset({"*", provider})
    return all(
        allows(role.trust, action, keys, principals=names)
        for action, is_needed in needed.items()
        if is_needed
    )


def _session_of(role: str) -> str:
    """The ARN of a role's sessions: it has no path."""
    head, _, path = role.replace(":iam:", ":sts:").partition(":role/")
    return f"{head}:assumed-role/{path.rpartition('/')[2]}"


def _check(name: str, value: Any, is_valid: Callable[[Any], Any], call: str = "AssumeRole") -> None:
    if not is_valid(value):
        message = f"1 validation error detected: Value at '{name}' failed to satisfy constraint"
        raise refused("ValidationError", message, call=call)


def _is_tag(text: str, least: int, most: int) -> bool:
    """`[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*` of that length."""
    allowed = (c in "_.:/=+-@" or unicodedata.category(c)[0] in _TAG_CATEGORIES for c in text)
    return least <= len(text) <= most and all(allowed)
