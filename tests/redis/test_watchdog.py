"""The watchdog, by a clock moved by hand."""

from typing import Any, cast

import pytest

from asgi_redis_guard.redis.watchdog import Watchdog
from tests.clockwork import Clockwork


class Case:
    """A watchdog that barks into a list."""

    def __init__(self) -> None:
        self.clock = Clockwork()
        self.said: list[str] = []
        self.dog = Watchdog(
            cast(Any, self.clock),
            interval=2.0,
            timeout=1.0,
            silent_since=lambda: self.last_byte,
            ping=lambda: self.said.append("ping"),
            dead=self.dead,
        )
        self.last_byte: float | None = self.clock.now
        self.dog.wake()

    def dead(self) -> None:
        self.said.append("dead")
        self.dog.stop()


@pytest.fixture
def case() -> Case:
    return Case()


def test_silence_is_answered_with_a_ping_and_more_silence_is_death(case: Case) -> None:
    case.clock.advance(1.99)
    assert case.said == []
    case.clock.advance(0.01)
    assert case.said == ["ping"]
    case.clock.advance(0.99)
    assert case.said == ["ping"]
    case.clock.advance(0.1)
    assert case.said == ["ping", "dead"]
    assert case.clock.due == []


def test_traffic_needs_no_ping(case: Case) -> None:
    for _ in range(10):
        case.clock.advance(1.5)
        case.last_byte = case.clock.now
    assert case.said == []


def test_any_byte_is_a_sign_of_life(case: Case) -> None:
    case.clock.advance(2.5)
    case.last_byte = case.clock.now
    case.clock.advance(1.9)
    assert case.said == ["ping"]
    case.clock.advance(0.2)
    assert case.said == ["ping", "ping"]


def test_an_answer_within_the_same_tick_of_the_clock_counts(case: Case) -> None:
    case.clock.advance(2.0)
    case.last_byte = case.clock.now
    case.clock.advance(1.5)
    assert case.said == ["ping"]


def test_bytes_read_in_the_pass_after_the_deadline_still_count(case: Case) -> None:
    case.clock.advance(2.0)
    case.clock.advance(1.0)  # the loop was blocked over the deadline; the answer lies in the socket
    case.last_byte = case.clock.now
    case.clock.advance(0.5)
    assert case.said == ["ping"]


def test_a_stopped_watchdog_is_silent(case: Case) -> None:
    case.clock.advance(2.5)
    case.dog.stop()
    case.clock.advance(100)
    assert case.said == ["ping"]
    assert case.clock.due == []


def test_a_new_line_takes_the_place_of_the_old_one(case: Case) -> None:
    case.clock.advance(1.0)
    case.last_byte = case.clock.now
    case.dog.wake()
    case.clock.advance(1.5)
    assert case.said == []
    assert len(case.clock.due) == 1


def test_where_nothing_is_owed_silence_means_nothing_and_no_timer_is_kept(case: Case) -> None:
    case.last_byte = None
    case.clock.advance(100)
    assert (case.said, case.clock.due) == ([], [])
    case.last_byte = case.clock.now
    case.dog.wake()
    case.clock.advance(3.1)
    assert case.said == ["ping", "dead"]


def test_what_is_answered_and_owes_nothing_more_is_left_alone(case: Case) -> None:
    case.clock.advance(2.0)
    case.last_byte = None
    case.clock.advance(100)
    assert (case.said, case.clock.due) == (["ping"], [])


def test_time_in_which_the_loop_was_held_up_is_given_back(case: Case) -> None:
    case.clock.advance(2.0)
    case.clock.now += 1.5  # half a second later than the answer was due
    case.clock.advance(0.49)
    assert case.said == ["ping"]
    case.clock.advance(0.1)
    assert case.said == ["ping", "dead"]
