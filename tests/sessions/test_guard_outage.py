"""Sessions while Redis is away, full, or started anew: nothing is lost in silence, nothing comes back by half."""

import asyncio
import inspect
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, Session
from asgi_redis_guard.errors import RedisTimeout, RedisUnavailable
from tests.conftest import MakeServer
from tests.drive import App, handshake
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE
from tests.servers import Server
from tests.sessions.visits import Site, Slow, loaded, put

SERVERS = pytest.mark.parametrize("kind", ["valkey9", "redis62"])


async def test_who_presents_a_session_gets_503_and_who_presents_none_is_served(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)
    memory.away = RedisUnavailable("away")
    assert await browser.visit() is None
    assert browser.response.status == 503
    assert int(browser.response["retry-after"]) >= 1
    assert browser.told == []
    assert await site.browser().visit() == {}
    memory.away = None
    assert await browser.visit() == {"a": 1}


async def test_the_anonymous_option_gives_an_empty_session_and_leaves_the_cookie_alone(memory: TestRedis) -> None:
    site = Site(memory, on_outage="anonymous")
    browser = await site.signed_in(a=1)
    memory.away = RedisTimeout("away")
    assert await browser.visit() == {}
    assert (browser.response.status, browser.told) == (200, [])
    memory.away = None
    assert await browser.visit() == {"a": 1}


def cleared_and_filled(session: Session) -> None:
    session.clear()
    session["a"] = 2


CHANGES = pytest.mark.parametrize(
    "act",
    [put(a=2), cleared_and_filled, lambda session: session.incr("a"), Session.clear, Session.rotate],
    ids=["write", "clear and write", "incr", "clear", "rotate"],
)


@CHANGES
@pytest.mark.parametrize("lazy", [False, True], ids=["", "lazy"])
async def test_what_stands_in_for_a_session_is_never_written_over_it(memory: TestRedis, act: Any, lazy: bool) -> None:
    """Also where Redis serves again by then, or another node of a cluster does."""
    site = Site(memory, on_outage="anonymous", lazy=lazy)
    browser = await site.signed_in(user_id="alice")
    keys = await site.keys()
    await browser.visit(unread(memory, act, lazy=lazy))
    assert (browser.response.status, browser.told) == (503, [])
    assert int(browser.response["retry-after"]) >= 1
    assert (await browser.visit(loaded), await site.keys()) == ({"user_id": "alice"}, keys)


@pytest.mark.parametrize("lazy", [False, True], ids=["", "lazy"])
async def test_a_login_takes_the_cookie_of_what_it_could_not_read(memory: TestRedis, lazy: bool) -> None:
    site = Site(memory, on_outage="anonymous", lazy=lazy)
    browser = await site.signed_in(user_id="alice")
    former = browser.twin()

    def log_in(session: Session) -> None:
        session.clear()
        session.rotate()
        session["user_id"] = "bob"

    memory.away = RedisUnavailable("away")
    await browser.visit(unread(memory, log_in, lazy=lazy))
    assert (browser.response.status, len(browser.told)) == (200, 1)
    assert await browser.visit(loaded) == {"user_id": "bob"}
    assert await former.visit(loaded) == {"user_id": "alice"}
    await former.visit(unread(memory, log_in, lazy=lazy), status=401)
    assert (former.response.status, former.told) == (401, []), "a login that failed leaves nothing behind"


def unread(redis: TestRedis, act: Any, *, lazy: bool) -> Any:
    """A visit with a session that cannot be read; when the app goes on, Redis serves again."""

    async def visit(session: Session) -> Any:
        if lazy:
            redis.away = RedisUnavailable("away")
            await session.load()
        redis.away = None
        assert session == {}
        result = act(session)
        return await result if inspect.isawaitable(result) else result

    redis.away = None if lazy else RedisUnavailable("away")
    return visit


async def test_a_socket_whose_session_could_not_be_read_cannot_save_it(memory: TestRedis) -> None:
    site = Site(memory, on_outage="anonymous")
    browser = await site.signed_in(user_id="alice")

    async def save(session: Session) -> None:
        session["a"] = 1
        with pytest.raises(RedisUnavailable, match="could not be read"):
            await session.save()
        del session["a"]
        await session.save()

    await browser.visit(unread(memory, save, lazy=False))
    assert (browser.response.status, browser.told) == (200, [])
    assert await browser.visit() == {"user_id": "alice"}


@pytest.mark.parametrize(
    "act", [put(a=2), put(user_id="bob"), lambda session: session.rotate(), lambda session: session.clear()]
)
@pytest.mark.parametrize("mode", ["closed", "anonymous"])
async def test_what_cannot_be_written_before_the_head_is_a_503(memory: TestRedis, act: Any, mode: str) -> None:
    site = Site(memory, on_outage=mode)
    browser = await site.signed_in(a=1)
    slow = await Slow(act).start(browser)
    memory.away = RedisUnavailable("away")
    await slow.finish()
    assert (browser.response.status, browser.told) == (503, [])
    memory.away = None
    assert await browser.visit() == {"a": 1}


@pytest.mark.parametrize(("mode", "status"), [("closed", 503), ("anonymous", 101)])
async def test_a_handshake_with_a_session_follows_the_option(memory: TestRedis, mode: str, status: int) -> None:
    site = Site(memory, on_outage=mode)
    browser = await site.signed_in(a=1)
    memory.away = RedisUnavailable("away")
    app = GuardMiddleware(App(), [site.guard], redis=memory)
    response = await handshake(app, headers={"cookie": f"__Host-session={browser.cookie}"})
    assert response.status == status


async def test_a_new_session_that_cannot_be_written_is_a_503(memory: TestRedis) -> None:
    browser = Site(memory).browser()
    memory.away = RedisUnavailable("away")
    await browser.visit(put(user_id="alice"))
    assert (browser.response.status, browser.told) == (503, [])


async def test_a_touch_that_fails_harms_nobody(memory: TestRedis) -> None:
    site = Site(memory, idle=600)
    browser = await site.signed_in(a=1)
    await site.age(browser.id.record, 300)
    slow = await Slow(dict).start(browser)
    memory.away = RedisUnavailable("away")
    assert await slow.finish() == {"a": 1}
    assert browser.response.status == 200


@SERVERS
async def test_a_server_that_was_started_anew_without_its_data_has_no_sessions(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        site = Site(redis)
        browser = await site.signed_in(user_id="alice")
        slow = await Slow(put(a=1)).start(tab := browser.twin())
        await restarted(redis, server)
        await slow.finish()
        assert (tab.response.status, tab.told, await site.keys()) == (200, [], [])
        assert await browser.visit() == {}


@SERVERS
async def test_sessions_go_on_over_a_restart_of_a_server_that_keeps_its_data(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(kind, appendonly="yes", appendfsync="always")
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        site = Site(redis)
        browser = await site.signed_in(user_id="alice")
        slow = await Slow(put(a=1)).start(browser.twin())
        times = await site.times(browser.id.record)
        await restarted(redis, server)
        await slow.finish()
        assert await browser.visit() == {"user_id": "alice", "a": 1}
        assert (await site.times(browser.id.record))[:3] == times[:3]
        assert await redis.execute("PTTL", browser.id.record) > 0


async def restarted(redis: RedisManager, server: Server) -> None:
    """Start the server anew, and wait until the manager has found it."""
    server.restart()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await redis.execute("PING")
            except RedisUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_is_a_503_and_leaves_no_half_of_anything(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        site = Site(redis, idle=600)
        browser = await site.signed_in(user_id="alice", a=1, b=2)
        await site.age(browser.id.record, 300)
        keys, fields = await site.keys(), await site.fields(browser.id.record)
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.command("CONFIG", "SET", "maxmemory", 1)

        def save_and_remove(session: Any) -> None:
            session["a"] = 2
            del session["b"]

        rotate = put(user_id="bob")
        for act in (save_and_remove, rotate, lambda session: session.rotate(), lambda session: session.incr("a")):
            tab = browser.twin()
            try:
                await tab.visit(act)
            except RedisUnavailable:
                assert act not in (save_and_remove, rotate), "raised in the app by incr alone"
            else:
                assert (tab.response.status, tab.told) == (503, [])
            assert (await site.keys(), await site.fields(browser.id.record)) == (keys, fields)
        fresh = site.browser()
        await fresh.visit(put(user_id="carol"))
        assert (fresh.response.status, fresh.told, await site.keys()) == (503, [], keys)
        assert await browser.visit() == {"user_id": "alice", "a": 1, "b": 2}, "reading goes on, the touch is left out"
        await browser.visit(lambda session: session.clear())
        assert browser.response.status == 200, "a logout needs no memory"
        assert await site.keys() == []
        server.command("CONFIG", "SET", "maxmemory", 0)
