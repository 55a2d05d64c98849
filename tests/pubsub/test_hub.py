"""What subscribers and publishers may rely on, on every kind of store."""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap, Malformed, Message
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import RoundTripCounter
from tests.pubsub.conftest import PATIENCE, data, eventually, hub_on, take, within


async def test_nothing_published_after_entering_is_missed(hub: Hub) -> None:
    async with hub.subscribe("orders") as subscription:
        assert subscription.live
        assert await hub.publish("orders", "first") == 1
        assert await hub.publish("orders", b"\x00\xff") == 1
        assert await take(subscription, 2) == [Message("orders", b"first"), Message("orders", b"\x00\xff")]
    async with hub.subscribe("barrier"):  # confirmed after the channel before was given up
        assert await hub.publish("orders", "late") == 0


async def test_a_pattern_hears_what_it_matches_and_says_so(hub: Hub) -> None:
    async with hub.subscribe("user.1", patterns=("user.*", "or*")) as subscription:
        assert await hub.publish("user.1", "both") == 2
        assert await hub.publish("user.2", "pattern") == 1
        assert await hub.publish("nobody", "none") == 0
        assert set(await take(subscription, 2)) == {
            Message("user.1", b"both"),
            Message("user.1", b"both", "user.*"),
        }
        assert await take(subscription, 1) == [Message("user.2", b"pattern", "user.*")]


async def test_one_pattern_may_be_given_as_it_is(hub: Hub) -> None:
    async with hub.subscribe(patterns="ab*") as subscription:
        await hub.publish("abc", "x")
        assert await take(subscription, 1) == [Message("abc", b"x", "ab*")]


async def test_names_may_have_any_bytes(hub: Hub) -> None:
    name = bytes(range(256))
    async with hub.subscribe(name) as subscription:
        await hub.publish(name, "x")
        (message,) = await take(subscription, 1)
        assert await hub.publish(message.channel, "y") == 1
        assert await data(subscription, 1) == [b"y"]


async def test_json_is_decoded_for_each_subscriber_by_itself(hub: Hub) -> None:
    async with hub.subscribe("a", json=True) as one, hub.subscribe("a", json=True) as two, hub.subscribe("a") as raw:
        assert await hub.publish("a", {"list": [1, None, "ü"]}, json=True) == 1
        (first,), (second,) = await data(one, 1), await data(two, 1)
        assert first == second == {"list": [1, None, "ü"]}
        assert first is not second
        assert await data(raw, 1) == ['{"list":[1,null,"ü"]}'.encode()]


async def test_what_is_not_json_is_given_as_it_came_and_the_next_message_follows(hub: Hub) -> None:
    async with hub.subscribe("a", json=True) as subscription:
        await hub.publish("a", b"{nonsense")
        await hub.publish("a", [1], json=True)
        malformed, message = await take(subscription, 2)
        assert isinstance(malformed, Malformed)
        assert (malformed.channel, malformed.data, malformed.pattern) == ("a", b"{nonsense", None)
        assert message == Message("a", [1])


async def test_only_bytes_text_and_json_can_be_published(hub: Hub) -> None:
    for wrong in (1, None, {"a": 1}):
        with pytest.raises(TypeError, match="json=True"):
            await hub.publish("a", wrong)
    with pytest.raises(TypeError):
        await hub.publish("a", object(), json=True)


async def test_what_the_client_and_scripts_publish_is_heard_too(hub: Hub, manager: RedisManager) -> None:
    async with hub.subscribe("a") as subscription:
        await manager.client.publish("a", "client")
        await manager.client.eval("return redis.call('PUBLISH', 'a', 'script')", 0)
        assert await data(subscription, 2) == [b"client", b"script"]


async def test_a_thousand_messages_arrive_in_order(hub: Hub, manager: RedisManager) -> None:
    async with hub.subscribe("a", maxsize=1000) as one, hub.subscribe(patterns="?", maxsize=1000) as two:
        await asyncio.gather(*[manager.execute("PUBLISH", "a", number) for number in range(1000)])
        expected = [str(number).encode() for number in range(1000)]
        assert await data(one, 1000) == expected
        assert await data(two, 1000) == expected


async def test_a_channel_is_kept_until_its_last_subscriber_leaves(hub: Hub) -> None:
    async with hub.subscribe("a", "b") as one:
        async with hub.subscribe("a") as two:
            assert await hub.publish("a", "both") == 1
            assert await data(one, 1) == await data(two, 1) == [b"both"]
        assert await hub.publish("a", "one") == 1
        assert await data(one, 1) == [b"one"]
    async with hub.subscribe("barrier"):
        assert await hub.publish("a", "none") == 0
        assert await hub.publish("b", "none") == 0


async def test_a_channel_left_and_entered_again_at_once_is_heard(hub: Hub) -> None:
    for number in range(50):
        async with hub.subscribe("a") as subscription:
            await hub.publish("a", str(number))
            assert await data(subscription, 1) == [str(number).encode()]


async def test_a_newcomer_hears_nothing_from_before(hub: Hub) -> None:
    async with hub.subscribe("a") as one:
        await hub.publish("a", "before")
        await data(one, 1)
        async with hub.subscribe("a") as two:
            await hub.publish("a", "after")
            assert await data(two, 1) == [b"after"]


async def test_many_come_and_go_and_everybody_hears_what_is_published_meanwhile(hub: Hub) -> None:
    channels = ["a", "b", "c"]

    async def visitor(name: int) -> None:
        dice = random.Random(name)
        for turn in range(15):
            channel = dice.choice(channels)
            async with hub.subscribe(channel, maxsize=10_000) as subscription:
                mine = f"{name}:{turn}"
                await hub.publish(channel, mine)
                while (await take(subscription, 1))[0].data != mine.encode():
                    pass
            if dice.random() < 0.3:
                await asyncio.sleep(0)

    await asyncio.gather(*map(visitor, range(30)))
    async with hub.subscribe("barrier"):
        for channel in channels:
            assert await hub.publish(channel, "x") == 0


async def test_one_connection_and_one_subscription_serve_everybody(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, hub_on(proxy.url) as hub:

        async def first() -> Any:
            async with hub.subscribe("a") as subscription:
                return await data(subscription, 1)

        tasks = [asyncio.create_task(first()) for _ in range(20)]
        await eventually(lambda: b"SUBSCRIBE" in proxy.commands)
        async with hub.subscribe("a", patterns="p*"):
            await hub.publish("a", "x")
            assert await within(asyncio.gather(*tasks)) == [[b"x"]] * 20
        async with hub.subscribe("barrier"):
            pass
        asked = [command for command in proxy.commands if b"SUBSCRIBE" in command]
        assert asked == [b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUBSCRIBE"]
        assert proxy.connections == 2, "one for the hub, one that publishes"


async def test_there_is_no_connection_before_the_first_subscription_and_none_long_after_the_last(
    redis_url: str,
) -> None:
    async with RoundTripCounter(redis_url) as proxy, hub_on(proxy.url, idle=0.01) as hub:
        assert not hub.connected
        assert proxy.connections == 0
        for turn in (1, 2):
            async with hub.subscribe("a"):
                assert hub.connected
                assert proxy.connections == turn
            await eventually(lambda: proxy.open_connections == 0)
            assert not hub.connected


async def test_a_slow_iterator_loses_the_oldest(hub: Hub) -> None:
    async with hub.subscribe("a", maxsize=3) as slow, hub.subscribe("a") as fast:
        for number in range(10):
            await hub.publish("a", str(number))
        await take(fast, 10)
        assert await take(slow, 1) == [Gap("overflow", 7)]
        assert await data(slow, 3) == [b"7", b"8", b"9"]


async def test_a_slow_iterator_loses_the_newest(hub: Hub) -> None:
    lost: list[Gap] = []
    options: dict[str, Any] = {"maxsize": 3, "overflow": "drop_newest", "on_gap": lost.append}
    async with hub.subscribe("a", **options) as slow, hub.subscribe("a") as fast:
        for number in range(5):
            await hub.publish("a", str(number))
        await take(fast, 5)
        assert lost == [Gap("overflow", 1)] * 2, "on_gap is told at once"
        assert await data(slow, 3) == [b"0", b"1", b"2"]
        await hub.publish("a", "next")
        assert await take(slow, 2) == [Gap("overflow", 2), Message("a", b"next")]


async def test_a_slow_iterator_is_cut_off_and_its_channel_given_up(hub: Hub) -> None:
    async with hub.subscribe("a", maxsize=2, overflow="disconnect") as slow, hub.subscribe("b") as other:
        for number in range(4):
            await hub.publish("a", str(number))
        await hub.publish("b", "barrier")
        await take(other, 1)
        assert not slow.live
        assert [event async for event in slow] == [Message("a", b"0"), Message("a", b"1"), Gap("overflow", None)]
        async with hub.subscribe("barrier"):
            assert await hub.publish("a", "x") == 0


async def test_an_on_gap_that_fails_is_logged_and_harms_nobody(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    def fail(gap: Gap) -> None:
        raise LookupError("on purpose")

    async with hub.subscribe("a", maxsize=1, on_gap=fail) as slow, hub.subscribe("a") as fast:
        await hub.publish("a", "0")
        await hub.publish("a", "1")
        await take(fast, 2)
        assert await take(slow, 2) == [Gap("overflow", 1), Message("a", b"1")]
    assert "on_gap failed" in caplog.messages


async def test_waiting_for_an_event_may_be_cancelled(hub: Hub) -> None:
    got: list[Any] = []
    async with hub.subscribe("a") as subscription:
        for number in range(100):
            waiting = asyncio.ensure_future(anext(subscription))
            publishing = asyncio.ensure_future(hub.publish("a", str(number)))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting, publishing])
            if not waiting.cancelled():
                got += [waiting.result().data]
        got += await data(subscription, 100 - len(got))
    assert got == [str(number).encode() for number in range(100)]


async def test_several_tasks_may_share_the_work_of_one_subscription(hub: Hub) -> None:
    got: list[bytes] = []
    async with hub.subscribe("a") as subscription:

        async def worker() -> None:
            async for message in subscription:
                got.append(message.data)  # noqa: PERF401  (others look at it meanwhile)

        workers = [asyncio.create_task(worker()) for _ in range(3)]
        for number in range(30):
            await hub.publish("a", str(number))
        await eventually(lambda: len(got) == 30)
    await within(asyncio.gather(*workers))
    assert sorted(map(int, got)) == list(range(30))


async def test_leaving_ends_iteration_and_forgets_what_is_queued(hub: Hub) -> None:
    async with hub.subscribe("a") as subscription:
        await hub.publish("a", "x")
    assert [event async for event in subscription] == []
    assert not subscription.live


async def test_a_subscription_must_be_entered_and_only_once(hub: Hub) -> None:
    subscription = hub.subscribe("a")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(subscription)
    async with subscription:
        with pytest.raises(RuntimeError, match="once"):
            await subscription.__aenter__()
        assert subscription.live, "the failed attempt changes nothing"


async def test_options_that_cannot_work_are_refused_before_entering(hub: Hub) -> None:
    async def on_gap(gap: Gap) -> None: ...

    with pytest.raises(ValueError, match="a channel or a pattern"):
        hub.subscribe()
    with pytest.raises(ValueError, match="maxsize"):
        hub.subscribe("a", maxsize=0)
    with pytest.raises(ValueError, match="overflow"):
        hub.subscribe("a", overflow="block")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_gap"):
        hub.subscribe("a", on_gap=on_gap)
    with pytest.raises(TypeError, match="str or bytes"):
        hub.subscribe(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callback"):
        hub.listen("a", "b")  # type: ignore[arg-type]
    assert not hub.connected


async def test_closing_the_hub_ends_every_iterator_after_what_it_has(hub: Hub) -> None:
    async with hub.subscribe("a") as full, hub.subscribe("b") as empty, hub.subscribe("a") as other:
        await hub.publish("a", "x")
        await take(other, 1)
        waiting = asyncio.create_task(anext(empty, "ended"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await hub.aclose()
        assert await within(waiting) == "ended"
        assert [event async for event in full] == [Message("a", b"x")]
        assert not full.live
        assert not hub.connected
    await hub.aclose()


async def test_closing_the_hub_closes_the_socket_before_it_returns(redis_url: str) -> None:
    async with hub_on(redis_url) as hub, hub.subscribe("a"):
        socket = hub._board.wire._line.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert socket.fileno() >= 0
        await hub.aclose()
        assert socket.fileno() == -1


async def test_a_closed_hub_stays_closed_and_the_manager_makes_another(manager: RedisManager) -> None:
    hub = manager.pubsub
    assert manager.pubsub is hub
    async with hub.subscribe("a"):
        await manager.aclose()
    with pytest.raises(RedisUnavailable, match="closed"):
        await hub.subscribe("a").__aenter__()
    with pytest.raises(RedisUnavailable, match="closed"):
        hub.listen("a", print)
    assert manager.pubsub is not hub
    async with manager.pubsub.subscribe("a") as subscription:
        await manager.pubsub.publish("a", "x")
        assert await data(subscription, 1) == [b"x"]


async def test_closing_the_hub_fails_those_who_are_entering(hub: Hub) -> None:
    entering = asyncio.create_task(hub.subscribe("a").__aenter__())
    await asyncio.sleep(0)
    await hub.aclose()
    with pytest.raises(RedisUnavailable, match="closed"):
        await within(entering)


async def test_an_embedded_server_is_a_server_like_any_other() -> None:
    async with RedisManager("embedded://", timeout=PATIENCE) as manager, manager.pubsub.subscribe("a") as subscription:
        assert await manager.pubsub.publish("a", "x") == 1
        assert await data(subscription, 1) == [b"x"]


async def test_reprs_tell_the_state(hub: Hub) -> None:
    subscription = hub.subscribe("a", patterns="b*")
    assert repr(subscription) == "<Subscription to a, b*: not entered, 0 waiting>"
    async with subscription:
        assert repr(subscription) == "<Subscription to a, b*: live, 0 waiting>"
        assert "connected" in repr(hub)
        assert "2 topics, 1 members" in repr(hub)
    assert repr(subscription) == "<Subscription to a, b*: ended, 0 waiting>"
    await hub.aclose()
    assert "closed" in repr(hub)
