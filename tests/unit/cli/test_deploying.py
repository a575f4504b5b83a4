"""`make deploy` says what is missing before it builds anything."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from sluicegate_cli import deploying
from sluicegate_cli.deploying import Unready, check
from support.expanded import LONGEST_STACK
from support.template import ROOT

WHO = {"Account": "111111111111", "Arn": "arn:aws:sts::111111111111:assumed-role/admin/ada"}


@dataclass
class FakeSession:
    """The calls of boto3's session."""

    region_name: str | None = None
    profile_name: str | None = None
    credentials: object | None = "some"
    error: Exception | None = None
    made: list[tuple[str | None, str | None]] = field(default_factory=list)

    def __call__(self, *, profile_name: str | None, region_name: str | None) -> "FakeSession":
        self.made.append((profile_name, region_name))
        if profile_name == "unknown":
            raise ProfileNotFound(profile=profile_name)
        self.region_name = region_name or self.region_name
        return self

    def get_credentials(self) -> object | None:
        return self.credentials

    def client(self, service: str, **_: Any) -> "FakeSession":
        assert service == "sts"
        return self

    def get_caller_identity(self) -> dict[str, str]:
        if self.error:
            raise self.error
        return WHO


def test_it_says_where_it_deploys_to() -> None:
    said = check([], {"AWS_REGION": "eu-central-1"}, FakeSession())
    assert said == f"deploying sluicegate to account 111111111111 in eu-central-1, as {WHO['Arn']}"


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ([], {"AWS_REGION": "a"}, (None, "a")),
        ([], {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, (None, "b")),
        (["--region", "c"], {"AWS_REGION": "a"}, (None, "c")),
        (["--profile=p", "--parameter-overrides", "A=b", "--region=c"], {}, ("p", "c")),
    ],
)
def test_regions_and_profiles_are_those_that_sam_uses(
    arguments: list[str], environ: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    session = FakeSession()
    check(arguments, environ, session)
    assert session.made == [expected]


def refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("arguments", "environ", "session", "message"),
    [
        ([], {}, FakeSession(), r"no AWS region: export AWS_REGION="),
        ([], {"AWS_REGION": "a"}, FakeSession(credentials=None), r"no AWS credentials: export AWS_PROFILE="),
        (
            [],
            {"AWS_REGION": "a"},
            FakeSession(error=refused("ExpiredToken", "The security token is expired")),
            r"refuses these credentials: The security token is expired\n  export AWS_PROFILE=",
        ),
        (
            [],
            {"AWS_REGION": "nowhere"},
            FakeSession(error=EndpointConnectionError(endpoint_url="https://sts.nowhere.amazonaws.com")),
            r"cannot reach AWS as configured: .*sts\.nowhere",
        ),
        (["--profile", "unknown"], {}, FakeSession(), r"cannot reach AWS as configured: .*unknown"),
        (["--region"], {}, FakeSession(), r"ARGS: argument --region"),
        (["--stack-name", "s" * 52], {}, FakeSession(), r"has 52 characters, .* leaves room for 51"),
        (["--stack-name", "test"], {}, FakeSession(), r"export SLUICEGATE_STACK_NAME=test"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    arguments: list[str], environ: dict[str, str], session: FakeSession, message: str
) -> None:
    with pytest.raises(Unready, match=message):
        check(arguments, environ, session)


def test_make_asks_before_it_builds() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [recipe] = re.findall(r"^deploy: setup ##.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe.index("sluicegate_cli.deploying") < recipe.index("build") < recipe.index("sam deploy")


def test_the_longest_stack_name_is_the_templates() -> None:
    assert len(LONGEST_STACK) == deploying.MAX_STACK_NAME
    assert f"at most {deploying.MAX_STACK_NAME} characters" in (ROOT / "docs/start/deploy.md").read_text()
