"""The id of a session that was replaced, as a list that was made before still has it, means what has replaced it."""

import pytest

from asgi_redis_guard import RedisManager, SecurityEvents
from tests.sessions.accounts import Accounts, Visitor


async def turned(site: Accounts, times: int = 3) -> tuple[Visitor, list[str]]:
    """A browser whose session has changed its id, and the former ones."""
    visitor, former = await site.login(), []
    for _ in range(times):
        former.append(visitor.handle)
        await visitor.visit(lambda session: session.rotate())
    return visitor, former


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_former_id_revokes_what_has_replaced_it(redis: RedisManager, which: int) -> None:
    site = Accounts(redis)
    other = await site.login()
    visitor, former = await turned(site)
    copy = Visitor(site, visitor.cookie)
    assert await site.store.revoke("alice", former[which]) is True
    assert await site.store.revoke("alice", former[which]) is False
    assert ((await copy.visit()).ended, await copy.user(), await other.user()) == ("revoked", None, "alice")
    assert await site.ids() == {other.handle}


async def test_a_former_id_keeps_what_has_replaced_it_when_the_others_go(redis: RedisManager) -> None:
    site = Accounts(redis)
    visitor, former = await turned(site)
    other = await site.login()
    assert await site.store.revoke_others("alice", former[0]) == 1
    assert (await visitor.user(), await other.user()) == ("alice", None)


async def test_where_events_are_recorded_a_former_id_is_known_after_the_overlap(redis: RedisManager) -> None:
    site = Accounts(redis, overlap=0, events=SecurityEvents(redis))
    visitor, former = await turned(site)
    assert await site.store.revoke("alice", former[0]) is True
    assert await visitor.user() is None


async def test_without_an_overlap_and_events_it_is_nobody_s(redis: RedisManager) -> None:
    site = Accounts(redis, overlap=0)
    visitor, former = await turned(site)
    assert await site.store.revoke("alice", former[0]) is False
    assert await visitor.user() == "alice"


async def test_a_former_id_ends_nothing_of_whom_the_session_became(redis: RedisManager) -> None:
    site = Accounts(redis)
    visitor = await site.login()
    former = visitor.handle
    await visitor.visit(lambda session: session.update(user_id="bob"))
    for user in ("alice", "bob"):
        assert await site.store.revoke(user, former) is False
    assert await visitor.user() == "bob"
