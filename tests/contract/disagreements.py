"""Where a witness answers otherwise than AWS, and why the contract keeps to AWS.

Each entry is expected to fail. One that passes fails the run: then the witness has learned it.
"""

from typing import Final

from contract.witness import LOCALEMU, MINISTACK, MOTO

_MOTO: Final = "moto, which LocalEmu rests on, remembers no ClientRequestToken"
_BUSY: Final = (
    "LocalEmu takes a call while an update runs; AWS answers 409 until it has ended (Lambda function states)"
)
_NAMES: Final = "LocalEmu does not validate an execution's name; AWS does (StartExecution, name)"
_TAGS: Final = "LocalEmu does not validate a tag's value; AWS does (STS API reference, Tag)"

_WEB: Final = (
    "LocalEmu denies every web identity here, and reads neither signature nor issuer nor time; AWS does "
    "(AssumeRoleWithWebIdentity)"
)
_WEB_CASES: Final = (
    "test_a_job_assumes_its_role",
    "test_the_audience_is_a_client_id_of_the_provider",
    "test_the_authorized_party_takes_the_place_of_the_audience",
    *(f"test_the_issuer_is_the_providers_url_to_the_last_slash-{added}" for added in ("/", "/other")),
    "test_an_expired_token_is_refused_as_expired",
    *(
        f"test_a_token_that_the_issuer_did_not_sign_is_refused-{fault}"
        for fault in ("signature", "key", "algorithm", "no token")
    ),
    "test_a_key_that_the_issuer_does_not_publish_is_no_key",
    "test_access_is_denied_without_a_reason",
    "test_a_session_lasts_as_long_as_the_role_allows",
    *(
        f"test_what_a_token_adds_to_the_session_needs_the_roles_consent-{action}"
        for action in ("sts:TagSession", "sts:SetSourceIdentity")
    ),
    "test_a_session_ends_with_its_role",
    "test_a_trust_policy_forgets_a_role_that_is_made_again",
    "test_a_target_takes_its_deployer_with_external_id_and_source_identity",
    *(
        f"test_source_identity_and_tags_need_the_targets_consent-{missing}"
        for missing in ("sts:SetSourceIdentity", "sts:TagSession")
    ),
    "test_a_source_identity_stays",
)
_SOURCE: Final = "LocalEmu decides before it validates a source identity; AWS validates (AssumeRole)"
_PROVIDERS: Final = (
    "LocalEmu words an OIDC provider's errors otherwise, or has none (recorded: test_iam_oidc)"
)
_STATISTICS: Final = (
    "LocalEmu fails on statistics by thresholds; AWS documents them (user guide, CloudWatch statistics "
    "definitions)"
)
_REFUSALS: Final = "LocalEmu fails on a statistic that does not exist; AWS refuses it (GetMetricData)"

_LARGE: Final = "moto measures items otherwise; AWS documents how (developer guide, Item sizes and formats)"
_MOTOS: Final = {
    "test_an_update_that_is_wrong_is_refused_and_writes_nothing-SET a = :a-{'a': {'SS': []}}": (
        "moto keeps an empty set; AWS refuses it (Supported data types, Sets)"
    ),
    "test_a_number_has_no_zeros_that_say_nothing": (
        "moto keeps zeros that say nothing; AWS trims them (Supported data types, Number)"
    ),
    "test_a_condition_holds_or_does_not-n > :text-False": (
        "moto fails on two types; AWS orders them not (Comparison operator reference)"
    ),
    "test_an_item_has_400_kb": _LARGE,
    "test_a_transaction_that_makes_an_item_too_large_says_which": _LARGE,
    "test_a_transaction_sent_again_with_its_token_has_one_effect": _MOTO,
    "test_the_token_of_another_transaction_is_refused": _MOTO,
}

DISAGREEMENTS: Final[dict[tuple[str, str], str]] = {
    **{(case, MOTO): reason for case, reason in _MOTOS.items()},
    **{(case, LOCALEMU): reason for case, reason in _MOTOS.items()},
    (
        "test_an_update_that_is_wrong_is_refused_and_writes_nothing-SET a = :a, a = :b-"
        "{'a': {'S': '1'}, 'b': {'S': '2'}}",
        MINISTACK,
    ): "MiniStack takes two changes of one attribute; AWS refuses them (Using update expressions)",
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
    **{(case, LOCALEMU): _WEB for case in _WEB_CASES},
    **{
        (f"test_a_range_leaves_its_lower_bound_out-{statistic}", LOCALEMU): _STATISTICS
        for statistic in (
            "TC(100:)-4.0",
            "TC(:100)-6.0",
            "TC(100:400)-3.0",
            "TC(99.5:)-7.0",
            "TC(0:)-10.0",
            "PR(:400)-90.0",
        )
    },
    **{
        (f"test_a_statistic_that_does_not_exist_is_refused-{statistic}", LOCALEMU): _REFUSALS
        for statistic in ("TC(:)", "TC(1)", "Median", "p101")
    },
    (
        "test_the_newest_value_comes_first_and_each_has_its_minute",
        LOCALEMU,
    ): "LocalEmu begins at the very second; AWS cuts a start to its minute (GetMetricData, StartTime)",
    (
        "test_an_alarm_has_the_state_that_it_was_set_to_since_then_and_the_reason",
        LOCALEMU,
    ): "LocalEmu keeps the first reason of a state; AWS has that of the last call (SetAlarmState)",
    (
        "test_a_composite_alarm_rings_with_its_child_and_names_it",
        LOCALEMU,
    ): "LocalEmu never evaluates a composite alarm; AWS does (user guide, Combining alarms)",
    **{
        (f"test_a_source_identity_has_a_small_alphabet-{value}", LOCALEMU): _SOURCE
        for value in ("a b", "ada:1", "ä" * 2)
    },
    **{
        (case, LOCALEMU): _PROVIDERS
        for case in (
            "test_a_provider_exists_once",
            "test_a_provider_that_is_not_there",
            "test_a_providers_url_is_https",
        )
    },
    (
        "test_a_role_that_does_not_exist_is_access_denied",
        LOCALEMU,
    ): "LocalEmu assumes any role; AWS denies (IAM user guide, Troubleshoot IAM roles)",
}
"""The reason, by case (with its parameters) and witness."""
