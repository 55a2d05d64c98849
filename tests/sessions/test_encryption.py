"""`Sessions(encryption=…)`: what stands in Redis, what changes there, and what cannot be read."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard import (
    ConfigurationError,
    Exchange,
    GuardMiddleware,
    Pass,
    Session,
    SessionCipher,
    Sessions,
    SessionUnreadable,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.sessions.ids import SessionIds
from asgi_redis_guard.sessions.recall import Known
from tests.drive import Response, get, http_scope
from tests.sessions.site import CountingManager

ONE, TWO = b"1" * 32, b"2" * 32
Act = Callable[[Session], Any]


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[CountingManager]:
    """A manager on each kind of server in turn."""
    async with CountingManager(backend) as manager:
        yield manager


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do with the session what the visit says."""
    result = scope["act"](scope["session"])
    if asyncio.iscoroutine(result):
        result = await result
    scope["results"].append(result)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Visitor:
    """A browser with one cookie, on a site whose sessions are encrypted with these keys."""

    def __init__(self, redis: CountingManager, *keys: bytes, cookie: bytes = b"", **options: Any) -> None:
        self.redis = redis
        self.guard = Sessions(encryption=SessionCipher(keys or (ONE,), **options.pop("cipher", {})), **options)
        self.stack = GuardMiddleware(app, [self.guard], redis=redis)
        self.cookie = cookie
        self.response = Response()

    async def visit(self, act: Act = dict) -> Any:
        """Send a request; return what `act` has returned."""
        results: list[Any] = []
        headers = [(b"cookie", b"__Host-session=" + self.cookie)] if self.cookie else []
        self.response = await get(self.stack, "/", headers, scheme="https", act=act, results=results)
        for field in self.response.all("set-cookie"):
            self.cookie = field.partition("=")[2].partition(";")[0].encode()
        return results[0] if results else None

    @property
    def record(self) -> bytes:
        """The key of the record."""
        found = SessionIds(b"", self.redis.keys).read(self.cookie)
        assert found is not None
        return found.record

    async def stored(self) -> dict[bytes, bytes]:
        """What stands in Redis."""
        flat = await self.redis.execute("HGETALL", self.record)
        found = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return {bytes(name): bytes(text) for name, text in found.items()}


def put(**values: Any) -> Act:
    """A visit that assigns."""
    return lambda session: session.update(values)


async def test_values_come_back_and_none_can_be_read_in_redis(redis: CountingManager) -> None:
    alice, values = (
        Visitor(redis),
        {"user_id": "alice", "card": "4111-1111", "list": [{"a": b"x"}, {"b"}], "none": None},
    )
    await alice.visit(put(**values))
    assert await alice.visit() == values
    stored = await alice.stored()
    assert {name for name in stored if name[:1] == b"."} == {b".user_id", b".card", b".list", b".none"}
    for name, text in stored.items():
        assert name == b"m" or text[:1] == b"$"
        assert b"4111" not in text


async def test_what_did_not_change_is_not_written_although_its_text_would_be_another(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(a=1, nested={"list": [1]}, text="x"))
    before = await alice.stored()
    redis.round_trips = 0
    await alice.visit(lambda session: session.update(nested={"list": [1]}, text="x"))
    assert redis.round_trips == 1
    assert await alice.stored() == before
    await alice.visit(lambda session: session["nested"]["list"].append(2))
    after = await alice.stored()
    assert {name for name in after if after[name] != before[name]} == {b"m", b".nested"}
    assert await alice.visit() == {"a": 1, "nested": {"list": [1, 2]}, "text": "x"}


async def test_a_new_id_means_that_all_is_encrypted_anew(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(a=1, b=2))
    before, old = await alice.stored(), alice.record
    await alice.visit(put(user_id="alice"))
    after = await alice.stored()
    assert alice.record != old
    assert not {before[b".a"], before[b".b"]} & {*after.values()}
    assert await alice.visit() == {"a": 1, "b": 2, "user_id": "alice"}


async def test_a_rotation_takes_over_what_was_written_meanwhile(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(a=1, b=1))
    other = Visitor(redis, cookie=alice.cookie)

    async def rotate(session: Session) -> None:
        await other.visit(put(b=2))
        session["c"] = 3
        session.rotate()

    await alice.visit(rotate)
    assert alice.cookie != other.cookie
    assert await alice.visit() == {"a": 1, "b": 2, "c": 3}


async def test_parallel_writers_and_counters_lose_nothing(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(hits=0))

    async def change(number: int) -> None:
        await Visitor(redis, cookie=alice.cookie).visit(lambda session: session.incr("hits"))
        await Visitor(redis, cookie=alice.cookie).visit(lambda session: session.append("log", number))
        await Visitor(redis, cookie=alice.cookie).visit(put(**{f"key{number}": number}))

    await asyncio.gather(*map(change, range(20)))
    found = await alice.visit()
    assert found["hits"] == 20
    assert sorted(found["log"]) == [*range(20)]
    assert {found[f"key{number}"] for number in range(20)} == {*range(20)}


async def test_a_counter_knows_what_is_stored_after_each_write(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(a=1, b=1))

    async def count(session: Session) -> list[int]:
        trips = []
        for act in (lambda: session.incr("a"), lambda: session.incr("a"), session.save, lambda: session.incr("b")):
            before = redis.round_trips
            session["c"] = len(trips)
            await act()
            trips.append(redis.round_trips - before)
        del session["c"]
        await session.save()
        await session.incr("c")
        return trips

    assert await alice.visit(count) == [1, 1, 1, 1]
    assert await alice.visit() == {"a": 3, "b": 2, "c": 1}


async def test_keys_are_changed_while_sessions_live(redis: CountingManager) -> None:
    alice = Visitor(redis, ONE)
    await alice.visit(put(a=1, b=1))
    both = Visitor(redis, TWO, ONE, cookie=alice.cookie)
    await both.visit(put(b=2))
    assert await both.visit() == {"a": 1, "b": 2}
    await both.visit(lambda session: session.rotate())
    assert await Visitor(redis, TWO, cookie=both.cookie).visit() == {"a": 1, "b": 2}


async def test_sessions_from_before_can_be_read_where_that_is_allowed(redis: CountingManager) -> None:
    plain = Visitor(redis)
    plain.stack = GuardMiddleware(app, [Sessions()], redis=redis)
    await plain.visit(put(a=1, b=1))
    moving = Visitor(redis, cookie=plain.cookie, cipher={"plaintext": True})
    assert await moving.visit() == {"a": 1, "b": 1}
    await moving.visit(put(b=2))
    stored = await moving.stored()
    assert (stored[b".a"], stored[b".b"][:1]) == (b"1", b"$")
    strict = Visitor(redis, cookie=plain.cookie)
    assert await strict.visit() is None
    assert strict.response.status == 503


async def move_between_sessions(alice: Visitor, eve: Visitor) -> None:
    await alice.redis.execute("HSET", alice.record, ".role", (await eve.stored())[b".role"])


async def move_between_fields(alice: Visitor, eve: Visitor) -> None:
    await alice.redis.execute("HSET", alice.record, ".role", (await alice.stored())[b".name"])


async def write_in_clear(alice: Visitor, eve: Visitor) -> None:
    await alice.redis.execute("HSET", alice.record, ".role", '"admin"')


async def damage(alice: Visitor, eve: Visitor) -> None:
    await alice.redis.execute("HSET", alice.record, ".role", "$????")


@pytest.mark.parametrize("tamper", [move_between_sessions, move_between_fields, write_in_clear, damage])
async def test_what_does_not_open_is_kept_and_answered_503(
    redis: CountingManager, tamper: Any, caplog: pytest.LogCaptureFixture
) -> None:
    alice, eve = Visitor(redis), Visitor(redis)
    await alice.visit(put(name="admin", role="user"))
    await eve.visit(put(name="eve", role="admin"))
    await tamper(alice, eve)
    before = await alice.stored()
    for act in (dict, put(a=1), lambda session: session.clear()):
        assert await alice.visit(act) is None
        assert alice.response.status == 503
        assert alice.response["retry-after"] == "1"
        assert not alice.response.all("set-cookie")
    assert await alice.stored() == before
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.name == "asgi_redis_guard.sessions"
    assert alice.cookie.decode() not in line.getMessage()
    assert await eve.visit() == {"name": "eve", "role": "admin"}


async def test_with_the_right_key_again_it_is_there_again(redis: CountingManager) -> None:
    alice = Visitor(redis, ONE)
    await alice.visit(put(a=1))
    wrong = Visitor(redis, TWO, cookie=alice.cookie, on_outage="anonymous")
    assert await wrong.visit() == {}
    assert wrong.response.status == 200
    assert await alice.visit() == {"a": 1}


async def test_each_kind_of_failure_is_told_once(redis: CountingManager, caplog: pytest.LogCaptureFixture) -> None:
    alice = Visitor(redis, ONE)
    await alice.visit(put(a=1))
    wrong = Visitor(redis, TWO, cookie=alice.cookie)
    for _ in range(3):
        await wrong.visit()
    await redis.execute("HSET", alice.record, ".a", "$")
    for _ in range(3):
        await wrong.visit()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "a key that is not there" in told[0]
    assert "is damaged" in told[1]


async def test_where_the_encryption_was_taken_away_the_log_says_so(
    redis: CountingManager, caplog: pytest.LogCaptureFixture
) -> None:
    alice = Visitor(redis, ONE)
    await alice.visit(put(a=1))
    plain = Visitor(redis, cookie=alice.cookie)
    plain.stack = GuardMiddleware(app, [Sessions()], redis=redis)
    caplog.clear()
    for _ in range(2):
        await plain.visit()
        assert plain.response.status == 503
    (told,) = [record.getMessage() for record in caplog.records]
    assert "is encrypted, and there is no encryption given (GUARD_SESSION_ENCRYPTION)" in told
    assert await alice.visit() == {"a": 1}


async def test_a_counter_that_meets_something_unreadable_says_so(redis: CountingManager) -> None:
    alice = Visitor(redis)
    await alice.visit(put(a=1))

    async def count(session: Session) -> str:
        await redis.execute("HSET", alice.record, ".a", "7")
        with pytest.raises(SessionUnreadable):
            await session.incr("a")
        return "told"

    assert await alice.visit(count) == "told"
    assert (await alice.stored())[b".a"] == b"7"


@pytest.mark.parametrize("broken", ["{", '{"$t":5}', '{"$o":1}', '{"$n":"x"}', '{"$u":"x"}', '{"$s":[[]]}', "\xff"])
async def test_without_encryption_too_what_cannot_be_decoded_is_kept(
    redis: CountingManager, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    alice = Visitor(redis)
    alice.stack = GuardMiddleware(app, [Sessions()], redis=redis)
    await alice.visit(put(a=1))
    await redis.execute("HSET", alice.record, ".a", broken.encode("latin-1"))
    before = await alice.stored()
    for _ in range(2):
        await alice.visit(put(a=2))
        assert alice.response.status == 503
    assert await alice.stored() == before
    assert len(caplog.records) == 1


FIELDS = st.dictionaries(st.binary(max_size=6).map(lambda name: b"." + name), st.binary(max_size=60), max_size=3)
TAGGED = st.builds(
    lambda tag, value: orjson.dumps({tag: value}),
    st.sampled_from(["$t", "$d", "$h", "$l", "$u", "$n", "$b", "$i", "$f", "$s", "$z", "$p", "$o", "$x"]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=5)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    ),
)


@given(st.one_of(FIELDS, TAGGED.map(lambda text: {b".a": text})), st.booleans())
def test_a_record_of_anything_is_a_session_or_a_503(fields: dict[bytes, bytes], encrypted: bool) -> None:
    guard = Sessions(encryption=SessionCipher(ONE) if encrypted else None)
    exchange = Exchange(http_scope(), 0.0, bytes, Keys())
    found = SessionIds(b"", exchange.keys).read(b"a" * 51)
    record = [b"m", b"1:2:3:4:5", *[part for pair in fields.items() for part in pair]]
    replies: Any = SimpleNamespace(flat=[1, record, 5], ask=SimpleNamespace(about=Known(b"", found)))
    verdict = guard.decide(exchange, replies)
    assert isinstance(verdict, Pass) or verdict.status == 503
    assert not (encrypted and fields and isinstance(verdict, Pass))


def test_what_is_no_cipher_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="encryption: a str given; allowed is a SessionCipher"):
        Sessions(encryption="a secret")  # type: ignore[arg-type]
    assert "1111" not in repr(Sessions(encryption=SessionCipher(ONE)))
    assert "1111" not in repr(Sessions(encryption=SessionCipher(ONE)).policy)
