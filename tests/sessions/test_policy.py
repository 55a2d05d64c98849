"""The cookie by its options, and every fault of a configuration, told at once."""

from datetime import timedelta
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, SessionMiddleware, Sessions
from asgi_redis_guard.sessions.policy import SessionPolicy
from tests.drive import App

STYLES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "__Host-session", "; Path=/; HttpOnly; SameSite=Lax; Secure"),
    ({"session_cookie": "sid", "same_site": "strict"}, "__Host-sid", "; Path=/; HttpOnly; SameSite=Strict; Secure"),
    ({"path": "/app"}, "__Secure-session", "; Path=/app; HttpOnly; SameSite=Lax; Secure"),
    (
        {"domain": "example.com", "same_site": "none"},
        "__Secure-session",
        "; Path=/; Domain=example.com; HttpOnly; SameSite=None; Secure",
    ),
    ({"partitioned": True}, "__Host-session", "; Path=/; HttpOnly; SameSite=Lax; Secure; Partitioned"),
    ({"https_only": False}, "session", "; Path=/; HttpOnly; SameSite=Lax"),
    (
        {"https_only": False, "domain": "example.com", "path": "/app"},
        "session",
        "; Path=/app; Domain=example.com; HttpOnly; SameSite=Lax",
    ),
]


def policy(**options: Any) -> SessionPolicy:
    return Sessions(**options).policy


@pytest.mark.parametrize(("options", "name", "attributes"), STYLES)
def test_the_cookie_has_the_prefix_and_attributes_of_its_options_and_its_deletion_repeats_them(
    options: dict[str, Any], name: str, attributes: str
) -> None:
    cookie = policy(**options).cookie
    assert cookie.name == name.encode()
    assert cookie.give(b"TOKEN", 60) == f"{name}=TOKEN; Max-Age=60{attributes}".encode()
    assert cookie.give(b"TOKEN", None) == f"{name}=TOKEN{attributes}".encode()
    assert cookie.take() == f"{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}".encode()


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"max_age": "14d"}, "max_age"),
    ({"idle": timedelta(days=1)}, "idle"),
    ({"overlap": None}, "overlap"),
    ({"on_excess": "deny"}, "on_excess"),
    ({"session_cookie": ""}, "session_cookie"),
    ({"session_cookie": "a b"}, "session_cookie"),
    ({"session_cookie": "a;b"}, "session_cookie"),
    ({"session_cookie": "a=b"}, "session_cookie"),
    ({"session_cookie": "Zoë"}, "session_cookie"),
    ({"session_cookie": "__Host-session"}, "session_cookie"),
    ({"path": ""}, "path"),
    ({"path": "app"}, "path"),
    ({"path": "/;x"}, "path"),
    ({"path": "/\r\nx"}, "path"),
    ({"domain": ""}, "domain"),
    ({"domain": "a b"}, "domain"),
    ({"domain": "a;b"}, "domain"),
    ({"domain": "a\n"}, "domain"),
    ({"same_site": "Lax"}, "same_site"),
    ({"same_site": "none", "https_only": False}, "https_only"),
    ({"partitioned": True, "https_only": False}, "https_only"),
    ({"max_age": 0}, "max_age"),
    ({"max_age": 0.5}, "max_age"),
    ({"max_age": -1}, "max_age"),
    ({"max_age": float("nan")}, "max_age"),
    ({"max_age": 367 * 86_400}, "max_age"),
    ({"idle": 0}, "idle"),
    ({"idle": 61, "max_age": 60}, "idle"),
    ({"idle": float("inf")}, "idle"),
    ({"overlap": -1}, "overlap"),
    ({"overlap": 301}, "overlap"),
    ({"key": "short"}, "key"),
    ({"key": b"k" * 65}, "key"),
    ({"on_outage": "memory?"}, "on_outage"),
    ({"max_size": 255}, "max_size"),
    ({"max_size": 16_777_217}, "max_size"),
    ({"origins": ["app.example.com"]}, "origins"),
    ({"origins": "https://app.example.com/"}, "origins"),
    ({"origins": ["*"]}, "origins"),
    ({"on_refused": 5}, "on_refused"),
]


@pytest.mark.parametrize(("options", "option"), FAULTS)
def test_a_fault_names_its_option(options: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option}: .* given"):
        Sessions(**options)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Sessions(session_cookie="", path="x", max_age=0, overlap=-1, key="k", max_size=1, origins=["x"])
    for option in ("session_cookie", "path", "max_age", "overlap", "key", "max_size", "origins"):
        assert f"{option}: " in str(caught.value)


def test_faults_say_nothing_of_the_key() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Sessions(key="hush")
    assert "hush" not in str(caught.value)


def test_a_guard_and_options_are_one_or_the_other() -> None:
    with pytest.raises(ConfigurationError, match="guard: given together with max_age"):
        SessionMiddleware(App(), guard=Sessions(), max_age=60)


def test_times_are_kept_to_the_millisecond_and_idle_is_max_age_if_not_given() -> None:
    given = policy(max_age=1.5, overlap=0.25)
    assert (given.lifetime, given.idle, given.overlap) == (1500, 1500, 250)


@pytest.mark.parametrize(
    ("principal", "values", "user"),
    [
        ("uid", {"uid": 7}, "7"),
        (("uid", "role"), {"role": "admin"}, None),
        (("uid", "role"), {"uid": "", "role": "admin"}, ""),
        ((), {"uid": 7}, None),
        (["uid"], {"uid": None}, None),
    ],
)
def test_the_first_principal_tells_whose_a_session_is(principal: Any, values: dict[str, Any], user: str | None) -> None:
    assert policy(principal=principal).user(values) == user
