"""A cache that reads from a replica, which may lag, hang, go away, or become a primary of its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.cache.site import Page, Site, routes, writing
from tests.conftest import MakeServer
from tests.redis.tools import eventually
from tests.replicated import Replicated, read_from, replicated

LARGE = [b"x" * 40_000]


@pytest.fixture(params=["valkey9", "redis62"])
async def pair(request: pytest.FixtureRequest, make_server: MakeServer) -> AsyncIterator[Replicated]:
    async with replicated(make_server, request.param) as pair:
        yield pair


def site(redis: RedisManager, page: Page, **options: object) -> Site:
    """A page that goes by the tag `one`, and a route that invalidates it."""
    app = routes(page=page, tag=writing("one"))
    return Site(app, redis, **{"read_from_replicas": True, **options})


async def test_hits_come_from_the_replica_and_the_rest_from_the_primary(pair: Replicated) -> None:
    async with pair.manager() as redis:
        found = site(redis, Page(tags=["one"]))
        assert (await found.get("/page")).body == b"page 1"
        await pair.agreed()
        for _ in range(3):
            before = pair.runs()
            assert (await found.get("/page")).body == b"page 1"
            assert pair.runs() == before + 1
        assert found.outcomes()[-3:] == ["hit"] * 3


async def test_a_large_body_comes_from_the_replica(pair: Replicated, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair.manager() as redis:
        page = Page()
        page.chunks = lambda number: LARGE
        await site(redis, page, compress_from=None).get("/page")
        await pair.agreed()
        monkeypatch.setattr(redis, "execute", nothing)
        other = site(redis, page, compress_from=None)  # has nothing in memory
        assert (await other.get("/page")).body == LARGE[0]
        assert page.runs == 1


def nothing(*_: object) -> None:
    raise AssertionError("the primary was asked for the body")


async def test_what_a_replica_has_not_heard_of_is_found_on_the_primary(pair: Replicated) -> None:
    async with pair.manager() as redis:
        page = Page(tags=["one"])
        found = site(redis, page)
        pair.lag()
        assert (await found.get("/page")).body == b"page 1"
        assert (await found.get("/page")).body == b"page 1"
        assert page.runs == 1


@pytest.mark.parametrize("write", ["/tag", "/page"])
async def test_what_this_process_has_invalidated_is_not_given_by_a_replica_that_lags(
    pair: Replicated, write: str
) -> None:
    async with pair.manager() as redis:
        page = Page(tags=["one"])
        found = site(redis, routes_of(page))
        await found.get("/page")
        await pair.agreed()
        assert (await found.get("/page")).body == b"page 1"
        pair.lag()
        await found.post(write)
        for _ in range(3):
            assert (await found.get("/page")).body == b"page 2"
        assert page.runs == 2
        other = site(redis, page)  # whose first look is without anything remembered
        other.guard.level = found.guard.level
        assert (await other.get("/page")).body == b"page 2"
        await pair.catch_up()
        await read_from(redis)
        assert (await found.get("/page")).body == b"page 2"


def routes_of(page: Page) -> Page:
    """GET is the page; what else comes is a write to the same URL."""
    write = writing()
    run = page._declared

    async def either(scope, receive, send):  # type: ignore[no-untyped-def]
        await (run if scope["method"] == "GET" else write)(scope, receive, send)

    page._declared = either
    return page


async def test_what_another_process_has_invalidated_is_not_given_once_its_word_has_come(pair: Replicated) -> None:
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=20) as elsewhere:
        page = Page(tags=["one"])
        found, other = site(redis, page), site(elsewhere, page)
        await found.get("/page")
        await pair.agreed()
        assert (await found.get("/page")).body == b"page 1"
        pair.lag()
        await other.post("/tag")
        await eventually(lambda: len(found.guard.level._words))
        assert (await found.get("/page")).body == b"page 2"


async def test_a_replica_that_hangs_costs_half_the_time_and_then_nothing(pair: Replicated) -> None:
    async with pair.manager(timeout=0.4) as redis:
        page = Page()
        found = site(redis, page)
        await found.get("/page")
        await pair.agreed()
        await found.get("/page")
        pair.replica.pause()
        try:
            for _ in range(12):
                assert (await found.get("/page")).body == b"page 1"
            assert page.runs == 1
        finally:
            pair.replica.resume()
        await read_from(redis)
        before = pair.runs()
        assert (await found.get("/page")).body == b"page 1"
        assert pair.runs() > before


async def test_a_replica_that_dies_is_missed_by_nobody(pair: Replicated) -> None:
    async with pair.manager() as redis:
        page = Page()
        found = site(redis, page)
        await found.get("/page")
        await pair.agreed()
        pair.replica.kill()
        for _ in range(5):
            assert (await found.get("/page")).body == b"page 1"
        assert page.runs == 1


async def test_a_replica_that_was_cut_off_or_promoted_is_left_alone(pair: Replicated) -> None:
    async with pair.manager() as redis:
        page = Page(tags=["one"])
        found = site(redis, page)
        await found.get("/page")
        await pair.agreed()
        await asyncio.to_thread(pair.replica.command, "REPLICAOF", "NO", "ONE")
        replicas = redis.links.replicas
        assert replicas is not None
        await eventually(lambda: replicas._pick(0) is None)
        before = pair.runs()
        assert (await found.get("/page")).body == b"page 1"
        assert pair.runs() == before


async def test_without_the_option_nothing_is_read_from_replicas(pair: Replicated) -> None:
    async with pair.manager() as redis:
        found = site(redis, Page(), read_from_replicas=False)
        await found.get("/page")
        await pair.agreed()
        before = pair.runs()
        await found.get("/page")
        assert pair.runs() == before
