"""Parts of a stored response (RFC 9110 §14, RFC 9111 §3.3, §4.3.2)."""

from tests.cache.cases import Case, Reply, Step, case, play, table

BODY = b"0123456789"
FRESH = 'cache-control: max-age=100 | etag: "a" | last-modified: {-1000} | date: {0} | content-type: a/b'
WHOLE = Step("miss", says=Reply(FRESH, body=BODY))


def part(name: str, asked: str, body: bytes, at: str = "", status: int = 206, fields: str = "") -> Case:
    """A stored response of 10 bytes, and a request for a part of it."""
    has = f"content-range: bytes {at}/10" if at else ""
    fields = f"range: {asked}" + (f" | {fields}" if fields else "")
    return case(f"{name}: {asked}", WHOLE, Step("hit", fields, 3, status=status, body=body, has=has))


@table(
    part("the first", "bytes=0-0", b"0", "0-0"),
    part("from the first", "bytes=0-4", b"01234", "0-4"),
    part("within", "bytes=2-5", b"2345", "2-5"),
    part("to the end", "bytes=5-", b"56789", "5-9"),
    part("all of it", "bytes=0-", BODY, "0-9"),
    part("beyond the end", "bytes=8-99", b"89", "8-9"),
    part("the last", "bytes=9-9", b"9", "9-9"),
    part("the last three", "bytes=-3", b"789", "7-9"),
    part("the last of more than there are", "bytes=-99", BODY, "0-9"),
    part("leading zeros", "bytes=002-005", b"2345", "2-5"),
    part("in capitals", "BYTES=2-5", b"2345", "2-5"),
    part("huge", "bytes=5-99999999999999999999999", b"56789", "5-9"),
    part("behind the end", "bytes=10-", b"", status=416),
    part("far behind", "bytes=99999999999999999999-", b"", status=416),
    part("the last none", "bytes=-0", b"", status=416),
    part("several are the whole", "bytes=0-1, 4-5", BODY, status=200),
    part("several that are one", "bytes=0-1,2-3", BODY, status=200),
    part("another unit", "items=0-4", BODY, status=200),
    part("backwards", "bytes=5-2", BODY, status=200),
    part("no numbers", "bytes=a-b", BODY, status=200),
    part("nothing", "bytes=-", BODY, status=200),
    part("no unit", "0-4", BODY, status=200),
    part("negative", "bytes=-3--1", BODY, status=200),
    part("two lines", "bytes=0-4 | range: bytes=5-6", BODY, status=200),
    part("If-Range, the tag", "bytes=2-5", b"2345", "2-5", fields='if-range: "a"'),
    part("If-Range, another tag", "bytes=2-5", BODY, status=200, fields='if-range: "b"'),
    part("If-Range, a weak tag", "bytes=2-5", BODY, status=200, fields='if-range: W/"a"'),
    part("If-Range, the date", "bytes=2-5", b"2345", "2-5", fields="if-range: {-1003}"),
    part("If-Range, a later date", "bytes=2-5", BODY, status=200, fields="if-range: {0}"),
    part("If-Range, an earlier date", "bytes=2-5", BODY, status=200, fields="if-range: {-2000}"),
    part("If-Range, nonsense", "bytes=2-5", BODY, status=200, fields="if-range: x"),
    part("If-None-Match first", "bytes=2-5", b"", status=304, fields='if-none-match: "a"'),
    part("another If-None-Match", "bytes=2-5", b"2345", "2-5", fields='if-none-match: "b"'),
)
async def test_a_part_of_what_is_stored(given: Case) -> None:
    await play(given)


PART = Reply('cache-control: max-age=100 | etag: "a" | content-range: bytes 0-4/10', 206, body=BODY[:5])


@table(
    case(
        "has the fields of the whole",
        WHOLE,
        Step("hit", "range: bytes=0-1", 3, has='etag: "a" | content-type: a/b | age: 3 | content-length: 2'),
    ),
    case("announced", WHOLE, Step("hit", has="accept-ranges: bytes")),
    case(
        "not for HEAD",
        WHOLE,
        Step("hit", "range: bytes=0-1", method="HEAD", status=200, has="content-length: 10", lacks="content-range"),
    ),
    case(
        "not of a 404",
        Step("miss", says=Reply(FRESH, 404, BODY)),
        Step("hit", "range: bytes=0-1", status=404, body=BODY),
    ),
    case(
        "not where the app wants none",
        Step("miss", says=Reply(FRESH + " | accept-ranges: none", body=BODY)),
        Step("hit", "range: bytes=0-1", status=200, body=BODY),
    ),
    case("switched off", WHOLE, Step("hit", "range: bytes=0-1", status=200, body=BODY), ranges=False),
    case(
        "a 416 is not to be kept",
        WHOLE,
        Step("hit", "range: bytes=20-", has="content-range: bytes */10 | cache-control: no-store"),
    ),
    case(
        "of nothing",
        Step("miss", says=Reply(FRESH, body=b"")),
        Step("hit", "range: bytes=0-1", status=416, has="content-range: bytes */0"),
    ),
    case(
        "no digest of the content",
        Step(
            "miss",
            says=Reply(FRESH + " | content-digest: x=:YQ==: | content-md5: x | repr-digest: y=:YQ==:", body=BODY),
        ),
        Step("hit", "range: bytes=0-1", lacks="content-digest content-md5", has="repr-digest: y=:YQ==:"),
    ),
    case(
        "with nothing stored the app answers",
        Step("unstored", "range: bytes=0-4", says=PART, status=206, app="range: bytes=0-4"),
        Step("miss", says=Reply(FRESH, body=BODY), body=BODY),
        Step("hit", "range: bytes=2-4", body=b"234"),
    ),
    case(
        "of what is stale the app answers",
        WHOLE,
        Step("unstored", "range: bytes=0-4", 101, says=PART, status=206),
        Step("valid", says=Reply('etag: "a"', 304), body=BODY),
    ),
    case(
        "a whole that the app sends instead is not stored",
        Step("unstored", "range: bytes=0-4", says=Reply(FRESH, body=BODY), status=200),
        Step("miss"),
    ),
    case(
        "a part that nobody asked for is not stored",
        Step("unstored", says=PART, status=206),
        Step("miss", says=Reply(FRESH, body=BODY), body=BODY),
    ),
    case(
        "of an encoded response: its bytes",
        Step("miss", says=Reply(FRESH + " | content-encoding: gzip", body=BODY)),
        Step("hit", "range: bytes=0-1", has="content-encoding: gzip", body=b"01"),
    ),
    case(
        "of a large one",
        Step("miss", says=Reply(FRESH, body=b"abcdefgh" * 4096)),
        Step("hit", "range: bytes=20000-20007", body=b"abcdefgh", has="content-range: bytes 20000-20007/32768"),
        Step("hit", "range: bytes=-1", body=b"h"),
    ),
)
async def test_parts(given: Case) -> None:
    await play(given)
