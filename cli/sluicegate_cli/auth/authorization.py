"""How a request proves who sends it: with the job's ID token, or with a signature by AWS credentials.

Nothing here imports boto3: only `--auth iam` and `iam+token` load it, and then only once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

Sign = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]
"""Return the headers that authorize one request: from its method, URL, headers and body."""

ID_TOKEN_HEADER: Final = "Sluicegate-Id-Token"  # noqa: S105 (a name)


class Authorization(Protocol):
    """The caller's proof of identity. `prefix` is the part of the path that all its calls begin with."""

    @property
    def prefix(self) -> tuple[str, ...]: ...

    @property
    def needs_key(self) -> bool:
        """Whether a request for a deployment or a hold must have an idempotency key."""

    def signer(self, *, lasting: float) -> Sign:
        """Return what authorizes the attempts of one request, for so many seconds. Raises ApiError."""

    def renew(self) -> bool:
        """Return whether there are other credentials now than those that have expired. Raises ApiError."""


@dataclass(frozen=True)
class BearerToken:
    """A job's ID token as a bearer. An empty token is not sent."""

    token: str = field(repr=False)
    prefix: tuple[str, ...] = ()
    needs_key: bool = False
    """True for a person's session: the same request twice in a day may be meant twice."""

    def signer(self, *, lasting: float) -> Sign:  # noqa: ARG002 (a token cannot be renewed)
        return lambda *_: {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def renew(self) -> bool:
        return False
