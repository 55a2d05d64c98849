"""The options of `ResponseCache`: by keyword and from the environment, what is wrong with them; its place in stacks."""

import dataclasses
import inspect
import logging
from typing import Any, get_type_hints

import pytest

from asgi_redis_guard import (
    ConfigurationError,
    GuardMiddleware,
    JWTAuth,
    RateLimit,
    RedisManager,
    ResponseCache,
    ResponseCacheMiddleware,
    Sessions,
    Settings,
)
from asgi_redis_guard.cache.options import Options, ResponseCacheOptions
from asgi_redis_guard.middleware import fusion
from asgi_redis_guard.stack import build_stack
from tests.drive import App, get

SECRET = "a secret of at least 32 bytes, for tests alone"


def test_the_list_for_type_checkers_is_that_of_the_guard() -> None:
    hints = get_type_hints(ResponseCacheOptions, include_extras=True)
    assert hints == get_type_hints(Options, include_extras=True)
    assert list(hints) == [option.name for option in dataclasses.fields(Options)]


def test_its_signature_shows_every_option_and_its_default() -> None:
    shown = inspect.signature(ResponseCache).parameters
    assert list(shown) == [option.name for option in dataclasses.fields(Options)]
    assert (shown["profile"].default, shown["wait"].default) == ("app", 10.0)
    assert {one.kind for one in shown.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("make", [ResponseCache, lambda **options: ResponseCacheMiddleware(App(), **options)])
def test_an_option_that_does_not_exist_is_named_and_the_one_that_was_meant(make: Any) -> None:
    with pytest.raises(TypeError, match="no option 'tll'; did you mean 'ttl'"):
        make(tll=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": "web"}, "profile: 'web' given"),
        ({"swr": 1}, "swr: given without ttl"),
        ({"sie": 1}, "sie: given without ttl"),
        ({"profile": "http", "ttl": 1}, "ttl: given with profile 'http'"),
        ({"ttl": 0}, "ttl: 0 given"),
        ({"ttl": "60"}, "ttl: '60' given"),
        ({"statuses": [200, 206]}, "statuses: 206 given"),
        ({"jitter": "much"}, "jitter: 'much' given"),
        ({"early": None}, "early: None given"),
        ({"memory_ttl": 61}, "memory_ttl: 61 given"),
        ({"integrity_key": SECRET[:5]}, "integrity_key: given is not 16 or more bytes"),
        ({"integrity_key": 5}, "integrity_key: given is not"),
        ({"cache_status": "é"}, "cache_status: 'é' given"),
        ({"cache_status": 1}, "cache_status: 1 given"),
        ({"credentials": ["a b"]}, "credentials: 'a b' given"),
        ({"hosts": "a b"}, "hosts: 'a b' given"),
        ({"on_event": 1}, "on_event: 1 given"),
        ({"max_body": -1}, "max_body: -1 given"),
    ],
)
def test_what_an_option_cannot_be_is_told(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        ResponseCache(**options)
    assert SECRET[:5] not in str(caught.value)


def test_an_iterator_and_a_single_one_are_lists_as_well() -> None:
    given = ResponseCache(credentials=iter(["x-key", "authorization"]), targets="cdn-cache-control").options
    assert given.rules().credentials == {b"x-key", b"authorization"}
    assert given.rules().targets == (b"cdn-cache-control",)


# Settings.


def of_settings(**options: Any) -> ResponseCache:
    (guard,) = build_stack(Settings(stack="cache", **options))
    assert isinstance(guard, ResponseCache)
    return guard


def test_without_settings_it_is_as_without_options() -> None:
    one, other = of_settings().options, ResponseCache().options
    assert {name: getattr(one, name) for name in ResponseCacheOptions.__annotations__} == {
        name: getattr(other, name) for name in ResponseCacheOptions.__annotations__
    }


def test_every_option_that_is_plain_has_a_setting_and_reaches_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "profile": ("app", "app"),
        "ttl": ("60", 60.0),
        "swr": ("5", 5.0),
        "sie": ("6", 6.0),
        "statuses": ("200, 404", (200, 404)),
        "hosts": ("a.test, *.b.test", ("a.test", "*.b.test")),
        "sort_query": ("true", True),
        "ignore_query": ("utm_*", ("utm_*",)),
        "credentials": ("x-key", ("x-key",)),
        "targets": ("cdn-cache-control", ("cdn-cache-control",)),
        "client_control": ("true", True),
        "heuristic": ("no", False),
        "ranges": ("no", False),
        "max_body": ("1000", 1000),
        "compress_from": ("never", None),
        "integrity_key": (SECRET, SECRET),
        "wait": ("1", 1.0),
        "pass_for": ("2", 2.0),
        "keep": ("3", 3.0),
        "jitter": ("0.1", 0.1),
        "early": ("0", 0.0),
        "remembered": ("0", 0),
        "memory_ttl": ("1.5", 1.5),
        "read_from_replicas": ("yes", True),
        "invalidates_unsafe": ("no", False),
        "cache_status": ("none", None),
        "exempt": ("/admin/*", ("/admin/*",)),
    }
    code = {"on_event", "name", "store_cookies"}
    assert told.keys() == ResponseCacheOptions.__annotations__.keys() - code
    for name, (text, _) in told.items():
        monkeypatch.setenv(f"GUARD_CACHE_{name.removeprefix('cache_').upper()}", text)
    given = of_settings().options
    assert {name: getattr(given, name) for name in told} == {name: value for name, (_, value) in told.items()}
    assert SECRET not in repr(Settings())
    monkeypatch.undo()
    assert of_settings(cache_profile="http", cache_store_cookies=True).options.store_cookies


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PROFILE", "web", "Input should be 'app' or 'http'"),
        ("TTL", "0", "allowed are 0.001 to"),
        ("TTL", "soon", "valid number"),
        ("SWR", "5", "given without ttl"),
        ("STATUSES", "304", "304 given"),
        ("STATUSES", "ok", "valid integer"),
        ("HOSTS", "a b", "'a b' given"),
        ("IGNORE_QUERY", "*a", "given"),
        ("COMPRESS_FROM", "-1", "allowed are bytes from 0"),
        ("INTEGRITY_KEY", "short", "16 or more bytes"),
        ("STATUS", "x" * 65, "1 to 64 characters"),
        ("JITTER", "1", "from 0 to 0.5"),
        ("STORE_COOKIES", "yes", "allowed with 'http'"),
        ("EXEMPT", "admin", "a pattern starts with '/'"),
    ],
)
def test_a_fault_names_the_variable_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"GUARD_CACHE_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        of_settings()
    told = str(caught.value)
    assert f"(GUARD_CACHE_{name}): " in told
    assert words in told
    assert "short" not in told


def test_a_variable_that_is_misspelt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_CACHE_HOST", "a.test")
    with pytest.raises(ConfigurationError, match="did you mean GUARD_CACHE_HOSTS"):
        Settings()


# Its place.


def test_a_cache_outside_of_who_tells_users_apart_is_refused_and_so_is_a_second_one() -> None:
    redis = RedisManager("memory://")
    for other in (JWTAuth(SECRET), Sessions(https_only=False)):
        with pytest.raises(ConfigurationError, match=f"cache stands outside of {other.name}; add it before"):
            GuardMiddleware(App(), [ResponseCache(), other], redis=redis)
        with pytest.raises(ConfigurationError, match="cache stands outside of"):
            ResponseCacheMiddleware(GuardMiddleware(App(), [other], redis=redis), redis=redis)
        GuardMiddleware(App(), [other, ResponseCache()], redis=redis)
    with pytest.raises(ConfigurationError, match="cache stands twice in one stack"):
        GuardMiddleware(App(), [ResponseCache(), RateLimit("1/hour"), ResponseCache(name="other")], redis=redis)


class Between:
    """A middleware of somebody else's."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def test_in_two_stacks_there_is_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion._warnings, "_told", set())
    caplog.set_level(logging.WARNING)
    redis = RedisManager("memory://")
    inner = GuardMiddleware(App(), [JWTAuth(SECRET, optional=True), ResponseCache(name="inner")], redis=redis)
    GuardMiddleware(Between(GuardMiddleware(App(), [ResponseCache()], redis=redis)), [JWTAuth(SECRET)], redis=redis)
    assert caplog.text == ""
    outer = ResponseCacheMiddleware(Between(inner), redis=redis)
    assert [text.partition("]")[0] for text in caplog.messages] == ["[wrong-order", "[stands-twice"]
    assert "<ResponseCache cache: app> stands outside of <JWTAuth jwt" in caplog.messages[0]
    assert (await get(outer)).status == 200
    await redis.aclose()
