"""What a cache answers by itself: RFC 9110 §13, §15.4.5, RFC 9111 §4.3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.conditional import (
    CONDITIONAL_FIELDS,
    answer_for,
    is_preconditioned,
    make_etag,
    same_representation,
    validators,
)
from asgi_redis_guard.core.asgi import Headers

BODY = b"0123456789"
NOW = 1.8e9
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
THEN = b"Sun, 06 Nov 1994 08:49:37 GMT"
THEN_850 = b"Sunday, 06-Nov-94 08:49:37 GMT"
THEN_ASCTIME = b"Sun Nov  6 08:49:37 1994"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"
AT = 784111777.0

ETAG = (b"etag", b'"abc"')
MODIFIED = (b"last-modified", THEN)
DATED = (b"date", THEN)
NAMED = (b"if-none-match", b'"abc"')
OTHER = (b"if-none-match", b'"x"')


def status_of(
    request: Headers, stored: Headers, method: str = "GET", status: int = 200, received: float | None = None
) -> int:
    answered, headers, content = answer_for(request, method, status, stored, BODY, now=NOW, received=received)
    if answered == 304:
        assert content == b""
        assert b"content-length" not in dict(headers)
    return answered


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("request_headers", "stored", "status"),
    [
        pytest.param([NAMED], [ETAG], 304, id="§13.1.2 a tag"),
        pytest.param([(b"if-none-match", b'W/"abc"')], [ETAG], 304, id="§13.1.2 weakly"),
        pytest.param([NAMED], [(b"etag", b'W/"abc"')], 304, id="§13.1.2 weakly, the other way"),
        pytest.param([OTHER], [ETAG], 200, id="§13.1.2 another tag"),
        pytest.param([OTHER, NAMED], [ETAG], 304, id="§5.3 lines are a list"),
        pytest.param([(b"if-none-match", b"*")], [ETAG], 304, id="§13.1.2 *"),
        pytest.param([(b"if-none-match", b"*")], [], 304, id="§13.1.2 * of what has no tag"),
        pytest.param([NAMED], [], 200, id="no tag stored"),
        pytest.param([(b"if-none-match", b"")], [ETAG], 200, id="empty"),
        pytest.param([(b"if-modified-since", THEN)], [MODIFIED], 304, id="§13.1.3 the same date"),
        pytest.param([(b"if-modified-since", AFTER)], [MODIFIED], 304, id="§13.1.3 a later date"),
        pytest.param([(b"if-modified-since", BEFORE)], [MODIFIED], 200, id="§13.1.3 an earlier date"),
        pytest.param([(b"if-modified-since", THEN_850)], [MODIFIED], 304, id="§5.6.7 RFC 850"),
        pytest.param([(b"if-modified-since", THEN_ASCTIME)], [MODIFIED], 304, id="§5.6.7 asctime"),
        pytest.param([(b"if-modified-since", b" " + THEN)], [MODIFIED], 304, id="§5.5 whitespace"),
        pytest.param([(b"if-modified-since", b"yesterday")], [MODIFIED], 200, id="§13.1.3 no date"),
        pytest.param([(b"if-modified-since", THEN)] * 2, [MODIFIED], 200, id="§13.1.3 more than one"),
        pytest.param([(b"if-modified-since", THEN)], [DATED], 304, id="RFC 9111 §4.3.2 Date for Last-Modified"),
        pytest.param([(b"if-modified-since", BEFORE)], [DATED], 200, id="RFC 9111 §4.3.2 a later Date"),
        pytest.param([(b"if-modified-since", THEN)], [(b"date", AFTER), MODIFIED], 304, id="Last-Modified before Date"),
        pytest.param(
            [(b"if-modified-since", THEN)], [(b"last-modified", b"x"), DATED], 200, id="no valid Last-Modified"
        ),
        pytest.param([(b"if-modified-since", THEN)], [MODIFIED, MODIFIED], 200, id="Last-Modified twice"),
        pytest.param([(b"if-modified-since", THEN)], [], 200, id="no date known"),
        pytest.param([OTHER, (b"if-modified-since", AFTER)], [ETAG, MODIFIED], 200, id="§13.1.3 a tag wins: changed"),
        pytest.param([NAMED, (b"if-modified-since", BEFORE)], [ETAG, MODIFIED], 304, id="§13.1.3 a tag wins: same"),
        pytest.param(
            [(b"if-none-match", b"x y"), (b"if-modified-since", AFTER)],
            [ETAG, MODIFIED],
            200,
            id="a malformed tag wins",
        ),
        pytest.param([(b"if-none-match", b"," * 65_536)], [ETAG], 200, id="a flood"),
        pytest.param([(b"if-modified-since", b"," * 65_536)], [MODIFIED], 200, id="a flood for a date"),
    ],
)
def test_a_condition_is_kept(request_headers: Headers, stored: Headers, status: int, method: str) -> None:
    assert status_of(request_headers, stored, method) == status


def test_the_time_of_receipt_stands_for_dates_that_are_missing() -> None:
    since = [(b"if-modified-since", THEN)]
    assert status_of(since, [], received=AT) == 304
    assert status_of(since, [], received=AT + 1) == 200
    assert status_of(since, [(b"date", AFTER)], received=AT) == 200


@pytest.mark.parametrize("status", [203, 204, 206, 301, 404, 410, 500])
def test_conditions_mean_nothing_where_the_answer_is_no_200(status: int) -> None:
    stored = [ETAG, MODIFIED]
    asked = [NAMED, (b"if-modified-since", AFTER), (b"range", b"bytes=0-1")]
    assert status_of(asked, stored, status=status) == status


@pytest.mark.parametrize("method", ["POST", "PUT", "QUERY"])
def test_conditions_mean_nothing_for_other_methods(method: str) -> None:
    answered, _, content = answer_for([NAMED, (b"range", b"bytes=0-1")], method, 200, [ETAG], BODY, now=NOW)
    assert (answered, content) == (200, BODY)


@pytest.mark.parametrize(
    ("request_headers", "answer"),
    [
        pytest.param([NAMED, (b"range", b"bytes=1-2")], (304, b""), id="§13.2.2 step 3 before 5"),
        pytest.param([OTHER, (b"range", b"bytes=1-2")], (206, b"12"), id="§13.2.2 steps 3 and 5"),
        pytest.param(
            [(b"if-modified-since", THEN), (b"range", b"bytes=99-")], (304, b""), id="§13.2.2 step 4 before 5"
        ),
        pytest.param(
            [(b"if-modified-since", BEFORE), (b"range", b"bytes=99-")], (416, b""), id="§13.2.2 steps 4 and 5"
        ),
        pytest.param(
            [OTHER, (b"range", b"bytes=1-2"), (b"if-range", b'"x"')], (200, BODY), id="§13.2.2 step 5 does not hold"
        ),
        pytest.param(
            [OTHER, (b"range", b"bytes=1-2"), (b"if-range", b'"abc"')], (206, b"12"), id="§13.2.2 step 5 holds"
        ),
    ],
)
def test_conditions_are_looked_at_in_the_order_of_the_standard(
    request_headers: Headers, answer: tuple[int, bytes]
) -> None:
    status, _, content = answer_for(request_headers, "GET", 200, [ETAG, MODIFIED], BODY, now=NOW)
    assert (status, content) == answer


WHOLE: Headers = [
    (b"content-type", b"text/plain"),
    (b"content-length", b"10"),
    (b"content-encoding", b"gzip"),
    (b"content-language", b"en"),
    (b"content-location", b"/a"),
    (b"content-security-policy", b"default-src 'self'"),
    (b"repr-digest", b"sha-256=:x:"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"etag", b'"abc"'),
    (b"last-modified", THEN),
    (b"cache-control", b"max-age=60"),
    (b"date", AFTER),
    (b"expires", AFTER),
    (b"vary", b"accept"),
    (b"vary", b"origin"),
    (b"age", b"7"),
    (b"cache-status", b"guard; hit"),
    (b"link", b"</x>"),
    (b"x-custom", b"1"),
]
KEPT = [
    b"content-location", b"content-security-policy", b"etag", b"cache-control", b"date", b"expires", b"vary", b"vary",
    b"age", b"cache-status", b"link", b"x-custom",
]  # fmt: skip


def test_a_304_keeps_what_guides_caches_and_what_does_not_describe_the_representation() -> None:
    status, headers, content = answer_for([NAMED], "GET", 200, WHOLE, BODY, now=NOW)
    assert (status, content) == (304, b"")
    assert [name for name, _ in headers] == KEPT
    assert set(headers) <= set(WHOLE)


def test_a_304_has_the_date_of_what_has_no_tag() -> None:
    status, headers, _ = answer_for([(b"if-modified-since", THEN)], "GET", 200, [MODIFIED, DATED], BODY, now=NOW)
    assert (status, headers) == (304, [MODIFIED, DATED])


def test_the_whole_has_all_fields_and_says_that_parts_can_be_had() -> None:
    status, headers, content = answer_for([(b"accept", b"*/*")], "GET", 200, WHOLE, BODY, now=NOW)
    assert (status, content) == (200, BODY)
    assert sorted(headers) == sorted([*WHOLE, (b"accept-ranges", b"bytes")])
    assert [field for field in headers if field in WHOLE and field[0] != b"content-length"] == [
        field for field in WHOLE if field[0] != b"content-length"
    ]


@pytest.mark.parametrize(
    ("stored", "ranges"),
    [([ETAG], False), ([ETAG, (b"accept-ranges", b"none")], True), ([(b"accept-ranges", b"None ")], True)],
    ids=["switched off", "refused by the app", "in any case"],
)
def test_parts_are_not_served_where_they_are_not_wanted(stored: Headers, ranges: bool) -> None:
    asked = [(b"range", b"bytes=0-1")]
    status, headers, content = answer_for(asked, "GET", 200, stored, BODY, now=NOW, ranges=ranges)
    assert (status, headers, content) == (200, [*stored, (b"content-length", b"10")], BODY)


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [(b"content-length", b"10")],
        [(b"content-length", b"99")],
        [(b"content-length", b"10"), (b"content-length", b"11")],
        [(b"transfer-encoding", b"chunked")],
    ],
    ids=repr,
)
@pytest.mark.parametrize(("status", "ranges"), [(200, True), (200, False), (404, True)])
def test_the_length_is_that_of_the_body_and_a_head_tells_it_without(stored: Headers, status: int, ranges: bool) -> None:
    got = answer_for([], "GET", status, stored, BODY, now=NOW, ranges=ranges)
    head = answer_for([(b"range", b"bytes=0-1")], "HEAD", status, stored, BODY, now=NOW, ranges=ranges)
    assert got[2] == BODY
    assert head == (got[0], got[1], b"")
    framing = [field for field in got[1] if field[0] in (b"content-length", b"transfer-encoding")]
    assert framing == [(b"content-length", b"10")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_204_has_neither_content_nor_length(method: str) -> None:
    assert answer_for([], method, 204, [ETAG, (b"content-length", b"0")], b"", now=NOW) == (204, [ETAG], b"")


@pytest.mark.parametrize(
    "asked",
    [[], [NAMED], [(b"range", b"bytes=0-1")], [(b"range", b"bytes=99-")]],
    ids=["whole", "304", "206", "416"],
)
@pytest.mark.parametrize("status", [200, 404])
def test_what_is_stored_is_never_changed_by_what_is_done_with_an_answer(asked: Headers, status: int) -> None:
    stored = list(WHOLE)
    _, headers, _ = answer_for(asked, "GET", status, stored, BODY, now=NOW)
    headers.append((b"age", b"8"))
    assert stored == WHOLE


names = st.sampled_from(sorted(CONDITIONAL_FIELDS | {b"accept", b"x"}))
strings = st.sampled_from([b'"abc"', b'W/"abc"', b"*", THEN, BEFORE, b"bytes=0-1", b"bytes=-3"]) | st.binary(
    max_size=20
)


@given(st.lists(st.tuples(names, strings), max_size=6), st.sampled_from(["GET", "HEAD", "POST"]))
def test_any_request_gets_an_answer_that_is_whole_in_itself(asked: Headers, method: str) -> None:
    status, headers, content = answer_for(asked, method, 200, WHOLE, BODY, now=NOW)
    assert status in (200, 206, 304, 416)
    lengths = [value for name, value in headers if name == b"content-length"]
    if status == 304:
        assert (lengths, content) == ([], b"")
    elif method == "HEAD":
        assert (status, lengths, content) == (200, [b"10"], b"")
    else:
        assert lengths == [b"%d" % len(content)]
        assert content in BODY


@pytest.mark.parametrize(
    ("asked", "preconditioned"),
    [([], False), ([NAMED, (b"range", b"bytes=0-1")], False), ([(b"if-match", b"*")], True),
     ([(b"accept", b"*/*"), (b"if-unmodified-since", THEN)], True)],
)  # fmt: skip
def test_preconditions_of_the_origin_are_told(asked: Headers, preconditioned: bool) -> None:
    assert is_preconditioned(asked) is preconditioned


def test_a_request_that_fills_the_cache_asks_for_the_whole() -> None:
    assert {b"if-none-match", b"if-modified-since", b"range", b"if-range"} == CONDITIONAL_FIELDS


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ([], []),
        ([DATED], []),
        ([ETAG], [NAMED]),
        ([(b"etag", b' W/"a"')], [(b"if-none-match", b'W/"a"')]),
        ([(b"etag", b"abc")], [(b"if-none-match", b"abc")]),
        ([(b"etag", b'"a b"')], []),
        ([ETAG, ETAG], []),
        ([MODIFIED], [(b"if-modified-since", THEN)]),
        ([(b"last-modified", b"x")], []),
        ([MODIFIED, ETAG], [NAMED, (b"if-modified-since", THEN)]),
    ],
    ids=repr,
)
def test_a_stored_response_is_validated_by_what_it_said_of_itself(stored: Headers, sent: Headers) -> None:
    assert validators(stored) == sent


@pytest.mark.parametrize(
    ("stored", "new", "same"),
    [
        pytest.param([ETAG], [ETAG], True, id="strong, the same"),
        pytest.param([ETAG], [(b"etag", b'"x"')], False, id="strong, another"),
        pytest.param([(b"etag", b'W/"abc"')], [ETAG], False, id="strong, of a weak one"),
        pytest.param([MODIFIED], [ETAG, MODIFIED], False, id="strong, of none"),
        pytest.param([ETAG, MODIFIED], [ETAG, (b"last-modified", AFTER)], True, id="strong, with a new date"),
        pytest.param([ETAG], [(b"etag", b'W/"abc"')], True, id="weak, of a strong one"),
        pytest.param([(b"etag", b'W/"abc"')], [(b"etag", b'W/"abc"')], True, id="weak, the same"),
        pytest.param([(b"etag", b'W/"abc"')], [(b"etag", b'W/"x"')], False, id="weak, another"),
        pytest.param([ETAG, MODIFIED], [MODIFIED], True, id="a date, the same"),
        pytest.param([MODIFIED], [(b"last-modified", AFTER)], False, id="a date, another"),
        pytest.param([ETAG], [MODIFIED], False, id="a date, of none"),
        pytest.param([ETAG, MODIFIED], [(b"x", b"1")], True, id="nothing"),
        pytest.param([], [], True, id="nothing of nothing"),
        pytest.param([ETAG], [(b"etag", b'"abc'), MODIFIED], False, id="a malformed tag"),
        pytest.param([(b"etag", b'"a b"')], [(b"etag", b'"a b"')], True, id="malformed, the same"),
        pytest.param([ETAG], [ETAG, ETAG], False, id="twice"),
    ],
)
def test_a_304_is_about_the_stored_response_by_rfc_9111_4_3_4(stored: Headers, new: Headers, same: bool) -> None:
    assert same_representation(stored, new) is same


@given(st.binary(max_size=40))
def test_what_has_a_made_tag_validates_and_is_not_modified(body: bytes) -> None:
    stored = [(b"etag", make_etag(body))]
    assert answer_for(validators(stored), "GET", 200, stored, body, now=NOW)[0] == 304
    assert same_representation(stored, stored)


@pytest.mark.parametrize(("now", "status"), [(1.8e9, 200), (2.5e9, 304)], ids=["in 2027", "in 2049"])
def test_the_time_tells_the_century_of_a_date_with_two_digits(now: float, status: int) -> None:
    asked, stored = [(b"if-modified-since", THEN_850)], [(b"last-modified", AFTER)]
    assert answer_for(asked, "GET", 200, stored, BODY, now=now)[0] == status
