"""Scripts that look at keys beside their KEYS while the slot of these moves: they wait, or say that they cannot."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.redis.tools import PATIENCE, eventually, kind, mark, run, within
from tests.servers import Server, redis7, redis62, valkey9

HERE, THERE = b"{pair}here", b"{pair}there"

#: Passes where another key holds something, and leaves a trace.
LOOK = kind("if not call('GET', other) then stop = true end", "call('RPUSH', k, 'x')", keys="k", args="other")
#: Fails where another key cannot be written, after it has left a trace.
WRITE_TWO = kind("", "call('RPUSH', k, 'x') call('SET', other, 1)", keys="k", args="other")

GET = Script("return redis.call('GET', ARGV[1])")


@pytest.fixture(scope="module", params=["valkey9", "redis62", *(["redis7"] if redis7() else [])])
def pair(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two primaries: they do not say the same where a script comes to a key that has left."""
    binary = {"valkey9": valkey9, "redis62": redis62, "redis7": redis7}[request.param]()
    with Cluster(2, binary=binary) as cluster:
        yield cluster


class Move:
    """A slot that moves: one of its keys is still here, the other has left."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.flush()
        self.cluster = cluster
        self.source: Server = cluster.owner_of(HERE)
        (self.target,) = cluster.others(self.source)
        self.source.command("RPUSH", HERE, "x")
        self.source.command("SET", THERE, "1")
        cluster.begin_migration(slot_of(HERE), self.source, self.target)
        self.source.command("MIGRATE", "127.0.0.1", self.target.port, THERE, 0, 5000)
        self._before = self.calls()

    def calls(self) -> int:
        """How many scripts the node has run that the slot leaves."""
        return sum(
            figures["calls"]
            for name, figures in self.source.command("INFO", "commandstats").items()
            if name == "cmdstat_evalsha"
        )

    async def is_met(self) -> None:
        """Wait until a script has come there twice."""
        await eventually(lambda: self.calls() >= self._before + 2)

    def end(self) -> None:
        """Move the rest."""
        self.cluster.migrate_keys(slot_of(HERE), self.source, self.target)
        self.cluster.end_migration(slot_of(HERE), self.target)

    def trace(self) -> int:
        """How often an operation has left its trace."""
        return int(self.cluster.command("LLEN", HERE, key=HERE)) - 1


@pytest.fixture
def move(pair: Cluster) -> Iterator[Move]:
    """It moves; when the test has ended it has moved."""
    move = Move(pair)
    yield move
    move.end()


@pytest.fixture
async def redis(pair: Cluster) -> AsyncIterator[RedisManager]:
    """A manager that waits as long as it takes."""
    async with RedisManager(pair.url, timeout=PATIENCE) as manager:
        yield manager


async def test_a_round_whose_check_meets_a_key_that_has_left_waits_and_commits_once(
    redis: RedisManager, move: Move
) -> None:
    waiting = asyncio.ensure_future(run(redis, [mark(HERE)], [Operation(LOOK, (HERE,), (THERE,))]))
    await move.is_met()
    assert (waiting.done(), move.trace()) == (False, 0)
    await asyncio.to_thread(move.end)
    assert await within(waiting) == [1, 1]
    assert move.trace() == 2


async def test_it_waits_no_longer_than_its_timeout_and_has_done_nothing_then(pair: Cluster, move: Move) -> None:
    async with RedisManager(pair.url, timeout=0.3) as redis:
        with pytest.raises(RedisUnavailable, match="TRYAGAIN") as caught:
            await within(run(redis, [mark(HERE)], [Operation(LOOK, (HERE,), (THERE,))]))
        assert not caught.value.leaves_doubt
        assert move.trace() == 0


async def test_what_fails_in_a_commit_is_not_done_twice(redis: RedisManager, move: Move) -> None:
    first, second = await run(redis, [mark(HERE)], [Operation(WRITE_TWO, (HERE,), (THERE,))])
    assert first == 1
    assert b"access a non local key" in second
    assert move.trace() == 2


async def test_a_script_that_may_run_twice_waits_and_any_other_fails_at_once(redis: RedisManager, move: Move) -> None:
    with pytest.raises(OperationFailed, match="access a non local key"):
        await within(redis.run_script(GET, (HERE,), (THERE,)))
    waiting = asyncio.ensure_future(redis.run_script(GET, (HERE,), (THERE,), repeatable=True))
    await move.is_met()
    assert not waiting.done()
    await asyncio.to_thread(move.end)
    assert await within(waiting) == b"1"
