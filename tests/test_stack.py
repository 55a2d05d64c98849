"""`stack.py`: from settings to a stack, whole or not at all."""

from base64 import b64encode
from typing import Any

import jwt
import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, RedisManager, Sessions, Settings
from asgi_redis_guard.stack import build_stack
from tests.drive import App, get
from tests.redis.tools import PATIENCE

KEY = "a secret of at least 32 bytes, for tests alone"
NOW = 1_800_000_000


def stack(**options: Any) -> list[str]:
    """The reprs of the guards that these settings make."""
    return [repr(guard) for guard in build_stack(Settings(**options))]


def faults(**options: Any) -> str:
    """Everything that is wrong with these settings."""
    with pytest.raises(ConfigurationError) as caught:
        stack(**options)
    return "\n".join(caught.value.faults)


def test_guards_stand_in_the_order_in_which_they_are_named() -> None:
    options = {"jwt_key": KEY, "limits": "10/minute, 100/hour"}
    jwt_first = ["<JWTAuth jwt: HS256>", "<RateLimit ratelimit: 10 per 60 s, 100 per 3600 s by address>"]
    assert stack(stack="jwt,ratelimit", **options) == jwt_first
    assert stack(stack=("ratelimit", "jwt"), **options) == jwt_first[::-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["stack (GUARD_STACK): empty", "jwt, ratelimit"]),
        ({"stack": "jwt,nonsense", "jwt_key": KEY}, ["stack (GUARD_STACK): 'nonsense' given", "jwt, ratelimit"]),
        ({"stack": "jwt"}, ["GUARD_JWT_KEY"]),
        ({"stack": "ratelimit"}, ["GUARD_LIMITS"]),
        ({"stack": "ratelimit", "limits": "often"}, ["GUARD_LIMITS", "'often'"]),
        ({"stack": "jwt", "jwt_key": KEY, "jwt_algorithms": "none"}, ["GUARD_JWT_ALGORITHMS"]),
    ],
)
def test_a_stack_that_is_empty_or_half_there_is_refused(options: dict[str, Any], words: list[str]) -> None:
    told = faults(**options)
    assert [word for word in words if word not in told] == []


def test_the_faults_of_all_guards_are_told_at_once() -> None:
    told = faults(stack="jwt,nonsense,ratelimit", limit_key="nobody", limits="often")
    for word in ("nonsense", "GUARD_JWT_KEY", "GUARD_LIMIT"):
        assert word in told


def test_sessions_are_made_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack(stack="sessions") == ["<Sessions sessions: __Host-session>"]
    monkeypatch.setenv("GUARD_SESSION_COOKIE", "sid")
    monkeypatch.setenv("GUARD_SESSION_HTTPS_ONLY", "false")
    assert stack(stack="sessions") == ["<Sessions sessions: sid>"]
    monkeypatch.setenv("GUARD_SESSION_KEY", "short")
    assert "key" in faults(stack="sessions")
    assert "short" not in faults(stack="sessions")


def test_what_belongs_to_sessions_is_made_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = b64encode(b"1" * 32).decode(), b64encode(b"2" * 32).decode()
    monkeypatch.setenv("GUARD_SESSION_ENCRYPTION", f"{new}, {old}")
    monkeypatch.setenv("GUARD_CSRF_KEY", KEY)
    sessions, csrf = build_stack(Settings(stack="sessions,csrf", exempt="/hook"))
    assert isinstance(sessions, Sessions)
    assert repr(sessions.policy.cipher) == "<SessionCipher of 2 keys>"
    assert repr(csrf) == "<CSRF csrf: x-csrf-token>"
    assert csrf.exempt.patterns == ("/hook",)
    monkeypatch.setenv("GUARD_SESSION_ENCRYPTION", "a short one")
    monkeypatch.setenv("GUARD_CSRF_KEY", "another")
    told = faults(stack="sessions,csrf")
    assert "GUARD_SESSION_ENCRYPTION" in told
    assert "GUARD_CSRF_KEY" in told
    assert "a short one" not in told
    assert "another" not in told


def test_options_reach_their_guards() -> None:
    auth, limit = build_stack(
        Settings(
            stack="jwt,ratelimit",
            jwt_key=KEY,
            jwt_optional=True,
            exempt="/health,/static/*",
            limits="5/second",
            limit_key="user,header:x-tenant",
            limit_algorithm="fixed",
        )
    )
    assert auth.exempt.patterns == limit.exempt.patterns == ("/health", "/static/*")
    assert limit.needs == {"user"}
    assert repr(limit) == "<RateLimit ratelimit: 5 per 1 s by user, header:x-tenant>"


def test_a_middleware_without_guards_takes_them_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_STACK", "jwt,ratelimit")
    monkeypatch.setenv("GUARD_JWT_KEY", KEY)
    monkeypatch.setenv("GUARD_LIMITS", "10/minute")
    assert repr(GuardMiddleware(App())).startswith("<GuardMiddleware [jwt + ratelimit] around ")


@pytest.mark.parametrize("names", ["", "jwt", "ratelimit,", "jwt,jwt"])
def test_a_middleware_without_guards_is_never_an_open_door(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    for name in ("GUARD_STACK", "GUARD_JWT_KEY", "GUARD_LIMITS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GUARD_STACK", names)
    if names == "jwt,jwt":
        monkeypatch.setenv("GUARD_JWT_KEY", KEY)
    with pytest.raises(ConfigurationError):
        GuardMiddleware(App())


async def test_such_a_stack_guards(redis_url: str) -> None:
    guards = build_stack(Settings(stack="jwt,ratelimit", jwt_key=KEY, limits="1/hour", limit_key="user"))
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        app = GuardMiddleware(App(), guards, redis=redis, clock=lambda: NOW)
        good = {"authorization": f"Bearer {jwt.encode({'sub': 'alice', 'exp': NOW + 60}, KEY)}"}
        assert [(await get(app, headers=headers)).status for headers in ({}, good, good)] == [401, 200, 429]
