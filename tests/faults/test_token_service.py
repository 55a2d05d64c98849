"""A token service while Redis is away, or its replies are lost: nobody is logged out by that, and nothing is let in."""

import asyncio

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import RedisUnavailable, RefreshRefused, TokenInvalid, TokenRevoked
from asgi_redis_guard.testing import FaultProxy
from tests.jwt.services import service
from tests.redis.tools import until_back, within


async def test_a_reply_that_is_lost_is_asked_for_again_and_is_the_same(
    proxy: FaultProxy, manager: RedisManager
) -> None:
    tokens = service(manager, grace=0)  # a second use would be reuse
    pair = await tokens.issue("alice")
    await tokens.refresh((await tokens.issue("bob")).refresh_token)  # loads the scripts
    for _ in range(3):
        proxy.cut_after_request(b"EVALSHA")
        pair = await within(tokens.refresh(pair.refresh_token))
        assert not pair.replayed
        assert (await within(tokens.verify(pair.access_token))).user == "alice"
    proxy.cut_after_request(b"EVALSHA")
    assert await within(tokens.revoke_family(pair.family)) is True
    with pytest.raises(TokenRevoked):
        await within(tokens.verify(pair.access_token))


async def test_while_redis_is_away_nothing_is_let_in_and_afterwards_everything_is_as_before(
    proxy: FaultProxy, redis_url: str
) -> None:
    async with RedisManager(proxy.url, timeout=0.2) as manager:
        tokens = service(manager)
        pair = await tokens.issue("alice")
        proxy.refuse()
        proxy.reset_all()
        for call in (
            tokens.issue("alice"),
            tokens.refresh(pair.refresh_token),
            tokens.verify(pair.access_token),
            tokens.revoke(pair.access_token),
            tokens.revoke_user("alice"),
            tokens.revoke_all_before(),
            tokens.statistics(),
        ):
            with pytest.raises(RedisUnavailable):
                await within(call)
        with pytest.raises(RefreshRefused, match="malformed"):
            await tokens.refresh(pair.refresh_token[:-1] + "!")
        with pytest.raises(TokenInvalid):
            await tokens.verify(pair.access_token[:-8])
        proxy.heal()
        await until_back(manager)
        assert (await tokens.verify(pair.access_token)).user == "alice"
        assert (await tokens.refresh(pair.refresh_token)).user == "alice"


async def test_who_got_no_answer_to_a_refresh_asks_again_and_stays_logged_in(proxy: FaultProxy, redis_url: str) -> None:
    async with RedisManager(proxy.url, timeout=0.2) as manager, RedisManager(redis_url) as other:
        tokens, elsewhere = service(manager), service(other)
        pair = await tokens.issue("alice")
        await tokens.refresh((await tokens.issue("bob")).refresh_token)  # loads the scripts
        proxy.drop_replies()
        with pytest.raises(RedisUnavailable) as caught:
            await within(tokens.refresh(pair.refresh_token))
        assert caught.value.maybe_executed
        again = await elsewhere.refresh(pair.refresh_token)
        assert again.replayed
        assert (await elsewhere.refresh(again.refresh_token)).user == "alice"
        proxy.heal()


async def test_a_refresh_that_is_cancelled_may_be_repeated(manager: RedisManager) -> None:
    tokens = service(manager)
    pair = await tokens.issue("alice")
    task = asyncio.ensure_future(tokens.refresh(pair.refresh_token))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    next_one = await tokens.refresh(pair.refresh_token)
    assert (await tokens.verify(next_one.access_token)).user == "alice"
