"""Redirections, as nodes may give them at the worst: each call ends in time, with an answer or an error."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis import topology
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.redis.slots import slot_of
from tests.redis.nodes import FakeNode, fake_nodes
from tests.redis.tools import PATIENCE, eventually, within

KEY, SLOT = b"key", slot_of(b"key")


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    """Three; the first serves all slots."""
    async with fake_nodes(3) as nodes:
        yield nodes


@pytest.fixture
async def redis(nodes: list[FakeNode]) -> AsyncIterator[RedisManager]:
    """A manager that has been told of the first node."""
    async with RedisManager(url_of(nodes[0]), timeout=PATIENCE) as manager:
        yield manager


def url_of(*nodes: FakeNode) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def moved(node: FakeNode, slot: int = SLOT, what: bytes = b"MOVED") -> bytes:
    return b"-%b %d 127.0.0.1:%d\r\n" % (what, slot, node.port)


async def get(redis: RedisManager, key: bytes = KEY) -> bytes:
    return bytes(await within(redis.execute("GET", key)))


async def test_a_moved_call_goes_to_the_new_node_and_the_next_one_too(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    one.says["GET"] = moved(two)
    for node in nodes:
        node.map = [(0, SLOT - 1, one.port), (SLOT, SLOT, two.port), (SLOT + 1, 16383, one.port)]
    assert await get(redis) == b"%d" % two.port
    assert await get(redis) == b"%d" % two.port
    assert (one.count["GET"], two.count["GET"]) == (1, 2)


async def test_the_map_is_looked_at_once_however_many_calls_have_moved(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    looked = one.count["CLUSTER"] + two.count["CLUSTER"]
    one.says["GET"] = moved(two)
    for node in nodes:
        node.map = [(0, 16383, two.port)]
    assert set(await asyncio.gather(*(get(redis) for _ in range(50)))) == {b"%d" % two.port}
    await eventually(lambda: not redis.links.topology or two.port in {p.port for p in redis.links.topology.nodes})
    await within(asyncio.shield(redis.links.topology.refresh()))  # type: ignore[union-attr]
    assert one.count["CLUSTER"] + two.count["CLUSTER"] - looked <= 2


async def test_an_asked_call_goes_once_to_the_other_node_right_behind_asking(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    one.says["GET"] = [moved(two, what=b"ASK"), b"+here\r\n"]
    assert await get(redis) == b"%d" % two.port
    assert two.heard == [[b"ASKING"], [b"GET", KEY]]
    assert await get(redis) == b"here"
    assert two.count["GET"] == 1


async def test_a_script_that_is_asked_for_elsewhere_is_loaded_before_asking(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    script = Script("return 1")
    one.says["EVALSHA"] = moved(two, what=b"ASK")
    two.says["EVALSHA"] = [b"-NOSCRIPT No matching script\r\n", b":1\r\n"]
    assert await within(redis.run_script(script, (KEY,))) == 1
    assert [words[0] for words in two.heard] == [b"SCRIPT", b"ASKING", b"EVALSHA"] * 2


async def test_nodes_that_send_a_call_round_and_round_do_not_get_it_for_ever(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    one.says["GET"], two.says["GET"] = moved(two), moved(one)
    with pytest.raises(RedisUnavailable, match=r"redirected 5 times: MOVED") as caught:
        await get(redis)
    assert not caught.value.maybe_executed
    assert one.count["GET"] + two.count["GET"] == 6


async def test_try_again_is_tried_again(redis: RedisManager, nodes: list[FakeNode]) -> None:
    nodes[0].says["GET"] = [b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"] * 4 + [b"+now\r\n"]
    assert await get(redis) == b"now"
    assert nodes[0].count["GET"] == 5


@pytest.mark.parametrize(
    "error", ["TRYAGAIN Multiple keys", "CLUSTERDOWN Hash slot not served", "CLUSTERDOWN The cluster is down"]
)
async def test_what_stays_so_ends_with_the_timeout_and_names_the_node(nodes: list[FakeNode], error: str) -> None:
    async with RedisManager(url_of(nodes[0]), timeout=0.3) as redis:
        nodes[0].says["GET"] = f"-{error}\r\n".encode()
        with pytest.raises(RedisUnavailable, match=f"127.0.0.1:{nodes[0].port}/0: {error}") as caught:
            await get(redis)
        assert type(caught.value) is RedisUnavailable
        assert 3 <= nodes[0].count["GET"] <= 60


async def test_a_cluster_that_is_down_is_left_alone_until_it_is_back(nodes: list[FakeNode]) -> None:
    async with RedisManager(url_of(nodes[0]), timeout=0.2) as redis:
        nodes[0].says["GET"] = b"-CLUSTERDOWN The cluster is down\r\n"
        nodes[0].says["CLUSTER"] = [nodes[0]._cluster(b"SLOTS")]
        await asyncio.gather(*(get(redis) for _ in range(5)), return_exceptions=True)
        assert redis.links.breaker.is_open
        asked = nodes[0].count["GET"]
        with pytest.raises(RedisUnavailable, match="CLUSTERDOWN"):
            await get(redis)
        assert nodes[0].count["GET"] == asked
        del nodes[0].says["CLUSTER"], nodes[0].says["GET"]
        await eventually(lambda: not redis.links.breaker.is_open)
        assert await get(redis) == b"%d" % nodes[0].port


async def test_one_slot_that_nobody_serves_is_no_reason_to_leave_the_cluster_alone(nodes: list[FakeNode]) -> None:
    async with RedisManager(url_of(nodes[0]), timeout=0.1) as redis:
        nodes[0].says["GET"] = b"-CLUSTERDOWN Hash slot not served\r\n"
        await asyncio.gather(*(get(redis) for _ in range(20)), return_exceptions=True)
        assert not redis.links.breaker.is_open
        assert await within(redis.execute("PTTL", KEY)) == b"%d" % nodes[0].port


async def test_a_node_that_never_answers_costs_no_more_than_the_timeout(nodes: list[FakeNode]) -> None:
    over = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()
        over.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with RedisManager(url_of(nodes[0]), timeout=0.2, connection_timeout=PATIENCE) as redis:
            nodes[0].says["GET"] = b"-MOVED %d 127.0.0.1:%d\r\n" % (SLOT, port)
            # The map, which is looked at anew meanwhile, does not have the node: it may be left before the time is up.
            with pytest.raises(RedisTimeout, match=f"127.0.0.1:{port}|the cluster has not answered in time"):
                await get(redis)
        await within(over.wait())
    finally:
        server.close()
        await server.wait_closed()
    await asyncio.sleep(0.001)


async def test_a_call_that_cannot_have_run_is_sent_where_its_slot_is_now(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    for node in nodes:
        node.map = [(0, 16383, two.port)]
    one.says["GET"] = b"-READONLY You can't write against a read only replica.\r\n"
    assert await get(redis) == b"%d" % two.port


async def test_a_call_that_may_have_run_is_not_sent_twice(redis: RedisManager, nodes: list[FakeNode]) -> None:
    one, two, _ = nodes
    for node in nodes:
        node.map = [(0, 16383, two.port)]
    one.says["INCR"] = b""
    with pytest.raises(RedisUnavailable) as caught:
        await within(redis.execute("INCR", KEY))
    assert caught.value.maybe_executed
    assert two.count["INCR"] == 0


async def test_a_repeatable_call_that_may_have_run_is_sent_once_more_where_its_slot_is_now(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    for node in nodes:
        node.map = [(0, 16383, two.port)]
    one.says["EVALSHA"] = b""
    assert await within(redis.run_script(Script("return 1"), (KEY,), repeatable=True)) == b"%d" % two.port
    one.says["EVALSHA"] = two.says["EVALSHA"] = b""
    with pytest.raises(RedisUnavailable) as caught:
        await within(redis.run_script(Script("return 2"), (KEY,), repeatable=True))
    assert caught.value.maybe_executed
    assert two.count["EVALSHA"] == 3


async def test_other_errors_are_the_caller_s(redis: RedisManager, nodes: list[FakeNode]) -> None:
    nodes[0].says["GET"] = b"-WRONGTYPE Operation against a key\r\n"
    with pytest.raises(OperationFailed, match=r"^WRONGTYPE"):
        await get(redis)


@pytest.mark.parametrize("error", [b"MOVED", b"MOVED x y", b"ASK 99999 127.0.0.1:1"])
async def test_a_redirection_that_cannot_be_read_is_an_error(
    redis: RedisManager, nodes: list[FakeNode], error: bytes
) -> None:
    nodes[0].says["GET"] = b"-%b\r\n" % error
    with pytest.raises(RedisUnavailable, match="cannot be read"):
        await get(redis)


async def test_calls_wait_for_the_first_map(nodes: list[FakeNode]) -> None:
    manager = RedisManager(url_of(*nodes), timeout=PATIENCE)
    assert set(await asyncio.gather(*(get(manager, b"%d" % n) for n in range(20)))) == {b"%d" % nodes[0].port}
    assert sum(node.count["CLUSTER"] for node in nodes) <= 3
    await manager.aclose()


async def test_the_first_walk_through_all_nodes_waits_for_the_map(nodes: list[FakeNode]) -> None:
    one, two, _ = nodes
    for node in nodes:
        node.map = [(0, 100, one.port), (101, 16383, two.port)]
        node.says["DBSIZE"] = b":7\r\n"
    manager = RedisManager(url_of(one), timeout=PATIENCE)
    assert await within(manager.execute("DBSIZE")) == 14
    await manager.aclose()


async def test_a_node_without_a_map_is_not_believed(nodes: list[FakeNode]) -> None:
    one, two, _ = nodes
    two.map = []
    manager = RedisManager(url_of(two, one), timeout=PATIENCE)
    assert await get(manager) == b"%d" % one.port
    await manager.aclose()


async def test_a_server_that_is_no_cluster_is_named(nodes: list[FakeNode]) -> None:
    nodes[0].says["CLUSTER"] = b"-ERR This instance has cluster support disabled\r\n"
    manager = RedisManager(url_of(nodes[0]), timeout=PATIENCE)
    with pytest.raises(RedisUnavailable, match=f"127.0.0.1:{nodes[0].port}: ERR This instance has cluster support"):
        await get(manager)
    await manager.aclose()


async def test_a_cancelled_call_disturbs_nobody_wherever_it_is(redis: RedisManager, nodes: list[FakeNode]) -> None:
    nodes[0].says["GET"] = b"-TRYAGAIN later\r\n"
    waiting = asyncio.ensure_future(redis.execute("GET", KEY))
    await eventually(lambda: nodes[0].count["GET"] > 1)
    waiting.cancel()
    await eventually(lambda: redis.links.lane2.in_flight == 0)
    assert await within(redis.execute("PTTL", KEY))


async def test_who_waits_is_told_when_the_manager_closes(nodes: list[FakeNode]) -> None:
    manager = RedisManager(url_of(nodes[0]), timeout=PATIENCE)
    nodes[0].says["GET"] = b"-TRYAGAIN later\r\n"
    waiting = asyncio.ensure_future(manager.execute("GET", KEY))
    await eventually(lambda: nodes[0].count["GET"] > 1)
    await manager.aclose()
    with pytest.raises(RedisUnavailable, match="closed"):
        await within(waiting)


async def test_a_wrong_password_is_tried_at_one_node(nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.says["AUTH"] = b"-WRONGPASS invalid username-password pair\r\n"
    manager = RedisManager(url_of(*nodes).replace("//", "//:secret@"), timeout=PATIENCE)
    with pytest.raises(RedisUnavailable, match="WRONGPASS"):
        await get(manager)
    assert sum(node.count["AUTH"] for node in nodes) <= 2
    await manager.aclose()


async def test_what_is_published_goes_one_way_so_that_it_stays_in_order(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, three = nodes
    for node in nodes:
        node.map = [(0, 5000, one.port), (5001, 10000, two.port), (10001, 16383, three.port)]
        node.says["PUBLISH"] = b":1\r\n"
    await within(asyncio.shield(redis.links.topology.refresh()))  # type: ignore[union-attr]
    await asyncio.gather(*(redis.pubsub.publish(f"news {n}", b"x") for n in range(20)))
    assert sorted(node.count["PUBLISH"] for node in nodes) == [0, 0, 20]


async def test_nodes_that_never_answer_cost_no_more_than_the_timeout_either(nodes: list[FakeNode]) -> None:
    """The look at the map goes on meanwhile, and finds who does answer."""
    silent = await asyncio.start_server(_listen, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    alone = RedisManager(f"redis+cluster://127.0.0.1:{port}", timeout=0.1, connection_timeout=PATIENCE)
    with pytest.raises(RedisTimeout):
        await get(alone)
    await alone.aclose()
    both = RedisManager(f"redis+cluster://127.0.0.1:{port},127.0.0.1:{nodes[0].port}", timeout=PATIENCE)
    assert await get(both) == b"%d" % nodes[0].port
    await both.aclose()
    await asyncio.sleep(0.01)
    silent.close()
    await silent.wait_closed()


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.close()


async def test_a_change_is_noticed_also_where_nobody_is_sent_elsewhere(
    nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "_USUAL", 0.05)
    one, two, _ = nodes
    async with RedisManager(url_of(one), timeout=PATIENCE) as redis:
        assert await get(redis) == b"%d" % one.port
        for node in nodes:
            node.map = [(0, 16383, two.port)]
        await eventually(lambda: [node.place.port for node in redis.links.topology.primaries] == [two.port])  # type: ignore[union-attr]
        assert await get(redis) == b"%d" % two.port
        assert one.count["GET"] == 1


async def test_a_node_that_serves_nothing_any_more_answers_what_it_was_asked(
    redis: RedisManager, nodes: list[FakeNode]
) -> None:
    one, two, _ = nodes
    await get(redis)
    for node in nodes:
        node.map = [(0, 16383, two.port)]
    asked = [asyncio.ensure_future(redis.execute("GET", KEY)) for _ in range(3)]
    await within(asyncio.shield(redis.links.topology.refresh()))  # type: ignore[union-attr]
    assert await within(asyncio.gather(*asked)) == [b"%d" % one.port] * 3
    assert await get(redis) == b"%d" % two.port


async def test_one_line_is_logged_when_a_cluster_is_away_and_one_when_it_is_back(
    nodes: list[FakeNode], caplog: pytest.LogCaptureFixture
) -> None:
    for node in nodes:
        node.says["CLUSTER"] = b""
    manager = RedisManager(url_of(*nodes), timeout=PATIENCE)
    outcomes = await asyncio.gather(*(get(manager) for _ in range(30)), return_exceptions=True)
    assert all(isinstance(outcome, RedisUnavailable) for outcome in outcomes)
    assert manager.links.breaker.is_open
    for node in nodes:
        del node.says["CLUSTER"]
    await eventually(lambda: not manager.links.breaker.is_open)
    assert await get(manager) == b"%d" % nodes[0].port
    await manager.aclose()
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2
    assert "away" in lines[0]
    assert "back" in lines[1]
