"""Whose requests are counted together, on the whole way: every kind of key, and what hostile values make of it."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, Exchange, JWTAuth, RateLimit
from tests.drive import get, handshake
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import times


async def each(app: Any, *requests: dict[str, Any]) -> list[int]:
    """Send requests one after the other."""
    return [(await get(app, **{"path": "/", **request})).status for request in requests]


def header(value: str | bytes) -> dict[str, Any]:
    return {"headers": {"x-key": value}}


def cookie(value: str) -> dict[str, Any]:
    return {"headers": {"cookie": value}}


def query(value: bytes) -> dict[str, Any]:
    return {"query_string": value}


HERE, THERE = {"client": ("192.0.2.1", 1)}, {"client": ("192.0.2.2", 1)}


@pytest.mark.parametrize(
    ("key", "one", "same", "other"),
    [
        ("address", HERE, {**HERE, "path": "/x", "method": "PUT"}, THERE),
        ("address", {"client": ("2001:db8::1", 1)}, {"client": ("2001:db8::2", 9)}, {"client": ("2001:db8:0:1::1", 1)}),
        ("header:X-Key", header("a"), {**header("a"), **THERE}, header("A")),
        ("cookie:id", cookie("a=1; id=7"), cookie("id=7; a=2"), cookie("id=8")),
        ("query:q", query(b"q=a%20b"), query(b"x=1&q=a+b"), query(b"q=ab")),
        ("method", {"method": "GET"}, {"method": "get"}, {"method": "POST"}),
        (["address", "method"], HERE, {**HERE, "path": "/x"}, {**HERE, "method": "PUT"}),
        (["header:x-key", "address"], {**header("a"), **HERE}, {**header("a"), **HERE}, {**header("a"), **THERE}),
        ("header:x-key|address", header("a"), {**header("a"), **THERE}, HERE),
        ("header:x-key|cookie:id|address", cookie("id=7"), {**cookie("id=7"), **THERE}, cookie("id=8")),
        (lambda exchange: exchange.path, {"path": "/a"}, {"path": "/a", **THERE}, {"path": "/b"}),
        (lambda exchange: exchange.header(b"x-key"), header(b"\xff"), header(b"\xff"), header(b"\xfe")),
    ],
)
async def test_requests_of_one_key_are_counted_together_and_those_of_another_are_not(
    limited: Limited, key: Any, one: Any, same: Any, other: Any
) -> None:
    assert await each(limited(RateLimit("1/hour", key=key)), one, same, other) == [200, 429, 200]


@pytest.mark.parametrize(
    "key", ["header:x-key", "cookie:id", "query:q", "claim:tenant", ["address", "header:x-key"], lambda exchange: None]
)
async def test_who_has_no_such_key_is_refused_or_allowed_and_never_one_of_many(
    limited: Limited, manager: CountingManager, key: Any
) -> None:
    refusing = limited(RateLimit("1/hour", key=key))
    refused = await get(refusing)
    assert (refused.status, refused["content-type"]) == (400, "application/problem+json")
    assert await times(limited(RateLimit("1/hour", key=key, unidentified="allow")), 5) == [200] * 5
    assert (await handshake(refusing)).status == 400
    assert manager.round_trips == 0


async def test_a_claim_is_that_of_a_verified_token(limited: Limited) -> None:
    app = limited(JWTAuth(SECRET, optional=True), RateLimit("1/hour", key="claim:tenant"), clock=lambda: NOW)

    def of(tenant: Any, **more: Any) -> dict[str, Any]:
        return {"headers": bearer(sign(tenant=tenant, **more))}

    assert await each(app, of("a"), of("a", sub="bob"), of("b"), of(7), of(7)) == [200, 429, 200, 200, 429]
    assert await each(app, of(None), of(["a"]), of({"a": 1}), of(True), of(1.5)) == [400] * 5
    assert await each(app, of("c", which=1), {}) == [401, 400]


async def test_alternatives_of_different_kinds_never_meet(limited: Limited) -> None:
    """A header that says what another's address is must not be counted as that address."""
    app = limited(RateLimit("1/hour", key="header:x-key|address"))
    assert await each(app, HERE, {**header("192.0.2.1"), **THERE}, {**header("address"), **THERE}) == [200, 200, 200]


async def test_a_user_that_is_named_like_an_address_is_not_that_address(limited: Limited) -> None:
    app = limited(JWTAuth(SECRET, optional=True), RateLimit("1/hour", key="user"), clock=lambda: NOW)
    assert await each(app, HERE, {**HERE, "headers": bearer(sign(sub="192.0.2.1"))}) == [200, 200]


HOSTILE = [
    b"",
    b"\x00",
    b"\xff" * 9,
    b"}:{",
    b"{a}",
    b"*",
    b" ",
    b"a" * 100_000,
    b"a" * 100_001,
    b"$1",
    b"%d%s%n",
    b"'\"\\",
]


async def test_hostile_values_are_as_good_as_any_other(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("1/hour", key="header:x-key"))
    for value in HOSTILE:
        assert await each(app, header(value), header(value)) == [200, 429], value[:10]
    keys = await manager.execute("KEYS", "*")
    assert len(keys) == len(HOSTILE)
    assert all(len(key) < 80 and key.isascii() for key in keys)


async def test_guards_without_a_name_by_different_headers_do_not_share_counts(limited: Limited) -> None:
    guards = [RateLimit("2/hour", key=f"header:x-{name}", unidentified="allow") for name in "ab"]
    app = limited(*guards)
    both = {"headers": {"x-a": "same", "x-b": "same"}}
    one, other = {"headers": {"x-a": "same"}}, {"headers": {"x-b": "same"}}
    assert await each(app, both, one, one, other, other) == [200, 200, 429, 200, 429]


async def test_the_same_key_twice_in_a_stack_is_a_fault(limited: Limited) -> None:
    with pytest.raises(ConfigurationError, match="count under the same key"):
        limited(RateLimit("2/hour"), RateLimit("9/hour"))


async def test_a_group_is_counted_together_whatever_its_guards_are_called(limited: Limited) -> None:
    apps = [limited(RateLimit("2/hour", group="shared", name=name)) for name in ("one", "other")]
    assert [(await get(app)).status for app in (*apps, *apps)] == [200, 200, 429, 429]


async def test_a_function_that_raises_is_the_app_s_own_fault(limited: Limited, manager: CountingManager) -> None:
    def broken(exchange: Exchange) -> str:
        raise LookupError("no tenant")

    with pytest.raises(LookupError, match="no tenant"):
        await get(limited(RateLimit("1/hour", key=broken)))
    assert manager.round_trips == 0


@pytest.mark.parametrize(
    "key", ["path|address", "address|", "|", "header:|address", "address|ip", "user|path", ["address", ""], "cookie:é"]
)
def test_alternatives_that_are_none_are_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="GUARD_LIMIT_KEY"):
        RateLimit("1/hour", key=key)


async def test_nobody_gets_a_fresh_quota_by_another_spelling_of_a_method(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", key=["address", "method"]))
    assert await each(app, *({"method": method} for method in ("POST", "post", "Post", "pOsT"))) == [200, 429, 429, 429]
