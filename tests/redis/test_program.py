"""A round as one script: check, then commit, the same on every store."""

import pytest

from asgi_redis_guard.core.script import Batch, Operation, place_of, stopping
from asgi_redis_guard.errors import GuardProtocolError, OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import MOST_LOCALS, Program, program_of
from tests.conftest import MakeServer
from tests.redis.tools import MARK, STOP, kind, mark, run, within

STOPPED, PASSED, HELD_BACK, NOT_RUN = 0, 1, 2, 3

#: As limits are: takes from a quota unless one of its group has none left.
QUOTA = kind(
    "left = most - (tonumber(call('GET', used)) or 0)\nif left < 1 then stop = true end",
    "call('INCR', used)",
    keys="used",
    args="most",
    returns="left",
    group="quotas",
)
READ = kind("found = call('GET', k) or ''", keys="k", returns="found")
WRITE = kind("", "call('SET', k, v)", keys="k", args="v")
REFUSAL = Operation(STOP, ())


def quota(key: bytes, most: int) -> Operation:
    return Operation(QUOTA, (key,), (most,))


async def trace(manager: RedisManager, *keys: bytes) -> list[object]:
    """What marks have left at `keys`."""
    return [await within(manager.execute("LRANGE", key, 0, -1)) for key in keys]


async def test_what_passes_is_committed_in_order(each_manager: RedisManager) -> None:
    reply = await run(each_manager, [mark(b"k", "a"), mark(b"k", "b")], [mark(b"k", "c")])
    assert reply == [PASSED, PASSED, PASSED]
    assert await trace(each_manager, b"k") == [[b"a", b"b", b"c"]]


async def test_a_refusal_keeps_what_is_before_it_and_leaves_no_trace_of_what_is_behind(
    each_manager: RedisManager,
) -> None:
    reply = await run(each_manager, [mark(b"before")], [REFUSAL], [mark(b"behind"), mark(b"behind")], [REFUSAL])
    assert reply == [PASSED, STOPPED, NOT_RUN, NOT_RUN, NOT_RUN]
    assert await trace(each_manager, b"before", b"behind") == [[b"1"], []]


async def test_all_of_one_guard_are_checked_but_none_behind_its_refusal_commits(each_manager: RedisManager) -> None:
    reply = await run(each_manager, [mark(b"a"), REFUSAL, mark(b"b"), REFUSAL], [mark(b"c")])
    assert reply == [PASSED, STOPPED, HELD_BACK, STOPPED, NOT_RUN]
    assert await trace(each_manager, b"a", b"b", b"c") == [[b"1"], [], []]


async def test_a_group_is_all_or_nothing_over_all_guards(each_manager: RedisManager) -> None:
    guards = [[quota(b"far", 9)], [mark(b"other")], [quota(b"near", 1), quota(b"last", 9)]]
    assert await run(each_manager, *guards) == [PASSED, 9, PASSED, PASSED, 1, PASSED, 9]
    assert await run(each_manager, *guards) == [HELD_BACK, 8, PASSED, STOPPED, 0, HELD_BACK, 8]
    counts = [await within(each_manager.execute("GET", key)) for key in (b"far", b"near", b"last")]
    assert counts == [b"1", b"1", b"1"]
    assert await trace(each_manager, b"other") == [[b"1", b"1"]]


async def test_a_group_that_another_guard_stops_keeps_what_it_took(each_manager: RedisManager) -> None:
    assert await run(each_manager, [quota(b"q", 9)], [REFUSAL]) == [PASSED, 9, STOPPED]
    assert await within(each_manager.execute("GET", "q")) == b"1"


async def test_a_failing_check_reports_in_its_own_slot_only(each_manager: RedisManager) -> None:
    await within(each_manager.execute("RPUSH", "list", "x"))
    reply = await run(each_manager, [mark(b"a")], [Operation(READ, (b"list",))], [mark(b"b")])
    assert reply[0] == PASSED
    assert reply[1].startswith(b"WRONGTYPE")
    assert reply[3] == PASSED
    assert await trace(each_manager, b"a", b"b") == [[b"1"], [b"1"]]


async def test_a_failing_commit_reports_in_its_own_slot_only(each_manager: RedisManager) -> None:
    await within(each_manager.execute("SET", "text", "x"))
    reply = await run(each_manager, [mark(b"a")], [mark(b"text")], [mark(b"b")])
    assert (reply[0], reply[2]) == (PASSED, PASSED)
    assert reply[1].startswith(b"WRONGTYPE")
    assert await trace(each_manager, b"a", b"b") == [[b"1"], [b"1"]]


async def test_a_failing_check_is_not_committed(each_manager: RedisManager) -> None:
    await within(each_manager.execute("RPUSH", "list", "x"))
    reads_and_marks = kind("call('GET', k)", "call('RPUSH', k, 'y')", keys="k")
    assert (await run(each_manager, [Operation(reads_and_marks, (b"list",))]))[0].startswith(b"WRONGTYPE")
    assert await trace(each_manager, b"list") == [[b"x"]]


async def test_a_failure_of_a_closed_guard_stops_what_is_behind_it(each_manager: RedisManager) -> None:
    await within(each_manager.execute("RPUSH", "list", "x"))
    guards = [[mark(b"a"), quota(b"q", 5)], [Operation(READ, (b"list",)), mark(b"same")], [mark(b"b")]]
    reply = await run(each_manager, *guards, closed=(1,))
    assert reply[2] == 5
    assert reply[3].startswith(b"WRONGTYPE")
    assert [reply[0], reply[1], reply[5], reply[6]] == [PASSED, PASSED, HELD_BACK, NOT_RUN]
    assert await trace(each_manager, b"a", b"same", b"b") == [[b"1"], [], []]
    reply = await run(each_manager, *guards)
    assert reply[5:] == [PASSED, PASSED]


@pytest.mark.parametrize("kind_of_server", ["valkey9", "redis62"])
async def test_full_memory_is_the_failure_of_what_writes_and_of_nobody_else(
    make_server: MakeServer, kind_of_server: str
) -> None:
    server = make_server(kind_of_server, maxmemory_policy="noeviction")
    server.command("SET", "old", "value")
    server.command("CONFIG SET", "maxmemory", "1")
    async with RedisManager(server.url, timeout=20) as manager:
        guards = [[Operation(READ, (b"old",))], [mark(b"new")], [Operation(READ, (b"new",))]]
        reply = await run(manager, *guards)
        assert reply[:2] == [PASSED, b"value"]
        assert reply[2].startswith(b"OOM")
        assert reply[3:] == [PASSED, b""]
        assert manager.links.breaker.failures == 0


@pytest.mark.parametrize("kind_of_server", ["valkey9", "redis62"])
async def test_a_replica_is_the_failure_of_the_server_and_not_of_an_operation(
    make_server: MakeServer, kind_of_server: str
) -> None:
    server = make_server(kind_of_server)
    async with RedisManager(server.url, timeout=20) as manager:
        await run(manager, [mark(b"k")])
        server.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisUnavailable, match="READONLY") as caught:
            await run(manager, [Operation(READ, (b"k2",))], [mark(b"k")])
        assert not isinstance(caught.value, OperationFailed)
        assert not caught.value.maybe_executed


async def test_keys_and_arguments_reach_their_operation_in_the_biggest_round(each_manager: RedisManager) -> None:
    joins = kind("", "call('SET', k, l .. a .. b .. c)", keys="k, l", args="a, b, c", returns="x, y")
    most = MOST_LOCALS // joins.width
    operations = [Operation(joins, (b"k%d" % n, b"l%d" % n), (f"a{n}", b"\xff\x00\r\n", n)) for n in range(most)]
    reply = await run(each_manager, operations[:10], operations[10:11], operations[11:])
    assert reply == [PASSED, 0, 0] * most
    for n in range(most):
        assert await within(each_manager.execute("GET", f"k{n}")) == b"l%da%d\xff\x00\r\n%d" % (n, n, n)


def test_more_operations_than_lua_has_room_for_are_refused() -> None:
    most = MOST_LOCALS // MARK.width
    with pytest.raises(GuardProtocolError, match=f"{most + 1} operations"):
        Program([place_of(False, (MARK,) * most), place_of(False, (MARK,))])


async def test_what_a_check_keeps_reaches_its_own_commit(each_manager: RedisManager) -> None:
    doubles = kind("twice = n * 2", "call('SET', k, twice)", keys="k", args="n", keeps="twice")
    operations = [Operation(doubles, (b"k%d" % n,), (n,)) for n in range(3)]
    assert await run(each_manager, operations) == [PASSED] * 3
    assert [await within(each_manager.execute("GET", f"k{n}")) for n in range(3)] == [b"0", b"2", b"4"]


async def test_the_clock_is_the_servers_and_is_read_once(each_manager: RedisManager) -> None:
    tells = kind("at = now", returns="at")
    reply = await run(each_manager, [Operation(tells, ())] * 2, [Operation(tells, ())])
    assert reply[1] == reply[3] == reply[5]
    seconds, micros = await within(each_manager.execute("TIME"))
    assert 0 <= int(seconds) * 10**6 + int(micros) - reply[1] < 60 * 10**6


async def test_values_that_are_not_set_come_back_as_zero_and_numbers_whole(each_manager: RedisManager) -> None:
    returns = kind("big = 9007199254740991\ncut = 2.9\ntext = 'x'", returns="big, none, cut, text")
    assert await run(each_manager, [Operation(returns, ())]) == [PASSED, 9007199254740991, 0, 2, b"x"]


async def test_a_batch_can_be_sent_again_and_in_other_rounds(each_manager: RedisManager) -> None:
    first, second = Batch([mark(b"k", "a")]), Batch([mark(b"k", "b"), REFUSAL])
    alone = Program([place_of(False, first.kinds)])
    both = Program([place_of(False, first.kinds), place_of(False, second.kinds)])
    for program, batches in ((alone, [first]), (both, [first, second]), (alone, [first])):
        await within(each_manager.evaluate(program, batches))
    assert await trace(each_manager, b"k") == [[b"a", b"a", b"b", b"a"]]


def test_one_shape_is_one_program_and_knows_what_it_may() -> None:
    repeats, holds = kind("", repeatable="yes"), kind("", repeatable="yes", holds="yes")
    shape = (place_of(False, (repeats,)),)
    assert program_of(shape) is program_of((place_of(False, (repeats,)),))
    assert program_of(shape) is not program_of((place_of(True, (repeats,)),))
    assert (program_of(shape).repeatable, program_of(shape).holds) == (True, False)
    assert not Program([place_of(False, (repeats, MARK))]).repeatable
    assert Program([place_of(False, (repeats,)), place_of(False, (holds,))]).holds


#: Counts how often its guard refused, and how often not.
LEDGER = kind("", "call('INCR', refused and no or yes)", keys="yes, no")


async def counted(manager: RedisManager, *keys: bytes) -> list[int]:
    """What counters at `keys` say."""
    return [int(await within(manager.execute("GET", key)) or 0) for key in keys]


async def test_a_commit_in_front_knows_whether_its_own_guard_refuses(each_manager: RedisManager) -> None:
    def ledger(name: str) -> Operation:
        return Operation(LEDGER, (f"{name}-yes".encode(), f"{name}-no".encode()))

    outer, inner = [ledger("outer"), quota(b"far", 9)], [ledger("inner"), quota(b"near", 1)]
    assert await run(each_manager, outer, inner) == [PASSED, PASSED, 9, PASSED, PASSED, 1]
    assert await run(each_manager, outer, inner) == [PASSED, HELD_BACK, 8, PASSED, STOPPED, 0]
    assert await counted(each_manager, b"outer-yes", b"outer-no", b"inner-yes", b"inner-no") == [2, 0, 1, 1]


@pytest.mark.parametrize("place", [0, 1])
async def test_a_guard_in_shadow_holds_itself_back_and_stops_nobody(each_manager: RedisManager, place: int) -> None:
    guards = [[quota(b"real", 9)], [mark(b"m")]]
    guards.insert(place, [Operation(LEDGER, (b"yes", b"no")), quota(b"tried", 1), quota(b"beside", 9)])
    shadow = {"shadow": (place,)}
    first, second = await run(each_manager, *guards, **shadow), await run(each_manager, *guards, **shadow)
    at = 2 * place
    assert first[at : at + 5] == [PASSED, PASSED, 1, PASSED, 9]
    assert second[at : at + 5] == [PASSED, STOPPED, 0, HELD_BACK, 8]
    assert first[:at] + first[at + 5 :] == [PASSED, 9, PASSED]
    assert second[:at] + second[at + 5 :] == [PASSED, 8, PASSED]
    assert await counted(each_manager, b"real", b"tried", b"beside", b"yes", b"no") == [2, 1, 1, 1, 1]
    assert await trace(each_manager, b"m") == [[b"1", b"1"]]


async def test_a_guard_in_shadow_does_not_count_behind_a_refusal(each_manager: RedisManager) -> None:
    tried = [quota(b"tried", 9)]
    assert await run(each_manager, tried, [REFUSAL], shadow=(0,)) == [PASSED, 9, STOPPED]
    assert await run(each_manager, [REFUSAL], tried, shadow=(1,)) == [STOPPED, NOT_RUN, 0]
    assert await run(each_manager, tried, [quota(b"none", 0)], shadow=(0,)) == [HELD_BACK, 8, STOPPED, 0]
    assert await counted(each_manager, b"tried") == [1]


async def test_what_stands_for_a_guard_that_did_not_ask_holds_its_group_back(each_manager: RedisManager) -> None:
    refusal = [Operation(stopping("quotas"), ())]
    reply = await run(each_manager, [quota(b"far", 9), mark(b"m")], refusal, [mark(b"m")])
    assert reply == [HELD_BACK, 9, PASSED, STOPPED, NOT_RUN]
    assert await counted(each_manager, b"far") == [0]
    assert await trace(each_manager, b"m") == [[b"1"]]
