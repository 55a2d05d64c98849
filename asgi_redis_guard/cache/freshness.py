"""How long a response stays fresh in a shared cache, how old it is, and what may be done when it is stale. Pure.

RFC 9111 §4.2, RFC 5861, RFC 9213. All times are seconds on this host's clock, which comes in as an argument.

A response with `s-maxage` may not be served stale (RFC 9111 §5.2.2.10), unless `stale-while-revalidate` or
`stale-if-error` stands in the same field: who writes both means both. `must-revalidate`, `proxy-revalidate` and
`no-cache` have no such exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.asgi import Headers
from .dates import parse_date
from .directives import CacheControl, delta_seconds, parse_cache_control, parse_targeted
from .fields import OWS, lines, sole

#: RFC 9110 §15.1: statuses that may be reused without a stated lifetime.
_HEURISTIC_STATUSES = frozenset((200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501))

#: The part of its age at the start that a response is taken to stay as it is (RFC 9111 §4.2.2).
_HEURISTIC = 0.1


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a response may be used for; times in seconds.

    `lifetime` runs from age 0, `age` is the age when it was received. `swr` and `sie` are how long after the end of its
    lifetime it may be served while it is refreshed, and instead of an error: 0 where that is not said or not allowed.
    `never_stale`: not even within these times. `is_max_stale_allowed`: a client that asks for stale ones may get it.
    """

    lifetime: float
    age: float
    heuristic: bool
    swr: float
    sie: float
    must_validate: bool
    never_stale: bool
    is_max_stale_allowed: bool

    @property
    def is_fresh(self) -> bool:
        """True where it may be used right when it is received (§4.2: its lifetime is greater than its age)."""
        return self.lifetime > self.age and not self.must_validate


def is_heuristic_status(status: int) -> bool:
    """Return whether a response may be given a lifetime that nobody stated (RFC 9111 §4.2.2)."""
    return status in _HEURISTIC_STATUSES


def control_of(headers: Headers, targets: Sequence[bytes]) -> tuple[CacheControl, bool]:
    """Return the directives that count for a response, and whether they are from one of `targets`.

    The first of these fields (lower-case names) that is valid and not empty counts; Cache-Control and Expires are then
    as if they were not there (RFC 9213 §2.2).
    """
    for target in targets:
        said = lines(headers, target)
        if said and (control := parse_targeted(said)) is not None:
            return control, True
    return parse_cache_control(lines(headers, b"cache-control")), False


def freshness(
    status: int,
    headers: Headers,
    control: CacheControl,
    targeted: bool,
    *,
    asked_at: float,
    received_at: float,
    heuristic_most: float = 86_400.0,
) -> Freshness:
    """Return how long a response that was asked for at `asked_at` may be used.

    `heuristic_most` bounds a lifetime that nobody stated; 0 turns such lifetimes off.
    """
    date = _date(headers, b"date", received_at)
    dated = received_at if date is None else date  # §4.2.1: a Date that is none is the time of receipt
    stated = _stated(headers, control, targeted, dated, received_at)
    guessed = None if stated is not None else _guessed(status, headers, control, dated, received_at)
    explicit = control.stale_while_revalidate is not None or control.stale_if_error is not None
    strict = control.must_revalidate or control.proxy_revalidate or control.no_cache
    shared = control.s_maxage is not None
    never_stale = strict or (shared and not explicit)
    return Freshness(
        lifetime=float(stated if stated is not None else min(guessed or 0.0, heuristic_most)),
        age=_age(headers, dated, asked_at, received_at),
        heuristic=guessed is not None,
        swr=0.0 if never_stale else float(control.stale_while_revalidate or 0),
        sie=0.0 if never_stale else float(control.stale_if_error or 0),
        must_validate=control.no_cache,
        never_stale=never_stale,
        is_max_stale_allowed=not (strict or shared),
    )


def _stated(
    headers: Headers, control: CacheControl, targeted: bool, dated: float, received_at: float
) -> float | int | None:
    """Return the explicit lifetime of a shared cache (§4.2.1), None where there is none."""
    if control.s_maxage is not None:
        return control.s_maxage
    if control.max_age is not None:
        return control.max_age
    if targeted or not lines(headers, b"expires"):
        return None
    expires = _date(headers, b"expires", received_at)
    return 0 if expires is None else max(0.0, expires - dated)


def _guessed(status: int, headers: Headers, control: CacheControl, dated: float, received_at: float) -> float | None:
    """Return the heuristic lifetime (§4.2.2), None where none may or can be."""
    if not (control.public or is_heuristic_status(status)):
        return None
    modified = _date(headers, b"last-modified", received_at)
    return None if modified is None or modified >= dated else (dated - modified) * _HEURISTIC


def _age(headers: Headers, dated: float, asked_at: float, received_at: float) -> float:
    """Return corrected_initial_age (§4.2.3). Of Age, the first member counts if it is a number, else nothing (§5.1)."""
    ages = lines(headers, b"age")
    told = delta_seconds(ages[0].partition(b",")[0].strip(OWS)) if ages else None
    delay = max(0.0, received_at - asked_at)
    return max(0.0, received_at - dated, (told or 0) + delay)


def _date(headers: Headers, name: bytes, now: float) -> float | None:
    """Return the date of a field, None where it is no date or there is not exactly one line."""
    value = sole(headers, name)
    return None if value is None else parse_date(value, now)
