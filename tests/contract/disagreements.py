"""Where a witness answers otherwise than AWS, and why the contract keeps to AWS.

Each entry is expected to fail. One that passes fails the run: then the witness has learned it.
"""

from typing import Final

from contract.witness import LOCALEMU, MINISTACK

_MOTO: Final = "moto, which LocalEmu rests on, remembers no ClientRequestToken"
_BUSY: Final = (
    "LocalEmu takes a call while an update runs; AWS answers 409 until it has ended (Lambda function states)"
)
_NAMES: Final = "LocalEmu does not validate an execution's name; AWS does (StartExecution, name)"
_TAGS: Final = "LocalEmu does not validate a tag's value; AWS does (STS API reference, Tag)"

DISAGREEMENTS: Final[dict[tuple[str, str], str]] = {
    ("test_a_transaction_sent_again_with_its_token_has_one_effect", LOCALEMU): _MOTO,
    ("test_the_token_of_another_transaction_is_refused", LOCALEMU): _MOTO,
    ("test_nothing_else_is_done_while_an_update_runs-update", LOCALEMU): _BUSY,
    ("test_nothing_else_is_done_while_an_update_runs-publish", LOCALEMU): _BUSY,
    (
        "test_an_update_that_leaves_the_key_out_drops_it",
        LOCALEMU,
    ): "LocalEmu knows no key of the code; AWS answers it (Lambda API reference, FunctionCodeLocation)",
    (
        "test_an_alias_cannot_lead_to_a_version_that_does_not_exist-version",
        LOCALEMU,
    ): "LocalEmu points an alias at anything; AWS answers 404 (recorded: target_version_doesnotexist)",
    (
        "test_an_event_that_is_refused_fails_alone",
        MINISTACK,
    ): "MiniStack takes any detail; AWS takes JSON (recorded: events/test_events.snapshot.json)",
    (
        "test_a_policy_covers_one_queue",
        LOCALEMU,
    ): "LocalEmu does not validate a queue's policy; AWS does (SQS developer guide)",
    **{
        (f"test_the_name_of_an_execution_has_a_small_alphabet-{name}", LOCALEMU): _NAMES
        for name in ("a b", "a:b", "x" * 81)
    },
    **{
        (f"test_a_tag_takes_256_characters_of_a_small_alphabet-{value}", LOCALEMU): _TAGS
        for value in ("x" * 257, "a#b", "a\nb", "a,b")
    },
    (
        "test_a_role_that_does_not_exist_is_access_denied",
        LOCALEMU,
    ): "LocalEmu assumes any role; AWS denies (IAM user guide, Troubleshoot IAM roles)",
}
"""The reason, by case (with its parameters) and witness."""
