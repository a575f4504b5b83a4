"""The region of an API's address, which a signature names."""

import re
from typing import Final
from urllib.parse import urlsplit

import click

from sluicegate.text import clean

# API-ID.execute-api.REGION.amazonaws.com, of China .com.cn, dual-stack .api.aws; from a VPC
# API-ID-VPCE-ID.execute-api.REGION or VPCE-ID.execute-api.REGION.vpce. Source: API Gateway developer guide,
# "Invoke a private API" and "IP address types for REST APIs", read on 26 November 2026.
_EXECUTE_API: Final = re.compile(
    r"[a-z0-9-]+(?:\.execute-api\.(?P<region>[a-z]{2}[a-z0-9-]*-[0-9]+)"
    r"(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn))"
)
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")


def region_of_url(url: str) -> str | None:
    """Return the region that is part of API Gateway's own host names; None for any other host."""
    found = _EXECUTE_API.fullmatch((urlsplit(url).hostname or "").lower())
    return found["region"] if found else None


def signing_region(url: str, given: str | None, configured: str | None) -> str:
    """Return the region to sign for: the URL's, else `given`, else that of the environment or profile.

    Raises UsageError without any, and for a `given` one that cannot be right.
    """
    own = region_of_url(url)
    if given and not _REGION.fullmatch(given):
        raise click.BadParameter(f"{clean(given, 64)!r} does not look like a region", param_hint="--region")
    if own and given and given != own:
        raise click.BadParameter(f"the API is in {own}, as its address says", param_hint="--region")
    region = own or given or configured
    if not region:
        raise click.UsageError(
            "the API's region is not part of this address, and a signature names it: add --region, or set"
            " AWS_REGION"
        )
    return region
