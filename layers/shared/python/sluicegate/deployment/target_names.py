"""Names in a target that are derived, so that the deployer and the target's template agree on them."""

import hashlib


def bucket_name(account: str, region: str, role: str) -> str:
    """Return the name of a target's bucket: `sluicegate-222222222222-eu-central-1-48df97c8`.

    Lambda takes code only from a bucket of its own region. The role's name tells the targets of several
    stacks apart, in one account and region; it may have a path. At most 48 characters, of the 63 that S3
    takes, and of all names only what S3 takes: a region has 15 characters at most.
    """
    return f"sluicegate-{account}-{region}-{hashlib.sha256(role.encode()).hexdigest()[:8]}"
