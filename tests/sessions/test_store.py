"""A user's sessions from the app's side, on every kind of server: made, listed, ended."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from asgi_redis_guard import (
    ConfigurationError,
    Message,
    RedisManager,
    SessionDataError,
    SessionInfo,
    Sessions,
    SessionStore,
)
from asgi_redis_guard.pubsub.subscription import Subscription
from tests.sessions.accounts import Accounts, Visitor


@pytest.fixture
def site(redis: RedisManager) -> Accounts:
    """Sessions as they are without an option."""
    return Accounts(redis)


async def server_time(redis: RedisManager) -> datetime:
    seconds, micros = await redis.execute("TIME")
    return datetime.fromtimestamp(int(seconds) + int(micros) // 1000 / 1000, UTC)


async def test_a_session_of_the_store_is_one_of_the_guard(site: Accounts) -> None:
    info, cookie = await site.store.create("alice", {"cart": [1, 2], "since": datetime(2026, 1, 1, tzinfo=UTC)})
    assert cookie.startswith("__Host-session=")
    assert cookie.endswith("; Max-Age=1209600; Path=/; HttpOnly; SameSite=Lax; Secure")
    visitor = await site.made("alice", values={"cart": [3]})
    session = await visitor.visit()
    assert session == {"user_id": "alice", "cart": [3]}
    assert session.id == visitor.handle
    assert await site.ids() == {info.id, visitor.handle}


async def test_a_list_tells_when_and_where_each_session_began(site: Accounts, redis: RedisManager) -> None:
    before = await server_time(redis)
    agent = "Mozilla/5.0 (X11; é)" + "x" * 300
    info, _ = await site.store.create("alice", ip="203.0.113.9", user_agent=agent, device="laptop")
    after = await server_time(redis)
    assert await site.store.list("alice") == [info]
    assert before <= info.created <= after
    assert info.last_seen == info.created
    assert info.expires == info.created + timedelta(days=14)
    assert (info.ip, info.user_agent, info.device) == ("203.0.113.9", agent[:256], "laptop")
    assert await site.store.list("bob") == []


async def test_a_login_notes_the_address_that_proxies_vouch_for_the_browser_and_the_device(redis: RedisManager) -> None:
    site = Accounts(redis, trusted_proxies=["203.0.113.0/24"])
    headers = {"user-agent": "Firefox", "x-forwarded-for": "198.51.100.1"}
    visitor = await site.login(headers=headers, device="phone")
    (info,) = await site.store.list("alice")
    assert (info.id, info.ip, info.user_agent, info.device) == (visitor.handle, "198.51.100.1", "Firefox", "phone")


async def test_a_new_id_keeps_the_note_of_the_login(site: Accounts) -> None:
    visitor = await site.login(headers={"user-agent": "Firefox"}, device="phone")
    first = visitor.handle
    await visitor.visit(lambda session: session.rotate(), headers={"user-agent": "Other"})
    (info,) = await site.store.list("alice")
    assert info.id == visitor.handle != first
    assert (info.user_agent, info.device) == ("Firefox", "phone")


async def test_a_session_that_changes_hands_is_listed_once(site: Accounts) -> None:
    visitor = await site.login("alice", device="shared")
    await visitor.visit(lambda session: session.update(user_id="bob"))
    assert await site.ids("alice") == set()
    assert await site.ids("bob") == {visitor.handle}
    await visitor.visit(lambda session: session.clear())
    assert await site.ids("bob") == set()
    assert not [key for key in await site.keys() if key.startswith((b"guard:i:", b"guard:n:"))]


async def test_last_seen_moves_with_use(site: Accounts) -> None:
    visitor = await site.login()
    await site.shift(visitor, created=-10_000, touched=-10_000)
    (before,) = await site.store.list("alice")
    await visitor.visit(lambda session: session.update(n=1))
    (after,) = await site.store.list("alice")
    assert after.created == before.created
    assert after.last_seen >= before.last_seen + timedelta(seconds=10)


async def test_one_session_is_found_by_its_name_and_by_its_user_alone(site: Accounts) -> None:
    visitor = await site.login("alice")
    found = await site.store.get("alice", visitor.handle)
    assert found is not None
    assert found.id == visitor.handle
    assert await site.store.get("bob", visitor.handle) is None
    assert await site.store.get("alice", "x" * 20) is None
    assert await site.store.revoke("bob", visitor.handle) is False
    assert await visitor.user() == "alice"


async def test_one_session_is_revoked_and_the_others_stay(site: Accounts) -> None:
    one, other = await site.login(), await site.made()
    assert await site.store.revoke("alice", one.handle) is True
    assert await site.store.revoke("alice", one.handle) is False
    assert (await one.user(), await other.user()) == (None, "alice")
    assert await site.ids() == {other.handle}


async def test_revoking_others_keeps_the_current_one(site: Accounts) -> None:
    current, *others = [await site.login() for _ in range(4)]
    assert await site.store.revoke_others("alice", current.handle) == 3
    assert await current.user() == "alice"
    assert [await other.user() for other in others] == [None] * 3
    assert await site.ids() == await site.noted() == {current.handle}


async def test_revoking_all_ends_every_session_of_that_user(site: Accounts) -> None:
    visitors = [await site.login() for _ in range(3)]
    bob = await site.login("bob")
    assert await site.store.revoke_all("alice") == 3
    assert [await visitor.user() for visitor in visitors] == [None] * 3
    assert await site.store.revoke_all("alice") == 0
    assert await bob.user() == "bob"


@pytest.mark.parametrize("device", ["phone", "é" * 128, '"', " " * 20, "{x}"])
async def test_the_sessions_of_one_device_are_listed_and_revoked(site: Accounts, device: str) -> None:
    phone = [await site.made(device=device), await site.login(device=device)]
    others = [await site.made(device="laptop"), await site.made()]
    assert {info.id for info in await site.store.list("alice", device=device)} == {one.handle for one in phone}
    assert await site.store.revoke_device("alice", device) == 2
    assert await site.ids() == {one.handle for one in others}
    assert [await one.user() for one in phone] == [None] * 2


async def test_a_number_may_name_a_user(site: Accounts) -> None:
    info, _ = await site.store.create(42)
    assert await site.ids("42") == {info.id}
    visitor = await site.made(42)
    assert await visitor.visit() == {"user_id": 42}
    assert await site.store.revoke_all(42) == 2


async def test_what_a_session_replaced_ends_with_it(site: Accounts) -> None:
    """Else whoever has a copy of the old cookie could read on for the overlap, however often the id has changed."""
    visitor = await site.login()
    copies = []
    for _ in range(3):
        copies.append(visitor.cookie)
        await visitor.visit(lambda session: session.rotate())
    current = visitor.cookie
    read = [await visitor.user() for visitor.cookie in copies]
    assert read == [None, None, "alice"]
    assert await site.store.revoke_all("alice") == 1
    for visitor.cookie in (*copies, current):
        assert await visitor.user() is None


async def test_a_logout_ends_what_the_session_replaced(site: Accounts) -> None:
    visitor = await site.login()
    copy = Visitor(site, visitor.cookie)
    await visitor.visit(lambda session: session.rotate())
    assert await copy.user() == "alice"
    await visitor.visit(lambda session: session.clear())
    assert await copy.user() is None


async def test_the_dead_are_not_counted_among_the_revoked_and_get_no_mark(site: Accounts) -> None:
    visitors = [await site.login() for _ in range(3)]
    await site.lapse(visitors[0])
    await site.lapse(visitors[1], record_only=True)
    assert await site.store.revoke_all("alice") == 1
    assert [(await visitor.visit()).ended for visitor in visitors] == [None, None, "revoked"]


async def test_the_dead_are_neither_listed_nor_kept(site: Accounts, redis: RedisManager) -> None:
    dead, lost, alive = [await site.login() for _ in range(3)]
    await site.lapse(dead)
    await site.lapse(lost, record_only=True)
    assert await site.ids() == {alive.handle}
    for key in await site.keys():
        if key.startswith(b"guard:i:"):
            assert await redis.execute("ZRANGE", key, 0, -1) == [alive.id.handle]
        if key.startswith(b"guard:n:"):
            assert await redis.execute("HKEYS", key) == [alive.id.handle]
    assert await site.store.revoke_all("alice") == 1


async def test_a_login_forgets_the_dead(site: Accounts, redis: RedisManager) -> None:
    await site.lapse(await site.login())
    alive = await site.login()
    (notes,) = [key for key in await site.keys() if key.startswith(b"guard:n:")]
    assert await redis.execute("HKEYS", notes) == [alive.id.handle]


async def test_notes_without_an_index_are_forgotten(site: Accounts, redis: RedisManager) -> None:
    """An index goes with the last idle end, its notes may stay until the last absolute one."""
    await site.login()
    await redis.execute("DEL", next(key for key in await site.keys() if key.startswith(b"guard:i:")))
    alive = await site.login()
    (notes,) = [key for key in await site.keys() if key.startswith(b"guard:n:")]
    assert await redis.execute("HKEYS", notes) == [alive.id.handle]


async def test_every_key_has_an_end(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=2, idle=60)
    await site.made("bob")
    late = Visitor(site)
    await late.visit(lambda session: session.update(cart=1))
    await late.visit(lambda session: session.update(user_id="carol"))
    for _ in range(4):
        visitor = await site.login(device="phone")
        await visitor.visit(lambda session: session.rotate())
        await site.made()
    await site.store.revoke_others("alice", visitor.handle)
    keys = await site.keys()
    assert len(keys) > 5
    for key in keys:
        left = await redis.execute("PTTL", key)
        longest = 14 * 86_400_000 if key.startswith(b"guard:n:") else 3_600_000
        assert 0 < left <= longest, key


async def test_nothing_that_is_returned_stored_or_published_is_a_secret(site: Accounts, redis: RedisManager) -> None:
    """Neither the cookie nor its secret part: a list may be shown, and a dump of Redis may be lost."""
    visitor = await site.made(device="phone")
    assert visitor.cookie is not None
    secret = visitor.cookie[8:]
    async with redis.pubsub.subscribe("guard:sessions") as heard:
        told = [str(dataclasses.asdict(info)) for info in await site.store.list("alice")]
        for key in await site.keys():
            kind = await redis.execute("TYPE", key)
            words = {b"hash": ("HVALS", key), b"zset": ("ZRANGE", key, 0, -1)}[
                kind.encode() if isinstance(kind, str) else kind
            ]
            told += [str(key), str(await redis.execute(*words))]
        await site.store.revoke_all("alice")
        message = await anext(aiter(heard))
    assert isinstance(message, Message)
    assert visitor.handle in str(message.data)
    assert not [text for text in (*told, str(message), repr(site.store)) if secret in text]


async def test_the_ends_of_sessions_are_published(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=1)
    async with redis.pubsub.subscribe("guard:sessions") as heard:
        first = await site.login()
        second = await site.made()
        assert await ended(heard, first, second) is first
        third = await site.login()
        assert await ended(heard, first, second, third) is second
        await site.store.revoke("alice", third.handle)
        assert await ended(heard, first, second, third) is third


async def ended(heard: Subscription, *those: Visitor) -> Visitor:
    """Which of those has ended next; words of former tests come late in a cluster, from one server to another."""
    while True:
        told = await anext(aiter(heard))
        for one in those:
            if isinstance(told, Message) and told.data == one.id.handle:
                return one


async def test_logins_that_race_a_revocation_are_revoked_or_listed(site: Accounts) -> None:
    """None survives that a second revocation would not find."""
    logins = [site.login() if number % 2 else site.made() for number in range(60)]
    revocations = [site.store.revoke_all("alice") for _ in range(12)]
    mixed = [
        task
        for number in range(60)
        for task in (logins[number], *revocations[number // 5 : number // 5 + 1][: number % 5 == 0])
    ]
    done = await asyncio.gather(*mixed)
    visitors = [one for one in done if not isinstance(one, int)]
    alive = {one.handle for one in visitors if await one.user() == "alice"}
    assert len(visitors) == 60
    assert await site.ids() == alive
    assert sum(one for one in done if isinstance(one, int)) == 60 - len(alive)
    assert await site.store.revoke_all("alice") == len(alive)
    assert {await one.user() for one in visitors} == {None}


async def test_a_slow_request_does_not_bring_a_revoked_session_back(site: Accounts) -> None:
    visitor = await site.login()
    begun, go = asyncio.Event(), asyncio.Event()

    async def slowly(session: dict[str, object]) -> None:
        begun.set()
        await go.wait()
        session["late"] = True

    visit = asyncio.ensure_future(visitor.visit(slowly))
    await begun.wait()
    assert await site.store.revoke_all("alice") == 1
    go.set()
    await visit
    assert visitor.response.all("set-cookie") == []
    assert await site.ids() == set()
    session = await visitor.visit()
    assert (session, session.ended) == ({}, "revoked")


async def test_what_cannot_be_kept_is_refused(redis: RedisManager) -> None:
    store = SessionStore(redis, max_size=256)
    with pytest.raises(SessionDataError, match="max_size"):
        await store.create("alice", {"text": "x" * 256})
    with pytest.raises(SessionDataError, match="text"):
        await store.create("alice", {"text": object()})
    with pytest.raises(ValueError, match="user_id: 'bob' given"):
        await store.create("alice", {"user_id": "bob"})
    for device in ("", "x" * 129):
        with pytest.raises(ValueError, match="device"):
            await store.create("alice", device=device)
    assert await redis.execute("KEYS", "*") == []


def test_a_store_takes_a_guard_or_its_options() -> None:
    redis = RedisManager("memory://")
    with pytest.raises(ConfigurationError, match="guard: given together with max_age"):
        SessionStore(redis, guard=Sessions(), max_age=60)
    with pytest.raises(ConfigurationError, match="principal"):
        SessionStore(redis, principal=())
    assert "__Host-session" in repr(SessionStore(redis))


def test_what_is_told_of_a_session_cannot_be_changed() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    info = SessionInfo("id", now, now, now)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.id = "other"  # type: ignore[misc]
