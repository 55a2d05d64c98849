"""The clock set by hand."""

import pytest

from asgi_redis_guard.testing import ManualClock


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(10)
    clock.advance(2.5)
    assert clock() == clock() == 12.5
    clock.set(3)
    assert clock() == 3
    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)
