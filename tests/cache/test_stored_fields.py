"""Which fields of a response are stored, and how a 304 renews them. Numbers in brackets are sections of RFC 9111."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import NOTHING
from asgi_redis_guard.cache.freshness import control_of, freshness
from asgi_redis_guard.cache.storing import freshened, storable_headers

Lines = list[tuple[bytes, bytes]]


def cc(value: bytes) -> tuple[bytes, bytes]:
    return b"cache-control", value


def stored(*headers: tuple[bytes, bytes], **options: Any) -> Lines:
    control, _ = control_of(list(headers), [])
    return storable_headers(list(headers), control, **options)


@pytest.mark.parametrize(
    "name",
    [
        # [3.1], RFC 9110 §7.6.1
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # made anew for each response
        b"age",
        # how one client stands
        b"retry-after",
        b"ratelimit",
        b"ratelimit-policy",
        b"ratelimit-remaining",
        b"x-ratelimit-limit",
        b"x-rate-limit-limit",
        b"set-cookie",
        b"set-cookie2",
    ],
)
def test_fields_that_are_not_stored(name: bytes) -> None:
    assert stored((b"x-a", b"1"), (name, b"x"), (b"x-b", b"2")) == [(b"x-a", b"1"), (b"x-b", b"2")]


KEPT = """date expires via vary link content-length content-md5 clear-site-data x-frame-options www-authenticate
cache-status proxy-status strict-transport-security ratelimiter"""


@pytest.mark.parametrize("name", KEPT.encode().split())
def test_all_other_fields_are_stored_with_all_their_lines(name: bytes) -> None:
    lines = [(name, b"1"), (b"x-a", b""), (name, b"2")]
    assert stored(*lines) == lines


def test_cookies_are_stored_where_that_is_asked_for() -> None:
    lines = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert stored(*lines, store_cookies=True) == lines
    assert stored(*lines, cc(b'private="set-cookie"'), store_cookies=True) == [cc(b'private="set-cookie"')]


def test_what_connection_lists_is_not_stored() -> None:
    abc = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert stored((b"connection", b"A, b"), *abc) == [(b"c", b"3")]
    assert stored((b"connection", b"a"), *abc, (b"connection", b", ,b,")) == [(b"c", b"3")]
    assert stored((b"connection", b"close"), *abc) == abc


def test_what_qualified_directives_list_is_not_stored() -> None:
    abc = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    for directive in (b"no-cache", b"private"):
        assert stored(cc(directive + b'="a, B"'), *abc) == [cc(directive + b'="a, B"'), (b"c", b"3")]
    assert stored(cc(b'no-cache="a"'), cc(b'private="b"'), *abc)[2:] == [(b"c", b"3")]


@pytest.mark.parametrize(
    "name", [b"test", b"x-test", b"content-foo", b"content-md5", b"content-location", b"cache-control"]
)
def test_a_304_replaces_the_fields_that_it_has(name: bytes) -> None:  # [3.2], [4.3.4]
    assert freshened([(name, b"1"), (b"x-kept", b"1")], [(name, b"2")]) == [(b"x-kept", b"1"), (name, b"2")]


@pytest.mark.parametrize("name", [b"content-length", b"content-encoding", b"content-type", b"content-range"])
def test_a_304_does_not_change_what_describes_the_body(name: bytes) -> None:
    assert freshened([(name, b"1")], [(name, b"2"), (b"x-new", b"1")]) == [(name, b"1"), (b"x-new", b"1")]
    assert freshened([], [(name, b"2")]) == []


def test_what_a_304_without_a_date_confirms_is_not_as_old_as_before() -> None:  # RFC 9110 §6.6.1
    day = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")
    now = 784_111_777.0 + 3600
    renewed = freshened([cc(b"max-age=60"), day], [(b"etag", b'"x"')])
    control, targeted = control_of(renewed, [])
    assert freshness(200, renewed, control, targeted, asked_at=now, received_at=now).is_fresh
    assert freshened([day], [(b"date", b"x")]) == [(b"date", b"x")]


def test_a_304_replaces_all_lines_by_all_lines() -> None:
    old = [(b"link", b"1"), (b"etag", b'"x"'), (b"link", b"2")]
    assert freshened(old, [(b"link", b"3"), (b"link", b"4")]) == [(b"etag", b'"x"'), (b"link", b"3"), (b"link", b"4")]
    assert freshened(old, []) == old


_names = st.sampled_from([b"cache-control", b"set-cookie", b"connection", b"x-a", b"x-b", b"etag", b"content-type"])
_headers = st.lists(
    st.tuples(_names, st.sampled_from([b"x-a", b'private="x-b"', b"etag, x-a"]) | st.binary(max_size=9))
)


@given(_headers, _headers)
def test_fields_are_taken_over_as_they_are(headers: Lines, new: Lines) -> None:
    kept = stored(*headers)
    assert [pair for pair in headers if pair in kept] == kept
    assert storable_headers(kept, NOTHING) == kept
    once = freshened(kept, new)
    assert set(once) <= {*kept, *new}
    assert freshened(once, new) == once


def test_a_flood_of_commas_is_a_value_like_another() -> None:
    flood = [(b"vary", b"," * 65_536), (b"connection", b"," * 65_536)]
    assert stored(*flood) == flood[:1]
