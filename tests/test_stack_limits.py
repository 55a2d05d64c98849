"""`stack.py`: limits from the environment, whole or not at all."""

from typing import Any

import pytest

from asgi_redis_guard import ConcurrencyLimit, ConfigurationError, GuardMiddleware, RateLimit, RedisManager, Settings
from asgi_redis_guard.core.guard import Guard
from asgi_redis_guard.stack import build_stack
from tests.drive import App, get
from tests.redis.tools import PATIENCE


def made(monkeypatch: pytest.MonkeyPatch, stack: str, **variables: str) -> Guard:
    """The one guard that `GUARD_…` variables make."""
    for name, value in variables.items():
        monkeypatch.setenv(f"GUARD_{name}", value)
    (guard,) = build_stack(Settings(stack=stack))
    return guard


def limit(monkeypatch: pytest.MonkeyPatch, **variables: str) -> RateLimit:
    """The limit that `GUARD_LIMIT_…` variables make."""
    guard = made(monkeypatch, "ratelimit", **{f"LIMIT_{name}": value for name, value in variables.items()})
    assert isinstance(guard, RateLimit)
    return guard


def test_every_variable_of_a_limit_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_LIMITS", "10/day, 100/month")
    plain = limit(monkeypatch).options
    assert (plain.workers, plain.draft, plain.legacy_headers) == (1, "11", False)
    assert [plain.shadow, plain.changeable, plain.statistics] == [False] * 3
    given = limit(
        monkeypatch,
        ALGORITHM="calendar",
        TIMEZONE="Europe/Berlin",
        BYPASS="admin, support",
        WORKERS="4",
        DRAFT="06",
        LEGACY_HEADERS="epoch",
        SHADOW="true",
        CHANGEABLE="true",
        STATISTICS="true",
    )
    options = given.options
    assert (options.algorithm, options.timezone, options.workers) == ("calendar", "Europe/Berlin", 4)
    assert (options.bypass, options.draft, options.legacy_headers) == (("admin", "support"), "06", "epoch")
    assert [options.shadow, options.changeable, options.statistics] == [True] * 3
    (plan,) = given.rules.plans
    assert [str(one.zone) for one in plan.limits] == ["Europe/Berlin"] * 2


def test_a_burst_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_LIMITS", "10/minute")
    (plan,) = limit(monkeypatch, BURST="3", ALGORITHM="leaky").rules.plans
    assert [(one.algorithm, one.burst) for one in plan.limits] == [("leaky", 3)]


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("0", False), ("seconds", "seconds")])
def test_older_headers_are_a_switch_or_a_kind(monkeypatch: pytest.MonkeyPatch, said: str, meant: object) -> None:
    monkeypatch.setenv("GUARD_LIMITS", "10/minute")
    assert limit(monkeypatch, LEGACY_HEADERS=said).options.legacy_headers == meant


def test_rules_are_a_mapping_in_json_and_need_no_limits_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_LIMITS", raising=False)
    written = '{"/search/*": "5/minute", "POST /login": ["5/minute", "20/hour"], "/health": null}'
    told = "<RateLimit ratelimit: /search/* 5 per 60 s; /login 5 per 60 s, 20 per 3600 s by address>"
    assert repr(limit(monkeypatch, RULES=written)) == told
    rules = {"/search/*": "5/minute", "POST /login": ["5/minute", "20/hour"], "/health": None}
    monkeypatch.delenv("GUARD_LIMIT_RULES")
    (guard,) = build_stack(Settings(stack="ratelimit", limit_rules=rules))
    assert repr(guard) == told


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LIMIT_BURST", "0", "allowed are 1 to the amount"),
        ("LIMIT_BURST", "many", "Input should be a valid integer"),
        ("LIMIT_TIMEZONE", "Europe/Berlin", "allowed with 'calendar' alone"),
        ("LIMIT_WORKERS", "0", "allowed are 1 and above"),
        ("LIMIT_DRAFT", "12", "Input should be '11', 'next', '06' or 'none'"),
        ("LIMIT_LEGACY_HEADERS", "perhaps", "Input should be 'seconds' or 'epoch'"),
        ("LIMIT_SHADOW", "perhaps", "Input should be a valid boolean"),
        ("LIMIT_RULES", "{", "Expecting property name"),
        ("LIMIT_RULES", '["/search"]', "Input should be a valid dictionary"),
        ("LIMIT_RULES", '{"/search": 5}', "Input should be a valid string"),
        ("LIMIT_RULES", '{"search": "5/minute"}', "allowed are path patterns"),
        ("CONCURRENCY", "0", "allowed are whole numbers from 1 to 100000"),
        ("CONCURRENCY", "many", "Input should be a valid integer"),
        ("CONCURRENCY_KEY", "nobody", "'nobody' given"),
        ("CONCURRENCY_TTL", "0", "allowed are 1 to 3600 seconds"),
    ],
)
def test_a_fault_names_the_variable_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv("GUARD_LIMITS", "10/minute")
    monkeypatch.setenv("GUARD_CONCURRENCY", "2")
    with pytest.raises(ConfigurationError) as caught:
        made(monkeypatch, name.partition("_")[0].lower().replace("limit", "ratelimit"), **{name: value})
    assert all(f"(GUARD_{name}): " in fault for fault in caught.value.faults)
    assert words in "\n".join(caught.value.faults)


def test_concurrency_without_an_amount_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_CONCURRENCY", raising=False)
    with pytest.raises(ConfigurationError, match=r"amount \(GUARD_CONCURRENCY\): none given"):
        made(monkeypatch, "concurrency")


def test_concurrency_is_made_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_EXEMPT", "/health")
    guard = made(monkeypatch, "concurrency", CONCURRENCY="2", CONCURRENCY_KEY="user, path", CONCURRENCY_TTL="5")
    assert isinstance(guard, ConcurrencyLimit)
    assert repr(guard) == "<ConcurrencyLimit concurrency: 2 at once by user, path>"
    assert (guard.ttl, guard.exempt.patterns) == (5, ("/health",))


async def test_such_limits_are_one_stack_and_one_decision(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    variables: dict[str, Any] = {"STACK": "concurrency,ratelimit", "CONCURRENCY": "2", "LIMITS": "5/hour"}
    for name, value in {**variables, "LIMIT_RULES": '{"/search": "1/hour"}'}.items():
        monkeypatch.setenv(f"GUARD_{name}", value)
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        app = GuardMiddleware(App(), redis=redis)
        assert repr(app).startswith("<GuardMiddleware [concurrency + ratelimit] around ")
        answers = [await get(app, path) for path in ("/search", "/search", "/other")]
    assert [answer.status for answer in answers] == [200, 429, 200]
    assert answers[0]["ratelimit-policy"] == '"concurrency";q=2;qu="concurrent-requests", "hour";q=1;w=3600'
    assert answers[1].json()["violated-policies"] == ["hour"]
