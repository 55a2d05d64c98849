"""`core/admissions.py`: outages, guards that break the protocol, and exchanges that nobody waits for any more."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    Ask,
    Exchange,
    GuardProtocolError,
    OneRoundGuard,
    OperationFailed,
    Pass,
    RedisUnavailable,
)
from asgi_redis_guard import Replies as Given
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.paths import PathPatterns
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.core.steps import PASS, Admission, Body
from tests.core.stores import Replies, drive, round_of
from tests.guards import ACQUIRE, Ends, answering, asking, count, exchange, passing
from tests.guards import Does as Guard


def test_without_redis_a_guard_that_does_not_catch_it_answers_503_with_retry_after_and_counts_as_degraded() -> None:
    def open_while_away(exchange: Exchange) -> Admission:
        try:
            yield Ask([count("a")])
        except RedisUnavailable:
            return PASS
        return Answer(500, [])

    admissions = Admissions([Guard(open_while_away), asking(count("b"))], exchange())
    round_of(admissions)
    admissions.failed(RedisUnavailable())
    assert admissions.advance() is None
    assert admissions.answered_by == 1
    assert admissions.answer is not None
    assert admissions.answer.status == 503
    assert (b"retry-after", b"1") in admissions.answer.headers
    assert list(admissions.degraded) == [0, 1]


def test_an_operation_that_failed_fails_its_own_guard_alone() -> None:
    seen: list[Any] = []

    def careful(exchange: Exchange) -> Admission:
        try:
            yield Ask([count("a")])
        except OperationFailed as error:
            seen.append(error.code)
        return PASS

    admissions = Admissions([Guard(careful), asking(count("b"))], exchange())
    round_of(admissions)
    admissions.replied([b"OOM command not allowed", 0, 1, 0])
    assert admissions.advance() is None
    assert admissions.answer is None
    assert (seen, list(admissions.degraded)) == (["OOM"], [0])


def _falls_off(exchange: Exchange) -> Any:
    yield Ask([count("a")])


def _ends_at_once(exchange: Exchange) -> Any:
    return
    yield


def _yields_junk(exchange: Exchange) -> Any:
    yield "please"
    return PASS


def _yields_junk_later(exchange: Exchange) -> Any:
    yield Ask([count("a")])
    yield PASS


def _returns_junk(exchange: Exchange) -> Any:
    return "passed"
    yield


def _returns_the_class(exchange: Exchange) -> Any:
    yield Ask([count("a")])
    return Pass


@pytest.mark.parametrize(
    "admit",
    [
        _falls_off,
        _ends_at_once,
        _yields_junk,
        _yields_junk_later,
        _returns_junk,
        _returns_the_class,
        lambda exchange: PASS,
        lambda exchange: None,
    ],
)
def test_a_guard_that_breaks_the_protocol_is_named(admit: Callable[[Exchange], Any]) -> None:
    admissions = Admissions([passing(), Guard(admit, name="culprit"), passing()], exchange())
    with pytest.raises(GuardProtocolError, match="<Does culprit>"):
        drive(admissions, Replies())
    assert admissions.answer is None


def test_a_guard_whose_exemption_is_no_verdict_is_named_and_lets_nobody_through() -> None:
    guard = passing(name="culprit", exempt=PathPatterns(["/"]))
    guard.exempted = lambda exchange: None  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(GuardProtocolError, match="<Does culprit>"):
        Admissions([guard, answering(Answer(401, []))], exchange()).advance()


def test_a_type_error_inside_a_guard_stays_one() -> None:
    def broken(exchange: Exchange) -> Any:
        len(1)  # type: ignore[arg-type]
        yield

    with pytest.raises(TypeError, match="len"):
        Admissions([Guard(broken)], exchange()).advance()


def test_a_guard_that_fails_behind_a_refusal_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(exchange: Exchange) -> Admission:
        yield Ask([count("b")])
        raise LookupError

    def refusing(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        return Answer(403, [])

    holder = Ends()
    admissions = Admissions([Guard(refusing), Guard(broken, name="broken"), passing(holder)], exchange())
    drive(admissions, Replies())
    assert admissions.answer is not None
    assert admissions.answer.status == 403
    assert admissions.orphans == [holder]
    assert "<Does broken> failed after the exchange had been decided" in caplog.text


def test_abandoned_guards_with_a_reply_decide_and_the_others_are_closed() -> None:
    closed: list[str] = []

    def waiting(exchange: Exchange) -> Admission:
        try:
            yield Ask([count("again")])
        except GeneratorExit:
            closed.append("waiting")
            raise
        return PASS

    holder = Ends()
    admissions = Admissions([asking(count("a"), responder=holder), Guard(waiting)], exchange())
    round_of(admissions)
    admissions.replied([1, 0, 3, 0])
    admissions.abandon()
    assert admissions.orphans == [holder]
    assert closed == ["waiting"]


class Once(OneRoundGuard):
    """Asks once, and fails in its verdict as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def ask(self, exchange: Exchange) -> Ask:
        return Ask([count("a")])

    def decide(self, exchange: Exchange, replies: Given) -> Pass:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [LookupError("own"), StopIteration()])
def test_a_guard_that_fails_in_its_verdict_is_asked_for_it_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Once(error)
    admissions = Admissions([guard], exchange())
    round_of(admissions)
    admissions.replied([1, 0])
    with pytest.raises(type(error)):
        admissions.advance()
    admissions.abandon()
    assert guard.calls == 1
    assert caplog.records == []


def test_a_lease_of_a_guard_that_asks_again_is_given_back_where_a_guard_before_it_refuses() -> None:
    ends = Ends()

    def holding(exchange: Exchange) -> Admission:
        yield Ask([Operation(ACQUIRE, (b"lock",), ("me",))])
        try:
            yield Ask([count("b")])
        except GeneratorExit:
            return Pass(responder=ends)
        return Pass(responder=ends)

    def refusing(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        yield Ask([count("a")])
        return Answer(403, [])

    admissions = Admissions([Guard(refusing), Guard(holding)], exchange())
    round_of(admissions)
    admissions.replied([1, 1, 1])
    round_of(admissions)
    admissions.replied([1, 2, 1, 1])
    assert admissions.advance() is None
    assert admissions.answered_by == 0
    assert admissions.orphans == [ends]


def test_a_lease_of_a_guard_that_asks_again_is_given_back_where_nobody_waits_any_more() -> None:
    ends = Ends()

    def holding(exchange: Exchange) -> Admission:
        yield Ask([Operation(ACQUIRE, (b"lock",), ("me",))])
        with suppress(GeneratorExit):
            yield Body(10)
        return Pass(responder=ends)

    admissions = Admissions([Guard(holding)], exchange())
    round_of(admissions)
    admissions.replied([1])
    assert isinstance(admissions.advance(), Body)
    admissions.abandon()
    assert admissions.orphans == [ends]


def test_a_guard_that_goes_on_when_it_is_to_end_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    def stubborn(exchange: Exchange) -> Admission:
        while True:
            try:
                yield Ask([count("a")])
            except GeneratorExit:
                yield Ask([count("b")])

    admissions = Admissions([Guard(stubborn)], exchange())
    round_of(admissions)
    admissions.abandon()
    assert "yielded" in str(caplog.records[0].exc_info)


def test_without_redis_what_stands_behind_a_refusal_leaves_no_trace() -> None:
    told: list[str] = []

    class Counting(OneRoundGuard):
        kind = "counting"

        def ask(self, exchange: Exchange) -> Ask:
            return Ask([count("b")])

        def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass:
            told.append("counted")
            return PASS

    admissions = Admissions([asking(count("a")), Counting()], exchange())
    round_of(admissions)
    admissions.failed(RedisUnavailable())
    assert admissions.advance() is None
    assert (admissions.answered_by, told) == (0, [])


def test_without_redis_a_guard_behind_a_refusal_that_may_hold_something_is_heard() -> None:
    ends = Ends()

    def holding(exchange: Exchange) -> Admission:
        try:
            yield Ask([Operation(ACQUIRE, (b"lock",), ("me",))])
        except RedisUnavailable:
            return Pass(responder=ends)
        return PASS

    admissions = Admissions([asking(count("a")), Guard(holding)], exchange())
    round_of(admissions)
    admissions.failed(RedisUnavailable(maybe_executed=True))
    assert admissions.advance() is None
    assert admissions.orphans == [ends]


def test_the_503_of_a_guard_that_does_not_catch_it_goes_through_on_refused() -> None:
    guard = asking(count("a"))
    guard.on_refused = lambda exchange, answer: Answer(answer.status, [], b"ours")
    admissions = Admissions([guard], exchange())
    round_of(admissions)
    admissions.failed(RedisUnavailable())
    admissions.advance()
    assert admissions.answer is not None
    assert (admissions.answer.status, admissions.answer.body) == (503, b"ours")
