"""HTTP dates: the three forms of RFC 9110 §5.6.7, and what looks like one and is none."""

import calendar
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.dates import parse_date
from tests.cache.fixdate import fixdate

NOW = float(calendar.timegm((2026, 6, 1, 12, 0, 0)))
FIRST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        # the examples of RFC 9110 §5.6.7: all one moment
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        (b"Sun Nov  6 08:49:37 1994", 784_111_777),
        (b"Sun Nov 16 08:49:37 1994", at(1994, 11, 16, 8, 49, 37)),
        (b"Sun Nov 06 08:49:37 1994", 784_111_777),
        # letters of either case
        (b"THU, 18 Aug 2050 02:01:18 GMT", at(2050, 8, 18, 2, 1, 18)),
        (b"Thu, 18 AUG 2050 02:01:18 GMT", at(2050, 8, 18, 2, 1, 18)),
        (b"Thu, 18 Aug 2050 02:01:18 gMT", at(2050, 8, 18, 2, 1, 18)),
        (b"sunday, 06-nov-94 08:49:37 gmt", 784_111_777),
        (b"sun nov  6 08:49:37 1994", 784_111_777),
        # beyond 32 bits, and before the epoch
        (b"Tue, 19 Jan 2038 03:14:08 GMT", 2**31),
        (b"Sun, 07 Feb 2106 06:28:16 GMT", 2**32),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", LAST),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Mon, 01 Jan 0001 00:00:00 GMT", FIRST),
        # leap days and seconds
        (b"Thu, 29 Feb 2024 00:00:00 GMT", at(2024, 2, 29)),
        (b"Tuesday, 29-Feb-00 00:00:00 GMT", at(2000, 2, 29)),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", at(2017, 1, 1)),
        # the name of the day is not checked against the date
        (b"Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
    ],
)
def test_a_date_is_read(field: bytes, seconds: float) -> None:
    assert parse_date(field, NOW) == seconds


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"0",
        b"-1",
        b"foo",
        b"784111777",
        b"1994-11-06T08:49:37Z",
        # other zones
        b"Thu, 18 Aug 2050 02:01:18 UTC",
        b"Thu, 18 Aug 2050 02:01:18 AEST",
        b"Thu, 18 Aug 2050 02:01:18 +0000",
        b"Thu, 18 Aug 2050 02:01:18 GMT+1",
        b"Thu, 18 Aug 2050 02:01:18",
        b"Thu, 18 Aug 2050 02:01:18 Z",
        # other punctuation
        b"Thu, 18 Aug 50 02:01:18 GMT",
        b"Thu 18 Aug 2050 02:01:18 GMT",
        b"Thu,18 Aug 2050 02:01:18 GMT",
        b"Thu, 18  Aug  2050 02:01:18 GMT",
        b"Thu,  18 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02:01:18  GMT",
        b"Thu, 18-Aug-2050 02:01:18 GMT",
        b"Thursday, 18-Aug-2050 02:01:18 GMT",
        b"Thu, 18-Aug-50 02:01:18 GMT",
        b"Thursday, 18 Aug 50 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02.01.18 GMT",
        b"Thu, 18 Aug 2050 2:01:18 GMT",
        b"Thu, 8 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02:01 GMT",
        b"Thu, 18 Aug 2050 02:01:18.5 GMT",
        b"Thu, 18\tAug 2050 02:01:18 GMT",
        b"Sun Nov 6 08:49:37 1994",
        b"Sun Nov  6 08:49:37 94",
        b"Sun Nov  6 08:49:37 1994 GMT",
        b"Sun Nov  16 08:49:37 1994",
        # other names
        b"Foo, 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Foo 2050 02:01:18 GMT",
        b"Thu, 18 August 2050 02:01:18 GMT",
        b"Thursday, 18 Aug 2050 02:01:18 GMT",
        b"18 Aug 2050 02:01:18 GMT",
        # around it
        b" Thu, 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02:01:18 GMT\n",
        b'"Thu, 18 Aug 2050 02:01:18 GMT"',
        b"Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Aug 12050 02:01:18 GMT",
        "Thu, 1٨ Aug 2050 02:01:18 GMT".encode(),
        # never was, never will be
        b"Thu, 00 Aug 2050 02:01:18 GMT",
        b"Thu, 32 Aug 2050 02:01:18 GMT",
        b"Sat, 31 Sep 2050 02:01:18 GMT",
        b"Wed, 29 Feb 2023 00:00:00 GMT",
        b"Thu, 29 Feb 1900 00:00:00 GMT",
        b"Sat, 01 Jan 0000 00:00:00 GMT",
        b"Thu, 18 Aug 2050 24:00:00 GMT",
        b"Thu, 18 Aug 2050 02:60:00 GMT",
        b"Thu, 18 Aug 2050 02:01:61 GMT",
        b"Sun Nov 31 08:49:37 1994",
        b"Sun Nov  0 08:49:37 1994",
        b"Thursday, 31-Feb-50 02:01:18 GMT",
    ],
)
def test_what_is_no_date_is_refused(field: bytes) -> None:
    assert parse_date(field, NOW) is None


@pytest.mark.parametrize(
    ("now", "field", "year"),
    [
        # RFC 9110 §5.6.7: what appears to be more than 50 years in the future is in the past
        ((2026, 6, 1, 12, 0, 0), b"Monday, 01-Jun-76 12:00:00 GMT", 2076),
        ((2026, 6, 1, 12, 0, 0), b"Monday, 01-Jun-76 12:00:01 GMT", 1976),
        ((2026, 6, 1, 12, 0, 0), b"Tuesday, 01-Jun-77 12:00:00 GMT", 1977),
        ((2026, 6, 1, 12, 0, 0), b"Monday, 01-Jun-26 11:00:00 GMT", 2026),
        ((2026, 6, 1, 12, 0, 0), b"Monday, 01-Jun-25 11:00:00 GMT", 2025),
        ((2026, 6, 1, 12, 0, 0), b"Tuesday, 01-Jun-99 11:00:00 GMT", 1999),
        ((1999, 12, 31, 23, 0, 0), b"Saturday, 01-Jan-00 01:00:00 GMT", 2000),
        ((1999, 12, 31, 23, 0, 0), b"Saturday, 01-Jan-50 01:00:00 GMT", 1950),
        ((2080, 1, 1, 0, 0, 0), b"Saturday, 01-Jan-10 01:00:00 GMT", 2110),
        ((2080, 1, 1, 0, 0, 0), b"Saturday, 01-Jan-31 01:00:00 GMT", 2031),
    ],
)
def test_two_digits_name_the_last_such_year_that_is_not_50_years_ahead(
    now: tuple[int, ...], field: bytes, year: int
) -> None:
    seconds = parse_date(field, at(*now))
    assert seconds is not None
    assert datetime.fromtimestamp(seconds, UTC).year == year


def test_a_clock_far_off_does_no_harm() -> None:
    for now in (-1e18, 1e18):
        assert parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT", now) == 784_111_777
        parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT", now)


@given(st.integers(int(FIRST), int(LAST)))
def test_imf_fixdate_is_read_back(seconds: int) -> None:
    assert parse_date(fixdate(seconds), NOW) == seconds


@given(st.integers(int(FIRST), int(LAST)))
def test_asctime_is_read_back(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert parse_date(f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S} {moment.year:04}".encode(), NOW) == seconds


@given(st.integers(int(at(1976, 6, 1, 12, 0, 1)), int(at(2076, 6, 1, 12, 0, 0))))
def test_rfc_850_is_read_back_within_its_century(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert parse_date(f"{moment:%A, %d-%b-%y %H:%M:%S} GMT".encode(), NOW) == seconds


@given(
    st.integers(int(at(1970, 1, 1)), int(at(2100, 1, 1))),
    st.sampled_from(["insert", "delete", "replace"]),
    st.integers(0, 28),
    st.sampled_from(b" ,:-.\tAaZ019\xff"),
)
def test_a_changed_date_is_refused_or_says_what_it_says(seconds: int, change: str, place: int, byte: int) -> None:
    field = fixdate(seconds)
    tail = field[place:] if change == "insert" else field[place + 1 :]
    changed = field[:place] + (b"" if change == "delete" else bytes([byte])) + tail
    found = parse_date(changed, NOW)
    if found is not None and found != seconds:
        assert fixdate(found)[5:].lower() == changed[5:].lower() or b":60 GMT" in changed


@given(st.binary(max_size=64))
def test_no_bytes_raise(field: bytes) -> None:
    parse_date(field, NOW)


def test_a_long_field_is_no_date() -> None:
    assert parse_date(b"Sun, " * 20_000, NOW) is None
