"""One connection for everybody, while nothing goes wrong. What does is in `tests/faults/`."""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisOverloaded, RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis.channel import Channel
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.redis.tools import PATIENCE, channel_to, eventually, on_both_loops, within
from tests.servers import Server


class Written:
    """A transport that notes what is written."""

    def __init__(self, transport: Any) -> None:
        self.transport, self.chunks = transport, list[bytes]()

    def write(self, data: bytes) -> None:
        self.chunks.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


async def test_a_few_commands_of_one_turn_of_the_loop_leave_in_one_write_many_in_several(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        await channel.connect()
        assert channel._link is not None
        channel._link.transport = written = Written(channel._link.transport)  # type: ignore[assignment]
        for asked, sizes in ((31, [31]), (32, [32]), (33, [32, 1]), (80, [32, 32, 16]), (1, [1])):
            written.chunks.clear()
            replies = await within(asyncio.gather(*(channel.submit(("ECHO", str(n))) for n in range(asked))))
            assert replies == [b"%d" % n for n in range(asked)]
            assert [chunk.count(b"ECHO") for chunk in written.chunks] == sizes


async def test_a_lonely_command_does_not_wait_for_company(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url) as channel:
        await channel.connect()
        proxy.reset()
        for _ in range(3):
            await within(channel.submit(("PING",)))
        assert (proxy.round_trips, proxy.commands) == (3, [b"PING"] * 3)


async def test_what_is_submitted_before_there_is_a_connection_goes_out_with_it(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url) as channel:
        futures = [channel.submit(("ECHO", str(n))) for n in range(10)]
        assert await within(asyncio.gather(*futures)) == [b"%d" % n for n in range(10)]
        assert proxy.connections == 1


async def caller(channel: Channel, who: int) -> None:
    """Ask for many things in a row, each of which nobody else can have asked for."""
    chance = random.Random(who)
    key = f"key:{who}"
    script = Script(f"return {{ARGV[1], 'script of {who % 7}'}}")
    for n in range(6):
        what = chance.randrange(6)
        if what == 0:
            assert await channel.submit(("ECHO", f"{who}:{n}")) == b"%d:%d" % (who, n)
        elif what == 1:
            value = chance.randbytes(chance.choice([0, 10, 20_000]))
            await channel.submit(("SET", key, value))
            assert await channel.submit(("GET", key)) == value
        elif what == 2:
            with pytest.raises(OperationFailed, match=f"no_such_{who}_{n}"):
                await channel.submit((f"no_such_{who}_{n}",))
        elif what == 3:
            answer = await channel.submit(("EVALSHA", script.sha, 0, f"{who}:{n}"), script=script)
            assert answer == [b"%d:%d" % (who, n), b"script of %d" % (who % 7)]
        elif what == 4:
            assert await channel.submit(("HGETALL", f"none:{who}")) in ({}, [])
        else:
            future = channel.submit(("ECHO", "nobody listens"))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            future.cancel()


@on_both_loops
async def test_a_thousand_callers_at_once_each_get_their_own_reply(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        await within(asyncio.gather(*(caller(channel, who) for who in range(1000))))
        await within(channel.submit(("PING",)))
        assert channel.in_flight == 0


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_that_come_in_crumbs_are_put_together(redis_url: str, protocol: int) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, protocol=protocol) as channel:
        proxy.chop(3)
        await within(asyncio.gather(*(caller(channel, who) for who in range(3))))


async def test_an_error_reply_is_its_callers_alone(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        wrong, right = channel.submit(("GET",)), channel.submit(("PING",))
        with pytest.raises(OperationFailed) as caught:
            await within(wrong)
        assert caught.value.code == "ERR"
        assert not caught.value.maybe_executed
        assert await within(right) == b"PONG"


async def test_a_caller_that_gives_up_in_the_same_turn_is_never_sent(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url) as channel:
        await channel.connect()
        proxy.reset()
        channel.submit(("SET", "k", "v")).cancel()
        assert await within(channel.submit(("GET", "k"))) is None
        assert proxy.commands == [b"GET"]


async def test_the_reply_of_a_caller_that_gave_up_is_nobody_elses(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        await channel.connect()
        futures = [channel.submit(("ECHO", str(n))) for n in range(100)]
        await asyncio.sleep(0)  # they are written now
        for future in futures[::3]:
            future.cancel()
        for n, future in enumerate(futures):
            if n % 3:
                assert await within(future) == b"%d" % n
        assert channel.in_flight == 0


async def test_past_the_bound_callers_are_refused_at_once_and_the_others_are_served(redis_url: str) -> None:
    async with channel_to(redis_url, limit=10) as channel:
        served = [channel.submit(("ECHO", str(n))) for n in range(10)]
        for _ in range(100):
            with pytest.raises(RedisOverloaded) as caught:
                channel.submit(("PING",))
            assert not caught.value.maybe_executed
        assert channel.in_flight == 10
        assert await within(asyncio.gather(*served)) == [b"%d" % n for n in range(10)]
        assert await within(channel.submit(("PING",))) == b"PONG"


async def test_a_deadline_ends_the_wait_of_its_caller_only(fresh_server: Server) -> None:
    async with FaultProxy(fresh_server.url) as proxy, channel_to(proxy.url, timeout=2) as channel:
        await channel.connect()
        fresh_server.pause()
        hasty, patient = channel.submit(("INCR", "k"), timeout=0.05), channel.submit(("INCR", "k"), timeout=PATIENCE)
        with pytest.raises(RedisTimeout) as caught:
            await within(hasty)
        assert caught.value.maybe_executed
        assert not patient.done()
        fresh_server.resume()
        assert await within(patient) == 2
        assert proxy.connections == 1


async def test_a_command_that_cannot_be_packed_is_refused_before_it_is_queued(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        for wrong in ({}, None, object()):
            with pytest.raises(TypeError):
                channel.submit(("SET", "k", wrong))
        assert channel.in_flight == 0


@pytest.mark.parametrize("protocol", [2, 3])
async def test_big_values_travel_both_ways_while_the_socket_is_full(redis_url: str, protocol: int) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, protocol=protocol) as channel:
        values = [random.Random(n).randbytes(1_000_000) for n in range(30)]
        await within(asyncio.gather(*(channel.submit(("SET", f"k{n}", v)) for n, v in enumerate(values))))
        assert await within(asyncio.gather(*(channel.submit(("GET", f"k{n}")) for n in range(30)))) == values


async def test_pushed_messages_are_not_replies(redis_url: str, valkey: Server) -> None:
    async with channel_to(redis_url) as channel:
        await within(channel.submit(("CLIENT", "TRACKING", "ON")))
        for n in range(20):
            assert await within(channel.submit(("GET", "watched"))) == (b"%d" % (n - 1) if n else None)
            await asyncio.to_thread(valkey.command, "SET", "watched", n)  # the server pushes an invalidation
        assert await within(channel.submit(("ECHO", "mine"))) == b"mine"


async def test_a_script_is_loaded_once_and_again_on_another_connection(redis_url: str) -> None:
    script = Script("return ARGV[1]")
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url) as channel:

        async def call() -> Any:
            return await within(channel.submit(("EVALSHA", script.sha, 0, "x"), script=script))

        await channel.connect()
        proxy.reset()
        assert await asyncio.gather(call(), call()) == [b"x", b"x"]
        assert (proxy.commands, proxy.round_trips) == ([b"SCRIPT", b"EVALSHA", b"EVALSHA"], 1)
        channel.drop("test")
        proxy.reset()
        assert await call() == b"x"
        assert proxy.commands[-2:] == [b"SCRIPT", b"EVALSHA"]
        assert proxy.commands.count(b"SCRIPT") == 1


async def test_two_who_connect_at_once_end_with_one_connection(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url) as channel:
        first, second = await within(asyncio.gather(channel.connect(), channel.connect()))
        assert first is second is channel.link
        await eventually(lambda: proxy.open_connections == 1)


async def test_closing_fails_who_waits_and_refuses_who_comes(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        await channel.connect()
        written = channel.submit(("PING",))
        await asyncio.sleep(0)
        queued = channel.submit(("PING",))
        channel.close()
        channel.close()
        for future, maybe in ((written, True), (queued, False)):
            with pytest.raises(RedisUnavailable, match="closed") as caught:
                await future
            assert caught.value.maybe_executed is maybe
        with pytest.raises(RedisUnavailable, match="closed"):
            channel.submit(("PING",))
        with pytest.raises(RedisUnavailable, match="closed"):
            await channel.connect()


async def test_its_repr_tells_the_state(redis_url: str) -> None:
    async with channel_to(redis_url) as channel:
        assert repr(channel).endswith("not connected, 0 in flight>")
        await channel.connect()
        channel.submit(("PING",)).cancel()
        assert repr(channel).endswith("connected, 1 in flight>")
        channel.close()
        assert "closed" in repr(channel)
