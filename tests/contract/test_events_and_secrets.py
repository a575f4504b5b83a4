"""EventBridge and Secrets Manager as AWS answers them: events are taken one by one, and secrets are read.

Documented: EventBridge API reference, PutEvents; Secrets Manager API reference, GetSecretValue; read on 26
November 2026.
"""

from typing import Any

import pytest

from contract.witness import Emulator, Witness, refusal, unique


@pytest.fixture(autouse=True)
def _emulated(witness: Witness) -> None:
    if not isinstance(witness, Emulator):
        pytest.skip("the unit tests have no model with boto3's methods")


def event(**changed: Any) -> dict[str, Any]:
    return {"Source": "sluicegate", "DetailType": "Sluicegate Deployment", "Detail": "{}", **changed}


def test_an_event_that_is_taken_has_an_id(witness: Witness) -> None:
    answer = witness.client("events").put_events(Entries=[event()])
    assert answer["FailedEntryCount"] == 0
    assert answer["Entries"][0]["EventId"]


def test_an_event_that_is_refused_fails_alone(witness: Witness) -> None:
    """Documented: entries fail one by one, with 200 for the call."""
    answer = witness.client("events").put_events(Entries=[event(Detail="not json"), event()])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "MalformedDetail"
    assert answer["Entries"][1]["EventId"]


def test_a_secret_that_does_not_exist_is_not_found(witness: Witness) -> None:
    """Documented: ResourceNotFoundException, with the status 400."""
    answer = refusal(witness.client("secretsmanager").get_secret_value, SecretId=unique())
    assert answer[:2] == ("ResourceNotFoundException", 400)


def test_a_secret_has_its_latest_value(witness: Witness) -> None:
    secrets, name = witness.client("secretsmanager"), unique()
    secrets.create_secret(Name=name, SecretString="first")
    secrets.put_secret_value(SecretId=name, SecretString="second")
    answer = secrets.get_secret_value(SecretId=name)
    assert (answer["SecretString"], answer["VersionStages"]) == ("second", ["AWSCURRENT"])
