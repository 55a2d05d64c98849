"""Whatever ends an idempotent request: it is recorded, or may run again; never both, and never two at a time."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, RedisUnavailable
from asgi_redis_guard.core.problem import problem
from asgi_redis_guard.core.steps import Answer, Ask
from asgi_redis_guard.errors import ResponseAborted
from asgi_redis_guard.idempotency.guard import Idempotency
from tests.guards import Does
from tests.idempotency.shop import Shop, answering, attended, guarded, post, posting, record, scope_of
from tests.middleware.calls import GONE, Call, TestRedis, settled
from tests.redis.tools import eventually, within


def part(body: bytes) -> dict[str, Any]:
    """The beginning of a request's body."""
    return {"type": "http.request", "body": body, "more_body": True}


async def test_a_client_that_leaves_in_the_middle_of_its_body_runs_nothing(memory: TestRedis) -> None:
    shop = Shop()
    call = await Call(guarded(shop, memory), scope_of(), part(b"5 E"), GONE).run()
    assert (call.sent, shop.charges, memory.rounds) == ([], [], [])
    assert (await post(guarded(shop, memory))).body == b"charge 1"


async def test_a_client_that_leaves_does_not_stop_what_it_has_begun(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    first = await shop.begins(app)
    first.fails = OSError("gone")
    first.feed(GONE)
    shop.open.set()
    await shop.runs(0)
    assert (await record(redis) or b"")[:1] == b"D"
    await asyncio.wait([first.task])
    first.task.exception()
    assert (await post(app)).body == b"charge 1"


async def test_a_server_that_cancels_the_request_does_not_stop_what_it_has_begun(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    first = await shop.begins(app)
    first.task.cancel()
    await asyncio.wait([first.task])
    assert first.task.cancelled()
    assert (await post(app)).status == 409
    shop.open.set()
    await shop.runs(0)
    await settled(redis)
    assert (await post(app)).body == b"charge 1"


async def test_a_request_that_is_cancelled_while_it_begins_leaves_its_key_free(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory)
    memory.withhold()
    first = posting(app)
    await memory.asked.wait()
    first.task.cancel()
    await asyncio.wait([first.task])
    memory.give()
    assert await record(memory) is None
    assert shop.charges == []


async def test_a_request_that_is_cancelled_while_it_waits_takes_nothing(redis: RedisManager) -> None:
    shop = Shop(answering(503))
    app = guarded(shop, redis, wait=20)
    first = await shop.begins(app)
    second = posting(app)
    await attended(redis)
    second.task.cancel()
    await asyncio.wait([second.task])
    shop.open.set()
    await first.task
    assert await record(redis) is None
    assert len(shop.charges) == 1


async def test_what_a_guard_behind_refuses_after_all_leaves_the_key_free(memory: TestRedis) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the app must not run")

    refusal = Answer(403, [], b"no", reason="no")

    def admit(exchange: Any) -> Any:
        yield Ask([])
        return refusal

    guards = [Idempotency(), Does(admit)]
    assert (await post(GuardMiddleware(slow, guards, redis=memory))).status == 403
    assert await record(memory) is None


@pytest.mark.parametrize(("status", "kind"), [(200, b"U"), (503, b"")])
async def test_the_app_of_a_stream_hears_that_its_client_has_left(memory: TestRedis, status: int, kind: bytes) -> None:
    """It is recorded that it was carried out, or it may be sent again: nobody but the client could want the rest."""
    heard = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    first = posting(guarded(Shop(stream), memory))
    await first.sees("http.response.body")
    first.feed(GONE)
    await within(heard.wait())
    await first.task
    assert (await record(memory) or b"")[:1] == kind


# The lease.


async def test_a_handler_that_has_lost_its_record_is_cancelled_and_answered_for(redis: RedisManager) -> None:
    """Flushed, evicted, or by a server that was restarted: the record is gone, and another may have begun."""
    shop = Shop()
    first = await shop.begins(guarded(shop, redis, lease=1))
    await redis.execute("FLUSHALL")
    await within(first.task)
    assert (first.status, shop.charges) == (503, [])
    assert dict(first.headers)[b"retry-after"] == b"1"
    assert await record(redis) is None


async def test_a_loss_after_the_head_of_a_stream_is_no_more_of_interest(memory: TestRedis) -> None:
    """It is recorded by then that it was carried out."""
    more = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"b", "more_body": False})

    first = posting(guarded(Shop(stream), memory, lease=1))
    await first.sees("http.response.body")
    assert len(memory.leases) == 0
    more.set()
    await first.task
    assert first.body == b"ab"


async def test_a_handler_that_will_not_be_cancelled_does_not_get_its_answer_out(memory: TestRedis) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await answering(200, b"done")(scope, receive, send)

    shop = Shop(stubborn)
    first = posting(guarded(shop, memory, lease=1))
    await shop.runs(1)
    await memory.execute("FLUSHALL")
    await within(first.task)
    assert first.status == 503
    assert await record(memory) is None


async def test_a_long_handler_keeps_its_record(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis, lease=1)
    first = await shop.begins(app)
    (key,) = await redis.execute("KEYS", "guard:y:*")
    left = await redis.execute("PTTL", key)
    for _ in range(2):  # renewed twice
        while await redis.execute("PTTL", key) <= left:
            left = await redis.execute("PTTL", key)
            await asyncio.sleep(0.01)
        left = await redis.execute("PTTL", key)
    assert (await post(app)).status == 409
    shop.open.set()
    await first.task
    assert (await post(app)).body == b"charge 1"


async def test_what_is_another_s_is_not_written_over_and_the_client_is_not_told_it_is_done(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis, on_outage="open")
    first = await shop.begins(app)
    (key,) = await redis.execute("KEYS", "guard:y:*")
    other = (await redis.execute("GET", key))[:22] + b"another's-token!"
    await redis.execute("SET", key, other, "PX", 60_000)
    shop.open.set()
    await first.task
    assert first.status == 503
    assert await record(redis) == other


async def test_a_record_that_is_gone_when_it_is_done_is_written_all_the_same(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    first = await shop.begins(app)
    await redis.execute("FLUSHALL")
    shop.open.set()
    await first.task
    assert first.status == 201
    assert (await post(app)).body == b"charge 1"


async def test_the_app_s_own_words_are_used_for_refusals_also_where_they_fail(memory: TestRedis) -> None:
    def own(exchange: Any, answer: Answer) -> Answer:
        if answer.reason == "idempotency_lost":
            raise RuntimeError("boom")
        return problem(418, answer.reason, "own words")

    shop = Shop()
    app = guarded(shop, memory, required=True, on_refused=own, lease=1)
    assert (await post(app, None)).status == 418
    first = await shop.begins(app)
    await memory.execute("FLUSHALL")
    await within(first.task)
    assert first.status == 503


# Redis away.


async def test_while_redis_is_away_nothing_runs_unless_that_is_wanted(memory: TestRedis) -> None:
    shop = Shop()
    memory.away = RedisUnavailable()
    response = await post(guarded(shop, memory))
    assert (response.status, response["retry-after"], shop.charges) == (503, "1", [])
    assert (await post(guarded(shop, memory, on_outage="open"))).status == 201
    assert (await post(guarded(shop, memory), None)).status == 201, "without a key nothing is asked"


async def test_a_completion_that_is_not_recorded_is_not_seen_and_is_recorded_as_soon_as_it_can(
    memory: TestRedis,
) -> None:
    shop = Shop()
    app = guarded(shop, memory)
    first = await shop.begins(app)
    memory.away = RedisUnavailable()
    shop.open.set()
    await first.task
    assert first.status == 503
    memory.away = None
    assert (await record(memory) or b"")[:1] == b"D"
    assert (await post(app)).body == b"charge 1"
    assert len(shop.charges) == 1


async def test_own_words_that_fail_while_redis_is_away_do_not_take_the_completion_back(memory: TestRedis) -> None:
    def own(exchange: Any, answer: Answer) -> Answer:
        raise RuntimeError("boom")

    shop = Shop()
    app = guarded(shop, memory, on_refused=own)
    first = await shop.begins(app)
    memory.away = RedisUnavailable()
    shop.open.set()
    await first.task
    assert first.status == 503
    memory.away = None
    assert (await record(memory) or b"")[:1] == b"D"


async def test_where_open_is_wanted_the_response_goes_out_and_is_recorded_as_soon_as_it_can(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory, on_outage="open")
    first = await shop.begins(app)
    memory.away = RedisUnavailable()
    shop.open.set()
    await first.task
    assert first.status == 201
    memory.away = None
    await settled(memory)
    assert (await post(app)).body == b"charge 1"


async def test_a_key_that_could_not_be_freed_is_freed_as_soon_as_it_can(memory: TestRedis) -> None:
    shop = Shop(answering(503))
    first = await shop.begins(guarded(shop, memory))
    memory.away = RedisUnavailable()
    shop.open.set()
    await first.task
    memory.away = None
    assert await record(memory) is None


async def test_a_key_of_another_type_is_an_outage(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    await post(app)
    (key,) = await redis.execute("KEYS", "guard:y:*")
    await redis.execute("DEL", key)
    await redis.execute("RPUSH", key, "a")
    assert (await post(app)).status == 503
    assert len(shop.charges) == 1


async def test_who_waits_while_redis_goes_away_is_told_so(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory, wait=0.3)
    first = await shop.begins(app)
    second = posting(app)
    await attended(memory)
    memory.away = RedisUnavailable()
    await memory.execute("PUBLISH", "guard:idempotency", (await memory.execute("KEYS", "guard:y:*"))[0][8:])
    await second.task
    assert second.status == 503
    memory.away = None
    shop.open.set()
    await first.task


async def test_a_cancellation_while_it_is_recorded_does_not_undo_it(memory: TestRedis) -> None:
    """As a server that does not let a run outlive its request would; the answer is recorded in the background."""
    shop = Shop()
    shop.close()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inner
        inner = asyncio.current_task()
        await shop(scope, receive, send)

    inner: asyncio.Task[Any] | None = None
    first = posting(guarded(app, memory))
    await shop.runs(1)
    memory.withhold()
    shop.open.set()
    await memory.asked.wait()
    assert memory.rounds[-1] == ["idempotency.complete"]
    assert inner is not None
    inner.cancel()
    await asyncio.wait([first.task])
    first.task.cancelled() or first.task.exception()
    memory.give()
    assert (await record(memory) or b"")[:1] == b"D"


async def test_a_stream_that_fails_in_the_middle_was_carried_out(memory: TestRedis) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise RuntimeError("boom")

    first = posting(guarded(Shop(fails), memory))
    with pytest.raises((RuntimeError, ResponseAborted)):
        await first.task
    assert (await record(memory) or b"")[:1] == b"U"


async def test_no_lease_is_kept_for_what_has_ended(memory: TestRedis) -> None:
    async def raises(*asgi: Any) -> None:
        raise RuntimeError("boom")

    for then in (None, answering(503), raises):
        first = posting(guarded(Shop(then), memory), key=str(id(then)))
        await asyncio.wait([first.task])
        first.task.exception()
    await eventually(lambda: len(memory.leases) == 0)
