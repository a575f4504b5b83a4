"""The settings that a version freezes, and the requests that set them, against botocore's model of Lambda."""

from functools import cache
from typing import Any, cast

import botocore.session
import pytest
from botocore.model import ServiceModel, StructureShape
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.lambda_ import FunctionApi, LambdaError
from sluicegate.aws.lambda_settings import (
    COMPARED,
    DERIVED,
    NOT_COMPARED,
    SOURCE_KEY,
    difference,
    read_settings,
)
from sluicegate.deployer.lookups import check_state
from sluicegate.deployment.model import AliasState

LATEST = {"Version": "$LATEST", "RevisionId": "revision", "CodeSha256": "q" * 43 + "="}


@cache
def lambda_model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("lambda")


def members(shape: str) -> set[str]:
    return set(cast(StructureShape, lambda_model().shape_for(shape)).members)


def test_every_member_of_a_configuration_is_compared_or_has_a_reason_not_to_be() -> None:
    """A member that AWS adds fails this test: classify it in `lambda_settings`."""
    compared = set(COMPARED.values())
    assert len(compared) == len(COMPARED)
    assert not compared & set(NOT_COMPARED)
    assert compared | set(NOT_COMPARED) == members("FunctionConfiguration")
    assert SOURCE_KEY not in COMPARED


@pytest.mark.parametrize(
    ("member", "shape"),
    [
        ("Environment", "EnvironmentResponse"),
        ("ImageConfigResponse", "ImageConfigResponse"),
        ("Layers", "Layer"),
        ("SnapStart", "SnapStartResponse"),
        ("VpcConfig", "VpcConfigResponse"),
    ],
)
def test_what_a_setting_leaves_out_is_a_member_of_it(member: str, shape: str) -> None:
    assert DERIVED[member] < members(shape)


SENT_OR_NOT = {
    "UpdateFunctionCodeRequest": {
        "FunctionName": "sent",
        "S3Bucket": "sent",
        "S3Key": "sent",
        "S3ObjectVersion": "sent",
        "RevisionId": "sent",
        "SourceKMSKeyArn": "reset when left out: sent again as GetFunction answers it",
        "Architectures": "documented as reset, kept when tried: sent again",
        "S3ObjectStorageMode": "COPY is wanted: the bucket's lifecycle would break a reference",
        "ZipFile": "another way to give the code",
        "ImageUri": "another way to give the code",
        "Publish": "PublishVersion is fenced, this is not",
        "PublishTo": "would publish $LATEST.PUBLISHED, which unqualified callers invoke",
        "DryRun": "not one",
    },
    "PublishVersionRequest": {
        "FunctionName": "sent",
        "CodeSha256": "sent",
        "RevisionId": "sent",
        "Description": "sent: the version's own",
        "PublishTo": "a numbered version is wanted",
    },
    "UpdateAliasRequest": {
        "FunctionName": "sent",
        "Name": "sent",
        "FunctionVersion": "sent",
        "RoutingConfig": "kept when left out: always sent, empty weights clear",
        "RevisionId": "sent",
        "Description": "kept when left out (recorded on AWS on 2025-11-25: test_alias_lifecycle)",
    },
    "CreateAliasRequest": {
        "FunctionName": "sent",
        "Name": "sent",
        "FunctionVersion": "sent",
        "Description": "sent",
        "RoutingConfig": "a new alias has no weights",
    },
}
"""Every member of the requests that change something: sent, or what becomes of it when it is left out."""


@pytest.mark.parametrize("shape", SENT_OR_NOT)
def test_no_request_leaves_out_what_it_would_reset(shape: str) -> None:
    """A member that AWS adds fails this test: find out what leaving it out resets."""
    assert set(SENT_OR_NOT[shape]) == members(shape)


class Recorder:
    """A client that notes requests, and answers what it is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, _: str) -> Any:
        def call(**request: Any) -> Any:
            self.requests.append(request)
            return self.answer

        return call


def api(client: Any) -> FunctionApi:
    return FunctionApi(client, "orders", lambda _: client, CallMeter())


def test_requests_send_what_the_table_says() -> None:
    client = Recorder(
        {
            "Configuration": {**LATEST, "Architectures": ["arm64"]},
            "Code": {"SourceKMSKeyArn": "arn:key"},
            **LATEST,
            "FunctionVersion": "1",
        }
    )
    function = api(client)
    latest = function.version()
    function.update_code("bucket", "key", "object", latest)
    function.publish("00" * 32, "revision", "sluicegate ID")
    function.update_alias("prod", AliasState("1"), "revision")
    function.create_alias("prod", "1", "Sluicegate: prod")
    for request, shape in zip(client.requests[1:], SENT_OR_NOT, strict=True):
        assert set(request) == {name for name, why in SENT_OR_NOT[shape].items() if "sent" in why}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return not difference(read_settings(one, {}), read_settings(other, {}))


def test_an_error_in_place_of_a_setting_is_unreadable_and_neither_equal_nor_different() -> None:
    error = {"Environment": {"Error": {"ErrorCode": "AccessDenied", "Message": "id 1"}}}
    again = {"Environment": {"Error": {"ErrorCode": "AccessDenied", "Message": "id 2"}}}
    found = difference(read_settings(error, {}), read_settings(again, {}))
    assert (found.changed, found.unreadable) == ((), ("environment",))
    assert difference(read_settings(error, {}), read_settings({}, {})).unreadable == ("environment",)


def test_values_that_lambda_answers_in_two_ways_are_the_same() -> None:
    subnets = {"SubnetIds": ["b", "a"], "VpcId": "v"}
    assert same({"DeadLetterConfig": None}, {"DeadLetterConfig": {"TargetArn": ""}})
    assert same({"SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}}, {})
    assert same({"VpcConfig": {"SubnetIds": ["a", "b"]}}, {"VpcConfig": subnets})
    assert not same({"Environment": {"Variables": {"A": ""}}}, {"Environment": {"Variables": {}}})
    assert not same({"FileSystemConfigs": [{"S3FilesConfig": {"A": 1}}]}, {"FileSystemConfigs": [{}]})


SECRET = "canary-value"
KEYS = st.sampled_from(["Error", "Variables", "ApplyOn", "Arn", "SubnetIds"])


def anything(*more: str) -> st.SearchStrategy[Any]:
    """Any JSON value, with members that settings have."""
    texts = st.text(max_size=20) | st.sampled_from(["x" * 100_000, *more])
    return st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=6,
    )


ANY = anything()
CONFIGURATION = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(sorted(COMPARED.values()), anything(SECRET)),
        **dict.fromkeys(sorted(NOT_COMPARED), ANY),
        "Version": st.sampled_from(["$LATEST", "1"]) | ANY,
        "RevisionId": st.just("revision") | ANY,
        "CodeSha256": st.just("q" * 43 + "=") | ANY,
        "State": st.sampled_from(["Active", "Pending", "Failed", "StateOf2030"]) | ANY,
    },
)
ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "Configuration": (CONFIGURATION | CONFIGURATION.map(lambda c: {**LATEST, **c}) | ANY),
        "Code": st.fixed_dictionaries({}, optional={"SourceKMSKeyArn": ANY, "Error": ANY}) | ANY,
    },
)


@settings(max_examples=150)
@given(ANSWER, ANSWER)
def test_no_answer_of_get_function_crashes_or_leaks(one: dict[str, Any], other: dict[str, Any]) -> None:
    """An answer is a version, or an error that is retried. No value of a setting is in either."""
    found, errors = [], []
    for answer in (one, other):
        try:
            found.append(api(Recorder(answer)).version())
        except LambdaError as error:
            errors.append(str(error))
    assert SECRET not in repr(found) + repr(errors)
    for version in found:
        problem = check_state(version)
        assert SECRET not in repr(problem)
        assert len(repr(problem)) < 3_000
        assert not difference(version.settings, version.settings).changed
    if len(found) == 2:
        names = difference(found[0].settings, found[1].settings)
        assert {*names.changed, *names.unreadable} <= {*COMPARED, SOURCE_KEY}
