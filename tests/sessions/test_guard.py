"""What a request costs and gets: nothing without a cookie of ours, one read with one, never an id of the client's."""

import pytest

from asgi_redis_guard import Exchange, GuardMiddleware, RedisManager, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.cookies import _MOST
from asgi_redis_guard.core.steps import PASS, Admission
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, get
from tests.guards import Does
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE
from tests.sessions.visits import Browser, Site, app, put

NAME = b"__Host-session"
ID = b"A" * 51
MALFORMED = [
    b"",
    b"x",
    ID[:-1],
    ID + b"A",
    ID[:-1] + b"=",
    ID[:-1] + b"\n",
    ID[:-1] + b"\xff",
    b"\x00" * 51,
    b"*" * 51,
    b"{" + ID[2:] + b"}",
    b"A" * 1_048_576,
    bytes(set(range(256)) - set(b';, "')) * 4,
]


async def send_cookie(site: Site, *fields: bytes) -> dict[str, object]:
    """Send Cookie fields as they are, and return the session that the app got."""
    inner = App()
    app = GuardMiddleware(inner, [site.guard], redis=site.redis)
    assert (await get(app, headers=[(b"cookie", field) for field in fields])).status == 200
    return dict(inner.scope["session"])


@pytest.mark.parametrize("value", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_cookie_costs_nothing_and_is_nobody_s(memory: TestRedis, value: bytes) -> None:
    assert await send_cookie(Site(memory), NAME + b"=" + value) == {}
    assert memory.rounds == []


@pytest.mark.parametrize("field", [b"", b";", b"=", b"===;;;", NAME, b"\xff\xfe=\x00", b"session=" + ID, b"a=" + ID])
async def test_a_request_without_our_cookie_costs_nothing(memory: TestRedis, field: bytes) -> None:
    assert await send_cookie(Site(memory), field) == {}
    assert memory.rounds == []


async def test_cookies_beyond_all_measure_are_not_looked_at(memory: TestRedis) -> None:
    site = Site(memory)
    cookie = NAME + b"=" + (await site.signed_in(a=1)).token
    memory.rounds.clear()
    assert await send_cookie(site, cookie + b"; x=" + b"y" * _MOST) == {}
    assert memory.rounds == []


async def test_of_repeated_names_the_same_value_counts_once_and_different_ones_not_at_all(memory: TestRedis) -> None:
    site = Site(memory)
    cookie = NAME + b"=" + (await site.signed_in(a=1)).token
    quoted = cookie.replace(b"=", b'="') + b'"'
    for fields in ([cookie], [cookie, cookie], [b"x=1; " + cookie + b";" + cookie], [quoted], [quoted, cookie]):
        assert await send_cookie(site, *fields) == {"a": 1}
    memory.rounds.clear()
    for fields in ([cookie, NAME + b"=" + ID], [NAME + b"=; " + cookie]):
        assert await send_cookie(site, *fields) == {}
    assert memory.rounds == []


async def test_an_id_that_the_client_made_up_is_never_adopted_and_no_key_is_written(site: Site) -> None:
    browser = site.browser(ID.decode())
    assert await browser.visit() == {}
    assert (browser.told, await site.keys()) == ([], [])
    await browser.visit(put(user_id="alice"))
    assert browser.cookie != ID.decode()
    assert not any(ID[:8] in key for key in await site.keys())
    assert await site.browser(ID.decode()).visit() == {}


async def test_an_id_planted_before_a_login_does_not_see_what_comes_after(redis: RedisManager) -> None:
    site = Site(redis, overlap=0)
    attacker = await site.signed_in(basket=1)
    victim = attacker.twin()
    await victim.visit(put(user_id="alice"))
    assert await attacker.visit() == {}
    lenient = Site(redis)
    attacker = await lenient.signed_in(basket=1)
    await (victim := attacker.twin()).visit(put(user_id="alice", secret=1))
    assert await attacker.visit() == {"basket": 1}
    assert await victim.visit() == {"basket": 1, "user_id": "alice", "secret": 1}


async def test_the_tag_of_an_id_cannot_be_exchanged(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    assert browser.cookie is not None
    assert await site.browser("A" * 8 + browser.cookie[8:]).visit() == {}


async def test_nothing_is_written_and_no_cookie_sent_where_nothing_has_changed(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as redis:
        site = Site(redis)
        browser = await site.signed_in(user_id="alice", cart=[1])
        await browser.visit(put(cart=[0]))  # each program is loaded where it is first called
        for act, round_trips in ((dict, 1), (put(user_id="alice", cart=[0]), 1), (put(cart=[1]), 2), (dict, 1)):
            counter.reset()
            await browser.visit(act)
            assert (counter.round_trips, counter.commands) == (round_trips, [b"EVALSHA"] * round_trips)
            assert browser.told == []
        counter.reset()
        await site.browser().visit()
        await site.browser("malformed").visit()
        assert counter.commands == []


async def test_an_exempt_path_and_a_preflight_have_no_session(memory: TestRedis) -> None:
    inner = App()
    app = GuardMiddleware(inner, [Sessions(exempt=["/static/*"])], redis=memory)
    cookie = {"cookie": f"{NAME.decode()}={ID.decode()}"}
    await get(app, "/static/x", cookie)
    preflight = cookie | {"origin": "https://a.example", "access-control-request-method": "GET"}
    await get(app, "/", preflight, method="OPTIONS")
    assert [scope.get("session") for scope in inner.scopes] == [None, None]
    assert memory.rounds == []


async def test_a_part_of_an_app_with_a_scope_of_its_own_changes_the_same_session(memory: TestRedis) -> None:
    inner = App()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mounted = {**scope, "path": "/", "root_path": "/sub"}
        mounted["session"]["a"] = 1
        await inner(mounted, receive, send)

    site = Site(memory)
    response = await get(GuardMiddleware(app, [site.guard], redis=memory), "/sub/")
    cookie = response["set-cookie"].partition("=")[2].partition(";")[0]
    assert await Browser(site, cookie).visit() == {"a": 1}


async def test_what_it_says_it_provides_is_there_for_the_guards_behind(memory: TestRedis) -> None:
    site, seen = Site(memory), []

    def look(exchange: Exchange) -> Admission:
        seen.append({name: exchange.fact(name) for name in Sessions.provides})
        return PASS
        yield

    guard = Does(look)
    guard.needs = frozenset(("session",))
    site.stack = GuardMiddleware(app, [site.guard, guard], redis=memory)
    browser = await site.signed_in(user_id="alice")
    await browser.visit()
    assert set(seen[1]) == {"session", "session_id", "user", "auth"}
    assert (seen[1]["session"], seen[1]["user"].identity) == ({"user_id": "alice"}, "alice")
    assert (seen[1]["session_id"].handle, seen[1]["auth"].scopes) == (browser.id.handle, ["authenticated"])


def test_its_repr_shows_no_key() -> None:
    assert repr(Sessions(key="a secret of 16 bytes")) == "<Sessions sessions: __Host-session>"


async def test_sites_with_different_keys_or_names_share_nothing(memory: TestRedis) -> None:
    one, other = Site(memory, key=b"k" * 16), Site(memory, key=b"l" * 16)
    browser = await one.signed_in(a=1)
    assert await other.browser(browser.cookie).visit() == {}
    assert await one.browser(browser.cookie).visit() == {"a": 1}
