"""`Ask.last`: a guard that may answer by what comes back lets nothing behind it begin before it has passed."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import PASS, Answer, Ask, Body, Exchange, GuardMiddleware, Wait
from asgi_redis_guard.core.responder import Outcome, Responder
from asgi_redis_guard.core.steps import Admission
from tests.drive import App
from tests.guards import Does, Ends, Lock, asking, count, passing
from tests.middleware.calls import Call, TestRedis, settled


def last(key: str, *, answers: bool = False, before: Any = (), after: Any = (), rounds: int = 1) -> Does:
    """A guard that asks with `last`, and answers or passes."""

    def admit(exchange: Exchange) -> Admission:
        for step in before:
            yield step
        for _ in range(rounds):
            yield Ask([count(key)], last=True)
        for step in after:
            yield step
        return Answer(200, [], b"stored", reason="hit") if answers else PASS

    return Does(admit, name="cache")


async def test_who_stands_in_front_shares_its_round_and_who_stands_behind_comes_after(redis: TestRedis) -> None:
    guards = [asking(count("front")), last("cache"), asking(count("behind")), asking(count("far behind"))]
    call = await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    assert call.status == 200
    assert redis.rounds == [["test.count"] * 2, ["test.count"] * 2]


async def test_an_answer_leaves_no_trace_of_the_guards_behind(redis: TestRedis) -> None:
    guards = [asking(count("front")), last("cache", answers=True), asking(count("behind")), Lock("lock")]
    call = await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    assert call.body == b"stored"
    assert redis.rounds == [["test.count"] * 2]
    assert [await redis.value(key) for key in ("front", "cache", "behind", "lock")] == [b"1", b"1", None, None]


async def test_a_refusal_in_front_leaves_no_trace_of_it(redis: TestRedis) -> None:
    guards = [asking(count("front", stopping=True)), last("cache"), asking(count("behind"))]
    assert (await Call(GuardMiddleware(App(), guards, redis=redis)).run()).status == 429
    assert redis.rounds == [["test.count"] * 2]
    assert [await redis.value(key) for key in ("cache", "behind")] == [None, None]


@pytest.mark.parametrize("step", [Wait(None, 0.0), Body(10)])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_wait_or_a_body_on_either_side_changes_nothing_of_it(
    redis: TestRedis, step: Any, where: str, answers: bool
) -> None:
    guards = [
        asking(count("front")),
        last("cache", answers=answers, **{where: [step]}),  # type: ignore[arg-type]
        asking(count("behind")),
    ]
    call = await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    assert (call.status, call.body) == (200, b"stored" if answers else b"ok")
    assert await redis.value("behind") == (None if answers else b"1")
    assert await redis.value("front") == b"1"
    shared = 2 if where == "after" else 1
    assert redis.rounds[0] == ["test.count"] * shared


@pytest.mark.parametrize("answers", [True, False])
async def test_of_several_rounds_each_holds_back_who_stands_behind(redis: TestRedis, answers: bool) -> None:
    guards = [asking(count("front")), last("cache", answers=answers, rounds=3), asking(count("behind"))]
    await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    lengths = [len(names) for names in redis.rounds]
    assert lengths == ([2, 1, 1] if answers else [2, 1, 1, 1])
    assert await redis.value("cache") == b"3"


async def test_two_of_them_come_one_after_the_other(redis: TestRedis) -> None:
    guards = [last("one"), last("two"), asking(count("behind"))]
    await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    assert redis.rounds == [["test.count"]] * 3


async def test_what_was_to_be_done_behind_an_overruled_answer_hears_that_nobody_will(redis: TestRedis) -> None:
    """It may hold something: the fill of what it was to answer stale."""

    def refuse(exchange: Exchange) -> Admission:
        yield Ask([count("front")])
        return Answer(401, [], b"", reason="revoked")

    def answer(exchange: Exchange) -> Admission:
        yield Ask([count("cache")], last=True)
        return Answer(200, [], b"stale", background=behind)

    behind = Ends()
    guards = [Does(refuse, name="jwt"), Does(answer, name="cache")]
    call = await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    await settled(redis)
    assert (call.status, behind.kinds) == (401, ["refused"])


async def test_what_an_overruled_answer_has_taken_is_given_back_when_the_client_leaves(redis: TestRedis) -> None:
    class Holds(Responder):
        def end(self, outcome: Outcome) -> None:
            ended.append(outcome.kind)

    ended: list[str] = []

    def answer(exchange: Exchange) -> Admission:
        yield Ask([count("cache")], last=True)
        return Answer(200, [], b"stale", background=Holds())

    lock = Lock("lock")
    redis.withhold()
    call = Call(GuardMiddleware(App(), [lock, Does(answer, name="cache"), passing()], redis=redis)).start()
    await redis.asked.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    redis.give()
    await settled(redis)
    assert ended == ["cancelled"]
    assert await redis.value("lock") is None
