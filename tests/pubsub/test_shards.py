"""Where sharded channels are heard while nodes disagree: they say here what no real cluster says on demand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap, Message
from asgi_redis_guard.redis.slots import slot_of
from tests.pubsub.conftest import eventually, hub_on, take, within
from tests.redis.nodes import FakeNode, fake_nodes

NAME = b"news"
SLOT = slot_of(NAME)


def push(*words: bytes | int) -> bytes:
    parts = [b":%d\r\n" % word if isinstance(word, int) else b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b">%d\r\n" % len(parts) + b"".join(parts)


def confirmed(name: bytes = NAME) -> bytes:
    return push(b"ssubscribe", name, 1)


def withdrawn(name: bytes = NAME) -> bytes:
    return push(b"sunsubscribe", name, 0)


def message(data: bytes, name: bytes = NAME) -> bytes:
    return push(b"smessage", name, data)


def moved(node: FakeNode, name: bytes = NAME) -> bytes:
    return b"-MOVED %d 127.0.0.1:%d\r\n" % (slot_of(name), node.port)


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    """Two nodes, of which the first serves everything; all of them confirm what they are asked for."""
    async with fake_nodes(2) as nodes:
        for node in nodes:
            node.says = {"SSUBSCRIBE": confirmed(), "SUNSUBSCRIBE": withdrawn()}
        yield nodes


@pytest.fixture
async def hub(nodes: list[FakeNode]) -> AsyncIterator[Hub]:
    """A hub on them."""
    async with hub_on(f"redis+cluster://127.0.0.1:{nodes[0].port}") as hub:
        yield hub


async def test_the_node_that_a_redirection_names_is_asked(hub: Hub, nodes: list[FakeNode]) -> None:
    nodes[0].says["SSUBSCRIBE"] = moved(nodes[1])
    nodes[1].says["SSUBSCRIBE"] = confirmed() + message(b"1")
    assert not hub.connected
    async with hub.subscribe(NAME, sharded=True) as news:
        assert hub.connected
        assert await take(news, 1) == [Message("news", b"1")]
    assert (nodes[0].count["SSUBSCRIBE"], nodes[1].count["SSUBSCRIBE"]) == (1, 1)


async def test_what_a_node_withdraws_is_asked_for_again_and_heard_where_it_says(
    hub: Hub, nodes: list[FakeNode]
) -> None:
    nodes[0].says["SSUBSCRIBE"] = [confirmed() + message(b"1") + withdrawn() + message(b"late"), moved(nodes[1])]
    nodes[1].says["SSUBSCRIBE"] = confirmed() + message(b"2")
    async with hub.subscribe(NAME, sharded=True) as news:
        assert await take(news, 3) == [Message("news", b"1"), Gap("reconnected"), Message("news", b"2")]


async def test_nodes_that_send_us_in_turns_are_not_asked_in_a_storm(hub: Hub, nodes: list[FakeNode]) -> None:
    nodes[0].says["SSUBSCRIBE"] = [moved(nodes[1])] * 3 + [confirmed()]
    nodes[1].says["SSUBSCRIBE"] = moved(nodes[0])
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with hub.subscribe(NAME, sharded=True) as news:
        assert news.live
    assert loop.time() - began > 0.5, "0.08 + 0.16 + 0.32: twice as long each time, but for the first"
    assert nodes[0].count["SSUBSCRIBE"] == 4


@pytest.mark.parametrize("error", [b"-CLUSTERDOWN Hash slot not served\r\n", b"-LOADING the dataset\r\n"])
async def test_a_node_that_serves_nothing_now_is_asked_again(hub: Hub, nodes: list[FakeNode], error: bytes) -> None:
    nodes[0].says["SSUBSCRIBE"] = [error, error, confirmed()]
    async with hub.subscribe(NAME, sharded=True) as news:
        assert news.live


async def test_a_refusal_ends_who_asked_and_nobody_else(hub: Hub, nodes: list[FakeNode]) -> None:
    nodes[0].says["SSUBSCRIBE"] = [confirmed(), b"-NOPERM no such channel\r\n", confirmed(b"more")]
    async with hub.subscribe(NAME, sharded=True) as news:
        with pytest.raises(OperationFailed, match="NOPERM"):
            async with hub.subscribe(NAME, b"secret", sharded=True):
                raise AssertionError("subscribed")
        assert news.live
        async with hub.subscribe(b"more", sharded=True):
            pass


async def test_a_redirection_of_what_was_withdrawn_already_is_nobodys(hub: Hub, nodes: list[FakeNode]) -> None:
    """The node ends a channel while we leave it: it says so unasked, and answers what we asked with a redirection."""
    nodes[0].says["SSUBSCRIBE"] = [confirmed(), confirmed(b"other")]
    nodes[0].says["SUNSUBSCRIBE"] = withdrawn() + moved(nodes[1])
    async with hub.subscribe(NAME, sharded=True):
        pass
    async with hub.subscribe(b"other", sharded=True) as other:
        assert other.live
    assert hub._shards is not None
    (station,) = hub._shards.stations.values()
    assert station.wire.up, "the connection was trusted all the time"


async def test_a_map_that_says_otherwise_is_followed_and_nothing_is_heard_at_the_former_node(
    hub: Hub, nodes: list[FakeNode]
) -> None:
    nodes[0].says["SUNSUBSCRIBE"] = message(b"too late") + moved(nodes[1])
    nodes[1].says["SSUBSCRIBE"] = confirmed() + message(b"2")
    topology = hub._manager.links.topology
    assert topology is not None
    async with hub.subscribe(NAME, sharded=True) as news:
        for node in nodes:
            node.map = [(0, 16383, nodes[1].port)]
        await within(asyncio.shield(topology.refresh()))
        assert await take(news, 2) == [Gap("reconnected"), Message("news", b"2")]
        assert hub._shards is not None
        await within(asyncio.shield(topology.refresh()))
        assert [place.port for place in hub._shards.stations] == [nodes[1].port], "the other was let go of"


async def test_who_leaves_while_nobody_is_asked_leaves_nothing(hub: Hub, nodes: list[FakeNode]) -> None:
    nodes[0].says["SSUBSCRIBE"] = b"-CLUSTERDOWN Hash slot not served\r\n"
    listener = hub.listen(NAME, print, sharded=True)
    await eventually(lambda: nodes[0].count["SSUBSCRIBE"])
    await eventually(lambda: hub._shards is not None and any(c.timer for c in hub._shards.channels.values()))
    await listener.aclose()
    assert hub._shards is not None
    assert not hub._shards.channels
    assert "0 channels" in repr(hub._shards)


async def test_a_closed_hub_takes_nobody_more(hub: Hub, nodes: list[FakeNode]) -> None:
    async with hub.subscribe(NAME, sharded=True) as news:
        closing = asyncio.ensure_future(hub.aclose())
        assert [event async for event in news] == []
        await within(closing)
    with pytest.raises(RedisUnavailable, match="closed"):
        async with hub.subscribe(NAME, sharded=True):
            raise AssertionError("subscribed")
