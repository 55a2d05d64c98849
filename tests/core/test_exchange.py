"""What a guard may see of a request."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette._utils import get_route_path

from asgi_redis_guard.core.client_ip import TrustedProxies
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from tests.drive import ADDRESS, http_scope, websocket_scope


def exchange(scope: Any) -> Exchange:
    return Exchange(scope, 12.5, lambda size: b"r" * size, Keys("p:"))


def test_time_randomness_and_keys_are_given_to_it() -> None:
    one = exchange(http_scope())
    assert (one.now, one.random(3), one.keys.prefix) == (12.5, b"rrr", "p:")
    assert one.facts == {}


def test_a_websocket_handshake_is_a_get() -> None:
    assert (exchange(websocket_scope()).method, exchange(websocket_scope()).is_websocket) == ("GET", True)
    assert (exchange(http_scope(method="PUT")).method, exchange(http_scope()).is_websocket) == ("PUT", False)


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/a/b", "", "/a/b"),
        ("/api/a", "/api", "/a"),
        ("/api/", "/api", "/"),
        ("/api", "/api", "/"),
        ("/apiary", "/api", "/apiary"),
        ("/a", "/api", "/a"),
        ("/api/api/a", "/api", "/api/a"),
        ("/api//a", "/api", "//a"),
        ("/api/a", "/api/", "/api/a"),
        ("", "", ""),
        ("/", "/", "/"),
    ],
)
def test_the_path_is_the_one_below_the_root_path(path: str, root: str, below: str) -> None:
    one = exchange(http_scope(path, root_path=root))
    assert one.path == below
    assert one.path == below, "also the second time"


segment_text = st.lists(st.sampled_from(["/", "a", "b", "/api", "api", "é"]), max_size=5).map("".join)


@settings(deadline=None)
@given(segment_text, segment_text)
def test_the_path_is_what_starlette_routes_by(path: str, root: str) -> None:
    scope = http_scope(path, root_path=root)
    assert exchange(scope).path == (get_route_path(scope) or ("/" if path else ""))


def test_a_scope_without_root_path_or_query_is_fine() -> None:
    scope = http_scope("/a")
    del scope["root_path"], scope["query_string"]
    assert exchange(scope).path == "/a"
    assert exchange(scope).query("a") == []


def test_fields_are_found_in_their_order() -> None:
    one = exchange(http_scope("/", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]))
    assert (one.header(b"a"), one.header(b"c"), one.headers(b"a"), one.headers(b"c")) == (b"1", None, [b"1", b"3"], [])


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"a=1&b=2&a=3", ["1", "3"]),
        (b"a=%20%C3%A9+x", [" é x"]),
        (b"a=&a", ["", ""]),
        (b"a=%ff", ["\ufffd"]),
        (b"%61=1", ["1"]),
        (b"b=1;a=2", []),
        (b"", []),
        (b"&&&=&", []),
    ],
)
def test_query_parameters_are_decoded(query: bytes, values: list[str]) -> None:
    assert exchange(http_scope(query_string=query)).query("a") == values


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_query_is_read_without_an_error(query: bytes) -> None:
    assert all(isinstance(value, str) for value in exchange(http_scope(query_string=query)).query("a"))


def test_a_preflight_needs_all_three_signs() -> None:
    signs = {"origin": "https://a", "access-control-request-method": "PUT"}
    assert exchange(http_scope("/", signs, method="OPTIONS")).is_preflight
    assert not exchange(http_scope("/", signs, method="GET")).is_preflight
    assert not exchange(websocket_scope("/", signs)).is_preflight
    for name in signs:
        assert not exchange(http_scope("/", {name: signs[name]}, method="OPTIONS")).is_preflight


def test_the_client_is_the_one_that_the_given_proxies_tell() -> None:
    one = exchange(http_scope("/", {"x-forwarded-for": "198.51.100.1"}))
    nobody, trusting = TrustedProxies(), TrustedProxies([ADDRESS])
    assert [one.client(proxies) for proxies in (nobody, nobody, trusting, nobody, trusting)] == [
        ADDRESS,
        ADDRESS,
        "198.51.100.1",
        ADDRESS,
        "198.51.100.1",
    ]
