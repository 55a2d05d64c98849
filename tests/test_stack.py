"""`stack.py`: from settings to a stack, whole or not at all."""

from base64 import b64encode
from contextlib import nullcontext
from typing import Any

import jwt
import pytest

from asgi_redis_guard import (
    CSRF,
    ConfigurationError,
    GuardMiddleware,
    RedisManager,
    Sessions,
    SessionUnreadable,
    Settings,
)
from asgi_redis_guard.sessions.csrf_middleware import CSRFOptions
from asgi_redis_guard.sessions.middleware import SessionOptions
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


def sessions(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Sessions:
    """The sessions that `GUARD_SESSION_…` variables make."""
    for name, value in variables.items():
        monkeypatch.setenv(f"GUARD_SESSION_{name}", value)
    (guard,) = build_stack(Settings(stack="sessions", trusted_proxies="10.0.0.0/8", exempt="/health"))
    assert isinstance(guard, Sessions)
    return guard


def test_every_option_of_sessions_can_be_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sessions(monkeypatch).policy
    assert (plain.cap, plain.excess, plain.statistics, plain.overlap) == (None, "evict_oldest", False, 10_000)
    assert (plain.principal, plain.persistent, plain.max_size) == (("user_id",), True, 65_536)
    guard = sessions(
        monkeypatch,
        MAX_SESSIONS="3",
        ON_EXCESS="deny",
        STATISTICS="true",
        OVERLAP="2.5",
        PRINCIPAL="account, role",
        PERSISTENT="false",
        MAX_SIZE="1024",
        PATH="/app",
        DOMAIN="example.com",
        SAME_SITE="none",
        PARTITIONED="true",
        ORIGINS="https://a.test, https://b.test",
        EXEMPT="/static/*",
        LAZY="true",
        READ_FROM_REPLICAS="true",
    )
    policy = guard.policy
    assert (policy.cap, policy.excess, policy.statistics, policy.overlap) == (3, "deny", True, 2500)
    assert (policy.principal, policy.persistent, policy.max_size) == (("account", "role"), False, 1024)
    cookie = "__Secure-session=T; Path=/app; Domain=example.com; HttpOnly; SameSite=None; Secure; Partitioned"
    assert policy.cookie.give(b"T", None).decode() == cookie
    proxied = {"client": ("10.1.2.3", 80), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    assert policy.proxies.client(proxied) == "203.0.113.9", "GUARD_TRUSTED_PROXIES is for all guards"
    assert repr(guard) == "<Sessions sessions: __Secure-session, lazy>"
    assert guard.exempt.patterns == ("/static/*",), "what needs no token may well need a session"
    assert guard._origins == {"https://a.test", "https://b.test"}
    assert guard._replica


def test_every_option_of_sessions_and_csrf_that_is_plain_has_a_setting() -> None:
    """Functions and names are for code; a preflight is exempt for all guards of the environment."""
    code = {"on_refused", "name", "exempt_preflight"}
    shared = {
        "session_trusted_proxies",
        "session_session_cookie",
        "csrf_exempt",
        "csrf_events",
        "csrf_trusted_proxies",
    }  # by other names
    for prefix, options in (("session_", SessionOptions), ("csrf_", CSRFOptions)):
        names = {prefix + name for name in options.__annotations__ if name not in code}
        assert names - shared <= set(Settings.model_fields)


async def test_sessions_and_csrf_share_the_events_of_the_stack_s_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {"SESSION_EVENTS": "true", "EVENTS_RETENTION": "86400", "SESSION_KEY": "k" * 16, "CSRF_KEY": KEY}
    for name, value in {**variables, "STACK": "sessions,csrf", "SESSION_HTTPS_ONLY": "false"}.items():
        monkeypatch.setenv(f"GUARD_{name}", value)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere.invalid")
    async with RedisManager("memory://") as redis:
        stack = GuardMiddleware(App(), redis=redis)
        guard, csrf = stack.guards
        assert isinstance(guard, Sessions)
        assert isinstance(csrf, CSRF)
        assert repr(guard.policy.events) == "<SecurityEvents for 1 days, 1000 a user at most>"
        assert csrf._events is guard.policy.events
        assert guard.policy.events is not None
        assert guard.policy.events.keys is redis.keys
        await get(stack)
    (guard,) = build_stack(Settings(stack="sessions", session_events=False))
    assert isinstance(guard, Sessions)
    assert guard.policy.events is None
    monkeypatch.setenv("GUARD_EVENTS_RETENTION", "0")
    (told,) = faults(stack="sessions").splitlines()
    assert "(GUARD_EVENTS_RETENTION): 0.0 given; allowed are 1 second to 10 years" in told
    monkeypatch.setenv("GUARD_EVENTS_RETENTION", "60")
    monkeypatch.setenv("GUARD_SESSION_KEY", "short")
    (told,) = faults(stack="sessions").splitlines()
    assert "(GUARD_SESSION_KEY)" in told


def test_values_of_before_their_encryption_can_be_read_if_so_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_SESSION_ENCRYPTION", b64encode(b"1" * 32).decode())
    for plaintext in (False, True):
        cipher = sessions(monkeypatch, PLAINTEXT=str(plaintext)).policy.cipher
        assert cipher is not None
        with nullcontext() if plaintext else pytest.raises(SessionUnreadable):
            assert cipher.unseal(b"record", {"a": b"1"}) == {"a": b"1"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_SESSIONS", "0", "allowed are 1 to 1000"),
        ("MAX_SESSIONS", "many", "Input should be a valid integer"),
        ("ON_EXCESS", "evict", "Input should be 'evict_oldest', 'evict_lru' or 'deny'"),
        ("STATISTICS", "perhaps", "Input should be a valid boolean"),
        ("LAZY", "perhaps", "Input should be a valid boolean"),
        ("SAME_SITE", "loose", "Input should be 'lax', 'strict' or 'none'"),
        ("OVERLAP", "301", "allowed are 0 to 300 seconds"),
        ("MAX_AGE", "0", "allowed are 1 second to 366 days"),
        ("IDLE", "0.5", "allowed are 1 second to max_age"),
        ("MAX_SIZE", "255", "allowed are 256 to 16777216 bytes"),
        ("PATH", "app", "begins with '/'"),
        ("DOMAIN", "a b", "allowed are names of hosts"),
        ("ORIGINS", "example.com", "allowed are whole origins"),
        ("EXEMPT", "static", "a pattern starts with '/'"),
        ("COOKIE", "a b", "letters, digits"),
        ("KEY", "short", "allowed are 16 to 64"),
    ],
)
def test_a_fault_names_the_variable_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"GUARD_SESSION_{name}", value)
    (told,) = faults(stack="sessions").splitlines()
    assert f"(GUARD_SESSION_{name}): " in told
    assert words in told


def test_the_options_of_csrf_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"KEY": KEY, "HEADER": "X-XSRF-Token", "FIELD": "token", "MAX_BODY": "2048", "BEARER_EXEMPT": "yes"}
    for name, value in variables.items():
        monkeypatch.setenv(f"GUARD_CSRF_{name}", value)
    (csrf,) = build_stack(Settings(stack="csrf"))
    assert isinstance(csrf, CSRF)
    assert repr(csrf) == "<CSRF csrf: x-xsrf-token>"
    assert (csrf._field, csrf._max_body, csrf._bearer_exempt) == (b"token", 2048, True)
    assert csrf._keys == (KEY.encode(),), "a secret is taken as it is, commas too"
    monkeypatch.setenv("GUARD_CSRF_SECOND_KEY", "another, of bytes that are enough")
    (csrf,) = build_stack(settings := Settings(stack="csrf"))
    assert csrf._keys == (KEY.encode(), b"another, of bytes that are enough")  # type: ignore[attr-defined]
    assert "another" not in f"{settings!r} {csrf!r}"
    monkeypatch.setenv("GUARD_CSRF_MAX_BODY", "1")
    monkeypatch.setenv("GUARD_CSRF_HEADER", "a b")
    told = faults(stack="csrf")
    for variable in ("GUARD_CSRF_HEADER", "GUARD_CSRF_MAX_BODY"):
        assert f"({variable}): " in told
    monkeypatch.undo()
    assert "exempt (GUARD_EXEMPT): 'hook' given" in faults(stack="csrf", csrf_key=KEY, exempt="hook")


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
