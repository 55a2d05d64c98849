"""What a response makes of its session: created, saved field by field, destroyed, or left alone."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, Session, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.drive import get
from tests.middleware.calls import TestRedis, responding
from tests.sessions.visits import Act, Site, Slow, put

WRITERS = 50


async def test_what_one_request_puts_in_the_next_one_finds(site: Site) -> None:
    browser = site.browser()
    await browser.visit(put(name="Zoë", cart=[1, {"n": 2}]))
    assert await browser.visit() == {"name": "Zoë", "cart": [1, {"n": 2}]}


async def test_each_key_is_a_field_and_only_those_that_changed_are_written(site: Site) -> None:
    browser = await site.signed_in(a=1, b=2)
    await site.redis.execute("HSET", browser.id.record, ".b", "20")  # by somebody else
    await browser.visit(put(a=1, c=3))
    fields = await site.fields(browser.id.record)
    await browser.visit(lambda session: session.pop("a"))
    assert {name: text for name, text in fields.items() if name != b"m"} == {b".a": b"1", b".b": b"20", b".c": b"3"}
    assert await browser.visit() == {"b": 20, "c": 3}


async def test_a_change_within_a_value_is_seen(site: Site) -> None:
    browser = await site.signed_in(cart={"items": [1]})
    await browser.visit(lambda session: session["cart"]["items"].append(2))
    assert await browser.visit() == {"cart": {"items": [1, 2]}}


async def test_fifty_parallel_writers_of_different_keys_lose_nothing(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    slow = [await Slow(put(**{f"k{n}": n})).start(browser.twin()) for n in range(WRITERS)]
    await asyncio.gather(*(one.finish() for one in slow))
    assert await browser.visit() == {"user_id": "alice"} | {f"k{n}": n for n in range(WRITERS)}


async def test_a_key_removed_by_one_and_another_changed_by_one_are_both(site: Site) -> None:
    browser = await site.signed_in(a=1, b=2, c=3)
    removing = await Slow(lambda session: session.pop("a")).start(browser.twin())
    changing = await Slow(put(b=20)).start(browser.twin())
    await removing.finish()
    await changing.finish()
    assert await browser.visit() == {"b": 20, "c": 3}


async def test_a_session_with_nothing_in_it_is_never_stored(site: Site) -> None:
    browser = site.browser()
    await browser.visit()
    await browser.visit(lambda session: session.rotate())
    await browser.visit(lambda session: session.clear())
    assert (browser.told, await site.keys()) == ([], [])


async def test_the_cookie_is_sent_with_a_new_id_and_not_again(site: Site) -> None:
    browser = await site.signed_in(a=1)
    assert len(browser.told) == 1
    assert browser.response["cache-control"] == "no-store"
    await browser.visit(put(a=2))
    assert (browser.told, browser.response.all("cache-control")) == ([], [])
    assert browser.response["vary"] == "Cookie"


async def test_clear_ends_record_and_cookie(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    twin = browser.twin()
    await browser.visit(lambda session: session.clear())
    assert (browser.cookie, await site.keys()) == (None, [])
    assert await twin.visit() == {}


async def test_clear_and_then_a_login_is_a_new_session_with_nothing_of_the_old(site: Site) -> None:
    browser = await site.signed_in(user_id="alice", secret="hers")
    twin = browser.twin()

    def change_user(session: dict[str, object]) -> None:
        session.clear()
        session["user_id"] = "bob"

    await browser.visit(change_user)
    assert browser.cookie not in (None, twin.cookie)
    assert (await browser.visit(), await twin.visit()) == ({"user_id": "bob"}, {})
    assert await site.keys() == sorted({browser.id.record, *(await site.redis.execute("KEYS", "guard:[in]:*"))})


async def test_a_redirect_after_a_login_keeps_it(memory: TestRedis) -> None:
    browser = Site(memory).browser()
    await browser.visit(put(user_id="alice"), status=303)
    assert await browser.visit() == {"user_id": "alice"}


async def test_an_app_that_fails_keeps_nothing(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)

    def fail(session: Session) -> None:
        session["a"] = 2
        raise LookupError

    with pytest.raises(LookupError):
        await browser.visit(fail)
    assert await browser.visit() == {"a": 1}


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_login_that_the_response_refuses_leaves_nothing_behind(memory: TestRedis, status: int) -> None:
    site = Site(memory)
    browser = site.browser()
    await browser.visit(put(user_id="alice"), status=status)
    assert (browser.told, await site.keys()) == ([], [])
    await browser.visit(put(basket=1))
    before, cookie = await site.fields(browser.id.record), browser.cookie
    await browser.visit(put(user_id="alice", more=1), status=status)
    assert (await site.fields(browser.id.record), browser.cookie) == (before, cookie)


async def test_other_changes_are_kept_whatever_the_status_and_so_is_a_logout(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(user_id="alice")
    await browser.visit(put(failures=1), status=422)
    assert await browser.visit() == {"user_id": "alice", "failures": 1}
    await browser.visit(lambda session: session.clear(), status=500)
    assert (browser.cookie, [key for key in await site.keys() if key.startswith(b"guard:s:")]) == (None, [])


async def test_every_key_has_a_lifetime_whatever_is_done(redis: RedisManager) -> None:
    site = Site(redis, idle=3600)
    acts: list[Act] = [dict, put(b=2), lambda session: session.incr("n"), Session.rotate, put(user_id="bob")]
    sessions: list[dict[str, Any]] = [{"a": 1}, {"user_id": "alice"}]
    for number, values in enumerate(sessions):
        for act in acts:
            await redis.execute("FLUSHALL")
            browser = await site.signed_in(**values)
            await browser.visit(act)
            lives = {key: await redis.execute("PTTL", key) for key in await site.keys()}
            assert len(lives) >= 1 + number
            assert all(0 < life <= 14 * 86_400_000 for life in lives.values()), lives


@pytest.mark.parametrize(
    ("vary", "wanted"), [("Accept", "Accept, Cookie"), ("cookie", "cookie"), ("*", "*"), ("A, Cookie", "A, Cookie")]
)
async def test_what_caches_are_told_is_merged(memory: TestRedis, vary: str, wanted: str) -> None:
    inner = responding(headers=[(b"vary", vary.encode()), (b"cache-control", b"private")])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["a"] = 1
        await inner(scope, receive, send)

    response = await get(GuardMiddleware(app, [Sessions()], redis=memory))
    assert (response["vary"], response["cache-control"]) == (wanted, "private, no-store")


async def test_more_than_max_size_is_an_error_and_nothing_is_written(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(memory, max_size=256)
    browser = await site.signed_in(a="x" * 200)
    await browser.visit(put(a="y", b="é" * 200))
    assert browser.response.status == 500
    assert "allowed are 256 (max_size)" in caplog.text
    assert await browser.visit() == {"a": "x" * 200}
