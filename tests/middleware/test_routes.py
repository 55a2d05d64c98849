"""`middleware/routes.py`: guards of a route decide when its function is called, in the exchange around it."""

import asyncio
import inspect
import threading
from functools import partial, wraps
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    ConfigurationError,
    Decision,
    Exchange,
    GuardMiddleware,
    Pass,
    RedisUnavailable,
    RequestEdits,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.errors import NoExchange
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Does, Ends, Lock, Watches, answering, asking, count, passing
from tests.middleware.calls import Call, TestRedis, responding, settled
from tests.middleware.site import hello, routing


async def test_a_route_s_guards_cost_one_round_trip_beside_that_of_the_stack(redis: TestRedis) -> None:
    function = guarded(hello, [asking(count("a")), asking(count("b"))])
    stack = GuardMiddleware(routing(function), [asking(count("outer"))], redis=redis)
    call = await Call(stack).run()
    assert (call.status, call.body) == (200, b"hello")
    assert redis.rounds == [["test.count"], ["test.count", "test.count"]]


async def test_decorators_on_one_function_are_one_decision_and_the_upper_one_comes_first(redis: TestRedis) -> None:
    inner = guarded(hello, [asking(count("a")), asking(count("b"))])
    both = guarded(inner, [asking(count("c", stopping=True), name="upper")])
    stack = GuardMiddleware(routing(both), [RouteGuards()], redis=redis)
    assert (await Call(stack).run()).status == 429
    assert redis.rounds == [["test.count"] * 3]
    assert [await redis.value(key) for key in "abc"] == [None, None, None]
    assert (await Call(GuardMiddleware(routing(inner), [RouteGuards()], redis=redis)).run()).status == 200
    assert len(redis.rounds[1]) == 2


async def test_a_foreign_decorator_between_two_of_ours_is_not_left_out(redis: TestRedis) -> None:
    calls: list[str] = []
    inner = guarded(hello, [asking(count("a"))])

    @wraps(inner)
    async def foreign(*arguments: Any) -> bytes:
        calls.append("foreign")
        body: bytes = await inner(*arguments)
        return body + b"!"

    outer = guarded(foreign, [asking(count("b"))])
    call = await Call(GuardMiddleware(routing(outer), [RouteGuards()], redis=redis)).run()
    assert (call.body, calls) == (b"hello!", ["foreign"])
    assert redis.rounds == [["test.count"], ["test.count"]]


async def test_each_call_of_the_function_is_a_decision(redis: TestRedis) -> None:
    function = guarded(hello, [asking(count("a"))])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding(await function() + await function())(scope, receive, send)

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()).body == b"hellohello"
    assert await redis.value("a") == b"2"


async def test_a_plain_function_runs_in_a_thread_and_what_it_gives_to_await_is_awaited(redis: TestRedis) -> None:
    threads: list[int] = []

    def plain(value: bytes) -> bytes:
        threads.append(threading.get_ident())
        return value

    stack = GuardMiddleware(routing(guarded(plain, [passing()]), b"x"), [RouteGuards()], redis=redis)
    assert (await Call(stack).run()).body == b"x"
    assert threads != [threading.get_ident()]
    partially = guarded(lambda: hello(), [passing()])
    assert (await Call(GuardMiddleware(routing(partially), [RouteGuards()], redis=redis)).run()).body == b"hello"


def test_name_signature_and_annotations_are_kept_and_the_wrapper_is_a_coroutine_function() -> None:
    def plain(number: int, *, text: str = "x") -> bytes:
        """Say it."""
        return b""

    for function in (plain, hello):
        wrapper = guarded(function, [passing()])
        assert inspect.iscoroutinefunction(wrapper)
        assert inspect.signature(wrapper) == inspect.signature(function)
        assert (wrapper.__name__, wrapper.__doc__) == (function.__name__, function.__doc__)


@pytest.mark.parametrize("wrong", [Ends, Ends(), partial(hello), staticmethod(hello), None])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="beneath the framework's own decorator"):
        guarded(wrong, [passing()])
    assert not DECLARED.any


def test_guards_that_claim_the_same_keys_are_refused_also_over_two_decorators() -> None:
    def one() -> Does:
        return passing(claims=frozenset(["key"]))

    with pytest.raises(ConfigurationError, match="count under the same key"):
        guarded(guarded(hello, [one()]), [one()])


async def test_outside_of_a_request_and_after_its_response_the_error_names_the_middleware(redis: TestRedis) -> None:
    function = guarded(hello, [passing()])
    with pytest.raises(NoExchange, match=r"hello .* add GuardMiddleware\(app, guards=\[RouteGuards\(\)\]\)"):
        await function()
    late: list[Exception] = []

    async def afterwards() -> None:
        try:
            await function()
        except NoExchange as error:
            late.append(error)

    await Call(GuardMiddleware(responding(after=afterwards), [RouteGuards()], redis=redis)).run()
    assert len(late) == 1
    with pytest.raises(NoExchange):
        await function()


async def test_facts_and_edits_of_the_request_reach_the_scope_that_the_app_has(redis: TestRedis) -> None:
    edits = RequestEdits(frozenset([b"host"]), ((b"x-added", b"1"),))

    def admit(exchange: Exchange) -> Admission:
        return Pass({"tenant": "t"}, scope={"tenant": "t"}, edits=edits)
        yield

    function = guarded(hello, [Does(admit, provides=frozenset(["tenant"]))])
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await function()
        scopes.append(scope)
        await responding()(scope, receive, send)

    await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()
    assert (scopes[0]["tenant"], scopes[0]["headers"]) == ("t", [(b"x-added", b"1")])


async def test_what_the_stack_and_earlier_routes_have_found_is_known_to_a_route_s_guards(redis: TestRedis) -> None:
    seen: list[Any] = []

    def telling(name: str) -> Does:
        def admit(exchange: Exchange) -> Admission:
            seen.append([exchange.fact(other) for other in ("stack", "first", "second", "params")])
            return Pass({name: name})
            yield

        return Does(admit, name=name)

    first, second = guarded(hello, [telling("first")]), guarded(hello, [telling("second")])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["params"] = "of the router"
        await first()
        await responding(await second())(scope, receive, send)

    await Call(GuardMiddleware(app, [telling("stack")], redis=redis)).run()
    params = "of the router"
    assert seen == [[None] * 4, ["stack", None, None, params], ["stack", "first", None, params]]


async def test_responders_of_a_route_are_the_innermost_and_have_everything(redis: TestRedis) -> None:
    notes: list[Any] = []
    outer, inner = Watches("outer", notes), Watches("inner", notes)
    function = guarded(hello, [passing(inner)])
    call = await Call(GuardMiddleware(routing(function), [passing(outer)], redis=redis)).run()
    assert call.headers == [(b"x-seen-by", b"inner"), (b"x-seen-by", b"outer")]
    assert notes == [(what, who) for what in ("start", "body", "end") for who in ("inner", "outer")]
    assert inner.kinds == outer.kinds == ["complete"]


async def test_a_lock_of_a_route_is_held_while_its_function_runs(redis: TestRedis) -> None:
    async def look() -> bytes:
        return await redis.value("lock")  # type: ignore[no-any-return]

    function = guarded(look, [Lock("lock")])
    call = await Call(GuardMiddleware(routing(function), [RouteGuards()], redis=redis)).run()
    await settled(redis)
    assert (call.body, await redis.value("lock")) == (b"mine", None)


async def test_requests_at_once_do_not_mix_up(redis: TestRedis) -> None:
    arrived, go = asyncio.Semaphore(0), asyncio.Event()

    def admit(exchange: Exchange) -> Admission:
        return Pass(scope={"mine": exchange.path})
        yield

    @partial(guarded, guards=[asking(count("a")), Does(admit)])
    async def meet() -> None:
        arrived.release()
        await go.wait()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await meet()
        await responding(scope["mine"].encode())(scope, receive, send)

    stack = GuardMiddleware(app, [RouteGuards()], redis=redis)
    calls = [Call(stack, {**Call(stack).scope, "path": f"/{number}"}).start() for number in range(10)]
    for _ in calls:
        await arrived.acquire()
    go.set()
    await asyncio.gather(*(call.task for call in calls))
    assert [call.body for call in calls] == [f"/{number}".encode() for number in range(10)]


async def test_decisions_of_a_route_are_told_to_the_hooks_of_the_stack(redis: TestRedis) -> None:
    events: list[Decision] = []
    guards = [passing(name="first"), answering(Answer(403, [], reason="no"), name="second"), passing(name="third")]
    stack = GuardMiddleware(
        routing(guarded(hello, guards)), [passing(name="outer")], redis=redis, hooks=[events.append]
    )
    await Call(stack).run()
    assert [(event.guard, event.outcome, event.reason) for event in events] == [
        ("outer", "passed", ""),
        ("first", "passed", ""),
        ("second", "refused", "no"),
        ("third", "undecided", ""),
    ]


async def test_redis_away_is_answered_as_the_guard_has_it(redis: TestRedis) -> None:
    redis.away = RedisUnavailable()
    stack = GuardMiddleware(routing(guarded(hello, [asking(count("a"))])), [RouteGuards()], redis=redis)
    assert (await Call(stack).run()).status == 503
