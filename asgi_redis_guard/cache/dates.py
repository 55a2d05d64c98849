"""HTTP dates (RFC 9110 §5.6.7): three forms are read. Pure: no locale, no clock.

Reading is as strict as the grammar but for upper and lower case: a date that another cache may read otherwise is none.
That the name of the day fits the date is not asked for.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_NUMBERS = {month.lower(): number for number, month in enumerate(_MONTHS, 1)}

_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = rb"(?:" + b"|".join(_DAYS) + rb")"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        # Sun, 06 Nov 1994 08:49:37 GMT
        _DAY + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _TIME + rb" GMT",
        # Sunday, 06-Nov-94 08:49:37 GMT
        _LONG_DAY + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT",
        # Sun Nov  6 08:49:37 1994
        _DAY + rb" " + _MONTH + rb" (?P<day>[0-9]{2}| [0-9]) " + _TIME + rb" (?P<year>[0-9]{4})",
    )
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62_135_596_800  #: 1 January of the year 1
_LAST = 253_402_300_799  #: 31 December 9999, 23:59:59


def parse_date(field: bytes, now: float) -> float | None:
    """Return the time that `field` names, in seconds since the epoch, or None where it is no date.

    `now`, in seconds since the epoch, tells the century of a year of two digits (RFC 850): the last that is not more
    than 50 years ahead.
    """
    for form in _FORMS:
        if found := form.fullmatch(field):
            return _seconds(found, now)
    return None


def _seconds(found: re.Match[bytes], now: float) -> float | None:
    month, day = _NUMBERS[found["month"].lower()], int(found["day"])
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _year(year, (month, day, hour, minute, second), now)
    try:
        days = date(year, month, day).toordinal() - _EPOCH.toordinal()
    except ValueError:
        return None
    return float(days * 86_400 + hour * 3_600 + minute * 60 + second)


def _year(digits: int, rest: tuple[int, ...], now: float) -> int:
    present = _moment(now)
    latest = (present.year + 50, *present.timetuple()[1:6])
    year = latest[0] - (latest[0] - digits) % 100
    return year if (year, *rest) <= latest else year - 100


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
