"""Paths, keys and answers with which a client or an app could get around a guard."""

import pytest

from asgi_redis_guard import Answer, Exchange, GuardMiddleware, GuardProtocolError, JWTAuth, Pass, RateLimit
from asgi_redis_guard.core import keys
from asgi_redis_guard.core.paths import PathPatterns
from tests.drive import App, get

SECRET = "x" * 32


@pytest.mark.parametrize("path", ["/api/x", "/api/..", "/api/x/..", "/api/../admin", "/api//x", "/api/x/", "/api\\x"])
def test_a_rule_is_not_dodged_by_a_sloppy_path(path: str) -> None:
    assert PathPatterns(["/api/*"], option="paths", lenient=True).match(path) == "/api/*"


def test_a_rule_with_a_slash_at_its_end_holds() -> None:
    rule = PathPatterns(["/users/*/", "/files/"], option="paths", lenient=True)
    assert rule.match("/users/bob/") == rule.match("/users/bob") == "/users/*/"
    assert rule.match("/files") is not None


@pytest.mark.parametrize("path", ["/api/..", "/api//x", "/api/./x", "/api\\x", "x/api/y"])
def test_an_exemption_does_not_hold_for_a_sloppy_path(path: str) -> None:
    assert PathPatterns(["/api/*"]).match(path) is None


def test_long_parts_of_a_key_are_not_remembered() -> None:
    before = keys._remembered.cache_info().currsize
    for number in range(100):
        keys.digest("header", b"x" * 1000 + b"%d" % number)
    assert keys._remembered.cache_info().currsize == before
    assert keys.digest("a" * 300) != keys.digest("a" * 301)


async def test_an_on_refused_that_lets_pass_is_a_fault_and_not_an_open_door() -> None:
    def open_door(exchange: Exchange, answer: Answer) -> Answer:
        return Pass()  # type: ignore[return-value]

    app = App()
    stack = GuardMiddleware(app, [JWTAuth(SECRET, on_refused=open_door)], redis="memory://")
    with pytest.raises(GuardProtocolError, match="on_refused"):
        await get(stack)


async def test_a_root_path_in_the_middle_of_the_path_exempts_nothing_and_dodges_no_rule() -> None:
    guard = JWTAuth(SECRET, exempt=["/static/*"])
    limit = RateLimit("1/minute", paths=["/login"])
    scope = {"type": "http", "method": "GET", "headers": [], "root_path": "/api", "client": ("127.0.0.1", 1)}

    def exchange(path: str) -> Exchange:
        return Exchange({**scope, "path": path}, 0.0, bytes, keys.Keys())

    assert guard.applies(exchange("/static/api/admin"))
    assert not guard.applies(exchange("/static/logo"))
    assert not guard.applies(exchange("/api/static/logo"))
    found = limit.rules.find(exchange("/x/api/login"))
    assert found is not None
    assert found.pattern == "/login"
