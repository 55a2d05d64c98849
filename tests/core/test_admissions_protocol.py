"""`core/admissions.py`: what travels together, who starts when, and where facts and replies go."""

from collections.abc import Sequence

import pytest

from asgi_redis_guard import Answer, Ask, Exchange, Operation, OperationFailed, Pass
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.paths import PathPatterns
from asgi_redis_guard.core.rounds import read_replies
from asgi_redis_guard.core.script import OperationKind, Reply, place_of, stopping
from asgi_redis_guard.core.steps import PASS, Admission
from tests.core.stores import CLOCK, Replies, drive, round_of
from tests.guards import COUNT, Ends, answering, asking, count, exchange, passing
from tests.guards import Does as Guard

PLAIN = OperationKind.parse("-- name: test.plain\n-- @check\n")


def test_asks_of_guards_in_a_row_travel_together_in_their_order() -> None:
    admissions = Admissions([asking(count("a"), count("b")), passing(), asking(count("c"))], exchange())
    wanted = round_of(admissions)
    assert wanted.shape == (place_of(False, (COUNT, COUNT)), place_of(False, (COUNT,)))
    assert [batch.keys for batch in wanted.batches] == [(b"a", b"b"), (b"c",)]
    admissions.replied([1, 0, 1, 0, 1, 0])
    assert admissions.advance() is None
    assert admissions.answer is None


def test_a_guard_behind_one_that_answers_by_itself_never_starts() -> None:
    def explode(exchange: Exchange) -> Admission:
        pytest.fail("it started")
        yield

    admissions = Admissions([answering(Answer(401, [])), Guard(explode)], exchange())
    assert admissions.advance() is None
    assert admissions.answered_by == 0


def test_guards_before_one_that_answers_by_itself_still_run_and_may_refuse_first() -> None:
    admissions = Admissions([asking(count("a")), answering(Answer(401, []))], exchange())
    assert len(round_of(admissions).batches) == 1
    admissions.replied([0, 0])
    assert admissions.advance() is None
    assert (admissions.answered_by, admissions.answer and admissions.answer.status) == (0, 429)


def test_a_guard_that_was_not_run_because_another_was_stopped_is_asked_again_if_that_one_passes_all_the_same() -> None:
    def lenient(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        return PASS

    admissions = Admissions([Guard(lenient), asking(count("b"))], exchange())
    round_of(admissions)
    admissions.replied([0, 0, 3, 0])
    assert round_of(admissions).shape == (place_of(False, (COUNT,)),)
    admissions.replied([1, 0])
    assert admissions.advance() is None
    assert admissions.answer is None


def test_facts_of_a_second_ask_let_the_guards_that_need_them_share_its_round() -> None:
    def session(exchange: Exchange) -> Admission:
        yield Ask([count("id")])
        yield Ask([count("data")], {"session": "found"})
        return Pass({"session": "found"})

    def user(exchange: Exchange) -> Admission:
        assert exchange.facts["session"] == "found"
        yield Ask([count("user")])
        return PASS

    guards = [Guard(session, provides=frozenset(["session"])), Guard(user, needs=frozenset(["session"]))]
    assert drive(Admissions(guards, exchange()), Replies()).rounds == 2


def test_a_fact_that_an_exempt_guard_does_not_give_is_not_waited_for() -> None:
    jwt = asking(count("jwt"), provides=frozenset(["user"]), exempt=PathPatterns(["/health"]))
    limits = asking(count("outside")), asking(count("inside"), needs=frozenset(["user"]))
    on_health = Admissions([limits[0], jwt, limits[1]], exchange(path="/health"))
    assert [batch.keys for batch in round_of(on_health).batches] == [(b"outside",), (b"inside",)]
    elsewhere = Admissions([limits[0], jwt, limits[1]], exchange(path="/"))
    assert [batch.keys for batch in round_of(elsewhere).batches] == [(b"outside",), (b"jwt",)]


def test_preflights_pass_guards_that_exempt_them() -> None:
    headers = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"PUT")]
    for exempted, status in ((True, None), (False, 401)):
        admissions = Admissions(
            [answering(Answer(401, []), exempt_preflight=exempted)], exchange(method="OPTIONS", headers=headers)
        )
        assert admissions.advance() is None
        assert (admissions.answer and admissions.answer.status) == status


def test_scope_edits_and_responders_are_kept_in_the_order_of_the_guards() -> None:
    first, second = Ends(), Ends()

    def late(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        return Pass(scope={"a": 1, "b": 1}, responder=first)

    def early(exchange: Exchange) -> Admission:
        return Pass(scope={"b": 2}, responder=second)
        yield

    admissions = Admissions([Guard(late), Guard(early)], exchange())
    drive(admissions, Replies())
    assert admissions.scope == {"a": 1, "b": 2}
    assert list(admissions.responders) == [first, second]


def test_one_failed_operation_fails_the_whole_ask_and_the_next_guard_gets_its_own_part() -> None:
    heard: list[object] = []

    def hearing(*operations: Operation) -> Guard:
        def admit(exchange: Exchange) -> Admission:
            try:
                heard.append(list((yield Ask(operations))))
            except OperationFailed as error:
                heard.append(error.code)
            return PASS

        return Guard(admit)

    guards = [hearing(count("a"), count("b"), Operation(PLAIN, ())), hearing(count("c"))]
    admissions = Admissions(guards, exchange())
    round_of(admissions)
    admissions.replied([1, 7, b"WRONGTYPE not a string", 0, 1, 2, 9])
    assert admissions.advance() is None
    assert heard == ["WRONGTYPE", [Reply(True, False, [9])]]


def test_an_ask_without_operations_is_answered_with_no_replies() -> None:
    replies = read_replies(Ask([]), [], 0)
    assert isinstance(replies, Sequence)
    assert list(replies) == []


def test_an_answer_for_a_group_stops_that_group_in_the_round_of_the_guards_before_it() -> None:
    refusal = answering(Answer(429, [], group="limits"))
    admissions = Admissions([asking(count("a")), refusal, asking(count("b"))], exchange())
    wanted = round_of(admissions)
    assert wanted.shape == (place_of(False, (COUNT,)), place_of(False, (stopping("limits"),)))
    admissions.replied([2, 0, 0, CLOCK])
    assert admissions.advance() is None
    assert admissions.answered_by == 1


def test_an_answer_for_a_group_with_nobody_in_front_asks_nothing() -> None:
    admissions = Admissions([passing(), answering(Answer(429, [], group="limits"))], exchange())
    assert admissions.advance() is None
    assert admissions.answered_by == 1
