"""What is served although it is stale: stale-while-revalidate, stale-if-error (RFC 5861), and what forbids it."""

from tests.cache.cases import Case, Reply, Step, case, play, table

SWR = "cache-control: max-age=10, stale-while-revalidate=20"
SIE = "cache-control: max-age=10, stale-if-error=20"
ERROR = RuntimeError("the app fails")


def away(status: int) -> Reply:
    """An app that fails."""
    return Reply("retry-after: 5", status)


@table(
    case(
        "stale, refreshed behind the answer, and fresh again",
        Step("miss", says=SWR),
        Step("hit", after=9),
        Step("stale", after=2, body=1, behind=1, has="age: 11", told="ttl=-1"),
        Step("hit", after=1, body=2, has="age: 1"),
    ),
    case("in the last second of its window", Step("miss", says=SWR), Step("stale", after=29, body=1, behind=1)),
    case("no more behind its window", Step("miss", says=SWR), Step("miss", after=30, body=2, told="fwd=stale stored")),
    case(
        "behind its window validated",
        Step("miss", says=SWR + ' | etag: "a"'),
        Step("valid", after=31, says=Reply(status=304), body=1),
    ),
    case(
        "the refresh validates",
        Step("miss", says=SWR + ' | etag: "a"'),
        Step("stale", after=11, says=Reply("x: new", 304), body=1, behind=1, app='if-none-match: "a"', lacks="x"),
        Step("hit", after=1, body=1, has="x: new | age: 1"),
    ),
    case(
        "a refresh that fails leaves it",
        Step("miss", says=SWR),
        Step("stale", after=11, says=away(500), body=1, behind=1),
        Step("stale", after=1, says=SWR, body=1, behind=1),
        Step("hit", body=3),
    ),
    case(
        "a refresh that may not be stored ends it",
        Step("miss", says=SWR),
        Step("stale", after=11, says="cache-control: no-store", body=1, behind=1),
        Step("unstored", body=3),
    ),
    case(
        "the refresh carries no condition of the client",
        Step("miss", says=SWR + " | last-modified: {-99}"),
        Step("stale", 'if-none-match: "x" | range: bytes=0-1', 11, says=SWR, behind=0, status=206),
    ),
    case(
        "a 304 for a client that has it",
        Step("miss", says=SWR + ' | etag: "a"'),
        Step("stale", 'if-none-match: "a"', 11, status=304, behind=1),
    ),
    case("a HEAD gets it", Step("miss", says=SWR), Step("stale", after=11, method="HEAD", status=200)),
    case("an age that came with it counts", Step("miss", says=SWR + " | age: 8"), Step("stale", after=5, behind=1)),
    case("not without its time", Step("miss", says="cache-control: max-age=10"), Step("miss", after=11)),
    case(
        "a client's min-fresh is kept to",
        Step("miss", says=SWR),
        Step("miss", "cache-control: min-fresh=0", 11, body=2),
    ),
    case(
        "a client's max-age is kept to",
        Step("miss", says=SWR),
        Step("miss", "cache-control: max-age=5", 11, body=2),
    ),
    *[
        case(
            f"never under {directive} with {age}",
            Step("miss", says=f'cache-control: {age}, stale-while-revalidate=60, {directive} | etag: "a"'),
            Step("valid", after=11, says=Reply(status=304), behind=0),
        )
        for age, directive in (
            ("max-age=10", "must-revalidate"),
            ("max-age=10", "proxy-revalidate"),
            ("max-age=10", "no-cache"),
            ("s-maxage=10", "must-revalidate"),
        )
    ],
    case(
        "s-maxage with its own time: who writes both means both",
        Step("miss", says="cache-control: s-maxage=10, stale-while-revalidate=60"),
        Step("stale", after=11, behind=1),
    ),
)
async def test_stale_while_revalidate(given: Case) -> None:
    await play(given)


@table(
    *[
        case(
            f"instead of {status}",
            Step("miss", says=SIE),
            Step(
                "instead",
                after=11,
                says=away(status),
                status=200,
                body=1,
                has="age: 11",
                lacks="retry-after",
                told="ttl=-1",
            ),
            Step("instead", after=1, body=1),
            Step("miss", says=SIE, body=4),
        )
        for status in (500, 502, 503, 504)
    ],
    *[
        case(
            f"not instead of {status}",
            Step("miss", says=SIE),
            Step("unstored", after=11, says=away(status), status=status),
        )
        for status in (501, 400, 403, 429)
    ],
    case(
        "instead of an app that raises",
        Step("miss", says=SIE),
        Step("instead", after=11, says=Reply(error=ERROR), status=200, body=1),
        Step("miss", says=SIE, body=3),
    ),
    case(
        "while it is fresh nobody asks",
        Step("miss", says=SIE),
        Step("hit", after=9, says=away(503), body=1),
    ),
    case("no more behind its window", Step("miss", says=SIE), Step("unstored", after=31, says=away(503), status=503)),
    case(
        "no more behind its window although it can be validated",
        Step("miss", says=SIE + ' | etag: "a"'),
        Step("unstored", after=31, says=away(503), status=503, app='if-none-match: "a"'),
    ),
    case(
        "with both windows, the longer one counts for errors",
        Step("miss", says="cache-control: max-age=10, stale-while-revalidate=5, stale-if-error=50"),
        Step("stale", after=12, says=away(503), body=1, behind=1),
        Step("instead", after=10, body=1),
    ),
    case(
        "a client that has it gets a 304",
        Step("miss", says=SIE + ' | etag: "a"'),
        Step("instead", 'if-none-match: "a"', 11, says=away(503), status=304),
    ),
    *[
        case(
            f"never under {directive}",
            Step("miss", says=f'cache-control: max-age=10, stale-if-error=60, {directive} | etag: "a"'),
            Step("unstored", after=11, says=away(503), status=503),
        )
        for directive in ("must-revalidate", "proxy-revalidate", "no-cache")
    ],
    case(
        "not without its time",
        Step("miss", says="cache-control: max-age=10"),
        Step("unstored", after=11, says=away(503), status=503),
    ),
    case(
        "not under s-maxage alone",
        Step("miss", says='cache-control: s-maxage=10 | etag: "a"'),
        Step("unstored", after=11, says=away(503), status=503),
    ),
    case(
        "a stored error is a response as any",
        Step("miss", says=Reply("cache-control: max-age=10", 503), status=503),
        Step("hit", says="", status=503),
    ),
)
async def test_stale_if_error(given: Case) -> None:
    await play(given)
