"""What a write invalidates (RFC 9111 §4.4), and groups of responses (RFC 9875)."""

from tests.cache.cases import Case, Reply, Step, case, play, table

FRESH = "cache-control: max-age=100"
GET = Step("miss", says=FRESH)
HIT = Step("hit", body=1)
#: Nothing of it is left: the app is asked, and not about what was there.
GONE = Step("miss", says=FRESH, spares="if-none-match")


def write(method: str = "POST", status: int = 200, says: str = "", path: str = "/", fields: str = "") -> Step:
    """A request that may change something."""
    return Step(
        "unstored", fields, method=method, path=path, says=Reply(says, status), status=status, told="fwd=method"
    )


UNSAFE = ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO")


@table(
    *[case(f"{method} ends what is stored", GET, HIT, write(method), GONE) for method in UNSAFE],
    *[case(f"{method} that fails leaves it", GET, write(method, 500), HIT) for method in UNSAFE],
    *[case(f"{method} leaves it", GET, write(method), HIT) for method in ("OPTIONS", "TRACE", "QUERY")],
    *[
        case(f"a write that answers {status} ends it", GET, write(status=status), GONE)
        for status in (200, 201, 202, 204, 205, 206, 300, 301, 302, 303, 307, 308)
    ],
    *[
        case(f"a write that answers {status} leaves it", GET, write(status=status), HIT)
        for status in (400, 401, 403, 404, 409, 412, 422, 429, 500, 502, 503, 504)
    ],
    case("so that it is not even validated", Step("miss", says=FRESH + ' | etag: "a"'), write(), GONE),
    case(
        "so that it is not even stale",
        Step("miss", says=FRESH + ", stale-while-revalidate=50, stale-if-error=50"),
        write(),
        Step("unstored", says=Reply(status=503), status=503),
    ),
    case(
        "a write with another query leaves it",
        Step("miss", path="/?a=1", says=FRESH),
        write(path="/?a=2"),
        Step("hit", path="/?a=1"),
    ),
    case(
        "a write with the same query ends it",
        Step("miss", path="/?a=1", says=FRESH),
        write(path="/?a=1"),
        Step("miss", path="/?a=1", says=FRESH),
    ),
    case("a write elsewhere leaves it", GET, write(path="/x"), HIT),
    case("a write on another host leaves it", GET, write(fields="host: b.example"), HIT),
    case("a write that is answered 'no-store' ends it", GET, write(says="cache-control: no-store"), GONE),
    case("writes are never switched off by clients", GET, write(fields="cache-control: only-if-cached"), GONE),
    case("switched off", GET, write(), HIT, invalidates_unsafe=False),
)
async def test_a_write(given: Case) -> None:
    await play(given)


X = Step("miss", path="/x", says=FRESH)
X_HIT = Step("hit", path="/x")
X_GONE = Step("miss", path="/x", says=FRESH)
MINE = ["/x", "x", "./x", "http://a.example/x", "http://A.EXAMPLE/x", "//a.example/x", "/y/../x", "/x#part"]
OTHERS = [
    "http://b.example/x",
    "https://a.example/x",
    "//b.example/x",
    "http://a.example:8080/x",
    "/X",
    "/x/",
    "/x?y",
    "http://[/x",
    "mailto:a@b.example",
]


@table(
    *[
        case(f"{name}: {url} is ended too", X, write(says=f"{name}: {url}"), X_GONE)
        for name in ("location", "content-location")
        for url in MINE
    ],
    *[
        case(f"{name}: {url} is not that", X, write(says=f"{name}: {url}"), X_HIT)
        for name in ("location", "content-location")
        for url in OTHERS
    ],
    *[
        case(f"{name} of an answer {status} ends nothing", X, write(status=status, says=f"{name}: /x"), X_HIT)
        for name in ("location", "content-location")
        for status in (404, 500)
    ],
    case(
        "Location of an answer to GET ends nothing",
        X,
        Step("unstored", path="/y", says=Reply("location: /x", 302)),
        X_HIT,
    ),
    case(
        "both of them",
        X,
        Step("miss", path="/z", says=FRESH),
        write(says="location: /x | content-location: /z"),
        X_GONE,
        Step("miss", path="/z"),
    ),
    case(
        "from where it was written to",
        Step("miss", path="/a/x", says=FRESH),
        write(path="/a/b", says="location: x"),
        Step("miss", path="/a/x", says=FRESH),
    ),
    case(
        "with its query",
        Step("miss", path="/x?y=1", says=FRESH),
        write(says="location: /x?y=1"),
        Step("miss", path="/x?y=1", says=FRESH),
    ),
)
async def test_a_write_and_the_urls_that_it_names(given: Case) -> None:
    await play(given)


def grouped(groups: str) -> str:
    """A fresh response in groups."""
    return f"{FRESH} | cache-groups: {groups}"


A, B = Step("miss", path="/a", says=grouped('"one", "two"')), Step("miss", path="/b", says=grouped('"two"'))
A_HIT, B_HIT = Step("hit", path="/a"), Step("hit", path="/b")
A_GONE, B_GONE = Step("miss", path="/a", says=FRESH), Step("miss", path="/b", says=FRESH)


def ends(groups: str, status: int = 200, method: str = "POST") -> Step:
    """A write elsewhere that ends groups."""
    return write(method, status, f"cache-group-invalidation: {groups}", "/write")


@table(
    case("one group", A, B, ends('"one"'), A_GONE, B_HIT),
    case("a group of two", A, B, ends('"two"'), A_GONE, B_GONE),
    case("several groups", A, B, ends('"nothing", "two"'), A_GONE, B_GONE),
    case("groups on two lines", A, B, ends('"one" | cache-group-invalidation: "two"'), A_GONE, B_GONE),
    case("another group", A, B, ends('"three"'), A_HIT, B_HIT),
    case("case counts", A, B, ends('"ONE", "Two"'), A_HIT, B_HIT),
    case("no token", A, B, ends("one, two"), A_HIT, B_HIT),
    case("malformed", A, B, ends('"two'), A_HIT, B_HIT),
    case("not by an error", A, B, ends('"two"', 500), A_HIT, B_HIT),
    case("not by a refusal", A, B, ends('"two"', 403), A_HIT, B_HIT),
    case("not by a GET", A, B, Step("unstored", path="/w", says='cache-group-invalidation: "two"'), A_HIT, B_HIT),
    case("not by OPTIONS", A, B, ends('"two"', method="OPTIONS"), A_HIT, B_HIT),
    case("a member with parameters", A, B, ends('"two"; x=1'), A_GONE, B_GONE),
    case(
        "of its own origin alone",
        A,
        B,
        Step("unstored", "host: b.example", method="POST", says='cache-group-invalidation: "two"'),
        A_HIT,
        B_HIT,
    ),
    case("the end of one member is no end of its groups", A, B, write(path="/a"), A_GONE, B_HIT),
    case("the write is in no group of what it ends", A, B, write(path="/a", says='cache-groups: "two"'), A_GONE, B_HIT),
    case("no group at all", Step("miss", path="/a", says=grouped("")), ends('""'), A_HIT),
    case(
        "32 groups of 32 characters",
        Step("miss", path="/a", says=grouped(", ".join(f'"{n:032}"' for n in range(32)))),
        ends(f'"{31:032}"'),
        A_GONE,
    ),
    case("many groups at once", A, B, ends(", ".join(f'"{n:032}"' for n in range(31)) + ', "two"'), A_GONE, B_GONE),
    case("in the group again", A, ends('"one"'), A, A_HIT, ends('"one"'), A_GONE),
    case(
        "groups are told to the client",
        Step("miss", path="/a", says=grouped('"one"'), has='cache-groups: "one"'),
        Step("hit", path="/a", has='cache-groups: "one"'),
    ),
    case(
        "a 304 moves it to another group",
        Step("miss", path="/a", says='cache-control: max-age=1 | etag: "a" | cache-groups: "one"'),
        Step(
            "valid", path="/a", after=2, says=Reply('etag: "a" | cache-control: max-age=60 | cache-groups: "two"', 304)
        ),
        ends('"one"'),
        A_HIT,
        ends('"two"'),
        A_GONE,
    ),
)
async def test_groups(given: Case) -> None:
    await play(given)
