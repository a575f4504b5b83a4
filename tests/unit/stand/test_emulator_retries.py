"""How long Step Functions waits between retries."""

from typing import Any

import pytest

from stand.emulator_retries import delay

CAPPED = {"IntervalSeconds": 2, "BackoffRate": 2, "MaxDelaySeconds": 30}


@pytest.mark.parametrize(
    ("retrier", "retries", "seconds"),
    [
        ({}, 0, 1),
        ({}, 3, 8),
        (CAPPED, 0, 2),
        (CAPPED, 3, 16),
        (CAPPED, 9, 30),
        ({**CAPPED, "JitterStrategy": "NONE"}, 9, 30),
        ({**CAPPED, "JitterStrategy": "FULL"}, 9, 7.5),
        ({**CAPPED, "JitterStrategy": "FULL"}, 0, 0.5),
    ],
)
def test_a_delay_grows_to_its_maximum_and_is_drawn_below_it(
    retrier: dict[str, Any], retries: int, seconds: float
) -> None:
    assert delay(retrier, retries, 0.25) == seconds
