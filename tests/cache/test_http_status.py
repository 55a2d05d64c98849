"""What our cache says of itself (RFC 9211)."""

import asyncio

import pytest

from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.middleware.engine import GuardMiddleware
from tests.cache.cases import Case, Reply, Step, case, play, table
from tests.cache.origin import Lab
from tests.drive import call, http_scope

FRESH = "cache-control: max-age=100"
TAGGED = FRESH + ' | etag: "a"'


@table(
    case("uri-miss, stored", Step("miss", says=FRESH, has="cache-status: guard; fwd=uri-miss; stored")),
    case("uri-miss, not stored", Step("miss", says="", has="cache-status: guard; fwd=uri-miss; detail=no-freshness")),
    case(
        "no-store",
        Step("miss", says="cache-control: no-store", has="cache-status: guard; fwd=uri-miss; detail=no-store"),
    ),
    case(
        "vary-miss",
        Step("miss", says=FRESH + " | vary: a"),
        Step("miss", "a: 1", has="cache-status: guard; fwd=vary-miss; stored"),
    ),
    case("hit", Step("miss", says=FRESH), Step("hit", after=10, has="cache-status: guard; hit; ttl=90")),
    case(
        "hit, seconds are whole",
        Step("miss", says=FRESH),
        Step("hit", after=10.5, has="cache-status: guard; hit; ttl=89 | age: 10"),
    ),
    case(
        "hit, 304",
        Step("miss", says=TAGGED),
        Step("hit", 'if-none-match: "a"', has="cache-status: guard; hit; ttl=100"),
    ),
    case(
        "hit, 206", Step("miss", says=TAGGED), Step("hit", "range: bytes=0-1", has="cache-status: guard; hit; ttl=100")
    ),
    case("hit, HEAD", Step("miss", says=TAGGED), Step("hit", method="HEAD", has="cache-status: guard; hit; ttl=100")),
    case(
        "stale",
        Step("miss", says=FRESH + ", stale-while-revalidate=9"),
        Step("stale", after=103, has="cache-status: guard; hit; ttl=-3; detail=stale", behind=1),
    ),
    case("fwd=stale", Step("miss", says=TAGGED), Step("miss", after=103, has="cache-status: guard; fwd=stale; stored")),
    case(
        "fwd=stale, 304",
        Step("miss", says=TAGGED),
        Step(
            "valid",
            after=103,
            says=Reply(TAGGED, 304),
            has="cache-status: guard; fwd=stale; fwd-status=304; stored; ttl=100",
        ),
    ),
    case(
        "fwd=stale, failed",
        Step("miss", says=FRESH + ", stale-if-error=9"),
        Step(
            "instead", after=103, says=Reply(status=503), has="cache-status: guard; fwd=stale; fwd-status=503; ttl=-3"
        ),
    ),
    case(
        "fwd=request",
        Step("miss", says=FRESH),
        Step("miss", "cache-control: no-cache", has="cache-status: guard; fwd=request; stored"),
    ),
    case(
        "fwd=request, with nothing there it is none",
        Step("miss", "cache-control: no-cache", says=FRESH, has="cache-status: guard; fwd=uri-miss; stored"),
    ),
    case("fwd=method", Step("unstored", method="POST", has="cache-status: guard; fwd=method")),
    case("fwd=bypass", Step("unstored", 'if-match: "a"', has="cache-status: guard; fwd=bypass; detail=precondition")),
    case("not cached", Step("gone", "cache-control: only-if-cached", has="cache-status: guard; detail=not-cached")),
    case(
        "behind those that are there",
        Step(
            "miss",
            says=FRESH + " | cache-status: inner; hit",
            has="cache-status: inner; hit, guard; fwd=uri-miss; stored",
        ),
        Step("hit", has="cache-status: inner; hit, guard; hit; ttl=100"),
    ),
    case(
        "behind those on two lines",
        Step(
            "miss",
            says=FRESH + " | cache-status: a; hit | cache-status: b; hit",
            has="cache-status: a; hit | cache-status: b; hit, guard; fwd=uri-miss; stored",
        ),
    ),
)
async def test_cache_status(given: Case) -> None:
    await play(given)


@pytest.mark.parametrize(
    ("name", "said"), [(None, None), ("edge", b"edge; fwd=uri-miss; stored"), ("a b", b'"a b"; fwd=uri-miss; stored')]
)
async def test_cache_status_has_the_name_that_it_is_given(name: str | None, said: bytes | None) -> None:
    async with Lab(cache_status=name) as lab:
        lab.app.reply = Reply(FRESH)
        sent = await lab.send()
        assert dict(sent.response.headers).get(b"cache-status") == said


async def test_requests_that_wait_say_that_they_were_collapsed() -> None:
    async with Lab() as lab:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await lab.app(scope, receive, send)

        lab.app.reply = Reply(FRESH)
        stack = GuardMiddleware(app, [lab.cache], redis=lab.redis, clock=lab.clock)
        tasks = [asyncio.create_task(call(stack, http_scope("/", {"host": "a"}))) for _ in range(5)]
        await asyncio.sleep(0)
        go.set()
        told = sorted([(await task)["cache-status"] for task in tasks])
        assert told == ["guard; fwd=miss; collapsed; ttl=100"] * 4 + ["guard; fwd=uri-miss; stored"]
        assert len(lab.app.scopes) == 1


async def test_what_must_be_validated_is_not_shared_by_those_who_wait() -> None:
    async with Lab() as lab:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await lab.app(scope, receive, send)

        lab.app.reply = Reply('cache-control: no-cache | etag: "a"')
        stack = GuardMiddleware(app, [lab.cache], redis=lab.redis, clock=lab.clock)
        tasks = [asyncio.create_task(call(stack, http_scope("/", {"host": "a"}))) for _ in range(5)]
        await asyncio.sleep(0)
        go.set()
        bodies = {(await task).body for task in tasks}
        assert len(bodies) == len(lab.app.scopes) == 5
