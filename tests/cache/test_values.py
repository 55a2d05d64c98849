"""`Cache` on every kind of server: what is kept comes back as it was, until it ends or is invalidated."""

import asyncio
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from asgi_redis_guard import Cache, ConfigurationError, RedisManager
from asgi_redis_guard.testing import RoundTripCounter
from tests.cache.two import Made, settled, two
from tests.redis.tools import PATIENCE

VALUES: list[Any] = [None, False, 0, 1, 1.0, "1", b"1", "\ud800", "", b"", [], (1, [2]), {"a": {1, 2}}, 2**80]
VALUES += [float("inf"), Decimal("1.10"), datetime(2026, 1, 2, tzinfo=UTC), {"$t": 1}]
VALUES += ["x" * 20_000, random.Random(1).randbytes(20_000), b"\xff\x00" * 9000]


async def test_values_come_back_as_they_were_with_their_types(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    for value in VALUES:
        await cache.set("k", value)
        for one in caches:
            found = await one.get("k", "nothing")
            assert (found, type(found)) == (value, type(value))
        assert await other.get_or_set("k", Made("another")) == value


async def test_none_is_a_value_and_a_miss_is_the_default(cache: Cache) -> None:
    assert await cache.get("k") is None
    assert await cache.get("k", 7) == 7
    await cache.set("k", None)
    assert await cache.get("k", 7) is None
    assert await cache.get_or_set("k", Made("another")) is None


@pytest.mark.parametrize("wrong", [object(), {1: 2}, {"a": {"b": object()}}, type("Text", (str,), {})("x")])
async def test_what_would_not_come_back_as_it_was_is_refused(cache: Cache, wrong: Any) -> None:
    with pytest.raises(TypeError, match="serializer="):
        await cache.set("k", wrong)
    with pytest.raises(TypeError, match="serializer="):
        await cache.get_or_set("k", Made(wrong))
    assert await cache.get_or_set("k", Made("right")) == "right", "nobody waits for what was refused"


async def test_a_serializer_of_the_app_keeps_what_else_there_is(backend: str) -> None:
    own = (lambda value: f"{value.real} {value.imag}".encode(), lambda data: complex(*map(float, data.split())))
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        cache, plain = Cache(redis, serializer=own), Cache(redis)
        await cache.set("k", 1 + 2j)
        assert await cache.get("k") == 1 + 2j
        assert await plain.get("k", "none") == "none", "it is not taken for something else"
        await plain.set("k", "text")
        assert await cache.get("k") is None
        assert await cache.get_or_set("k", Made(3j)) == 3j, "what cannot be read is made anew"
        assert await cache.get("k") == 3j


async def test_several_keys_are_read_at_once(cache: Cache) -> None:
    values = {f"k{number}": number for number in range(450)}
    await cache.set_many(values, tags=["numbers"])
    assert await cache.get_many([*values, "other"]) == values
    await cache.delete("k0", "k1")
    assert (await cache.get_many(["k0", "k1", "k2"])) == {"k2": 2}


async def test_keys_of_another_namespace_are_others_and_it_is_cleared_as_a_whole(
    cache: Cache, caches: tuple[Cache, Cache]
) -> None:
    users = Cache(caches[1].redis, namespace="users")
    for one in (cache, users):
        await one.set("k", repr(one))
        assert await one.get("k") == repr(one)
    await users.clear_namespace()
    assert (await users.get("k"), await cache.get("k")) == (None, repr(cache))
    await users.set("k", "again")
    await cache.clear_namespace("users")
    assert (await users.get("k"), await cache.get("k")) == (None, repr(cache))


async def test_a_value_ends_with_its_tags_its_key_and_its_namespace(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    for number, invalidate in enumerate(
        (
            lambda: other.invalidate(["a"]),
            lambda: other.invalidate(("x", "b")),
            lambda: other.invalidate(keys=["k"]),
            lambda: other.delete("k"),
            lambda: other.clear_namespace(),
            lambda: other.invalidate([*map(str, range(100)), "a"]),
        )
    ):
        await cache.set("k", number, tags=["a", "b"])
        assert [await one.get("k") for one in caches] == [number, number]
        await invalidate()  # type: ignore[no-untyped-call]
        assert [await one.get("k") for one in caches] == [None, None]
        again = Made(f"{number} again")
        assert await cache.get_or_set("k", again, tags=["a", "b"]) == f"{number} again"
        assert await other.get_or_set("k", again, tags=["a", "b"]) == f"{number} again"
        assert again.runs == 1


async def test_what_is_invalidated_elsewhere_is_made_anew_though_the_tag_is_known_from_another_key(
    caches: tuple[Cache, Cache],
) -> None:
    """A process that has seen a tag's new generation, and not the entry, must not look for ever."""
    cache, other = caches
    await cache.set("one", 1, tags=["t"])
    await cache.set("two", 2, tags=["t"])
    await cache.invalidate(["t"])
    await other.get_or_set("one", Made("new"), tags=["t"])
    made = Made("new")
    assert [await other.get_or_set("two", made, tags=["t"]) for _ in range(2)] == ["new", "new"]
    assert made.runs == 1
    assert await cache.get("two") == "new"


async def test_tags_that_were_changed_in_the_code_count_from_then_on(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    await cache.get_or_set("k", Made(1), tags=["before"])
    assert await other.get_or_set("k", Made(2), tags=["after"]) == 1
    await other.invalidate(["before"])
    assert await other.get_or_set("k", Made(3), tags=["after"]) == 3
    await cache.invalidate(["before"])
    assert await cache.get("k") == 3
    await cache.invalidate(["after"])
    assert await cache.get("k") is None


async def test_keys_have_a_time_to_live_that_is_never_longer_than_was_said(cache: Cache) -> None:
    await cache.set("k", 1, ttl=100, swr=50, tags=["t"])
    (entry,) = [key async for key in cache.redis.client.scan_iter(b"guard:r:{*}?*")]
    assert 145_000 - PATIENCE * 1000 < await cache.redis.client.pttl(entry) <= 150_000
    async for key in cache.redis.client.scan_iter():
        assert await cache.redis.client.pttl(key) > 0


async def test_a_value_is_not_returned_after_its_end(cache: Cache) -> None:
    await cache.set("k", 1, ttl=0.001, swr=1000)
    await eventually_gone(cache)
    assert await cache.get("k", "gone") == "gone", "`get` knows no stale values"
    assert await cache.get_or_set("k", made := Made(2)) == 1
    await settled(cache)
    assert (made.runs, await cache.get("k")) == (1, 2)


async def eventually_gone(cache: Cache) -> None:
    while await cache.get("k") is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_put_runs_a_write_and_keeps_what_it_returns(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    await cache.set("k", "old")
    write = Made("new", "newer")
    assert await cache.put("k", write) == "new"
    assert await cache.put("k", write, tags=["t"]) == "newer"
    assert await other.get("k") == "newer"
    with pytest.raises(ZeroDivisionError):
        await cache.put("k", Made(ZeroDivisionError()))
    assert await other.get("k") == "newer"
    with pytest.raises(TypeError):
        await cache.put("k", Made(object()))
    assert await cache.get_or_set("k", Made("right")) == "right", "what was written is not what was kept before"


async def test_a_value_that_was_signed_is_read_with_the_key_alone(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        signed, other = (Cache(redis, integrity_key=key * 32) for key in ("k", "x"))
        await signed.set("k", [1])
        assert [await one.get("k") for one in (signed, other, Cache(redis))] == [[1], None, None]
        (entry,) = [key async for key in redis.client.scan_iter(b"guard:r:{*}?*")]
        stored: Any = await redis.client.get(entry)
        await redis.client.set(entry, stored[:-1] + b"9")
        assert await signed.get("k") is None


async def test_one_round_trip_reads_a_key_whose_tags_are_known_and_many_keys(redis_url: str) -> None:
    async with RoundTripCounter(redis_url.removeprefix("unix://")) as counter, two(counter.url) as (cache, other):
        await cache.set("k", 1, tags=["t"])
        await cache.set("plain", 2)
        await cache.get_or_set("k", Made(), tags=["t"])
        assert (await other.get("plain"), await other.get_or_set("k", Made(), tags=["t"])) == (2, 1)

        async def trips(work: Any) -> int:
            counter.reset()
            await work
            return counter.round_trips

        assert await trips(other.get("k")) == 1
        assert await trips(other.get("plain")) == 1
        assert await trips(other.get_many(["k", "plain", "none"])) == 1
        assert await trips(other.get_or_set("k", Made(), tags=["t"])) == 1
        await cache.get_or_set("warm", Made())
        await cache.invalidate(keys=["warm"])
        assert await trips(cache.get_or_set("warm", Made())) == 2
        assert await trips(cache.delete("k")) == 1


async def test_events_tell_what_was_done_about_which_key(backend: str) -> None:
    events: list[Any] = []
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        cache = Cache(redis, namespace="n", on_event=[events.append])
        await cache.get("k")
        await cache.get_or_set("k", Made("text"))
        await cache.get_or_set("k", Made("text"))
        await cache.get("k")
        await cache.invalidate(["t"], keys=["k"])
    assert {(event.namespace, event.key) for event in events} == {("n", "k"), ("n", "")}
    assert [event.outcome for event in events] == ["miss", "miss", "stored", "hit", "hit", "invalidated"]
    assert events[2].size == len("text")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ttl": 0}, "ttl: 0 given"),
        ({"namespace": "a\nb"}, "namespace: 'a\\\\nb' given"),
        ({"jitter": 0.6}, "jitter: 0.6 given"),
        ({"early": -1}, "early: -1 given"),
        ({"serializer": repr}, "serializer: "),
        ({"integrity_key": "short"}, "16 or more bytes"),
        ({"on_event": ["x"]}, "on_event: 'x' given"),
    ],
)
def test_wrong_options_are_told_when_it_is_made(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Cache("memory://", **options)
    assert "short" not in str(caught.value)


async def test_wrong_arguments_are_told(cache: Cache) -> None:
    with pytest.raises(TypeError, match="key: a bytes given"):
        await cache.get(b"k")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="tags: 'one' given; allowed is a sequence"):
        await cache.set("k", 1, tags="one")
    with pytest.raises(ConfigurationError, match="swr: -1 given"):
        await cache.get_or_set("k", Made(), swr=-1)
    with pytest.raises(ValueError, match="url: '/a' given"):
        await cache.invalidate(url="/a")
    with pytest.raises(ValueError, match="allowed are whole ones up to"):
        await Cache(cache.redis, max_size=10).set("k", "more than ten")


async def test_what_is_too_large_is_returned_and_not_kept(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    async with two(backend, max_size=100, compress_from=None) as (cache, other):
        made = Made("x" * 101)
        for one in (cache, other, cache):
            assert await one.get_or_set("k", made) == "x" * 101
        assert made.runs == 3
        assert "k is not kept" in caplog.text


async def test_warming_runs_all_jobs_and_says_how_far_it_is(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "asgi_redis_guard.cache")

    def job(number: int) -> Any:
        return lambda: cache.get_or_set(f"k{number}", Made(number))

    def fails() -> None:
        raise ZeroDivisionError

    done = await cache.warm([*map(job, range(9)), fails])
    assert (done.done, done.failed, done.total) == (10, 1, 10)
    assert await cache.get_many([f"k{number}" for number in range(9)]) == {f"k{number}": number for number in range(9)}
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert line.startswith("warmed 10 of 10, 1 failed")
    told: list[Any] = []
    await cache.warm(map(job, range(3)), concurrency=1, progress=told.append)
    assert [one.done for one in told] == [1, 2, 3]
    with pytest.raises(ValueError, match="concurrency: 0"):
        await cache.warm([], concurrency=0)
