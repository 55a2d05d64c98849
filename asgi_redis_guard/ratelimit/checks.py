"""Units of limits: how many one request may take. Pure."""

from __future__ import annotations

#: Units that one request may take.
MOST_UNITS = 1_000_000_000


def is_units(value: object, most: int = MOST_UNITS) -> bool:
    """Tell whether it is a number of units."""
    return value.__class__ is int and 0 <= value <= most
