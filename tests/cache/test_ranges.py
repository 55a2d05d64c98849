"""Range and If-Range: RFC 9110 §13.1.5, §14.1.2, §14.2, §15.3.7, §15.5.17."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.conditional import answer_for
from asgi_redis_guard.cache.ranges import is_unchanged, wanted
from asgi_redis_guard.core.asgi import Headers

BODY = b"0123456789"
NOW = 1.8e9
OLD = b"Sun, 06 Nov 1994 08:49:37 GMT"
MINUTE_LATER = b"Sun, 06 Nov 1994 08:50:37 GMT"
SECONDS_LATER = b"Sun, 06 Nov 1994 08:50:36 GMT"
STORED: Headers = [
    (b"content-type", b"text/plain"),
    (b"content-length", b"10"),
    (b"content-digest", b"sha-256=:x:"),
    (b"repr-digest", b"sha-256=:x:"),
    (b"etag", b'"abc"'),
    (b"vary", b"accept"),
    (b"cache-control", b"max-age=60"),
    (b"access-control-allow-origin", b"*"),
    (b"set-cookie", b"a=1"),
]


def get(
    *fields: tuple[bytes, bytes], body: bytes = BODY, stored: Headers = STORED
) -> tuple[int, dict[bytes, bytes], bytes]:
    status, headers, content = answer_for([(b"host", b"x"), *fields], "GET", 200, stored, body, now=NOW)
    assert len(dict(headers)) == len(headers)
    return status, dict(headers), content


@pytest.mark.parametrize(
    ("field", "length", "begin", "end"),
    [
        pytest.param(b"bytes=0-499", 10_000, 0, 500, id="§14.1.2 the first 500"),
        pytest.param(b"bytes=500-999", 10_000, 500, 1000, id="§14.1.2 the second 500"),
        pytest.param(b"bytes=-500", 10_000, 9500, 10_000, id="§14.1.2 the final 500"),
        pytest.param(b"bytes=9500-", 10_000, 9500, 10_000, id="§14.1.2 the final 500, open"),
        pytest.param(b"bytes=0-0", 10, 0, 1, id="one byte"),
        pytest.param(b"bytes=9-9", 10, 9, 10, id="the last byte"),
        pytest.param(b"bytes=5-99", 10, 5, 10, id="§14.1.2 beyond the end"),
        pytest.param(b"bytes=5-99999999999999999999999", 10, 5, 10, id="§14.1.2 far beyond the end"),
        pytest.param(b"bytes=-99", 10, 0, 10, id="§14.1.2 a suffix longer than all"),
        pytest.param(b"bytes=-" + b"9" * 65_000, 10, 0, 10, id="a very long suffix"),
        pytest.param(b"BYTES=1-2", 10, 1, 3, id="§14.1 the unit in any case"),
        pytest.param(b" bytes= 01-002 ", 10, 1, 3, id="leading zeros, whitespace"),
    ],
)
def test_a_single_range_is_understood(field: bytes, length: int, begin: int, end: int) -> None:
    assert wanted([field], length) == range(begin, end)


@pytest.mark.parametrize(
    "fields",
    [
        (b"bytes=0-1,3-4",),
        (b"bytes=0-1, ",),
        (b"bytes=,0-1",),
        (b"bytes=0-1", b"bytes=0-1"),
        (b"bytes=5-3",),
        (b"bytes=-",),
        (b"bytes=",),
        (b"bytes",),
        (b"bytes 0-1",),
        (b"bytes =0-1",),
        (b"bytes=a-b",),
        (b"bytes=0x1-2",),
        (b"bytes=--1",),
        (b"bytes=-1-2",),
        (b"bytes=+1-2",),
        (b"bytes=1_0-20",),
        (b"bytes=1.0-2",),
        (b"bytes=0 - 1",),
        (b"bytes=\xb2-3",),
        (b"items=0-1",),
        (b"0-1",),
        (b"",),
        (b"," * 65_536,),
        (b"bytes=" + b"0-1," * 16_384,),
        (b"bytes=" + b" " * 65_536,),
        (b"bytes=99999999999999999999-88888888888888888888",),
    ],
    ids=repr,
)
def test_any_other_field_is_the_whole(fields: tuple[bytes, ...]) -> None:
    assert wanted(fields, 10) is None
    status, headers, content = get(*((b"range", field) for field in fields))
    assert (status, headers[b"content-length"], content) == (200, b"10", BODY)
    assert b"content-range" not in headers


@pytest.mark.parametrize(
    ("field", "length"),
    [(b"bytes=10-", 10), (b"bytes=10-20", 10), (b"bytes=99999999999999999999999-", 10), (b"bytes=-0", 10),
     (b"bytes=0-", 0), (b"bytes=0-0", 0), (b"bytes=-0", 0)],
)  # fmt: skip
def test_a_range_with_no_bytes_in_it_is_a_416(field: bytes, length: int) -> None:
    status, headers, content = get((b"range", field), body=BODY[:length])
    assert (status, content) == (416, b"")
    assert headers == {
        b"vary": b"accept",
        b"access-control-allow-origin": b"*",
        b"cache-control": b"no-store",
        b"content-range": b"bytes */%d" % length,
        b"content-length": b"0",
    }


def test_the_end_of_nothing_is_the_whole() -> None:
    assert get((b"range", b"bytes=-5"), body=b"")[0] == 200


def test_a_part_has_the_fields_of_the_whole_but_those_of_its_content() -> None:
    status, headers, content = get((b"range", b"bytes=2-4"))
    assert (status, content) == (206, b"234")
    assert headers == {
        b"content-type": b"text/plain",
        b"repr-digest": b"sha-256=:x:",
        b"etag": b'"abc"',
        b"vary": b"accept",
        b"cache-control": b"max-age=60",
        b"access-control-allow-origin": b"*",
        b"set-cookie": b"a=1",
        b"accept-ranges": b"bytes",
        b"content-range": b"bytes 2-4/10",
        b"content-length": b"3",
    }


@pytest.mark.parametrize(
    ("stored", "field", "holds"),
    [
        pytest.param([(b"etag", b'"a"')], b'"a"', True, id="§13.1.5 the same strong tag"),
        pytest.param([(b"etag", b'"a"')], b' "a" ', True, id="in whitespace"),
        pytest.param([(b"etag", b'"a"')], b'"b"', False, id="another tag"),
        pytest.param([(b"etag", b'W/"a"')], b'W/"a"', False, id="§13.1.5 a weak tag"),
        pytest.param([(b"etag", b'"a"')], b'W/"a"', False, id="weak against strong"),
        pytest.param([(b"etag", b'W/"a"')], b'"a"', False, id="strong against weak"),
        pytest.param([(b"etag", b"a")], b"a", False, id="no well-formed tag"),
        pytest.param([], b'"a"', False, id="no tag stored"),
        pytest.param([(b"etag", b'"a"')], b"*", False, id="no list and no *"),
        pytest.param([(b"etag", b'"a"')], b'"a", "b"', False, id="no list"),
        pytest.param([(b"etag", b'"a"')], b"", False, id="empty"),
        pytest.param([(b"last-modified", OLD), (b"date", MINUTE_LATER)], OLD, True, id="§8.8.2.2 a strong date"),
        pytest.param([(b"last-modified", OLD), (b"date", SECONDS_LATER)], OLD, False, id="§8.8.2.2 a weak date"),
        pytest.param([(b"last-modified", OLD), (b"date", b"x")], OLD, False, id="no valid Date"),
        pytest.param([(b"last-modified", OLD), (b"date", MINUTE_LATER)] * 2, OLD, False, id="two dates"),
        pytest.param([(b"last-modified", OLD), (b"date", MINUTE_LATER)], MINUTE_LATER, False, id="§13.1.5 not exactly"),
        pytest.param(
            [(b"last-modified", OLD), (b"date", MINUTE_LATER)],
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            False,
            id="another form",
        ),
        pytest.param([(b"last-modified", b"x"), (b"date", MINUTE_LATER)], b"x", False, id="no date at all"),
        pytest.param([(b"last-modified", b'"a"'), (b"date", MINUTE_LATER)], b'"a"', False, id="a tag for a date"),
    ],
)
def test_if_range_holds_for_the_very_same_bytes(stored: Headers, field: bytes, holds: bool) -> None:
    assert is_unchanged([field], stored, NOW, None) is holds
    status, _, content = answer_for([(b"range", b"bytes=1-2"), (b"if-range", field)], "GET", 200, stored, BODY, now=NOW)
    assert (status, content) == ((206, b"12") if holds else (200, BODY))


def test_without_a_date_the_time_of_receipt_tells_how_strong_a_date_is() -> None:
    stored = [(b"last-modified", OLD)]
    modified = 784111777.0
    assert not is_unchanged([OLD], stored, NOW, None)
    assert not is_unchanged([OLD], stored, NOW, modified + 59)
    assert is_unchanged([OLD], stored, NOW, modified + 60)


def test_if_range_alone_does_nothing_and_twice_is_the_whole() -> None:
    assert get((b"if-range", b'"abc"'))[0] == 200
    assert get((b"if-range", b'"abc"'), (b"if-range", b'"abc"'), (b"range", b"bytes=0-1"))[0] == 200


def test_an_unsatisfiable_range_of_something_that_has_changed_is_the_whole() -> None:
    assert get((b"range", b"bytes=99-"), (b"if-range", b'"old"'))[0] == 200
    assert get((b"range", b"bytes=99-"), (b"if-range", b'"abc"'))[0] == 416


numbers = st.integers(0, 30) | st.integers(0, 10**30)
positions = st.builds(
    lambda first, last: b"bytes=%b-%b" % (first, last),
    st.just(b"") | numbers.map(lambda number: b"%d" % number),
    st.just(b"") | numbers.map(lambda number: b"%d" % number),
)


@given(positions | st.text("bytes=-,0123456789 ", max_size=16).map(str.encode), st.binary(max_size=20))
def test_what_is_answered_is_the_whole_or_the_very_part(field: bytes, body: bytes) -> None:
    status, headers, content = get((b"range", field), body=body)
    if status == 206:
        span, _, total = headers[b"content-range"].removeprefix(b"bytes ").partition(b"/")
        first, last = map(int, span.split(b"-"))
        assert 0 <= first <= last < len(body) == int(total)
        assert content == body[first : last + 1]
        assert headers[b"content-length"] == b"%d" % len(content)
        asked, _, until = field.strip().lower().removeprefix(b"bytes=").strip().partition(b"-")
        assert first == (int(asked) if asked else max(0, len(body) - int(until)))
        assert last == (min(int(until), len(body) - 1) if asked and until else len(body) - 1)
    elif status == 416:
        assert content == b""
        assert headers[b"content-range"] == b"bytes */%d" % len(body)
    else:
        assert (status, content, headers[b"content-length"]) == (200, body, b"%d" % len(body))


@given(st.lists(st.binary(max_size=40), max_size=3), st.lists(st.binary(max_size=40), max_size=2))
def test_any_bytes_are_read(field: list[bytes], condition: list[bytes]) -> None:
    found = wanted(field, 10)
    assert found is None or 0 <= found.start <= found.stop <= 10
    assert is_unchanged(condition, STORED, NOW, 0.0) in (True, False)
