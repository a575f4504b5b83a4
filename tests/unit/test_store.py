"""What the table's keeping promises by itself; how it is written and read, the rollouts' tests show."""

from sluicegate import store, token


def test_a_request_is_known_for_longer_than_any_token_can_repeat_it() -> None:
    assert store.REQUEST_KEPT > token.MAX_LIFETIME + token.LEEWAY
