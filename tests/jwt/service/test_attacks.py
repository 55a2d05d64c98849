"""Attacks on the token service and its routes: what is half done, replayed, or asked by the wrong one."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from asgi_redis_guard.errors import RedisUnavailable, TokenRevoked
from asgi_redis_guard.jwt.revocation.marks import Marks
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.service.events import TokenEvent
from asgi_redis_guard.jwt.service.families import Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from tests.drive import App, get
from tests.jwt.routes.visits import post_json
from tests.jwt.service.families import LIMITS, begun, verdict
from tests.jwt.services import service
from tests.jwt.tokens import NOW, SECRET, sign
from tests.jwt.tokens import bearer as signed
from tests.redis.tools import eventually


class Away:
    """A blacklist that cannot be written to, while all else of Redis answers."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __enter__(self) -> None:
        async def fails(*_: Any, **__: Any) -> Any:
            raise RedisUnavailable("the blacklist is away")

        self._patch.setattr(Marks, "set", fails)
        self._patch.setattr(Marks, "cut", fails)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


async def test_who_asks_again_to_be_logged_out_everywhere_is_not_told_that_it_is_so_before_it_is(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis went away between the end of the logins and that of their access tokens."""
    tokens = service(redis)
    routes, pair, elsewhere = TokenRoutes(tokens), await tokens.issue("alice"), await tokens.issue("alice")
    said = {"refresh_token": pair.refresh_token, "everywhere": True}
    with Away(monkeypatch):
        assert (await post_json(routes, "/logout", said)).status == 503
    later = await tokens.issue("alice")
    assert (await post_json(routes, "/logout", said)).status == 204
    for one in (pair, elsewhere):
        with pytest.raises(TokenRevoked):
            await tokens.verify(one.access_token)
    assert (await tokens.verify(later.access_token)).user == "alice"
    assert (await tokens.refresh(later.refresh_token)).user == "alice"


async def test_reuse_is_told_of_although_the_blacklist_is_away(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[TokenEvent] = []
    tokens = service(redis, grace=0, hooks=[events.append])
    pair = await tokens.issue("alice")
    await tokens.refresh(pair.refresh_token)
    with Away(monkeypatch), pytest.raises(RedisUnavailable):
        await tokens.refresh(pair.refresh_token)
    assert [event.kind for event in events] == ["reuse"]


@pytest.mark.parametrize("steps", range(1, 7))
async def test_who_cancels_does_not_silence_reuse(redis: RedisManager, steps: int) -> None:
    """As a server may that drops the requests of clients who leave."""
    events: list[TokenEvent] = []
    tokens = service(redis, grace=0, hooks=[events.append])
    pair = await tokens.issue("alice")
    good = await tokens.refresh(pair.refresh_token)
    thief = asyncio.ensure_future(tokens.refresh(pair.refresh_token))
    for _ in range(steps):
        await asyncio.sleep(0)
    thief.cancel()
    await asyncio.gather(thief, return_exceptions=True)
    await eventually(lambda: events)
    assert [event.kind for event in events] == ["reuse"]
    await redis.links.drain()
    with pytest.raises(TokenRevoked):
        await tokens.verify(good.access_token)


async def test_a_clock_that_is_set_back_makes_no_grace_longer(redis: RedisManager) -> None:
    """The token was used when the server's clock was an hour ahead."""
    store = FamilyStore(redis, LIMITS)
    token = await begun(store)
    await store.rotate(token)
    key = redis.keys.family(token.family[:6], token.family[6:])
    parts = (await redis.execute("GET", key)).split(b":")
    parts[6] = b"%d" % (int(parts[6]) + 3_600_000)
    await redis.execute("SET", key, b":".join(parts), "KEEPTTL")
    assert await verdict(store, token) == Verdict.REUSED


async def test_a_cutoff_is_never_kept_shorter_by_another(redis: RedisManager) -> None:
    marks, key = Marks(redis), redis.keys.everybody("")
    await marks.cut(key, 90 * 86_400_000, None)
    await marks.cut(key, 1_200_000, None)
    assert await redis.execute("PTTL", key) > 89 * 86_400_000


async def test_an_outage_of_another_blacklist_is_not_answered_by_a_mirror_of_this_one(redis_url: str) -> None:
    async with RedisManager(redis_url) as here:
        revocations = RevocationList(here, mode="mirror")
        await revocations.mirrored()
        away = RedisManager("redis://127.0.0.1:1", timeout=0.05)
        guard = JWTAuth(SECRET, revocation=revocations, on_outage="last_known")
        app = GuardMiddleware(App(), [guard], redis=away, clock=lambda: NOW)
        assert (await get(app, headers=signed(sign(jti="x")))).status == 503
        await away.aclose()


async def test_logging_out_again_and_again_tells_mirrors_and_sockets_nothing_new(redis: RedisManager) -> None:
    """A token that is over costs one entry of the stream, however often it is shown."""
    revocations = RevocationList(redis, mode="mirror", max_lifetime=3600)
    await revocations.mirrored()
    tokens = service(redis, revocation=revocations)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    said = {"refresh_token": pair.refresh_token, "everywhere": True}
    entries, words = [], list[bytes]()
    listener = redis.pubsub.listen(redis.keys.tokens_channel, lambda event: words.append(getattr(event, "data", b"")))
    await listener.ready()
    for _ in range(4):
        assert (await post_json(routes, "/logout", said)).status == 204
        await post_json(routes, "/refresh", {"refresh_token": pair.refresh_token})
        entries.append(await redis.execute("XLEN", redis.keys.revoked_stream))
    assert entries[1] == entries[-1]
    await redis.execute("PUBLISH", redis.keys.tokens_channel, "the end")
    await eventually(lambda: b"the end" in words)
    assert len(words) == len(set(words))
    await listener.aclose()
