"""How the emulator deals the requests to a function URL out."""

from collections import Counter

from stand.emulator_front_doors import deal


def test_requests_are_dealt_by_the_weights_of_an_alias() -> None:
    alias = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}}
    dealt = Counter(deal(alias) for _ in range(2_000))
    assert set(dealt) == {"1", "2"}
    assert 380 < dealt["2"] < 620  # six standard deviations about 500


def test_without_weights_one_version_serves_all() -> None:
    assert {deal({"FunctionVersion": "7"}) for _ in range(20)} == {"7"}
    assert deal({"FunctionVersion": "7", "RoutingConfig": {"AdditionalVersionWeights": {"8": 1.0}}}) == "8"


def test_without_an_alias_there_is_nothing_to_deal() -> None:
    assert deal(None) is None
