"""`middleware/engine.py`: what the app gets to see, who answers, and what the client gets when something is wrong."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    Ask,
    ConfigurationError,
    Exchange,
    GuardMiddleware,
    GuardProtocolError,
    OperationFailed,
    Pass,
    RedisManager,
    RedisTimeout,
    RedisUnavailable,
    RequestEdits,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Admission
from tests.guards import Does, Ends, Lock, Watches, answering, asking, count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, settled, websocket


class Sees:
    """An app that keeps its scope and answers."""

    scope: Scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await responding()(scope, receive, send)


def telling(pass_: Pass, **attributes: Any) -> Does:
    """A guard that passes with what it is given."""

    def admit(exchange: Exchange) -> Admission:
        return pass_
        yield

    return Does(admit, **attributes)


async def test_asks_of_all_guards_cost_one_round_and_nothing_is_asked_for_a_guard_that_asks_nothing(
    redis: TestRedis,
) -> None:
    stack = GuardMiddleware(responding(), [asking(count("a")), passing(), asking(count("b"))], redis=redis)
    assert (await Call(stack).run()).status == 200
    assert redis.rounds == [["test.count", "test.count"]]
    assert [await redis.value("a"), await redis.value("b")] == [b"1", b"1"]
    await Call(GuardMiddleware(responding(), [passing()], redis=redis)).run()
    assert len(redis.rounds) == 1


async def test_a_refusal_by_redis_leaves_no_trace_of_the_guards_behind(redis: TestRedis) -> None:
    guards = [asking(count("a")), asking(count("b", stopping=True)), asking(count("c"))]
    call = await Call(GuardMiddleware(responding(), guards, redis=redis)).run()
    assert (call.status, call.body) == (429, b"stopped")
    assert [await redis.value(key) for key in "abc"] == [b"1", None, None]


async def test_an_answer_travels_outwards_through_the_responders_of_the_guards_before_it(redis: TestRedis) -> None:
    outer, behind = Watches("outer"), Watches("behind")
    guards = [passing(outer), answering(Answer(401, [(b"x-own", b"1")], b"who?")), passing(behind)]
    call = await Call(GuardMiddleware(responding(), guards, redis=redis)).run()
    assert (call.status, call.headers, call.body) == (401, [(b"x-own", b"1"), (b"x-seen-by", b"outer")], b"who?")
    assert (outer.kinds, outer.chunks, behind.notes) == (["refused"], [(b"who?", False)], [])


async def test_an_answer_of_one_request_is_not_changed_for_the_next(redis: TestRedis) -> None:
    answer = Answer(401, [(b"x-own", b"1")])
    stack = GuardMiddleware(responding(), [passing(Watches()), answering(answer)], redis=redis)
    await Call(stack).run()
    assert answer.headers == [(b"x-own", b"1")]


async def test_the_app_gets_a_copy_of_the_scope_with_the_facts_and_the_original_stays_as_it_is(
    redis: TestRedis,
) -> None:
    app = Sees()
    guard = telling(Pass({"user": "u", "secret": "s"}, scope={"user": "u"}))
    scope = http()
    before = dict(scope)
    await Call(GuardMiddleware(app, [guard], redis=redis), scope).run()
    assert app.scope == {**before, "user": "u"}
    assert scope == before


async def test_request_headers_and_subprotocols_are_edited_for_the_app_alone(redis: TestRedis) -> None:
    app = Sees()
    edits = RequestEdits(frozenset([b"if-none-match"]), ((b"x-added", b"1"),), frozenset(["bearer.token"]))
    scope = http(headers=[(b"if-none-match", b'"1"'), (b"accept", b"*/*")], subprotocols=["chat", "bearer.token"])
    await Call(GuardMiddleware(app, [telling(Pass(edits=edits))], redis=redis), scope).run()
    assert app.scope["headers"] == [(b"accept", b"*/*"), (b"x-added", b"1")]
    assert app.scope["subprotocols"] == ["chat"]
    assert len(scope["headers"]) == len(scope["subprotocols"]) == 2


async def test_subprotocols_may_be_dropped_where_the_server_names_none(redis: TestRedis) -> None:
    app = Sees()
    edits = RequestEdits(drop_subprotocols=frozenset(["bearer.token"]))
    await Call(GuardMiddleware(app, [telling(Pass(edits=edits))], redis=redis)).run()
    assert app.scope["subprotocols"] == []


@pytest.mark.parametrize("kind", ["lifespan", "http.early", "mcp"])
async def test_other_scopes_pass_untouched(redis: TestRedis, kind: str) -> None:
    scope = {"type": kind}
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(scope)

    stack = GuardMiddleware(app, [answering(Answer(401, []))], redis=redis)
    await Call(stack, scope, {"type": "none"}).run()
    assert got[0] is scope


async def test_redis_away_is_a_503_with_retry_after_where_the_guard_does_not_mind(redis: TestRedis) -> None:
    for redis.away in (RedisUnavailable(), RedisTimeout()):
        call = await Call(GuardMiddleware(responding(), [asking(count("a"))], redis=redis)).run()
        assert call.status == 503
        assert (b"retry-after", b"1") in call.headers
        assert (b"content-type", b"application/problem+json") in call.headers


@pytest.mark.parametrize("closed", [False, True])
async def test_an_operation_that_fails_stops_the_guards_behind_only_where_its_own_guard_would_refuse(
    redis: TestRedis, closed: bool
) -> None:
    def careful(exchange: Exchange) -> Admission:
        try:
            yield Ask([count("broken")], closed=closed)
        except OperationFailed:
            return Answer(503, []) if closed else Pass()
        return Answer(500, [])

    await redis.execute("LPUSH", "broken", "not a string")
    call = await Call(GuardMiddleware(responding(), [Does(careful), asking(count("behind"))], redis=redis)).run()
    assert (call.status, await redis.value("behind")) == ((503, None) if closed else (200, b"1"))


async def test_a_guard_that_breaks_the_protocol_is_an_error_for_the_server_and_the_app_does_not_run(
    redis: TestRedis,
) -> None:
    def junk(exchange: Exchange) -> Any:
        yield Ask([count("a")])

    ends = Ends()
    app = Sees()
    call = Call(GuardMiddleware(app, [passing(ends), Does(junk, name="culprit")], redis=redis))
    with pytest.raises(GuardProtocolError, match="culprit"):
        await call.run()
    assert (call.sent, ends.kinds, hasattr(app, "scope")) == ([], ["error"], False)


async def test_what_a_guard_took_is_given_back_when_a_guard_before_it_refuses_what_redis_let_pass(
    redis: TestRedis,
) -> None:
    def refusing(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        return Answer(403, [])

    call = await Call(GuardMiddleware(responding(), [Does(refusing), Lock("lock")], redis=redis)).run()
    assert call.status == 403
    await settled(redis)
    assert redis.rounds == [["test.count", "test.acquire"], ["test.release"]]
    assert await redis.value("lock") is None


async def test_what_a_guard_took_is_given_back_when_a_guard_before_it_fails(redis: TestRedis) -> None:
    def failing(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        raise LookupError

    with pytest.raises(LookupError):
        await Call(GuardMiddleware(responding(), [Does(failing), Lock("lock")], redis=redis)).run()
    await settled(redis)
    assert await redis.value("lock") is None


async def test_a_lock_is_held_while_the_app_runs_and_given_back_afterwards(redis: TestRedis) -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.append(await redis.value("lock"))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await look()
        await responding()(scope, receive, send)

    await Call(GuardMiddleware(app, [Lock("lock")], redis=redis)).run()
    await settled(redis)
    assert seen == [b"mine"]
    assert await redis.value("lock") is None


async def test_the_clock_and_the_randomness_of_an_exchange_are_the_middleware_s(redis: TestRedis) -> None:
    seen: list[Any] = []

    def look(exchange: Exchange) -> Admission:
        seen.append((exchange.now, len(exchange.random(16)), exchange.keys is redis.keys, exchange.is_websocket))
        return Pass()
        yield

    stack = GuardMiddleware(responding(), [Does(look)], redis=redis, clock=lambda: 42.0)
    await Call(stack).run()
    await Call(stack, websocket()).run()
    assert seen == [(42.0, 16, True, False), (42.0, 16, True, True)]


def test_no_guards_at_all_are_refused_and_never_an_open_door() -> None:
    with pytest.raises(ConfigurationError, match="guards"):
        GuardMiddleware(responding(), [], redis="memory://")


def test_constructors_need_no_loop_and_share_the_manager_of_equal_urls() -> None:
    one, other = (GuardMiddleware(responding(), [passing()], redis="memory://") for _ in range(2))
    assert one.manager is other.manager
    assert one.manager is not GuardMiddleware(responding(), [passing()], redis=RedisManager("memory://")).manager


def test_a_stack_serves_one_loop_after_the_other() -> None:
    stack = GuardMiddleware(responding(), [asking(count("a"))], redis=RedisManager("memory://"))
    for _ in range(3):
        assert asyncio.run(_run(stack)) == 200


async def _run(stack: GuardMiddleware) -> int:
    call = await Call(stack).run()
    await stack.manager.aclose()
    return call.status
