"""Names in a target that are derived, so that the deployer and the target's template agree on them."""

import hashlib
import re
from typing import Final

_ALARMS: Final = "-alarms"
_MAX_NAME: Final = 64


def bucket_name(account: str, region: str, role: str) -> str:
    """Return the name of a target's bucket: `sluicegate-222222222222-eu-central-1-48df97c8`.

    Lambda takes code only from a bucket of its own region. The role's name tells the targets of several
    stacks apart, in one account and region; it may have a path. At most 48 characters, of the 63 that S3
    takes, and of all names only what S3 takes: a region has 15 characters at most.
    """
    return f"sluicegate-{account}-{region}-{hashlib.sha256(role.encode()).hexdigest()[:8]}"


def alarms_role_name(role: str) -> str:
    """Return the name of the role that sends a target's alarms to the stack: `ROLE-alarms`.

    The stack's bus lets in this role of the target's account. It has at most 64 characters, as IAM takes: a
    digest takes the place of a longer name's end.
    """
    if len(role) > _MAX_NAME - len(_ALARMS):
        role = f"{role[:48]}-{hashlib.sha256(role.encode()).hexdigest()[:8]}"
    return role + _ALARMS


def alarms_rule_name(role: str) -> str:
    """Return the name of the rule that uses that role; EventBridge takes fewer characters (PutRule)."""
    return re.sub(r"[^.\w-]", "-", alarms_role_name(role), flags=re.ASCII)
