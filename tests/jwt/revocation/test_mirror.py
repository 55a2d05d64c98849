"""`RevocationList(mode="mirror")`: what a fresh mirror says needs no round trip, and is what Redis would say."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, Revocation, RevocationList
from asgi_redis_guard.errors import ConfigurationError, RedisUnavailable
from asgi_redis_guard.jwt.revocation.mirror import Mirror
from asgi_redis_guard.jwt.revocation.mirrored import Revoked
from asgi_redis_guard.jwt.revocation.questions import Questions
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import eventually, within
from tests.servers import Server

__all__ = ["nothing_is_left_running"]

HOUR = 3600.0


def mirror_of(revocations: RevocationList) -> Mirror:
    mirror = revocations._mirror()
    assert isinstance(mirror, Mirror)
    return mirror


def stack(redis: RedisManager, revocations: RevocationList, **options: Any) -> GuardMiddleware:
    return GuardMiddleware(App(), [JWTAuth(SECRET, revocation=revocations, **options)], redis=redis, clock=lambda: NOW)


async def status(app: GuardMiddleware, **claims: Any) -> int:
    return (await get(app, headers=bearer(sign(**claims)))).status


@contextmanager
def rounds_of(redis: RedisManager) -> Iterator[list[Any]]:
    """The rounds that guards ask of it meanwhile."""
    asked: list[Any] = []
    evaluate = redis.evaluate

    def counting(*args: Any) -> Any:
        asked.append(args)
        return evaluate(*args)

    redis.evaluate = counting  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        del redis.evaluate  # type: ignore[method-assign]


@pytest.fixture
async def mirrored(redis: RedisManager) -> RevocationList:
    """A mirror on each kind of server in turn, which is there."""
    revocations = RevocationList(redis, mode="mirror")
    await within(revocations.mirrored())
    return revocations


@asynccontextmanager
async def another(url: str, timeout: float = 10, **options: Any) -> AsyncIterator[tuple[RedisManager, RevocationList]]:
    """A mirror that stands for another process: nothing is shared but the server."""
    async with RedisManager(url, timeout=timeout) as manager:
        revocations = RevocationList(manager, mode="mirror", **options)
        await within(revocations.mirrored())
        yield manager, revocations


async def knows(revocations: RevocationList, jti: str) -> None:
    """Wait until its mirror knows that a token is revoked."""
    keys = revocations._redis.keys
    await eventually(lambda: mirror_of(revocations).is_revoked(Questions((keys.token("", jti),), ())))


async def test_a_fresh_mirror_needs_no_round_trip_to_refuse_and_to_let_pass(
    redis: RedisManager, mirrored: RevocationList
) -> None:
    app = stack(redis, mirrored)
    await mirrored.revoke("bad")
    await status(app, jti="warm-up")
    with rounds_of(redis) as trips:
        assert (await status(app, jti="bad"), await status(app, jti="good")) == (401, 200)
    assert len(trips) == 0


async def test_the_app_gets_the_same_facts_as_from_redis(redis: RedisManager, mirrored: RevocationList) -> None:
    inner = App()
    app = GuardMiddleware(inner, [JWTAuth(SECRET, revocation=mirrored)], redis=redis, clock=lambda: NOW)
    assert (await get(app, headers=bearer(sign(sub="alice")))).status == 200
    assert inner.scope["user"].identity == "alice"
    assert inner.scope["auth"].scopes is not None


async def test_a_refusal_is_worded_as_that_of_redis(redis: RedisManager, mirrored: RevocationList) -> None:
    await mirrored.revoke("t-1")
    answers = [
        await get(stack(redis, how), headers=bearer(sign(jti="t-1"))) for how in (mirrored, RevocationList(redis))
    ]
    assert answers[0].headers == answers[1].headers
    assert answers[0].body == answers[1].body
    assert answers[0].status == 401


async def test_what_was_revoked_before_the_first_mirror_is_known(redis: RedisManager) -> None:
    plain = RevocationList(redis)
    await plain.revoke_many([Revocation(f"t-{number}", ttl=number + 1.0) for number in range(50)])
    await plain.revoke_user("alice", before=NOW - 10)
    await redis.execute("SET", "guard:t:somebody else's", "1")
    assert await redis.execute("EXISTS", redis.keys.revoked_stream, redis.keys.revoked_users) == 0
    mirrored = RevocationList(redis, mode="mirror")
    assert (await within(mirrored.mirrored()))["entries"] == 51
    app = stack(redis, mirrored)
    assert await status(app, jti="t-49") == 401
    assert await status(app, jti="x", sub="alice", iat=NOW - 10) == 401
    assert await status(app, jti="x", sub="alice", iat=NOW - 9) == 200


async def test_an_index_is_kept_only_where_somebody_mirrors(redis: RedisManager) -> None:
    plain = RevocationList(redis)
    await plain.revoke_many(["a", "b"])
    await plain.unrevoke("a")
    await plain.revoke_user("alice")
    assert sorted(await redis.execute("KEYS", "*{revoked}*")) == [redis.keys.revoked]


async def test_a_second_mirror_reads_the_index(backend: str, redis: RedisManager, mirrored: RevocationList) -> None:
    await mirrored.revoke_many([*(f"t-{number}" for number in range(300)), Revocation("late", ttl=40 * 86_400)])
    await mirrored.unrevoke("t-7")
    await mirrored.revoke_user("bob")
    second = RevocationList(redis, mode="mirror", max_stale=1.5)
    assert (await within(second.mirrored()))["entries"] == 301
    app = stack(redis, second)
    assert [await status(app, jti=jti) for jti in ("t-6", "t-7", "late")] == [401, 200, 401]


async def test_all_mirrors_hear_of_every_change(redis_url: str) -> None:
    async with another(redis_url) as (here, mine), another(redis_url) as (there, theirs):
        keys, mirror = there.keys, mirror_of(theirs)
        await mine.revoke_many(["a", "b"])
        cutoff = round(await mine.revoke_user("alice") * 1_000_000)
        await knows(theirs, "b")
        await eventually(lambda: mirror.is_revoked(Questions((), ((keys.user("", "alice"), cutoff),))))
        assert not mirror.is_revoked(Questions((), ((keys.user("", "alice"), cutoff + 1),)))
        await mine.unrevoke("a")
        await eventually(lambda: not mirror.is_revoked(Questions((keys.token("", "a"),), ())))
        assert mirror.is_revoked(Questions((keys.token("", "b"),), ()))
        assert await status(stack(here, mine), jti="b") == await status(stack(there, theirs), jti="b") == 401


async def test_what_this_process_revokes_it_refuses_at_once(redis: RedisManager, mirrored: RevocationList) -> None:
    """Before the stream tells: nothing is awaited in between."""
    mirror, keys = mirror_of(mirrored), redis.keys
    for _ in range(20):
        await mirrored.revoke("t")
        assert mirror.is_revoked(Questions((keys.token("", "t"),), ()))
        await mirrored.unrevoke("t")
        assert not mirror.is_revoked(Questions((keys.token("", "t"),), ()))
        await eventually(
            lambda: mirror._known is not None and not mirror.is_revoked(Questions((keys.token("", "t"),), ()))
        )
    cutoff = round(await mirrored.revoke_user("bob") * 1_000_000)
    assert mirror.is_revoked(Questions((), ((keys.user("", "bob"), cutoff),)))


async def test_every_key_of_a_mirror_has_an_end(redis: RedisManager, mirrored: RevocationList) -> None:
    await mirrored.revoke_many(["a", Revocation("b", ttl=5)])
    await mirrored.revoke_user("alice")
    keys = await redis.execute("KEYS", "*")
    assert len([key for key in keys if b"{revoked}" in key]) >= 5
    for key in keys:
        assert 0 < await redis.execute("PTTL", key) <= 32 * 86_400_000


async def test_an_entry_that_was_trimmed_unread_is_noticed(redis_url: str) -> None:
    """Somebody deletes the stream's entries before they are read: whoever follows looks at everything again."""
    async with another(redis_url) as (manager, revocations):
        mirror = mirror_of(revocations)
        await revocations.revoke("before")
        await knows(revocations, "before")
        mark = manager.keys.token("", "unseen")
        script = (
            "redis.call('SET', KEYS[1], '', 'EX', 900) redis.call('SADD', KEYS[2], ARGV[1]) "
            "redis.call('HSET', KEYS[3], 'last', '99999999999999-0')"
        )
        hour = mirror._snapshots.hour()
        places = (mark, manager.keys.revoked_in(hour), manager.keys.revoked_mirrors)
        await manager.execute("EVAL", script, 3, *places, mark[-20:])
        await knows(revocations, "unseen")


async def test_a_stream_that_somebody_has_written_garbage_into_does_no_harm(redis_url: str) -> None:
    async with another(redis_url) as (manager, revocations):
        for fields in (("x", "y"), ("after", "0-0", "marks", "1"), ("after", "0-0", "cutoff", "a b")):
            await manager.execute("XADD", manager.keys.revoked_stream, "*", *fields)
        await manager.execute("XADD", manager.keys.revoked_stream, "99999999999999-0", "x", "y")
        await revocations.revoke("t")
        await knows(revocations, "t")
        await eventually(lambda: mirror_of(revocations).fresh)
        assert await status(stack(manager, revocations), jti="t") == 401
        await manager.execute("SET", manager.keys.revoked_stream, "a string")
        await revocations.revoke("u")
        await knows(revocations, "u")


async def test_entries_of_a_kind_that_is_not_known_are_no_fault() -> None:
    known = Revoked(b"e")
    assert known.take(b"1-0", [b"after", b"0-0", b"family", b"f-1"])
    assert not known.take(b"3-0", [b"after", b"2-0", b"marks", b"1 " + b"d" * 20])
    assert known.after == b"1-0"


async def test_a_blacklist_that_is_too_large_is_asked_for_in_redis(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    plain = RevocationList(redis)
    await plain.revoke_many([f"t-{number}" for number in range(30)])
    mirrored = RevocationList(redis, mode="mirror", max_entries=20)
    found = await within(mirrored.mirrored())
    assert (found["state"], found["entries"]) == ("full", 0)
    app = stack(redis, mirrored)
    with rounds_of(redis) as trips:
        assert (await status(app, jti="t-3"), await status(app, jti="x")) == (401, 200)
    assert len(trips) == 2
    assert "mirror_full" in (await redis.health())["warnings"]
    assert [record.message for record in caplog.records if "more than 20" in record.message]


async def test_a_mirror_that_grows_too_large_forgets_all(redis: RedisManager) -> None:
    mirrored = RevocationList(redis, mode="mirror", max_entries=20)
    await within(mirrored.mirrored())
    await mirrored.revoke_many([f"t-{number}" for number in range(30)])
    await eventually(lambda: mirrored.mirror_status()["state"] == "full")
    assert await status(stack(redis, mirrored), jti="t-3") == 401


async def test_marks_are_dropped_with_their_hour() -> None:
    known = Revoked()
    for number in range(40):
        known.mark(b"%020d" % number, number % 4)
    known.cut(b"old", 5)
    known.cut(b"new", 15)
    known.mark(b"%020d" % 0, 3)  # which was to end in hour 0
    while len(known) > 21 + 1:
        known.drop(2, 10, most=3)
    assert not known.is_marked(b"%020d" % 1)
    assert known.is_marked(b"%020d" % 0)
    assert known.cutoffs == {b"new": 15}
    assert len(list(known.marks())) == len(known) - 1 == 21


def test_an_entry_takes_at_most_150_bytes() -> None:
    """Measured as the memory of the whole process's objects would be, with a table that has just grown."""
    import tracemalloc

    for size in (30_000, 44_000, 90_000):
        tracemalloc.start()
        known = Revoked()
        for number in range(size):
            known.mark((b"%d" % number).rjust(20, b"d"), 480_000 + number % 24)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken / size <= 150, size
    assert sys.getsizeof(b"d" * 20) <= 56


FAULTS: dict[str, Callable[[], Any]] = {
    "mode": lambda: RevocationList("memory://", mode="near"),  # type: ignore[arg-type]
    "max_stale": lambda: RevocationList("memory://", mode="mirror", max_stale=0),
    "max_entries": lambda: RevocationList("memory://", mode="mirror", max_entries=0),
    "max_age": lambda: JWTAuth(SECRET, max_age=-1),
    "on_outage": lambda: JWTAuth(SECRET, on_outage="last_known"),
    "revocation": lambda: JWTAuth(SECRET, revocation=RevocationList("memory://", by_issuer=True)),
    "legacy": lambda: JWTAuth(SECRET, legacy="k:{jti}", revocation=RevocationList("memory://", mode="mirror")),
}


@pytest.mark.parametrize("option", FAULTS)
def test_options_that_cannot_work_are_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}"):
        FAULTS[option]()


async def test_without_a_mirror_there_is_no_status(manager: RedisManager) -> None:
    with pytest.raises(ValueError, match="mode"):
        RevocationList(manager).mirror_status()


async def test_a_guard_of_another_manager_of_the_same_redis_asks_that_one(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=10) as own, RedisManager(redis_url, timeout=10) as other:
        mirrored = RevocationList(own, mode="mirror")
        await RevocationList(other).revoke("y")
        assert await status(stack(other, mirrored), jti="x") == 200
        assert await status(stack(other, mirrored), jti="y") == 401


async def test_two_lists_with_the_same_options_share_a_mirror(redis: RedisManager, mirrored: RevocationList) -> None:
    assert mirror_of(RevocationList(redis, mode="mirror")) is mirror_of(mirrored)


async def test_each_loop_has_a_mirror_of_its_own(redis_url: str) -> None:
    manager = RedisManager(redis_url, timeout=10)
    revocations = RevocationList(manager, mode="mirror")

    async def there() -> int:
        try:
            await revocations.mirrored()
            return await status(stack(manager, revocations), jti="t")
        finally:
            await manager.aclose()

    try:
        await revocations.mirrored()
        await revocations.revoke("t")
        assert await asyncio.to_thread(asyncio.run, there()) == 401
        assert mirror_of(revocations).fresh
    finally:
        await manager.aclose()


async def test_a_mirror_that_cannot_be_is_said_to_be_late() -> None:
    async with RedisManager("redis://127.0.0.1:1", timeout=0.05) as manager:
        with pytest.raises(RedisUnavailable):
            await RevocationList(manager, mode="mirror").mirrored(0.05)


async def test_a_server_that_is_frozen_makes_a_mirror_stale(fresh_server: Server) -> None:
    async with another(fresh_server.url, timeout=0.2, max_stale=0.2) as (manager, revocations):
        app = stack(manager, revocations)
        lenient = stack(manager, revocations, on_outage="last_known", max_age=3600)
        short = stack(manager, revocations, on_outage="last_known", max_age=0)
        opened = stack(manager, revocations, on_outage="open")
        await revocations.revoke("bad")
        fresh_server.pause()
        await eventually(lambda: not mirror_of(revocations).fresh)
        assert await status(app, jti="x") == 503
        assert await status(app, jti="bad") == 503
        assert (await status(lenient, jti="x"), await status(lenient, jti="bad")) == (200, 401)
        assert (await status(short, jti="x"), await status(short, jti="bad")) == (503, 503)
        assert await status(opened, jti="x") == 200
        assert "mirror_stale" in (await manager.health())["warnings"]
        fresh_server.resume()
        await eventually(lambda: mirror_of(revocations).fresh)
        assert (await status(app, jti="x"), await status(app, jti="bad")) == (200, 401)


async def test_a_server_that_comes_back_empty_gets_back_what_mirrors_know(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed, as by a crash; another process that mirrors nothing refuses the token again."""
    url = fresh_server.url
    async with another(url) as (here, mine), another(url) as (there, theirs), RedisManager(url, timeout=10) as plain:
        await mine.revoke_many([*(f"t-{number}" for number in range(5000)), Revocation("short", ttl=60)])
        await mine.revoke("taken back")
        await mine.unrevoke("taken back")
        cutoff = await mine.revoke_user("carol")
        await knows(theirs, "short")
        await eventually(lambda: theirs.mirror_status()["entries"] == 5002)
        mirrors = (mirror_of(mine), mirror_of(theirs))
        before = [mirror._known for mirror in mirrors]
        fresh_server.kill()
        fresh_server.start()
        await eventually(lambda: all(one._known is not old for one, old in zip(mirrors, before, strict=True)))
        await eventually(lambda: all(mirror.fresh for mirror in mirrors))
        asked = RevocationList(plain)
        await asyncio.gather(*(here.links.connect(), plain.links.connect()))
        for jti in ("t-0", "t-4999", "short"):
            assert await asked.is_revoked(jti)
        assert not await asked.is_revoked("taken back")
        assert float(await plain.execute("GET", plain.keys.user("", "carol"))) == pytest.approx(cutoff * 1e6)
        assert (await asked.stats())["revoked"] == 5001
        app = stack(plain, asked)
        assert (await status(app, jti="t-17"), await status(app, jti="x")) == (401, 200)
        told = [(await one.health())["warnings"] for one in (here, there)]
        assert any("revocations_lost" in warnings for warnings in told)
    said = [record.message for record in caplog.records if "has lost revocations" in record.message]
    assert len(said) == sum("revocations_lost" in warnings for warnings in told), "one line in each that gives back"


async def test_a_flush_is_noticed_while_the_connection_stands(fresh_server: Server) -> None:
    async with another(fresh_server.url, max_stale=0.2) as (manager, revocations):
        await revocations.revoke("t")
        await knows(revocations, "t")
        fresh_server.command("FLUSHALL")
        app = stack(manager, revocations)
        while not await manager.execute("EXISTS", manager.keys.token("", "t")):
            assert await status(app, jti="t") == 401, "what is known is refused all the time"
        assert revocations.mirror_status()["lost"] == 1


async def test_a_mirror_that_is_stale_still_refuses_what_it_knows(fresh_server: Server) -> None:
    """Redis answers, but has lost the mark, and the mirror could not look yet."""
    async with another(fresh_server.url) as (manager, revocations):
        await revocations.revoke("t")
        await knows(revocations, "t")
        mirror = mirror_of(revocations)
        mirror._proven = float("-inf")
        fresh_server.command("DEL", manager.keys.token("", "t"))
        assert await status(stack(manager, revocations), jti="t") == 401


@pytest.mark.parametrize("jti", ["x", "a b", "ü", "{user}", "*"])
async def test_keys_of_other_software_are_looked_for(redis: RedisManager, jti: str) -> None:
    auth = JWTAuth(SECRET, legacy=("token:blacklist:{jti}", "revoked:{iss}:{sub}"))
    app = GuardMiddleware(App(), [auth], redis=redis, clock=lambda: NOW)
    assert await status(app, jti=jti, iss="i", sub="s") == 200
    with rounds_of(redis) as trips:
        assert await status(app, jti=jti, iss="i", sub="s") == 200
    assert len(trips) == 1
    await redis.execute("SET", f"token:blacklist:{jti}", "true")
    assert await status(app, jti=jti, iss="i", sub="s") == 401
    assert await status(app, jti="y", iss="i", sub="s") == 200
    await redis.execute("SET", "revoked:i:s", "1")
    assert await status(app, jti="y", iss="i", sub="s") == 401
    assert await status(app, jti="y", sub="s") == 200, "without that claim there is no such key"


@pytest.mark.parametrize("form", ["token:blacklist", "{jti", "{kid}", "{jti}}", ""])
def test_a_form_of_foreign_keys_that_names_no_claim_is_refused(form: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^legacy"):
        JWTAuth(SECRET, legacy=[form])


async def test_what_was_told_is_not_told_again(redis: RedisManager, mirrored: RevocationList) -> None:
    """Or whoever may revoke one token could fill the stream with it."""
    stream = redis.keys.revoked_stream
    for _ in range(20):
        await mirrored.revoke("t", ttl=60)
    assert await redis.execute("XLEN", stream) == 1
    await mirrored.revoke("t", ttl=3 * HOUR)
    assert await redis.execute("XLEN", stream) == 2, "it ends in another hour"
    await redis.execute("DEL", *[redis.keys.revoked_in(hour) for hour in await _hours(redis)])
    await mirrored.revoke("t", ttl=3 * HOUR)
    assert await redis.execute("XLEN", stream) == 3, "the index was lost, and with it what was told"


async def _hours(redis: RedisManager) -> list[int]:
    prefix = len(redis.keys.revoked) + 1
    names = [bytes(key)[prefix:] for key in await redis.execute("KEYS", redis.keys.revoked + b":*")]
    return [int(name) for name in names if name.isdigit()]
