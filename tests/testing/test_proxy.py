"""The fault proxy before a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio

from asgi_redis_guard.testing import FaultProxy
from tests.redis.tools import eventually
from tests.servers import Server
from tests.testing.conftest import Dial, Wire


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_url) as proxy:
        yield proxy
    assert asyncio.all_tasks() <= {asyncio.current_task()}, "the proxy left tasks behind"
    assert proxy.open_connections == 0


@pytest.fixture
async def wire(proxy: FaultProxy, dial: Dial) -> Wire:
    """A connection that works."""
    wire = await dial(proxy)
    assert await wire.ask(b"PING") == b"+PONG\r\n"
    return wire


async def test_a_healthy_proxy_carries_everything(proxy: FaultProxy) -> None:
    async with redis.asyncio.Redis.from_url(proxy.url) as client:
        value = bytes(range(256)) * 20_000
        await client.set("key", value)
        assert await client.get("key") == value
    assert proxy.bytes_up > len(value) < proxy.bytes_down


async def test_it_counts_connections_and_records_when_told(proxy: FaultProxy, wire: Wire) -> None:
    assert (proxy.connections, proxy.open_connections, proxy.requests) == (1, 1, [])
    assert (proxy.bytes_up, proxy.bytes_down) == (14, 7)
    proxy.recording = True
    await wire.ask(b"ECHO", b"hello")
    assert proxy.requests == [b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n"]
    wire.writer.close()
    await eventually(lambda: proxy.open_connections == 0)
    assert proxy.connections == 1


class Timed(FaultProxy):
    """Notes when something came to the server's side."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.times: list[float] = []

    def saw_request(self, link: Any, data: bytes) -> None:
        super().saw_request(link, data)
        self.times.append(asyncio.get_running_loop().time())


async def test_latency_delays_each_direction_and_not_the_flow(redis_url: str, dial: Dial) -> None:
    """If it delayed the flow, no two would ever cross closer together than the latency; of these only some must."""
    loop = asyncio.get_running_loop()
    async with Timed(redis_url) as proxy:
        wire = await dial(proxy)
        proxy.latency = 0.1
        began, replies = loop.time(), b""
        for _ in range(10):
            wire.send(b"PING")
            await asyncio.sleep(0.01)  # or they would be one
        while len(replies) < 10 * 7:
            replies += await wire.read()
        times = proxy.times
        assert times[0] - began > 0.099
        assert loop.time() - times[-1] > 0.099
        assert min((after - before for before, after in pairwise(times)), default=0) < 0.1


async def test_a_black_hole_swallows_old_and_new_connections_until_healed(
    proxy: FaultProxy, wire: Wire, dial: Dial
) -> None:
    proxy.black_hole()
    late = await dial(proxy)
    for each in (wire, late):
        each.send(b"SET", b"key", b"value")
        assert await each.hears_nothing()
    proxy.heal()
    assert await wire.is_reset()
    assert await late.is_reset()
    assert await (await dial(proxy)).ask(b"EXISTS", b"key") == b":0\r\n"


async def test_a_black_hole_hides_the_end_of_the_server(fresh_server: Server, dial: Dial) -> None:
    async with FaultProxy(fresh_server.url) as proxy:
        wire = await dial(proxy)
        await wire.ask(b"PING")
        proxy.black_hole()
        fresh_server.kill()
        assert await wire.hears_nothing()


async def test_links_that_lost_nothing_survive_a_black_hole(proxy: FaultProxy, wire: Wire) -> None:
    proxy.black_hole()
    proxy.heal()
    assert await wire.ask(b"PING") == b"+PONG\r\n"


async def test_dropped_replies_leave_their_effect(proxy: FaultProxy, wire: Wire, dial: Dial) -> None:
    proxy.drop_replies()
    wire.send(b"INCR", b"key")
    assert await wire.hears_nothing()
    proxy.heal()
    assert await wire.is_reset()
    assert await (await dial(proxy)).ask(b"GET", b"key") == b"$1\r\n1\r\n"


async def test_refusing_resets_what_is_open_and_healing_listens_on_the_same_port(
    proxy: FaultProxy, wire: Wire, dial: Dial
) -> None:
    url = proxy.url
    proxy.refuse()
    proxy.refuse()
    assert await wire.is_reset()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await dial(proxy)
    proxy.heal()
    assert proxy.url == url
    assert await (await dial(proxy)).ask(b"PING") == b"+PONG\r\n"


async def test_reset_all_resets_and_takes_new_connections(proxy: FaultProxy, wire: Wire, dial: Dial) -> None:
    proxy.reset_all()
    assert await wire.is_reset()
    assert await (await dial(proxy)).ask(b"PING") == b"+PONG\r\n"


async def test_a_connection_reset_before_its_first_step_leaves_nothing_open(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        proxy._accept()
        proxy.reset_all()
        await eventually(lambda: proxy.open_connections == 0)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert proxy.connections == 1


async def test_a_server_that_refuses_shows_as_a_reset(fresh_server: Server, dial: Dial) -> None:
    async with FaultProxy(fresh_server.path) as proxy:
        fresh_server.kill()
        assert await (await dial(proxy)).is_reset()


async def test_a_cut_request_is_carried_out_once_and_its_reply_is_lost(
    proxy: FaultProxy, wire: Wire, dial: Dial
) -> None:
    proxy.cut_after_request(b"INCR")
    assert await wire.ask(b"SET", b"key", b"41") == b"+OK\r\n"
    wire.send(b"INCR", b"key")
    wire.send(b"INCR", b"key")
    assert await wire.is_reset()
    again = await dial(proxy)
    assert await again.ask(b"GET", b"key") in (b"$2\r\n42\r\n", b"$2\r\n43\r\n")
    assert (await again.ask(b"INCR", b"key")).startswith(b":4"), "it happens only once"


async def test_a_cut_blocking_request_does_not_wait_for_its_end(proxy: FaultProxy, wire: Wire) -> None:
    proxy.cut_after_request(b"BLPOP")
    wire.send(b"BLPOP", b"nothing", b"0")
    assert await wire.is_reset()


async def test_a_truncated_reply_ends_in_a_reset(proxy: FaultProxy, wire: Wire, dial: Dial) -> None:
    proxy.truncate_reply(3)
    assert await wire.ask(b"ECHO", b"hello") == b"$5\r"
    assert await wire.is_reset()
    assert await (await dial(proxy)).ask(b"PING") == b"+PONG\r\n"


async def test_garbage_takes_the_place_of_one_reply(proxy: FaultProxy, wire: Wire) -> None:
    proxy.garble(b"\x00nonsense")
    assert await wire.ask(b"PING") == b"\x00nonsense"
    assert await wire.ask(b"PING") == b"+PONG\r\n"


async def test_chopped_bytes_arrive_one_by_one(proxy: FaultProxy, wire: Wire) -> None:
    proxy.chop(1)
    wire.send(b"ECHO", b"hello")
    pieces: list[bytes] = []
    while b"".join(pieces) != b"$5\r\nhello\r\n":
        pieces.append(await wire.read())
    assert len(pieces) > 3


async def test_a_proxy_reaches_servers_over_tcp_by_url_or_address(redis_url: str, dial: Dial) -> None:
    async with FaultProxy(redis_url) as inner:
        for upstream in (inner.url, ("127.0.0.1", inner.port)):
            async with FaultProxy(upstream) as outer:
                assert await (await dial(outer)).ask(b"PING") == b"+PONG\r\n"
    with pytest.raises(ValueError, match="rediss://"):
        FaultProxy("rediss://localhost")


async def test_a_proxy_stops_while_replies_wait_for_a_client_that_does_not_read(redis_url: str, dial: Dial) -> None:
    async with FaultProxy(redis_url) as proxy:
        wire = await dial(proxy)
        assert await wire.ask(b"SET", b"big", bytes(5_000_000)) == b"+OK\r\n"
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            wire.send(b"GET", b"big")
        before = proxy.bytes_down
        await eventually(lambda: proxy.bytes_down > before)
    assert proxy.open_connections == 0
