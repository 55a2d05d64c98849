"""The watchdog, by a clock moved by hand."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from asgi_redis_guard.pubsub.watchdog import Watchdog
from tests.pubsub.clockwork import Clockwork


@dataclass
class Line:
    last_byte: float


class Case:
    """A watchdog that barks into a list."""

    def __init__(self) -> None:
        self.clock = Clockwork()
        self.said: list[str] = []
        self.dog = Watchdog(
            cast(Any, self.clock),
            interval=2.0,
            timeout=1.0,
            ping=lambda: self.said.append("ping"),
            dead=self.dead,
        )
        self.line = Line(self.clock.now)
        self.dog.watch(self.line)

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
        case.line.last_byte = case.clock.now
    assert case.said == []


def test_any_byte_is_a_sign_of_life(case: Case) -> None:
    case.clock.advance(2.5)
    case.line.last_byte = case.clock.now
    case.clock.advance(1.9)
    assert case.said == ["ping"]
    case.clock.advance(0.2)
    assert case.said == ["ping", "ping"]


def test_an_answer_within_the_same_tick_of_the_clock_counts(case: Case) -> None:
    case.clock.advance(2.0)
    case.line.last_byte = case.clock.now
    case.clock.advance(1.5)
    assert case.said == ["ping"]


def test_bytes_read_in_the_pass_after_the_deadline_still_count(case: Case) -> None:
    case.clock.advance(2.0)
    case.clock.advance(1.0)  # the loop was blocked over the deadline; the answer lies in the socket
    case.line.last_byte = case.clock.now
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
    case.dog.watch(Line(case.clock.now))
    case.clock.advance(1.5)
    assert case.said == []
    assert len(case.clock.due) == 1
