"""Rounds whose last part a replica may look at: when its word counts, and what the primary is asked all the same."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from asgi_redis_guard import ConfigurationError, RedisManager
from asgi_redis_guard.core.rounds import clock_of
from asgi_redis_guard.core.script import HELD_BACK, NOT_RUN, PASSED, STOPPED, Batch, Operation, OperationKind, place_of
from asgi_redis_guard.errors import RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.program import program_of
from asgi_redis_guard.redis.sentinel_replicas import SentinelReplicas
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, Guard, eventually, mark, within
from tests.replicated import Replicated, read_from, replicated, runs_of
from tests.sentinels import sentinel_service
from tests.servers import Server, redis62, valkey9

READING = "-- keys: k\n-- returns: found\n-- @check\nfound = call('GET', k) or ''\n"
SEEN = OperationKind.parse(f"-- name: test.seen\n{READING}")
SURE = OperationKind.parse(f"-- name: test.sure\n{READING}-- @sure\nunneeded = found ~= ''\n")
ONCE = OperationKind.parse(
    f"-- name: test.once\n-- args: v\n-- holds: yes\n{READING}-- @idle\nunneeded = found ~= ''\n"
    "-- @commit\nif not call('GET', k) then call('SET', k, v, 'PX', 60000) end\n"
)
UNLESS = OperationKind.parse(
    "-- name: test.unless\n-- keys: k\n-- group: g\n-- repeatable: yes\n-- @check\n"
    "if call('EXISTS', k) == 1 then stop = true end\n"
)
WRITES = OperationKind.parse(
    "-- name: test.writes\n-- keys: k\n-- returns: found\n-- @check\n"
    "found = call('GET', k)\nif not found then call('SET', k, 'made', 'PX', 60000) found = 'made' end\n"
)


@pytest.fixture
async def pair(make_server: MakeServer) -> AsyncIterator[Replicated]:
    async with replicated(make_server) as pair:
        yield pair


def send(redis: RedisManager, *guards: Guard, closed: tuple[int, ...] = ()) -> asyncio.Future[Any]:
    """One round, of whose last guard a replica may be asked."""
    batches = [Batch(guard) for guard in guards]
    shape = tuple(
        place_of(number in closed, batch.kinds, replica=number == len(batches) - 1)
        for number, batch in enumerate(batches)
    )
    return redis.evaluate(program_of(shape), batches)


async def asked(redis: RedisManager, *guards: Guard, closed: tuple[int, ...] = ()) -> list[Any]:
    """The same, and its reply without the time."""
    return list((await within(send(redis, *guards, closed=closed)))[:-1])


def at(kind: OperationKind, key: str, *args: Any) -> Operation:
    return Operation(kind, (key.encode(),), args)


async def test_what_only_looks_is_asked_of_the_replica(pair: Replicated) -> None:
    async with pair.manager() as redis:
        await redis.execute("SET", "a", "1")
        await pair.agreed()
        before = runs_of(pair.primary), pair.runs()
        assert await asked(redis, [at(SEEN, "a"), at(SURE, "a")]) == [PASSED, b"1", PASSED, b"1"]
        assert (runs_of(pair.primary), pair.runs()) == (before[0], before[1] + 1)


async def test_what_stands_in_front_goes_to_the_primary_at_the_same_time(pair: Replicated) -> None:
    async with pair.manager() as redis:
        await redis.execute("SET", "a", "1")
        await pair.agreed()
        raw = await within(send(redis, [mark(b"list")], [at(SEEN, "a")]))
        assert raw[:-1] == [PASSED, PASSED, b"1"]
        assert clock_of(raw, 0)
        assert clock_of(raw, 1)
        assert await redis.execute("LLEN", "list") == 1


async def test_where_a_replica_is_not_sure_the_primary_is_asked(pair: Replicated) -> None:
    async with pair.manager() as redis:
        pair.lag()
        await redis.execute("SET", "a", "1")
        assert await asked(redis, [at(SEEN, "a")]) == [PASSED, b""]
        found = await asked(redis, [mark(b"list")], [at(SURE, "a"), at(SEEN, "a")])
        assert found == [PASSED, PASSED, b"1", PASSED, b"1"]


async def test_what_has_to_be_written_is_written_on_the_primary_once(pair: Replicated) -> None:
    async with pair.manager() as redis:
        assert await asked(redis, [at(ONCE, "a", "mine")]) == [PASSED, b""]
        assert await redis.execute("GET", "a") == b"mine"
        await pair.agreed()
        before = runs_of(pair.primary)
        assert await asked(redis, [at(ONCE, "a", "yours")]) == [PASSED, b"mine"]
        assert runs_of(pair.primary) == before


async def test_a_check_that_writes_on_a_replica_is_left_to_the_primary(pair: Replicated) -> None:
    async with pair.manager() as redis:
        assert await asked(redis, [at(WRITES, "a")]) == [PASSED, b"made"]
        await pair.agreed()
        before = pair.runs()
        assert await asked(redis, [at(WRITES, "a")]) == [PASSED, b"made"]
        assert pair.runs() == before + 1
        await read_from(redis)  # a refusal to write is no reason to leave it alone


async def test_a_replica_that_says_stop_is_not_believed(pair: Replicated) -> None:
    async with pair.manager() as redis:
        await redis.execute("SET", "a", "1")
        await pair.agreed()
        pair.lag()
        assert await asked(redis, [at(UNLESS, "a")]) == [STOPPED]
        await redis.execute("DEL", "a")
        assert await asked(redis, [at(UNLESS, "a")]) == [PASSED]


async def test_behind_a_refusal_nothing_is_said_and_nothing_written(pair: Replicated) -> None:
    async with pair.manager() as redis:
        await redis.execute("SET", "stop", "1")
        await redis.execute("SET", "there", "1")
        await pair.agreed()
        assert await asked(redis, [at(UNLESS, "stop")], [at(SEEN, "there")]) == [STOPPED, NOT_RUN, 0]
        assert await asked(redis, [at(UNLESS, "stop")], [at(ONCE, "new", "1")]) == [STOPPED, NOT_RUN, 0]
        assert await redis.execute("EXISTS", "new") == 0
        held = [mark(b"list"), at(UNLESS, "stop")]
        assert (await asked(redis, held, [at(SEEN, "there")]))[:2] in ([PASSED, STOPPED], [HELD_BACK, STOPPED])


def shapes() -> Iterator[tuple[list[Guard], str]]:
    """Rounds of two guards, of all kinds, on keys that are there or not."""
    fronts: list[Guard] = [[], [mark(b"{x}list")], [at(UNLESS, "{x}there")], [at(UNLESS, "{x}none"), mark(b"{x}list")]]
    for front, kind, key in itertools.product(fronts, (SEEN, SURE, UNLESS), ("{x}there", "{x}none")):
        guards = [*([front] if front else []), [at(kind, key)]]
        yield guards, f"{[one.kind.name for one in front]} {kind.name} {key}"


async def test_the_reply_is_what_the_primary_alone_would_say(pair: Replicated) -> None:
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=PATIENCE) as plain:
        await redis.execute("SET", "{x}there", "1")
        for guards, what in shapes():
            expected = await asked(plain, *guards)
            await pair.agreed()
            assert await asked(redis, *guards) == expected, what


async def test_without_a_replica_that_follows_it_is_one_round_trip_to_the_primary(make_server: MakeServer) -> None:
    server, other = make_server(tcp=True), make_server(tcp=True)
    nowhere = (f"127.0.0.1:{other.port}", "127.0.0.1:1")
    async with RedisManager(server.url, timeout=PATIENCE, read_from_replicas=True, replicas=nowhere) as redis:
        await redis.execute("SET", "a", "1")
        for number in range(10):
            assert await asked(redis, [mark(b"list")], [at(SURE, "a")]) == [PASSED, PASSED, b"1"]
            assert runs_of(server) == number + 1
        assert runs_of(other) == 0


async def test_who_gives_up_waiting_leaves_nothing_behind(pair: Replicated) -> None:
    async with pair.manager() as redis:
        pair.replica.pause()
        try:
            waiting = send(redis, [mark(b"list")], [at(SEEN, "a")])
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        finally:
            pair.replica.resume()


async def test_with_the_primary_away_the_round_fails_as_it_would_without_replicas(pair: Replicated) -> None:
    async with pair.manager(timeout=0.3) as redis:
        pair.primary.pause()
        try:
            with pytest.raises(RedisTimeout):
                await asked(redis, [mark(b"list")], [at(SEEN, "a")])
            assert await asked(redis, [at(SEEN, "a")]) == [PASSED, b""]  # what nobody else is needed for
            with pytest.raises(RedisUnavailable):
                await asked(redis, [at(SURE, "a")])
        finally:
            pair.primary.resume()


@pytest.mark.parametrize("binary", [valkey9, redis62])
async def test_a_cluster_is_read_from_where_the_keys_are(binary: Callable[[], Path]) -> None:
    keys = [b"key:%d" % number for number in range(30)]
    with Cluster(3, 1, binary=binary()) as cluster:
        url = cluster.url
        async with RedisManager(url, timeout=PATIENCE, read_from_replicas=True) as redis:
            for key in keys:
                await redis.execute("SET", key, key)
            await eventually(lambda: all(has(cluster, key) for key in keys))
            await read_from(redis, *keys)
            before = sum(map(runs_of, cluster.replicas)), sum(map(runs_of, cluster.primaries))
            found = await asked(redis, [Operation(SURE, (key,)) for key in keys])
            assert found == [value for key in keys for value in (PASSED, key)]
            assert sum(map(runs_of, cluster.replicas)) >= before[0] + 3
            assert sum(map(runs_of, cluster.primaries)) == before[1]
            await over_a_failover(redis, cluster, keys)


def has(cluster: Cluster, key: bytes) -> bool:
    """Tell whether a replica has a key."""
    return any(key in server.command("KEYS", "*") for server in cluster.replicas)


async def over_a_failover(redis: RedisManager, cluster: Cluster, keys: list[bytes]) -> None:
    """Whoever takes over is asked as a primary, and the former as a replica, once the map says so."""
    heir = cluster.replicas[0]
    await asyncio.to_thread(cluster.failover, heir)
    topology = redis.links.topology
    assert topology is not None
    while not any(place.port == heir.port for place in topology.map.primaries):
        await topology.refresh()
    for key in keys:
        assert await asked(redis, [Operation(SURE, (key,))]) == [PASSED, key]
    await read_from(redis, *keys)
    mine = next(key for key in keys if topology.node_for(slot_of(key)).place.port == heir.port)
    before = runs_of(heir)
    assert await asked(redis, [Operation(SURE, (mine,))]) == [PASSED, mine]
    assert runs_of(heir) == before


async def test_sentinels_say_which_replicas_there_are() -> None:
    with sentinel_service() as service:
        await eventually(lambda: service.ready)
        async with RedisManager(service.url, timeout=PATIENCE, read_from_replicas=True) as redis:
            await redis.execute("SET", "a", "1")
            await read_from(redis)
            replicas = [server for server in service.servers if server is not service.primary]
            await eventually(lambda: all(server.command("GET", "a") == b"1" for server in replicas))
            before = sum(map(runs_of, replicas))
            assert await asked(redis, [at(SURE, "a")]) == [PASSED, b"1"]
            assert sum(map(runs_of, replicas)) == before + 1


async def test_sentinels_that_are_away_name_nobody() -> None:
    address = Address.parse("redis+sentinel://127.0.0.1:1/service/0")
    known = SentinelReplicas(asyncio.get_running_loop(), address, 0.2)
    assert known.places() == ()
    assert known._asking is not None
    await within(known._asking)
    assert known.places() == ()
    known.close()


@pytest.mark.parametrize(
    ("url", "options", "fault"),
    [
        ("redis://h", {"read_from_replicas": True}, "nobody tells the replicas of one server"),
        ("redis://h", {"replicas": ("h",)}, "'h' given; allowed is host:port"),
        ("redis://h", {"replicas": ("redis://me:secret@h:1",)}, r"REDIS_REPLICAS\): '\*\*\*@h:1' given"),
        ("redis://h", {"replicas": ("h:0",)}, "'h:0' given"),
        ("redis+cluster://h:1,g:1", {"replicas": ("h:1",)}, "the cluster or its sentinels tell of them"),
        ("unix:///tmp/s", {"read_from_replicas": True, "replicas": ("h:1",)}, "a unix socket"),
    ],
)
def test_replicas_are_named_or_known(url: str, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        RedisManager(url, **options)


async def test_in_memory_the_option_means_nothing() -> None:
    async with RedisManager("memory://", read_from_replicas=True) as redis:
        assert await asked(redis, [at(SEEN, "a")]) == [PASSED, b""]


async def test_health_names_replicas_that_are_not_read_from(pair: Replicated) -> None:
    async with pair.manager() as redis:
        assert "replicas" not in (await redis.health())["warnings"]
        await asyncio.to_thread(pair.replica.command, "REPLICAOF", "NO", "ONE")
        replicas = redis.links.replicas
        assert replicas is not None
        await eventually(lambda: not replicas.reads(Batch([mark(b"any")])) and replicas.warnings())
        said = (await redis.health())["warnings"]["replicas"]
        assert f"{pair.replica.port}" in said
        assert "role master" in said


async def test_links_to_replicas_log_in_anew_with_the_others(pair: Replicated) -> None:
    logins = [("default", "first")]

    class Provider:
        def get_credentials(self) -> tuple[str, str]:
            return logins[0]

    for server in (pair.primary, pair.replica):
        server.command("ACL", "SETUSER", "default", ">first", ">second")
    named = (f"127.0.0.1:{pair.replica.port}",)
    options: dict[str, Any] = {"timeout": PATIENCE, "read_from_replicas": True, "replicas": named}
    url = f"redis://127.0.0.1:{pair.primary.port}"
    async with RedisManager(url, credential_provider=Provider(), **options) as redis:
        await read_from(redis)
        logins[0] = ("default", "wrong")
        with pytest.raises(RedisUnavailable):
            await redis.rotate_credentials()
        logins[0] = ("default", "second")
        await redis.rotate_credentials()
        calls = sent(pair.replica, "second")["cmdstat_auth"]
        assert calls["calls"] >= 2, calls
        assert await asked(redis, [at(SEEN, "a")]) == [PASSED, b""]


def sent(server: Server, password: str) -> dict[str, Any]:
    """The commands that a server has got."""
    with redis_py.Redis(port=server.port, password=password) as client:
        found: dict[str, Any] = client.info("commandstats")
        return found
