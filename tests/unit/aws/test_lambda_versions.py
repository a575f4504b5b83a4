"""A function's versions, and the deletion of one: what is sent, and what is never sent."""

from typing import Any, cast

import pytest

from sluicegate.aws.lambda_ import LambdaConflict, LambdaRejected, LambdaUnavailable
from sluicegate.aws.lambda_versions import NumberedVersion, VersionDeleter, VersionsApi
from support.lambda_model import error
from support.lambda_versions_model import VersionsModel


@pytest.fixture
def model() -> VersionsModel:
    made = VersionsModel()
    made.add("orders")
    for number in range(5):
        made.configure("orders", Description=str(number))
        made.publish("orders", str(number))
    return made


def deleter(model: VersionsModel, number: str, function: str = "orders") -> VersionDeleter:
    return VersionDeleter(cast(Any, model), function, NumberedVersion(number))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$LATEST",
        "$LATEST.PUBLISHED",
        "0",
        "01",
        "-1",
        "1 ",
        "1\n",
        "\u0661",
        "prod",
        "1:2",
        "None",
        "1" * 20,
    ],
)
def test_only_a_number_can_be_deleted(text: str) -> None:
    """Without a qualifier, or with `$LATEST`, DeleteFunction deletes the function."""
    with pytest.raises(ValueError, match="not the number"):
        NumberedVersion(text)


@pytest.mark.parametrize(
    "name", ["", "orders:1", "orders:$LATEST", "arn:aws:lambda:x:1:function:orders", "a/b"]
)
def test_only_a_plain_name_is_taken(model: VersionsModel, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        deleter(model, "1", name)


def test_a_version_is_deleted_and_a_second_time_nothing_happens(model: VersionsModel) -> None:
    deleter(model, "2").delete()
    deleter(model, "2").delete()
    assert sorted(model.functions["orders"]["versions"]) == ["1", "3", "4", "5"]
    assert model.deleted == [("orders", "2"), ("orders", "2")]


def test_an_emulators_404_for_a_version_that_is_gone_is_fine(model: VersionsModel) -> None:
    """AWS answers 204 (floci-io/floci#2824)."""

    def missing(_: str) -> None:
        raise error("ResourceNotFoundException", 404, "Function not found")

    model.before = missing
    deleter(model, "2").delete()


def test_lambda_refuses_what_an_alias_names_and_what_is_at_the_edge(model: VersionsModel) -> None:
    model.set_alias("orders", "live", "2")
    with pytest.raises(LambdaConflict, match="aliases reference it"):
        deleter(model, "2").delete()
    model.replicated.add(("orders", "3"))
    with pytest.raises(LambdaRejected, match="replicated function"):
        deleter(model, "3").delete()


def test_the_model_deletes_a_function_as_aws_does(model: VersionsModel) -> None:
    """Why a number is a type of its own."""
    model.delete_function(FunctionName="orders")
    assert model.functions == {}


def test_all_pages_of_versions_are_read_and_latest_is_none(model: VersionsModel) -> None:
    listed = VersionsApi(cast(Any, model)).versions("orders")
    assert [one.version for one in listed] == ["1", "2", "3", "4", "5"]
    assert listed[0].sha256 == model.code_of("orders", "1")
    assert listed[0].modified == 1_767_225_600.0
    assert "hunter2" not in repr(listed)


def test_what_is_attached_to_versions_is_listed(model: VersionsModel) -> None:
    api = VersionsApi(cast(Any, model))
    model.sources += [
        ("orders:1", "q", "Enabled"),
        ("orders:prod", "q", "Enabled"),
        ("orders", "q", "Disabled"),
    ]
    model.provisioned_versions |= {("orders", "1"), ("orders", "prod"), ("orders", "3"), ("other", "4")}
    model.invoke_configs |= {("orders", "2"), ("orders", "$LATEST")}
    model.executions += [("orders", "4"), ("orders", "4"), ("orders", "$LATEST"), ("orders", "5")]
    assert api.event_source_qualifiers() == {"orders": {"1", "prod", ""}}
    assert api.provisioned("orders") == {"1", "prod", "3"}
    assert api.invoke_configs("orders") == {"2", "$LATEST"}
    assert api.running_executions("orders") == {"4", "5", "$LATEST"}


def test_an_execution_whose_version_cannot_be_read_is_an_error(model: VersionsModel) -> None:
    model.executions.append(("orders", "prod"))
    with pytest.raises(LambdaUnavailable, match="no version"):
        VersionsApi(cast(Any, model)).running_executions("orders")


def test_a_list_without_an_end_is_an_error(model: VersionsModel) -> None:
    model.list_versions_by_function = lambda **_: {"Versions": [], "NextMarker": "0"}  # type: ignore[method-assign]
    with pytest.raises(LambdaUnavailable, match="more Versions than are read"):
        VersionsApi(cast(Any, model)).versions("orders")
