"""`manager.tagged`: the same connections with other keys."""

import asyncio

import pytest

from asgi_redis_guard import RateLimiter, RedisManager, RevocationList, SessionStore
from asgi_redis_guard.redis.tagged import TaggedManager


async def test_it_has_the_connections_of_its_manager(manager: RedisManager) -> None:
    view = manager.tagged("acme")
    assert isinstance(view, TaggedManager)
    assert view.links is manager.links
    assert view.pubsub is manager.pubsub
    assert view.client is manager.client
    assert view.leases is manager.leases
    assert view.is_cluster is manager.is_cluster
    assert await view.execute("PING") == "PONG" or await view.execute("PING") == b"PONG"
    assert RedisManager.of(view) is view
    assert (await view.health())["healthy"]


async def test_there_is_one_for_each_tag_as_long_as_somebody_has_it(manager: RedisManager) -> None:
    view = manager.tagged("acme")
    assert manager.tagged("acme") is view
    assert view.tagged("acme") is view
    assert manager.tagged("globex") is not view
    assert view.keys is manager.keys.tagged("acme")


@pytest.mark.parametrize("tag", ["", "a" * 257])
async def test_a_tag_that_no_request_can_have_is_refused(manager: RedisManager, tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        manager.tagged(tag)


def test_what_is_no_text_is_refused_by_name():
    with pytest.raises(TypeError, match="tag: None given; allowed is text"):
        RedisManager("memory://").tagged(None)


async def test_who_closes_it_closes_the_connections(redis_url: str) -> None:
    root = RedisManager(redis_url)
    async with root.tagged("acme") as view:
        assert await view.execute("PING") is not None
        assert root.links is view.links
        links = root.links
    assert root.links is not links
    await root.aclose()


async def test_it_is_not_closed_while_another_uses_it(redis_url: str) -> None:
    root = RedisManager(redis_url)
    async with root:
        links = root.links
        async with root.tagged("acme"):
            pass
        assert root.links is links


async def test_services_of_two_tags_have_nothing_in_common(each_manager: RedisManager) -> None:
    acme, globex = (each_manager.tagged(tag) for tag in ("acme", "globex"))
    lists = [RevocationList(one) for one in (acme, globex, each_manager)]
    assert await lists[0].revoke("1") is True
    assert [await one.is_revoked("1") for one in lists] == [True, False, False]
    assert [(await one.stats())["revoked"] for one in lists] == [1, 0, 0]
    stores = [SessionStore(one) for one in (acme, globex, each_manager)]
    await stores[0].create("alice")
    assert [len(await one.list("alice")) for one in stores] == [1, 0, 0]
    limits = [RateLimiter("2/minute", redis=one) for one in (acme, globex)]
    assert [(await one.hit("k")).remaining for one in (limits[0], limits[0], limits[1])] == [1, 0, 1]
    async with acme.lock("import"):
        async with asyncio.timeout(5):
            async with globex.lock("import", wait=0), each_manager.lock("import", wait=0):
                pass
