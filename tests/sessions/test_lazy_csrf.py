"""Forgers before a site whose sessions are lazy: a record that nobody has looked for is not one that is not there."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_redis_guard import (
    ConfigurationError,
    CSRFMiddleware,
    DeviceBinding,
    GuardMiddleware,
    JWTAuth,
    RateLimit,
    RedisManager,
    RedisUnavailable,
    SessionMiddleware,
    SessionNotLoaded,
    Sessions,
)
from tests.drive import App, get
from tests.jwt.tokens import SECRET
from tests.middleware.calls import TestRedis
from tests.sessions.site import HOME, KEY, CountingManager, browser, guarded
from tests.sessions.test_csrf import is_refused, show


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[CountingManager]:
    """A manager on each kind of server in turn."""
    async with CountingManager(backend) as manager:
        yield manager


class Loading:
    """Loads the session before the site sees it, but on `/` and `/echo`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] not in ("/", "/echo"):
            await scope["session"].load()
        await self.app(scope, receive, send)


def lazy(redis: RedisManager, *behind: Any, sessions: Sessions | None = None, **options: Any) -> Any:
    """The site; its pages load their session, but for `/`, which shows a token, and `/echo`."""
    stack = guarded(redis, *behind, sessions=sessions or Sessions(lazy=True), **options)
    return GuardMiddleware(Loading(stack.app), stack.guards, redis=redis)


async def test_a_forged_request_with_the_cookie_alone_is_refused(redis: CountingManager) -> None:
    async with browser(lazy(redis)) as alice, browser(lazy(redis)) as eve:
        token = (await alice.post("/login")).text
        others = (await eve.post("/login?user=eve")).text
        for headers in ({}, show(others), show(token[:-2]), show(""), show("A" * 86)):
            assert is_refused(await alice.post("/echo", headers=headers))
        twice = [("x-csrf-token", token), ("x-csrf-token", token)]
        assert is_refused(await alice.post("/echo", headers=twice))
        assert is_refused(await alice.post("/logout"))
        assert (await alice.get("/start")).text, "the session is there"
        assert not is_refused(await alice.post("/echo", headers=show(token)))


async def test_a_token_of_the_cookie_costs_no_round_trip_and_whoever_has_none_one(redis: CountingManager) -> None:
    async with browser(lazy(redis)) as alice:
        token = (await alice.post("/login")).text
        redis.round_trips = 0
        assert not is_refused(await alice.post("/echo", headers=show(token)))
        page = await alice.get("/")
        assert page.headers["vary"] == "Cookie"
        assert not is_refused(await alice.post("/echo", headers=show(page.text)))
        assert redis.round_trips == 0
        assert is_refused(await alice.post("/echo"))
        assert redis.round_trips == 1


async def test_a_refusal_leaves_no_trace_of_the_guards_behind(redis: CountingManager) -> None:
    async with browser(lazy(redis, RateLimit("2/hour", paths=["/echo"]))) as alice:
        token = (await alice.post("/login")).text
        for _ in range(5):
            assert is_refused(await alice.post("/echo"))
        codes = [(await alice.post("/echo", headers=show(token))).status_code for _ in range(3)]
        assert codes == [200, 200, 429]


@pytest.mark.parametrize("fits", [True, False])
async def test_a_token_in_a_form_is_seen(redis: CountingManager, fits: bool) -> None:
    async with browser(lazy(redis, field="csrf_token")) as alice:
        token = (await alice.post("/login")).text
        redis.round_trips = 0
        form = {"csrf_token": token if fits else "A" * 86, "a": "1"}
        answer = await alice.post("/echo", data=form)
        assert is_refused(answer) is not fits
        assert redis.round_trips == (0 if fits else 1)
        assert not fits or answer.text == f"csrf_token={token}&a=1"


async def test_a_cookie_whose_session_has_ended_is_nobody_s_and_locks_nobody_out(redis: CountingManager) -> None:
    async with browser(lazy(redis)) as alice, browser(lazy(redis)) as late:
        token = (await alice.post("/login")).text
        late.cookies = httpx.Cookies(alice.cookies)
        await alice.post("/logout", headers=show(token))
        assert not is_refused(await late.post("/echo"))
        form = (await late.get("/")).text  # of a page that has not loaded
        assert not is_refused(await late.post("/echo", headers=show(form)))
        after = (await late.post("/login", headers=show("A" * 86))).text
        assert not is_refused(await late.post("/echo", headers=show(after)))
        assert is_refused(await late.post("/echo", headers=show(form)))


async def test_during_the_overlap_the_former_id_is_not_let_in_without_a_token(redis: CountingManager) -> None:
    async with browser(lazy(redis)) as alice, browser(lazy(redis)) as slow:
        before = (await alice.get("/start")).text
        slow.cookies = httpx.Cookies(alice.cookies)
        after = (await alice.post("/login", headers=show(before))).text
        assert is_refused(await slow.post("/echo"))
        assert not is_refused(await slow.post("/echo", headers=show(before)))
        assert not is_refused(await slow.post("/echo", headers=show(after)))
        assert is_refused(await alice.post("/echo", headers=show(before)))


@pytest.mark.parametrize("on_outage", ["closed", "anonymous"])
async def test_while_redis_is_away_nobody_acts_for_the_user(memory: TestRedis, on_outage: Any) -> None:
    app = lazy(memory, sessions=Sessions(lazy=True, on_outage=on_outage))
    async with browser(app) as alice:
        token = (await alice.post("/login")).text
        memory.away = RedisUnavailable("away")
        refused = await alice.post("/echo")
        if on_outage == "closed":
            assert (refused.status_code, refused.json()["detail"]) == (503, "The session cannot be read now.")
        else:
            assert refused.status_code == 200  # with an empty session, that no load fills any more
        assert (await alice.post("/echo", headers=show(token))).status_code == 200
        memory.away = None


async def test_who_was_let_through_in_an_outage_stays_nobody_when_it_is_over(memory: TestRedis) -> None:
    async def act(request: Request) -> PlainTextResponse:
        memory.away = None
        await request.session.load()  # type: ignore[attr-defined]
        return PlainTextResponse(str(request.session.get("user_id")))

    stack = lazy(memory, sessions=Sessions(lazy=True, on_outage="anonymous"))
    acting = GuardMiddleware(Starlette(routes=[Route("/act", act, methods=["POST"])]), stack.guards, redis=memory)
    async with browser(stack) as alice, browser(acting) as victim:
        token = (await alice.post("/login")).text
        victim.cookies = httpx.Cookies(alice.cookies)
        memory.away = RedisUnavailable("away")
        assert (await victim.post("/act")).text == "None"
        assert (await victim.post("/act", headers=show(token))).text == "alice"


async def test_middlewares_in_stacks_of_their_own_are_as_safe(memory: TestRedis) -> None:
    class Between:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    site = lazy(memory).app
    app = SessionMiddleware(Between(CSRFMiddleware(site, key=KEY, redis=memory)), lazy=True, redis=memory)
    async with browser(app) as alice:
        token = (await alice.post("/login")).text
        assert is_refused(await alice.post("/echo"))
        assert not is_refused(await alice.post("/echo", headers=show(token)))
    other = SessionMiddleware(
        Between(GuardMiddleware(App(), [DeviceBinding(on_change="revoke")], redis=memory)), lazy=True, redis=memory
    )
    cookies = "; ".join(f"{name}={value}" for name, value in alice.cookies.items())
    with pytest.raises(SessionNotLoaded):
        await get(other, headers={"cookie": cookies, "host": HOME})


@pytest.mark.parametrize(
    ("guards", "told"),
    [
        ([Sessions(lazy=True), DeviceBinding()], ["DeviceBinding", "session", "<Sessions ", "GUARD_SESSION_LAZY"]),
        ([Sessions(lazy=True), RateLimit("1/second", key="user")], ["RateLimit", "user", "<Sessions ", "lazy"]),
    ],
    ids=["binding", "limit"],
)
def test_who_has_to_know_the_session_does_not_stand_behind_one_that_is_lazy(guards: Any, told: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GuardMiddleware(App(), guards)
    (fault,) = caught.value.faults
    assert [word for word in told if word not in fault] == []


@pytest.mark.parametrize(
    "guards",
    [
        [JWTAuth(SECRET), Sessions(lazy=True), RateLimit("1/second", key="user")],
        [Sessions(lazy=True), JWTAuth(SECRET), RateLimit("1/second", key="user")],
        [RateLimit("1/second", key="user"), Sessions(lazy=True)],
        [Sessions(lazy=True), RateLimit("1/second")],
        [Sessions(), DeviceBinding()],
    ],
    ids=lambda guards: " ".join(guard.kind for guard in guards),
)
def test_who_gets_it_from_elsewhere_does(guards: Any) -> None:
    GuardMiddleware(App(), guards)


def test_a_stack_tells_that_lazy_sessions_ask_nothing_before_the_app() -> None:
    stack = GuardMiddleware(App(), [Sessions(lazy=True), RateLimit("1/second")])
    assert "[(sessions) + ratelimit]" in repr(stack)
