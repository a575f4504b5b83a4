"""What is made with a session is kept as long as the session, less a margin."""

import pytest

from sluicegate.aws.role_sessions import SessionCache

LASTING = 900 - 120


def test_a_session_is_used_until_shortly_before_it_ends() -> None:
    cache: SessionCache[str, object] = SessionCache(renew_before=120)
    first = cache.get("a", 0.0, object)
    assert cache.get("a", LASTING - 1, object) is first
    second = cache.get("a", LASTING, object)
    assert second is not first
    assert cache.get("a", LASTING + 1, object) is second


def test_no_two_keys_share_a_session() -> None:
    cache: SessionCache[str, object] = SessionCache(renew_before=120)
    one, other = cache.get("a", 0.0, object), cache.get("b", 0.0, object)
    assert one is not other
    cache.forget("a")
    assert cache.get("a", 1.0, object) is not one
    assert cache.get("b", 1.0, object) is other


def test_what_cannot_be_entered_is_tried_again() -> None:
    cache: SessionCache[str, str] = SessionCache(renew_before=120)

    def refuse() -> str:
        raise PermissionError

    for _ in range(2):
        with pytest.raises(PermissionError):
            cache.get("a", 0.0, refuse)
    assert cache.get("a", 0.0, lambda: "entered") == "entered"
