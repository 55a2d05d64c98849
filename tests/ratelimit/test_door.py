"""`ratelimit/door.py`: who is not counted, and who is not let in."""

from types import SimpleNamespace
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, Exchange, GuardMiddleware, JWTAuth, RateLimit
from tests.drive import App, get, handshake
from tests.jwt.tokens import NOW, OTHER_SECRET, SECRET, bearer, sign
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import times


@pytest.mark.parametrize(
    ("listed", "address", "found"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        ("2001:db8::1", "2001:db8::1", True),
        ("2001:db8::1", "2001:db8::2", False),
        ("2001:db8::/64", "2001:db8::2", True),
        ("0.0.0.0/0", "2001:db8::2", False),
        ("::/0", "192.0.2.1", False),
        ("192.0.2.1", "testclient", False),
        ("192.0.2.1", "", False),
    ],
)
async def test_addresses_are_compared_whole_and_unmapped(
    limited: Limited, manager: CountingManager, listed: str, address: str, found: bool
) -> None:
    """An IPv6 host is listed by itself, although all of its /64 is counted together."""
    denied = await get(
        limited(RateLimit("9/hour", deny=[listed], unidentified="allow", name="denying")), client=(address, 1)
    )
    assert denied.status == (403 if found else 200)
    asked = manager.round_trips
    app = limited(RateLimit("1/hour", allow=listed, unidentified="allow"))
    assert await times(app, 1, client=(address, 1)) == [200]
    assert (manager.round_trips == asked) is (found or not address)


async def test_who_is_denied_gets_a_problem_and_costs_nothing(
    limited: Limited, manager: CountingManager, inner: App
) -> None:
    app = limited(RateLimit("9/hour", deny=["203.0.113.0/24"]))
    refused = await get(app)
    assert (refused.status, refused["content-type"], refused.all("retry-after")) == (
        403,
        "application/problem+json",
        [],
    )
    assert (await handshake(app)).status == 403
    assert (inner.scopes, manager.round_trips) == ([], 0)


async def test_to_be_denied_counts_more_than_to_be_allowed(limited: Limited) -> None:
    app = limited(RateLimit("9/hour", deny=["203.0.113.7"], allow=["203.0.113.0/24"]))
    assert await times(app, 1) == [403]
    assert await times(app, 9, client=("203.0.113.8", 1)) == [200] * 9


async def test_functions_tell_who_is_on_a_list(limited: Limited, manager: CountingManager) -> None:
    def internal(exchange: Exchange) -> bool:
        return exchange.path.startswith("/internal/")

    app = limited(RateLimit("1/hour", allow=internal, deny=lambda exchange: exchange.header(b"x-bot") is not None))
    assert await times(app, 5, "/internal/x") == [200] * 5
    assert await times(app, 1, "/internal/x", headers={"x-bot": "1"}) == [403]
    assert await times(app, 2) == [200, 429]


async def test_an_address_is_believed_of_trusted_proxies_alone(limited: Limited) -> None:
    forged = {"x-forwarded-for": "10.0.0.1"}
    assert await times(limited(RateLimit("1/hour", allow=["10.0.0.1"])), 2, headers=forged) == [200, 429]
    behind = limited(RateLimit("1/hour", allow=["10.0.0.1"], trusted_proxies=["203.0.113.7"], name="b"))
    assert await times(behind, 3, headers=forged) == [200] * 3
    assert await times(behind, 2, headers={"x-forwarded-for": "10.0.0.1, 192.0.2.5"}) == [200, 429]


ADMIN = {"headers": bearer(sign(scope="read admin"))}


async def test_a_scope_that_was_verified_frees(limited: Limited, manager: CountingManager) -> None:
    app = limited(JWTAuth(SECRET), RateLimit("1/hour", key="user", bypass=["admin", "root"]), clock=lambda: NOW)
    assert await times(app, 5, **ADMIN) == [200] * 5
    assert not (await get(app, **ADMIN)).all("ratelimit")
    assert await times(app, 2, headers=bearer(sign(scope="administrator read"))) == [200, 429]
    assert await times(app, 2, headers=bearer(sign(sub="bob"))) == [200, 429]


async def test_a_single_scope_may_be_given_as_a_word(limited: Limited) -> None:
    app = limited(JWTAuth(SECRET), RateLimit("1/hour", bypass="admin"), clock=lambda: NOW)
    assert await times(app, 3, **ADMIN) == [200] * 3
    assert await times(app, 2, headers=bearer(sign(scope="a d m i n"))) == [200, 429]


@pytest.mark.parametrize(
    "headers",
    [
        bearer(sign(scope="admin", which=1)),
        bearer(sign(scope="admin", exp=NOW - 999)),
        {"x-scopes": "admin", "x-forwarded-user": "root", "scope": "admin", "cookie": "scope=admin"},
        {"authorization": "Bearer admin"},
        {},
    ],
)
async def test_nobody_frees_itself(limited: Limited, headers: dict[str, Any]) -> None:
    assert OTHER_SECRET != SECRET
    for optional in (False, True):
        jwt = JWTAuth(SECRET, optional=optional)
        app = limited(RateLimit("2/hour", name="o"), jwt, RateLimit("2/hour", bypass=["admin"]), clock=lambda: NOW)
        said = await times(app, 4, headers=headers)
        assert said[2:] == [429, 429], said
        await limited(RateLimit("1/hour")).manager.execute("FLUSHALL")


@pytest.mark.parametrize(
    "facts",
    [
        {"auth": SimpleNamespace(scopes=["admin"])},
        {"auth": SimpleNamespace(scopes=["admin"]), "user": None},
        {"auth": SimpleNamespace(scopes=["admin"]), "user": SimpleNamespace(is_authenticated=False)},
        {"auth": SimpleNamespace(scopes=["admin"]), "user": SimpleNamespace(is_authenticated="no")},
        {"user": SimpleNamespace(is_authenticated=True)},
        {"user": SimpleNamespace(is_authenticated=True), "auth": SimpleNamespace(scopes=())},
    ],
)
async def test_scopes_of_nobody_who_was_verified_free_nobody(limited: Limited, facts: dict[str, Any]) -> None:
    """Frameworks put an unauthenticated user and its scopes into every request."""
    app = limited(RateLimit("1/hour", bypass=["admin"]))
    assert await times(app, 2, **facts) == [200, 429]


async def test_a_user_that_only_a_reply_can_tell_is_waited_for(manager: CountingManager) -> None:
    guard = RateLimit("1/hour", bypass=["admin"])
    assert guard.needs == {"user"}
    assert RateLimit("1/hour").needs == frozenset()
    with pytest.raises(ConfigurationError, match="needs user"):
        GuardMiddleware(App(), [guard, JWTAuth(SECRET)], redis=manager)


def test_what_is_wrong_with_lists_is_told_by_name() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RateLimit("1/hour", allow=["10.0.0.0/33"], deny=["nobody"])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["allow", "deny"]
