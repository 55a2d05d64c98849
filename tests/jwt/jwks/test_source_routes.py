"""Tokens of others in front of single route functions, in two loops of one process, and on every store."""

from collections.abc import Callable

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList, RouteGuards, guarded
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.testing import ManualClock
from tests.drive import App, get
from tests.jwt.conftest import CountingManager
from tests.jwt.jwks.test_source import token
from tests.jwt.publisher import Publisher, key
from tests.middleware.site import hello, routing


async def test_a_route_waits_for_keys(
    publisher: Publisher, clock: ManualClock, manager: CountingManager, trusting: Callable[..., JWKSKeys]
) -> None:
    route = guarded(hello, [JWTAuth(keys=trusting(publisher.url))])
    app = GuardMiddleware(routing(route), [RouteGuards()], redis=manager, clock=clock)
    assert (await get(app, headers=token())).body == b"hello"
    assert (await get(app, headers=token("b", 1))).status == 401
    assert (await get(app)).status == 401
    publisher.publish(key(), key("b", 1))
    clock.advance(31)
    assert (await get(app, headers=token("c", 1))).status == 401
    assert (await get(app, headers=token("b", 1))).body == b"hello"


async def test_the_blacklist_is_asked_after_a_fetch_on_every_store(
    redis: RedisManager, publisher: Publisher, clock: ManualClock, trusting: Callable[..., JWKSKeys]
) -> None:
    revocations = RevocationList(redis)
    await revocations.revoke("t-1", ttl=60)
    app = GuardMiddleware(App(), [JWTAuth(keys=trusting(publisher.url))], redis=redis, clock=clock)
    assert (await get(app, headers=token())).status == 401
    assert (await get(app, headers=token(jti="t-2"))).status == 200
    assert publisher.count() == 1
