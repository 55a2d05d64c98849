"""Keys that are replaced while tokens are issued, refreshed and verified: not one request fails.

Processes are services of their own; those who only verify hold a JWK set for as long as they may, as a cache does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import RefreshRefused, TokenInvalid
from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.service.access import AccessTokens
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from asgi_redis_guard.jwt.signing import KeyRing, SigningKey
from asgi_redis_guard.jwt.verify import ClaimRules, Verifier
from tests.jwt.services import ISSUER, REFRESH_KEY, Clock, header_of, service
from tests.jwt.tokens import OTHER_SECRET, SECRET, private_pem

OLD, NEW = SigningKey(private_pem("p256"), kid="old"), SigningKey(private_pem("ed25519"), kid="new")
#: Seconds that a verifier may keep a JWK set.
MAX_AGE = 300


class Elsewhere:
    """A service of somebody else, which knows the published keys alone and asks for them again when they are old."""

    def __init__(self, published: Callable[[], Any], clock: Clock) -> None:
        self._published, self._clock, self._since = published, clock, -float("inf")

    def verify(self, token: str) -> None:
        if self._clock() >= self._since + MAX_AGE:
            self._verifier = Verifier(KeySet(self._published()), ClaimRules(audiences=frozenset((ISSUER,))))
            self._since = self._clock()
        self._verifier.verify(token.encode(), self._clock())


class Fleet:
    """Three processes that issue, and some elsewhere that verify, at a load that goes on through every step."""

    def __init__(self, redis: RedisManager, ring: KeyRing, clock: Clock) -> None:
        self.clock = clock
        self.processes = [service(redis, ring, clock=clock, access_ttl=120, leeway=10) for _ in range(3)]
        self.elsewhere = [Elsewhere(self.processes[number % 3].public_jwks, clock) for number in range(4)]
        self.kids: set[str] = set()
        self.served = 0

    async def work(self, number: int) -> None:
        """Log in, and then refresh at one process what another has issued; verify it, and the oldest one, at all."""
        turn = number
        pair = await self.processes[turn % 3].issue(f"user-{number}")
        held: list[TokenPair] = []
        while True:
            held = [*(one for one in held if one.expires_at > self.clock()), pair]
            for one in (held[0], pair):
                for other in self.elsewhere:
                    if one.expires_at > self.clock():  # it moves while processes are asked
                        other.verify(one.access_token)
                for process in self.processes:
                    if one.expires_at > self.clock():
                        await process.verify(one.access_token)
            self.kids.add(header_of(pair.access_token)["kid"])
            self.served += 1
            turn += 1
            pair = await self.processes[turn % 3].refresh(pair.refresh_token)

    async def passes(self, seconds: float) -> None:
        """Let time pass, with many requests in each part of it."""
        for _ in range(6):
            self.clock.ahead += seconds / 6
            await self.serve(40)

    async def serve(self, more: int) -> None:
        wanted = self.served + more
        while self.served < wanted:
            await asyncio.sleep(0.001)
            assert not [task for task in self.tasks if task.done()], [task for task in self.tasks if task.done()]

    async def step(self, ring: KeyRing) -> None:
        """Bring a ring to one process after the other, with load in between."""
        for process in self.processes:
            process.use_keys(ring)
            await self.serve(40)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        self.tasks = [asyncio.ensure_future(self.work(number)) for number in range(6)]
        try:
            yield
        finally:
            for task in self.tasks:
                task.cancel()
            results = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def test_a_signing_key_is_replaced_under_load_without_one_failed_request(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=10) as redis:
        fleet = Fleet(redis, KeyRing(OLD), Clock())
        async with fleet.load():
            await fleet.serve(40)
            await fleet.step(KeyRing(OLD, upcoming=[NEW]))
            assert fleet.kids == {"old"}
            await fleet.passes(MAX_AGE)
            await fleet.step(KeyRing(NEW, OLD))
            assert fleet.kids == {"old", "new"}
            fleet.kids.clear()
            await fleet.passes(120 + 10)
            await fleet.step(KeyRing(NEW))
            assert fleet.kids == {"new"}
            await fleet.passes(MAX_AGE)


async def test_a_key_that_signs_before_it_was_published_is_refused_elsewhere(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=10) as redis:
        tokens, clock = service(redis, KeyRing(OLD)), Clock()
        elsewhere = Elsewhere(tokens.public_jwks, clock)
        elsewhere.verify((await tokens.issue("alice")).access_token)
        tokens.use_keys(KeyRing(NEW, OLD))
        with pytest.raises(Exception, match="is invalid"):
            elsewhere.verify((await tokens.issue("alice")).access_token)


@pytest.mark.parametrize("rings", [(KeyRing(SECRET), KeyRing(OTHER_SECRET, SECRET)), (KeyRing(OLD), KeyRing(NEW, OLD))])
async def test_tokens_of_an_older_key_are_good_until_it_is_taken_away(
    redis: RedisManager, rings: tuple[KeyRing, KeyRing]
) -> None:
    tokens = service(redis, rings[0])
    pair = await tokens.issue("alice")
    tokens.use_keys(rings[1])
    assert (await tokens.verify(pair.access_token)).user == "alice"
    newer = await tokens.refresh(pair.refresh_token)
    assert header_of(newer.access_token)["kid"] == tokens.keys.active.kid == rings[1].active.kid
    tokens.use_keys(rings[1].active)
    with pytest.raises(TokenInvalid):
        await tokens.verify(pair.access_token)
    assert (await tokens.verify(newer.access_token)).user == "alice"


async def test_keys_of_refresh_tokens_are_replaced_without_one_refused_token(redis: RedisManager) -> None:
    new = REFRESH_KEY[::-1]
    steps = [[REFRESH_KEY], [REFRESH_KEY, new], [new, REFRESH_KEY], [new]]
    pair, former = await service(redis).issue("alice"), service(redis)
    for keys in steps:
        tokens = service(redis, refresh_keys=keys)
        for process in (tokens, former, tokens):
            pair = await process.refresh(pair.refresh_token)
        former = tokens
    with pytest.raises(RefreshRefused, match="malformed"):
        await service(redis).refresh(pair.refresh_token)


async def test_other_keys_change_neither_the_issuer_nor_whom_tokens_are_for(redis: RedisManager) -> None:
    tokens: TokenService = service(redis, KeyRing(OLD), audience=["a", "b"])
    pair = await tokens.issue("alice")
    tokens.use_keys(KeyRing(NEW, OLD))
    reader = AccessTokens(KeyRing(OLD), ISSUER, ("b",))
    assert reader.read(pair.access_token, pair.expires_at - 1).user == "alice"
    assert (await tokens.verify(pair.access_token)).token_id == pair.token_id
