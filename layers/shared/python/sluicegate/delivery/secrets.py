"""Read secrets that are sent along, and keep them for a while."""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code, is_retryable
from sluicegate.delivery.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_SECONDS: Final = 300
"""How long a secret is used before it is read again."""

DENIED_SECONDS: Final = 60
"""How long a secret that IAM denies is asked for again: a change of permissions takes seconds to spread."""

TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1024}")
"""A token: the text alone, of printable ASCII characters."""


class CachedSecrets:
    """Texts of secrets in Secrets Manager, by the secret's name. `form` is what a text must match."""

    def __init__(
        self,
        client: "SecretsManagerClient",
        clock: Callable[[], float] = time.time,
        form: re.Pattern[str] = TOKEN,
    ) -> None:
        self._client = client
        self._form = form
        self._clock = clock
        self._cached: dict[str, tuple[str, float]] = {}
        self._denied_since: dict[str, float] = {}

    def text(self, secret: str, *, other_than: str | None = None) -> str:
        """Return the text; read it again if the cached one is old, or is `other_than`, which was refused.

        Raises PermanentError if there is no usable text, TransientError if AWS is temporarily unavailable.
        """
        cached = self._cached.get(secret)
        if cached and cached[0] != other_than and abs(self._clock() - cached[1]) < CACHE_SECONDS:
            return cached[0]
        try:
            text = self._client.get_secret_value(SecretId=secret).get("SecretString", "")
        except (ClientError, BotoCoreError) as error:
            if is_retryable(error) or self._may_spread(secret, error):
                raise TransientError(f"secret: {error_code(error)}") from None
            raise PermanentError("secret", f"{secret}: {error_code(error)}") from None
        found = str(text).strip()
        if not self._form.fullmatch(found):
            raise PermanentError("secret", f"{secret} does not hold what it should")
        self._cached[secret] = found, self._clock()
        self._denied_since.pop(secret, None)
        return found

    def _may_spread(self, secret: str, error: Exception) -> bool:
        """Return whether the secret has been denied for less than DENIED_SECONDS."""
        if classify(error) is not ErrorKind.DENIED:
            return False
        return self._clock() - self._denied_since.setdefault(secret, self._clock()) < DENIED_SECONDS
