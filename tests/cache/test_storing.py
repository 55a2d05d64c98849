"""What a shared cache may store. Numbers in brackets are sections of RFC 9111."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import parse_cache_control, request_control
from asgi_redis_guard.cache.freshness import control_of, freshness
from asgi_redis_guard.cache.storing import UNDERSTOOD, is_of_use, refusal

CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
Lines = list[tuple[bytes, bytes]]


def refused(*headers: tuple[bytes, bytes], request: Lines | None = None, status: int = 200, **options: Any) -> Any:
    control, targeted = control_of(list(headers), [b"cdn-cache-control"])
    request = request or []
    options = {"credentials": CREDENTIALS, "targeted": targeted} | options
    return refusal(request, request_control(request), status, list(headers), control, **options)


def cc(value: bytes) -> tuple[bytes, bytes]:
    return b"cache-control", value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"max-age=60", None),
        # [5.2.2.5]
        (b"no-store", "no_store"),
        (b"max-age=60, No-StOrE", "no_store"),
        (b"max-age=60,  no-store ", "no_store"),
        # [5.2.2.7]
        (b"private", "private"),
        (b"Private, max-age=60", "private"),
        (b"public, private", "private"),
        (b'private="a", private', "private"),
        (b'private="", max-age=60', "private"),
        (b'private="a", max-age=60', None),
        # [5.2.2.4]: stored, for use after validation
        (b"no-cache", None),
        (b'no-cache="a"', None),
        # [5.2.2.3]: what is understood overrides no-store, and nothing else
        (b"must-understand, no-store, max-age=60", None),
        (b"must-understand, private", "private"),
    ],
)
def test_directives_of_the_response(value: bytes, reason: str | None) -> None:
    assert refused(cc(value)) == reason


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        # RFC 9213 §2.2: a valid targeted field speaks alone
        ([(b"cdn-cache-control", b"max-age=60"), cc(b"no-store")], None),
        ([(b"cdn-cache-control", b"max-age=60"), cc(b"private")], None),
        ([(b"cdn-cache-control", b"no-store"), cc(b"max-age=60")], "no_store"),
        ([(b"cdn-cache-control", b"private"), cc(b"max-age=60")], "private"),
        ([(b"cdn-cache-control", b"max-age=60, &&&&&"), cc(b"no-store")], "no_store"),
        ([(b"cdn-cache-control", b'max-age="60"'), cc(b"no-store")], "no_store"),
        ([(b"cdn-cache-control", b""), cc(b"no-store")], "no_store"),
    ],
)
def test_directives_of_a_targeted_field(headers: Lines, reason: str | None) -> None:
    assert refused(*headers) == reason


@pytest.mark.parametrize(
    ("request_headers", "reason"),
    [
        ([cc(b"no-store")], "request_no_store"),  # [5.2.1.5]
        ([cc(b"max-age=0"), cc(b"No-Store")], "request_no_store"),
        ([cc(b"no-cache")], None),
        ([(b"pragma", b"no-cache")], None),
        ([(b"cookie", b"a=1")], None),
        # [3.5]
        ([(b"authorization", b"Bearer x")], "authorization"),
        ([(b"authorization", b"")], "authorization"),
        ([(b"x-api-key", b"x")], "authorization"),
        ([(b"authorization", b"x"), (b"x-api-key", b"x")], "authorization"),
    ],
)
def test_what_the_request_says(request_headers: Lines, reason: str | None) -> None:
    assert refused(cc(b"max-age=60"), request=request_headers) == reason


@pytest.mark.parametrize(
    ("value", "authorization", "api_key"),
    [
        # [3.5]: public, must-revalidate and s-maxage say that it is for all; of another field than Authorization,
        # only public
        (b"max-age=60", False, False),
        (b"max-age=60, public", True, True),
        (b"public", True, True),
        (b"max-age=60, must-revalidate", True, False),
        (b"s-maxage=60", True, False),
        (b"max-age=60, proxy-revalidate", False, False),
        (b"max-age=60, no-cache", False, False),
        (b"max-age=60, immutable", False, False),
        (b"", False, False),
    ],
)
def test_the_answer_to_somebody_is_stored_only_where_it_says_that_it_is_for_all(
    value: bytes, authorization: bool, api_key: bool
) -> None:
    some = (b"authorization", b"Bearer x")
    key = (b"x-api-key", b"x")
    assert (refused(cc(value), request=[some]) is None) is authorization
    assert (refused(cc(value), request=[key]) is None) is api_key
    assert (refused(cc(value), request=[some, key]) is None) is api_key
    assert (refused((b"cdn-cache-control", value), cc(b"public"), request=[some]) is None) is (
        authorization or not value  # an empty one is none
    )


@pytest.mark.parametrize(
    ("status", "value", "reason"),
    [
        # [3]: final statuses, any of them with a stated lifetime
        *[(status, b"max-age=60", None) for status in (200, 201, 203, 204, 299, 301, 302, 303, 307, 308)],
        *[(status, b"max-age=60", None) for status in (400, 403, 404, 410, 499, 500, 502, 503, 504, 599)],
        *[(status, b"max-age=60", "status") for status in (100, 101, 103, 199, 600, 0)],
        (206, b"max-age=60", "status"),
        (304, b"max-age=60", "status"),
        # RFC 6585: never
        *[(status, b"public, s-maxage=60", "status") for status in (428, 429, 431, 511)],
        # [5.2.2.3]
        (200, b"must-understand, no-store, max-age=60", None),
        (404, b"must-understand, max-age=60", None),
        (599, b"must-understand, no-store, max-age=60", "status"),
        (599, b"must-understand, max-age=60", "status"),
        (299, b"must-understand, max-age=60", "status"),
        # [3]: no lifetime, and none may be made up
        (200, b"", None),
        (404, b"", None),
        (201, b"", "no_freshness"),
        (302, b"must-revalidate", "no_freshness"),
        (503, b"stale-if-error=60", "no_freshness"),
        (599, b"", "no_freshness"),
        (599, b"public", None),
        (503, b"s-maxage=0", None),
    ],
)
def test_statuses(status: int, value: bytes, reason: str | None) -> None:
    assert refused(cc(value), status=status) == reason


def test_expires_is_a_stated_lifetime_where_it_counts() -> None:
    expires = (b"expires", b"0")
    assert refused(expires, status=503) is None
    assert refused(expires, (b"cdn-cache-control", b"must-revalidate"), status=503) == "no_freshness"


def test_a_caller_may_understand_more_statuses() -> None:
    part = [cc(b"must-understand, max-age=60"), (b"content-range", b"bytes 0-1/2")]
    assert refused(*part, status=206, understood=UNDERSTOOD | {206}) is None
    assert refused(*part, status=206, understood=UNDERSTOOD | {304}) == "status"
    assert refused(*part, status=200) == "content_range"  # RFC 9110 §14.4
    assert refused((b"content-range", b"bytes */2"), cc(b"max-age=60"), status=416) == "content_range"
    assert refused(cc(b"max-age=60"), status=304, understood=UNDERSTOOD | {304}) is None


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        # [4.1]
        ([b"*"], "vary"),
        ([b" * "], "vary"),
        ([b"\t*"], "vary"),
        ([b"accept, *"], "vary"),
        ([b"*,accept"], "vary"),
        ([b",, *"], "vary"),
        ([b"accept", b"*"], "vary"),
        ([b"*", b"accept"], "vary"),
        ([b"*;q=1"], "vary"),
        ([b"\x0b*"], "vary"),
        ([b"accept language"], "vary"),
        ([b"accept, accept-language"], None),
        ([b""], None),
    ],
)
def test_what_varies_on_everything_is_never_stored(lines: list[bytes], reason: str | None) -> None:
    assert refused(cc(b"public, max-age=60"), *[(b"vary", line) for line in lines]) == reason


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([(b"set-cookie", b"a=b")], "set_cookie"),
        ([(b"set-cookie2", b"a=b")], "set_cookie"),
        ([(b"set-cookie", b"")], "set_cookie"),
        ([(b"set-cookie", b"a=b"), cc(b"public")], "set_cookie"),
        # [5.2.2.4], [5.2.2.7]: the response says that they are not to be stored, but the rest may
        ([(b"set-cookie", b"a=b"), cc(b'private="Set-Cookie"')], None),
        ([(b"set-cookie", b"a=b"), cc(b'no-cache="set-cookie"')], None),
        ([(b"set-cookie", b"a=b"), (b"set-cookie2", b"a=b"), cc(b'no-cache="set-cookie"')], "set_cookie"),
    ],
)
def test_cookies(headers: Lines, reason: str | None) -> None:
    assert refused(cc(b"max-age=60"), *headers) == reason
    assert refused(cc(b"max-age=60"), *headers, store_cookies=True) is None


_words = st.sampled_from(
    ["public", "max-age=60", "s-maxage=9", "must-revalidate", "immutable", "x", 'y="z, w"', "no-cache"]
)


@given(
    st.lists(_words, max_size=5),
    st.sampled_from(["no-store", "private"]).flatmap(
        lambda word: st.tuples(*(st.sampled_from([letter, letter.upper()]) for letter in word)).map("".join)
    ),
    st.sampled_from(["", " ", "\t", " ,", "'", '"', "\x0b"]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([200, 404, 500, 599]),
)
def test_no_store_and_private_in_any_spelling_and_place_refuse(
    words: list[str], word: str, around: str, place: int, cut: int, status: int
) -> None:
    words.insert(place, around + word + around)
    lines = [cc(",".join(part).encode()) for part in (words[:cut], words[cut:])]
    assert refused(*lines, status=status) in ("no_store", "private")


_names = st.sampled_from(
    [
        "cache-control",
        "vary",
        "set-cookie",
        "expires",
        "content-range",
        "connection",
        "cdn-cache-control",
        "x-a",
        "etag",
    ]
)
_headers = st.lists(st.tuples(_names.map(str.encode), st.binary(max_size=20)), max_size=8)


@given(_headers, _headers, st.integers(0, 700))
def test_no_fields_raise(request_headers: Lines, headers: Lines, status: int) -> None:
    refused(*headers, request=request_headers, status=status)


@pytest.mark.parametrize(
    ("headers", "of_use"),
    [
        ([cc(b"max-age=1")], True),
        ([cc(b"max-age=0")], False),
        ([], False),
        ([cc(b"no-cache, max-age=60")], False),
        ([cc(b"no-cache"), (b"etag", b'"x"')], True),
        ([(b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT")], True),
        ([cc(b"max-age=0, stale-while-revalidate=5")], True),
        ([cc(b"stale-if-error=5")], True),
        ([cc(b"stale-if-error=5, must-revalidate")], False),
        ([cc(b"max-age=30"), (b"age", b"30")], False),
    ],
)
def test_what_could_never_serve_is_of_no_use(headers: Lines, of_use: bool) -> None:
    control = parse_cache_control([value for name, value in headers if name == b"cache-control"])
    assert is_of_use(headers, freshness(200, headers, control, False, asked_at=1e9, received_at=1e9)) is of_use


def test_floods_are_cheap() -> None:
    flood = [(name, b"," * 65_536) for name in (b"connection", b"age", b"expires", b"cdn-cache-control")]
    assert refused(*flood) is None
    assert refused(*flood, cc(b"," * 65_536)) == "no_store"
    assert refused(*flood, (b"vary", b"," * 65_536)) == "vary"
