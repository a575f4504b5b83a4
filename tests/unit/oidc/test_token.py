"""ID tokens: security.md#id-tokens, sentence by sentence."""

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.oidc import claims as gitlab
from sluicegate.oidc.identity import Identity, Issuer
from sluicegate.oidc.jwks import Keyring, KeysUnavailable, UnknownKey
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.oidc.token import rule_claims, verify
from sluicegate.text import clean
from support.signing import AUDIENCE, CLAIMS, ISSUER, NOW, b64, jwk, jwks, key, signed, token

CORP = Issuer(name="corp", url=ISSUER, audience=AUDIENCE, max_age=3600, jwks=jwks(jwk("k1"), jwk("k2")))
KEYS = Keyring()
DAY = 86_400


def accept(*authorization: str, issuer: Issuer = CORP, now: float = NOW) -> Identity:
    return verify(authorization, issuers={issuer.url: issuer}, keys=KEYS, now=now)


def refusal(*authorization: str, issuer: Issuer = CORP, now: float = NOW) -> str:
    """The check that refuses it."""
    with pytest.raises(InvalidToken) as refused:
        accept(*authorization, issuer=issuer, now=now)
    assert refused.value.detail == clean(refused.value.detail)
    assert len(str(refused.value)) < 400
    return refused.value.check


def claim(name: str, value: object) -> str:
    return f"Bearer {token({name: value})}"


def test_a_token_becomes_an_identity() -> None:
    identity = accept(f"Bearer {token()}")
    assert identity == Identity(
        via="id_token",
        issuer=ISSUER,
        claims={
            **{name: value for name, value in CLAIMS.items() if name not in gitlab.NEVER_USABLE},
            "runner_id": "1",
            "groups_direct": ("acme", "acme/platform"),
        },
        jti="235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        issued_at=NOW - 60,
        expires_at=NOW + 3540,
    )
    assert identity.project == (ISSUER, "4213")


# The header and the form


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        ["Bearer {}", "Bearer {}"],
        ["Bearer {}", ""],
        ["Basic {}"],
        ["{}"],
        [""],
        ["Bearer\t{}"],
        [" Bearer {}"],
        ["Bearers {}"],
    ],
)
def test_there_is_exactly_one_bearer_header(authorization: Sequence[str]) -> None:
    # Two are two even where both have the same token.
    assert refusal(*(value.format(token()) for value in authorization)) == "authorization"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_accepted_in_any_case(scheme: str) -> None:
    assert accept(f"{scheme} {token()}").jti


@pytest.mark.parametrize(
    "form",
    [
        "{0} ",
        " {0}",
        "{0}\n",
        "{0}, Bearer {0}",
        "{0}.",
        ".{0}",
        "{0}=",
        "{0}é",
        "\u00a0{0}",
        "",
        "a.b",
        "a.b.c.d",
    ],
)
def test_a_token_is_three_parts_and_nothing_around_them(form: str) -> None:
    assert refusal("Bearer " + form.format(token())) == "token"


def test_a_token_has_at_most_8192_bytes() -> None:
    fits = (8192 - len(token({"x": ""}))) * 3 // 4
    while len(token({"x": "y" * (fits + 1)})) <= 8192:
        fits += 1
    assert len(token({"x": "y" * fits})) in (8191, 8192)
    assert accept(claim("x", "y" * fits)).jti
    assert refusal(claim("x", "y" * (fits + 1))) == "token"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_each_part_has_one_spelling(part: int) -> None:
    # A token that differs in bytes but not in meaning would be "another" token to a comparison of tokens.
    parts = token({"x": "pad"}).split(".")
    for padding in range(3):  # one of these lengths leaves unused bits in this part's last character
        parts = token({"x": "y" * padding}, x="y" * padding).split(".")
        if len(parts[part]) % 4:
            break
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = parts[part]
    padded = text + "=" * (-len(text) % 4)
    other_bits = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    for spelling in (padded, other_bits, text[:4] + "\n" + text[4:], text[:4] + "!" + text[4:]):
        assert refusal("Bearer " + ".".join([*parts[:part], spelling, *parts[part + 1 :]])) == "token", (
            spelling
        )


@pytest.mark.parametrize("part", ["header", "payload"])
@pytest.mark.parametrize(
    "odd",
    [
        b"\xef\xbb\xbf%s",
        b'{"x": "\xff", %s',
        b'{"x": {"y": 1, "y": 1}, %s',
        b'{"x": [{"y": [{"y": 1, "y": 1}]}], %s',
        b'{"x": NaN, %s',
        b'{"x": -Infinity, %s',
        b'{"x": 1e999, %s',
        b'{"x": [[[[[[[[]]]]]]]], %s',
        b'{"x": "\\ud800", %s',
        b'{"x": "\\n", %s',
        b'{"\\u0000": 1, %s',
        b'[{"x": 1, %s]',
        b'{"x": 1, %s}',
        b'"x"',
        b"null",
        b"",
    ],
)
def test_header_and_payload_are_strict_json_objects(part: str, odd: bytes) -> None:
    whole = {
        "header": json.dumps({"alg": "RS256", "kid": "k1"}).encode(),
        "payload": json.dumps(CLAIMS).encode(),
    }
    assert accept("Bearer " + signed(whole["header"], whole["payload"])).jti
    rest = whole[part] if odd.startswith(b"\xef") else whole[part][1:]
    whole[part] = odd.replace(b"%s", rest)
    assert refusal("Bearer " + signed(whole["header"], whole["payload"])) == part


@pytest.mark.parametrize("part", ["header", "payload"])
def test_a_name_that_is_there_twice_cannot_be_one_thing_to_us_and_another_to_pyjwt(part: str) -> None:
    whole = {"header": b'{"alg": "RS256", "kid": "k1"}', "payload": json.dumps(CLAIMS).encode()}
    second = {"header": b'"kid": "k1"', "payload": b'"project_id": "1"'}[part]
    whole[part] = whole[part][:-1] + b", " + second + b"}"
    assert refusal("Bearer " + signed(whole["header"], whole["payload"])) == part


def test_eight_levels_are_not_too_deep() -> None:
    assert accept(claim("x", [[[[[[[]]]]]]])).jti


# The header's parameters


@pytest.mark.parametrize(
    "alg", ["none", "None", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256", "", None, 1, ["RS256"]]
)
def test_alg_is_rs256(alg: object) -> None:
    assert refusal("Bearer " + token(alg=alg)) == "alg"


def test_the_public_key_is_no_hmac_secret() -> None:
    pem = key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, payload = b'{"alg": "HS256", "kid": "k1"}', json.dumps(CLAIMS).encode()
    message = f"{b64(header)}.{b64(payload)}"
    signature = b64(hmac.digest(pem, message.encode(), "sha256"))
    assert refusal(f"Bearer {message}.{signature}") == "alg"


@pytest.mark.parametrize("kid", ["", "k" * 129, "k\u200b1", "k\u20281", None, 1, ["k1"], True])
def test_kid_is_1_to_128_printable_characters(kid: object) -> None:
    assert refusal("Bearer " + token(kid=kid)) == "kid"


@pytest.mark.parametrize("kid", ["k" * 129, "k\u200b1", "k\u20281", "\u00a0"])
def test_a_kid_that_is_not_readable_is_refused_even_where_the_issuer_has_it(kid: str) -> None:
    assert refusal("Bearer " + token(kid=kid), issuer=replace(CORP, jwks=jwks(jwk("k1", kid=kid)))) == "kid"


@pytest.mark.parametrize("kid", ["k", "k" * 128, "größe 1"])
def test_a_kid_that_we_can_read_is_looked_up(kid: str) -> None:
    issuer = replace(CORP, jwks=jwks(jwk("k1", kid=kid)))
    assert accept("Bearer " + token(kid=kid), issuer=issuer).jti


def test_the_kid_says_which_key_verifies() -> None:
    assert refusal("Bearer " + token(kid="k2")) == "signature"
    assert refusal("Bearer " + token(kid="k3")) == "kid"


@pytest.mark.parametrize("typ", ["jwt", "at+jwt", "JWS", "", 1, ["JWT"]])
def test_typ_is_jwt(typ: object) -> None:
    assert refusal("Bearer " + token(typ=typ)) == "typ"


def test_typ_null_is_not_absent() -> None:
    header = b'{"alg": "RS256", "kid": "k1", "typ": null}'
    assert refusal("Bearer " + signed(header, json.dumps(CLAIMS).encode())) == "typ"


def test_typ_may_be_absent() -> None:
    assert accept("Bearer " + token(typ=None)).jti


@pytest.mark.parametrize("parameter", ["crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c"])
@pytest.mark.parametrize("value", ["null", "true", '["b64"]', '"JWT"', "{}"])
def test_a_parameter_that_changes_the_reading_or_names_a_key_refuses_the_token(
    parameter: str, value: str
) -> None:
    header = f'{{"alg": "RS256", "kid": "k1", "{parameter}": {value}}}'.encode()
    assert refusal("Bearer " + signed(header, json.dumps(CLAIMS).encode())) == parameter


def test_other_parameters_do_not_matter() -> None:
    assert accept("Bearer " + token(x5t="abc", more={"a": 1})).jti


# Issuer and audience


@pytest.mark.parametrize(
    "iss",
    [
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER + ":443",
        ISSUER[:-1],
        "http" + ISSUER[5:],
        "",
        None,
        1,
        [ISSUER],
        {"a": 1},
    ],
)
def test_iss_is_an_issuers_url_byte_for_byte(iss: object) -> None:
    assert refusal(claim("iss", iss)) == "iss"


def test_an_issuer_is_found_under_its_own_url_only() -> None:
    with pytest.raises(InvalidToken) as refused:
        verify(["Bearer " + token()], issuers={ISSUER: replace(CORP, url=ISSUER + "/a")}, keys=KEYS, now=NOW)
    assert refused.value.check == "iss"


def test_one_issuers_key_does_not_sign_for_another() -> None:
    other = replace(
        CORP, name="other", url="https://gitlab.example.org", jwks=jwks(jwk("k1", n=jwk("k2")["n"]))
    )
    issuers = {each.url: each for each in (CORP, other)}
    with pytest.raises(InvalidToken) as refused:
        verify([claim("iss", other.url)], issuers=issuers, keys=KEYS, now=NOW)
    assert refused.value.check == "signature"


@pytest.mark.parametrize(
    "aud",
    [
        AUDIENCE + "/",
        AUDIENCE.upper(),
        [AUDIENCE],
        [AUDIENCE, "https://other.example.com"],
        [],
        "",
        None,
        1,
        {AUDIENCE: 1},
    ],
)
def test_aud_is_this_issuers_audience_and_no_list(aud: object) -> None:
    assert refusal(claim("aud", aud)) == "aud"


# Times


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "odd", [None, str(NOW), float(NOW), NOW * 1000, True, [NOW], {}, 0, -NOW, 10**9 - 1, 10**11 + 1, 10**300]
)
def test_times_are_json_integers_within_reason(name: str, odd: object) -> None:
    assert refusal(claim(name, odd)) == name


@pytest.mark.parametrize("now", [10**9 + 1, 10**11 - 1])
def test_the_bounds_of_times_are_1e9_and_1e11(now: int) -> None:
    times = {"iat": now - 1, "nbf": now - 1, "exp": now + 1}
    assert accept("Bearer " + token(times), now=now).jti


def test_a_token_is_issued_before_it_expires() -> None:
    assert accept("Bearer " + token({"iat": NOW, "exp": NOW + 1})).jti
    assert refusal("Bearer " + token({"iat": NOW, "exp": NOW})) == "exp"
    assert refusal("Bearer " + token({"iat": NOW + 1, "exp": NOW})) == "exp"


def test_a_token_lives_31_days_at_most() -> None:
    assert accept("Bearer " + token({"iat": NOW, "exp": NOW + 31 * DAY})).jti
    assert refusal("Bearer " + token({"iat": NOW, "exp": NOW + 31 * DAY + 1})) == "exp"


@pytest.mark.parametrize(
    ("name", "last", "first"),
    [("exp", NOW - 29, NOW - 30), ("nbf", NOW + 30, NOW + 31), ("iat", NOW + 30, NOW + 31)],
)
def test_clocks_may_differ_by_30_seconds(name: str, last: int, first: int) -> None:
    assert accept(claim(name, last)).jti
    assert refusal(claim(name, first)) == name


def test_max_age_has_no_leeway() -> None:
    assert accept(claim("iat", NOW - 3600)).jti
    assert refusal(claim("iat", NOW - 3600), now=NOW + 0.01) == "max_age"
    assert refusal(claim("iat", NOW - 3601)) == "max_age"
    assert accept(claim("iat", NOW - DAY), issuer=replace(CORP, max_age=None)).jti
    assert refusal(claim("iat", NOW - 60), issuer=replace(CORP, max_age=0)) == "max_age"


def test_the_callers_clock_counts_and_not_the_systems() -> None:
    long_ago = 1_200_000_000
    times = {"iat": long_ago, "nbf": long_ago, "exp": long_ago + 300}
    assert accept("Bearer " + token(times), now=long_ago).jti
    assert refusal("Bearer " + token(times)) == "exp"


def test_a_clock_that_is_not_a_number_accepts_nothing() -> None:
    assert refusal("Bearer " + token(), now=float("nan")) == "exp"


# The job's claims


@pytest.mark.parametrize("name", ["jti", "sub", "ref", "ref_type", "pipeline_source"])
@pytest.mark.parametrize("odd", [None, "", 1, True, ["a"], {}])
def test_a_jobs_claims_are_non_empty_strings(name: str, odd: object) -> None:
    assert refusal(claim(name, odd)) == name


@pytest.mark.parametrize("name", ["project_id", "pipeline_id", "job_id"])
@pytest.mark.parametrize(
    "odd", [None, "", "42a", "-42", "4 2", "42\u0663", "٤٢", "²", "0x2a", "4.2", 42, 4.2, True, ["42"]]
)
def test_a_jobs_ids_are_decimal_digits(name: str, odd: object) -> None:
    assert refusal(claim(name, odd)) == name


def test_gitlabs_sign_in_tokens_are_kept_out() -> None:
    # What "sign in with GitLab" issues to an application whose client id is our audience.
    claims = dict.fromkeys(CLAIMS) | {
        name: CLAIMS[name] for name in ("iss", "aud", "exp", "iat", "nbf", "jti", "sub", "groups_direct")
    }
    assert refusal("Bearer " + token({**claims, "auth_time": NOW - 60, "nonce": "n"})) == "ref"


# Claims for rules


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("as it is ", "as it is "),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1, "1"),
        (-12, "-12"),
        (2**70, "1180591620717411303424"),
        (1.0, None),
        (1e20, None),
        (None, None),
        ({"a": "b"}, None),
        (["acme"], None),
        ([], None),
    ],
)
def test_claims_become_strings_or_nothing(value: Any, read: str | None) -> None:
    assert rule_claims({"a claim": value}) == ({} if read is None else {"a claim": read})


def test_only_of_groups_direct_one_element_is_enough() -> None:
    assert rule_claims({"groups_direct": ["acme", "acme/ops"]}) == {"groups_direct": ("acme", "acme/ops")}
    assert rule_claims({"groups_direct": []}) == {"groups_direct": ()}
    assert rule_claims({"groups_direct": ["acme", 1, True, None, ["b"], {}]}) == {"groups_direct": ("acme",)}
    assert rule_claims({"groups_direct": "acme"}) == {"groups_direct": "acme"}
    assert rule_claims({"groups_indirect": ["acme"]}) == {}


def test_what_describes_the_token_is_for_no_rule() -> None:
    assert not set(accept("Bearer " + token()).claims) & {"iss", "aud", "exp", "iat", "nbf", "jti"}


def test_every_claim_of_a_jobs_token_is_in_the_inventory() -> None:
    assert set(CLAIMS) <= gitlab.READABLE | gitlab.NEVER_USABLE
    assert not gitlab.READABLE & gitlab.NEVER_USABLE
    assert set(gitlab.REQUIRED) - {"jti"} <= gitlab.READABLE


# The signature, and the keys


def test_a_signature_by_another_key_is_refused() -> None:
    forged = signed(b'{"alg": "RS256", "kid": "k1"}', json.dumps(CLAIMS).encode(), signer=key("k2"))
    assert refusal("Bearer " + forged) == "signature"


def test_a_token_without_a_signature_is_refused() -> None:
    header, payload, _ = token().split(".")
    assert refusal(f"Bearer {header}.{payload}.") == "signature"


def test_a_payload_that_was_changed_is_refused() -> None:
    header, _, signature = token().split(".")
    payload = b64(json.dumps(CLAIMS | {"project_id": "1"}).encode())
    assert refusal(f"Bearer {header}.{payload}.{signature}") == "signature"


@dataclass
class Shelf:
    """A key source that says what it was asked for."""

    answer: RSAPublicKey | Exception
    asked: list[str] = field(default_factory=list)

    def key(self, issuer: Issuer, kid: str) -> RSAPublicKey:
        self.asked.append(f"{issuer.name} {kid}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_key_that_is_too_short_verifies_nothing() -> None:
    short = key("short", bits=1024)
    forged = signed(b'{"alg": "RS256", "kid": "k1"}', json.dumps(CLAIMS).encode(), signer=short)
    with pytest.raises(InvalidToken) as refused:
        verify([f"Bearer {forged}"], issuers={ISSUER: CORP}, keys=Shelf(short.public_key()), now=NOW)
    assert refused.value.check == "token"


def test_an_empty_kid_is_refused_before_any_key_is_asked_for() -> None:
    shelf = Shelf(key().public_key())
    with pytest.raises(InvalidToken, match=r"^kid: not 1 to 128 printable characters$"):
        verify(["Bearer " + token(kid="")], issuers={ISSUER: CORP}, keys=shelf, now=NOW)
    assert shelf.asked == []


def test_an_unknown_key_refuses_the_token_and_missing_keys_do_not() -> None:
    with pytest.raises(InvalidToken, match="kid"):
        verify(["Bearer " + token()], issuers={ISSUER: CORP}, keys=Shelf(UnknownKey("no such key")), now=NOW)
    with pytest.raises(KeysUnavailable):
        verify(["Bearer " + token()], issuers={ISSUER: CORP}, keys=Shelf(KeysUnavailable("later")), now=NOW)


@pytest.mark.parametrize("odd", [{"exp": NOW - 60}, {"job_id": None}, {"iss": "https://evil.example.com"}])
def test_no_key_is_asked_for_by_a_token_that_cannot_become_valid(odd: dict[str, Any]) -> None:
    shelf = Shelf(key().public_key())
    with pytest.raises(InvalidToken):
        verify(["Bearer " + token(odd)], issuers={ISSUER: CORP}, keys=shelf, now=NOW)
    assert shelf.asked == []
    verify(["Bearer " + token()], issuers={ISSUER: CORP}, keys=shelf, now=NOW)
    assert shelf.asked == ["corp k1"]


# What a refusal says


def test_a_refusal_names_the_check_and_never_holds_the_token() -> None:
    with pytest.raises(InvalidToken) as refused:
        accept(claim("iss", "https://evil.example.com/\u202e" + "x" * 1000))
    assert refused.value.check == "iss"
    assert str(refused.value).startswith("iss: 'https://evil.example.com/\ufffdxxx")
    assert len(str(refused.value)) < 320


DETAILS: dict[str, tuple[str, Callable[[], tuple[str, ...]]]] = {
    "authorization": ("0 Authorization headers, not one", lambda: ()),
    "alg": ("not RS256", lambda: ("Bearer " + token(alg="none"),)),
    "jwk": ("header parameter not accepted", lambda: ("Bearer " + token(jwk={}),)),
    "aud": ("not this issuer's audience, as one string", lambda: (claim("aud", [AUDIENCE]),)),
    "project_id": ("missing, or not as in a GitLab job's token", lambda: (claim("project_id", None),)),
    "max_age": (
        "issued 4000 s ago, and the gate file's limit is 3600 s: a token is as old as its job",
        lambda: (claim("iat", NOW - 4000),),
    ),
    "signature": ("does not verify", lambda: ("Bearer " + token(kid="k2"),)),
    "kid": (
        "the issuer's key set has no such key: fetch that file again where GitLab's keys have changed",
        lambda: ("Bearer " + token(kid="k9"),),
    ),
    "exp": ("expired 30 s ago: a token lives as long as its job may", lambda: (claim("exp", NOW - 30),)),
    "iat": (
        "90 s in the future, by AWS's clock: GitLab's clock is ahead; 30 s are tolerated",
        lambda: (claim("iat", NOW + 90),),
    ),
    "nbf": (
        "90 s in the future, by AWS's clock: GitLab's clock is ahead; 30 s are tolerated",
        lambda: (claim("nbf", NOW + 90),),
    ),
    "token": (
        "9000 bytes, more than 8192: it lists up to 200 groups that the job's user is in; let a user with"
        " fewer start the job",
        lambda: ("Bearer " + "x" * 9_000,),
    ),
    "header": ("not JSON: Expecting value at character 0", lambda: ("Bearer eA.e30.e30",)),
}


@pytest.mark.parametrize("check", DETAILS)
def test_a_refusal_says_what_is_wrong(check: str) -> None:
    detail, authorization = DETAILS[check]
    with pytest.raises(InvalidToken) as refused:
        accept(*authorization())
    assert (refused.value.check, refused.value.detail) == (check, detail)


# Whatever comes


@given(st.lists(st.text(max_size=50) | st.text(max_size=50).map("Bearer {}".format), max_size=3))
def test_any_headers_are_refused_and_nothing_else_happens(authorization: list[str]) -> None:
    refusal(*authorization)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_signed_bytes_are_refused_and_nothing_else_happens(header: bytes, payload: bytes) -> None:
    refusal("Bearer " + signed(header, payload))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
odd_members = st.dictionaries(st.sampled_from([*CLAIMS, "alg", "kid", "typ", "x5c"]), json_values, max_size=3)


@given(odd_members)
def test_any_claims_are_an_identity_or_a_refusal(odd: dict[str, Any]) -> None:
    try:
        identity = accept("Bearer " + token(odd))
    except InvalidToken:
        return
    for name in ("iss", "aud", "exp", "nbf", "iat", *gitlab.REQUIRED):
        assert odd.get(name, CLAIMS[name]) is not None
        assert type(odd.get(name, CLAIMS[name])) is type(CLAIMS[name])
    assert all(isinstance(value, str | tuple) for value in identity.claims.values())


@given(odd_members)
def test_any_header_is_accepted_or_refused(odd: dict[str, Any]) -> None:
    try:
        accept("Bearer " + token(**{name: value for name, value in odd.items() if value is not None}))
    except InvalidToken:
        return
    assert odd.get("alg", "RS256") in ("RS256", None)
    assert odd.get("kid", "k1") in ("k1", None)


@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    good = token()
    at = data.draw(st.integers(0, len(good) - 1))
    character = data.draw(st.characters().filter(lambda c: c != good[at]))
    refusal(f"Bearer {good[:at]}{character}{good[at + 1 :]}")
