"""The API's document is OpenAPI 3.1 and has the words of the code. The contract test holds it to the API."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

import sluicegate
from sluicegate.aws.s3 import MAX_SIZE
from sluicegate.deployment.model import AliasOutcome, Status
from sluicegate.deployment.views import plan_view, view
from sluicegate.gateway.app import ENDPOINTS, HEALTH, SESSION, WEBHOOK
from sluicegate.gateway.problems import TITLES

FILE = Path(__file__).parents[3] / "docs" / "reference" / "openapi.yaml"


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(FILE.read_text())


def test_is_openapi_3_1(document: Any) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)


def test_has_the_version_of_the_package(document: Any) -> None:
    assert document["info"]["version"] == sluicegate.__version__


def test_has_every_call_and_no_other(document: Any) -> None:
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}

    assert documented == {*ENDPOINTS, WEBHOOK, SESSION, HEALTH}


def test_has_the_words_of_a_deployment(document: Any) -> None:
    schemas = document["components"]["schemas"]

    assert schemas["Status"]["enum"] == [status.value for status in Status]
    outcomes = schemas["Deployment"]["properties"]["alias"]["properties"]["outcome"]["enum"]
    assert outcomes == [*(outcome.value for outcome in AliasOutcome), None]
    assert schemas["ArtifactRequest"]["properties"]["size"]["maximum"] == MAX_SIZE


def test_has_every_problem_and_no_other(document: Any) -> None:
    codes = set()
    for response in document["components"]["responses"].values():
        _, more = response["content"]["application/problem+json"]["schema"]["allOf"]
        code = more["properties"]["code"]
        codes |= {code["const"]} if "const" in code else set(code["enum"])

    assert codes == {*TITLES, "throttled"}  # that one is API Gateway's own answer


def test_names_every_member_of_a_deployment_and_of_a_plan(document: Any) -> None:
    from support.cli_server import succeeded

    schemas, shown = document["components"]["schemas"], view(succeeded())
    asked_for = {"observations"}  # only with `observations=all`
    assert set(schemas["Deployment"]["required"]) == set(shown)
    assert set(schemas["Deployment"]["properties"]) == set(shown) | asked_for
    assert set(schemas["Plan"]["properties"]) == set(plan_view(succeeded().plan))
