"""`observability/events.py`: events are values, and hooks that fail are nobody else's trouble."""

import dataclasses
import logging

import pytest

from asgi_redis_guard import Decision
from asgi_redis_guard.observability import events
from asgi_redis_guard.testing import ManualClock

EVENT = Decision("limit", "ratelimit", "refused", "rate_limited", 429, False, "http", "GET", "/")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock that the log's quiet minute runs on; none runs when a test begins."""
    clock = ManualClock()

    class Clock:
        monotonic = staticmethod(clock)

    monkeypatch.setattr(events, "time", Clock)
    monkeypatch.setattr(events, "_quiet_until", 0.0)
    return clock


def fail(event: Decision) -> None:
    raise LookupError


def test_a_decision_cannot_be_changed_by_the_hook_that_gets_it() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EVENT.status = 200  # type: ignore[misc]
    assert not hasattr(EVENT, "__dict__")


def test_hooks_are_called_in_their_order_with_the_event_itself(clock: ManualClock) -> None:
    got: list[tuple[int, Decision]] = []
    events.emit([lambda event: got.append((1, event)), lambda event: got.append((2, event))], EVENT)
    assert [number for number, _ in got] == [1, 2]
    assert all(event is EVENT for _, event in got)


def test_a_hook_that_keeps_failing_is_logged_once_a_minute(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for seconds, lines in ((0, 1), (0, 1), (59, 1), (1, 2), (30, 2), (30, 3)):
        clock.advance(seconds)
        events.emit([fail], EVENT)
        assert len(caplog.records) == lines
    assert {record.exc_info and record.exc_info[0] for record in caplog.records} == {LookupError}


def test_what_is_no_error_goes_its_way(clock: ManualClock) -> None:
    def stop(event: Decision) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        events.emit([stop], EVENT)
