"""When Redis counts as away, and how much is said about it."""

import logging

import pytest

from asgi_redis_guard.redis.breaker import Breaker


@pytest.fixture
def opened() -> list[str]:
    return []


@pytest.fixture
def breaker(opened: list[str]) -> Breaker:
    return Breaker("redis://here", threshold=3, on_open=lambda: opened.append("open"))


def fail(breaker: Breaker, times: int, reason: str = "timeout") -> None:
    for _ in range(times):
        breaker.failed(reason)


def test_it_opens_after_as_many_failures_in_a_row_as_its_threshold(breaker: Breaker, opened: list[str]) -> None:
    fail(breaker, 2)
    assert (breaker.is_open, breaker.state, opened) == (False, "closed", [])
    fail(breaker, 1)
    assert (breaker.is_open, breaker.state, opened) == (True, "open", ["open"])


def test_an_answer_in_between_begins_the_count_again(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert not breaker.is_open


def test_a_fatal_failure_opens_it_at_once(breaker: Breaker, opened: list[str]) -> None:
    breaker.failed("wrong password", fatal=True)
    assert breaker.is_open
    assert breaker.reason == "wrong password"
    assert opened == ["open"]


def test_only_a_probe_closes_it(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.succeeded()
    assert breaker.is_open
    breaker.close()
    assert not breaker.is_open
    assert breaker.failures == 0


def test_after_closing_it_takes_a_whole_row_again(breaker: Breaker, opened: list[str]) -> None:
    fail(breaker, 3)
    breaker.close()
    fail(breaker, 2)
    assert not breaker.is_open
    fail(breaker, 1)
    assert opened == ["open", "open"]


def test_it_says_one_line_when_it_opens_and_one_when_it_closes(
    breaker: Breaker, opened: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        fail(breaker, 100, "no route")
        breaker.close()
        breaker.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Redis at redis://here is away (no route); outage policies apply",
        "Redis at redis://here is back",
    ]
    assert opened == ["open"]


def test_it_tells_the_latest_reason(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.failed("refused")
    assert breaker.reason == "refused"


def test_its_repr_tells_the_state(breaker: Breaker) -> None:
    fail(breaker, 3)
    assert repr(breaker) == "<Breaker open, 3 failures in a row>"
