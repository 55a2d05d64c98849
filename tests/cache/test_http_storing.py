"""What is stored of a response, and for whom: fields, Authorization, targeted fields (RFC 9111 §3, RFC 9213)."""

from tests.cache.cases import Case, Reply, Step, case, play, reuse, table

FRESH = "cache-control: max-age=3600"
STORED = [
    "test-header",
    "x-test",
    "clear-site-data",
    "content-security-policy",
    "content-md5",
    "content-location",
    "content-language",
    "content-type",
    "content-disposition",
    "date",
    "expires",
    "last-modified",
    "link",
    "location",
    "nel",
    "p3p",
    "public-key-pins",
    "refresh",
    "server",
    "server-timing",
    "strict-transport-security",
    "via",
    "warning",
    "x-cache",
    "x-content-type-options",
    "x-frame-options",
    "access-control-allow-origin",
    "alt-svc",
    "allow",
    "proxy-status",
]
UNSTORED = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-remaining",
]


@table(
    *[reuse(f"{name} is stored", f"{FRESH} | {name}: some value", "hit", has=f"{name}: some value") for name in STORED],
    *[reuse(f"{name} is not", f"{FRESH} | {name}: value", "hit", lacks=name) for name in UNSTORED],
    reuse(
        "what Connection names is not",
        FRESH + " | connection: close, X-Hop | x-hop: 1 | x: 2",
        "hit",
        lacks="x-hop connection",
        has="x: 2",
    ),
    reuse(
        "what a second line of Connection names is not",
        FRESH + " | connection: a | connection: b | a: 1 | b: 2",
        "hit",
        lacks="a b",
    ),
    reuse(
        'what no-cache="…" names is not',
        'cache-control: max-age=60, no-cache="a, B" | a: 1 | b: 2 | c: 3',
        "hit",
        lacks="a b",
        has="c: 3",
    ),
    reuse(
        'what private="…" names is not',
        'cache-control: max-age=60, private="a" | a: 1 | c: 3',
        "hit",
        lacks="a",
        has="c: 3",
    ),
    reuse(
        'Set-Cookie that no-cache="…" names is not, the rest is',
        'cache-control: max-age=60, no-cache="set-cookie" | set-cookie: a=1',
        "hit",
        lacks="set-cookie",
    ),
    reuse("lines of one name stay apart", FRESH + " | link: <a> | link: <b>", "hit", has="link: <a> | link: <b>"),
    reuse("a field is told as it came", FRESH + " | test: a,b;  c", "hit", has="test: a,b;  c"),
    reuse("an empty field", FRESH + " | test:", "hit", has="test:"),
    reuse("bytes beyond ASCII", FRESH + " | test: \xe9\xff", "hit", has="test: \xe9\xff"),
    reuse("Set-Cookie is not stored", FRESH + " | set-cookie: a=1", "unstored"),
    reuse(
        "Set-Cookie where that is wanted",
        FRESH + " | set-cookie: a=1",
        "hit",
        store_cookies=True,
        has="set-cookie: a=1",
    ),
    reuse("a Cookie in the request does not matter", FRESH, "hit", first="cookie: a=1", second="cookie: a=2"),
)
async def test_fields(given: Case) -> None:
    await play(given)


AUTH = "authorization: Basic x"


def authorized(name: str, control: str, to: str, second: str = AUTH) -> Case:
    """A request with Authorization, and another."""
    return reuse(name, f"cache-control: {control}", to, first=AUTH, second=second)  # type: ignore[arg-type]


@table(
    authorized("max-age does not do", "max-age=3600", "unstored"),
    authorized("not for another one either", "max-age=3600", "miss", ""),
    authorized("public", "max-age=3600, public", "hit"),
    authorized("public, for those without", "max-age=3600, public", "hit", ""),
    authorized("s-maxage", "s-maxage=3600", "hit"),
    authorized("must-revalidate", "max-age=3600, must-revalidate", "hit"),
    authorized("s-maxage for others", "s-maxage=3600", "hit", "authorization: Basic y"),
    authorized("no-cache does not do", "no-cache", "unstored"),
    authorized("immutable does not do", "max-age=3600, immutable", "unstored"),
    authorized("public and no-store", "public, no-store", "unstored"),
    authorized("Expires does not do", "x | expires: {+60}", "unstored"),
    reuse("what is stored for those without is for those with", FRESH, "hit", second=AUTH),
    reuse(
        "an API key is as much", "cache-control: s-maxage=60", "unstored", first="x-api-key: 1", second="x-api-key: 1"
    ),
    reuse("an API key, public", "cache-control: max-age=60, public", "hit", first="x-api-key: 1"),
    reuse("a field that the app goes by", FRESH, "unstored", first="x-me: 1", second="x-me: 1", credentials=("x-me",)),
)
async def test_authorization(given: Case) -> None:
    await play(given)


def cdn(value: str, rest: str = "", name: str = "cdn-cache-control") -> str:
    """A response with a targeted field."""
    return f"{name}: {value}" + (f" | {rest}" if rest else "")


@table(
    reuse("max-age", cdn("max-age=3600"), "hit"),
    reuse("max-age beside a shorter max-age", cdn("max-age=3600", "cache-control: max-age=1"), "hit"),
    reuse("a shorter max-age", cdn("max-age=1", "cache-control: max-age=3600"), "miss"),
    reuse("max-age beside no-store", cdn("max-age=3600", "cache-control: no-store"), "hit"),
    reuse("max-age beside private", cdn("max-age=3600", "cache-control: private"), "hit"),
    reuse("max-age beside Expires in the past", cdn("max-age=3600", "expires: {-100} | date: {0}"), "hit"),
    reuse("Expires alone does not count beside it", cdn("public", "expires: {+100} | date: {0}"), "unstored"),
    reuse("max-age and an Age", cdn("max-age=3600", "age: 3600"), "unstored"),
    reuse("an unknown directive", cdn("max-age=3600, foo=bar, x"), "hit"),
    reuse("with a parameter", cdn("max-age=3600; a=b"), "hit"),
    reuse("no-store", cdn("no-store", FRESH), "unstored"),
    reuse("private", cdn("private, max-age=60", FRESH), "unstored"),
    reuse("no-cache", cdn("no-cache, max-age=60", FRESH), "unstored"),
    reuse("s-maxage", cdn("s-maxage=3600", "cache-control: max-age=1"), "hit"),
    reuse("of another case", cdn("MAX-AGE=1", FRESH), "hit"),
    reuse("empty", cdn("", FRESH), "hit"),
    reuse("max-age that is a string is no valid field", cdn('max-age="1"', FRESH), "hit"),
    reuse("a string and no Cache-Control", cdn('max-age="3600"'), "unstored"),
    reuse("a fraction", cdn("max-age=1.0", FRESH), "hit"),
    reuse("no value", cdn("max-age", FRESH), "hit"),
    reuse("no dictionary", cdn("&&&&&", FRESH), "hit"),
    reuse("no dictionary behind one", cdn("no-store, &&&", FRESH), "hit"),
    reuse("a comma at the end", cdn("no-store,", FRESH), "hit"),
    reuse("a negative max-age", cdn("max-age=-10", FRESH), "unstored"),
    reuse("the last max-age counts", cdn("max-age=1, max-age=3600"), "hit"),
    reuse("on two lines", cdn("max-age=1 | cdn-cache-control: max-age=3600"), "hit"),
    reuse("no-store=?0", cdn("no-store=?0, max-age=60"), "hit"),
    reuse("our own field", cdn("max-age=3600", "cache-control: no-store", "guard-cache-control"), "hit"),
    reuse("our own field first", cdn("max-age=1", "cdn-cache-control: max-age=60", "guard-cache-control"), "miss"),
    reuse("our own field, not valid", cdn("&", "cdn-cache-control: max-age=60", "guard-cache-control"), "hit"),
    reuse("another cache's field", cdn("max-age=60", "", "other-cache-control"), "unstored"),
    reuse("a field that was named", cdn("max-age=60", "", "my-cache-control"), "hit", targets=("my-cache-control",)),
    reuse(
        "it is told to the client",
        cdn("max-age=60", "cache-control: max-age=1"),
        "hit",
        has="cdn-cache-control: max-age=60 | cache-control: max-age=1",
    ),
    reuse("Authorization and its max-age", cdn("max-age=60"), "unstored", first=AUTH, second=AUTH),
    reuse("Authorization and its public", cdn("max-age=60, public"), "hit", first=AUTH),
    reuse("Surrogate-Control is none of it", cdn("max-age=1", FRESH, "surrogate-control"), "hit"),
    case("swr", Step("miss", says=cdn("max-age=5, stale-while-revalidate=60")), Step("stale", after=6, behind=1)),
    case(
        "sie",
        Step("miss", says=cdn("max-age=5, stale-if-error=60")),
        Step("instead", after=6, says=Reply(status=503), status=200),
    ),
    case(
        "must-revalidate",
        Step("miss", says=cdn("max-age=5, stale-if-error=60, must-revalidate")),
        Step("unstored", after=6, says=Reply(status=503), status=503),
    ),
)
async def test_targeted_fields(given: Case) -> None:
    await play(given)
