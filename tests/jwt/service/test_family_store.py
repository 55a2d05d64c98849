"""Refresh families on real servers: crowds, races, what is meant and what is told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.service.families import Ended, Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from asgi_redis_guard.jwt.service.refresh_token import RefreshKeys, RefreshToken
from tests.jwt.service.families import LIMITS, NOTE, STRICT, begun, successor, verdict
from tests.redis.tools import PATIENCE, within

KEYS = RefreshKeys(b"k" * 32)


@pytest.fixture
def store(redis: RedisManager) -> FamilyStore:
    return FamilyStore(redis, LIMITS)


async def test_of_fifty_refreshes_at_once_one_rotates_and_all_get_the_same_successor(store: FamilyStore) -> None:
    token = await begun(store)
    said = await asyncio.gather(*(store.rotate(token) for _ in range(50)))
    assert Counter(one.verdict for one in said) == {Verdict.ROTATED: 1, Verdict.SAME: 49}
    assert len({KEYS.text(token.family, one.number) for one in said}) == 1
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
    store, keys = FamilyStore(redis, STRICT), redis.keys
    words: asyncio.Queue[bytes] = asyncio.Queue()
    listener = redis.pubsub.listen(keys.tokens_channel, lambda event: words.put_nowait(getattr(event, "data", b"")))
    await within(listener.ready())
    reused, ended, _ = [await begun(store) for _ in range(3)]
    await store.rotate(reused)  # a socket stays open over this
    await store.rotate(reused)
    await store.revoke(ended.family)
    await store.revoke_device("ann", "none of hers")
    await store.revoke_user("ann")
    told = [await within(words.get()) for _ in range(3)]
    logins = [keys.family_mark("", token.family.decode())[-20:] for token in (reused, ended)]
    assert told == [*logins, keys.generation_cutoff("", "ann")[-20:]]
    await redis.execute("PUBLISH", keys.tokens_channel, "the end")
    assert await within(words.get()) == b"the end"
    await listener.aclose()


async def test_the_access_tokens_of_a_family_are_in_the_blacklist_once_it_is_over(
    redis: RedisManager,
) -> None:
    store = FamilyStore(redis, STRICT)

    async def marked(*families: bytes) -> list[bool]:
        keys = [redis.keys.family_mark("", family.decode()) for family in families]
        return [bool(await redis.execute("EXISTS", key)) for key in keys]

    alone, reused, phone, other = [(await begun(store, device="phone" if n == 2 else "")).family for n in range(4)]
    await store.rotate(RefreshToken(alone, 1))
    assert await marked(alone, reused, phone, other) == [False] * 4
    await store.revoke(alone, b'{"reason":"lost"}')
    assert await redis.execute("GET", redis.keys.family_mark("", alone.decode())) == b'{"reason":"lost"}'
    assert await verdict(store, RefreshToken(reused, 1)) == Verdict.ROTATED
    assert await verdict(store, RefreshToken(reused, 1)) == Verdict.REUSED
    await store.revoke_device("ann", "phone")
    assert await marked(alone, reused, phone, other) == [True, True, True, False]
    _, said = await store.begin("ann")
    ended = await store.revoke_user("ann")
    assert int(await redis.execute("GET", redis.keys.generation_cutoff("", "ann"))) == ended.gen - 1 >= said.gen


@pytest.mark.parametrize("how", ["alone", "device", "session", "others", "reuse"])
async def test_an_end_that_was_cut_short_is_made_whole_by_the_next_try(redis: RedisManager, how: str) -> None:
    """The record says that the family is over, and the blacklist was not told: Redis went away between the two."""
    store = FamilyStore(redis, STRICT)
    token = await begun(store, device="phone", session="s")
    ends = {
        "alone": lambda: store.revoke(token.family),
        "device": lambda: store.revoke_device("ann", "phone"),
        "session": lambda: store.revoke_session("ann", "s"),
        "others": lambda: store.revoke_others("ann", b"x" * 22),
        "reuse": lambda: store.rotate(token),
    }
    if how == "reuse":
        await store.rotate(token)
    await ends[how]()
    mark = redis.keys.family_mark("", token.family.decode())
    assert await redis.execute("DEL", mark) == 1
    await ends[how]()
    assert await redis.execute("EXISTS", mark) == 1


async def test_a_family_that_fell_out_of_the_index_ends_with_its_user_s_generation(
    redis: RedisManager, store: FamilyStore
) -> None:
    lost = await begun(store)
    await redis.execute("DEL", redis.keys.families(*store.owner("ann")))
    assert (await store.revoke_user("ann")).families == ()
    assert await verdict(store, lost) == Verdict.REVOKED
    assert await verdict(store, await begun(store)) == Verdict.ROTATED


async def test_a_family_that_fell_out_of_the_index_is_back_with_its_next_refresh(
    redis: RedisManager, store: FamilyStore
) -> None:
    token = await begun(store, device="phone")
    await redis.execute("DEL", redis.keys.families(*store.owner("ann")))
    await store.rotate(token)
    assert [family for family, _ in (await store.revoke_device("ann", "phone")).families] == [token.family]
