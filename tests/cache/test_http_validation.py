"""Validation by the app, and what a 304 renews of what is stored (RFC 9111 §4.3.3, §4.3.4, §3.2)."""

from tests.cache.cases import Case, Reply, Step, case, play, table

FRESH = "cache-control: max-age=3600"
SHORT = 'cache-control: max-age=5 | etag: "abc" | last-modified: {-1000} | test: one | other: stays'
STILL = Reply('cache-control: max-age=50 | etag: "abc" | test: two', 304)


RENEWED = ["test-header", "x-test-header", "content-foo", "x-content-foo", "content-language", "content-location"]
RENEWED += ["content-security-policy", "last-modified", "allow", "expires", "x-frame-options", "clear-site-data"]


def renewed(name: str, stored: str, new: str, has: str = "", lacks: str = "") -> Case:
    """A stored response, and what it is after a 304 with the fields `new`."""
    return case(
        name,
        Step("miss", says=Reply('cache-control: max-age=5 | etag: "abc" | ' + stored, body=b"0123456789")),
        Step(
            "valid",
            after=10,
            says=Reply('cache-control: max-age=50 | etag: "abc" | ' + new, 304),
            has=has,
            lacks=lacks,
            body=b"0123456789",
        ),
        Step("hit", after=10, has=has + " | age: 10", lacks=lacks, body=b"0123456789", status=200),
    )


@table(
    case(
        "asks with both validators",
        Step("miss", says=SHORT),
        Step(
            "valid",
            after=10,
            says=STILL,
            app='if-none-match: "abc" | if-modified-since: {-1010}',
            status=200,
            told="fwd=stale fwd-status=304 stored ttl=50",
        ),
        Step("hit", after=49, body=1, has="test: two | other: stays | age: 49", told="ttl=1"),
        Step("valid", after=1, says=STILL, body=1),
    ),
    case(
        "asks with the tag alone",
        Step("miss", says='cache-control: max-age=1 | etag: W/"x"'),
        Step(
            "valid",
            after=3,
            says=STILL._replace(fields='etag: W/"x"'),
            app='if-none-match: W/"x"',
            spares="if-modified-since",
        ),
    ),
    case(
        "asks with the date alone",
        Step("miss", says="cache-control: max-age=1 | last-modified: {-50}"),
        Step("valid", after=3, says=Reply(status=304), app="if-modified-since: {-53}", spares="if-none-match"),
    ),
    case(
        "replaces the client's own conditions",
        Step("miss", says=SHORT),
        Step("valid", 'if-none-match: "old"', 10, says=STILL, app='if-none-match: "abc"', status=200, body=1),
    ),
    case(
        "a client that has it gets a 304",
        Step("miss", says=SHORT),
        Step("valid", 'if-none-match: "abc"', 10, says=STILL, status=304),
    ),
    case(
        "a client that has it since then gets a 304",
        Step("miss", says=SHORT),
        Step("valid", "if-modified-since: {0}", 10, says=STILL, status=304),
    ),
    case(
        "a new response replaces it",
        Step("miss", says=SHORT),
        Step("miss", after=10, says='cache-control: max-age=60 | etag: "new"', body=2, told="fwd=stale stored"),
        Step("hit", body=2, has='etag: "new"', lacks="test"),
    ),
    case(
        "a new response, and a client that has it",
        Step("miss", says=SHORT),
        Step("miss", 'if-none-match: "new"', 10, says='cache-control: max-age=60 | etag: "new"', status=200, body=2),
    ),
    case(
        "no-cache is asked about each time",
        Step("miss", says='cache-control: no-cache | etag: "abc"'),
        Step("valid", says=Reply('cache-control: no-cache | etag: "abc"', 304)),
        Step("valid", after=3),
    ),
    case(
        "No-Cache with max-age as well",
        Step("miss", says='cache-control: No-Cache, max-age=60 | etag: "abc"'),
        Step("valid", says=Reply('etag: "abc"', 304)),
        Step("valid", after=3),
    ),
    case(
        "no-cache that a 304 takes back",
        Step("miss", says='cache-control: no-cache | etag: "abc"'),
        Step("valid", says=STILL),
        Step("hit", after=3),
    ),
    case(
        "what came stale is asked about",
        Step("miss", says='cache-control: max-age=60 | age: 9999999 | etag: "abc"'),
        Step("valid", after=3, says=Reply(status=304), has="age: 0"),
    ),
    case(
        "max-age=0 is asked about",
        Step("miss", says='cache-control: max-age=0 | etag: "abc"'),
        Step("valid", says=Reply(status=304)),
    ),
    case(
        "must-revalidate is fresh as long as it is",
        Step("miss", says='cache-control: max-age=10, must-revalidate | etag: "abc"'),
        Step("hit", after=5),
        Step("valid", after=6, says=Reply(status=304)),
    ),
    case(
        "a 304 without fields freshens it by what it was",
        Step("miss", says=SHORT),
        Step("valid", after=10, says=Reply(status=304)),
        Step("hit", after=4),
        Step("valid", after=2),
    ),
    case(
        "a 304 that says no-store ends it",
        Step("miss", says=SHORT),
        Step("unstored", after=10, says=Reply("cache-control: no-store", 304), status=200, body=1),
        Step("miss", says=SHORT, body=3),
    ),
    case(
        "a 304 with another strong tag freshens nothing",
        Step("miss", says=SHORT),
        Step("unstored", after=10, says=Reply('etag: "other"', 304), status=200),
        Step("miss", says=FRESH),
    ),
    case(
        "an error is not stored over it",
        Step("miss", says=SHORT),
        Step("unstored", after=10, says=Reply(status=500), status=500),
        Step("valid", says=STILL, body=1),
    ),
    case("a 304 that nobody has asked for passes", Step("unstored", says=Reply(status=304), status=304)),
)
async def test_validation(given: Case) -> None:
    await play(given)


@table(
    *[renewed(f"{name} is replaced", f"{name}: one", f"{name}: two", f"{name}: two") for name in RENEWED],
    *[
        renewed(f"{name} stays, it is of the body", f"{name}: one", f"{name}: two", f"{name}: one")
        for name in ("content-encoding", "content-type")
    ],
    renewed("Content-Length stays what it is", "content-length: 10", "content-length: 36", "content-length: 10"),
    renewed("a field that the 304 has not stays", "stays: yes", "new: yes", "stays: yes | new: yes"),
    renewed("all lines are replaced by all", "a: 1 | a: 2", "a: 3", "a: 3"),
    renewed("Cache-Control", "x: y", "x: z", "cache-control: max-age=50"),
    renewed(
        "no fields of a connection", "x: y", "connection: x-hop | x-hop: 1 | keep-alive: 5", "x: y", "x-hop keep-alive"
    ),
    renewed("no Set-Cookie", "x: y", "x: z", "x: z", "set-cookie"),
)
async def test_a_304_renews_what_is_stored(given: Case) -> None:
    await play(given)


async def test_where_the_app_declares_what_is_kept_a_304_renews_it_as_well() -> None:
    private = "guard-client-ttl"
    steps = (
        Step("miss", says="last-modified: {-100} | x: one", has="cache-control: no-cache"),
        Step("stale", after=11, says=Reply("x: two", 304), body=1, has="x: one", lacks=private, behind=1),
        Step("hit", after=5, body=1, has="x: two | cache-control: no-cache | age: 5", lacks=private),
        Step("stale", after=6, says=Reply("x: three", 304), body=1, behind=1),
        Step("hit", body=1, has="x: three", lacks=private),
    )
    await play(case("", *steps, profile="app", ttl=10, swr=60))
