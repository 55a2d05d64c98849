"""Security events, on every kind of server: what is kept, for how long, who is told, and how they are found again."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asgi_redis_guard import Devices, RedisManager, SecurityEvent, SecurityEvents
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import ConfigurationError, OperationFailed, RedisUnavailable, SessionDataError
from asgi_redis_guard.redis.program import program_of
from asgi_redis_guard.sessions.events import RECORD
from asgi_redis_guard.testing import RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, server_ms

NOW = 1_700_000_000.0
DAY = 86_400


@pytest.fixture
def events(redis: RedisManager) -> SecurityEvents:
    return SecurityEvents(redis)


async def key_of(redis: RedisManager) -> bytes:
    (key,) = await redis.execute("KEYS", "guard:e:*")
    return bytes(key)


async def place_at(redis: RedisManager, events: SecurityEvents, *moments: float, user: str = "ann") -> None:
    """Put events where they would stand, had they been recorded at those times."""
    (stream,) = events.operation(user, "login", {}).keys
    for moment in moments:
        await redis.execute("XADD", stream, f"{round(moment * 1000)}-0", "k", "login", "d", "{}")


async def test_what_is_recorded_is_found_newest_first(redis: RedisManager, events: SecurityEvents) -> None:
    before = await server_ms(redis) / 1000
    first = await events.record("ann", "login", ip="203.0.113.7", session="handle")
    second = await events.record("ann", "app.password_changed", by="ann")
    after = await server_ms(redis) / 1000
    assert await events.query("ann") == [second, first]
    assert (first.user, first.kind, first.details) == ("ann", "login", {"ip": "203.0.113.7", "session": "handle"})
    assert first.id != second.id
    for event in (first, second):
        assert event.at.tzinfo is UTC
        assert before - 0.001 <= event.at.timestamp() <= after + 0.001, "by the server's clock"
        assert round(event.at.timestamp() * 1000) == int(event.id.split("-")[0])


async def test_every_user_has_a_log_and_nobody_else_reads_it(events: SecurityEvents) -> None:
    await events.record("ann", "login")
    assert await events.query("bob") == []
    assert await events.query("ann ") == []
    await events.record("", "logout")
    assert [event.kind for event in await events.query("")] == ["logout"]


async def test_the_key_hides_the_user_lies_in_its_slot_and_has_an_end(redis: RedisManager) -> None:
    events = SecurityEvents(redis, key="k" * 16, retention=100)
    await events.record("ann", "login")
    key = await key_of(redis)
    assert b"ann" not in key
    assert key.startswith(b"guard:e:{")
    assert 0 < await redis.execute("PTTL", key) <= 100_000
    assert await SecurityEvents(redis).query("ann") == [], "another key is another place"


async def test_a_page_follows_the_other_to_the_last(events: SecurityEvents) -> None:
    recorded = [await events.record("ann", "login", number=number) for number in range(23)]
    seen: list[SecurityEvent] = []
    page = await events.query("ann", limit=5)
    while page:
        seen += page
        page = await events.query("ann", limit=5, before=page[-1].id)
    assert seen == recorded[::-1]


async def test_pages_stay_where_they_are_while_events_come_in(events: SecurityEvents) -> None:
    recorded = [await events.record("ann", "login", number=number) for number in range(4)]
    page = await events.query("ann", limit=2)
    await events.record("ann", "logout")
    assert await events.query("ann", limit=2, before=page[-1].id) == recorded[1::-1]


async def test_kinds_are_found_among_many_others(events: SecurityEvents) -> None:
    wanted = []
    for number in range(260):
        kind = "reuse" if number % 100 == 7 else "app.x" if number % 100 == 8 else "login"
        event = await events.record("ann", kind, number=number)
        wanted += [event] if kind != "login" else []
    assert await events.query("ann", kinds=["reuse", "app.x"]) == wanted[::-1]
    assert await events.query("ann", kinds="reuse", limit=2) == [wanted[4], wanted[2]]
    assert await events.query("ann", kinds={"reuse"}, before=wanted[2].id) == [wanted[0]]
    assert await events.query("ann", kinds={"csrf_failed"}) == []
    latest = await events.query("ann", kinds=["login"], limit=3)
    assert [event.details["number"] for event in latest] == [259, 258, 257]
    assert len(await events.query("ann", limit=1000)) == 260


async def test_a_time_range_has_its_beginning_and_not_its_end(redis: RedisManager, events: SecurityEvents) -> None:
    now = round(await server_ms(redis) / 1000)
    await place_at(redis, events, *(now - 10 + second for second in range(6)))

    async def seconds(**query: Any) -> list[int]:
        return [round(event.at.timestamp()) - now for event in await events.query("ann", **query)]

    assert await seconds() == [-5, -6, -7, -8, -9, -10]
    assert await seconds(since=now - 8) == [-5, -6, -7, -8]
    assert await seconds(until=now - 8) == [-9, -10]
    assert await seconds(since=now - 9, until=now - 7) == [-8, -9]
    when = datetime.fromtimestamp(now, UTC)
    assert await seconds(since=when - timedelta(seconds=9), until=when - timedelta(seconds=7), limit=1) == [-8]
    assert await seconds(since=now - 7, until=now - 9) == []
    assert await seconds(since=now + DAY) == []
    assert await seconds(until=now - 7, before=f"{(now - 9) * 1000}-0") == [-10], "the earlier end counts"
    assert await seconds(until=now - 9, before=f"{(now - 7) * 1000}-0") == [-10]
    assert await seconds(until=0) == []
    assert await seconds(before="0-0") == []
    assert await seconds(since=-5) == [-5, -6, -7, -8, -9, -10]


async def test_events_past_the_retention_are_neither_told_nor_kept(redis: RedisManager) -> None:
    events = SecurityEvents(redis, retention=100)
    now = await server_ms(redis) / 1000
    await place_at(redis, events, now - 300, now - 200, now - 50)
    assert len(await events.query("ann")) == 1, "before anything is written"
    await events.record("ann", "logout")
    assert await redis.execute("XLEN", await key_of(redis)) == 2


async def test_the_newest_are_kept_to_the_number(redis: RedisManager) -> None:
    events = SecurityEvents(redis, max_per_user=5)
    recorded = [await events.record("ann", "login", number=number) for number in range(12)]
    assert await events.query("ann") == recorded[:-6:-1]
    assert await redis.execute("XLEN", await key_of(redis)) == 5


async def test_a_clock_that_was_set_back_keeps_the_order(redis: RedisManager, events: SecurityEvents) -> None:
    ahead = await server_ms(redis) / 1000 + 3600
    await place_at(redis, events, ahead)
    first, second = await events.record("ann", "logout"), await events.record("ann", "login")
    assert [event.id for event in (second, first)] == [f"{round(ahead * 1000)}-{number}" for number in (2, 1)]
    assert (await events.query("ann"))[:2] == [second, first]


async def test_events_that_are_recorded_at_once_are_all_there(events: SecurityEvents) -> None:
    recorded = await asyncio.gather(*(events.record("ann", "login", number=number) for number in range(200)))
    found = await events.query("ann", limit=1000)
    assert sorted(event.id for event in found) == sorted({event.id for event in recorded})
    assert len(found) == 200


async def test_two_of_a_user_in_one_round_are_both_there(redis: RedisManager, events: SecurityEvents) -> None:
    both = [events.operation("ann", "csrf_failed", {"a": 1}), events.operation("ann", "new_device", {"a": 2})]
    ask = Ask(both)
    keys, args = (tuple(part for one in both for part in getattr(one, name)) for name in ("keys", "args"))
    flat = await redis.run_script(program_of((ask.place,)), keys, args)
    assert flat[:-1:2] == [1, 1]
    assert [event.kind for event in await events.query("ann")] == ["new_device", "csrf_failed"]


async def test_what_stands_in_the_way_is_an_error_and_hooks_hear_of_it(redis: RedisManager) -> None:
    heard: list[SecurityEvent] = []
    events = SecurityEvents(redis, hooks=[heard.append], clock=lambda: NOW)
    await redis.execute("SET", events.operation("ann", "login", {}).keys[0], "x")
    with pytest.raises(OperationFailed, match="WRONGTYPE"):
        await events.record("ann", "login", ip="203.0.113.7")
    with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
        await events.query("ann")
    assert heard == [SecurityEvent("ann", "login", datetime.fromtimestamp(NOW, UTC), "", {"ip": "203.0.113.7"})]


async def test_all_of_a_user_can_be_forgotten(redis: RedisManager, events: SecurityEvents) -> None:
    await events.record("ann", "login")
    assert await events.forget("ann") is True
    assert await events.forget("ann") is False
    assert await redis.execute("DBSIZE") == 0


async def test_each_call_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        events = SecurityEvents(manager)
        await events.record("ann", "login")
        await events.query("ann")
        counter.reset()
        await events.record("ann", "login")
        await events.query("ann", kinds=["login"])
        assert (counter.round_trips, counter.commands) == (2, [b"EVALSHA", b"EVALSHA"])


async def test_hooks_get_each_event_and_what_they_raise_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[SecurityEvent] = []

    def broken(event: SecurityEvent) -> None:
        raise RuntimeError("the SIEM is away")

    async with RedisManager("memory://") as manager:
        events = SecurityEvents(manager, hooks=[broken, heard.append])
        event = await events.record("ann", "login", ip="203.0.113.7")
        assert await events.query("ann") == heard == [event]
        with pytest.raises(AttributeError):
            event.kind = "logout"  # type: ignore[misc]


async def test_a_time_is_that_of_the_server_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RedisManager("memory://") as manager:
        monkeypatch.setattr(time, "time", lambda: NOW + 0.123)
        event = await SecurityEvents(manager).record("ann", "login")
        assert (event.id, event.at.timestamp()) == (f"{round(NOW * 1000) + 123}-0", NOW + 0.123)


async def test_a_user_may_have_any_name() -> None:
    async with RedisManager("memory://") as manager:
        events = SecurityEvents(manager)
        for name in ("\ud800", "{a}", "*", "a\x00", "\r\n", "é", "e\u0301", "x" * 10_000):
            event = await events.record(name, "login")
            assert await events.query(name) == [event]


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_a_full_server_takes_no_event_and_no_device_and_keeps_no_half_of_one(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(kind)
    heard: list[SecurityEvent] = []
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        events, devices = SecurityEvents(manager, hooks=[heard.append]), Devices(manager)
        grant = await devices.trust("ann", "phone")
        server.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(OperationFailed, match="OOM"):
            await events.record("ann", "login")
        for user in ("ann", "bob"):
            with pytest.raises(OperationFailed, match="OOM"):
                await devices.trust(user)
        assert [event.id for event in heard] == [""]
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert await devices.list("ann") == [grant.device]
        assert await manager.execute("DBSIZE") == 2


async def test_kinds_and_details_that_are_none_are_refused_before_anything_is_sent() -> None:
    async with RedisManager("memory://") as manager:
        events = SecurityEvents(manager)
        for kind in ("", "Login", "app.", "app.A", "app.x y", "application", "app." + "x" * 61):
            with pytest.raises(ValueError, match="kind"):
                await events.record("ann", kind)
        with pytest.raises(SessionDataError):
            await events.record("ann", "login", value=object())
        assert await manager.execute("DBSIZE") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 1001},
        {"before": "x"},
        {"before": "1-1\n"},
        {"before": "-"},
        {"before": "1" * 25 + "-0"},
        {"since": datetime(2030, 1, 1)},
        {"until": float("nan")},
        {"since": float("-inf")},
        {"until": float("inf")},
    ],
)
async def test_a_question_that_makes_no_sense_is_a_value_error(wrong: dict[str, Any]) -> None:
    async with RedisManager("memory://") as manager:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await SecurityEvents(manager).query("ann", **wrong)


async def _waits(event: SecurityEvent) -> None: ...


class _Waits:
    async def __call__(self, event: SecurityEvent) -> None: ...


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("retention", 0.5),
        ("retention", float("nan")),
        ("retention", 1e12),
        ("max_per_user", 0),
        ("max_per_user", 100_001),
        ("key", "short"),
        ("hooks", [_waits]),
        ("hooks", [_Waits()]),
        ("hooks", [3]),
    ],
)
def test_options_that_cannot_work_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        SecurityEvents(RedisManager("memory://"), **{option: value})


def test_an_operation_has_all_that_its_contract_names() -> None:
    operation = SecurityEvents(RedisManager("memory://")).operation("ann", "login", {})
    assert isinstance(operation, Operation)
    assert (len(operation.keys), len(operation.args)) == (len(RECORD.keys), len(RECORD.args))
