"""Signals of a device: they stay while it does, and tell a change without telling what it was."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.client_ip import TrustedProxies
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.sessions.fingerprint import SIGNALS, WIDTH, difference, fingerprint
from tests.drive import http_scope
from tests.sessions.agents import ANDROID, CHROME, EDGE, FIREFOX, IPHONE, NEWER, OPERA, SAFARI, SAMSUNG


def of(agent: str = CHROME, address: str | None = "203.0.113.7", key: bytes = b"", **fields: str) -> str:
    headers = {"user-agent": agent} | {name.replace("_", "-"): value for name, value in fields.items()}
    return look(headers, address, key)


def look(headers: Mapping[str, str | bytes], address: str | None = "203.0.113.7", key: bytes = b"") -> str:
    client = (address, 4000) if address is not None else None
    exchange = Exchange(http_scope(headers=headers, client=client), 0.0, bytes, Keys())
    return fingerprint(exchange, TrustedProxies(), key)


def test_an_update_of_the_browser_is_no_change() -> None:
    assert difference(of(CHROME), of(NEWER)) == ()


@pytest.mark.parametrize("other", [EDGE, OPERA, FIREFOX, SAFARI, IPHONE, ANDROID, SAMSUNG, "curl/8.5.0", ""])
def test_another_browser_or_platform_is_one(other: str) -> None:
    assert difference(of(CHROME), of(other))


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        (CHROME, EDGE, ("browser",)),
        (CHROME, OPERA, ("browser",)),
        (CHROME, ANDROID, ("platform",)),
        (ANDROID, SAMSUNG, ("browser",)),
        (CHROME, IPHONE, ("platform",)),
        (CHROME, FIREFOX, ("browser", "platform")),
        ("curl/8.5.0", "curl/9", ()),
        ("curl/8.5.0", "Wget/1.21", ("browser",)),
    ],
)
def test_each_change_is_named(one: str, other: str, changed: tuple[str, ...]) -> None:
    assert difference(of(one), of(other)) == changed == difference(of(other), of(one))


@pytest.mark.parametrize(
    ("agent", "hint"),
    [(CHROME, '"Windows"'), (ANDROID, '"Android"'), (SAFARI, '"macOS"'), (FIREFOX, '"Linux"'), (IPHONE, '"iOS"')],
)
def test_a_platform_is_the_same_with_and_without_its_hint(agent: str, hint: str) -> None:
    """Browsers send the hint on secure connections alone."""
    assert difference(of(agent), of(agent, sec_ch_ua_platform=hint)) == ()


def test_a_hint_goes_before_the_user_agent() -> None:
    assert difference(of(CHROME), of(CHROME, sec_ch_ua_platform='"macOS"')) == ("platform",)


def test_of_the_languages_the_first_counts() -> None:
    one = of(accept_language="de-DE,de;q=0.9,en;q=0.8")
    assert difference(one, of(accept_language="de-de;q=1, fr")) == ()
    assert difference(one, of(accept_language="en,de-DE")) == ("language",)
    assert difference(one, of()) == ("language",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.250", True),
        ("203.0.113.7", "203.0.114.7", False),
        ("203.0.113.7", "::ffff:203.0.113.9", True),
        ("2001:db8:1:2::3", "2001:db8:1:ffff::9", True),
        ("2001:db8:1:2::3", "2001:db8:2:2::3", False),
        ("2001:db8::1", "203.0.113.7", False),
        ("203.0.113.7", None, False),
        ("testclient", None, True),
    ],
)
def test_a_network_is_a_24_or_a_48(one: str, other: str | None, same: bool) -> None:
    assert difference(of(address=one), of(address=other)) == (() if same else ("network",))


def test_a_forwarded_address_is_believed_as_far_as_proxies_are_trusted() -> None:
    scope = http_scope(headers={"x-forwarded-for": "198.51.100.1"}, client=("10.0.0.1", 1))
    exchange = Exchange(scope, 0.0, bytes, Keys())
    forwarded = fingerprint(exchange, TrustedProxies(["10.0.0.0/8"]))
    assert difference(forwarded, look({}, "198.51.100.200")) == ()
    assert difference(fingerprint(exchange, TrustedProxies()), look({}, "10.0.0.9")) == ()


def test_what_is_kept_tells_nothing_without_the_key() -> None:
    one, other = of(), of(key=b"k" * 16)
    assert len(one) == len(SIGNALS) * WIDTH
    assert difference(one, other) == SIGNALS
    assert "chrome" not in one.lower()


@given(
    st.dictionaries(st.sampled_from(["user-agent", "accept-language", "sec-ch-ua-platform"]), st.binary()), st.text()
)
def test_any_headers_make_a_fingerprint(headers: dict[str, Any], address: str) -> None:
    one = look(headers, address)
    assert len(one) == len(SIGNALS) * WIDTH
    assert one == look(headers, address)
    assert one.isascii()
