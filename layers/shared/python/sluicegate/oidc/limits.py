"""The numbers of security.md#id-tokens: for the API, and for `sluicegate doctor`, which must judge alike.

A module of its own, as importing `token` would import PyJWT.
"""

from typing import Final

MAX_BYTES: Final = 8192
"""Of a token."""

MAX_DEPTH: Final = 8
"""Of the JSON in a token's header and payload."""

MAX_LIFETIME: Final = 31 * 86_400
"""Seconds from `iat` to `exp`. GitLab's longest job timeout is a month."""

LEEWAY: Final = 30
"""Seconds that GitLab's clock and ours may differ by."""
