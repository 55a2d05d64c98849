"""How long responses are reused: Cache-Control, Expires, Age, heuristics (RFC 9111 §4.2, §5.1–5.3)."""

from tests.cache.cases import Case, Reply, Step, case, play, reuse, table

OLD = "last-modified: {-86400} | date: {0}"


@table(
    reuse("no freshness", "", "unstored"),
    reuse("no freshness but a Date", "date: {0}", "unstored"),
    reuse("max-age", "cache-control: max-age=3600", "hit", told="ttl=3597", has="age: 3"),
    reuse("max-age in the last second", "cache-control: max-age=4", "hit", told="ttl=1"),
    reuse("max-age that has just ended: strictly greater than the age", "cache-control: max-age=3", "miss"),
    reuse("max-age that has ended", "cache-control: max-age=2", "miss"),
    reuse("max-age=0", "cache-control: max-age=0", "unstored"),
    reuse("max-age=0 at once", "cache-control: max-age=0", "unstored", after=0),
    reuse("max-age, age at the limit", "cache-control: max-age=3600 | age: 3597", "miss"),
    reuse("max-age, age below the limit", "cache-control: max-age=3600 | age: 3596", "hit", has="age: 3599"),
    reuse("max-age, age beyond", "cache-control: max-age=3600 | age: 7200", "unstored"),
    reuse("max-age, Date long ago", "cache-control: max-age=3600 | date: {-7200}", "unstored"),
    reuse("max-age, Date a while ago", "cache-control: max-age=3600 | date: {-100}", "hit", has="age: 103"),
    reuse("max-age, Date ahead", "cache-control: max-age=3600 | date: {+500}", "hit", has="age: 3"),
    reuse(
        "max-age, Age more than Date says", "cache-control: max-age=60 | date: {-10} | age: 30", "hit", has="age: 33"
    ),
    reuse(
        "max-age, Date says more than Age", "cache-control: max-age=60 | date: {-30} | age: 10", "hit", has="age: 33"
    ),
    reuse("the time that the app took counts as age", "cache-control: max-age=10", "miss", takes=8),
    reuse("the time that the app took is in Age", "cache-control: max-age=20", "hit", takes=8, has="age: 11"),
    reuse("max-age of 2^31 - 1", "cache-control: max-age=2147483647", "hit"),
    reuse("max-age of 2^31", "cache-control: max-age=2147483648", "hit"),
    reuse("max-age beyond 2^31", "cache-control: max-age=99999999999", "hit"),
    reuse("max-age before Expires in the past", "cache-control: max-age=3600 | expires: {-3600} | date: {0}", "hit"),
    reuse("max-age=0 before Expires ahead", "cache-control: max-age=0 | expires: {+3600} | date: {0}", "unstored"),
    reuse("s-maxage", "cache-control: s-maxage=3600", "hit"),
    reuse("s-maxage is more than max-age", "cache-control: max-age=1, s-maxage=3600", "hit"),
    reuse("s-maxage first is more than max-age", "cache-control: s-maxage=3600, max-age=1", "hit"),
    reuse("s-maxage is less than max-age", "cache-control: max-age=3600, s-maxage=1", "miss"),
    reuse("s-maxage before Expires in the past", "cache-control: s-maxage=3600 | expires: {-3600} | date: {0}", "hit"),
    reuse("s-maxage=0", "cache-control: s-maxage=0, max-age=60", "unstored"),
    reuse("a life of days", "cache-control: max-age=864000", "hit", after=863_999),
    reuse("no-store", "cache-control: no-store", "unstored"),
    reuse("no-store and max-age", "cache-control: max-age=10000, no-store", "unstored"),
    reuse("No-StOrE and max-age", "cache-control: No-StOrE, max-age=10000", "unstored"),
    reuse("no-store and Expires", "cache-control: no-store | expires: {+10000} | date: {0}", "unstored"),
    reuse("no-store=foo", "cache-control: max-age=60, no-store=foo", "unstored"),
    reuse("no-store on a second line", "cache-control: max-age=60 | cache-control: no-store", "unstored"),
    reuse("private", "cache-control: private, max-age=10000", "unstored"),
    reuse("PRIVATE", "cache-control: PRIVATE, max-age=10000", "unstored"),
    reuse("private beside public", "cache-control: private, public, max-age=10000", "unstored"),
    reuse("no-cache without validator", "cache-control: no-cache, max-age=60", "miss"),
    reuse("No-Cache without validator", "cache-control: No-Cache, max-age=60", "miss"),
    reuse("public alone says no time", "cache-control: public", "miss"),
    reuse("an extension is ignored", "cache-control: foobar, max-age=3600", "hit"),
    reuse("an extension with a value", 'cache-control: max-age=3600, community="UCI, x"', "hit"),
    reuse("immutable while fresh", "cache-control: max-age=3600, immutable", "hit"),
    reuse("immutable that has ended", "cache-control: max-age=1, immutable", "miss"),
)
async def test_cache_control_says_how_long(given: Case) -> None:
    await play(given)


@table(
    reuse("in any case", "cache-control: MaX-aGe=3600", "hit"),
    reuse("behind a tab", "cache-control: a,\tmax-age=3600", "hit"),
    reuse("behind many spaces", "cache-control:    max-age=3600   ", "hit"),
    reuse("behind empty members", "cache-control: , ,,max-age=3600,,", "hit"),
    reuse("leading zeros", "cache-control: max-age=003600", "hit"),
    reuse("a quoted number", 'cache-control: max-age="3600"', "hit"),
    reuse("single quotes", "cache-control: max-age='3600'", "unstored"),
    reuse("negative", "cache-control: max-age=-3600", "unstored"),
    reuse("a fraction", "cache-control: max-age=3600.0", "unstored"),
    reuse("letters", "cache-control: max-age=abc", "unstored"),
    reuse("letters behind the number", "cache-control: max-age=3600s", "unstored"),
    reuse("no value", "cache-control: max-age", "unstored"),
    reuse("an empty value", "cache-control: max-age=", "unstored"),
    reuse("a space in front of =", "cache-control: max-age =3600", "unstored"),
    reuse("a space behind =", "cache-control: max-age= 3600", "unstored"),
    reuse("within an extension's quotes", 'cache-control: extension="max-age=3600", max-age=1', "miss"),
    reuse("within quotes behind it", 'cache-control: max-age=1, extension="max-age=3600"', "miss"),
    reuse("within quotes with escapes", r'cache-control: x="a\", max-age=3600", max-age=1', "miss"),
    reuse("two times, the shorter counts", "cache-control: max-age=3600, max-age=1", "miss"),
    reuse("two times, the shorter first", "cache-control: max-age=1, max-age=3600", "miss"),
    reuse("two lines, the shorter counts", "cache-control: max-age=3600 | cache-control: max-age=1", "miss"),
    reuse("two lines that say one each", "cache-control: public | cache-control: max-age=60", "hit"),
    reuse("s-maxage that is no number", "cache-control: s-maxage=abc, max-age=60", "unstored"),
    reuse("no Cache-Control in an unknown field", "x-cache-control: max-age=60", "unstored"),
)
async def test_cache_control_is_read_strictly(given: Case) -> None:
    await play(given)


@table(
    reuse("ahead", "expires: {+3600} | date: {0}", "hit"),
    reuse("ahead, no Date", "expires: {+3600}", "hit"),
    reuse("in the past", "expires: {-3600} | date: {0}", "unstored"),
    reuse("now", "expires: {0} | date: {0}", "unstored"),
    reuse("when it has just ended", "expires: {+3} | date: {0}", "miss"),
    reuse("one second before", "expires: {+4} | date: {0}", "hit"),
    reuse("0", "expires: 0 | date: {0}", "unstored"),
    reuse("-1", "expires: -1 | date: {0}", "unstored"),
    reuse("no date", "expires: soon | date: {0}", "unstored"),
    reuse("ahead of an old Date", "expires: {+10} | date: {-3600}", "hit", has="age: 3603"),
    reuse("an old Date and the Age of it", "expires: {-3500} | date: {-3600}", "unstored"),
    reuse("Age as large as its time", "expires: {+3600} | date: {0} | age: 3600", "unstored"),
    reuse("Age below its time", "expires: {+3600} | date: {0} | age: 1000", "hit"),
    reuse("a Date that is none", "expires: {+100} | date: foo", "hit"),
    reuse("far ahead", "expires: Thu, 18 Aug 2150 02:01:18 GMT | date: {0}", "hit"),
    reuse("RFC 850", "expires: Thursday, 18-Aug-50 02:01:18 GMT | date: {0}", "hit"),
    reuse("asctime", "expires: Thu Aug  8 02:01:18 2050 | date: {0}", "hit"),
    reuse("a weekday in lower case", "expires: thu, 18 Aug 2050 02:01:18 GMT | date: {0}", "hit"),
    reuse("a month in capitals", "expires: Thu, 18 AUG 2050 02:01:18 GMT | date: {0}", "hit"),
    reuse("gmt in lower case", "expires: Thu, 18 Aug 2050 02:01:18 gmt | date: {0}", "hit"),
    reuse("another day of the week", "expires: Mon, 18 Aug 2050 02:01:18 GMT | date: {0}", "hit"),
    reuse("UTC", "expires: Thu, 18 Aug 2050 02:01:18 UTC | date: {0}", "unstored"),
    reuse("another zone", "expires: Thu, 18 Aug 2050 02:01:18 AEST | date: {0}", "unstored"),
    reuse("an offset", "expires: Thu, 18 Aug 2050 02:01:18 +0000 | date: {0}", "unstored"),
    reuse("no zone", "expires: Thu, 18 Aug 2050 02:01:18 | date: {0}", "unstored"),
    reuse("a year of two digits", "expires: Thu, 18 Aug 50 02:01:18 GMT | date: {0}", "unstored"),
    reuse("no comma", "expires: Thu 18 Aug 2050 02:01:18 GMT | date: {0}", "unstored"),
    reuse("no space behind the comma", "expires: Thu,18 Aug 2050 02:01:18 GMT | date: {0}", "unstored"),
    reuse("two spaces", "expires: Thu, 18  Aug 2050 02:01:18 GMT | date: {0}", "unstored"),
    reuse("dashes", "expires: Thu, 18-Aug-2050 02:01:18 GMT | date: {0}", "unstored"),
    reuse("dots in the time", "expires: Thu, 18 Aug 2050 02.01.18 GMT | date: {0}", "unstored"),
    reuse("an hour of one digit", "expires: Thu, 18 Aug 2050 2:01:18 GMT | date: {0}", "unstored"),
    reuse("a day that is not there", "expires: Thu, 31 Feb 2050 02:01:18 GMT | date: {0}", "unstored"),
    reuse("two lines", "expires: {+3600} | expires: {+3600} | date: {0}", "unstored"),
    reuse("two members", "expires: {+3600}, {+3600} | date: {0}", "unstored"),
)
async def test_expires_says_how_long(given: Case) -> None:
    await play(given)


FRESH = "cache-control: max-age=3600 | "


@table(
    reuse("no Age", FRESH, "hit", has="age: 3"),
    reuse("Age and the time in the cache", FRESH + "age: 30", "hit", has="age: 33"),
    reuse("negative is ignored", FRESH + "age: -7200", "hit", has="age: 3"),
    reuse("letters are ignored", FRESH + "age: abc", "hit", has="age: 3"),
    reuse("a number and letters are ignored", FRESH + "age: 7200s", "hit", has="age: 3"),
    reuse("a fraction is ignored", FRESH + "age: 7200.0", "hit", has="age: 3"),
    reuse("a plus sign is ignored", FRESH + "age: +7200", "hit", has="age: 3"),
    reuse("empty is ignored", FRESH + "age:", "hit", has="age: 3"),
    reuse("2^31", FRESH + "age: 2147483648", "unstored"),
    reuse("beyond 2^31", FRESH + "age: 99999999999999", "unstored"),
    reuse("the first member counts, 0", FRESH + "age: 0, 7200", "hit", has="age: 3"),
    reuse("the first member counts, 7200", FRESH + "age: 7200, 0", "unstored"),
    reuse("the first line counts, 0", FRESH + "age: 0 | age: 7200", "hit", has="age: 3"),
    reuse("the first line counts, 7200", FRESH + "age: 7200 | age: 0", "unstored"),
    reuse("a parameter makes it none", FRESH + "age: 7200;foo=bar", "hit"),
    reuse("leading zeros", FRESH + "age: 00030", "hit", has="age: 33"),
)
async def test_age_counts_where_it_is_a_number(given: Case) -> None:
    await play(given)


def asked_about(name: str, fields: str, after: float = 3) -> Case:
    """A response that is not fresh any more, and can be validated."""
    return case(name, Step("miss", says=fields), Step("valid", after=after, says=Reply(status=304), body=1))


HEURISTIC = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
OTHERS = (201, 202, 302, 303, 307, 400, 403, 409, 500, 502, 503, 504, 599)


@table(
    *[reuse(f"{status} is fresh for a tenth of its age", OLD, "hit", status) for status in HEURISTIC],
    *[reuse(f"{status} is not", OLD, "unstored", status) for status in OTHERS],
    reuse("up to a tenth", "last-modified: {-100} | date: {0}", "hit", after=9),
    reuse("public makes any status fit", OLD + " | cache-control: public", "hit", 599),
    reuse("Last-Modified that is no date", "last-modified: yesterday | date: {0}", "unstored"),
    asked_about("not longer than a tenth", "last-modified: {-100} | date: {0}", after=11),
    asked_about("Last-Modified ahead is no age", "last-modified: {+100} | date: {0}"),
    asked_about("not beside max-age", OLD + " | cache-control: max-age=1"),
    asked_about("not beside an Expires that is none", OLD + " | expires: 0"),
    reuse("switched off", OLD, "unstored", heuristic=False),
)
async def test_heuristic_freshness(given: Case) -> None:
    await play(given)


EXPLICIT = (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599)


@table(
    *[reuse(f"{status} that says how long", "cache-control: max-age=3600", "hit", status) for status in EXPLICIT],
    *[
        reuse(f"{status} that says no-store", "cache-control: max-age=3600, no-store", "unstored", status)
        for status in EXPLICIT
    ],
    *[reuse(f"{status} that has ended", "cache-control: max-age=2", "miss", status) for status in EXPLICIT],
    *[
        reuse(f"{status} never (RFC 6585)", "cache-control: max-age=3600", "unstored", status)
        for status in (428, 429, 431, 511)
    ],
    reuse("206 is not stored", "cache-control: max-age=3600 | content-range: bytes 0-4/10", "unstored", 206),
    reuse("200 that has Content-Range is not", "cache-control: max-age=3600 | content-range: bytes 0-4/10", "unstored"),
    reuse("must-understand, understood", "cache-control: max-age=3600, must-understand", "hit"),
    reuse("must-understand overrides no-store", "cache-control: max-age=3600, no-store, must-understand", "hit"),
    reuse("must-understand, not understood", "cache-control: max-age=3600, must-understand", "unstored", 599),
    reuse(
        "must-understand, no-store, not understood",
        "cache-control: max-age=60, no-store, must-understand",
        "unstored",
        599,
    ),
)
async def test_explicit_freshness_counts_for_any_final_status(given: Case) -> None:
    await play(given)
