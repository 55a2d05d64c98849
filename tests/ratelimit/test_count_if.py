"""`count_if`: a request is counted before it runs, and given back where its response does not count."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    ConfigurationError,
    Exchange,
    GuardMiddleware,
    Head,
    RateLimit,
    RedisManager,
    guarded,
)
from asgi_redis_guard.core.script import Operation, stopping
from tests.drive import App, get, handshake
from tests.guards import answering, asking
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled
from tests.middleware.site import hello, limiting, routing
from tests.ratelimit.said import left

ALGORITHMS = ["gcra", "fixed", "counter", "log", "calendar"]


def logins(limit: str = "5/hour", **options: Any) -> RateLimit:
    return RateLimit(limit, name="logins", **{"count_if": (401, 403), "algorithm": "fixed", **options})


async def login(scope: Any, receive: Any, send: Any) -> None:
    """An app that knows one password."""
    status = 200 if scope["query_string"] == b"right" else 401
    await responding(status=status)(scope, receive, send)


async def attempt(app: Any, redis: RedisManager, word: bytes = b"wrong") -> int:
    call = await Call(app, http(query_string=word)).run()
    await settled(redis)
    return call.status


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_only_what_the_limit_is_for_counts(redis: RedisManager, algorithm: Any) -> None:
    app = GuardMiddleware(login, [logins("2/hour", algorithm=algorithm)], redis=redis)
    words = [b"right"] * 4 + [b"wrong", b"right", b"right", b"wrong", b"right", b"wrong"]
    assert [await attempt(app, redis, word) for word in words] == [200] * 4 + [401, 200, 200, 401, 429, 429]


async def test_a_response_that_does_not_count_says_what_is_left_without_it(memory: TestRedis) -> None:
    app = GuardMiddleware(login, [logins()], redis=memory)
    seen = []
    for word in (b"right", b"wrong", b"right", b"wrong"):
        seen.append(left(await get(app, query_string=word))["logins"])
        await settled(memory)
    assert seen == [5, 4, 4, 3]


async def test_giving_back_takes_one_round_trip_and_counting_none(memory: TestRedis) -> None:
    app = GuardMiddleware(login, [logins()], redis=memory)
    for word, trips in ((b"wrong", 1), (b"right", 2)):
        memory.rounds.clear()
        await attempt(app, memory, word)
        assert len(memory.rounds) == trips


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_fifty_attempts_at_once_with_wrong_passwords_get_no_more_through_than_the_limit(
    redis: RedisManager, algorithm: Any
) -> None:
    """Trap 8: who checks first and spends after the answer lets all that come at once through."""
    tried = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal tried
        tried += 1
        await gate.wait()
        await login(scope, receive, send)

    gate = asyncio.Event()
    app = GuardMiddleware(slow, [logins(algorithm=algorithm, deny_cache=0)], redis=redis)
    calls = [Call(app, http(query_string=b"wrong")).start() for _ in range(50)]
    refused = [call.task for call in calls]
    while sum(task.done() for task in refused) < 45:
        await asyncio.wait([task for task in refused if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    await asyncio.gather(*refused)
    assert tried == 5
    assert sorted(call.status for call in calls) == [401] * 5 + [429] * 45


async def test_who_leaves_before_the_answer_is_counted(memory: TestRedis) -> None:
    """Else a guesser would hang up on every wrong one."""

    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    app = GuardMiddleware(leaves, [logins("2/hour")], redis=memory)
    for _ in range(2):
        call = Call(app).start()
        call.feed(GONE)
        await call.task
        await settled(memory)
    assert await attempt(app, memory) == 429


@pytest.mark.parametrize("cancelled", [False, True])
async def test_who_is_never_answered_is_counted(memory: TestRedis, cancelled: bool) -> None:
    async def fails(*asgi: Any) -> None:
        running.set()
        if cancelled:
            await asyncio.Event().wait()
        raise RuntimeError("boom")

    running = asyncio.Event()
    app = GuardMiddleware(fails, [logins("1/hour")], redis=memory)
    call = Call(app).start()
    await running.wait()
    if cancelled:
        call.task.cancel()
    await asyncio.wait([call.task])
    await settled(memory)
    assert await attempt(app, memory) == 429


async def test_a_function_tells_by_exchange_and_head(memory: TestRedis) -> None:
    def failed(exchange: Exchange, head: Head) -> bool:
        assert exchange.path == "/login"
        return (b"x-login", b"failed") in head.headers

    def app_of(*headers: tuple[bytes, bytes]) -> Any:
        return GuardMiddleware(responding(headers=[*headers]), [logins(count_if=failed)], redis=memory)

    for headers, remaining in (((), 5), (((b"x-login", b"failed"),), 4), ((), 4)):
        assert left(await get(app_of(*headers), "/login"))["logins"] == remaining
        await settled(memory)


async def test_a_function_that_raises_is_a_500_and_the_request_counts(memory: TestRedis) -> None:
    def broken(exchange: Exchange, head: Head) -> bool:
        raise LookupError

    app = GuardMiddleware(login, [logins("1/hour", count_if=broken)], redis=memory)
    assert [await attempt(app, memory, b"right") for _ in range(2)] == [500, 429]


async def test_statuses_may_come_from_anything_that_can_be_gone_through_once(memory: TestRedis) -> None:
    app = GuardMiddleware(login, [logins("2/hour", count_if=(status for status in (401,)))], redis=memory)
    assert [await attempt(app, memory) for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("wrong", ["401", b"401", 401, [], [401, "403"], [True], [4.0]])
def test_statuses_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"count_if: .*allowed are statuses"):
        RateLimit("5/hour", count_if=wrong)


def test_one_cannot_have_both_words() -> None:
    with pytest.raises(ConfigurationError, match="count_if: given together with settle"):
        RateLimit("5/hour", count_if=[401], settle=True)


async def test_the_refusal_of_a_guard_behind_is_a_response_too(memory: TestRedis) -> None:
    for status, then in ((401, 429), (404, 404)):
        guards = [logins("1/hour", group=str(status)), answering(Answer(status, [], b"no"))]
        app = GuardMiddleware(login, guards, redis=memory)
        assert [await attempt(app, memory) for _ in range(2)] == [status, then]


async def test_what_another_limit_kept_from_counting_is_left_over_once(memory: TestRedis) -> None:
    assert (await get(GuardMiddleware(login, [logins()], redis=memory))).status == 401
    behind = GuardMiddleware(login, [logins(), asking(Operation(stopping("limits"), ()))], redis=memory)
    on_route = GuardMiddleware(routing(guarded(hello, [limiting("limit")])), [logins()], redis=memory)
    for app in (behind, on_route):
        refused = await get(app)
        assert (refused.status, left(refused)["logins"]) == (429, 4)


async def test_a_handshake_that_is_refused_counts_and_one_that_is_accepted_does_not(memory: TestRedis) -> None:
    app = GuardMiddleware(App(), [logins("1/hour", count_if=[403])], redis=memory)
    for _ in range(3):
        assert (await handshake(app)).status == 101
        await settled(memory)
