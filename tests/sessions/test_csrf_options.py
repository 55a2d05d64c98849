"""`CSRF` as it can be set, where it may stand, and what it makes of hostile tokens."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard import (
    CSRF,
    PASS,
    Admission,
    Answer,
    Body,
    ConfigurationError,
    CSRFMiddleware,
    Exchange,
    Guard,
    GuardMiddleware,
    JWTAuth,
    RedisManager,
    SessionMiddleware,
    Sessions,
    problem,
)
from asgi_redis_guard.core.csrf_token import fits, make_token
from asgi_redis_guard.errors import RedisUnavailable
from tests.drive import App, get
from tests.middleware.calls import TestRedis
from tests.sessions.site import KEY, CountingManager, browser, guarded, site

JWT_KEY = "a key that signs tokens, of at least 32 bytes"


@pytest.fixture
async def redis() -> AsyncIterator[CountingManager]:
    """Everything in this process."""
    async with CountingManager("memory://") as manager:
        yield manager


async def test_the_header_can_have_another_name(redis: CountingManager) -> None:
    async with browser(guarded(redis, header="X-XSRF-Token")) as alice:
        token = (await alice.get("/start")).text
        assert (await alice.post("/echo", headers={"x-csrf-token": token})).status_code == 403
        assert (await alice.post("/echo", headers={"x-xsrf-token": token})).status_code == 200


@pytest.mark.parametrize("upload", [False, True])
async def test_a_form_can_carry_the_token_and_the_app_gets_all_of_it(redis: CountingManager, upload: bool) -> None:
    async with browser(guarded(redis, field="csrf_token")) as alice:
        token = (await alice.get("/start")).text
        form: dict[str, Any] = {"files": {"picture": b"\x89PNG\r\n--\r\n"}} if upload else {}
        request = alice.build_request("POST", "/echo", data={"name": "Ä & b", "csrf_token": token}, **form)
        body = await request.aread()
        response = await alice.send(request)
        assert (response.status_code, response.content) == (200, body)
        assert redis.round_trips == 2, "one for each request; the form is read when the session is known"
        assert (await alice.post("/echo", data={"name": "a", "csrf_token": token[1:]}, **form)).status_code == 403
        assert (await alice.post("/echo", data={"name": "a"}, **form)).status_code == 403
        assert (await alice.post("/echo", data={"csrf_token": [token, token]}, **form)).status_code == 403


async def test_without_a_field_s_name_no_body_is_read(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        token = (await alice.get("/start")).text
        assert (await alice.post("/echo", data={"csrf_token": token})).status_code == 403


async def test_a_body_that_is_no_form_or_too_long_holds_no_token(redis: CountingManager) -> None:
    async with browser(guarded(redis, field="csrf_token", max_body=1000)) as alice:
        token = (await alice.get("/start")).text
        assert (await alice.post("/echo", json={"csrf_token": token})).status_code == 403
        plain = {"content-type": "text/plain"}
        assert (await alice.post("/echo", content=f"csrf_token={token}", headers=plain)).status_code == 403
        assert (await alice.post("/echo", data={"csrf_token": token, "more": "x" * 1000})).status_code == 403
        header = {"x-csrf-token": token}
        response = await alice.post("/echo", data={"more": "x" * 1000}, headers=header)
        assert response.text == "more=" + "x" * 1000


async def test_exempt_paths_need_nothing(redis: CountingManager) -> None:
    app = guarded(redis, exempt=["/echo"])
    async with browser(app, **{"sec-fetch-site": "cross-site"}) as alice:
        assert len((await alice.get("/start")).text) == 86
        assert (await alice.post("/echo")).status_code == 200
        assert (await alice.post("/login")).status_code == 403


async def test_on_refused_makes_the_response_of_its_own(redis: CountingManager) -> None:
    reasons = []

    def own(exchange: Exchange, answer: Answer) -> Answer:
        reasons.append(answer.reason)
        return problem(400, "own", "Reload the page.")

    async with browser(guarded(redis, on_refused=own), origin="https://evil.test") as alice:
        await alice.get("/start")
        assert (await alice.post("/echo")).status_code == 400
        assert (await alice.post("/echo", headers={"sec-fetch-site": "none"})).status_code == 400
    assert reasons == ["csrf_failed", "csrf_failed"]


@pytest.mark.parametrize("exempt", [False, True])
async def test_what_a_header_authenticates_is_not_forged_if_so_set(redis: CountingManager, exempt: bool) -> None:
    auth = JWTAuth(JWT_KEY, cookie="token", optional=True, required=(), max_lifetime=1e10, revocation=False)
    app = guarded(redis, before=[auth], bearer_exempt=exempt)
    signed = jwt.encode({"sub": "alice"}, JWT_KEY)
    async with browser(app) as alice:
        await alice.get("/start")
        bearer = {"authorization": f"Bearer {signed}"}
        assert (await alice.post("/echo", headers=bearer)).status_code == (200 if exempt else 403)
        assert (await alice.post("/echo", headers={"authorization": "Basic YTpi"})).status_code == 403
        alice.cookies.set("token", signed)
        assert (await alice.post("/echo")).status_code == 403
        assert (await alice.post("/echo", headers={"authorization": "Basic YTpi"})).status_code == 403


class Late(Guard):
    """Waits, so that what stands behind it knows all that what stands before it has found."""

    def admit(self, exchange: Exchange) -> Admission:
        yield Body(0)
        return PASS


async def test_an_authorization_header_that_nobody_has_verified_exempts_from_nothing(redis: CountingManager) -> None:
    async with browser(guarded(redis, bearer_exempt=True)) as alice:
        await alice.get("/start")
        assert (await alice.post("/echo", headers={"authorization": "Bearer x"})).status_code == 403
    stack = GuardMiddleware(site(), [Sessions(), Late(), CSRF(KEY, bearer_exempt=True)], redis=redis)
    async with browser(stack) as alice:
        await alice.post("/login")
        assert (await alice.post("/echo", headers={"authorization": "Bearer x"})).status_code == 403


async def test_while_redis_is_away_nobody_is_told_to_show_a_token_of_a_session_that_the_app_does_not_see() -> None:
    cookie = {"cookie": f"__Host-session={'a' * 51}", "host": "site.test", "origin": "https://site.test"}
    async with RedisManager("redis://127.0.0.1:1", timeout=0.5) as away:
        app = App()
        open_stack = GuardMiddleware(app, [Sessions(on_outage="anonymous"), CSRF(KEY)], redis=away)
        assert (await get(open_stack, headers=cookie, method="POST")).status == 200
        assert app.scope["session"] == {}
        crossing = cookie | {"origin": "https://evil.test"}
        assert (await get(open_stack, headers=crossing, method="POST")).status == 403
        closed_stack = GuardMiddleware(app, [Sessions(), CSRF(KEY)], redis=away)
        assert (await get(closed_stack, headers=cookie, method="POST")).status == 503


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_page_made_while_the_session_cannot_be_read_has_tokens_of_that_session(
    memory: TestRedis, lazy: bool
) -> None:
    sessions = Sessions(on_outage="anonymous", lazy=lazy)
    async with browser(GuardMiddleware(site(), [Sessions(), CSRF(KEY)], redis=memory)) as alice:
        await alice.post("/login")
        during = httpx.AsyncClient(
            transport=httpx.ASGITransport(GuardMiddleware(site(), [sessions, CSRF(KEY)], redis=memory)),
            base_url=alice.base_url,
            cookies=alice.cookies,
        )
        memory.away = RedisUnavailable("away")
        page = await during.get("/")
        memory.away = None
        assert (page.status_code, "set-cookie" in page.headers) == (200, False)
        assert (await alice.post("/echo", headers={"x-csrf-token": page.text})).status_code == 200


def test_it_must_stand_behind_the_sessions() -> None:
    with pytest.raises(ConfigurationError, match="csrf needs session_id, which only sessions behind it can tell"):
        GuardMiddleware(App(), [CSRF(KEY), Sessions()])
    with pytest.raises(ConfigurationError, match="middlewares added later run first"):
        CSRFMiddleware(SessionMiddleware(App()), key=KEY)
    assert repr(SessionMiddleware(CSRFMiddleware(App(), key=KEY))).startswith("<SessionMiddleware [sessions + (csrf)]")


def test_it_must_stand_behind_sessions_of_another_stack_too() -> None:
    inner = GuardMiddleware(SessionMiddleware(App(), redis="memory://"), [JWTAuth(JWT_KEY)])
    with pytest.raises(ConfigurationError, match="csrf stands outside of sessions"):
        CSRFMiddleware(inner, key=KEY)


async def test_sessions_may_be_those_of_a_stack_further_out(redis: CountingManager) -> None:
    async with RedisManager("memory://") as other:
        app = SessionMiddleware(CSRFMiddleware(site(), key=KEY, redis=other), redis=redis)
        async with browser(app) as alice:
            token = (await alice.get("/start")).text
            assert (await alice.post("/echo")).status_code == 403
            assert (await alice.post("/echo", headers={"x-csrf-token": token})).status_code == 200


async def test_sessions_that_are_somebody_else_s_are_a_fault_and_not_an_open_door(redis: CountingManager) -> None:
    app = CSRFMiddleware(App(), key=KEY, redis=redis)
    with pytest.raises(ConfigurationError, match="the session is a dict"):
        await get(app, method="POST", session={"user_id": "alice"})


async def test_where_there_are_no_sessions_there_is_no_token(redis: CountingManager) -> None:
    app = App()
    stack = CSRFMiddleware(app, key=KEY, redis=redis)
    assert (await get(stack)).status == 200
    assert (await get(stack, method="POST")).status == 403
    assert app.scope["csrf_token"]() == ""
    assert repr(app.scope["csrf_token"]) == "<CSRFToken>"


def test_a_guard_and_options_are_one_or_the_other() -> None:
    assert CSRFMiddleware(App(), guard=CSRF(KEY)).guards
    with pytest.raises(ConfigurationError, match="guard: given together with key, field"):
        CSRFMiddleware(App(), guard=CSRF(KEY), key=KEY, field="token")


def test_all_options_that_cannot_work_are_told_at_once_and_no_secret_is() -> None:
    async def wrong(exchange: Exchange, answer: Answer) -> Answer:
        return answer

    with pytest.raises(ConfigurationError) as caught:
        CSRF("short secret", header="a b", field='"', max_body=1, origins="app.test", on_refused=wrong)  # type: ignore[arg-type]
    names = [fault.partition(":")[0].partition(" ")[0] for fault in caught.value.faults]
    assert names == ["key", "header", "field", "max_body", "origins", "on_refused"]
    assert "short secret" not in str(caught.value)
    assert repr(CSRF(KEY)) == "<CSRF csrf: x-csrf-token>"
    assert repr(CSRF(KEY.encode(), name="forms")) == "<CSRF forms: x-csrf-token>"


masks = st.binary(min_size=32, max_size=32)


@given(masks, st.binary(min_size=1), st.binary(min_size=1))
def test_a_token_fits_its_own_handle_and_key_alone(mask: bytes, handle: bytes, other: bytes) -> None:
    token = make_token(b"k" * 16, handle, mask).encode()
    assert fits(b"k" * 16, token, handle)
    assert fits(b"k" * 16, token, other) is (handle == other)
    assert not fits(b"l" * 16, token, handle)
    assert not fits(b"k" * 16, token, None)


@given(st.one_of(st.none(), st.binary(max_size=200), st.from_regex(rb"[A-Za-z0-9_-]{86}", fullmatch=True)))
def test_a_made_up_token_fits_nothing(token: bytes | None) -> None:
    assert not fits(b"k" * 16, token, b"handle")
