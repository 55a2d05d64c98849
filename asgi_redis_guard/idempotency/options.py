"""What options of idempotent requests and calls may be. Pure."""

from __future__ import annotations

from collections.abc import Collection

from ..core import checks

#: Seconds.
LONGEST_TTL, LONGEST_LEASE, LONGEST_WAIT = 366 * 86_400, 3_600, 600


def method_faults(methods: Collection[object]) -> list[str]:
    """What is wrong with the methods whose requests take effect once."""
    return checks.method_faults(methods) or ([] if methods else ["methods: none given; allowed is one at least"])


def header_faults(header: object) -> list[str]:
    """What is wrong with the name of a field."""
    return [] if checks.is_token(header) else [f"header: {header!r} given; allowed is the name of a header field"]
