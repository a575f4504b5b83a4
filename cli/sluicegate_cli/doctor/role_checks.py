"""`doctor --role` and `--role-policy`: check a role that jobs assume, in AWS or from a file. Read-only."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import click

from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Issuer
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck, NoAccess, looked
from sluicegate_cli.doctor.call_policy import CALLS, of_permissions
from sluicegate_cli.doctor.findings import AUDIENCE, ROTATION, CheckVerdict, Finding, format_age
from sluicegate_cli.doctor.trust_policy import SUBJECT, Provider, listed, of_trust
from sluicegate_gatefile.files import UnusableFile, read_file

ROLE_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/(?P<path>(?:[^/]+/)*)(?P<name>[^/]+)"
)
UNIQUE_ID: Final = "a rule names the role by its unique id"
PEOPLE: Final = "roles of Identity Center are what they were"

_HOUR: Final = 3_600
_MAX_FILE: Final = 200_000  # bytes of a policy
_RESERVED: Final = "/aws-reserved/sso.amazonaws.com/"


def examine_role(aws: AwsCalls, arn: str, gate: Gate | None) -> list[Finding]:
    """Check one role: who may assume it, for how long, and what it may call."""
    found: list[Finding] = []
    try:
        for finding in _of_role(aws, arn, gate):
            found.append(finding)
    except CouldNotCheck as error:
        verdict = CheckVerdict.WRONG if isinstance(error, NoAccess) else CheckVerdict.UNKNOWN
        found.append(Finding(SUBJECT, verdict, error.seen, error.change))
    return found


def _of_role(aws: AwsCalls, arn: str, gate: Gate | None) -> Iterator[Finding]:
    issuers: Sequence[Issuer] = tuple(gate.issuers.values()) if gate else ()
    parts = ROLE_ARN.fullmatch(arn)
    assert parts is not None  # noqa: S101 (the option's type checks it)
    answer = aws.find("iam", "GetRole", RoleName=parts["name"])
    if answer is None or answer["Role"].get("Arn") != arn:
        change = "Correct the ARN, or use credentials of the role's account (AWS_PROFILE)."
        yield Finding(SUBJECT, CheckVerdict.WRONG, f"there is no role {arn} in this account", change)
        return
    role = answer["Role"]
    yield of_id(str(role["RoleId"]), parts["account"], parts["name"], gate)
    document = _document(role["AssumeRolePolicyDocument"])
    providers: dict[str, Provider] = {}
    for host_arn in _providers(document):
        yield from looked(AUDIENCE, lambda host_arn=host_arn: _read_provider(aws, host_arn, providers))  # type: ignore[misc]
    yield from of_trust(document, issuers, providers)
    yield of_session(int(role.get("MaxSessionDuration", _HOUR)))
    yield from looked(CALLS, lambda: of_permissions(permissions(aws, parts["name"])))


def _read_provider(aws: AwsCalls, arn: str, into: dict[str, Provider]) -> Iterator[Finding]:
    host = arn.partition(":oidc-provider/")[2]
    answer = aws.find("iam", "GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    if answer is None:
        change = "Make it: cloudformation/caller-role.yaml with CreateProvider=true."
        yield Finding(AUDIENCE, CheckVerdict.WRONG, f"IAM has no OIDC provider {host}", change)
        return
    into[host] = Provider(str(answer.get("Url", host)), tuple(answer.get("ClientIDList") or ()))


def of_id(role_id: str, account: str, name: str, gate: Gate | None) -> Finding:
    """Compare the role's unique id with those that rules of its account name: a new role has a new id."""
    if gate is None:
        seen = f"the id of {name} is {role_id}; there is no gate file to compare it with"
        return Finding(UNIQUE_ID, CheckVerdict.UNKNOWN, seen, "Run it where the gate file is, or add --gate.")
    # Each rule for AWS credentials pins both, or the gate file is refused.
    of_account = [rule for rule in gate.rules if account in rule.pinned("account")]
    named = {found: rule.name for rule in of_account for found in rule.pinned("principal_id")}
    if role_id in named:
        seen = f"{name} has the id {role_id}, which rule {named[role_id]!r} names"
        return Finding(UNIQUE_ID, CheckVerdict.OK, seen, compared=True)
    others = ", ".join(f"{found} ({rule})" for found, rule in sorted(named.items())[:5])
    seen = f"no rule names the id of {name}, {role_id}; rules of its account name {others or 'none'}"
    change = (
        f"Put `principal_id: {role_id}` into the rule that is meant. A role that was made again has a new id."
    )
    return Finding(
        UNIQUE_ID, CheckVerdict.WRONG if others else CheckVerdict.WARNING, seen, change, compared=True
    )


def of_session(seconds: int) -> Finding:
    """Check how long a session of the role can last."""
    if seconds > _HOUR:
        seen = f"sessions of the role may last {format_age(seconds)}"
        change = "Set the maximum session duration to 1 hour: jobs ask for 15 minutes."
        return Finding(ROTATION, CheckVerdict.WARNING, seen, change)
    seen = f"sessions last {format_age(seconds)} at most, and AWS fetches GitLab's keys itself"
    return Finding(ROTATION, CheckVerdict.OK, seen)


def permissions(aws: AwsCalls, name: str) -> list[Mapping[str, Any]]:
    """Return the documents of a role's policies, inline and attached. Raises CouldNotCheck and NoAccess."""
    documents = [
        _document(aws.call("iam", "GetRolePolicy", RoleName=name, PolicyName=one)["PolicyDocument"])
        for one in aws.pages("iam", "ListRolePolicies", "PolicyNames", RoleName=name)
    ]
    for attached in aws.pages("iam", "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
        arn = attached["PolicyArn"]
        version = aws.call("iam", "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
        answer = aws.call("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)
        documents.append(_document(answer["PolicyVersion"]["Document"]))
    return documents


def examine_file(path: Path, gate: Gate | None) -> list[Finding]:
    """Check policies in a file: a trust policy, permissions, or the output of `aws iam get-role`."""
    try:
        found = json.loads(read_file(path, _MAX_FILE))
    except UnusableFile as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--role-policy") from None
    except (ValueError, RecursionError):
        raise click.BadParameter(f"{path} is not JSON", param_hint="--role-policy") from None
    issuers = tuple(gate.issuers.values()) if gate else ()
    role = found.get("Role") if isinstance(found, dict) else None
    if isinstance(role, dict):
        document = _document(role.get("AssumeRolePolicyDocument"))
        length = role.get("MaxSessionDuration", _HOUR)
        sessions = [of_session(length)] if isinstance(length, int) else []
        return [*of_trust(document, issuers), *sessions]
    document = _document(found)
    if not document.get("Statement"):
        message = f"{path} is no policy: it has no Statement, and no Role"
        raise click.BadParameter(message, param_hint="--role-policy")
    statements = [one for one in listed(document["Statement"]) if isinstance(one, Mapping)]
    if any("Principal" in one or "NotPrincipal" in one for one in statements):
        return list(of_trust(document, issuers))
    return list(of_permissions([document]))


def people(aws: AwsCalls, gate: Gate) -> Iterator[Finding]:
    """Check the gate file's `sso` against IAM: by unique id, and by the path that nobody else can use."""
    listed_roles = gate.principals.sso
    if not listed_roles:
        return
    account = str(aws.call("sts", "GetCallerIdentity")["Account"])
    here = [one for one in sorted(listed_roles, key=lambda one: one.principal_id) if one.account == account]
    elsewhere = len(listed_roles) - len(here)
    if elsewhere:
        seen = f"{elsewhere} are of other accounts"
        yield Finding(
            PEOPLE, CheckVerdict.UNKNOWN, seen, "Run it with credentials of those accounts as well."
        )
    if not here:
        return
    roles = {role["RoleId"]: role for role in aws.pages("iam", "ListRoles", "Roles")}
    reserved = {found: role for found, role in roles.items() if str(role["Path"]).startswith(_RESERVED)}
    for one in here:
        role = roles.get(one.principal_id)
        if role is None:
            present = ", ".join(
                f"{role['RoleName']} = {found}" for found, role in sorted(reserved.items())[:5]
            )
            seen = (
                f"no role has the id {one.principal_id} any more. A permission set whose assignments were all"
                " removed gets a new role of the same name, with a new id"
            )
            change = (
                f"Name the new id under `sso` and in its rules, if it is meant: {present or 'there is none'}."
            )
            yield Finding(PEOPLE, CheckVerdict.WRONG, seen, change)
        elif one.principal_id not in reserved:
            seen = (
                f"{role['Arn']} is no role of Identity Center, whatever its name: its path is {role['Path']}"
            )
            change = "Remove it from `sso`: a person who may assume it can call the session anything."
            yield Finding(PEOPLE, CheckVerdict.WRONG, seen, change)
        else:
            yield Finding(PEOPLE, CheckVerdict.OK, f"{role['RoleName']} has the id {one.principal_id}")


def _providers(document: Mapping[str, Any]) -> list[str]:
    found = set()
    for statement in listed(document.get("Statement")):
        principal = statement.get("Principal") if isinstance(statement, Mapping) else None
        if isinstance(principal, Mapping):
            found |= {str(one) for one in listed(principal.get("Federated")) if ":oidc-provider/" in str(one)}
    return sorted(found)


def _document(value: Any) -> Mapping[str, Any]:
    """Return a policy: boto3 gives a mapping, the command line of AWS too, the API a percent-encoded text."""
    if isinstance(value, str):
        try:
            value = json.loads(unquote(value))
        except (ValueError, RecursionError):
            value = {}
    return value if isinstance(value, Mapping) else {}
