"""Reading the Cookie header, whatever is in it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.cookies import cookie_values
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from tests.drive import http_scope


def values(*fields: bytes, name: bytes = b"sid") -> list[bytes]:
    scope: Any = http_scope("/", [(b"cookie", field) for field in fields])
    return cookie_values(Exchange(scope, 0.0, bytes, Keys()), name)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"sid=1", [b"1"]),
        (b"a=0; sid=1; b=2", [b"1"]),
        (b"a=0;sid=1;b=2", [b"1"]),
        (b"  sid=1  ;", [b"1"]),
        (b"sid= 1 ", [b"1"]),
        (b"sid=", [b""]),
        (b"sid=a=b==", [b"a=b=="]),
        (b'sid="1"', [b"1"]),
        (b'sid="', [b'"']),
        (b'sid=""', [b""]),
        (b'sid="a', [b'"a']),
        (b'sid="a;b"', [b'"a']),
        (b"sid=1; sid=2", [b"1", b"2"]),
        (b"sid=\xff\x00\xfe", [b"\xff\x00\xfe"]),
        (b"sid", []),
        (b"SID=1", []),
        (b"sid =1", []),
        (b"sid2=1; xsid=2; __Host-sid=3", []),
        (b"a=sid=1", []),
        (b"=1", []),
        (b"", []),
        (b";;;=;=;", []),
        (b"a=1, sid=2", []),
    ],
)
def test_a_cookie_is_found_by_its_exact_name(field: bytes, found: list[bytes]) -> None:
    assert values(field) == found


def test_repeats_are_all_told_in_their_order_over_all_fields() -> None:
    assert values(b"sid=1; a=b", b"x=y", b"sid=2;sid=1") == [b"1", b"2", b"1"]


def test_no_header_is_no_cookie() -> None:
    assert values() == []


def test_a_flood_is_not_looked_at() -> None:
    assert values(b"a" * 32_000 + b"; sid=1") == [b"1"]
    assert values(b"a" * 33_000 + b"; sid=1") == []
    assert values(*[b"sid=1"] * 4_000) == [b"1"] * 4_000
    assert values(*[b"sid=1"] * 5_000) == []


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40) | st.from_regex(rb"(a|sid)=[^;]{0,5}(; ?(a|sid)=[^;]{0,5}){0,3}"), max_size=4))
def test_any_bytes_are_read_without_an_error(fields: list[bytes]) -> None:
    found = values(*fields)
    joined = b";".join(fields)
    assert len(found) <= joined.count(b"sid")
    assert all(value in joined and b";" not in value for value in found)


token = st.binary(min_size=1, max_size=8).map(lambda data: data.hex().encode())


@settings(deadline=None)
@given(st.lists(st.tuples(token | st.just(b"sid"), token | st.just(b"")), max_size=8), st.integers(1, 3))
def test_what_a_browser_sends_is_read_as_it_was_set(pairs: list[tuple[bytes, bytes]], spread: int) -> None:
    fields = [b"; ".join(b"%b=%b" % pair for pair in pairs[start::spread]) for start in range(spread)]
    expected = [value for start in range(spread) for name, value in pairs[start::spread] if name == b"sid"]
    assert values(*fields) == expected
