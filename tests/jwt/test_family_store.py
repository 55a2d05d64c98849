"""Refresh families on real servers: crowds, races, what is told, what is counted, and what they weigh."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import OperationFailed
from asgi_redis_guard.jwt.families import Ended, FamilyLimits, Verdict, standing
from asgi_redis_guard.jwt.family_store import FamilyStore
from asgi_redis_guard.jwt.refresh_token import RefreshKeys, RefreshToken
from asgi_redis_guard.redis.asking import carry_out
from asgi_redis_guard.testing import RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, within

DAY = 86_400_000  # ms
LIMITS = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=20_000, most_replays=100, keep=3_600_000)
STRICT = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=0, most_replays=0, keep=3_600_000)
NOTE = b'{"sub":"user-1234567","scope":"orders:read orders:write profile","client":"web","auth_time":1700000000}'
KEYS = RefreshKeys(b"k" * 32)


@pytest.fixture
def store(redis: RedisManager) -> FamilyStore:
    return FamilyStore(redis, LIMITS)


async def begun(store: FamilyStore, user: str = "ann", **marks: str) -> RefreshToken:
    """Begin a family, and return its first token."""
    family, _ = await store.begin(user, NOTE, **marks)
    return RefreshToken(family, 1)


async def verdict(store: FamilyStore, token: RefreshToken) -> Verdict:
    """Present a token."""
    return (await store.rotate(token)).verdict


def successor(token: RefreshToken) -> RefreshToken:
    return token._replace(generation=token.generation + 1)


async def test_of_fifty_refreshes_at_once_one_rotates_and_all_get_the_same_successor(store: FamilyStore) -> None:
    token = await begun(store)
    said = await asyncio.gather(*(store.rotate(token) for _ in range(50)))
    assert Counter(one.verdict for one in said) == {Verdict.ROTATED: 1, Verdict.SAME: 49}
    assert len({KEYS.text(token.family, one.generation) for one in said}) == 1
    assert {(one.till, one.ends, one.note) for one in said} == {(said[0].till, said[0].ends, NOTE)}
    assert await verdict(store, successor(token)) == Verdict.ROTATED


async def test_a_crowd_over_several_connections_agrees(redis_url: str) -> None:
    stores = [FamilyStore(RedisManager(redis_url, timeout=PATIENCE), LIMITS) for _ in range(4)]
    token = await begun(stores[0])
    for _ in range(10):
        said = await asyncio.gather(*(store.rotate(token) for store in stores for _ in range(12)))
        assert Counter(one.verdict for one in said) == {Verdict.ROTATED: 1, Verdict.SAME: 47}
        token = successor(token)
    for store in stores:
        await store._redis.aclose()


async def test_reuse_ends_the_family_once_and_for_all_its_tokens(redis: RedisManager) -> None:
    store = FamilyStore(redis, STRICT)
    token = await begun(store)
    await store.rotate(token)
    said = await asyncio.gather(*(store.rotate(token) for _ in range(20)), store.rotate(successor(token)))
    verdicts = Counter(one.verdict for one in said)
    assert verdicts == {Verdict.REUSED: 1, Verdict.REVOKED: 20}
    assert {one.ended_by for one in said if one.verdict == Verdict.REVOKED} == {b"x"}


@pytest.mark.parametrize("how", ["family", "user", "device", "session"])
async def test_nothing_is_minted_into_a_family_that_was_revoked(store: FamilyStore, how: str) -> None:
    """Refreshes race the revocation: each is before it, or refused."""
    revoke: Callable[[RefreshToken], Awaitable[Ended]] = {
        "family": lambda token: store.revoke(token.family),
        "user": lambda _: store.revoke_user("ann"),
        "device": lambda _: store.revoke_device("ann", "phone"),
        "session": lambda _: store.revoke_session("ann", "s1"),
    }[how]
    for _ in range(15):
        token = await begun(store, device="phone", session="s1")
        order: list[Any] = []

        async def present(presented: RefreshToken, order: list[Any] = order) -> None:
            order.append(await verdict(store, presented))

        async def end(token: RefreshToken = token, order: list[Any] = order) -> None:
            ended = await revoke(token)
            assert [family for family, _ in ended.families] == [token.family]
            order.append("over")

        await asyncio.gather(present(token), present(token), end(), present(token), present(successor(token)))
        after = order[order.index("over") + 1 :]
        assert set(after) <= {Verdict.REVOKED}
        assert await verdict(store, token) == await verdict(store, successor(token)) == Verdict.REVOKED


async def test_who_logs_in_while_all_of_the_user_s_tokens_are_revoked_is_before_or_after(store: FamilyStore) -> None:
    for _ in range(10):
        logins = [asyncio.ensure_future(store.begin("ann", NOTE)) for _ in range(5)]
        ended = await store.revoke_user("ann")
        over = {family for family, _ in ended.families}
        for family, said in await asyncio.gather(*logins):
            assert (said.gen < ended.gen) is (family in over)
            expected = Verdict.REVOKED if family in over else Verdict.ROTATED
            assert await verdict(store, RefreshToken(family, 1)) == expected
        await store.revoke_user("ann")


async def test_only_what_is_meant_is_revoked(store: FamilyStore) -> None:
    phone, laptop, other = [await begun(store, device=name) for name in ("phone", "laptop", "phone")]
    bob = await begun(store, "bob", device="phone", session="s1")
    session = await begun(store, session="s1")
    assert {family for family, _ in (await store.revoke_device("ann", "phone", b"lost")).families} == {
        phone.family,
        other.family,
    }
    assert [family for family, _ in (await store.revoke_session("ann", "s1")).families] == [session.family]
    assert (await store.revoke_session("ann", "")).families == (), "none of those without a session"
    assert await verdict(store, laptop) == await verdict(store, bob) == Verdict.ROTATED
    said = await store.rotate(phone)
    assert (said.verdict, said.ended_by, said.why, said.note) == (Verdict.REVOKED, b"d", b"lost", NOTE)
    third = await begun(store)
    assert [family for family, _ in (await store.revoke_others("ann", third.family)).families] == [laptop.family]
    assert await verdict(store, third) == Verdict.ROTATED


async def test_what_is_over_is_not_ended_again(store: FamilyStore) -> None:
    token = await begun(store, device="phone")
    assert (await store.revoke(token.family)).note == NOTE
    assert (await store.revoke(token.family)).families == ()
    assert (await store.revoke(b"unknown-0123456789-abc")).families == ()
    assert (await store.revoke_device("ann", "phone")).families == (await store.revoke_user("ann")).families == ()


async def test_all_that_began_before_a_time_is_revoked_for_everybody(store: FamilyStore) -> None:
    before = [await begun(store, user) for user in ("ann", "bob")]
    cutoff = await store.revoke_before()
    after = await begun(store)
    assert [await verdict(store, token) for token in (*before, after)] == [Verdict.REVOKED] * 2 + [Verdict.ROTATED]
    assert await store.revoke_before(cutoff - 60) == cutoff


async def test_words_are_told_of_what_was_revoked_and_of_nothing_else(redis: RedisManager) -> None:
    store = FamilyStore(redis, STRICT)
    words: asyncio.Queue[bytes] = asyncio.Queue()
    listener = redis.pubsub.listen(
        redis.keys.tokens_channel, lambda event: words.put_nowait(getattr(event, "data", b""))
    )
    await within(listener.ready())
    reused, ended, swept = [await begun(store) for _ in range(3)]
    await store.rotate(reused)  # a socket stays open over this
    await store.rotate(reused)
    await store.rotate(reused)
    await store.revoke(ended.family)
    await store.revoke(ended.family)
    await store.revoke_device("ann", "none of hers")
    await store.revoke_user("ann")
    told = [await within(words.get()) for _ in range(3)]
    assert told == [reused.family, ended.family, store.owner("ann").word + b" " + swept.family]
    await redis.execute("PUBLISH", redis.keys.tokens_channel, "the end")
    assert await within(words.get()) == b"the end"
    await listener.aclose()


async def test_an_access_token_of_a_family_counts_until_that_is_revoked(
    redis: RedisManager, store: FamilyStore
) -> None:
    async def counts() -> bool:
        return (await carry_out(redis, Ask((standing(redis.keys, family, store.owner("ann"), said.gen),)))).passed

    family, said = await store.begin("ann")
    assert await counts()
    await store.rotate(RefreshToken(family, 1))
    assert await counts()
    await store.revoke(family)
    assert not await counts()
    family, said = await store.begin("ann")
    assert await counts()
    await store.revoke_user("ann")
    assert not await counts()


# Statistics.


async def test_families_and_what_became_of_tokens_are_counted(redis: RedisManager) -> None:
    store = FamilyStore(redis, FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=20_000, most_replays=2, keep=1000))
    tokens = [await begun(store, user, device="phone") for user in ("ann", "ann", "bob", "bob", "bob")]
    for _ in range(4):
        await store.rotate(tokens[0])  # rotated, replayed, replayed, reused
    await store.rotate(tokens[1])
    await store.revoke(tokens[2].family)
    await store.revoke_device("bob", "phone")
    stats = await store.statistics()
    totals = {name: sum(hours.values()) for name, hours in stats.items() if isinstance(hours, dict)}
    assert totals == {"begun": 5, "rotated": 2, "replayed": 2, "reused": 1, "ended": 4}
    assert stats["alive"] == 1
    left = [await redis.execute("PTTL", key) for key in redis.keys.family_counts]
    assert 7 * DAY < left[0] <= 7 * DAY + 3_600_000
    assert 0 < left[1] <= 7 * DAY


async def test_what_is_counted_goes_out_by_itself_and_old_hours_are_forgotten(redis: RedisManager) -> None:
    alive, hours = redis.keys.family_counts
    await redis.execute("HSET", alive, 5, 7)
    await redis.execute("HSET", hours, "r5", 7)
    store = FamilyStore(redis, LIMITS)
    await asyncio.gather(*(store.begin(f"user{number}") for number in range(30)))
    await redis.links.drain()
    other = await FamilyStore(redis, LIMITS).statistics()
    assert (other["alive"], sum(other["begun"].values()), other["rotated"]) == (30, 30, {})
    assert await redis.execute("HEXISTS", alive, 5) == await redis.execute("HEXISTS", hours, "r5") == 0


async def test_without_statistics_nothing_is_counted(redis: RedisManager) -> None:
    store = FamilyStore(redis, LIMITS, statistics=False)
    await verdict(store, await begun(store))
    await redis.links.drain()
    assert await redis.execute("EXISTS", *redis.keys.family_counts) == 0
    assert (await store.statistics())["alive"] == 0


# Budgets.


async def test_a_refresh_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        store = FamilyStore(manager, LIMITS, statistics=False)
        token = await begun(store)
        await store.rotate(token)
        counter.reset()
        for _ in range(5):
            token = successor(token)
            assert await verdict(store, token) == Verdict.ROTATED
        assert (counter.round_trips, counter.commands) == (5, [b"EVALSHA"] * 5)


@pytest.fixture
async def own_server(make_server: MakeServer) -> AsyncIterator[RedisManager]:
    async with RedisManager(make_server("valkey9").url, timeout=PATIENCE) as manager:
        yield manager


async def test_a_family_weighs_at_most_400_bytes_with_its_place_in_the_index(own_server: RedisManager) -> None:
    store = FamilyStore(own_server, LIMITS, statistics=False)
    tokens = [await begun(store, f"user{number // 2}", device="phone", session="s1") for number in range(2000)]
    weights = [
        await own_server.execute("MEMORY", "USAGE", own_server.keys.family(token.family[:6], token.family[6:]))
        for token in tokens[:20]
    ]
    assert max(weights) <= 400
    used = _used(await own_server.execute("INFO", "memory"))
    await asyncio.gather(*(begun(store, f"more{number // 2}", device="phone") for number in range(10_000)))
    grown = (_used(await own_server.execute("INFO", "memory")) - used) / 10_000
    assert grown <= 550, "with half an index each, and the server's own tables"


def _used(info: bytes) -> int:
    return int(bytes(info).split(b"used_memory:")[1].split()[0])


# Servers that are full or hold something else.


async def test_every_key_ends_by_itself_and_keys_of_a_user_are_in_one_slot(
    redis: RedisManager, store: FamilyStore
) -> None:
    token = await begun(store, device="phone")
    await store.rotate(token)
    await store.revoke_user("ann")
    await store.revoke_before()
    keys = await redis.execute("KEYS", "*")
    assert all([await redis.execute("PTTL", key) > 0 for key in keys])
    tag = b"{%b}" % token.family[:6]
    shared = set(redis.keys.family_counts) | {redis.keys.epoch}
    assert {tag in key for key in keys if key not in shared} == {True}
    assert len({*keys} - shared) == 3


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_refuses_new_families_and_takes_nothing_from_those_there_are(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(kind, maxmemory_policy="noeviction")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        store = FamilyStore(manager, STRICT, statistics=False)
        one, two, three = [await begun(store, device=name) for name in ("a", "b", "c")]
        server.command("CONFIG", "SET", "maxmemory", "1")
        before = set(await manager.execute("KEYS", "*"))
        with pytest.raises(OperationFailed, match="OOM"):
            await store.begin("ann", NOTE)
        assert set(await manager.execute("KEYS", "*")) == before, "nothing half written"
        assert [await verdict(store, one) for _ in range(3)] == [Verdict.ROTATED, Verdict.REUSED, Verdict.REVOKED]
        assert len((await store.revoke(two.family)).families) == 1
        assert len((await store.revoke_user("ann")).families) == 1
        assert await verdict(store, three) == Verdict.REVOKED
        assert await store.revoke_before() > 0


async def test_what_is_no_family_is_none_and_stays_as_it_is(redis: RedisManager, store: FamilyStore) -> None:
    token = await begun(store)
    key = redis.keys.family(token.family[:6], token.family[6:])
    for text in (b"", b"a", b"a:1:2", b"a:x:0:1:2:3:4:0:by:owner:d:s:0:", b"\x00" * 50):
        await redis.execute("SET", key, text, "PX", 60_000)
        assert await verdict(store, token) == Verdict.UNKNOWN
        assert (await store.revoke(token.family)).families == (await store.revoke_device("ann", "x")).families == ()
        assert await redis.execute("GET", key) == text
    await redis.execute("DEL", key)
    await redis.execute("RPUSH", key, "somebody's")
    for call in (store.rotate(token), store.revoke(token.family)):
        with pytest.raises(OperationFailed, match="WRONGTYPE"):
            await call
    assert await redis.execute("LRANGE", key, 0, -1) == [b"somebody's"]


async def test_texts_that_are_too_long_are_refused_before_anything_is_asked(store: FamilyStore) -> None:
    with pytest.raises(ValueError, match="note: 2049 bytes given; allowed are 2048"):
        await store.begin("ann", b"x" * 2049)
    with pytest.raises(ValueError, match="why: 513 bytes given; allowed are 512"):
        await store.revoke_user("ann", b"x" * 513)
