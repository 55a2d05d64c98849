"""What sessions record by themselves: each kind once, with the write that brings it about, and no secret in it."""

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from asgi_redis_guard import (
    CSRF,
    ConfigurationError,
    DeviceBinding,
    Devices,
    GuardMiddleware,
    RateLimit,
    RedisManager,
    SecurityEvent,
    SecurityEvents,
    SessionCipher,
    Sessions,
    SessionStore,
    TooManySessions,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, call, get, handshake, http_scope
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE
from tests.sessions.accounts import Accounts, Visitor
from tests.sessions.agents import CHROME, FIREFOX

KEY = "a key that makes tokens, of enough bytes"
AGENT = {"user-agent": "Firefox"}


class Watched(Accounts):
    """Accounts whose events are recorded, and what the hooks have heard."""

    def __init__(self, redis: RedisManager, **options: Any) -> None:
        self.heard: list[SecurityEvent] = []
        self.events = SecurityEvents(redis, hooks=[self.heard.append], key=options.get("key", b""))
        super().__init__(redis, events=self.events, **options)

    async def found(self, user: str = "alice") -> list[SecurityEvent]:
        """A user's events in their order; the hooks must have heard the same, each once."""
        events = (await self.events.query(user, limit=1000))[::-1]
        ids = [event.id for event in events]
        assert sorted(ids) == sorted(event.id for event in self.heard if event.user == user)
        assert [event for event in events if event not in self.heard] == []
        return events

    async def kinds(self, user: str = "alice") -> list[str]:
        """Their kinds."""
        return [event.kind for event in await self.found(user)]

    async def stream(self, user: str = "alice") -> bytes:
        """The key of a user's events."""
        (key,) = self.events.operation(user, "login", {}).keys
        return key


def login(user: str = "alice") -> Any:
    return lambda session: session.update(user_id=user)


async def replaced(site: Watched, *, user: str = "alice") -> tuple[Visitor, Visitor]:
    """A browser whose session was rotated, and another that has the former cookie; the overlap is over."""
    owner = await site.login(user)
    thief = Visitor(site, owner.cookie)
    await owner.visit(lambda session: session.rotate())
    await site.redis.execute("DEL", thief.id.record)
    return owner, thief


async def test_a_login_is_recorded_with_where_it_came_from(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = await site.login(headers=AGENT)
    (event,) = await site.found()
    assert (event.user, event.kind) == ("alice", "login")
    assert event.details == {"session": visitor.handle, "ip": "203.0.113.7", "user_agent": "Firefox"}
    await visitor.visit()
    await visitor.visit(lambda session: session.update(cart=1))
    assert await site.kinds() == ["login"]


async def test_a_logout_is_recorded_once_however_many_come(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = await site.login()
    handle = visitor.handle
    twins = [Visitor(site, visitor.cookie) for _ in range(20)]
    await asyncio.gather(*[one.visit(lambda session: session.clear(), headers=AGENT) for one in twins])
    assert await site.kinds() == ["login", "logout"]
    assert (await site.found())[-1].details == {"session": handle, "ip": "203.0.113.7", "user_agent": "Firefox"}


async def test_a_logout_that_leaves_the_rest_of_the_session_is_one_too(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = await site.login()
    await visitor.visit(lambda session: session.update(cart=1))
    await visitor.visit(lambda session: session.pop("user_id"))
    assert await site.kinds() == ["login", "logout"]
    assert (await visitor.visit()) == {"cart": 1}


async def test_a_new_id_is_recorded_where_it_is_not_a_login(redis: RedisManager) -> None:
    site = Watched(redis, principal=("user_id", "role"))
    visitor = await site.login()
    first = visitor.handle
    await visitor.visit(lambda session: session.rotate())
    second = visitor.handle
    await visitor.visit(lambda session: session.update(role="admin"))
    assert await site.kinds() == ["login", "rotated", "rotated"]
    pairs = [(event.details["former"], event.details["session"]) for event in (await site.found())[1:]]
    assert pairs == [(first, second), (second, visitor.handle)]


async def test_a_login_into_an_anonymous_session_and_a_change_of_user(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = Visitor(site)
    await visitor.visit(lambda session: session.update(cart=1))
    await visitor.visit(lambda session: session.rotate())
    await visitor.visit(lambda session: session.update(cart=2))
    assert site.heard == [], "nobody's session has no events"
    await visitor.visit(login())
    await visitor.visit(login("bob"))
    assert await site.kinds() == ["login", "logout"]
    assert await site.kinds("bob") == ["login"]


async def test_a_login_after_clear_ends_one_and_begins_another(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = await site.login()

    def again(session: Any) -> None:
        session.clear()
        session["user_id"] = "alice"

    await visitor.visit(again)
    assert Counter(await site.kinds()) == {"login": 2, "logout": 1}


async def test_a_login_that_failed_leaves_no_event(redis: RedisManager) -> None:
    site = Watched(redis)
    inner = site.app

    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        async def failing(message: Any) -> None:
            await send(message | {"status": 401} if message["type"] == "http.response.start" else message)

        await inner(scope, receive, failing)

    site.stack = GuardMiddleware(refuses, [site.guard], redis=redis)
    await site.login()
    assert await site.found() == []


@pytest.mark.parametrize("anonymous", [False, True])
async def test_50_logins_at_once_record_as_many_evictions_as_there_were(redis: RedisManager, anonymous: bool) -> None:
    site = Watched(redis, max_sessions=3, statistics=True)
    visitors = [Visitor(site) for _ in range(50)]
    if anonymous:
        await asyncio.gather(*[one.visit(lambda session: session.update(cart=1)) for one in visitors])
    await asyncio.gather(*[one.visit(login()) for one in visitors])
    events = await site.found()
    assert Counter(event.kind for event in events) == {"login": 50, "cap_evicted": 47}
    handles = {visitor.handle for visitor in visitors}
    evicted = [event.details["session"] for event in events if event.kind == "cap_evicted"]
    assert set(evicted) == handles - await site.ids()
    assert len(set(evicted)) == 47
    assert {event.details["by"] for event in events if event.kind == "cap_evicted"} <= handles
    assert (await site.store.stats())["active"] == 3


async def test_a_cap_that_was_lowered_evicts_several_at_once(redis: RedisManager) -> None:
    site = Watched(redis)
    before = [await site.login() for _ in range(5)]
    lower = Watched(redis, max_sessions=2)
    last = await lower.login(headers=AGENT)
    kinds = [event.kind for event in lower.heard]
    assert kinds == ["cap_evicted"] * 4 + ["login"]
    handles = [event.details["session"] for event in lower.heard]
    assert handles[4] == last.handle
    assert set(handles[:4]) == {one.handle for one in before} - await site.ids()
    assert lower.heard[0].details["user_agent"] == "Firefox"
    assert (await site.events.query("alice"))[:5] == lower.heard[::-1]


@pytest.mark.parametrize("anonymous", [False, True])
async def test_logins_that_are_denied_are_recorded_as_that(redis: RedisManager, anonymous: bool) -> None:
    site = Watched(redis, max_sessions=3, on_excess="deny")
    visitors = [Visitor(site) for _ in range(50)]
    if anonymous:
        await asyncio.gather(*[one.visit(lambda session: session.update(cart=1)) for one in visitors])
    await asyncio.gather(*[one.visit(login()) for one in visitors])
    assert Counter(await site.kinds()) == {"login": 3, "cap_denied": 47}
    denied = next(event for event in await site.found() if event.kind == "cap_denied")
    assert denied.details == {"max_sessions": 3, "ip": "203.0.113.7"}


async def test_an_id_that_was_replaced_is_reported_once_after_its_overlap(redis: RedisManager) -> None:
    site = Watched(redis)
    owner, thief = await replaced(site)
    old = thief.handle
    await asyncio.gather(*[Visitor(site, thief.cookie).visit(headers=AGENT) for _ in range(20)])
    assert await thief.user() is None
    assert await site.kinds() == ["login", "rotated", "reuse"]
    event = (await site.found())[-1]
    assert event.details == {
        "session": old,
        "successor": owner.handle,
        "ip": "203.0.113.7",
        "user_agent": "Firefox",
    }
    assert await owner.user() == "alice", "what the app makes of it is its own business"


async def test_within_the_overlap_a_replaced_id_is_a_request_that_was_on_its_way(redis: RedisManager) -> None:
    site = Watched(redis)
    owner = await site.login()
    slow = Visitor(site, owner.cookie)
    await owner.visit(lambda session: session.rotate())
    assert await slow.user() == "alice"
    assert await site.kinds() == ["login", "rotated"]


async def test_without_an_overlap_reuse_is_told_at_once(redis: RedisManager) -> None:
    site = Watched(redis, overlap=0)
    owner = await site.login()
    thief = Visitor(site, owner.cookie)
    await owner.visit(lambda session: session.rotate())
    await thief.visit()
    assert await site.kinds() == ["login", "rotated", "reuse"]


async def test_whoever_knew_the_session_before_its_login_is_told_of_too(redis: RedisManager) -> None:
    site = Watched(redis, overlap=0, encryption=SessionCipher([b"k" * 32]), key="k" * 16)
    victim = Visitor(site)
    await victim.visit(lambda session: session.update(cart=1))
    planted = Visitor(site, victim.cookie)
    await victim.visit(login())
    keys = [key for key in await site.keys() if key.endswith(b":replaced")]
    assert [b"alice" in b"".join(await redis.execute("HVALS", key)) for key in keys] == [False], "it is encrypted"
    assert 0 < await redis.execute("PTTL", keys[0]) <= 86_400_000
    await planted.visit(login("mallory"))
    assert await site.kinds() == ["login", "reuse"]
    assert await site.kinds("mallory") == ["login"], "and what the request does is done all the same"


async def test_an_id_that_ended_or_never_was_is_no_reuse(redis: RedisManager) -> None:
    site = Watched(redis)
    visitor = await site.login()
    late = Visitor(site, visitor.cookie)
    await visitor.visit(lambda session: session.clear())
    await late.visit()
    await Visitor(site, "A" * 51).visit()
    assert await site.kinds() == ["login", "logout"]


async def test_sessions_without_events_leave_no_mark_of_what_was_replaced(redis: RedisManager) -> None:
    site = Accounts(redis)
    visitor = await site.login()
    await visitor.visit(lambda session: session.rotate())
    assert [key for key in await site.keys() if b":replaced" in key or key.startswith(b"guard:e:")] == []


async def test_the_store_records_what_it_does(redis: RedisManager) -> None:
    site = Watched(redis, max_sessions=3)
    a, b, c = [await site.made(ip="198.51.100.1", user_agent="curl", device="phone") for _ in range(3)]
    first, second, third = a.handle, b.handle, c.handle
    expected = {"session": first, "ip": "198.51.100.1", "user_agent": "curl", "device": "phone"}
    assert (await site.found())[0].details == expected
    assert await site.store.revoke("alice", first) is True
    assert await site.store.revoke("alice", first) is False
    assert await site.store.revoke_others("alice", second) == 1
    assert await site.store.revoke_device("alice", "phone") == 1
    assert await site.store.revoke_all("alice") == 0
    events = (await site.found())[3:]
    assert [event.kind for event in events] == ["revoked"] * 3, "what ended nothing is no event"
    assert [event.details for event in events] == [
        {"which": "one", "count": 1, "sessions": [first]},
        {"which": "others", "count": 1, "sessions": [third], "kept": second},
        {"which": "device", "count": 1, "sessions": [second], "device": "phone"},
    ]


async def test_the_store_evicts_denies_and_tells_of_many_with_the_first_of_them(redis: RedisManager) -> None:
    site = Watched(redis)
    for number in range(30):
        await site.made(f"user{number % 2}")
        await site.made()
    assert await site.store.revoke_all("alice") == 30
    revoked = (await site.found())[-1].details
    assert (revoked["which"], revoked["count"], len(revoked["sessions"])) == ("all", 30, 20)
    capped = SessionStore(redis, events=site.events, max_sessions=1)
    await capped.create("carol")
    await capped.create("carol")
    assert await site.kinds("carol") == ["login", "cap_evicted", "login"]
    denying = SessionStore(redis, events=site.events, max_sessions=1, on_excess="deny")
    with pytest.raises(TooManySessions):
        await denying.create("carol")
    assert (await site.kinds("carol"))[-1] == "cap_denied"


async def test_devices_record_what_is_trusted_and_no_longer(redis: RedisManager) -> None:
    site = Watched(redis)
    devices = Devices(redis, events=site.events)
    phone, laptop = await devices.trust("alice", "phone"), await devices.trust("alice", "laptop")
    assert await devices.untrust("alice", phone.device.handle, "nobody's") == 1
    assert await devices.untrust("alice", phone.device.handle) == 0
    assert await devices.untrust_all("alice") == 1
    events = await site.found()
    assert [event.kind for event in events] == ["device_trusted"] * 2 + ["device_untrusted"] * 2
    assert events[0].details == {"device": phone.device.handle, "name": "phone"}
    assert events[2].details == {"count": 1, "devices": [phone.device.handle]}
    assert events[3].details == {"count": 1, "devices": [laptop.device.handle]}


async def forge(stack: GuardMiddleware, cookie: str, **headers: str) -> int:
    """Send a POST as another site makes a browser send it; return the status."""
    sent = {"cookie": cookie, "user-agent": "Firefox"} | {name.replace("_", "-"): one for name, one in headers.items()}
    return (await call(stack, http_scope("/", sent, method="POST"))).status


async def protected(site: Watched) -> tuple[GuardMiddleware, App, str]:
    """The site behind CSRF, its app, and the cookie of somebody who has logged in there."""
    app = App()
    visitor = await site.login()
    stack = GuardMiddleware(app, [site.guard, CSRF(KEY, events=site.events)], redis=site.redis)
    return stack, app, f"__Host-session={visitor.cookie}"


async def test_a_forged_request_is_recorded_and_a_flood_of_them_once(redis: RedisManager) -> None:
    site = Watched(redis)
    stack, _, cookie = await protected(site)
    assert await forge(stack, cookie, sec_fetch_site="cross-site", origin="https://evil.example") == 403
    statuses = await asyncio.gather(*[forge(stack, cookie) for _ in range(50)])
    assert set(statuses) == {403}
    assert await forge(stack, "__Host-session=" + "A" * 51, sec_fetch_site="cross-site") == 403
    assert await forge(stack, "", sec_fetch_site="cross-site") == 403
    assert await site.kinds() == ["login", "csrf_failed"]
    details = dict((await site.found())[-1].details)
    assert details.pop("session") in await site.ids()
    assert details == {
        "reason": "origin",
        "method": "POST",
        "origin": "https://evil.example",
        "ip": "203.0.113.7",
        "user_agent": "Firefox",
    }


async def test_forgeries_of_hours_leave_a_user_the_rest_of_the_history(redis: RedisManager) -> None:
    site = Watched(redis)
    stack, _, cookie = await protected(site)
    stream = await site.stream()
    now = int((await redis.execute("TIME"))[0]) * 1000
    await redis.execute("DEL", stream)

    async def put(minutes: float, kind: str = "csrf_failed") -> None:
        await redis.execute("XADD", stream, f"{round(now - minutes * 60_000)}-0", "k", kind, "d", "{}")

    for number in range(19):
        await put(60 - number)
    await forge(stack, cookie)
    assert await redis.execute("XLEN", stream) == 20
    for _ in range(3):
        await forge(stack, cookie)
    assert await redis.execute("XLEN", stream) == 20
    await redis.execute("DEL", stream)
    for number in range(20):
        await put(60 - number)
    await forge(stack, cookie)
    assert await redis.execute("XLEN", stream) == 20, "a fifth of the newest are such"
    await redis.execute("DEL", stream)
    for number in range(20):
        await put(1500 - number)
    await forge(stack, cookie)
    assert await redis.execute("XLEN", stream) == 21, "and one a day"


async def test_a_refusal_that_is_recorded_leaves_no_trace_of_the_guards_behind(memory: TestRedis) -> None:
    site = Watched(memory)
    visitor = await site.login()
    guards = [site.guard, CSRF(KEY, events=site.events), RateLimit("5/minute")]
    stack = GuardMiddleware(App(), guards, redis=memory)
    await forge(stack, f"__Host-session={visitor.cookie}", sec_fetch_site="cross-site")
    assert await site.kinds() == ["login", "csrf_failed"]
    assert [key for key in await site.keys() if key.startswith(b"guard:l:")] == []


async def test_a_session_that_a_binding_ends_is_revoked_and_not_logged_out(redis: RedisManager) -> None:
    site = Watched(redis)
    binding = DeviceBinding(on_change="revoke", events=site.events)
    site.stack = GuardMiddleware(site.app, [site.guard, binding], redis=redis)
    visitor = await site.login(headers={"user-agent": CHROME})
    await visitor.visit(headers={"user-agent": FIREFOX})
    assert visitor.session.ended == "revoked"
    assert visitor.cookie is None
    assert await site.kinds() == ["login", "revoked"]


async def test_no_round_trip_is_added(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        for max_sessions in (None, 1):
            for statistics in (False, True):
                costs = []
                for kind in (Accounts, Watched):
                    site = kind(manager, max_sessions=max_sessions, statistics=statistics)
                    costs.append(await cost(site, counter))
                    await manager.execute("FLUSHALL")
                assert costs[0] == costs[1]


async def cost(site: Accounts, counter: RoundTripCounter) -> list[int]:
    """How many round trips each step of a life of sessions takes."""
    costs = []
    first, visitor = Visitor(site), Visitor(site)
    for one, act in (
        (first, login()),
        (visitor, lambda session: session.update(cart=1)),
        (visitor, login()),
        (visitor, lambda session: session.update(cart=1)),
        (visitor, lambda session: None),
        (visitor, lambda session: session.rotate()),
        (visitor, login("bob")),
        (visitor, lambda session: session.pop("user_id")),
        (visitor, lambda session: session.clear()),
    ):
        counter.reset()
        await one.visit(act)
        costs.append(counter.round_trips)
    return costs


async def test_a_login_that_is_denied_takes_no_round_trip_more(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        site = Watched(manager, max_sessions=1, on_excess="deny")
        await site.login()
        counter.reset()
        await site.login()
        assert counter.round_trips == 1
        assert await site.kinds() == ["login", "cap_denied"]


async def test_an_unchanged_request_asks_the_same_with_events_as_without(memory: TestRedis) -> None:
    rounds = []
    for kind in (Accounts, Watched):
        site = kind(memory)
        visitor = await site.login()
        await visitor.visit()
        before = len(memory.rounds)
        await visitor.visit()
        rounds.append(memory.rounds[before:])
    assert rounds[0] == rounds[1]
    assert len(rounds[0]) == 1


async def test_what_cannot_be_recorded_stops_nothing(redis: RedisManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    site = Watched(redis, max_sessions=1, overlap=0)
    await redis.execute("SET", await site.stream(), "in the way")
    visitor, other = Visitor(site), Visitor(site)
    await visitor.visit(lambda session: session.update(cart=1))
    await visitor.visit(login())
    assert await visitor.user() == "alice"
    await other.visit(login())
    assert (await visitor.visit()).ended == "evicted"
    former = Visitor(site, other.cookie)
    await other.visit(lambda session: session.rotate())
    await former.visit()
    assert await other.user() == "alice"
    await site.made()
    assert await site.store.revoke_all("alice") == 1
    visitor = await site.login()
    await visitor.visit(lambda session: session.clear())
    assert visitor.cookie is None
    devices = Devices(redis, events=site.events)
    await devices.trust("alice", "phone")
    assert await devices.untrust_all("alice") == 1
    told = [event.kind for event in site.heard]
    assert told == [
        *("login", "cap_evicted", "login", "rotated", "reuse", "cap_evicted", "login", "revoked"),
        *("login", "logout", "device_trusted", "device_untrusted"),
    ]
    assert {event.id for event in site.heard} == {""}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "WRONGTYPE" in line
    assert "alice" not in line


async def test_a_refusal_that_cannot_be_recorded_is_one_all_the_same(redis: RedisManager) -> None:
    site = Watched(redis)
    stack, app, cookie = await protected(site)
    site.heard.clear()
    await redis.execute("SET", await site.stream(), "in the way")
    assert await forge(stack, cookie) == 403
    assert app.scopes == []
    assert [(event.kind, event.id) for event in site.heard] == [("csrf_failed", "")]


async def test_nothing_that_opens_a_door_is_recorded(redis: RedisManager) -> None:
    site = Watched(redis, max_sessions=1)
    stack, _, cookie = await protected(site)
    owner = Visitor(site, cookie.partition("=")[2])
    tokens = [str(owner.cookie)]
    secret = {"user-agent": f"x {owner.cookie} y"}
    await forge(stack, cookie, origin=f"https://{owner.cookie}.example", sec_fetch_site="cross-site")
    await owner.visit(lambda session: session.rotate(), headers=secret)
    tokens.append(str(owner.cookie))
    other = await site.login(headers=secret | {"cookie": "a=b"})
    tokens.append(str(other.cookie))
    await other.visit(lambda session: session.clear(), headers=secret)
    events = await site.found()
    assert {event.kind for event in events} == {"login", "csrf_failed", "rotated", "cap_evicted", "logout"}
    said = repr(events)
    assert [token for token in tokens if token in said or token[8:] in said] == []


async def test_the_longest_of_what_clients_choose_is_cut(redis: RedisManager) -> None:
    site = Watched(redis, max_sessions=1)
    for agent in ("é" * 5000, '"\\\x01' * 2000, "}]" * 500):
        await site.login(headers={"user-agent": agent})
    events = await site.found()
    assert Counter(event.kind for event in events) == {"login": 3, "cap_evicted": 2}
    assert max(len(str(event.details["user_agent"])) for event in events) <= 257


async def test_a_websocket_that_comes_with_a_replaced_id_is_told_of(redis: RedisManager) -> None:
    site = Watched(redis)
    _, thief = await replaced(site)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    await handshake(
        GuardMiddleware(app, [site.guard], redis=redis), headers={"cookie": f"__Host-session={thief.cookie}"}
    )
    assert await site.kinds() == ["login", "rotated", "reuse"]


async def test_another_manager_or_key_is_refused() -> None:
    async with RedisManager("memory://") as one, RedisManager("memory://") as other:
        events = SecurityEvents(one)
        with pytest.raises(ConfigurationError, match="events: made with another key"):
            Sessions(events=events, key="k" * 16)
        with pytest.raises(ConfigurationError, match="events: a str given"):
            Sessions(events="all")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="events: made for another RedisManager"):
            SessionStore(other, events=events)
        with pytest.raises(ConfigurationError, match="events: made for another RedisManager"):
            Devices(other, events=events)
        for guards in ([Sessions(events=events)], [Sessions(), CSRF(KEY, events=events)]):
            with pytest.raises(ConfigurationError, match="events: made for another RedisManager"):
                await get(GuardMiddleware(App(), guards, redis=other))
        stack = GuardMiddleware(App(), [Sessions(), DeviceBinding(events=events)], redis=other)
        with pytest.raises(ConfigurationError, match="events: made for another RedisManager"):
            await get(stack)


async def test_a_prefix_and_a_user_may_be_any_text(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE, prefix="ü{x}:") as redis:
        site = Watched(redis, max_sessions=1, overlap=0)
        user = 'é"\\]}\n'
        await site.login(user)
        await replaced(site, user=user)
        assert await site.kinds(user) == ["login", "cap_evicted", "login", "rotated"]
