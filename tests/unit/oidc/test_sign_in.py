"""Signing in with GitLab: security.md#signing-in, sentence by sentence."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sluicegate.oidc import sign_in
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.jwks import Keyring, UnknownKey
from sluicegate.oidc.sign_in import ClientRefused, SignedIn, SignInRefused, SignInUnavailable
from sluicegate.oidc.signed_token import InvalidToken
from stand.gitlab import Fault
from support import signing
from support.gitlab_site import BACK, CLIENT, Site, gitlab_site
from support.signing import ISSUER, NOW, jwk, jwks, signed

NONCE = "n" * 43
CORP = Issuer(name="corp", url=ISSUER, audience="https://deploy.example.com", jwks=jwks(jwk("k1")))

# What doorkeeper-openid_connect makes of GitLab's own settings (`stand.gitlab_oauth`).
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "7",
    "aud": CLIENT,
    "exp": NOW + 120,
    "iat": NOW,
    "nonce": NONCE,
    "auth_time": NOW - 3_600,
    "sub_legacy": "ab" * 32,
    "name": "Ada Lovelace",
    "nickname": "ada",
    "preferred_username": "ada",
    "email": "ada@example.com",
    "email_verified": True,
    "profile": f"{ISSUER}/ada",
    "groups_direct": ["acme", "acme/platform"],
}


def token(claims: Mapping[str, Any] | None = None, **header: Any) -> str:
    """A sign-in token with these claims instead; one of None is left out."""
    whole = {name: value for name, value in (CLAIMS | dict(claims or {})).items() if value is not None}
    head = {"typ": "JWT", "alg": "RS256", "kid": "k1"} | header
    return signed(json.dumps(head).encode(), json.dumps(whole).encode())


def accept(text: str, *, issuer: Issuer = CORP, now: float = NOW, nonce: str = NONCE) -> SignedIn:
    return sign_in.verify_sign_in_token(
        text, issuer=issuer, client_id=CLIENT, nonce=nonce, keys=Keyring(), now=now
    )


def refusal(claims: Mapping[str, Any] | None = None, **more: Any) -> str:
    """The check that refuses it."""
    with pytest.raises(InvalidToken) as refused:
        accept(token(claims), **more)
    return refused.value.check


def test_a_person_is_signed_in_with_what_gitlab_vouches_for() -> None:
    assert accept(token()) == SignedIn(
        user_id="7",
        claims={
            "user_id": "7",
            "user_login": "ada",
            "email": "ada@example.com",
            "groups_direct": ("acme", "acme/platform"),
        },
        issued_at=NOW,
        signed_in_at=NOW - 3_600,
        name="Ada Lovelace",
    )


@pytest.mark.parametrize("verified", [False, None, "true", 1, "True", ["true"], {}])
def test_an_email_counts_only_where_gitlab_has_verified_it(verified: object) -> None:
    assert "email" not in accept(token({"email_verified": verified})).claims


def test_three_hundred_groups_are_kept() -> None:
    groups = [f"acme/team-{number}" for number in range(300)]
    assert accept(token({"groups_direct": groups})).claims["groups_direct"] == tuple(groups)


@pytest.mark.parametrize("groups", [None, "acme", {"acme": 1}, 7])
def test_what_is_no_list_of_groups_is_left_out(groups: object) -> None:
    assert "groups_direct" not in accept(token({"groups_direct": groups})).claims


def test_a_jobs_token_signs_nobody_in_whatever_audience_it_asked_for() -> None:
    """Both are signed by one GitLab, and a job may ask for any `aud`."""
    job = signing.CLAIMS | {"aud": CLIENT, "iat": NOW, "nbf": NOW - 5, "exp": NOW + 3_600}
    with pytest.raises(InvalidToken):
        accept(signed(b'{"alg":"RS256","kid":"k1","typ":"JWT"}', json.dumps(job).encode()))
    for claim in ("jti", "project_id", "job_id", "pipeline_id", "ref", "pipeline_source"):
        assert refusal({claim: job[claim]}) == claim
        assert refusal({claim: ""}) == claim


@pytest.mark.parametrize("nonce", [None, "", "m" * 43, "n" * 42, 7, ["n"], "ñ" * 43])
def test_the_nonce_is_that_of_this_sign_in(nonce: object) -> None:
    """GitLab's ID tokens of refresh and device grants have none."""
    assert refusal({"nonce": nonce}) == "nonce"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "https://gitlab.example.org"),
        ("iss", f"{ISSUER}/"),
        ("iss", None),
        ("aud", "another"),
        ("aud", [CLIENT]),
        ("aud", [CLIENT, "another"]),
        ("aud", None),
        ("azp", "another"),
        ("sub", 7),
        ("sub", "0"),
        ("sub", "07"),
        ("sub", "-7"),
        ("sub", "eab34251b705267400f70c71db44c145"),
        ("sub", "\u0667"),
        ("sub", None),
        ("auth_time", None),
        ("auth_time", str(NOW)),
        ("auth_time", NOW + 31),
        ("auth_time", True),
        ("exp", NOW - 31),
        ("exp", None),
        ("iat", NOW + 31),
        ("iat", float(NOW)),
        ("nbf", NOW + 31),
        ("preferred_username", {}),
    ],
)
def test_every_claim_is_checked(claim: str, value: object) -> None:
    changed = {claim: value} | ({"nickname": None} if claim == "preferred_username" else {})
    assert refusal(changed) == claim


def test_signature_and_key_are_checked() -> None:
    forged = token().rpartition(".")[0] + "." + token({"sub": "8"}).rpartition(".")[2]
    with pytest.raises(InvalidToken) as refused:
        accept(forged)
    assert refused.value.check == "signature"
    with pytest.raises(InvalidToken) as refused:
        accept(token(kid="unknown"))
    assert refused.value.check == "kid"
    for alg in ("none", "HS256", "ES256"):
        with pytest.raises(InvalidToken) as refused:
            accept(token(alg=alg))
        assert refused.value.check == "alg"


def test_the_keys_are_those_at_the_gitlabs_own_address() -> None:
    """Job tokens may have another issuer: `ci_id_tokens_issuer_url`."""
    split = replace(CORP, url="https://oidc.example.com", gitlab_url=ISSUER)
    asked: list[str] = []

    class Keys:
        def key(self, issuer: Issuer, kid: str) -> Any:
            asked.append(issuer.url)
            raise UnknownKey(kid)

    with pytest.raises(InvalidToken):
        sign_in.verify_sign_in_token(
            token(), issuer=split, client_id=CLIENT, nonce=NONCE, keys=Keys(), now=NOW
        )
    assert asked == [ISSUER]
    assert refusal({"iss": "https://oidc.example.com"}, issuer=split) == "iss"


# The flow, against a GitLab


@pytest.fixture
def site() -> Iterator[Site]:
    with gitlab_site() as made:
        yield made


def test_a_code_is_redeemed_and_names_the_person(site: Site) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    token = site.redeem(site.code(begun.url), begun.verifier)
    made = sign_in.verify_sign_in_token(
        token,
        issuer=site.issuer,
        client_id=CLIENT,
        nonce=begun.nonce,
        keys=Keyring(),
        now=site.gitlab.oauth._clock(),
    )
    assert (made.user_id, made.claims["user_login"]) == ("7", "ada")
    assert made.claims["groups_direct"] == ("acme", "acme/platform")


def test_a_begun_sign_in_has_secrets_of_its_own_and_does_not_show_the_verifier(site: Site) -> None:
    one, two = (sign_in.begin(site.issuer, CLIENT, BACK) for _ in range(2))
    assert not {one.state, one.nonce, one.verifier} & {two.state, two.nonce, two.verifier}
    assert one.verifier not in one.url
    query = parse_qs(urlsplit(one.url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [BACK]
    assert repr(one).count(one.verifier) == 0


def test_a_code_is_good_once(site: Site) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    code = site.code(begun.url)
    site.redeem(code, begun.verifier)
    with pytest.raises(SignInRefused, match="invalid_grant"):
        site.redeem(code, begun.verifier)


@pytest.mark.parametrize("changed", ["verifier", "back", "code"])
def test_a_code_needs_its_verifier_and_its_redirect(site: Site, changed: str) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    given = {"code": site.code(begun.url), "verifier": begun.verifier, "back": BACK}
    with pytest.raises(SignInRefused):
        site.redeem(**{**given, changed: given[changed] + "x"})


def test_an_application_of_another_secret_is_said_to_be_the_operators(site: Site) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    with pytest.raises(ClientRefused):
        site.redeem(site.code(begun.url), begun.verifier, given="old")


def test_an_application_without_openid_gives_no_id_token(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(sign_in, "SCOPES", "profile")
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    with pytest.raises(SignInRefused, match="id_token"):
        site.redeem(site.code(begun.url), begun.verifier)


def test_a_user_who_was_blocked_meanwhile_is_not_signed_in(site: Site) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    code = site.code(begun.url)
    site.gitlab.oauth.users["ada"].state = "blocked"
    with pytest.raises(SignInUnavailable):
        site.redeem(code, begun.verifier)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("down"),
        Fault("answer", status=502, body="<html>"),
        Fault("answer", status=200, body="[]"),
        Fault("answer", status=302, headers={"Location": "http://127.0.0.1:9/"}),
        Fault("flood"),
    ],
)
def test_no_answer_of_gitlabs_is_followed_or_waited_for_forever(site: Site, fault: Fault) -> None:
    begun = sign_in.begin(site.issuer, CLIENT, BACK)
    code = site.code(begun.url)
    site.gitlab.fault = fault
    with pytest.raises(SignInUnavailable) as failed:
        site.redeem(code, begun.verifier)
    assert not any(text in str(failed.value) for text in (code, begun.verifier, "secret"))
