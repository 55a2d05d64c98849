"""Sessions as a machine makes them up come back exactly, through the codec and through a server."""

import asyncio
import contextlib
from datetime import UTC, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_redis_guard import RedisManager
from asgi_redis_guard.sessions.codec import decode, encode
from tests.redis.tools import PATIENCE
from tests.servers import Server
from tests.sessions.visits import Act, Site, put

ZONES = st.one_of(
    st.none(), st.just(UTC), st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TAGS = st.sampled_from(
    ["$", "$t", "$d", "$h", "$l", "$u", "$n", "$b", "$i", "$f", "$s", "$z", "$p", "$o", "$x", "m", "o"]
)
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**60), 10**60),
    st.floats(allow_nan=False),
    TEXTS,
    TAGS,
    st.binary(max_size=20),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
)
HASHABLES = st.recursive(
    HASHABLE, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    HASHABLE | HASHABLES | st.sets(HASHABLES, max_size=4) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXTS | TAGS, inner, max_size=4)
        | st.builds(lambda tag, value: {tag: value}, TAGS, inner)
    ),
    max_leaves=12,
)
SESSIONS = st.dictionaries(TEXTS | TAGS, VALUES, max_size=8)


def shown(value: Any) -> str:
    """Return a text that tells types and values apart, and is one for equal sets (and for what is not a number)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {shown(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} {sorted(map(shown, value))}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} [{', '.join(map(shown, value))}]"
    return f"{type(value).__name__} {value!r}"


def without(names: set[str]) -> Act:
    """A visit that removes."""
    return lambda session: [session.pop(name) for name in names]


@settings(max_examples=1000)
@given(SESSIONS)
def test_a_thousand_sessions_come_back_exactly(values: dict[str, Any]) -> None:
    assert shown({name: decode(encode(name, value)) for name, value in values.items()}) == shown(values)


@settings(max_examples=300)
@given(st.binary(max_size=40) | st.builds(lambda tag, rest: b'{"' + tag.encode() + b'":' + rest, TAGS, st.binary()))
def test_any_bytes_are_a_value_or_a_value_error(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        encode("key", decode(text))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(SESSIONS.filter(bool), min_size=1, max_size=10))
def test_sessions_come_back_exactly_from_servers(valkey: Server, sessions: list[dict[str, Any]]) -> None:
    async def there_and_back() -> None:
        async with RedisManager(valkey.url, timeout=PATIENCE) as redis:
            site = Site(redis)
            browser = site.browser()
            previous: dict[str, Any] = {}
            for values in sessions:
                await browser.visit(without(set(previous) - set(values)))
                await browser.visit(put(**values))
                assert shown(await browser.visit()) == shown(values)
                previous = values

    asyncio.run(there_and_back())
