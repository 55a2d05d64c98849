"""Limits beside limits and beside a token guard: what counts when somebody else refuses, and which fields result."""

from typing import Any

import pytest
from starlette.authentication import SimpleUser

from asgi_redis_guard import (
    Answer,
    Ask,
    Exchange,
    GuardMiddleware,
    JWTAuth,
    Pass,
    RateLimit,
    RedisManager,
    RevocationList,
)
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import ADDRESS, App, Response, get
from tests.guards import COUNT, Does, count
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.structured import parse_list
from tests.servers import Server

HOUR = {"algorithm": "fixed"}


def left(response: Response) -> dict[str, int]:
    """What the response says is left, by limit."""
    return {name: state["r"] for name, state in parse_list(response["ratelimit"])}


def stack(limited: Limited, *guards: Any, **options: Any) -> GuardMiddleware:
    return limited(*guards, clock=lambda: NOW, **options)


@pytest.mark.parametrize("algorithm", ["gcra", "fixed", "counter", "log"])
async def test_what_an_inner_limit_refuses_an_outer_one_does_not_count(limited: Limited, algorithm: Any) -> None:
    guards = (RateLimit("5/hour", name=name, algorithm=algorithm) for name in ("outer", "middle"))
    app = limited(*guards, RateLimit("1/hour", name="inner", algorithm=algorithm))
    assert left(await get(app)) == {"outer": 4, "middle": 4, "inner": 0}
    for _ in range(9):
        refused = await get(app)
        assert refused.status == 429
        assert left(refused) == {"outer": 4, "middle": 4, "inner": 0}
        assert refused.json()["violated-policies"] == ["inner"]
    assert [name for name, _ in parse_list(refused["ratelimit-policy"])] == ["outer", "middle", "inner"]
    assert len(refused.all("ratelimit")) == len(refused.all("ratelimit-policy")) == len(refused.all("retry-after")) == 1


@pytest.mark.parametrize("algorithm", ["gcra", "fixed", "counter", "log"])
async def test_what_an_inner_limit_refuses_in_a_later_round_an_outer_one_has_not_counted(
    limited: Limited, manager: CountingManager, algorithm: Any
) -> None:
    """Whose user only a reply can tell."""

    def admit(exchange: Exchange) -> Admission:
        yield Ask([count("asked")])
        return Pass({"user": SimpleUser("ann")})

    knowing = Does(admit, name="knowing", provides=frozenset({"user"}), operations=(COUNT,))
    outer = RateLimit("5/hour", name="outer", algorithm=algorithm)
    app = limited(outer, knowing, RateLimit("1/hour", key="user", name="inner", algorithm=algorithm, deny_cache=0))
    assert left(await get(app)) == {"outer": 4, "inner": 0}
    assert manager.round_trips == 2
    for _ in range(9):
        refused = await get(app)
        assert refused.status == 429
        assert left(refused) == {"outer": 4, "inner": 0}
    assert left(await get(limited(outer))) == {"outer": 3}


@pytest.mark.parametrize("status", [429, 503])
async def test_whatever_the_app_says_of_a_refusal_an_outer_limit_has_not_counted(limited: Limited, status: int) -> None:
    def admit(exchange: Exchange) -> Admission:
        yield Ask([count("asked")])
        return Pass({"user": SimpleUser("ann")})

    def worded(exchange: Exchange, answer: Answer) -> Answer:
        return Answer(status, [], b"busy")

    knowing = Does(admit, name="knowing", provides=frozenset({"user"}), operations=(COUNT,))
    outer = RateLimit("5/hour", name="outer")
    app = limited(outer, knowing, RateLimit("1/hour", key="user", name="inner", on_refused=worded))
    assert [(await get(app)).status for _ in range(9)] == [200, *[status] * 8]
    assert left(await get(limited(outer))) == {"outer": 3}


async def test_what_an_inner_limit_refuses_while_redis_is_away_an_outer_one_has_not_counted(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    outer, inner = RateLimit("5/hour", name="outer"), RateLimit("1/hour", name="inner")
    app = GuardMiddleware(App(), [outer, inner], redis=fresh_redis, clock=lambda: NOW)
    await get(app)
    fresh_server.kill()
    for status in (200, *[429] * 9):
        response = await get(app)
        assert response.status == status
        assert left(response) == {"outer": 4, "inner": 0}


async def test_what_an_outer_limit_refuses_an_inner_one_does_not_count(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", name="outer", **HOUR), RateLimit("5/hour", name="inner", **HOUR))
    await get(app)
    for _ in range(9):
        refused = await get(app)
        assert left(refused) == {"outer": 0}
        assert refused["ratelimit-policy"] == '"outer";q=1;w=3600'
    assert left(await get(limited(RateLimit("5/hour", name="inner", **HOUR)))) == {"inner": 3}


async def test_a_stack_of_guards_takes_one_round_trip(limited: Limited, manager: CountingManager) -> None:
    guards = [RateLimit("5/hour", name="a"), JWTAuth(SECRET), RateLimit("5/hour", "9/day", key="user", name="b")]
    response = await get(stack(limited, *guards), headers=bearer(sign()))
    assert response.status == 200
    assert left(response) == {"a": 4, "b-hour": 4, "b-day": 8}
    assert manager.round_trips == 1


async def test_a_revoked_token_does_not_drain_its_owners_quota_and_does_drain_the_outer_limit(
    limited: Limited, manager: CountingManager
) -> None:
    outer, inner = RateLimit("9/hour", name="address", **HOUR), RateLimit("2/hour", key="user", name="user", **HOUR)
    app = stack(limited, outer, JWTAuth(SECRET), inner)
    await RevocationList(manager).revoke("stolen", ttl=60)
    for number in range(5):
        refused = await get(app, headers=bearer(sign(jti="stolen")))
        assert refused.status == 401
        assert left(refused) == {"address": 8 - number}
    assert left(await get(app, headers=bearer(sign()))) == {"address": 3, "user": 1}


async def test_a_limit_outside_counts_garbage_at_one_round_trip(limited: Limited, manager: CountingManager) -> None:
    app = stack(limited, RateLimit("2/hour", **HOUR), JWTAuth(SECRET))
    for remaining in (1, 0):
        refused = await get(app, headers=bearer(b"garbage"))
        assert (refused.status, left(refused)) == (401, {"hour": remaining})
        assert 'error="invalid_token"' in refused["www-authenticate"]
        assert not refused.all("retry-after")
    assert manager.round_trips == 2
    refused = await get(app, headers=bearer(b"garbage"))
    assert refused.status == 429
    assert not refused.all("www-authenticate")


async def test_a_limit_inside_never_hears_of_garbage(limited: Limited, manager: CountingManager) -> None:
    app = stack(limited, JWTAuth(SECRET), RateLimit("1/hour", key="user"))
    for _ in range(5):
        refused = await get(app, headers=bearer(b"garbage"))
        assert (refused.status, refused.all("ratelimit")) == (401, [])
    assert manager.round_trips == 0
    assert [(await get(app, headers=bearer(sign()))).status for _ in range(2)] == [200, 429]


async def test_users_are_counted_apart_and_nobody_by_its_address(limited: Limited) -> None:
    app = stack(limited, JWTAuth(SECRET, optional=True), RateLimit("1/hour", key="user"))

    async def statuses(headers: Any, client: Any) -> list[int]:
        return [(await get(app, headers=headers, client=client)).status for _ in range(2)]

    here, there = (ADDRESS, 1), ("198.51.100.9", 1)
    assert await statuses(bearer(sign(sub="alice")), here) == [200, 429]
    assert await statuses(bearer(sign(sub="alice")), there) == [429, 429]
    assert await statuses(bearer(sign(sub="bob")), here) == [200, 429]
    assert await statuses({}, here) == [200, 429]
    assert await statuses({}, there) == [200, 429]
    assert await statuses(bearer(sign(sub=ADDRESS)), here) == [200, 429]
    assert await statuses(bearer(sign(sub=None)), ("192.0.2.77", 1)) == [200, 429]


@pytest.mark.parametrize("inside_out", [False, True])
async def test_limits_by_user_and_by_address_of_nobody_do_not_disturb_each_other(
    limited: Limited, inside_out: bool
) -> None:
    """For nobody both go by the address, with the same period and no name; the counts are two."""
    tight, wide = RateLimit("2/hour", key="user"), RateLimit("9/hour")
    jwt = JWTAuth(SECRET, optional=True)
    app = stack(limited, jwt, *((wide, tight) if inside_out else (tight, wide)))
    assert [(await get(app)).status for _ in range(4)] == [200, 200, 429, 429]


def test_a_limit_by_user_cannot_stand_outside_of_the_guard_that_finds_the_user(limited: Limited) -> None:
    with pytest.raises(ConfigurationError, match="needs user"):
        stack(limited, RateLimit("1/hour", key="user"), JWTAuth(SECRET))


async def test_the_fields_of_the_app_are_joined_with_ours(limited: Limited) -> None:
    own = [(b"ratelimit", b'"own";r=7;t=1'), (b"ratelimit-policy", b'"own";q=9;w=1'), (b"retry-after", b"77")]
    app = limited(RateLimit("5/hour", **HOUR), app=App(503, own, b""))
    response = await get(app)
    assert left(response) == {"hour": 4, "own": 7}
    assert response["retry-after"] == "77"


@pytest.mark.parametrize("status", [200, 204, 301, 404, 500, 503])
async def test_there_is_no_retry_after_where_nothing_was_refused(limited: Limited, status: int) -> None:
    app = limited(RateLimit("5/hour"), app=App(status, [], b""))
    response = await get(app)
    assert (response.status, response.all("retry-after")) == (status, [])
    assert bool(response.all("ratelimit")) is (status != 301)


async def test_middlewares_added_one_by_one_are_one_stack(manager: CountingManager) -> None:
    from asgi_redis_guard import RateLimitMiddleware

    app: Any = App()
    for name in ("inner", "middle", "outer"):
        app = RateLimitMiddleware(app, "5/hour", name=name, algorithm="fixed", redis=manager)
    assert left(await get(app)) == {"outer": 4, "middle": 4, "inner": 4}
    assert manager.round_trips == 1
