"""Rounds over several slots on their way: passes, races, nodes that are away, callers that are gone."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys, digest, hash_tag
from asgi_redis_guard.core.rounds import JoinedReply, clock_of, read_replies
from asgi_redis_guard.core.script import HELD_BACK, NOT_RUN, PASSED, STOPPED, Batch, Operation, place_of
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import GuardProtocolError, OperationFailed, RedisTimeout, RedisUnavailable
from asgi_redis_guard.ratelimit.concurrency import RELEASE, TAKE
from asgi_redis_guard.ratelimit.policy import KINDS, Limit
from asgi_redis_guard.redis.cut_plan import plan_of
from asgi_redis_guard.redis.cutting import Cutter
from asgi_redis_guard.redis.kept import KeptFuture
from asgi_redis_guard.redis.program import Program, program_of
from tests.conformance.operations import Bound
from tests.redis.tools import PATIENCE, Guard, kind, mark, within

READ = replace(kind("found = call('GET', k) or ''", keys="k", returns="found"), commit="")
UNLESS = kind("if call('EXISTS', k) == 1 then stop = true end", "", name="refuse.unless", keys="k")
QUOTA = kind(
    "used = tonumber(call('GET', k)) or 0\nif used >= most + 0 then stop = true end",
    "call('INCR', k)",
    name="test.quota",
    keys="k",
    args="most",
    returns="used",
    group="quotas",
)
TAKEN = kind("", "call('SET', k, v)", name="held.take", keys="k", args="v", holds="yes", repeatable="yes")


class Nodes:
    """One store, where each hash tag is a node; `before` is called before a node gets a program in a pass."""

    def __init__(self, manager: RedisManager) -> None:
        self.manager = manager
        self.sent: list[tuple[Any, Program]] = []
        self.undone: list[tuple[Any, Operation]] = []
        self.away: dict[Any, RedisUnavailable] = {}
        self.before: Callable[[Any, int], None] = lambda slot, number: None
        self.cutter = Cutter(
            asyncio.get_running_loop(), bytes, self.send, lambda *what: self.undone.append(what), PATIENCE
        )

    def send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        self.before(slot, sum(slot == other for other, _ in self.sent) + 1)
        self.sent.append((slot, program))
        if slot in self.away:
            raise self.away[slot]
        return self.manager.links.lane1.evaluate(program, batches, timeout)

    def start(self, *guards: Guard, closed: tuple[int, ...] = (), shadow: tuple[int, ...] = ()) -> asyncio.Future[Any]:
        batches = [Batch(guard) for guard in guards]
        shape = tuple(place_of(at in closed, batch.kinds, at in shadow) for at, batch in enumerate(batches))
        return self.cutter.evaluate(program_of(shape), batches)

    async def run(self, *guards: Guard, **options: Any) -> list[Any]:
        *reply, _ = await within(self.start(*guards, **options))
        return reply

    def set(self, key: bytes, value: object = "1") -> None:
        """Set a key at once, between two passes."""
        self.manager.links.lane1.submit(("SET", key, str(value)))


@pytest.fixture
async def nodes() -> Any:
    async with RedisManager("memory://") as manager:
        yield Nodes(manager)


def quota(key: bytes, most: int = 1) -> Operation:
    return Operation(QUOTA, (key,), (most,))


def unless(key: bytes) -> Operation:
    return Operation(UNLESS, (key,))


async def got(nodes: Nodes, *keys: bytes) -> list[Any]:
    return [await nodes.manager.execute("GET", key) for key in keys]


# Passes.


async def test_a_round_in_one_slot_is_sent_whole(nodes: Nodes) -> None:
    assert await nodes.run([mark(b"{a}1")], [Operation(UNLESS, (b"{a}2",))], [quota(b"{a}3")]) == [1, 1, 1, 0]
    ((slot, program),) = nodes.sent
    assert slot == b"a"
    assert len(program.shape) == 3


async def test_a_round_without_keys_is_sent_whole_to_anywhere(nodes: Nodes) -> None:
    assert await nodes.run([Operation(kind("stop = true"), ())]) == [STOPPED]
    assert [slot for slot, _ in nodes.sent] == [None]


async def test_what_only_reads_takes_one_pass(nodes: Nodes) -> None:
    nodes.set(b"{b}", "x")
    assert await nodes.run([unless(b"{a}")], [Operation(READ, (b"{b}",)), Operation(READ, (b"{c}",))]) == [
        *(PASSED, PASSED, b"x", PASSED, b"")
    ]
    assert len(nodes.sent) == 3


async def test_what_nothing_can_hold_back_commits_in_the_first_pass(nodes: Nodes) -> None:
    assert await nodes.run([quota(b"{a}")], [unless(b"{b}")]) == [PASSED, 0, PASSED]
    assert [slot for slot, _ in nodes.sent] == [b"a", b"b"]
    assert await got(nodes, b"{a}") == [b"1"]


async def test_what_another_slot_can_stop_commits_in_the_second_pass(nodes: Nodes) -> None:
    assert await nodes.run([unless(b"{b}")], [quota(b"{a}"), quota(b"{c}")]) == [PASSED, PASSED, 0, PASSED, 0]
    assert [slot for slot, _ in nodes.sent] == [b"b", b"a", b"c", b"a", b"c"]


async def test_what_says_that_its_commit_would_change_nothing_takes_no_second_pass(nodes: Nodes) -> None:
    fresh = kind(
        "kept = call('GET', k)\n-- @idle\nunneeded = kept == '1'",
        "call('SET', k, refused and 'refused' or '1')",
        name="fresh.fresh",
        keys="k",
        keeps="kept",
    )
    asked = [Operation(fresh, (b"{a}",)), unless(b"{b}")]
    assert await nodes.run(asked) == [PASSED, PASSED]
    assert [slot for slot, _ in nodes.sent] == [b"a", b"b", b"a"]
    assert await nodes.run(asked) == [PASSED, PASSED]
    assert [slot for slot, _ in nodes.sent[3:]] == [b"a", b"b"]
    nodes.set(b"{b}")
    assert await nodes.run(asked) == [PASSED, STOPPED]
    assert await got(nodes, b"{a}") == [b"refused"]


async def test_a_refusal_takes_no_second_pass_where_nothing_is_left_to_commit(nodes: Nodes) -> None:
    nodes.set(b"{b}")
    assert await nodes.run([unless(b"{b}")], [quota(b"{a}"), quota(b"{c}")]) == [STOPPED, NOT_RUN, 0, NOT_RUN, 0]
    assert len(nodes.sent) == 3
    assert await got(nodes, b"{a}", b"{c}") == [None, None]


async def test_what_stops_first_decides_wherever_it_lies(nodes: Nodes) -> None:
    """The last would stop the group of the first one, had the token in another slot not stopped the round before."""
    gate = "if call('EXISTS', k) == 1 then stop = true end"
    ban = replace(kind(gate, name="ban.ban", keys="k", stops="quotas"), commit="")
    nodes.set(b"{b}")
    nodes.set(b"{a}2")
    asked = [quota(b"{a}1")], [unless(b"{b}")], [Operation(ban, (b"{a}2",))]
    assert await nodes.run(*asked) == [PASSED, 0, STOPPED, NOT_RUN]
    assert await got(nodes, b"{a}1") == [b"1"]


async def test_what_fails_only_where_it_commits_stops_nothing_although_its_guard_is_closed(nodes: Nodes) -> None:
    await nodes.manager.execute("SET", "{a}", "no list")
    reply = await nodes.run([mark(b"{a}")], [unless(b"{c}")], [quota(b"{b}")], closed=(0,))
    assert reply[0].startswith(b"WRONGTYPE")
    assert reply[1:] == [PASSED, PASSED, 0]


async def test_keys_of_one_operation_in_two_slots_are_refused_by_its_name(nodes: Nodes) -> None:
    apart = kind("found = call('EXISTS', k, l)", name="bad.apart", keys="k, l", returns="found")
    with pytest.raises(GuardProtocolError, match=r"the keys of bad\.apart lie in 2 slots"):
        nodes.start([mark(b"{a}")], [Operation(apart, (b"{a}", b"{b}"))])
    assert nodes.sent == []


async def test_each_place_has_the_clock_of_its_own_server(nodes: Nodes) -> None:
    raw = await within(nodes.start([unless(b"{a}")], [quota(b"{b}")]))
    assert isinstance(raw, JoinedReply)
    assert raw[-1] == max(raw.clocks) == clock_of(raw, 1)
    assert clock_of(raw, 0) == raw.clocks[0] <= raw[-1]


# Races.


async def test_who_loses_a_race_is_stopped_and_the_others_of_its_group_are_undone(nodes: Nodes) -> None:
    limit = Limit(5, 60, "gcra", 5, "x", b"x")
    one, two = (limit.operation(Keys(), digest(who), 2) for who in ("a", "b"))
    undoing = TAKE.undoing(Operation(TAKE, (b"c",), (1, 60, 1, b"lease")), 5)

    def meanwhile(slot: Any, number: int) -> None:
        if slot == hash_tag(two.keys[0]) and number == 2:  # somebody takes all that is left
            nodes.set(two.keys[0], 10**17)

    nodes.before = meanwhile
    raw = await within(nodes.start([one], [two]))
    assert (raw[0], raw[4]) == (HELD_BACK, STOPPED)
    ((slot, operation),) = nodes.undone
    assert slot == hash_tag(one.keys[0])
    assert operation == limit.settle(Keys(), digest("a"), raw.clocks[0], 2, 0)
    assert undoing == Operation(RELEASE, (b"c",), (1, b"lease"))


async def test_what_is_behind_something_that_is_checked_again_waits_for_it(nodes: Nodes) -> None:
    def meanwhile(slot: Any, number: int) -> None:
        if slot == b"a" and number == 2:
            nodes.set(b"{a}")

    nodes.before = meanwhile
    note = kind("", "call('SET', k, '1')", name="note.note", keys="k")
    reply = await nodes.run([quota(b"{a}")], [Operation(note, (b"{a}1",))], [quota(b"{b}", 5)])
    assert reply == [STOPPED, 1, NOT_RUN, PASSED, 0], "the last one is behind, and cannot be undone"
    assert await got(nodes, b"{a}1") == [None]


async def test_what_is_behind_the_loser_of_a_race_and_cannot_be_undone_is_told_as_it_is(nodes: Nodes) -> None:
    def meanwhile(slot: Any, number: int) -> None:
        if slot == b"a" and number == 2:
            nodes.set(b"{a}")

    nodes.before = meanwhile
    held = [Operation(READ, (b"{d}",)), Operation(TAKEN, (b"{c}",), ("me",))]
    reply = await nodes.run([quota(b"{a}")], [quota(b"{b}", 5)], held, [unless(b"{e}")])
    assert reply == [STOPPED, 1, PASSED, 0, PASSED, b"", PASSED, NOT_RUN]
    assert await got(nodes, b"{b}", b"{c}") == [b"1", b"me"]


@pytest.mark.parametrize("algorithm", [*KINDS])
async def test_what_undoes_a_limit_is_what_settles_it(algorithm: Any) -> None:
    bound = Bound(algorithm, 5, 60, 5)
    taken = bound.take(3)
    assert taken.kind.undoing(taken, 12) == bound.settle(12, 3, 0)


# Nodes that are away.


async def test_a_node_that_is_away_fails_what_lies_there_alone(nodes: Nodes) -> None:
    nodes.away[b"b"] = error = RedisUnavailable("node b")
    reply = await nodes.run([mark(b"{a}")], [quota(b"{b}"), Operation(READ, (b"{a}",))], [mark(b"{c}")])
    assert reply[0] == PASSED
    assert reply[1] is error
    assert reply[-1] == PASSED
    ask = Ask([quota(b"{b}"), Operation(READ, (b"{a}",))])
    assert read_replies(ask, reply[1:5], 0) is error


async def test_where_a_closed_guard_s_node_is_away_nothing_behind_it_takes_effect(nodes: Nodes) -> None:
    nodes.away[b"b"] = error = RedisUnavailable("node b")
    reply = await nodes.run([mark(b"{a}")], [unless(b"{b}")], [mark(b"{c}")], closed=(1,))
    assert reply == [PASSED, error, NOT_RUN]
    assert await nodes.manager.execute("EXISTS", "{c}") == 0


async def test_a_node_that_goes_away_between_the_passes_fails_what_was_to_commit_there(nodes: Nodes) -> None:
    def meanwhile(slot: Any, number: int) -> None:
        if number == 2:
            nodes.away[b"a"] = RedisUnavailable("node a")

    nodes.before = meanwhile
    reply = await nodes.run([quota(b"{a}")], [quota(b"{b}")])
    assert isinstance(reply[0], RedisUnavailable)
    assert reply[1:] == [0, PASSED, 0]


async def test_where_all_nodes_are_away_there_is_no_reply(nodes: Nodes) -> None:
    nodes.away = {b"a": RedisUnavailable("node a"), b"b": RedisUnavailable("node b")}
    with pytest.raises(RedisUnavailable, match="node a"):
        await within(nodes.start([unless(b"{a}")], [unless(b"{b}")]))


async def test_a_program_that_fails_as_a_whole_fails_its_own_part(nodes: Nodes) -> None:
    broken = kind("found = nothing + 1", keys="k", returns="found")
    reply = await nodes.run([mark(b"{a}")], [Operation(broken, (b"{b}",))])
    assert reply[0] == PASSED
    assert isinstance(reply[1], OperationFailed)


# Callers.


class Slow(Nodes):
    """Nodes whose replies come when they are let through."""

    def __init__(self, manager: RedisManager) -> None:
        super().__init__(manager)
        self.held: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] = []

    def send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        later = asyncio.get_running_loop().create_future()
        self.held.append((later, super().send(slot, program, batches, timeout)))
        return later

    def let_through(self) -> None:
        held, self.held = self.held, []
        for later, done in held:
            later.set_result(done.result())


@pytest.fixture
async def slow() -> Any:
    async with RedisManager("memory://") as manager:
        nodes = Slow(manager)
        nodes.cutter = Cutter(asyncio.get_running_loop(), bytes, nodes.send, lambda *_: None, PATIENCE)
        yield nodes


async def test_a_caller_that_is_gone_after_the_first_pass_commits_nothing_more(slow: Slow) -> None:
    future = slow.start([quota(b"{a}")], [quota(b"{b}")])
    future.cancel()
    slow.let_through()
    for _ in range(3):
        await asyncio.sleep(0)
    assert slow.held == []
    assert await got(slow, b"{a}", b"{b}") == [None, None]


async def test_what_takes_something_is_heard_although_its_caller_is_gone(slow: Slow) -> None:
    future = slow.start([unless(b"{a}")], [Operation(TAKEN, (b"{b}",), ("me",))])
    assert isinstance(future, KeptFuture)
    future.cancel()
    for _ in range(4):  # two passes of the round, of two passes of the loop each
        slow.let_through()
        await asyncio.sleep(0)
    raw = await within(future.kept)
    assert raw[:2] == [PASSED, PASSED]
    assert await got(slow, b"{b}") == [b"me"]


async def test_both_passes_together_have_the_time_of_one_call(slow: Slow) -> None:
    future = slow.start([unless(b"{a}")], [quota(b"{b}")])
    loop = asyncio.get_running_loop()
    late = loop.time() + PATIENCE
    slow.cutter.loop = _Later(loop, late)  # type: ignore[assignment]
    slow.let_through()
    raw = await within(future)
    assert raw[0] == PASSED
    assert isinstance(raw[1], RedisTimeout)
    assert await got(slow, b"{b}") == [None]


class _Later:
    """A loop by whose clock time has passed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._loop = loop
        self._now = now

    def time(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


# Slots by chance.


async def test_tags_that_share_a_slot_by_chance_make_no_shape_of_their_own(nodes: Nodes) -> None:
    """Or whoever chooses identities could have programs compiled as there are partitions of a round."""
    nodes.cutter = Cutter(
        asyncio.get_running_loop(), lambda tag: tag in (b"a", b"b"), nodes.send, lambda *_: None, PATIENCE
    )
    before = plan_of.cache_info().misses
    for tags in (("a", "c", "d"), ("a", "b", "c"), ("c", "b", "d")):
        one, two, three = (b"{%b}%d" % (tag.encode(), number) for number, tag in enumerate(tags))
        assert await nodes.run([mark(one)], [unless(two)], [quota(three, 9)]) == [PASSED, PASSED, PASSED, ANY]
    assert plan_of.cache_info().misses - before == 1
    nodes.sent.clear()
    assert await nodes.run([mark(b"{a}")], [unless(b"{b}")]) == [PASSED, PASSED]
    assert len(nodes.sent) == 1, "all in one slot"


async def test_keys_apart_are_refused_although_chance_puts_them_together(nodes: Nodes) -> None:
    nodes.cutter = Cutter(asyncio.get_running_loop(), lambda tag: 1, nodes.send, lambda *_: None, PATIENCE)
    apart = kind("found = call('EXISTS', k, l)", name="bad.apart", keys="k, l", returns="found")
    with pytest.raises(GuardProtocolError, match=r"bad\.apart"):
        nodes.start([Operation(apart, (b"{a}", b"{b}"))])


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"k", b"k"),
        (b"{a}k", b"a"),
        (b"k{a}{b}", b"a"),
        (b"k{}{b}", b"k{}{b}"),
        (b"k{a", b"k{a"),
        (b"}k{a}", b"a"),
        (b"k{a{b}c", b"a{b"),
        (b"", b""),
    ],
)
def test_the_hash_tag_of_a_key_is_what_a_cluster_takes_for_it(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag
