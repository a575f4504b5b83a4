"""STS and IAM as AWS answers them: a job's web identity, its role's sessions, and a source identity.

Recorded: localstack/localstack, `tests/aws/services/iam/test_iam_oidc.snapshot.json`, of 17 and 18 February
2026. Documented: AWS STS API reference, AssumeRole and AssumeRoleWithWebIdentity; IAM user guide, as each
case says; read on 26 November 2026. Words that callers reported: `stand.web_identity` names the threads.
"""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from contract.witness import Witness, refusal, unique
from stand import processes
from stand.claims import job_claims
from stand.gitlab import GitLab, Handler, Key, Server
from support.iam_roles_model import ALPHABET

AUDIENCE = "https://sts.example.com"
SUB = "project_path:acme/orders:ref_type:tag:ref:v1.0.0"
ASSUME = "sts:AssumeRoleWithWebIdentity"


@pytest.fixture(scope="module")
def issuer() -> Iterator[GitLab]:
    """An issuer of tokens that the witnesses reach."""
    port = processes.choose_port("", 0)
    gitlab = GitLab(f"http://127.0.0.1:{port}", AUDIENCE)
    server = Server(("127.0.0.1", port), type("IssuerHandler", (Handler,), {"gitlab": gitlab}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield gitlab
    server.shutdown()


@pytest.fixture(scope="module")
def provider(witness: Witness, issuer: GitLab) -> str:
    """The ARN of the issuer's provider."""
    made = witness.client("iam").create_open_id_connect_provider(
        Url=issuer.issuer, ClientIDList=[AUDIENCE, "azp-client"]
    )
    return str(made["OpenIDConnectProviderArn"])


@pytest.fixture(scope="module")
def caller(witness: Witness, provider: str) -> str:
    """The ARN of a role for one job of the issuer."""
    return str(make_role(witness, web_trust(provider))["Arn"])


def web_trust(provider: str, *actions: str) -> dict[str, Any]:
    host = provider.partition(":oidc-provider/")[2]
    return {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": [ASSUME, *actions],
        "Condition": {"StringEquals": {f"{host}:aud": AUDIENCE, f"{host}:sub": SUB}},
    }


def make_role(witness: Witness, *trust: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(trust)})
    made = witness.client("iam").create_role(RoleName=name or unique(), AssumeRolePolicyDocument=document)
    role: dict[str, Any] = made["Role"]
    return role


def request(role: str, token: str, **changed: Any) -> dict[str, Any]:
    usual = {"RoleArn": role, "RoleSessionName": "job-1", "WebIdentityToken": token, "DurationSeconds": 900}
    return {**usual, **changed}


def refused(witness: Witness, role: str, token: str, **changed: Any) -> tuple[str, int, str]:
    call = witness.client("sts").assume_role_with_web_identity
    return refusal(call, **request(role, token, **changed))


def test_a_job_assumes_its_role(witness: Witness, caller: str, issuer: GitLab) -> None:
    """Documented: AssumeRoleWithWebIdentity, response elements."""
    answer = witness.client("sts").assume_role_with_web_identity(**request(caller, issuer.token({})))
    said = (answer["SubjectFromWebIdentityToken"], answer["Audience"], answer["Provider"])
    assert said == (SUB, AUDIENCE, issuer.issuer)
    assert answer["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")
    assert answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":job-1")


def test_the_audience_is_a_client_id_of_the_provider(witness: Witness, caller: str, issuer: GitLab) -> None:
    """Reported: aws-actions/configure-aws-credentials#775."""
    answer = refused(witness, caller, issuer.token({}, audience="https://deploy.example.com"))
    assert answer == ("InvalidIdentityToken", 400, "Incorrect token audience")


def test_the_authorized_party_takes_the_place_of_the_audience(
    witness: Witness, caller: str, issuer: GitLab
) -> None:
    """Reported: aws/aws-sdk-net#3071. The trust policy's `aud` is the authorized party then."""
    answer = refused(witness, caller, issuer.token({"azp": "another"}))
    assert answer == ("InvalidIdentityToken", 400, "Incorrect token audience")
    assert refused(witness, caller, issuer.token({"azp": "azp-client"}))[:2] == ("AccessDenied", 403)


@pytest.mark.parametrize("added", ["/", "/other"])
def test_the_issuer_is_the_providers_url_to_the_last_slash(
    witness: Witness, caller: str, issuer: GitLab, added: str
) -> None:
    """Reported: mozilla-iam/mozilla-aws-cli#127."""
    iss = issuer.issuer + added
    answer = refused(witness, caller, issuer.token({"iss": iss}))
    assert answer == (
        "InvalidIdentityToken",
        400,
        f"No OpenIDConnect provider found in your account for {iss}",
    )


def test_an_expired_token_is_refused_as_expired(witness: Witness, caller: str, issuer: GitLab) -> None:
    """Reported: aws/aws-sdk-java-v2#5709."""
    code, status, message = refused(witness, caller, issuer.token({"iat": int(time.time()) - 3601}))
    assert (code, status) == ("ExpiredTokenException", 400)
    assert message.startswith("Token expired: current date/time ")


@pytest.mark.parametrize("fault", ["signature", "key", "algorithm", "no token"])
def test_a_token_that_the_issuer_did_not_sign_is_refused(
    witness: Witness, caller: str, issuer: GitLab, fault: str
) -> None:
    """Documented: InvalidIdentityToken, "could not be validated by Amazon Web Services"."""
    token = issuer.token({})
    signed = token.rpartition(".")[0]
    stranger = Key(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    claims = json.dumps(job_claims(issuer.issuer, AUDIENCE, {})).encode()
    known = issuer.signing_key().kid
    faulty = {
        "signature": f"{signed}.{'A' * 342}",
        "key": stranger.sign(json.dumps({"alg": "RS256", "kid": known}).encode(), claims),
        "algorithm": issuer.sign(json.dumps({"alg": "none", "kid": known}), claims.decode()),
        "no token": "not.a-token",
    }[fault]
    assert refused(witness, caller, faulty)[:2] == ("InvalidIdentityToken", 400)


def test_a_key_that_the_issuer_does_not_publish_is_no_key(
    witness: Witness, caller: str, issuer: GitLab
) -> None:
    """Reported: aws/aws-sdk-js-v3#3052."""
    stranger = Key(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    header = json.dumps({"alg": "RS256", "kid": stranger.kid}).encode()
    token = stranger.sign(header, json.dumps(job_claims(issuer.issuer, AUDIENCE, {})).encode())
    code, status, message = refused(witness, caller, token)
    assert (code, status) == ("InvalidIdentityToken", 400)
    assert message.startswith("Couldn't retrieve verification key")


def test_access_is_denied_without_a_reason(witness: Witness, caller: str, issuer: GitLab) -> None:
    """Reported: windmill-labs/windmilldocs#635: a condition that does not hold, and no word about which."""
    message = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    other = issuer.token({"ref": "v2.0.0"})
    assert refused(witness, caller, other) == ("AccessDenied", 403, message)
    assert refused(witness, f"{caller}-none", issuer.token({})) == ("AccessDenied", 403, message)


def test_a_session_lasts_as_long_as_the_role_allows(witness: Witness, caller: str, issuer: GitLab) -> None:
    """Reported: kreuzwerker/awsu#27. Documented: DurationSeconds; it is an hour by default."""
    answer = refused(witness, caller, issuer.token({}), DurationSeconds=3_601)
    message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    assert answer == ("ValidationError", 400, message)


@pytest.mark.parametrize("action", ["sts:TagSession", "sts:SetSourceIdentity"])
def test_what_a_token_adds_to_the_session_needs_the_roles_consent(
    witness: Witness, provider: str, issuer: GitLab, action: str
) -> None:
    """Documented: "Passing session tags using AssumeRoleWithWebIdentity", "Monitor and control actions …"."""
    tags = {"https://aws.amazon.com/tags": {"principal_tags": {"ref": ["v1"]}}}
    source_identity = {"https://aws.amazon.com/source_identity": "ada"}
    claims: dict[str, Any] = {**tags} if action == "sts:TagSession" else {**source_identity}
    without, consenting = (make_role(witness, web_trust(provider, *more))["Arn"] for more in ((), (action,)))
    assert refused(witness, without, issuer.token(claims))[:2] == ("AccessDenied", 403)
    witness.client("sts").assume_role_with_web_identity(**request(consenting, issuer.token(claims)))


def test_a_session_ends_with_its_role(witness: Witness, provider: str, issuer: GitLab) -> None:
    """Documented: "IAM identifiers": a role that is made again has another unique id."""
    iam, sts, name = witness.client("iam"), witness.client("sts"), unique()
    role = make_role(witness, web_trust(provider), name=name)
    answer = sts.assume_role_with_web_identity(**request(role["Arn"], issuer.token({})))
    session = witness.as_session("sts", answer["Credentials"])
    assert session.get_caller_identity()["UserId"] == f"{role['RoleId']}:job-1"
    iam.delete_role(RoleName=name)
    assert refusal(session.get_caller_identity)[:2] == ("InvalidClientTokenId", 403)
    again = make_role(witness, web_trust(provider), name=name)
    assert (again["Arn"], again["RoleId"] == role["RoleId"]) == (role["Arn"], False)
    assert refusal(session.get_caller_identity)[:2] == ("InvalidClientTokenId", 403)


def test_a_roles_id_is_aroa_and_seventeen_more(witness: Witness, provider: str) -> None:
    """Documented: "IAM identifiers", unique ids."""
    role_id = make_role(witness, web_trust(provider))["RoleId"]
    assert (role_id[:4], len(role_id)) == ("AROA", 21)
    assert set(role_id) <= set(ALPHABET + "0189")


def test_a_trust_policy_forgets_a_role_that_is_made_again(
    witness: Witness, provider: str, issuer: GitLab
) -> None:
    """Documented: "AWS JSON policy elements: Principal": a deleted role's id takes its ARN's place."""
    iam, name = witness.client("iam"), unique()
    first = make_role(witness, web_trust(provider), name=name)
    target = make_role(witness, {"Effect": "Allow", "Principal": {"AWS": first["Arn"]}, "Action": "sts:*"})
    iam.delete_role(RoleName=name)
    document = iam.get_role(RoleName=target["Arn"].rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
    assert document["Statement"][0]["Principal"] == {"AWS": first["RoleId"]}
    session = entered(witness, issuer, make_role(witness, web_trust(provider), name=name), target["Arn"])
    answer = refusal(session.assume_role, RoleArn=target["Arn"], RoleSessionName="d-1", DurationSeconds=900)
    assert answer[:2] == ("AccessDenied", 403)


def entered(witness: Witness, issuer: GitLab, role: dict[str, Any], target: str) -> Any:
    """STS as a session of the role, which may enter the target as far as its own policies go."""
    statement = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
        "Resource": target,
    }
    witness.client("iam").put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="enter",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    sts = witness.client("sts")
    answer = sts.assume_role_with_web_identity(**request(role["Arn"], issuer.token({})))
    return witness.as_session("sts", answer["Credentials"])


@pytest.fixture
def deployer(witness: Witness, provider: str) -> dict[str, Any]:
    return make_role(witness, web_trust(provider))


def target_of(witness: Witness, deployer: dict[str, Any], *consents: str) -> str:
    """A target's role: for the deployer alone, with its external id and a source identity."""
    principal = {"AWS": deployer["Arn"]}
    enter = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"sts:ExternalId": "3c9e"},
            "Null": {"sts:SourceIdentity": "false"},
        },
    }
    more = [{"Effect": "Allow", "Principal": principal, "Action": list(consents)}] if consents else []
    return str(make_role(witness, enter, *more)["Arn"])


def of(target: str, **changed: Any) -> dict[str, Any]:
    usual = {
        "RoleArn": target,
        "RoleSessionName": "d-1",
        "DurationSeconds": 900,
        "ExternalId": "3c9e",
        "SourceIdentity": "job-4213",
    }
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def test_a_target_takes_its_deployer_with_external_id_and_source_identity(
    witness: Witness, issuer: GitLab, deployer: dict[str, Any]
) -> None:
    """Documented: AssumeRole, ExternalId and SourceIdentity; "Monitor and control actions …"."""
    target = target_of(witness, deployer, "sts:SetSourceIdentity", "sts:TagSession")
    sts = entered(witness, issuer, deployer, target)
    tags = [{"Key": "Ref", "Value": "v1.0.0"}]
    answer = sts.assume_role(**of(target, Tags=tags))
    assert answer["SourceIdentity"] == "job-4213"
    for changed in ({"ExternalId": "other"}, {"ExternalId": None}, {"SourceIdentity": None}):
        assert refusal(sts.assume_role, **of(target, **changed))[:2] == ("AccessDenied", 403)


@pytest.mark.parametrize("missing", ["sts:SetSourceIdentity", "sts:TagSession"])
def test_source_identity_and_tags_need_the_targets_consent(
    witness: Witness, issuer: GitLab, deployer: dict[str, Any], missing: str
) -> None:
    """Documented: "Monitor and control actions …", "Pass session tags in AWS STS"."""
    target = target_of(witness, deployer, *({"sts:SetSourceIdentity", "sts:TagSession"} - {missing}))
    sts = entered(witness, issuer, deployer, target)
    code, status, message = refusal(sts.assume_role, **of(target, Tags=[{"Key": "Ref", "Value": "v1"}]))
    assert (code, status, missing in message) == ("AccessDenied", 403, True)


def test_a_source_identity_stays(witness: Witness, issuer: GitLab, provider: str) -> None:
    """Documented: "Monitor and control actions …": it persists in a chain, and cannot be changed."""
    deployer = make_role(witness, web_trust(provider, "sts:SetSourceIdentity"))
    target = target_of(witness, deployer, "sts:SetSourceIdentity")
    entered(witness, issuer, deployer, target)
    token = issuer.token({"https://aws.amazon.com/source_identity": "ada"})
    answer = witness.client("sts").assume_role_with_web_identity(**request(deployer["Arn"], token))
    sts = witness.as_session("sts", answer["Credentials"])
    assert sts.assume_role(**of(target, SourceIdentity=None))["SourceIdentity"] == "ada"
    assert refusal(sts.assume_role, **of(target, SourceIdentity="grace"))[:2] == ("AccessDenied", 403)


@pytest.mark.parametrize("value", ["a b", "ada:1", "ä" * 2])
def test_a_source_identity_has_a_small_alphabet(witness: Witness, caller: str, value: str) -> None:
    """Documented: AssumeRole, SourceIdentity, `[\\w+=,.@-]*`, 2 to 64 characters."""
    answer = refusal(witness.client("sts").assume_role, **of(caller, SourceIdentity=value))
    assert answer[:2] == ("ValidationError", 400)


def test_a_provider_keeps_the_slash_of_its_url(witness: Witness) -> None:
    """Documented: GetOpenIDConnectProvider, Url. Reported: gist.github.com/gene1wood/54611c45…."""
    iam, host = witness.client("iam"), f"{unique()}.example.com/"
    arn = iam.create_open_id_connect_provider(Url=f"https://{host}")["OpenIDConnectProviderArn"]
    assert arn.endswith(f":oidc-provider/{host}")
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["Url"] == host
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_a_provider_exists_once(witness: Witness) -> None:
    """Recorded: test_create_open_id_connect_provider_duplicate_error."""
    create, url = witness.client("iam").create_open_id_connect_provider, f"https://{unique()}.example.com"
    create(Url=url)
    assert refusal(create, Url=url) == (
        "EntityAlreadyExists",
        409,
        f"Provider with url {url} already exists.",
    )


def test_a_provider_that_is_not_there(witness: Witness) -> None:
    """Recorded: test_get_open_id_connect_provider_not_found, test_delete_open_id_connect_provider."""
    iam = witness.client("iam")
    arn = "arn:aws:iam::111111111111:oidc-provider/none.example.com"
    words = (
        f"OpenIDConnect Provider not found for arn {arn}",
        f"OpenId connect Provider {arn} cannot be found.",
    )
    for call, message in zip(
        (iam.get_open_id_connect_provider, iam.delete_open_id_connect_provider), words, strict=True
    ):
        assert refusal(call, OpenIDConnectProviderArn=arn) == ("NoSuchEntity", 404, message)


def test_a_providers_url_is_https(witness: Witness) -> None:
    """Recorded: test_create_open_id_connect_provider_invalid_url."""
    answer = refusal(witness.client("iam").create_open_id_connect_provider, Url="http://gitlab.example.com")
    assert answer == ("ValidationError", 400, "Invalid Open ID Connect Provider URL")


def test_a_provider_has_a_hundred_client_ids(witness: Witness) -> None:
    """Recorded: test_create_open_id_connect_provider_quota_error."""
    ids = [f"client-{number}" for number in range(101)]
    create = witness.client("iam").create_open_id_connect_provider
    answer = refusal(create, Url=f"https://{unique()}.example.com", ClientIDList=ids)
    assert answer[:2] == ("LimitExceeded", 409)
