"""STS as AWS answers it, as far as a target's role goes, with the methods of boto3's clients.

Sources: AWS STS API reference (AssumeRole, Tag), IAM user guide ("IAM and STS quotas", "Rules for tagging",
"Changes that I make are not always immediately visible"), all read on 26 November 2026. Recorded answers:
localstack/localstack, `tests/aws/services/sts/test_sts.snapshot.json`, of 10 April and 21 July 2025. The size
of packed tags: aws-actions/configure-aws-credentials#1898, of 21 July 2026.
"""

import json
import re
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from support.refusals import refused

PACKED: Final = 4_096
"""Bytes for tags and session policy, since 15 September 2026."""

PACKED_BEFORE: Final = 455
"""The same before, and in China still: nine tags `T1` to `T9` of 250 characters took 498 percent of it."""

_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_POLICY: Final = re.compile("[\t\n\r\x20-\xff]{1,2048}")
_TAG_CATEGORIES: Final = ("L", "Z", "N")


_refused = partial(refused, call="AssumeRole")


@dataclass
class StsModel:
    """Knows roles by their ARN. All calls within `spreads` seconds of the first one are denied.

    A role with an external id admits nobody without it. A role in `forbidden` is denied by a policy of the
    caller's organisation.
    """

    clock: Callable[[], float] = lambda: 0.0
    spreads: float = 0.0
    packed: int = PACKED
    roles: dict[str, str | None] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    granted: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    first_call: float | None = None

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
        denied = f"User: deployer is not authorized to perform: sts:AssumeRole on resource: {RoleArn}"
        if RoleArn in self.forbidden:
            # "with an explicit deny in a service control policy" (IAM user guide, "Troubleshoot access
            # denied error messages", read on 26 November 2026).
            message = f"{denied} with an explicit deny in a service control policy"
            raise _refused("AccessDenied", message, 403)
        if RoleArn not in self.roles or not is_known or self.roles[RoleArn] not in (None, ExternalId):
            raise _refused("AccessDenied", denied, 403)
        percent = self._packed_percent(tags, Policy)
        if percent > 100:
            what = "Packed size of session tags consumes" if tags else "Packed policy consumes"
            raise _refused("PackedPolicyTooLarge", f"{what} {percent}% of allotted space.")
        self.granted.append({"Tags": tags, "Policy": Policy, "SourceIdentity": SourceIdentity})
        key = f"ASIA{len(self.granted):016}"
        return {
            "Credentials": {"AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token"},
            "AssumedRoleUser": {
                "Arn": f"{_session_of(RoleArn)}/{RoleSessionName}",
                "AssumedRoleId": f"AROA0000000000000000:{RoleSessionName}",
            },
            "PackedPolicySize": percent,
        }

    def _packed_percent(self, tags: list[dict[str, str]], policy: str | None) -> int:
        size = sum(len((tag["Key"] + tag["Value"]).encode()) for tag in tags)
        return 100 * (size + len(zlib.compress((policy or "").encode()))) // self.packed


def _session_of(role: str) -> str:
    return role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")


def _check(name: str, value: Any, is_valid: Callable[[Any], Any]) -> None:
    if not is_valid(value):
        message = f"1 validation error detected: Value at '{name}' failed to satisfy constraint"
        raise _refused("ValidationError", message)


def _is_tag(text: str, least: int, most: int) -> bool:
    """`[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*` of that length."""
    allowed = (c in "_.:/=+-@" or unicodedata.category(c)[0] in _TAG_CATEGORIES for c in text)
    return least <= len(text) <= most and all(allowed)
