"""Whether another site may be behind a request that carries a cookie."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.origin import is_cross_origin, origin_faults
from tests.drive import fields, http_scope, websocket_scope


def crosses(
    trusted: tuple[str, ...] = (), websocket: bool = False, method: str = "POST", **headers: str | bytes
) -> bool:
    named: Any = fields({name.replace("_", "-"): value for name, value in headers.items()})
    scope = websocket_scope("/", named) if websocket else http_scope("/", named, method=method)
    return is_cross_origin(Exchange(scope, 0.0, bytes, Keys()), frozenset(trusted))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_change_nothing_wherever_they_come_from(method: str) -> None:
    assert not crosses(method=method, sec_fetch_site="cross-site", origin="https://evil", host="a")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "X"])
@pytest.mark.parametrize(
    ("site", "crossing"), [("same-origin", False), ("none", False), ("same-site", True), ("cross-site", True)]
)
def test_the_browsers_own_word_decides_where_there_is_one(method: str, site: str, crossing: bool) -> None:
    assert crosses(method=method, sec_fetch_site=site) is crossing
    assert crosses(method=method, sec_fetch_site=site, origin="https://a", host="a") is crossing
    assert crosses(method=method, sec_fetch_site=site, origin="https://evil", host="a") is crossing


@pytest.mark.parametrize("site", ["", "Same-Origin", "same-origin ", "nonsense", b"\xff"])
def test_a_word_that_no_browser_says_is_not_believed(site: str | bytes) -> None:
    assert crosses(sec_fetch_site=site, host="a")


@pytest.mark.parametrize(
    ("origin", "host", "crossing"),
    [
        ("https://a.example", "a.example", False),
        ("http://a.example", "a.example", False),
        ("https://a.example:8443", "a.example:8443", False),
        ("https://A.Example", "a.example", False),
        ("https://a.example", "A.EXAMPLE", False),
        ("https://[2001:db8::1]:80", "[2001:db8::1]:80", False),
        ("https://a.example", "a.example:443", True),
        ("https://a.example:1", "a.example:2", True),
        ("https://b.a.example", "a.example", True),
        ("https://a.example.evil", "a.example", True),
        ("https://evil?a.example", "a.example", True),
        ("https://evil#a.example", "a.example", True),
        ("https://a.example@evil", "a.example", True),
        ("a.example", "a.example", True),
        ("null", "a.example", True),
        ("null", "", True),
        ("null", "null", True),
        ("https://[", "a.example", True),
        ("https://", "", True),
        ("\xff", "\xff", True),
    ],
)
def test_otherwise_origin_and_host_are_compared(origin: str, host: str, crossing: bool) -> None:
    assert crosses(origin=origin, host=host) is crossing
    assert crosses(origin=origin, host=host, websocket=True) is crossing


def test_an_origin_without_a_host_crosses() -> None:
    assert crosses(origin="null")
    assert crosses(origin="https://a")


def test_who_sends_neither_is_no_browser() -> None:
    assert not crosses(host="a")
    assert not crosses(host="a", websocket=True)


def test_a_websocket_is_never_safe() -> None:
    assert crosses(websocket=True, sec_fetch_site="cross-site")
    assert not crosses(websocket=True, sec_fetch_site="same-origin")


def test_trusted_origins_are_compared_whole() -> None:
    trusted = ("https://app.example",)
    for word in ({}, {"sec_fetch_site": "cross-site"}):
        assert not crosses(trusted, origin="https://app.example", host="a", **word)
        for origin in ("http://app.example", "https://app.example/", "https://app.example:443", "https://xapp.example"):
            assert crosses(trusted, origin=origin, host="a", **word)
    assert crosses(trusted, sec_fetch_site="cross-site", host="a"), "no origin is not a trusted one"
    assert crosses(("",), sec_fetch_site="cross-site")


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=30), st.text(st.characters(max_codepoint=255), max_size=10))
def test_any_origin_is_read_without_an_error(origin: str, host: str) -> None:
    assert crosses(origin=f"https://{origin}", host=host) in (True, False)
    assert crosses(origin=origin, host=host, websocket=True) in (True, False)


@pytest.mark.parametrize("origin", ["https://a.test", "http://localhost:3000", "http://[::1]:80", "app+x://a"])
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    assert origin_faults([origin]) == []


@pytest.mark.parametrize("origin", ["", "a.test", "https://", "https://a.test/", "https://a.test/b", "null", "*"])
def test_what_no_browser_sends_is_no_origin_to_trust(origin: str) -> None:
    (fault,) = origin_faults([origin])
    assert fault.startswith(f"origins: {origin!r} given")


@pytest.mark.parametrize(
    ("scheme", "origin", "crossing"),
    [
        ("https", "http://a", True),
        ("https", "HTTP://a", True),
        ("wss", "http://a", True),
        ("https", "https://a", False),
        ("wss", "https://a", False),
        ("http", "https://a", False),
        ("http", "http://a", False),
    ],
)
def test_a_page_that_came_without_tls_is_not_of_the_site_that_has_it(scheme: str, origin: str, crossing: bool) -> None:
    """Anybody on the way may have written it; behind a proxy the server may not know of TLS itself."""
    named = fields({"origin": origin, "host": "a"})
    scope = websocket_scope("/", named) if scheme == "wss" else http_scope("/", named, method="POST")
    assert is_cross_origin(Exchange({**scope, "scheme": scheme}, 0.0, bytes, Keys())) is crossing
