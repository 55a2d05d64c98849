"""Cutting a round by slot, against the one program: the same statuses, values and effects, for any stack."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import PASSED, Batch, Operation, OperationKind, place_of
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.cutting import Cutter
from asgi_redis_guard.redis.program import program_of
from tests.redis.tools import PATIENCE, kind, within

#: Everything that an operation may be: each leaves in its key what it has seen.
QUOTA = kind(
    "kept = tonumber(call('GET', k)) or 0\nused = kept\nif used >= most + 0 then stop = true end",
    "call('SET', k, kept + 1)",
    name="test.quota",
    keys="k",
    args="most",
    keeps="kept",
    returns="used",
    group="quotas",
)
LOCK = kind(
    "if call('GET', k) then stop = true end\nfound = call('STRLEN', k) or 7",
    "call('SET', k, v)",
    name="lock.take",
    keys="k",
    args="v",
    returns="found",
    group="locks",
)
BAN = kind(
    "kept = tonumber(call('GET', k)) or 0\ncount = kept\nif count > most + 0 then stop = true end",
    "call('SET', k, kept + (refused and 10 or 1))",
    name="ban.ban",
    keys="k",
    args="most",
    keeps="kept",
    returns="count",
    stops="quotas",
)
TALLY = kind("", "call('APPEND', k, refused and 'r' or 'p')", name="test.tally", keys="k")
NOTE = kind("", "call('APPEND', k, 'n')", name="note.note", keys="k")
LOOK = replace(kind("size = call('STRLEN', k) or 9", name="look.look", keys="k", returns="size"), commit="")
MARK = replace(kind("if call('EXISTS', k) == 1 then stop = true end", name="mark.mark", keys="k"), commit="")
HALT = replace(kind("stop = true", name="halt.halt"), commit="")
HALT_QUOTAS = replace(kind("stop = true", name="halt.quotas", group="quotas"), commit="")
FREE = replace(kind("seen = 5", name="free.free", returns="seen"), commit="")
PUSH = kind("", "call('RPUSH', k, '1')", name="push.push", keys="k")
FRESH = kind(
    "kept = call('GET', k)\nif kept == '2' then stop = true end\n-- @idle\nunneeded = kept == '1'",
    "if refused or kept ~= '1' then call('SET', k, refused and 'r' or '1') end",
    name="fresh.fresh",
    keys="k",
    keeps="kept",
    group="fresh",
)
KINDS = (QUOTA, LOCK, BAN, TALLY, NOTE, LOOK, MARK, FRESH, HALT, HALT_QUOTAS, FREE, PUSH)


#: A slot, and which key in it.
PLACES = st.tuples(st.integers(0, 3), st.sampled_from("ab"))


def key_of(feature: str, slot: int, name: str) -> bytes:
    return b"%b{%d}%b" % (feature.encode(), slot, name.encode())


@st.composite
def operations(draw: st.DrawFn) -> tuple[OperationKind, bytes, int]:
    """A kind, its key in the slot of its tag, and its number; no two features share a key."""
    found = draw(st.sampled_from([*KINDS[:8], *KINDS]))
    return found, key_of(found.name.partition(".")[0], *draw(PLACES)), draw(st.integers(0, 3))


GUARDS = st.tuples(
    st.lists(operations(), min_size=1, max_size=4),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, False, True]),
)
STACKS = st.lists(GUARDS, min_size=1, max_size=5)
#: What is there before: nothing, a number, or what no operation can work on.
FOUND = st.dictionaries(
    st.tuples(st.sampled_from(["test", "lock", "ban", "note", "look", "mark", "fresh", "push"]), PLACES),
    st.sampled_from(["1", "2", "list"]),
    max_size=6,
)


def round_of(stack: Any, space: bytes) -> tuple[Any, list[Batch]]:
    batches = []
    shape = []
    for asked, closed, shadow in stack:
        batch = Batch(
            Operation(one, tuple(space + key for _ in one.keys), tuple(number for _ in one.args))
            for one, key, number in asked
        )
        batches.append(batch)
        shape.append(place_of(closed, batch.kinds, shadow))
    return program_of(tuple(shape)), batches


def slot_of(key: bytes) -> bytes:
    return b"{" + key


async def content(manager: RedisManager, space: bytes) -> dict[bytes, Any]:
    found = {}
    for key in await manager.execute("KEYS", space + b"*"):
        listed = await manager.execute("TYPE", key) in (b"list", "list")
        found[key[len(space) :]] = await manager.execute(*(("LRANGE", key, 0, -1) if listed else ("GET", key)))
    return found


async def prepare(manager: RedisManager, space: bytes, found: Any) -> None:
    for (feature, place), what in found.items():
        key = space + key_of(feature, *place)
        await manager.execute(*(("RPUSH", key, "x") if what == "list" else ("SET", key, what)))


async def compare(manager: RedisManager, stack: Any, found: Any) -> None:
    await manager.execute("FLUSHALL")
    lane = manager.links.lane1
    undone: list[Any] = []
    passes: list[Any] = []

    def send(slot: Any, program: Any, batches: Any, timeout: float) -> Any:
        passes.append(slot)
        return lane.evaluate(program, batches, timeout)

    cutter = Cutter(manager.links.loop, slot_of, send, lambda *what: undone.append(what), 5.0)
    replies = []
    for space in (b"one:", b"cut:"):
        await prepare(manager, space, found)
        program, batches = round_of(stack, space)
        raw = await within((lane if space == b"one:" else cutter).evaluate(program, batches))
        replies.append(raw[:-1])
        assert isinstance(raw[-1], int)
    assert replies[1] == replies[0]
    assert await content(manager, b"cut:") == await content(manager, b"one:")
    assert undone == []
    assert len(passes) <= 2 * max(len({*passes}), 1)


@pytest.mark.parametrize(("store", "examples"), [("memory", 300), ("valkey9", 150)])
def test_a_cut_round_says_and_does_what_the_one_program_does(store: str, examples: int, redis_url: str) -> None:
    with asyncio.Runner() as runner:
        manager = RedisManager("memory://" if store == "memory" else redis_url, timeout=PATIENCE)

        @given(STACKS, FOUND)
        @settings(max_examples=examples)
        def holds(stack: Any, found: Any) -> None:
            runner.run(compare(manager, stack, found))

        holds()
        runner.run(manager.aclose())


# Where nodes are away and others write between the passes.

GATED = {
    (group, stops): kind(
        "if call('EXISTS', gate) == 1 then stop = true end",
        "call('SET', k, '1')",
        **{"name": f"f{group}.take", "keys": "k, gate", **({"group": group} if group else {})},
        **({"stops": stops} if stops else {}),
    )
    for group, stops in (("", ""), ("red", ""), ("blue", ""), ("", "red"))
}
FREELY = kind("", "call('SET', k, '1')", name="free.write", keys="k, gate")

Ask = tuple[tuple[str, str] | None, int]
ASKED = st.tuples(st.sampled_from([None, *GATED]), st.integers(0, 3))
WORLDS = st.fixed_dictionaries(
    {
        "stack": st.lists(
            st.tuples(st.lists(ASKED, min_size=1, max_size=3), st.booleans(), st.sampled_from([False, False, True])),
            min_size=1,
            max_size=5,
        ),
        "shut": st.sets(st.integers(0, 3), max_size=1),
        "shut_between": st.sets(st.integers(0, 3), max_size=2),
        "away": st.sets(st.integers(0, 3), max_size=1),
        "away_between": st.sets(st.integers(0, 3), max_size=2),
        "doubtful": st.booleans(),
    }
)


async def survive(manager: RedisManager, world: dict[str, Any]) -> None:
    """What is reported as committed is there, what is reported as anything else is not; errors tell neither."""
    await manager.execute("FLUSHALL")
    lane, sent = manager.links.lane1, dict.fromkeys((b"{%d" % slot for slot in range(4)), 0)
    for slot in world["shut"]:
        lane.submit(("SET", b"{%d}gate" % slot, "1"))

    def send(slot: Any, program: Any, batches: Any, timeout: float) -> Any:
        number, sent[slot] = int(slot[1:]), sent[slot] + 1
        if number in world["away"] or (sent[slot] == 2 and number in world["away_between"]):
            if world["doubtful"]:
                lane.evaluate(program, batches)
            raise RedisUnavailable("away", maybe_executed=world["doubtful"])
        if sent[slot] == 2 and number in world["shut_between"]:
            lane.submit(("SET", b"{%d}gate" % number, "1"))
        return lane.evaluate(program, batches)

    batches, shape, keys = [], [], []
    for asked, closed, shadow in world["stack"]:
        made = []
        for which, slot in asked:
            keys.append(b"{%d}%d" % (slot, len(keys)))
            made.append(Operation(FREELY if which is None else GATED[which], (keys[-1], b"{%d}gate" % slot)))
        batches.append(Batch(made))
        shape.append(place_of(closed, batches[-1].kinds, shadow))
    cutter = Cutter(manager.links.loop, slot_of, send, lambda *_: None, 5.0)
    try:
        raw = await within(cutter.evaluate(program_of(tuple(shape)), batches))
    except RedisUnavailable:
        assert sum(sent.values()) == len([slot for slot in sent if sent[slot]]), "nothing was sent after that"
        return
    assert max(sent.values()) <= 2
    for status, key in zip(raw[:-1], keys, strict=True):
        if isinstance(status, RedisUnavailable):
            assert status.leaves_doubt or world["doubtful"] or not await manager.execute("EXISTS", key)
        else:
            assert (status == PASSED) == bool(await manager.execute("EXISTS", key)), (status, key)


def test_a_reply_is_true_whatever_nodes_and_others_do() -> None:
    with asyncio.Runner() as runner:
        manager = RedisManager("memory://", timeout=PATIENCE)

        @given(WORLDS)
        @settings(max_examples=400)
        def holds(world: dict[str, Any]) -> None:
            runner.run(survive(manager, world))

        holds()
        runner.run(manager.aclose())
