"""Locks and idempotency of the environment: `GUARD_LOCK_…` and `GUARD_IDEMPOTENCY_…`."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, Settings
from asgi_redis_guard.idempotency.guard import Idempotency
from asgi_redis_guard.idempotency.middleware import IdempotencyOptions
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.locks.options import RouteLockOptions
from asgi_redis_guard.stack import build_stack


def faults(guard: str) -> str:
    """Everything that is wrong with the settings of a guard."""
    with pytest.raises(ConfigurationError) as caught:
        build_stack(Settings(stack=guard))
    return "\n".join(caught.value.faults)


def test_a_lock_is_made_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"KEY": "import:{user}, {path}", "TTL": "60", "WAIT": "2.5", "ON_BUSY": "423", "PERMITS": "3"}
    variables |= {"METHODS": "post,PUT", "PATHS": "/jobs/*", "EXEMPT": "/jobs/free", "UNIDENTIFIED": "allow"}
    for name, value in {**variables, "ON_OUTAGE": "open", "MAX_BODY": "99"}.items():
        monkeypatch.setenv(f"GUARD_LOCK_{name}", value)
    (lock,) = build_stack(Settings(stack="lock"))
    assert isinstance(lock, RouteLock)
    assert repr(lock) == "<RouteLock lock: import:{user}, {path}, 3 at once>"
    assert (lock.ttl, lock.wait, lock.on_busy, lock.permits) == (60, 2.5, 423, 3)
    assert (lock._methods, lock._paths.patterns) == ({"POST", "PUT"}, ("/jobs/*",))
    assert (lock.exempt.patterns, lock._unidentified, lock.is_closed) == (("/jobs/free",), "allow", False)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KEY", "", "none given; say what is locked"),
        ("KEY", "{nobody", "'{nobody'"),
        ("TTL", "0", "allowed are 0.1 to"),
        ("WAIT", "-1", "allowed are 0"),
        ("ON_BUSY", "500", "allowed are 409, 423, 429, 503"),
        ("PERMITS", "0", "allowed are 1 to"),
        ("METHODS", "PO ST", "names of methods"),
        ("PATHS", "jobs", "a pattern starts with '/'"),
        ("EXEMPT", "jobs", "a pattern starts with '/'"),
        ("UNIDENTIFIED", "perhaps", "'refuse' or 'allow'"),
        ("ON_OUTAGE", "local", "'open' or 'closed'"),
        ("MAX_BODY", "0", "allowed are 1 to"),
    ],
)
def test_a_fault_of_a_lock_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv("GUARD_LOCK_KEY", "x")
    monkeypatch.setenv(f"GUARD_LOCK_{name}", value)
    (told,) = faults("lock").splitlines()
    assert f"(GUARD_LOCK_{name}): " in told
    assert words in told


def test_idempotency_is_made_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"METHODS": "post,PUT", "REQUIRED": "yes", "KEY": "header:x-tenant, user", "TTL": "60", "LEASE": "9"}
    variables |= {"WAIT": "2.5", "MAX_BODY": "99", "MAX_RESPONSE": "77", "HEADER": "X-Once", "PATHS": "/pay/*"}
    for name, value in {**variables, "EXEMPT": "/pay/free", "UNIDENTIFIED": "allow", "ON_OUTAGE": "open"}.items():
        monkeypatch.setenv(f"GUARD_IDEMPOTENCY_{name}", value)
    (guard,) = build_stack(Settings(stack="idempotency"))
    assert isinstance(guard, Idempotency)
    assert (guard._methods, guard._required, guard.identity.parts) == (
        {"POST", "PUT"},
        True,
        ("header:x-tenant", "user"),
    )
    assert (guard.ttl, guard.lease, guard.wait, guard.max_body) == (60, 9, 2.5, 99)
    assert (guard._field, guard._paths.patterns, guard.exempt.patterns) == (b"x-once", ("/pay/*",), ("/pay/free",))
    assert (guard._allows_nobody, guard.is_open, guard.responder.hold) == (True, True, 77)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("METHODS", "PO ST", "names of methods"),
        ("REQUIRED", "perhaps", "Input should be a valid boolean"),
        ("KEY", "nobody", "'nobody' given"),
        ("TTL", "0", "allowed are 1 to"),
        ("LEASE", "0", "allowed are 1 to"),
        ("WAIT", "-1", "allowed are 0 to"),
        ("MAX_BODY", "-1", "allowed are 0 to"),
        ("MAX_RESPONSE", "-1", "allowed are 0 to"),
        ("HEADER", "a b", "name of a header field"),
        ("PATHS", "pay", "a pattern starts with '/'"),
        ("EXEMPT", "pay", "a pattern starts with '/'"),
        ("UNIDENTIFIED", "perhaps", "'refuse' or 'allow'"),
        ("ON_OUTAGE", "local", "'open' or 'closed'"),
    ],
)
def test_a_fault_of_idempotency_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"GUARD_IDEMPOTENCY_{name}", value)
    (told,) = faults("idempotency").splitlines()
    assert f"(GUARD_IDEMPOTENCY_{name}): " in told
    assert words in told


@pytest.mark.parametrize(("prefix", "options"), [("lock_", RouteLockOptions), ("idempotency_", IdempotencyOptions)])
def test_every_option_that_is_plain_has_a_setting(prefix: str, options: Any) -> None:
    """Functions and names are for code; a preflight is exempt for all guards of the environment."""
    code = {"on_refused", "name", "exempt_preflight", "trusted_proxies"}
    assert {prefix + name for name in options.__annotations__ if name not in code} <= set(Settings.model_fields)
