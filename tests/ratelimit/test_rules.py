"""`ratelimit/rules.py`: which limits a request falls under, whatever it makes of its path."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RateLimit
from tests.drive import App, get, handshake, http_scope
from tests.middleware.calls import Call
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import left, statuses, times

HOUR: dict[str, Any] = {"algorithm": "fixed"}


async def test_a_rule_stands_in_the_place_of_the_guard_s_own_limits(limited: Limited) -> None:
    app = limited(RateLimit("3/hour", rules={"/search/*": "1/hour"}))
    assert await statuses(app, "/search/a", "/search/b", "/", "/", "/", "/") == [200, 429, 200, 200, 200, 429]


async def test_a_rule_of_none_is_no_limit(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("1/hour", rules={"/health": None, "/static/*": None}))
    assert await statuses(app, "/health", "/health", "/static/a", "/static/b/c") == [200] * 4
    assert not (await get(app, "/health")).all("ratelimit")
    assert manager.round_trips == 0
    assert await times(app, 2) == [200, 429]


async def test_rules_alone_leave_everything_else_alone(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit(rules={"/login": "1/hour"}))
    assert await times(app, 3, "/other") == [200] * 3
    assert manager.round_trips == 0
    assert await times(app, 2, "/login") == [200, 429]


async def test_a_rule_may_have_several_limits(limited: Limited) -> None:
    app = limited(RateLimit(rules={"/a": ["1/hour", "5/day"], "/b": "2/hour; 9/day"}, **HOUR))
    assert left(await get(app, "/a")) == {"hour": 0, "day": 4}
    assert left(await get(app, "/b")) == {"hour": 1, "day": 8}


async def test_path_parameters_share_one_count(limited: Limited) -> None:
    """Trap 7: a concrete path in the key gives each parameter a bucket of its own."""
    app = limited(RateLimit(rules={"/users/{id}": "2/hour", "/users/{id}/posts/{post}": "1/hour"}))
    assert await statuses(app, "/users/1", "/users/2", "/users/3") == [200, 200, 429]
    assert await statuses(app, "/users/1/posts/1", "/users/2/posts/2") == [200, 429]


async def test_a_placeholder_stands_for_one_segment(limited: Limited) -> None:
    """Else the rule of an item would swallow the rules of all that is beneath it."""
    rules = {"/users/{id}": "1/hour", "/users/{id}/posts": "3/hour"}
    app = limited(RateLimit("9/hour", rules=rules, **HOUR))
    assert [
        left(await get(app, path))["hour"] for path in ("/users/1", "/users/1/posts", "/users/1/x/y", "/users")
    ] == [*(0, 2, 8, 7)]


async def test_a_path_converter_stands_for_several_segments(limited: Limited) -> None:
    app = limited(RateLimit(rules={"/files/{name:path}": "2/hour"}))
    assert await statuses(app, "/files/a", "/files/a/b/c", "/files/x") == [200, 200, 429]


async def test_an_exact_path_counts_before_patterns_and_these_in_their_order(limited: Limited) -> None:
    rules = {"/a/*": "5/hour", "/a/{x}/c": "6/hour", "/a/b": "7/hour", "/*": "8/hour"}
    app = limited(RateLimit(rules=rules, **HOUR))
    assert [left(await get(app, path))["hour"] for path in ("/a/b", "/a/x", "/a/x/c", "/b")] == [6, 4, 3, 7]


@pytest.mark.parametrize("turned", [False, True])
async def test_a_rule_that_names_the_method_counts_before_one_that_does_not(limited: Limited, turned: bool) -> None:
    """In either order: the tight limit on logins must not vanish behind the wide one on the same path."""
    rules = [("POST /login", "1/hour"), ("/login", "9/hour")]
    app = limited(RateLimit(rules=dict(reversed(rules) if turned else rules), **HOUR))
    assert left(await get(app, "/login", method="POST")) == {"hour": 0}
    assert left(await get(app, "/login")) == {"hour": 8}
    assert left(await get(app, "/login", method="PUT")) == {"hour": 7}


async def test_a_rule_may_name_several_methods(limited: Limited) -> None:
    app = limited(RateLimit(rules={"GET|DELETE /x": "2/hour"}))
    said = [(await get(app, "/x", method=method)).status for method in ("GET", "POST", "DELETE", "HEAD", "POST")]
    assert said == [200, 200, 200, 429, 200]


async def test_a_rule_for_get_is_one_for_head_and_for_websockets(limited: Limited) -> None:
    app = limited(RateLimit(rules={"GET /x": "2/hour"}))
    assert (await get(app, "/x", method="HEAD")).status == 200
    assert (await handshake(app, "/x")).status == 101
    assert (await handshake(app, "/x")).status == 429
    assert (await get(app, "/x")).status == 429


@pytest.mark.parametrize("method", ["post", "Post", "pOST"])
async def test_a_method_in_other_letters_does_not_dodge_a_rule(limited: Limited, method: str) -> None:
    """Servers pass it on as it came, and some routers (Quart's) do not mind the case."""
    app = limited(RateLimit(rules={"POST /login": "1/hour"}))
    assert await times(app, 1, "/login", method="POST") == [200]
    assert await times(app, 1, "/login", method=method) == [429]


async def test_a_method_that_nobody_names_falls_under_the_rest(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", rules={"POST /x": "9/hour", "/x": "3/hour"}))
    assert await times(app, 4, "/x", method="BREW") == [200, 200, 200, 429]
    assert await times(app, 2, "/y", method="BREW") == [200, 429]


@pytest.mark.parametrize(
    "sloppy", ["//login", "/login/", "//login//", "/./login", "/login/.", "\\login", "/\\/login", "/login\\"]
)
async def test_a_sloppy_path_does_not_dodge_a_rule(limited: Limited, sloppy: str) -> None:
    rules = {"POST /login": "1/hour", "/items/{id}/buy": "1/hour"}
    app = limited(RateLimit("99/hour", rules=rules))
    assert await times(app, 1, "/login", method="POST") == [200]
    assert await times(app, 1, sloppy, method="POST") == [429]
    bought = sloppy.replace("login", "items/7/buy")
    assert await statuses(app, "/items/8/buy", bought) == [200, 429]


@pytest.mark.parametrize("written", ["/login", "/login/", "//login"])
async def test_a_rule_written_with_more_slashes_is_the_same_rule(limited: Limited, written: str) -> None:
    app = limited(RateLimit(rules={written: "1/hour"}))
    assert await statuses(app, "/login", "/login/") == [200, 429]


async def test_rules_are_for_paths_below_the_root_path(limited: Limited) -> None:
    app = limited(RateLimit(rules={"/login": "1/hour"}))
    assert await times(app, 2, "/api/login", root_path="/api") == [200, 429]
    assert await times(app, 1, "/login") == [429]
    assert await times(app, 2, "/api/login") == [200, 200], "which is another path where nothing is mounted"


async def test_a_path_that_may_be_read_in_two_ways_is_counted_by_either(limited: Limited) -> None:
    app = limited(RateLimit(rules={"/login": "1/hour"}))
    assert await times(app, 1, "/login") == [200]
    assert await times(app, 1, "/x/api/login", root_path="/api") == [429]


async def test_rules_of_different_guards_and_of_one_guard_do_not_share_counts(limited: Limited) -> None:
    rules = RateLimit("9/hour", rules={"/a": "2/hour", "/b": "2/hour"}, **HOUR)
    app = limited(rules, RateLimit("5/hour", rules={"/a": "4/hour"}, name="other", **HOUR))
    assert left(await get(app, "/a")) == {"hour": 1, "other": 3}
    assert left(await get(app, "/b")) == {"hour": 1, "other": 4}
    assert left(await get(app, "/")) == {"hour": 8, "other": 3}


async def test_a_function_that_tells_limits_is_asked_where_no_rule_stands(limited: Limited) -> None:
    app = limited(RateLimit(lambda exchange: "2/hour", rules={"/a": "1/hour"}))
    assert await statuses(app, "/a", "/a", "/", "/", "/") == [200, 429, 200, 200, 429]


async def test_paths_are_for_the_guard_s_own_limits_and_rules_for_themselves(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", paths=["/a/*"], rules={"/b": "2/hour"}))
    assert await statuses(app, "/a/1", "/a/2", "/b", "/b", "/b", "/c") == [200, 429, 200, 200, 429, 200]


async def test_the_pattern_of_a_rule_can_be_part_of_the_key(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", rules={"/a/{x}": "1/hour"}, key=["path", "address"]))
    assert await statuses(app, "/a/1", "/a/2", "/", "/b") == [200, 429, 200, 429]


async def test_a_request_costs_one_round_trip_whatever_its_rule(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("9/hour; 9/day", rules={"/a": "9/hour; 9/day", "POST /{x}": "3/hour"}))
    await statuses(app, "/", "/a", "/b")
    await times(app, 1, "/a", method="POST")
    assert manager.round_trips == 4


def test_what_is_wrong_with_rules_is_told_all_at_once_and_by_name() -> None:
    rules: Any = {"login": "1/hour", "/a": "x", "/b*": "1/hour", "post /c": "1/hour", "/d": "0/hour", 5: "1/hour"}
    with pytest.raises(ConfigurationError) as caught:
        RateLimit("many", rules=rules, algorithm="fixed", burst=2, name="ü")
    told = "\n".join(caught.value.faults)
    for part in ("'login'", "'x'", "/b", "'post /c'", "0 per 3600", "5 given", "'many'", "burst", "name"):
        assert part in told, part
    assert len(caught.value.faults) == 9
    assert all(
        fault.startswith(("rules: ", "limits (GUARD_LIMITS): ", "burst: ", "name: ")) for fault in caught.value.faults
    )


@pytest.mark.parametrize(
    "twice", [("/users/{id}", "/users/{name}"), ("/login", "/login/"), ("GET /a", "GET //a"), ("/a/{x}", "/a/{}")]
)
def test_two_rules_for_the_same_requests_are_a_fault(twice: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"rules: .* given; .* stands for the same requests"):
        RateLimit(rules=dict.fromkeys(twice, "1/hour"))


def test_a_rule_beside_one_for_some_of_its_methods_is_none() -> None:
    RateLimit(rules={"GET /a": "1/hour", "POST /a": "1/hour", "/a": "1/hour", "GET|POST /a/{x}": "2/hour"})


def test_without_any_limit_there_is_a_fault() -> None:
    for nothing in ({}, {"rules": {}}, {"paths": ["/a"]}):
        with pytest.raises(ConfigurationError, match="none given"):
            RateLimit(**nothing)  # type: ignore[arg-type]


async def test_the_app_s_own_scope_is_left_as_it_is(limited: Limited, inner: App) -> None:
    app = limited(RateLimit(rules={"/login": "1/hour"}))
    scope = http_scope("//login/")
    await Call(app, scope).run()
    assert inner.scope["path"] == "//login/"
