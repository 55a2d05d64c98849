"""What somebody with a copy of a cookie must not be able to do, each way that was tried once."""

from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Session
from tests.sessions.accounts import Accounts, Visitor
from tests.sessions.visits import Browser, Site, Slow, put


def logout_by_removal(session: Session) -> None:
    """Log out as one does who keeps the rest."""
    session.pop("user_id")


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_what_takes_a_right_away_is_kept_whatever_the_status(redis: RedisManager, status: int) -> None:
    site = Site(redis, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="admin")
    await browser.visit(put(role="user", note="kept"), status=status)
    assert await browser.visit() == {"user_id": "alice", "role": "user", "note": "kept"}
    await browser.visit(logout_by_removal, status=status)
    assert await browser.visit() == {"role": "user", "note": "kept"}


async def test_a_session_that_was_cleared_for_a_login_that_failed_is_over(redis: RedisManager) -> None:
    site = Site(redis)
    browser = await site.signed_in(user_id="alice")
    old = browser.twin()
    await browser.visit(lambda session: (session.clear(), session.update(user_id="bob")), status=401)
    assert (browser.cookie, await old.visit(), await browser.visit()) == (None, {}, {})


@pytest.mark.parametrize("act", [logout_by_removal, put(user_id="bob"), put(user_id=None)])
async def test_the_former_id_is_nobody_s_as_soon_as_its_user_is_gone(redis: RedisManager, act: Any) -> None:
    site = Site(redis, overlap=60)
    browser = await site.signed_in(user_id="alice", secret="hers")
    old = browser.twin()
    await browser.visit(act)
    assert await old.visit() == {}
    assert await old.visit(put(user_id="eve")) is None
    assert old.told == [] or (await old.visit())["user_id"] == "eve"


async def test_rights_that_have_changed_are_not_for_the_former_id(redis: RedisManager) -> None:
    site = Site(redis, principal=("user_id", "role"), overlap=60)
    browser = await site.signed_in(user_id="alice", role="user", n=1)
    former = browser.twin()
    await browser.visit(put(role="admin"))
    assert await former.visit() == {"user_id": "alice", "n": 1}
    later = browser.twin()
    await browser.visit(put(role="user"))
    assert await later.visit() == {"user_id": "alice", "n": 1}


async def test_to_be_read_is_the_last_former_id_alone(redis: RedisManager) -> None:
    site = Site(redis, overlap=60)
    browser = await site.signed_in(user_id="alice", text="x" * 1000)
    former = []
    for _ in range(5):
        former.append(browser.twin())
        await browser.visit(lambda session: session.rotate())
    assert [bool(await one.visit()) for one in former] == [False] * 4 + [True]
    sizes = [await redis.execute("HLEN", one.id.record) for one in former[:-1]]
    assert max(sizes) <= 3


async def test_who_was_shut_out_meanwhile_does_not_come_back_as_somebody_else(redis: RedisManager) -> None:
    """A view that switches accounts relies on who is logged in."""
    site = Accounts(redis)
    visitor = await site.login("admin")
    slow = await Slow(put(user_id="bob")).start(visitor)  # type: ignore[arg-type]
    await site.store.revoke_all("admin")
    await slow.finish()
    assert visitor.response.status == 409
    assert await site.ids("bob") == set()


async def test_nor_by_an_id_that_was_replaced(redis: RedisManager) -> None:
    site = Accounts(redis, overlap=60)
    visitor = await site.login("admin")
    thief = Visitor(site, visitor.cookie)
    await visitor.visit(lambda session: session.rotate())
    await thief.visit(put(user_id="bob"))
    assert (thief.response.status, await site.ids("bob")) == (409, set())


async def test_somebody_new_logs_in_although_the_anonymous_session_has_gone(redis: RedisManager) -> None:
    site = Site(redis)
    browser = await site.signed_in(basket=1)
    slow = await Slow(put(user_id="alice")).start(browser)
    await redis.execute("DEL", browser.id.record)
    await slow.finish()
    assert await Browser(site, browser.cookie).visit() == {"basket": 1, "user_id": "alice"}
