"""The issuers' public keys: which are usable, how long they are cached, when they are refreshed.

PyJWT's PyJWKClient is not used: its cool-down is only armed by success, it serves nothing stale, and it reads
without limit. Rules and numbers: security.md#keys.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from sluicegate.http_client import FetchError
from sluicegate.oidc.discovery import fetch_key_set
from sluicegate.oidc.identity import Issuer
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import base64url, clean, without_mark

REFRESH_AHEAD = 5 * 60  # seconds since the fetch, as all of these
FRESH = 10 * 60
STALE = 60 * 60
COOL_DOWN = 30

_MAX_KEYS = 20
_MAX_DEPTH = 8
_BITS = range(2048, 4096 + 1)
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518, sections 6.3.2 and 6.4

_log = logging.getLogger(__name__)


class UnknownKey(Exception):
    """The issuer has no such key: the token is refused (401)."""


class KeysUnavailable(Exception):
    """The issuer's keys are unavailable: nothing can be verified. Retry (503) after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int = COOL_DOWN) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidKeySet(ValueError):
    """Not a JWK set with at least one usable key."""


class KeySource(Protocol):
    def key(self, issuer: Issuer, kid: str) -> RSAPublicKey:
        """Return the issuer's key of that id. Raises UnknownKey or KeysUnavailable."""


def parse_jwks(data: bytes) -> dict[str, RSAPublicKey]:
    """Return the usable keys of a JWK set (RFC 7517), by `kid`. Raises InvalidKeySet if there is none.

    An unusable key is skipped, and does not make the set invalid: issuers publish keys for others too.
    """
    try:
        document = loads(without_mark(data), max_depth=_MAX_DEPTH)
    except StrictJsonError as error:
        raise InvalidKeySet(str(error)) from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidKeySet("no list `keys`")
    if len(entries) > _MAX_KEYS:
        raise InvalidKeySet(f"more than {_MAX_KEYS} keys")
    by_id: dict[str, list[RSAPublicKey | None]] = {}
    for jwk in entries:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if isinstance(jwk, dict) and isinstance(kid, str) and kid:
            by_id.setdefault(kid, []).append(_usable(jwk))
    keys: dict[str, RSAPublicKey] = {}
    for kid, found in by_id.items():
        # One key twice is one. Of two different ones with one id, their order would decide which is used.
        if first := found[0]:
            if all(key == first for key in found):
                keys[kid] = first
            else:
                _log.warning("two different keys have the id %s: neither is used", clean(kid, 64))
    if not keys:
        raise InvalidKeySet("no usable key")
    return keys


def _usable(jwk: Mapping[str, JsonValue]) -> RSAPublicKey | None:
    operations = jwk.get("key_ops", ["verify"])
    if (
        jwk.get("kty") != "RSA"
        or jwk.get("use", "sig") != "sig"
        or jwk.get("alg", "RS256") != "RS256"
        or not (isinstance(operations, list) and "verify" in operations)
        or not _PRIVATE.isdisjoint(jwk)  # anybody can use a published private key
    ):
        return None
    try:
        modulus, exponent = (int.from_bytes(base64url(str(jwk.get(name))), "big") for name in ("n", "e"))
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None
    return key if key.key_size in _BITS else None


@dataclass(frozen=True)
class _KeySet:
    keys: Mapping[str, RSAPublicKey]
    fetched_at: float  # wall clock, when the fetch began


class Keyring:
    """The keys of every issuer, cached for the life of a process. Safe for threads.

    `fetch` takes an issuer's URL, answers with a JWK set and raises FetchError; `clock` is the wall clock in
    epoch seconds: a Lambda sandbox is frozen between requests, and a monotonic clock may stand still with it.
    """

    def __init__(
        self, *, fetch: Callable[[str], bytes] = fetch_key_set, clock: Callable[[], float] = time.time
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetching = threading.Lock()  # held during a fetch: one in flight per process
        self._sets: dict[str, _KeySet] = {}
        self._attempted_at: dict[str, float] = {}
        self._files: dict[bytes, Mapping[str, RSAPublicKey]] = {}

    def key(self, issuer: Issuer, kid: str) -> RSAPublicKey:
        """Return the issuer's key of that id. Raises UnknownKey or KeysUnavailable.

        It takes as long as a fetch (or two, while another issuer's is in progress), but only if no fresh key
        is cached, or for the one request that starts the refresh ahead.
        """
        if issuer.jwks is not None:
            return self._from_file(issuer.jwks, kid)
        url = issuer.url
        held = self._sets.get(url)
        if held is None or kid not in held.keys or not self._within(FRESH, held.fetched_at):
            self._refresh(url, wait=True)
        elif not self._within(REFRESH_AHEAD, held.fetched_at):
            self._refresh(url, wait=False)

        held = self._sets.get(url)
        if held is None or not self._within(STALE, held.fetched_at):
            raise self._unavailable(url, "no keys of this issuer could be fetched")
        if kid in held.keys:
            return held.keys[kid]
        if held.fetched_at != self._attempted_at[url]:
            # The last fetch failed, so the key may exist: GitLab signs with a new one at once.
            raise self._unavailable(url, "this issuer's keys could not be fetched again")
        others = "1 other" if len(held.keys) == 1 else f"{len(held.keys)} others"
        raise UnknownKey(
            f"the issuer has no such key: it publishes {others}. Is it another GitLab's token?"
            " GitLab signs with a new key at once, and a cache before it may serve the old ones for 24 hours"
        )

    def _refresh(self, url: str, *, wait: bool) -> None:
        """Replace the issuer's set by a good new one, unless a fetch was begun within the cool-down.

        A request that waited for another request's fetch is within its cool-down, and so uses its result.
        """
        if not self._fetching.acquire(blocking=wait):
            return
        try:
            if url in self._attempted_at and self._within(COOL_DOWN, self._attempted_at[url]):
                return
            now = self._attempted_at[url] = (
                self._clock()
            )  # before the fetch: failing may not cost less than success
            self._sets[url] = _KeySet(parse_jwks(self._fetch(url)), now)
        except (FetchError, InvalidKeySet) as error:
            _log.warning("keys of %s not fetched: %s", url, error)
        finally:
            self._fetching.release()

    def _from_file(self, jwks: bytes, kid: str) -> RSAPublicKey:
        if jwks not in self._files:
            try:
                self._files[jwks] = parse_jwks(jwks)
            except InvalidKeySet as error:
                raise KeysUnavailable(f"the issuer's key set: {error}") from None
        keys = self._files[jwks]
        if kid not in keys:
            raise UnknownKey(
                "the issuer's key set has no such key: fetch that file again where GitLab's keys have changed"
            )
        return keys[kid]

    def _within(self, seconds: float, moment: float) -> bool:
        # abs: a clock that was set back must not keep a set, or a cool-down, alive for longer.
        return abs(self._clock() - moment) < seconds

    def _unavailable(self, url: str, message: str) -> KeysUnavailable:
        left = COOL_DOWN - abs(self._clock() - self._attempted_at[url])
        return KeysUnavailable(message, retry_after=max(1, round(left)))
