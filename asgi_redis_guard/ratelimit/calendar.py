"""Calendar periods: when the hour, day, month or year that it is ends in a time zone, and those beside it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from ..errors import ConfigurationError

#: What a quota may be for, and its nominal length in seconds.
UNITS = {"hour": 3_600, "day": 86_400, "month": 30 * 86_400, "year": 365 * 86_400}


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone that IANA calls `name`; raises `ConfigurationError`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ConfigurationError(
            f"timezone: {name!r} given; allowed are names of IANA time zones, such as 'Europe/Berlin'"
        ) from None


def borders(unit: str, zone: ZoneInfo, now: float) -> tuple[int, int, int]:
    """Return when the periods before, at and after `now` (seconds since the epoch) end, in µs since the epoch.

    Three, because it is the server's clock that counts, and it may be in another period than the app's.
    """
    return _borders(unit, zone, quarter(now))


def quarter(now: float) -> float:
    """Return when the quarter of an hour began that it is; no period of a time zone begins or ends within one."""
    return now // 900 * 900


@lru_cache(maxsize=256)
def _borders(unit: str, zone: ZoneInfo, time: float) -> tuple[int, int, int]:
    now = datetime.fromtimestamp(time, UTC)
    if unit == "hour":  # the same hours everywhere but for zones off by less than one; no hour is counted twice
        offset = now.astimezone(zone).utcoffset() or timedelta()
        shifted = now + offset
        begun = shifted.replace(minute=0, second=0, microsecond=0) - offset
        return _micro(begun), _micro(begun + timedelta(hours=1)), _micro(begun + timedelta(hours=2))
    begun = _begin(unit, now.astimezone(zone).replace(tzinfo=None, fold=0))
    coming = _next(unit, begun)
    starts = (begun, coming, _next(unit, coming))
    first, second, third = (_micro(start.replace(tzinfo=zone).astimezone(UTC)) for start in starts)
    return first, second, third


def _begin(unit: str, local: datetime) -> datetime:
    local = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return local.replace(day=1, month=1 if unit == "year" else local.month) if unit != "day" else local


def _next(unit: str, begun: datetime) -> datetime:
    if unit == "day":
        return begun + timedelta(days=1)
    if unit == "month" and begun.month < 12:
        return begun.replace(month=begun.month + 1)
    return begun.replace(year=begun.year + 1, month=1)


def _micro(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000
