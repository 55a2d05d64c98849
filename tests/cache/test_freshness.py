"""Lifetime, age and staleness of responses in a shared cache. Numbers in brackets are sections of RFC 9111."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import LONGEST, NOTHING, CacheControl
from asgi_redis_guard.cache.freshness import Freshness, control_of, freshness, is_heuristic_status
from tests.cache.fixdate import fixdate

NOW = 1_780_000_000.0
CDN = b"cdn-cache-control"
Line = tuple[str, str | int]


def headers_of(*lines: Line) -> list[tuple[bytes, bytes]]:
    """Header fields; a number stands for the date so many seconds from now."""
    return [
        (name.lower().encode(), fixdate(NOW + value) if isinstance(value, int) else value.encode("latin-1"))
        for name, value in lines
    ]


def found(*lines: Line, status: int = 200, delay: float = 0.0, **options: Any) -> Freshness:
    headers = headers_of(*lines)
    control, targeted = control_of(headers, [CDN])
    return freshness(status, headers, control, targeted, asked_at=NOW - delay, received_at=NOW, **options)


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        # [4.2.1]: s-maxage, then max-age, then Expires
        ([("Cache-Control", "max-age=3600")], 3600),
        ([("Cache-Control", "max-age=1, s-maxage=3600")], 3600),
        ([("Cache-Control", "s-maxage=1, max-age=3600")], 1),
        ([("Cache-Control", "max-age=3600"), ("Cache-Control", "s-maxage=1")], 1),
        ([("Cache-Control", "s-maxage=60"), ("Expires", -10), ("Date", 0)], 60),
        ([("Cache-Control", "max-age=3600"), ("Expires", -10_000), ("Date", 0)], 3600),
        ([("Cache-Control", "max-age=3600"), ("Expires", "0"), ("Date", 0)], 3600),
        ([("Cache-Control", "max-age=0"), ("Expires", 10_000), ("Date", 0)], 0),
        ([("Cache-Control", "max-age='3600'"), ("Expires", 10_000), ("Date", 0)], 0),
        ([("Cache-Control", "s-maxage=x, max-age=60")], 0),
        ([("Cache-Control", "max-age=99999999999")], LONGEST),
        # [5.3]: Expires
        ([("Expires", 30), ("Date", 0)], 30),
        ([("Expires", 30), ("Date", -10)], 40),
        ([("Expires", 20), ("Date", 10)], 10),
        ([("Expires", 0), ("Date", 0)], 0),
        ([("Expires", -30), ("Date", 0)], 0),
        ([("Expires", 300), ("Date", 400)], 0),
        ([("Expires", "0"), ("Date", 0)], 0),
        ([("Expires", "-1"), ("Date", 0)], 0),
        ([("Expires", ""), ("Last-Modified", -1000)], 0),
        ([("Expires", 30), ("Expires", 30), ("Date", 0)], 0),
        ([("Expires", 30), ("Expires", "0"), ("Date", 0)], 0),
        ([("Expires", "Thu, 18 Aug 2050 02:01:18 UTC"), ("Date", 0)], 0),
        ([("Expires", " Fri, 31 Dec 9999 23:59:59 GMT "), ("Date", 0)], 251_622_300_799),
        # a Date that is none is the time of receipt
        ([("Expires", 10)], 10),
        ([("Expires", 10), ("Date", "foo")], 10),
        ([("Expires", 10), ("Date", -5), ("Date", -5)], 10),
        # RFC 9213 §2.2: a targeted field replaces both others
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "max-age=1")], 60),
        ([("CDN-Cache-Control", "max-age=1"), ("Cache-Control", "s-maxage=60")], 1),
        ([("CDN-Cache-Control", "max-age=60"), ("Expires", -10), ("Date", 0)], 60),
        ([("CDN-Cache-Control", "public"), ("Cache-Control", "max-age=60"), ("Expires", 60)], 0),
        ([("CDN-Cache-Control", 'max-age="60"'), ("Cache-Control", "max-age=5")], 5),
        ([("CDN-Cache-Control", "max-age=60, &&&&&"), ("Expires", 7), ("Date", 0)], 7),
        ([("CDN-Cache-Control", ""), ("Cache-Control", "max-age=5")], 5),
        # nothing
        ([], 0),
        ([("Date", 0)], 0),
    ],
)
def test_the_stated_lifetime(lines: list[Line], lifetime: float) -> None:
    assert found(*lines).lifetime == lifetime
    assert not found(*lines).heuristic


@pytest.mark.parametrize(
    ("status", "lines", "lifetime"),
    [
        # [4.2.2]: a tenth of the age at the start, to a bound
        (200, [("Last-Modified", -1000), ("Date", 0)], 100),
        (200, [("Last-Modified", -1000)], 100),
        (404, [("Last-Modified", -86_400), ("Date", 0)], 8640),
        (200, [("Last-Modified", -(10**8)), ("Date", 0)], 86_400),
        (599, [("Last-Modified", -1000), ("Cache-Control", "public")], 100),
        (200, [("Last-Modified", -1000), ("CDN-Cache-Control", "public"), ("Expires", 5)], 100),
        (200, [("Last-Modified", -1000), ("Cache-Control", "stale-if-error=5")], 100),
    ],
)
def test_a_lifetime_that_nobody_stated(status: int, lines: list[Line], lifetime: float) -> None:
    assert found(*lines, status=status).lifetime == pytest.approx(lifetime)
    assert found(*lines, status=status).heuristic
    assert found(*lines, status=status, heuristic_most=0.0).lifetime == 0


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (201, [("Last-Modified", -1000)]),
        (503, [("Last-Modified", -1000)]),
        (599, [("Last-Modified", -1000)]),
        (200, [("Last-Modified", 0), ("Date", 0)]),
        (200, [("Last-Modified", 10), ("Date", 0)]),
        (200, [("Last-Modified", "yesterday")]),
        (200, [("Last-Modified", -1000), ("Last-Modified", -1000)]),
        (200, [("Last-Modified", -1000), ("Cache-Control", "max-age=0")]),
        (200, [("Last-Modified", -1000), ("Expires", "0")]),
    ],
)
def test_no_lifetime_is_made_up(status: int, lines: list[Line]) -> None:
    freshness = found(*lines, status=status)
    assert (freshness.lifetime, freshness.heuristic, freshness.is_fresh) == (0, False, False)


@pytest.mark.parametrize("status", [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501])
def test_statuses_that_are_heuristically_cacheable(status: int) -> None:  # RFC 9110 §15.1
    assert is_heuristic_status(status)


@pytest.mark.parametrize(
    "status", [100, 199, 201, 202, 205, 299, 302, 303, 304, 307, 400, 403, 429, 500, 502, 504, 599]
)
def test_statuses_that_are_not(status: int) -> None:
    assert not is_heuristic_status(status)


@pytest.mark.parametrize(
    ("lines", "delay", "age"),
    [
        # [4.2.3]: max(apparent_age, age_value + response_delay)
        ([], 0, 0),
        ([], 2.5, 2.5),
        ([("Date", 0)], 0, 0),
        ([("Date", -10)], 0, 10),
        ([("Date", 10)], 0, 0),
        ([("Date", "foo")], 0, 0),
        ([("Date", -10), ("Date", -20)], 0, 0),
        ([("Age", "30")], 0, 30),
        ([("Age", "30")], 2.5, 32.5),
        ([("Age", "30"), ("Date", -10)], 2.5, 32.5),
        ([("Age", "30"), ("Date", -100)], 2.5, 100),
        ([("Age", "25"), ("Date", 10)], 0, 25),
        # [5.1]: the first member of the first line, or nothing
        ([("Age", "0, 7200")], 0, 0),
        ([("Age", "7200, 0")], 0, 7200),
        ([("Age", "7200,0")], 0, 7200),
        ([("Age", "0"), ("Age", "7200")], 0, 0),
        ([("Age", "7200"), ("Age", "0")], 0, 7200),
        ([("Age", " 0030 ")], 0, 30),
        ([("Age", "abc")], 0, 0),
        ([("Age", "abc, 7200")], 0, 0),
        ([("Age", "-7200")], 0, 0),
        ([("Age", "+7200")], 0, 0),
        ([("Age", "7200.0")], 0, 0),
        ([("Age", '"7200"')], 0, 0),
        ([("Age", "7200;x")], 0, 0),
        ([("Age", "\xb2")], 0, 0),
        ([("Age", "")], 0, 0),
        ([("Age", ", 7200")], 0, 0),
        # [1.2.2]
        ([("Age", "99999999999")], 0, LONGEST),
        ([("Age", "9" * 10_000)], 0, LONGEST),
        # a clock that was set back in between
        ([], -5, 0),
        ([("Age", "30")], -5, 30),
    ],
)
def test_the_age_at_the_start(lines: list[Line], delay: float, age: float) -> None:
    assert found(*lines, delay=delay).age == age


@pytest.mark.parametrize(
    ("lines", "fresh"),
    [
        # [4.2]: strictly greater
        ([("Cache-Control", "max-age=30"), ("Age", "29")], True),
        ([("Cache-Control", "max-age=30"), ("Age", "30")], False),
        ([("Cache-Control", "max-age=3600"), ("Age", "7200")], False),
        ([("CDN-Cache-Control", "max-age=3600"), ("Age", "7200")], False),
        ([("Date", -10), ("Expires", 10), ("Age", "25")], False),
        ([("Date", 10), ("Expires", 20), ("Age", "15")], False),
        ([("Date", -10), ("Expires", 10), ("Age", "15")], True),
        # [5.2.2.4]
        ([("Cache-Control", "max-age=30, no-cache")], False),
        ([("Cache-Control", 'max-age=30, no-cache="a"')], True),
        ([("Cache-Control", "max-age=30, must-revalidate")], True),
    ],
)
def test_fresh_is_what_lives_longer_than_it_is_old(lines: list[Line], fresh: bool) -> None:
    assert found(*lines).is_fresh is fresh


@pytest.mark.parametrize(
    ("value", "swr", "sie", "never_stale", "max_stale"),
    [
        # [4.2.4], RFC 5861 §3 and §4
        ("max-age=1", 0, 0, False, True),
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6", 5, 6, False, True),
        ("max-age=0, stale-while-revalidate=x", 0, 0, False, True),
        # [5.2.2.2], [5.2.2.8], [5.2.2.4]: no exception
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6, must-revalidate", 0, 0, True, False),
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6, proxy-revalidate", 0, 0, True, False),
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6, no-cache", 0, 0, True, False),
        ('max-age=1, stale-while-revalidate=5, no-cache="a"', 5, 0, False, True),
        # [5.2.2.10]: unless the same field says so; a client's wish is never enough
        ("s-maxage=1", 0, 0, True, False),
        ("s-maxage=x", 0, 0, True, False),
        ("s-maxage=1, stale-while-revalidate=5", 5, 0, False, False),
        ("s-maxage=1, stale-if-error=6", 0, 6, False, False),
        ("s-maxage=1, stale-if-error=6, must-revalidate", 0, 0, True, False),
    ],
)
@pytest.mark.parametrize("field", ["Cache-Control", "CDN-Cache-Control"])
def test_what_may_be_served_stale(
    field: str, value: str, swr: float, sie: float, never_stale: bool, max_stale: bool
) -> None:
    if field != "Cache-Control" and "=x" in value:
        value = value.replace("=x", "=0")  # a wrong type there breaks the whole field
    freshness = found((field, value))
    assert (freshness.swr, freshness.sie) == (swr, sie)
    assert freshness.never_stale is never_stale
    assert freshness.is_max_stale_allowed is max_stale
    assert freshness.must_validate is ("no-cache" in value and "no-cache=" not in value)


def test_a_targeted_field_takes_staleness_from_cache_control() -> None:
    freshness = found(("CDN-Cache-Control", "s-maxage=1"), ("Cache-Control", "stale-if-error=6"))
    assert (freshness.sie, freshness.never_stale) == (0, True)


@pytest.mark.parametrize(
    ("lines", "control", "targeted"),
    [
        ([], NOTHING, False),
        ([("Cache-Control", "no-store")], CacheControl(no_store=True), False),
        ([("B-Cache-Control", "max-age=2"), ("A-Cache-Control", "max-age=1")], CacheControl(max_age=1), True),
        ([("A-Cache-Control", "&"), ("B-Cache-Control", "max-age=2")], CacheControl(max_age=2), True),
        ([("A-Cache-Control", ""), ("B-Cache-Control", "max-age=2")], CacheControl(max_age=2), True),
        ([("A-Cache-Control", "max-age=1"), ("A-Cache-Control", "no-cache")], CacheControl(1, no_cache=True), True),
        ([("A-Cache-Control", "max-age=1"), ("Cache-Control", "no-store")], CacheControl(max_age=1), True),
        ([("A-Cache-Control", "foo"), ("Cache-Control", "max-age=1")], NOTHING, True),
        ([("C-Cache-Control", "max-age=1"), ("Cache-Control", "max-age=2")], CacheControl(max_age=2), False),
    ],
)
def test_the_first_valid_target_counts(lines: list[Line], control: CacheControl, targeted: bool) -> None:
    assert control_of(headers_of(*lines), [b"a-cache-control", b"b-cache-control"]) == (control, targeted)


@given(
    st.integers(0, 10**6),
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**6).map(lambda eighths: eighths / 8),  # a number of seconds that adds up exactly
    st.integers(0, 10**6),
)
def test_the_age_is_the_greatest_that_any_clock_saw(age: int, date: int, delay: float, lifetime: int) -> None:
    freshness = found(("Age", str(age)), ("Date", date), ("Cache-Control", f"max-age={lifetime}"), delay=delay)
    assert freshness.age == max(age + delay, -date)
    assert freshness.is_fresh is (lifetime > freshness.age)


_lines = st.lists(
    st.tuples(
        st.sampled_from(["Date", "Expires", "Age", "Last-Modified", "Cache-Control", "CDN-Cache-Control"]),
        st.integers(-(10**9), 10**9)
        | st.sampled_from(["0", "5", "max-age=5", "s-maxage=9", "no-cache", "public", "stale-if-error=5", "x"])
        | st.text(st.characters(max_codepoint=255), max_size=12),
    ),
    max_size=6,
)


@given(_lines, st.integers(200, 599), st.floats(-10, 10))
def test_no_fields_raise_and_times_are_never_negative(lines: list[Line], status: int, delay: float) -> None:
    freshness = found(*lines, status=status, delay=delay)
    assert min(freshness.lifetime, freshness.age, freshness.swr, freshness.sie) >= 0
    assert not (freshness.never_stale and (freshness.swr or freshness.sie or freshness.is_max_stale_allowed))
