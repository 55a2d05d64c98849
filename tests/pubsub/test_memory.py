"""What is special about `memory://`; everything else is tested on it as on every other store."""

import asyncio

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.redis.manager import RedisManager
from tests.pubsub.conftest import data, eventually, take


async def test_an_outage_that_fakeredis_plays_is_like_any_other() -> None:
    async with RedisManager("memory://", timeout=0.2) as manager:
        hub = manager.pubsub
        async with hub.subscribe("a") as subscription:
            manager._memory.connected = False
            hub._board.ping()  # fakeredis tells only those who ask
            await eventually(lambda: not subscription.live)
            assert "no sign of life" not in hub._board.wire.reason
            with pytest.raises(RedisUnavailable, match="not subscribed within"):
                await hub.subscribe("b").__aenter__()
            manager._memory.connected = True
            assert await take(subscription, 1) == [Gap("reconnected")]
            await hub.publish("a", "x")
            assert await data(subscription, 1) == [b"x"]


async def test_a_refusal_is_like_any_other() -> None:
    async with RedisManager("memory://", timeout=0.2) as manager, manager.pubsub.subscribe("ok") as fine:
        await manager.execute("ACL", "SETUSER", "default", "resetchannels", "&ok")
        with pytest.raises(OperationFailed):
            await manager.pubsub.subscribe("forbidden").__aenter__()
        assert fine.live


async def test_two_managers_share_nothing() -> None:
    async with RedisManager("memory://") as one, RedisManager("memory://") as two, one.pubsub.subscribe("a"):
        assert await two.pubsub.publish("a", "x") == 0
        assert await one.pubsub.publish("a", "x") == 1


async def test_a_closed_hub_is_heard_of_no_more() -> None:
    async with RedisManager("memory://") as manager:
        subscription = await manager.pubsub.subscribe("a", patterns="b*").__aenter__()
        publish = manager.pubsub.publish
        assert await publish("a", "x") == await publish("b", "x") == 1
        await manager.pubsub.aclose()
        assert await publish("a", "x") == await publish("b", "x") == 0
        assert not subscription.live
        assert asyncio.all_tasks() == {asyncio.current_task()}
