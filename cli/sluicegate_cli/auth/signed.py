"""Sign requests with AWS credentials: Signature Version 4, service `execute-api`. Imports botocore."""

from collections.abc import Mapping
from typing import Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sluicegate_cli.auth.authorization import ID_TOKEN_HEADER, Sign
from sluicegate_cli.auth.credentials import CredentialSource

_SERVICE: Final = "execute-api"
# What a proxy may change on the way, such as Accept-Encoding, is not signed.
_SIGNED: Final = frozenset({"content-type"})


class SignedRequests:
    """Signs with what `source` gives, for one region. `id_token`: also send it, for `iam+token`."""

    def __init__(self, source: CredentialSource, region: str, id_token: str = "") -> None:
        self.source = source
        self.region = region
        self._id_token = id_token

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("iam",)

    @property
    def needs_key(self) -> bool:
        return True

    @property
    def expires_at(self) -> float | None:
        """Return when the credentials expire, in epoch seconds; None if it is unknown. Raises ApiError."""
        return self.source.current(0).expires_at

    def signer(self, *, lasting: float) -> Sign:
        """Return what signs the attempts of one request, all with the same credentials.

        The API tells a repetition from another request by the access key too, so a renewal in between would
        make two of one.
        """
        held = self.source.current(lasting)
        credentials = Credentials(held.access_key, held.secret_key, held.session_token)

        def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
            named = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
            if self._id_token:
                named[ID_TOKEN_HEADER] = self._id_token
            request = AWSRequest(method, url, headers=named, data=body)
            SigV4Auth(credentials, _SERVICE, self.region).add_auth(request)
            return {name: str(value) for name, value in request.headers.items()}

        return sign

    def renew(self) -> bool:
        return self.source.renew()
