"""Trusted devices, on every kind of server: who is recognised, for how long, and what is left of those who are not."""

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard import Devices, RedisManager, TrustGrant
from asgi_redis_guard.core.asgi import Scope
from asgi_redis_guard.errors import ConfigurationError, RedisUnavailable
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import http_scope
from tests.redis.tools import PATIENCE, server_ms

NOW = 1_700_000_000.0
DAY = 86_400


@pytest.fixture
def devices(redis: RedisManager) -> Devices:
    return Devices(redis)


def on(grant: TrustGrant | str) -> Scope:
    """Return the scope of a request from the device that got this grant, or with this Cookie field."""
    if isinstance(grant, TrustGrant):
        grant = grant.set_cookie.partition(";")[0]
    return http_scope(headers={"cookie": grant})


def token_of(grant: TrustGrant) -> str:
    return grant.set_cookie.partition(";")[0].partition("=")[2]


async def keys_of(redis: RedisManager) -> list[bytes]:
    return sorted(await redis.execute("KEYS", "*"))


async def end_trust(redis: RedisManager, grant: TrustGrant) -> None:
    """Let the trust in a device have ended a moment ago, as it does while the keys live on for other devices."""
    (index, _) = await keys_of(redis)
    assert await redis.execute("ZADD", index, "XX", "CH", round(await server_ms(redis)) - 1, grant.device.handle) == 1


async def test_a_device_is_recognised_by_its_cookie_and_by_its_user(redis: RedisManager, devices: Devices) -> None:
    before = await server_ms(redis)
    grant = await devices.trust("ann", "Ann's phone")
    after = await server_ms(redis)
    found = await devices.find("ann", on(grant))
    assert found is not None
    assert (found.handle, found.name) == (grant.device.handle, "Ann's phone")
    assert (found.created, found.expires) == (grant.device.created, grant.device.expires)
    assert found.seen >= found.created
    assert before - 1 <= found.created.timestamp() * 1000 <= after + 1, "by the server's clock"
    assert (found.expires - found.created).total_seconds() == 30 * DAY
    assert not await devices.is_trusted("bob", on(grant))
    assert not await devices.is_trusted("ann", http_scope())


async def test_the_cookie_is_bound_to_its_host_and_kept_from_scripts(devices: Devices) -> None:
    grant = await devices.trust("ann")
    attributes = "; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert re.fullmatch(r"__Host-device=[A-Za-z0-9_-]{51}" + attributes, grant.set_cookie)
    assert devices.removal().startswith("__Host-device=; Max-Age=0;")
    assert devices.removal().endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


async def test_a_cookie_without_https_has_a_plain_name(redis: RedisManager) -> None:
    devices = Devices(redis, https_only=False, max_age=1.5, device_cookie="d")
    grant = await devices.trust("ann")
    assert grant.set_cookie.startswith("d=")
    assert "; Max-Age=1;" in grant.set_cookie
    assert "Secure" not in grant.set_cookie
    assert await devices.is_trusted("ann", on(grant))


async def test_what_is_stored_and_shown_opens_nothing(redis: RedisManager, devices: Devices) -> None:
    grant = await devices.trust("ann@example.com", "phone")
    token = token_of(grant)
    (shown,) = await devices.list("ann@example.com")
    index, notes = await keys_of(redis)
    stored = [index, notes, *await redis.execute("HGETALL", notes), *await redis.execute("ZRANGE", index, 0, -1)]
    text = f"{stored} {shown!r} {grant!r} {devices!r}"
    assert token[8:] not in text
    assert "ann@example.com" not in text
    assert not await devices.is_trusted("ann@example.com", on(f"__Host-device={token[:8]}{shown.handle}"))


async def test_ids_are_256_random_bits(redis: RedisManager) -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    await Devices(redis, random=random).trust("ann")
    assert asked == [32]


async def test_every_device_is_listed_with_what_there_is_to_know(redis: RedisManager, devices: Devices) -> None:
    grants = [await devices.trust("ann", name) for name in ("phone", "büro: a:b", "a\x00b\r\n;=" + "x" * 200, "")]
    listed = {device.handle: device for device in await devices.list("ann")}
    assert listed == {grant.device.handle: grant.device for grant in grants}
    assert {device.name for device in listed.values()} == {"phone", "büro: a:b", "ab;=" + "x" * 96, ""}
    assert await devices.list("bob") == []


async def test_those_that_were_seen_last_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is moved by hand, which only the store within this process can be given."""
    now = [NOW]
    monkeypatch.setattr(time, "time", lambda: now[0])
    async with RedisManager("memory://") as manager:
        devices = Devices(manager)
        first, second = await devices.trust("ann", "first"), await devices.trust("ann", "second")
        for grant in (second, first):
            now[0] += 60
            assert await devices.is_trusted("ann", on(grant))
        listed = await devices.list("ann")
        assert [(device.name, device.seen.timestamp() - NOW) for device in listed] == [("first", 120), ("second", 60)]
        assert {device.created for device in listed} == {datetime.fromtimestamp(NOW, UTC)}
        assert {device.expires.timestamp() for device in listed} == {NOW + 30 * DAY}, "use does not renew trust"


async def test_trust_ends_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [NOW]
    monkeypatch.setattr(time, "time", lambda: now[0])
    async with RedisManager("memory://") as manager:
        devices = Devices(manager, max_age=100)
        early = await devices.trust("ann", "early")
        now[0] += 50
        late = await devices.trust("ann", "late")
        now[0] = NOW + 99.999
        assert await devices.is_trusted("ann", on(early))
        now[0] = NOW + 100
        assert not await devices.is_trusted("ann", on(early))
        assert await devices.is_trusted("ann", on(late))
        assert [device.name for device in await devices.list("ann")] == ["late"]


@pytest.mark.parametrize("act", ["list", "trust"])
async def test_indexes_do_not_keep_the_dead(redis: RedisManager, devices: Devices, act: str) -> None:
    grant, other = await devices.trust("ann", "old"), await devices.trust("ann", "other")
    await end_trust(redis, grant)
    assert not await devices.is_trusted("ann", on(grant))
    await (devices.list("ann") if act == "list" else devices.trust("ann", scope=on(other)))
    index, notes = await keys_of(redis)
    assert (await redis.execute("ZCARD", index), await redis.execute("HLEN", notes)) == (1, 1)


async def test_a_device_that_has_ended_does_not_count_as_untrusted(redis: RedisManager, devices: Devices) -> None:
    grant = await devices.trust("ann")
    await end_trust(redis, grant)
    assert await devices.untrust("ann", grant.device.handle) == 0
    assert await keys_of(redis) == []


async def test_every_key_lives_as_long_as_the_last_device(redis: RedisManager, devices: Devices) -> None:
    await Devices(redis, max_age=100).trust("ann")
    for key in await keys_of(redis):
        assert 0 < await redis.execute("PTTL", key) <= 100_000
    await devices.trust("ann")
    await Devices(redis, max_age=100).trust("ann")
    for key in await keys_of(redis):
        assert 100_000 < await redis.execute("PTTL", key) <= 30 * DAY * 1000


async def test_keys_of_a_user_share_the_slot_of_the_user_s_sessions(redis: RedisManager) -> None:
    grant = await Devices(redis, key="k" * 16).trust("ann")
    index, notes = await keys_of(redis)
    assert index.startswith(b"guard:d:{" + token_of(grant)[:8].encode() + b"}")
    assert notes.startswith(b"guard:dn:{" + token_of(grant)[:8].encode() + b"}")
    assert not await Devices(redis).is_trusted("ann", on(grant)), "another key knows nobody"


async def test_trusting_a_device_again_gives_it_a_new_id_and_ends_the_old_one(
    redis: RedisManager, devices: Devices
) -> None:
    first = await devices.trust("ann", "phone")
    second = await devices.trust("ann", "phone", scope=on(first))
    assert token_of(second) != token_of(first)
    assert not await devices.is_trusted("ann", on(first))
    assert await devices.is_trusted("ann", on(second))
    assert len(await devices.list("ann")) == 1
    other = await devices.trust("bob", scope=on(second))
    assert await devices.is_trusted("ann", on(second)), "bob ends nothing of ann's"
    assert await devices.is_trusted("bob", on(other))


async def test_an_id_that_a_client_made_up_is_never_adopted(redis: RedisManager, devices: Devices) -> None:
    real = await devices.trust("ann")
    made_up = f"__Host-device={token_of(real)[:8]}{'A' * 43}"
    grant = await devices.trust("ann", scope=on(made_up))
    assert "AAAAAAAAAA" not in grant.set_cookie
    assert not await devices.is_trusted("ann", on(made_up))
    assert len(await devices.list("ann")) == 2


async def test_the_newest_devices_are_kept_to_the_number(redis: RedisManager) -> None:
    devices, lasting = Devices(redis, max_per_user=3, max_age=100), Devices(redis, max_per_user=3)
    for number in range(3):
        await lasting.trust("ann", f"lasting {number}")
    newest = await devices.trust("ann", "newest")
    names = {device.name for device in await devices.list("ann")}
    assert len(names) == 3
    assert "newest" in names, "although the others are trusted for longer"
    assert await devices.is_trusted("ann", on(newest))


async def test_the_number_holds_against_many_at_once(redis: RedisManager) -> None:
    devices = Devices(redis, max_per_user=3)
    grants = await asyncio.gather(*(devices.trust("ann", str(number)) for number in range(100)))
    trusted = [grant for grant in grants if await devices.is_trusted("ann", on(grant))]
    assert {grant.device.handle for grant in trusted} == {device.handle for device in await devices.list("ann")}
    assert len(trusted) == 3
    index, notes = await keys_of(redis)
    assert (await redis.execute("ZCARD", index), await redis.execute("HLEN", notes)) == (3, 3)


async def test_one_is_untrusted_and_others_are_not(redis: RedisManager, devices: Devices) -> None:
    one, two, three = [await devices.trust("ann") for _ in range(3)]
    assert await devices.untrust("bob", one.device.handle) == 0
    assert await devices.untrust("ann") == 0, "nothing named is nothing done"
    assert await devices.untrust("ann", one.device.handle, "nobody", "") == 1
    assert await devices.untrust("ann", one.device.handle) == 0
    assert [await devices.is_trusted("ann", on(grant)) for grant in (one, two, three)] == [False, True, True]


async def test_all_are_untrusted_but_the_one_in_hand(redis: RedisManager, devices: Devices) -> None:
    one, two, three = [await devices.trust("ann") for _ in range(3)]
    bobs = await devices.trust("bob")
    assert await devices.untrust_all("ann", keep=on(two)) == 2
    assert [await devices.is_trusted("ann", on(grant)) for grant in (one, two, three)] == [False, True, False]
    await devices.trust("ann")
    assert await devices.untrust_all("ann", keep=two.device.handle) == 1
    assert await devices.is_trusted("ann", on(two))
    assert await devices.untrust_all("ann", keep=on(bobs)) == 1, "what is not ann's keeps nothing"
    assert await devices.untrust_all("ann") == 0
    assert await devices.is_trusted("bob", on(bobs))
    await devices.untrust_all("bob")
    assert await keys_of(redis) == []


async def test_untrusting_all_leaves_none_of_those_that_came_before_it(devices: Devices) -> None:
    """Whatever is trusted at the same time: a device is in the list, or its cookie is worth nothing."""
    acts = [devices.trust("ann") for _ in range(50)]
    done = await asyncio.gather(*acts[:25], devices.untrust_all("ann"), *acts[25:])
    grants = [one for one in done if isinstance(one, TrustGrant)]
    listed = {device.handle for device in await devices.list("ann")}
    for grant in grants:
        assert await devices.is_trusted("ann", on(grant)) is (grant.device.handle in listed)


HOSTILE = ["", "x", "A" * 50, "A" * 52, "A" * 50 + "é", "A" * 1_000_000, "a; __Host-device=b", '"' + "A" * 51 + '"']


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_cookies_are_nobody_s(value: str) -> None:
    async with RedisManager("memory://") as manager:
        devices = Devices(manager)
        assert not await devices.is_trusted("ann", on(f"__Host-device={value}"))
        assert (await devices.trust("ann", scope=on(f"__Host-device={value}"))).device.handle


@given(st.binary(max_size=80))
def test_any_bytes_in_a_cookie_are_nobody_s(value: bytes) -> None:
    async def run() -> None:
        async with RedisManager("memory://") as manager:
            scope = http_scope(headers=[(b"cookie", b"__Host-device=" + value)])
            assert not await Devices(manager).is_trusted("ann", scope)

    asyncio.run(run())


async def test_of_two_cookies_none_is_believed(devices: Devices) -> None:
    one, two = await devices.trust("ann"), await devices.trust("ann")
    both = f"__Host-device={token_of(one)}; __Host-device={token_of(two)}"
    assert not await devices.is_trusted("ann", on(both))


async def test_round_trips(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        devices = Devices(manager)
        grant = await devices.trust("ann")
        await devices.is_trusted("ann", on(grant))
        counter.reset()
        assert not await devices.is_trusted("ann", http_scope())
        assert not await devices.is_trusted("bob", on(grant))
        assert not await devices.is_trusted("ann", on("__Host-device=x"))
        assert counter.round_trips == 0, "what cannot be a device of this user is not looked for"
        assert await devices.is_trusted("ann", on(grant))
        assert (counter.round_trips, counter.commands) == (1, [b"EVALSHA"])


async def test_while_redis_is_away_no_device_is_trusted() -> None:
    devices = Devices(RedisManager("redis://127.0.0.1:1", timeout=0.2))
    made = Devices(RedisManager("memory://"))
    grant = await made.trust("ann")
    with pytest.raises(RedisUnavailable):
        await devices.is_trusted("ann", on(grant))
    assert not await devices.is_trusted("ann", http_scope()), "that is known without asking"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_age", 0.5),
        ("max_age", 401 * DAY),
        ("max_age", float("nan")),
        ("max_per_user", 0),
        ("key", "short"),
        ("device_cookie", "a b"),
        ("same_site", "never"),
    ],
)
def test_options_that_cannot_work_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}: "):
        Devices(RedisManager("memory://"), **{option: value})
