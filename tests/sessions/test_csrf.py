"""`CSRF` behind `Sessions`: whose unsafe requests get through."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from asgi_redis_guard import RateLimit, Sessions
from tests.drive import handshake
from tests.sessions.site import HOME, CountingManager, browser, guarded


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[CountingManager]:
    """A manager on each kind of server in turn."""
    async with CountingManager(backend) as manager:
        yield manager


def show(token: str) -> dict[str, str]:
    """The header that a script of the page sends."""
    return {"x-csrf-token": token}


#: Every reason that there is.
REASONS = {
    "it comes from another origin",
    "its token does not fit the session; it may be one from before a login",
    "it shows no token in the header x-csrf-token",
}


def is_refused(response: httpx.Response) -> bool:
    """Tell whether it is a refusal, which says why and nothing more."""
    if response.status_code == 200:
        return False
    document = response.json()
    reason = document.pop("detail").removeprefix("The CSRF check of the request failed: ").removesuffix(".")
    assert document == {"type": "about:blank", "title": "Forbidden", "status": 403}
    assert reason in REASONS
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    return True


async def test_an_unsafe_request_with_a_session_needs_its_token(redis: CountingManager) -> None:
    app = guarded(redis)
    async with browser(app) as alice, browser(app) as eve:
        token = (await alice.get("/start")).text
        others = (await eve.get("/start")).text
        assert is_refused(await alice.post("/echo"))
        assert is_refused(await alice.post("/echo", headers=show(others)))
        assert is_refused(await alice.post("/echo", headers=show(token[:-2])))
        assert is_refused(await alice.delete("/echo"))
        twice = [("x-csrf-token", token), ("x-csrf-token", token)]
        assert is_refused(await alice.post("/echo", headers=twice))
        assert not is_refused(await alice.post("/echo", headers=show(token)))
        assert not is_refused(await alice.delete("/echo", headers=show(token)))
        assert not is_refused(await alice.get("/echo"))


async def test_tokens_of_one_session_differ_each_time_and_all_fit(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        await alice.get("/start")
        tokens = {(await alice.get("/")).text for _ in range(5)}
        assert len(tokens) == 5
        assert len({token[:8] for token in tokens}) == 5
        for token in tokens:
            assert not is_refused(await alice.post("/echo", headers=show(token)))


async def test_asking_for_a_token_makes_no_session(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as nobody:
        response = await nobody.get("/")
        assert len(response.text) == 86
        assert "set-cookie" not in response.headers
        assert response.headers["vary"] == "Cookie"
        assert redis.round_trips == 0
        assert not is_refused(await nobody.post("/echo", headers=show(response.text)))


async def test_the_token_of_a_page_on_which_the_session_begins_fits(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        token = (await alice.get("/start")).text
        assert not is_refused(await alice.post("/echo", headers=show(token)))


async def test_a_login_changes_the_token_and_its_own_page_has_the_new_one(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        before = (await alice.get("/start")).text
        after = (await alice.post("/login", headers=show(before))).text
        assert is_refused(await alice.post("/echo", headers=show(before)))
        assert not is_refused(await alice.post("/echo", headers=show(after)))


@pytest.mark.parametrize("path", ["/rotate", "/switch", "/login?user=bob"])
async def test_whatever_gives_the_session_another_id_its_page_has_the_new_token(
    redis: CountingManager, path: str
) -> None:
    async with browser(guarded(redis)) as alice:
        before = (await alice.post("/login")).text
        after = (await alice.post(path, headers=show(before))).text
        assert is_refused(await alice.post("/echo", headers=show(before)))
        assert not is_refused(await alice.post("/echo", headers=show(after)))
        assert not is_refused(await alice.post("/echo", headers=show((await alice.get("/")).text)))


async def test_a_page_that_is_made_while_its_session_is_new_and_one_after_it_agree(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        first, second = (await alice.get("/start")).text, (await alice.get("/start")).text
        for token in (first, second):
            assert not is_refused(await alice.post("/echo", headers=show(token)))


async def test_a_login_without_a_session_before_has_the_right_token_at_once(redis: CountingManager) -> None:
    async with browser(guarded(redis)) as alice:
        token = (await alice.post("/login")).text
        assert not is_refused(await alice.post("/echo", headers=show(token)))


async def test_a_request_that_was_on_its_way_during_the_login_is_let_through(redis: CountingManager) -> None:
    app = guarded(redis)
    async with browser(app) as alice, browser(app) as slow:
        before = (await alice.get("/start")).text
        slow.cookies = httpx.Cookies(alice.cookies)  # the request has its cookie already
        after = (await alice.post("/login", headers=show(before))).text
        assert not is_refused(await slow.post("/echo", headers=show(before)))
        assert not is_refused(await slow.post("/echo", headers=show(after)))
        # Who has the former id, which another may have planted, gets no token that fits the new one.
        rendered = (await slow.get("/")).text
        assert is_refused(await alice.post("/echo", headers=show(rendered)))


async def test_a_login_with_the_former_id_has_a_session_and_a_token_of_its_own(redis: CountingManager) -> None:
    app = guarded(redis)
    async with browser(app) as alice, browser(app) as slow:
        before = (await alice.get("/start")).text
        slow.cookies = httpx.Cookies(alice.cookies)
        after = (await alice.post("/login", headers=show(before))).text
        own = (await slow.post("/login?user=bob", headers=show(before))).text
        assert is_refused(await slow.post("/echo", headers=show(after)))
        assert not is_refused(await slow.post("/echo", headers=show(own)))


async def test_a_former_session_s_tokens_are_worth_nothing_without_an_overlap(redis: CountingManager) -> None:
    app = guarded(redis, sessions=Sessions(overlap=0))
    async with browser(app) as alice:
        before = (await alice.get("/start")).text
        await alice.post("/login", headers=show(before))
        assert is_refused(await alice.post("/echo", headers=show(before)))


async def test_nobody_has_nothing_to_forge_but_must_not_come_from_elsewhere(redis: CountingManager) -> None:
    app = guarded(redis)
    async with browser(app) as nobody, browser(app, **{"sec-fetch-site": "cross-site"}) as elsewhere:
        assert not is_refused(await nobody.post("/echo"))
        assert is_refused(await elsewhere.post("/login"))
        assert redis.round_trips == 0


async def test_a_cookie_whose_session_has_ended_is_nobody_s(redis: CountingManager) -> None:
    app = guarded(redis)
    async with browser(app) as alice, browser(app) as late:
        token = (await alice.get("/start")).text
        late.cookies = httpx.Cookies(alice.cookies)
        await alice.post("/logout", headers=show(token))
        assert not is_refused(await late.post("/echo"))
        assert not is_refused(await late.post("/echo", headers=show((await late.get("/")).text)))


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "", "origin": "https://evil.test"},
    ],
    ids=str,
)
async def test_a_token_does_not_help_who_comes_from_elsewhere(redis: CountingManager, headers: dict[str, str]) -> None:
    async with browser(guarded(redis)) as alice:
        token = (await alice.get("/start")).text
        assert is_refused(await alice.post("/echo", headers={**show(token), **headers}))


async def test_a_trusted_origin_still_needs_the_token(redis: CountingManager) -> None:
    app = guarded(redis, origins=["https://app.test"])
    async with browser(app) as alice:
        token = (await alice.get("/start")).text
        trusted = {"sec-fetch-site": "cross-site", "origin": "https://app.test"}
        assert is_refused(await alice.post("/echo", headers=trusted))
        assert not is_refused(await alice.post("/echo", headers={**trusted, **show(token)}))


async def test_a_websocket_is_known_by_its_origin(redis: CountingManager) -> None:
    app = guarded(redis, sessions=Sessions(origins=["https://evil.test"]))
    async with browser(app) as alice:
        await alice.get("/start")
        cookie = "; ".join(f"{name}={value}" for name, value in alice.cookies.items())
    own: Any = {"host": "site.test", "origin": HOME, "cookie": cookie}
    assert (await handshake(app, "/socket", own)).status == 101
    assert (await handshake(app, "/socket", own | {"origin": "https://evil.test"})).json()["status"] == 403
    assert (await handshake(app, "/socket", {"host": "site.test", "origin": "https://evil.test"})).status == 403


async def test_the_stack_makes_one_round_trip_and_a_refusal_leaves_no_trace_of_the_guards_behind(
    redis: CountingManager,
) -> None:
    app = guarded(redis, RateLimit("3/hour"), exempt=["/start"])
    async with browser(app) as alice:
        token = (await alice.get("/start")).text
        redis.round_trips = 0
        assert not is_refused(await alice.post("/echo", headers=show(token)))
        assert redis.round_trips == 1
        for _ in range(5):
            assert is_refused(await alice.post("/echo"))
        assert (await alice.post("/echo", headers=show(token))).status_code == 200
        assert (await alice.post("/echo", headers=show(token))).status_code == 429


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"headers": {"origin": "https://evil.test", "sec-fetch-site": "cross-site"}}, "comes from another origin."),
        ({}, "shows no token in the header x-csrf-token, and bodies that are no forms are not looked into."),
        ({"json": {"csrf_token": "x"}}, "header x-csrf-token, and bodies that are no forms are not looked into."),
        ({"data": {"a": "b"}}, "shows no token in the header x-csrf-token or the form's field csrf_token, once."),
        ({"data": {"a": "b" * 300}}, "header x-csrf-token, and forms of more than 256 bytes are not looked into."),
        ({"data": {"csrf_token": "x"}}, "token does not fit the session; it may be one from before a login."),
        ({"headers": show("x" * 86)}, "token does not fit the session; it may be one from before a login."),
        ({"headers": show("")}, "token does not fit the session; it may be one from before a login."),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
async def test_a_refusal_says_what_failed(redis: CountingManager, lazy: bool, sent: dict[str, Any], why: str) -> None:
    app = guarded(redis, sessions=Sessions(lazy=lazy), field="csrf_token", max_body=256)
    async with browser(guarded(redis)) as alice:
        await alice.get("/start")
        cookies = alice.cookies
    async with browser(app) as alice:
        alice.cookies = cookies
        response = await alice.post("/echo", **sent)
    assert response.status_code == 403
    assert response.json()["detail"].startswith("The CSRF check of the request failed: it")
    assert response.json()["detail"].endswith(why)
