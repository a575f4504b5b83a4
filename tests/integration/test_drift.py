"""What somebody else changes is seen, heard and shown, with the rights of the real roles, and left alone."""

from typing import Any

from stand import Stand, package
from stand.listener import Listener, listening

SOURCE = "def handler(event, context):\n    return {}\n"


def release(stand: Stand, function: str, code: str) -> tuple[dict[str, Any], str]:
    token = stand.token()
    sha256 = stand.upload(function, package(f"# {code}\n{SOURCE}"), token=token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    answer = stand.http("POST", "/deployments", body, token=token)
    assert answer.status_code == 202, answer.text
    done = stand.wait(answer.json()["id"], token=token)
    assert done["status"] == "succeeded", done
    return done, token


def look(stand: Stand) -> list[str]:
    """Look now; the ids of the drift that has changed."""
    answer = stand.invoke("sluicegate-drift")
    assert answer.get("finished"), answer
    found: list[str] = answer["changed"]
    return found


def heard(listener: Listener, ids: list[str], function: str, revision: int) -> dict[str, Any] | None:
    for id_ in ids:
        for event in listener.until(id_, revision):
            detail: dict[str, Any] = event["detail"]
            if (detail["function"], detail["revision"]) == (function, revision):
                assert event["detail-type"] == "Sluicegate Drift"
                return detail
    return None


def codes(findings: list[dict[str, Any]]) -> list[str]:
    return [one["code"] for one in findings]


def test_an_alias_moved_by_hand_and_a_trigger_past_it_are_seen_until_they_are_gone(
    stand: Stand, function: str
) -> None:
    first, _ = release(stand, function, "first")
    second, token = release(stand, function, "second")
    lambda_, alias = stand.client("lambda"), second["alias"]["name"]

    def shown() -> Any:
        return stand.http("GET", f"/functions/{function}", token=token).json()["stages"]["dev"]["drift"]

    with listening(stand) as listener:
        look(stand)
        assert shown() is None
        lambda_.update_alias(FunctionName=function, Name=alias, FunctionVersion=first["version"])
        began = heard(listener, look(stand), function, 1)
        assert began is not None
        assert (began["status"], codes(began["findings"])) == ("began", ["alias_moved"])
        assert codes(shown()["findings"]) == ["alias_moved"]
        # It is seen, and not fought.
        assert stand.alias_state(function, alias) == {"version": first["version"], "weights": {}}
        assert began["id"] not in look(stand)

        lambda_.add_permission(
            FunctionName=function,
            StatementId="past-the-alias",
            Action="lambda:InvokeFunction",
            Principal="sns.amazonaws.com",
        )
        look(stand)
        changed = heard(listener, [began["id"]], function, 2)
        assert changed is not None
        assert (changed["status"], codes(changed["began"])) == ("changed", ["permission"])

        lambda_.remove_permission(FunctionName=function, StatementId="past-the-alias")
        lambda_.update_alias(FunctionName=function, Name=alias, FunctionVersion=second["version"])
        look(stand)
        ended = heard(listener, [began["id"]], function, 3)
        assert ended is not None
        assert (ended["status"], ended["findings"]) == ("ended", [])
        assert shown() is None


def test_settings_that_the_next_deployment_would_publish_are_shown_by_name(
    stand: Stand, function: str
) -> None:
    _, token = release(stand, function, "first")
    stand.client("lambda").update_function_configuration(
        FunctionName=function, Environment={"Variables": {"PASSWORD": "hunter2-hunter2"}}
    )
    stand.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=function)
    look(stand)
    answer = stand.http("GET", f"/functions/{function}", token=token)
    [finding] = answer.json()["stages"]["dev"]["drift"]["findings"]
    assert (finding["code"], finding["data"]["variables"]) == ("settings_changed", ["PASSWORD"])
    assert "hunter2" not in answer.text
