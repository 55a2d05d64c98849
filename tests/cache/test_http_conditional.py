"""Conditions of clients, answered from what is stored (RFC 9111 §4.3.2, RFC 9110 §13)."""

from tests.cache.cases import Case, Reply, Step, case, play, table

FRESH = "cache-control: max-age=3600"
STRONG = FRESH + ' | etag: "abc"'
WEAK = FRESH + ' | etag: W/"abc"'
DATES = "date: Mon, 06 Nov 2023 08:49:37 GMT | expires: Mon, 06 Nov 2023 08:49:37 GMT"
YEARS = 'cache-control: max-age=999999999 | etag: "abc" | ' + DATES
DATED = FRESH + " | last-modified: {-1000} | date: {0}"


def condition(name: str, stored: str, fields: str, status: int, has: str = "", lacks: str = "") -> Case:
    """What a client with these conditions gets of what is stored, fresh."""
    return case(name, Step("miss", says=stored), Step("hit", fields, 3, status=status, has=has, lacks=lacks))


def _tag(name: str, stored: str, tags: str, status: int) -> Case:
    return condition(name, stored, f"if-none-match: {tags}", status)


NO_BODY = "content-length content-type content-encoding content-range last-modified"


@table(
    _tag("the tag", STRONG, '"abc"', 304),
    _tag("another tag", STRONG, '"abd"', 200),
    _tag("weak against strong", STRONG, 'W/"abc"', 304),
    _tag("strong against weak", WEAK, '"abc"', 304),
    _tag("weak against weak", WEAK, 'W/"abc"', 304),
    _tag("*", STRONG, "*", 304),
    _tag("* without a tag", FRESH, "*", 304),
    _tag("no tag is stored", FRESH, '"abc"', 200),
    _tag("first of a list", STRONG, '"abc", "def"', 304),
    _tag("last of a list", STRONG, '"def","abc"', 304),
    _tag("weak in a list", STRONG, '"def", W/"abc", "ghi"', 304),
    _tag("no one of a list", STRONG, '"def", "ghi"', 200),
    _tag("part of another tag", STRONG, '"xabc", "abcx"', 200),
    _tag("quoted in no list", STRONG, "abc", 200),
    _tag("on a second line", STRONG, '"def" | if-none-match: "abc"', 304),
    _tag("a tag with a comma", FRESH + ' | etag: "a,b"', '"a,b"', 304),
    _tag("half a tag with a comma", FRESH + ' | etag: "a,b"', '"a"', 200),
    _tag("an app's tag without quotation marks", FRESH + " | etag: abc", "abc", 304),
    condition(
        "has the tag", STRONG, 'if-none-match: "abc"', 304, has='etag: "abc" | cache-control: max-age=3600 | age: 3'
    ),
    condition(
        "has no field of the body",
        STRONG + " | content-type: a/b | content-language: en",
        'if-none-match: "abc"',
        304,
        lacks=NO_BODY,
    ),
    condition("has Vary", STRONG + " | vary: foo", 'if-none-match: "abc"', 304, has="vary: foo"),
    condition("has Date and Expires", YEARS, 'if-none-match: "abc"', 304, has=DATES),
    condition(
        "has Content-Location",
        STRONG + " | content-location: /x",
        'if-none-match: "abc"',
        304,
        has="content-location: /x",
    ),
    condition("since then", DATED, "if-modified-since: {-1003}", 304),
    condition("since later", DATED, "if-modified-since: {-10}", 304),
    condition("since earlier", DATED, "if-modified-since: {-2000}", 200),
    condition(
        "since, as RFC 850",
        FRESH + " | last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "if-modified-since: Sunday, 06-Nov-94 08:49:37 GMT",
        304,
    ),
    condition(
        "since, as asctime",
        FRESH + " | last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "if-modified-since: Sun Nov  6 08:49:37 1994",
        304,
    ),
    condition("since no date", DATED, "if-modified-since: yesterday", 200),
    condition("since two dates", DATED, "if-modified-since: {-3} | if-modified-since: {-4}", 200),
    condition("since Date, no Last-Modified", FRESH + " | date: {0}", "if-modified-since: {-3}", 304),
    condition("since before Date, no Last-Modified", FRESH + " | date: {0}", "if-modified-since: {-10}", 200),
    condition(
        "another tag before the same date",
        DATED + ' | etag: "abc"',
        'if-none-match: "x" | if-modified-since: {-10}',
        200,
    ),
    condition(
        "the tag before an earlier date",
        DATED + ' | etag: "abc"',
        'if-none-match: "abc" | if-modified-since: {-9999}',
        304,
    ),
)
async def test_a_condition_on_what_is_fresh(given: Case) -> None:
    await play(given)


@table(
    *[
        case(
            f"nothing but a 200 is conditional: {status}",
            Step("miss", says=Reply(STRONG, status), status=status),
            Step("hit", "if-none-match: *", status=status),
        )
        for status in (203, 204, 301, 404, 410, 500)
    ],
    case(
        "a HEAD gets a 304", Step("miss", says=STRONG), Step("hit", 'if-none-match: "abc"', method="HEAD", status=304)
    ),
    case(
        "If-Match goes to the app",
        Step("miss", says=STRONG),
        Step("unstored", 'if-match: "abc"', app='if-match: "abc"', told="fwd=bypass"),
    ),
    case(
        "If-Unmodified-Since too",
        Step("miss", says=STRONG),
        Step("unstored", "if-unmodified-since: {0}", told="fwd=bypass"),
    ),
    case(
        "the app gets no condition of a client whose response is stored",
        Step(
            "miss",
            'if-none-match: "x" | if-modified-since: {0}',
            says=STRONG,
            spares="if-none-match if-modified-since",
            status=200,
        ),
        Step("hit", body=1),
    ),
)
async def test_conditions_and_the_app(given: Case) -> None:
    await play(given)
