"""`RateLimitMiddleware`: limits and options or a policy, and the same decisions as the engine's."""

import dataclasses
import inspect
from typing import Any, get_type_hints

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, MessageLimit, RateLimit, RateLimitMiddleware
from asgi_redis_guard.ratelimit.options import Options, RateLimitOptions
from tests.drive import App, get
from tests.ratelimit.conftest import CountingManager


async def test_limits_and_options_are_given_to_the_guard(manager: CountingManager) -> None:
    app = RateLimitMiddleware(App(), "1/hour", "9/day", name="api", redis=manager)
    assert repr(app.guards[0]) == "<RateLimit api: 1 per 3600 s, 9 per 86400 s by address>"
    assert [(await get(app)).status for _ in range(2)] == [200, 429]


async def test_a_policy_may_be_shared(manager: CountingManager) -> None:
    policy = RateLimit("2/hour")
    one, other = (RateLimitMiddleware(App(), guard=policy, redis=manager) for _ in range(2))
    assert one.guards == other.guards == (policy,)
    assert [(await get(app)).status for app in (one, other, one)] == [200, 200, 429]


def test_it_takes_every_option_of_the_guard() -> None:
    hints = get_type_hints(RateLimitOptions, include_extras=True)
    assert hints == get_type_hints(Options, include_extras=True)
    assert list(hints) == [option.name for option in dataclasses.fields(Options)]


def test_an_option_that_does_not_exist_is_named_and_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match="no option 'brust'; did you mean 'burst'"):
        RateLimit("5/minute", brust=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ban": True}, "ban: True given"),
        ({"rules": ["/a"]}, "rules: \\['/a'\\] given"),
        ({"rules": {"/u/<id>": "1/hour"}}, "in braces"),
        ({"key": None}, "key .*None given"),
        ({"cost": 6}, "cost: 6 given; the limit 'minute' never has room for more than 5"),
    ],
)
def test_what_an_option_cannot_be_is_told(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RateLimit("5/minute", **options)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (["5/minute"], "one after the other"),
        ("5/0 minutes", "given"),
        ("5 per 00 second", "given"),
        ("5/min", "units second"),
    ],
)
def test_what_a_limit_cannot_be_is_told(limit: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RateLimit(limit)


def test_what_is_no_guard_is_told(manager: CountingManager) -> None:
    for wrong in ("100/minute", RateLimit):
        with pytest.raises(ConfigurationError, match="allowed are guards"):
            GuardMiddleware(App(), [wrong], redis=manager)  # type: ignore[list-item]


def test_faults_are_told_when_it_is_built() -> None:
    with pytest.raises(ConfigurationError, match="none given"):
        RateLimitMiddleware(App())
    with pytest.raises(ConfigurationError, match="sometimes"):
        RateLimitMiddleware(App(), "sometimes")


def test_its_signature_shows_every_option_and_its_default() -> None:
    shown = inspect.signature(RateLimit).parameters
    assert [name for name in shown if name != "limits"] == [option.name for option in dataclasses.fields(Options)]
    assert (shown["algorithm"].default, shown["deny_cache"].default) == ("gcra", 1.0)
    assert inspect.signature(MessageLimit).parameters["on_breach"].default == "close"
