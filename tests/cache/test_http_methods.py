"""By which methods and for which targets responses are reused (RFC 9111 §2, §4, §4.3.5)."""

from tests.cache.cases import Case, Reply, Step, case, play, table

FRESH = "cache-control: max-age=100"
TAGGED = FRESH + ' | etag: "a"'
CONFIRMED = Reply('etag: "a"', 304)
BOTH = "cache-control: max-age=100 | content-length: 16"


@table(
    case(
        "HEAD from a GET",
        Step("miss", says=BOTH),
        Step("hit", method="HEAD", status=200, has="content-length: 16"),
        Step("hit"),
    ),
    case("HEAD is not stored as GET", Step("unstored", method="HEAD", says=BOTH), Step("miss")),
    case(
        "HEAD of what is stale goes through",
        Step("miss", says=BOTH),
        Step("unstored", after=101, method="HEAD", told="fwd=uri-miss"),
    ),
    case(
        "HEAD of what is stale freshens it (§4.3.5)",
        Step("miss", says=TAGGED + " | x: one"),
        Step("miss", after=101, method="HEAD", says=TAGGED + " | x: two", told="fwd=stale stored"),
        Step("hit", after=10, body=1, has="x: two | age: 10"),
    ),
    case(
        "HEAD that agrees freshens (§4.3.5)",
        Step("miss", says=BOTH + ' | etag: "a" | x: one'),
        Step(
            "miss",
            "cache-control: no-cache",
            50,
            "HEAD",
            says=BOTH + ' | etag: "a" | x: two',
            told="fwd=request stored",
        ),
        Step("hit", after=90, body=1, has="x: two | age: 90"),
    ),
    case(
        "HEAD 200 with another tag ends it",
        Step("miss", says=TAGGED),
        Step("unstored", "cache-control: no-cache", method="HEAD", says=FRESH + ' | etag: "b"'),
        Step("miss", body=3),
    ),
    case(
        "HEAD 200 with another length ends it",
        Step("miss", says=BOTH),
        Step("unstored", "cache-control: no-cache", method="HEAD", says=FRESH + " | content-length: 17"),
        Step("miss", says=BOTH, body=3),
    ),
    case(
        "HEAD 404 leaves it",
        Step("miss", says=BOTH),
        Step("unstored", "cache-control: no-cache", method="HEAD", says=Reply(status=404), status=404),
        Step("hit", body=1),
    ),
    case(
        "HEAD and GET of what varies",
        Step("miss", "foo: 1", says=FRESH + " | vary: foo"),
        Step("unstored", "foo: 2", method="HEAD"),
        Step("hit", "foo: 1", method="HEAD"),
    ),
    case(
        "HEAD of what was answered before and is stale takes no fill",
        Step("miss", says=TAGGED),
        Step("hit", method="HEAD"),
        Step("hit", method="HEAD"),
        Step("unstored", after=101, method="HEAD", says=Reply(status=404)),
        Step("valid", says=CONFIRMED),
    ),
    case(
        "Range of what was answered before and is stale takes no fill",
        Step("miss", says=TAGGED),
        Step("hit", "range: bytes=0-1"),
        Step("hit", "range: bytes=0-1"),
        Step("miss", "range: bytes=0-1", 101),
        Step("valid", says=CONFIRMED),
    ),
    *[
        case(
            f"{method} is not answered from the cache",
            Step("miss", says=FRESH),
            Step("unstored", method=method, told="fwd=method"),
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "M-SEARCH", "FOO")
    ],
    *[
        case(
            f"{method} is not stored",
            Step("unstored", method=method, says=FRESH),
            Step("unstored", method=method),
            Step("miss"),
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "FOO")
    ],
    case(
        "POST with Content-Location is not stored as that",
        Step("unstored", method="POST", says=FRESH + " | content-location: /"),
        Step("miss"),
    ),
    case(
        "queries differ",
        Step("miss", path="/?a=1", says=FRESH),
        Step("miss", path="/?a=2"),
        Step("miss"),
        Step("hit", path="/?a=1"),
    ),
    case("paths differ", Step("miss", path="/a", says=FRESH), Step("miss", path="/A"), Step("hit", path="/a")),
    case("hosts differ", Step("miss", says=FRESH), Step("miss", "host: b.example"), Step("hit", "host: A.example")),
    case("schemes differ", Step("miss", says=FRESH), Step("miss", scope={"scheme": "https"}), Step("hit")),
)
async def test_methods_and_targets(given: Case) -> None:
    await play(given)
