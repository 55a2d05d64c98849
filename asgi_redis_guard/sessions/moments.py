"""The times of a question about security events, as the script takes them. Pure."""

from __future__ import annotations

import re
from datetime import datetime

_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
_FIRST = 0, 0

#: Seconds since the epoch, or a datetime with a time zone.
Moment = float | datetime


def beginning(until: Moment | None, before: str | None) -> str | None:
    """Return where the script shall begin, the earlier of both ends; None if nothing can be before it."""
    ends = [(in_ms(until, "until"), 0)] if until is not None else []
    if before is not None:
        found = _ID.fullmatch(before)
        if found is None:
            raise ValueError(f"before: {before[:60]!r} given; allowed are ids of events")
        ends.append((int(found[1]), int(found[2])))
    if not ends:
        return "+"
    when, number = min(ends)
    return f"({when}-{number}" if (when, number) > _FIRST else None


def in_ms(moment: Moment, name: str) -> int:
    """Return a moment in ms since the epoch, never before it. Raises ValueError, which calls it `name`."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{name} is a datetime without a time zone")
        moment = moment.timestamp()
    if not -1e11 < moment < 1e11:
        raise ValueError(f"{name}: {moment} given; allowed are seconds since the epoch")
    return max(0, round(moment * 1000))
