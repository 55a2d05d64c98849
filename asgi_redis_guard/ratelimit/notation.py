"""Limits as they are written: `100/minute; 1000 per 2 hours`, read with all faults at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItem, parse_many

from ..core.checks import name_faults
from ..errors import ConfigurationError
from .calendar import UNITS, zone_of
from .checks import MOST_UNITS
from .policy import KINDS, Algorithm, Limit

#: Entries of one sorted set; a log of more stalls the server when many are written at once.
_LONGEST_LOG = 10_000

#: A round has room for that many, and for what stands beside them.
_MOST_LIMITS = 16

#: Characters; what is longer holds numbers that nobody means.
_LONGEST_NOTATION = 500

#: So many per none at all, which is taken for one elsewhere.
_NO_TIME = re.compile(r"(?:/|per)\s*0+\s*[a-z]", re.IGNORECASE)

_WORDS = ("second", "minute", "hour", "day", "month", "year")

_BURSTS = ("gcra", "leaky")


@dataclass(frozen=True, slots=True)
class Style:
    """How limits are read: what is the same for all of a guard.

    `name` stands in headers and, as `space` does where it is given, in keys: limits of one space, algorithm and period
    share their counts. `timezone` is for calendar quotas.
    """

    algorithm: Algorithm = "gcra"
    burst: int | None = None
    name: str | None = None
    space: str | None = None
    timezone: str | None = None

    def faults(self) -> list[str]:
        """What is wrong with it, whatever the limits are. Raises `ConfigurationError` for an unknown algorithm."""
        if self.algorithm not in KINDS:
            allowed = ", ".join(map(repr, KINDS))
            raise ConfigurationError(
                f"algorithm (GUARD_LIMIT_ALGORITHM): {self.algorithm!r} given; allowed are {allowed}"
            )
        faults = []
        if self.burst is not None and self.algorithm not in _BURSTS:
            faults.append(f"burst: given with algorithm {self.algorithm!r}; allowed with 'gcra' and 'leaky' alone")
        faults += name_faults("name", self.name)
        if self.space != self.name:
            faults += name_faults("group", self.space)
        if self.timezone is not None and self.algorithm != "calendar":
            faults.append(f"timezone: given with algorithm {self.algorithm!r}; allowed with 'calendar' alone")
        elif self.timezone is not None:
            try:
                zone_of(self.timezone)
            except ConfigurationError as error:
                faults += error.faults
        return faults


def make_limits(notations: Sequence[str], style: Style) -> tuple[Limit, ...]:
    """Read limits such as `100/minute; 1000 per 2 hours`; raises `ConfigurationError` with all faults."""
    faults = style.faults()
    items = [item for notation in notations for item in _parse(notation, faults)]
    if len(items) > _MOST_LIMITS:
        faults.append(f"limits (GUARD_LIMITS): {len(items)} given; allowed are {_MOST_LIMITS} together")
    if not items and not faults:
        faults.append("limits (GUARD_LIMITS): none given; name at least one, such as '100/minute'")
    limits = [_limit(item, place, items, style, faults) for place, item in enumerate(items)]
    ConfigurationError.raise_for(faults)
    return tuple(limits)


def _parse(notation: str, faults: list[str]) -> list[RateLimitItem]:
    try:
        if len(notation) > _LONGEST_NOTATION or _NO_TIME.search(notation):
            raise ValueError
        return list(parse_many(notation))
    except (ValueError, TypeError, OverflowError):
        said = f"limits (GUARD_LIMITS): {repr(notation)[:_LONGEST_NOTATION]} given;"
        faults.append(
            f"{said} allowed are forms such as '100/minute', '10 per 5 seconds', with units {', '.join(_WORDS)}"
        )
        return []


def _limit(item: RateLimitItem, place: int, items: Sequence[RateLimitItem], style: Style, faults: list[str]) -> Limit:
    amount, period, burst = _bounded(item, style, faults)
    unit = item.GRANULARITY.name if style.algorithm == "calendar" else ""
    same = [other.get_expiry() for other in items[:place]].count(item.get_expiry())
    suffix = f"-{same + 1}" if same else ""
    span = unit or _span(period)
    zone = zone_of(style.timezone or "UTC") if unit and not faults else None
    header = style.name if style.name and len(items) == 1 else f"{style.name + '-' if style.name else ''}{span}{suffix}"
    of = f"{unit}@{zone.key}" if zone is not None else period
    key_name = f"{style.space or style.name or 'default'}.{style.algorithm}.{of}{suffix}".encode()
    return Limit(amount, UNITS.get(unit, period), style.algorithm, burst, header, key_name, unit, zone)


def _bounded(item: RateLimitItem, style: Style, faults: list[str]) -> tuple[int, int, int]:
    """Return amount, period and burst; what is out of bounds is told, and replaced by something to go on with."""
    amount, period, burst = item.amount, item.get_expiry(), style.burst
    said = f"limits (GUARD_LIMITS): {amount} per {period} s given;"
    if not (0 < amount <= MOST_UNITS and 0 < period <= 366 * 86_400):
        faults.append(f"{said} allowed are 1 to 1,000,000,000 in 1 second to 366 days")
        amount, period = max(1, burst or 1), 1
    elif amount > period * 1_000_000:
        faults.append(f"{said} allowed is at most one a microsecond")
    elif style.algorithm == "log" and amount > _LONGEST_LOG:
        faults.append(f"{said} algorithm 'log' keeps every request; allowed are {_LONGEST_LOG} at most")
    elif style.algorithm == "calendar" and (item.multiples != 1 or item.GRANULARITY.name not in UNITS):
        faults.append(f"{said} algorithm 'calendar' counts per {', '.join(UNITS)}, one of them")
    if burst is not None and not 1 <= burst <= amount:
        faults.append(f"burst: {burst} given; allowed are 1 to the amount of each limit ({amount})")
    return amount, period, burst or amount


def _span(period: int) -> str:
    for seconds, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if period % seconds == 0:
            count = period // seconds
            return word if count == 1 else f"{count}-{word}s"
    raise AssertionError(period)  # whole seconds always divide by one
