"""Lambda as AWS answers it: functions, versions and aliases, as far as deployments use them.

Recorded: localstack/localstack, `tests/aws/services/lambda_/test_lambda_api.snapshot.json`, answers of AWS of
25 November 2025; the test of that file is named. Documented: Lambda API reference, read on 26 November 2026.
"""

import base64
import hashlib
from typing import Any

import pytest

from contract.witness import Witness, code, refusal

WRONG = "00000000-0000-4000-8000-000000000000"
"""A revision that nothing has."""


def latest(witness: Witness, function: str) -> Any:
    read = witness.client("lambda").get_function(FunctionName=function, Qualifier="$LATEST")
    return read["Configuration"]


def update(witness: Witness, function: str, release: str) -> Any:
    """Update the code and wait; what GetFunction then says of $LATEST."""
    stored = witness.store_code(code(release))
    revision = latest(witness, function)["RevisionId"]
    witness.client("lambda").update_function_code(FunctionName=function, RevisionId=revision, **stored)
    witness.settle(function)
    return latest(witness, function)


def publish(witness: Witness, function: str, **changed: str) -> Any:
    current = latest(witness, function)
    fences = {"CodeSha256": current["CodeSha256"], "RevisionId": current["RevisionId"], "Description": "ours"}
    return witness.client("lambda").publish_version(FunctionName=function, **{**fences, **changed})


def two_versions(witness: Witness, function: str) -> tuple[str, str]:
    first = publish(witness, function)["Version"]
    update(witness, function, "second")
    return first, publish(witness, function)["Version"]


def create_alias(witness: Witness, function: str, version: str) -> Any:
    return witness.client("lambda").create_alias(
        FunctionName=function, Name="prod", FunctionVersion=version, Description="ours"
    )


def move(function: str, version: str, revision: str, weights: dict[str, float] | None = None) -> Any:
    """Arguments of UpdateAlias."""
    return {
        "FunctionName": function,
        "Name": "prod",
        "FunctionVersion": version,
        "RoutingConfig": {"AdditionalVersionWeights": weights or {}},
        "RevisionId": revision,
    }


# Code


def test_an_update_moves_the_revision_twice_and_is_in_progress_between(
    witness: Witness, function: str
) -> None:
    """Recorded: test_function_revisions_basic, rev2 to rev4."""
    before = latest(witness, function)
    stored = witness.store_code(code("second"))
    started = witness.client("lambda").update_function_code(
        FunctionName=function, RevisionId=before["RevisionId"], **stored
    )
    witness.settle(function)
    after = latest(witness, function)
    assert started["LastUpdateStatus"] == "InProgress"
    assert after["LastUpdateStatus"] == "Successful"
    assert len({before["RevisionId"], started["RevisionId"], after["RevisionId"]}) == 3
    expected = base64.b64encode(hashlib.sha256(code("second")).digest()).decode()
    assert started["CodeSha256"] == after["CodeSha256"] == expected


def test_an_update_with_another_revision_is_412(witness: Witness, function: str) -> None:
    """Recorded: test_function_revisions_basic, update_function_revision_exception."""
    stored = witness.store_code(code("second"))
    lambda_ = witness.client("lambda")
    answer = refusal(lambda_.update_function_code, FunctionName=function, RevisionId=WRONG, **stored)
    assert answer[:2] == ("PreconditionFailedException", 412)


@pytest.mark.parametrize("what", ["update", "publish"])
def test_nothing_else_is_done_while_an_update_runs(witness: Witness, function: str, what: str) -> None:
    """Documented: Lambda developer guide, "Lambda function states"."""
    stored = witness.store_code(code("second"))
    lambda_ = witness.client("lambda")
    started = lambda_.update_function_code(
        FunctionName=function, RevisionId=latest(witness, function)["RevisionId"], **stored
    )
    if what == "update":
        request = {"RevisionId": started["RevisionId"], **stored}
        answer = refusal(lambda_.update_function_code, FunctionName=function, **request)
    else:
        fences = {"CodeSha256": started["CodeSha256"], "RevisionId": started["RevisionId"]}
        answer = refusal(lambda_.publish_version, FunctionName=function, Description="", **fences)
    assert answer[:2] == ("ResourceConflictException", 409)


KEY = "arn:aws:kms:eu-central-1:111111111111:key/7d9a1b5e-0000-4000-8000-000000000000"


def code_of(witness: Witness, function: str) -> Any:
    return witness.client("lambda").get_function(FunctionName=function, Qualifier="$LATEST")["Code"]


def test_an_update_that_leaves_the_key_out_drops_it(witness: Witness, function: str) -> None:
    """Documented: UpdateFunctionCode, SourceKMSKeyArn, "If you don't provide a customer managed key, …"."""
    for release, key in (("second", {"SourceKMSKeyArn": KEY}), ("third", {})):
        request = {"RevisionId": latest(witness, function)["RevisionId"], **witness.store_code(code(release))}
        witness.client("lambda").update_function_code(FunctionName=function, **request, **key)
        witness.settle(function)
        assert code_of(witness, function).get("SourceKMSKeyArn") == key.get("SourceKMSKeyArn")


def test_an_update_keeps_the_architecture_that_it_leaves_out(witness: Witness, function: str) -> None:
    """Tried on LocalEmu 1.3.2, and by users of AWS, though documented as a default."""
    stored = witness.store_code(code("second"))
    revision = latest(witness, function)["RevisionId"]
    lambda_ = witness.client("lambda")
    lambda_.update_function_code(
        FunctionName=function, RevisionId=revision, Architectures=["arm64"], **stored
    )
    witness.settle(function)
    assert latest(witness, function)["Architectures"] == ["arm64"]
    assert update(witness, function, "third")["Architectures"] == ["arm64"]


# Versions


def test_a_version_has_the_code_and_a_revision_of_its_own(witness: Witness, function: str) -> None:
    """Recorded: test_function_revisions_version_and_alias: Active at once; $LATEST's revision moves again."""
    before = latest(witness, function)
    version = publish(witness, function)
    read = witness.client("lambda").get_function(FunctionName=function, Qualifier=version["Version"])
    after = latest(witness, function)
    assert version["Version"] == "1"
    assert version["State"] == read["Configuration"]["State"] == "Active"
    assert version["CodeSha256"] == read["Configuration"]["CodeSha256"] == before["CodeSha256"]
    assert version["RevisionId"] == read["Configuration"]["RevisionId"]
    assert len({before["RevisionId"], version["RevisionId"], after["RevisionId"]}) == 3


def test_unchanged_code_gives_the_same_version_again(witness: Witness, function: str) -> None:
    """Recorded: test_version_lifecycle, third_publish_response."""
    first = publish(witness, function)
    again = publish(witness, function, Description="another")
    assert (again["Version"], again["RevisionId"]) == (first["Version"], first["RevisionId"])
    assert again["Description"] == "ours"


def test_an_older_version_of_the_same_code_is_not_given_again(witness: Witness, function: str) -> None:
    """Documented: PublishVersion makes none if nothing changed "since the last version", and no other."""
    first, second = two_versions(witness, function)
    update(witness, function, "first")
    third = publish(witness, function)
    assert (first, second, third["Version"]) == ("1", "2", "3")


def test_a_version_is_described_as_its_publication_says(witness: Witness, function: str) -> None:
    """Recorded: test_version_lifecycle, first_publish_response: $LATEST keeps its own description."""
    version = publish(witness, function)
    assert version["Description"] == "ours"
    assert latest(witness, function)["Description"] != "ours"


def test_a_publication_with_another_revision_is_412(witness: Witness, function: str) -> None:
    """Recorded: test_publish_with_wrong_revisionid."""
    current = latest(witness, function)
    answer = refusal(
        witness.client("lambda").publish_version,
        FunctionName=function,
        CodeSha256=current["CodeSha256"],
        RevisionId=WRONG,
        Description="",
    )
    assert answer[:2] == ("PreconditionFailedException", 412)


def test_a_publication_with_another_hash_is_an_invalid_parameter(witness: Witness, function: str) -> None:
    """Recorded: test_publish_with_wrong_sha256."""
    current = latest(witness, function)
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    answer = refusal(
        witness.client("lambda").publish_version,
        FunctionName=function,
        CodeSha256=other,
        RevisionId=current["RevisionId"],
        Description="",
    )
    assert answer[:2] == ("InvalidParameterValueException", 400)
    assert "is different from current CodeSHA256 in $LATEST" in answer[2]


@pytest.mark.parametrize("qualifier", ["99", "$LATEST"])
def test_a_function_or_version_that_does_not_exist_is_404(
    witness: Witness, function: str, qualifier: str
) -> None:
    """Recorded: test_ops_on_nonexisting_fn, test_ops_on_nonexisting_version: the same words for both."""
    name = function if qualifier == "99" else f"{function}-none"
    answer = refusal(witness.client("lambda").get_function, FunctionName=name, Qualifier=qualifier)
    assert answer[:2] == ("ResourceNotFoundException", 404)
    assert answer[2].startswith("Function not found: arn:aws:lambda:")


# Aliases


def test_an_alias_that_does_not_exist_is_404(witness: Witness, function: str) -> None:
    """Recorded: test_notfound_and_invalid_routingconfigs, alias_does_not_exist_esc."""
    answer = refusal(witness.client("lambda").get_alias, FunctionName=function, Name="prod")
    assert answer[:2] == ("ResourceNotFoundException", 404)
    assert answer[2].startswith("Cannot find alias arn: arn:aws:lambda:")


def test_an_alias_that_exists_is_409(witness: Witness, function: str) -> None:
    """Recorded: test_notfound_and_invalid_routingconfigs, routing_config_exc_already_exist."""
    version = publish(witness, function)["Version"]
    create_alias(witness, function, version)
    answer = refusal(
        witness.client("lambda").create_alias,
        FunctionName=function,
        Name="prod",
        FunctionVersion=version,
        Description="",
    )
    assert answer[:2] == ("ResourceConflictException", 409)
    assert answer[2].startswith("Alias already exists: ")


def test_a_new_alias_has_no_routing(witness: Witness, function: str) -> None:
    """Recorded: test_alias_lifecycle, create_alias_1_2 and get_alias_1_2: `RoutingConfig` is left out."""
    created = create_alias(witness, function, publish(witness, function)["Version"])
    read = witness.client("lambda").get_alias(FunctionName=function, Name="prod")
    assert "RoutingConfig" not in created
    assert "RoutingConfig" not in read
    assert (read["FunctionVersion"], read["Description"]) == ("1", "ours")
    assert created["RevisionId"] == read["RevisionId"]


def test_an_alias_moves_with_its_revision_and_keeps_its_description(witness: Witness, function: str) -> None:
    """Recorded: test_alias_lifecycle, update_alias_1_1 and 1_2; an update without a description keeps it."""
    first, second = two_versions(witness, function)
    created = create_alias(witness, function, first)
    lambda_ = witness.client("lambda")
    split = lambda_.update_alias(**move(function, first, created["RevisionId"], {second: 0.1}))
    assert split["RoutingConfig"]["AdditionalVersionWeights"] == {second: 0.1}
    moved = lambda_.update_alias(**move(function, second, split["RevisionId"]))
    assert moved["FunctionVersion"] == second
    assert not moved.get("RoutingConfig", {}).get("AdditionalVersionWeights")
    assert moved["Description"] == "ours"
    assert len({created["RevisionId"], split["RevisionId"], moved["RevisionId"]}) == 3


def test_an_update_that_changes_nothing_still_moves_the_revision(witness: Witness, function: str) -> None:
    """Recorded: test_alias_lifecycle, update_alias_1_2. Fences rest on it."""
    created = create_alias(witness, function, publish(witness, function)["Version"])
    again = witness.client("lambda").update_alias(**move(function, "1", created["RevisionId"]))
    assert again["RevisionId"] != created["RevisionId"]


def test_an_alias_of_another_revision_is_412(witness: Witness, function: str) -> None:
    """Recorded: test_function_revisions_version_and_alias, update_alias_revision_exception."""
    create_alias(witness, function, publish(witness, function)["Version"])
    answer = refusal(witness.client("lambda").update_alias, **move(function, "1", WRONG))
    assert answer[:2] == ("PreconditionFailedException", 412)


def test_publishing_leaves_the_alias_as_it_is(witness: Witness, function: str) -> None:
    """Recorded: test_function_revisions_version_and_alias: alias and function have revisions of their own."""
    created = create_alias(witness, function, publish(witness, function)["Version"])
    update(witness, function, "second")
    publish(witness, function)
    read = witness.client("lambda").get_alias(FunctionName=function, Name="prod")
    assert (read["FunctionVersion"], read["RevisionId"]) == ("1", created["RevisionId"])


def test_an_alias_that_does_not_exist_cannot_be_moved(witness: Witness, function: str) -> None:
    """Recorded: test_non_existent_alias_update."""
    version = publish(witness, function)["Version"]
    answer = refusal(witness.client("lambda").update_alias, **move(function, version, WRONG))
    assert answer[:2] == ("ResourceNotFoundException", 404)
    assert answer[2].startswith("Alias not found: ")


@pytest.mark.parametrize("where", ["version", "weights"])
def test_an_alias_cannot_lead_to_a_version_that_does_not_exist(
    witness: Witness, function: str, where: str
) -> None:
    """Recorded: test_notfound_and_invalid_routingconfigs, target_version_doesnotexist and its sibling."""
    created = create_alias(witness, function, publish(witness, function)["Version"])
    version, weights = ("99", None) if where == "version" else ("1", {"99": 0.1})
    answer = refusal(
        witness.client("lambda").update_alias, **move(function, version, created["RevisionId"], weights)
    )
    assert answer[:2] == ("ResourceNotFoundException", 404)
    assert answer[2].startswith("Function not found: ")
    assert ":99" in answer[2]


def test_weights_cannot_name_the_version_itself(witness: Witness, function: str) -> None:
    """Recorded: test_notfound_and_invalid_routingconfigs, routing_config_exc_sameversion."""
    created = create_alias(witness, function, publish(witness, function)["Version"])
    answer = refusal(
        witness.client("lambda").update_alias, **move(function, "1", created["RevisionId"], {"1": 0.5})
    )
    assert answer[:2] == ("InvalidParameterValueException", 400)


def test_an_alias_is_deleted_as_often_as_asked(witness: Witness, function: str) -> None:
    """Recorded: DeleteAlias of an alias that does not exist is 204."""
    create_alias(witness, function, publish(witness, function)["Version"])
    lambda_ = witness.client("lambda")
    lambda_.delete_alias(FunctionName=function, Name="prod")
    lambda_.delete_alias(FunctionName=function, Name="prod")
    assert refusal(lambda_.get_alias, FunctionName=function, Name="prod")[1] == 404


def test_no_provisioned_concurrency_is_404_with_a_code_of_its_own(witness: Witness, function: str) -> None:
    """Recorded: test_provisioned_concurrency_exceptions, get_provisioned_config_doesnotexist."""
    create_alias(witness, function, publish(witness, function)["Version"])
    answer = refusal(
        witness.client("lambda").get_provisioned_concurrency_config, FunctionName=function, Qualifier="prod"
    )
    assert answer[:2] == ("ProvisionedConcurrencyConfigNotFoundException", 404)


def test_provisioned_concurrency_of_no_alias_is_404(witness: Witness, function: str) -> None:
    """Recorded: test_provisioned_concurrency_exceptions, get_provisioned_qualifier_doesnotexist."""
    answer = refusal(
        witness.client("lambda").get_provisioned_concurrency_config, FunctionName=function, Qualifier="none"
    )
    assert answer[:2] == ("ResourceNotFoundException", 404)
    assert answer[2].startswith("Cannot find alias arn: ")


@pytest.mark.parametrize("name", ["none", "prod"])
def test_an_alias_of_no_function_is_404(witness: Witness, function: str, name: str) -> None:
    """Recorded: test_provisioned_concurrency_exceptions, get_provisioned_functionname_doesnotexist.

    The words are those of an alias that does not exist: they do not tell the two apart.
    """
    lambda_ = witness.client("lambda")
    answer = refusal(lambda_.get_alias, FunctionName=f"{function}-none", Name=name)
    assert answer[:2] == ("ResourceNotFoundException", 404)
