"""What networks and servers do to a hub, and what its subscribers see of it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Event, Gap, Message
from asgi_redis_guard.testing import FaultProxy
from tests.conftest import BACKENDS, MakeServer
from tests.pubsub.conftest import PATIENCE, data, eventually, hub_on, quiet_manager, take, within
from tests.servers import Server
from tests.tls import TLSProxy

KINDS = [kind for kind in BACKENDS if kind != "memory"]
GAP = Gap("reconnected")
AWAY_AND_BACK = ["away", "back"]


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_url) as proxy:
        yield proxy


def changes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the hub logged, in one word each."""
    words = [record.getMessage() for record in caplog.records if record.name == "asgi_redis_guard.pubsub"]
    return ["away" if " is away " in line else "back" if line.endswith(" is back") else line for line in words]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_connection_comes_back_with_a_gap(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    server = make_server(kind)
    async with hub_on(server.url) as hub, hub.subscribe("a", patterns="b*") as one, hub.subscribe("a") as two:
        for turn in range(3):
            assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
            assert await take(one, 1) == await take(two, 1) == [GAP]
            assert one.live
            assert await hub.publish("a", str(turn)) == await hub.publish("bb", str(turn)) == 1
            assert await data(one, 2) == [str(turn).encode()] * 2
            assert await data(two, 1) == [str(turn).encode()]
        assert changes(caplog) == AWAY_AND_BACK * 3


async def test_a_restarted_server_has_every_subscription_again(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_on(fresh_server.url) as hub, hub.subscribe("a", patterns=("p*", "q*")) as subscription:
        await asyncio.to_thread(fresh_server.restart)
        assert await take(subscription, 1) == [GAP]
        assert await asyncio.to_thread(fresh_server.command, "PUBLISH", "a", "1") == 1
        assert await asyncio.to_thread(fresh_server.command, "PUBLISH", "q", "2") == 1
        assert await data(subscription, 2) == [b"1", b"2"]
        assert changes(caplog) == AWAY_AND_BACK


async def test_an_outage_is_survived_however_many_attempts_fail(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_on(proxy.url) as hub, hub.subscribe("a") as subscription:
        proxy.refuse()
        await eventually(lambda: not subscription.live)
        await asyncio.sleep(0.3)  # several attempts
        proxy.heal()
        assert await take(subscription, 1) == [GAP]
        assert changes(caplog) == AWAY_AND_BACK


async def test_subscribing_while_redis_is_down_fails_and_leaves_nothing(proxy: FaultProxy) -> None:
    proxy.refuse()
    async with hub_on(proxy.url, timeout=0.5) as hub:
        for _ in range(2):
            with pytest.raises(RedisUnavailable, match=r"not subscribed within .* no connection"):
                await hub.subscribe("a").__aenter__()
        assert "0 topics, 0 members" in repr(hub)
        proxy.heal()
        async with hub.subscribe("a") as subscription:
            await hub.publish("a", "x")
            assert await data(subscription, 1) == [b"x"]


async def test_those_who_wait_are_served_as_soon_as_redis_is_up(proxy: FaultProxy) -> None:
    proxy.refuse()
    async with hub_on(proxy.url) as hub:
        entering = asyncio.create_task(hub.subscribe("a").__aenter__())
        await eventually(lambda: hub._board.wire.reason != "not connected")
        proxy.heal()
        assert (await within(entering)).live


async def test_nothing_waits_while_the_breaker_is_open(proxy: FaultProxy) -> None:
    proxy.refuse()
    manager = quiet_manager(proxy.url)
    await manager.connect()
    assert manager.links.breaker.is_open
    with pytest.raises(RedisUnavailable, match="no connection"):
        await manager.pubsub.subscribe("a").__aenter__()
    connections = proxy.connections
    listener = manager.pubsub.listen("a", print)
    assert not manager.pubsub.connected
    assert proxy.connections == connections
    proxy.heal()
    await eventually(lambda: listener.live)
    assert not manager.links.breaker.is_open
    await manager.aclose()


@pytest.mark.parametrize("fault", [FaultProxy.black_hole, FaultProxy.drop_replies])
async def test_a_half_open_link_is_noticed(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture, fault: Callable[[FaultProxy], None]
) -> None:
    async with (
        hub_on(proxy.url, ping_interval=0.05, ping_timeout=0.5) as hub,
        hub.subscribe("a") as subscription,
    ):
        answered = proxy.bytes_down + 3 * len(b"+PONG\r\n")
        await eventually(lambda: proxy.bytes_down >= answered)
        assert subscription.live, "pings are answered"
        fault(proxy)
        await eventually(lambda: not subscription.live)
        assert "no sign of life" in caplog.text
        proxy.heal()
        assert await take(subscription, 1) == [GAP]
        assert changes(caplog) == AWAY_AND_BACK


async def test_a_server_that_is_frozen_is_noticed_and_heard_again(fresh_server: Server) -> None:
    async with (
        hub_on(fresh_server.url, ping_interval=0.05, ping_timeout=0.5) as hub,
        hub.subscribe("a") as subscription,
    ):
        fresh_server.pause()
        await eventually(lambda: not subscription.live)
        fresh_server.resume()
        assert await take(subscription, 1) == [GAP]


async def test_a_handler_that_blocks_the_loop_is_not_a_dead_server(redis_url: str) -> None:
    async with (
        hub_on(redis_url, timeout=0.4, ping_interval=0.05, ping_timeout=0.3) as hub,
        hub.subscribe("a") as subscription,
    ):
        for delay in (0.0, 0.04, 0.06, 0.08):
            await asyncio.sleep(delay)
            time.sleep(0.8)  # noqa: ASYNC251  (that is the point)
        entering = asyncio.create_task(hub.subscribe("b").__aenter__())
        await asyncio.sleep(0)
        time.sleep(0.8)  # noqa: ASYNC251
        assert (await entering).live
        await hub.publish("a", "x")
        assert await take(subscription, 1) == [Message("a", b"x")], "and no gap"


async def test_a_black_hole_while_subscribing_fails_in_time_and_disturbs_nobody(proxy: FaultProxy) -> None:
    async with hub_on(proxy.url, timeout=0.5) as hub, hub.subscribe("a") as subscription:
        proxy.drop_replies()
        with pytest.raises(RedisUnavailable, match="no confirmation"):
            await hub.subscribe("b").__aenter__()
        proxy.heal()
        assert await take(subscription, 1) == [GAP]
        async with hub.subscribe("b") as again:
            await hub.publish("b", "x")
            assert await data(again, 1) == [b"x"]
        await eventually(lambda: "1 topics, 1 members" in repr(hub))


@pytest.mark.parametrize(
    "fault",
    [
        FaultProxy.garble,
        lambda proxy: proxy.garble(b"+PONG\r\n"),
        lambda proxy: proxy.garble(b"-ERR nobody asked\r\n"),
        lambda proxy: proxy.garble(b">3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n"),
        lambda proxy: proxy.garble(b">0\r\n"),
        lambda proxy: proxy.truncate_reply(9),
    ],
)
async def test_replies_that_make_no_sense_drop_the_link(
    proxy: FaultProxy, fault: Callable[[FaultProxy], None], valkey: Server
) -> None:
    async with hub_on(proxy.url) as hub, hub.subscribe("a") as subscription:
        fault(proxy)
        await asyncio.to_thread(valkey.command, "PUBLISH", "a", "eaten")
        assert await take(subscription, 1) == [GAP]
        await asyncio.to_thread(valkey.command, "PUBLISH", "a", "whole")
        assert await data(subscription, 1) == [b"whole"]


async def test_pushes_that_are_not_ours_are_ignored(proxy: FaultProxy, valkey: Server) -> None:
    async with hub_on(proxy.url) as hub, hub.subscribe("a") as subscription:
        proxy.garble(b">2\r\n$10\r\ninvalidate\r\n_\r\n")
        for text in ("eaten", "whole"):
            await asyncio.to_thread(valkey.command, "PUBLISH", "a", text)
        assert await data(subscription, 1) == [b"whole"]


async def test_bytes_may_come_one_by_one(proxy: FaultProxy) -> None:
    proxy.chop(1)
    async with hub_on(proxy.url) as hub, hub.subscribe("a", patterns="a*") as subscription:
        await hub.publish("a", "hello")
        assert await data(subscription, 2) == [b"hello"] * 2


async def pinged(hub: Hub) -> None:
    """Wait until the server has answered some PINGs; the hub sends no other before it has read the answer to one."""

    async def calls() -> int:
        stats = await hub._manager.execute("INFO", "commandstats")
        return int(stats.partition(b"cmdstat_ping:calls=")[2].partition(b",")[0])

    goal = await calls() + 2
    async with asyncio.timeout(PATIENCE):
        while await calls() < goal:  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_servers_that_know_no_hello_are_spoken_to_in_resp2(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind, rename_command=["HELLO", ""])
    async with hub_on(server.url, ping_interval=0.05, ping_timeout=0.5) as hub:
        async with hub.subscribe("a", patterns="a*") as subscription:
            for text in ("1", "2"):
                await hub.publish("a", text)
                assert await data(subscription, 2) == [text.encode()] * 2
                await pinged(hub)  # PONGs are arrays here
            await hub._manager.execute("CLIENT", "KILL", "TYPE", "pubsub")
            assert await take(subscription, 1) == [GAP]
        await pinged(hub)  # and simple strings where nothing is subscribed
        assert hub.connected
        assert b"cmdstat_hello" not in await hub._manager.execute("INFO", "commandstats")


async def test_a_forbidden_channel_is_refused_and_nobody_else_is_disturbed(make_server: MakeServer) -> None:
    server = make_server(user=["default", "on", "nopass", "~*", "+@all", "resetchannels", "&ok*"])
    async with hub_on(server.url) as hub, hub.subscribe("ok") as fine:
        with pytest.raises(OperationFailed) as refusal:
            await hub.subscribe("ok", "forbidden", "ok2").__aenter__()
        assert refusal.value.code == "NOPERM"
        with pytest.raises(OperationFailed):
            await hub.listen("forbidden", print).ready()
        await hub.publish("ok", "x")
        assert await data(fine, 1) == [b"x"]
        async with hub.subscribe("ok3"):
            assert server.command("PUBSUB", "CHANNELS") == [b"ok", b"ok3"]
        await eventually(lambda: "1 topics, 1 members" in repr(hub))


async def test_a_connection_that_was_opened_for_a_refused_channel_is_closed_again(make_server: MakeServer) -> None:
    server = make_server(user=["default", "on", "nopass", "~*", "+@all", "resetchannels"])
    async with hub_on(server.url, idle=0.01) as hub:
        listener = hub.listen("forbidden", print)
        with pytest.raises(OperationFailed):
            await listener.ready()
        await eventually(lambda: not hub.connected)


async def test_a_subscription_that_is_no_longer_permitted_ends_with_the_servers_word(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []
    async with hub_on(fresh_server.url) as hub, hub.subscribe("ok") as fine, hub.subscribe("a") as subscription:
        listener = hub.listen("a", seen.append)
        await listener.ready()
        await hub.publish("a", "last")
        await eventually(lambda: seen)
        fresh_server.command("ACL", "SETUSER", "default", "resetchannels", "&ok")  # this closes the connection
        assert await take(fine, 1) == [GAP]
        assert await data(subscription, 1) == [b"last"]
        for _ in range(2):
            with pytest.raises(OperationFailed, match="NOPERM"):
                await within(anext(subscription))
        await within(asyncio.wait([listener.task]))
        assert "ended: NOPERM" in caplog.text


async def test_a_wrong_password_is_reported_and_the_right_one_is_found_later(make_server: MakeServer) -> None:
    server = make_server(requirepass="right")
    async with hub_on(server.url, timeout=0.5) as hub, hub.subscribe("a") as subscription:
        server.command("CONFIG", "SET", "requirepass", "other")
        server.options["requirepass"] = "other"
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: "refused the credentials" in hub._board.wire.reason)
        server.command("CONFIG", "SET", "requirepass", "right")
        assert await take(subscription, 1) == [GAP]
    async with hub_on(server.url.replace("other", "wrong"), timeout=0.5) as hub:
        with pytest.raises(RedisUnavailable, match="refused the credentials") as failure:
            await hub.subscribe("a").__aenter__()
        assert "wrong" not in str(failure.value)


async def test_tls_works_as_for_everything_else(tls_server: TLSProxy) -> None:
    async with hub_on(tls_server.url) as hub, hub.subscribe("a") as subscription:
        await hub.publish("a", "x" * 100_000)
        assert await data(subscription, 1) == [b"x" * 100_000]


async def test_a_certificate_that_nobody_vouches_for_is_an_ordinary_failure(tls_server: TLSProxy) -> None:
    async with hub_on(tls_server.url_without_ca, timeout=0.5) as hub:
        listener = hub.listen("a", print)
        await eventually(lambda: "ssl_ca_certs" in hub._board.wire.reason)
        with pytest.raises(RedisUnavailable, match="ssl_ca_certs"):
            await listener.ready()


async def test_no_message_is_missing_without_a_gap_whatever_happens_to_the_link(
    proxy: FaultProxy, valkey: Server
) -> None:
    """Numbers are published past the proxy while it resets, chops and truncates; holes must be announced."""
    dice = random.Random(7)
    publisher = quiet_manager(valkey.url)
    subscriptions: list[Any] = []

    async def check(hub: Hub, number: int) -> int:
        gaps, last = 0, -1
        async with hub.subscribe("a", maxsize=100_000) as subscription:
            subscriptions.append(subscription)
            announced = True
            async for event in subscription:
                if isinstance(event, Gap):
                    announced, gaps = True, gaps + 1
                    continue
                value = int(event.data)
                assert value > last, "never twice, never out of order"
                assert announced or value == last + 1, f"{number}: {last} is followed by {value}"
                announced, last = False, value
                if value == 1_000_000:
                    return gaps
        raise AssertionError("the end is never missed")

    async def cut() -> None:
        """Cut the link while everybody is live, so that there is a gap for certain."""
        await eventually(lambda: all(subscription.live for subscription in subscriptions))
        proxy.reset_all()
        await eventually(lambda: not any(subscription.live for subscription in subscriptions))

    async def publish() -> None:
        for value in range(400):
            await publisher.execute("PUBLISH", "a", value)
            if value in (130, 260):
                await cut()
            if dice.random() < 0.05:
                dice.choice([proxy.reset_all, lambda: proxy.truncate_reply(dice.randrange(40))])()
            await asyncio.sleep(dice.random() * 0.004)

    async with hub_on(proxy.url) as hub:
        checks = [asyncio.create_task(check(hub, number)) for number in range(5)]
        await eventually(lambda: len(subscriptions) == 5)
        await publish()
        proxy.heal()
        # The last cut may be noticed only now: publish the end until everybody is live and has it.
        while not all(task.done() for task in checks):
            await asyncio.sleep(0.01)
            if all(subscription.live for subscription in subscriptions):
                await publisher.execute("PUBLISH", "a", 1_000_000)
        gaps = await within(asyncio.gather(*checks))
        assert min(gaps) > 1, "the faults did happen"
    await publisher.aclose()
