"""Rate limit headers: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11, in the syntax of
RFC 9651), `Retry-After` (RFC 9110 §10.2.3), and on request the older `X-RateLimit-*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..core.asgi import Headers
from .policy import Limit, LimitState, most_restrictive, seconds_up

#: RFC 9651 §3.3.1: integers have at most 15 digits.
_LARGEST = 999_999_999_999_999


def quote(text: str) -> str:
    """Return `text` as a structured-field string (RFC 9651 §3.3.3); it is printable ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def policy_member(limit: Limit) -> bytes:
    """Return one member of `RateLimit-Policy`."""
    return f"{quote(limit.name)};q={min(limit.amount, _LARGEST)};w={limit.period}".encode()


def state_member(state: LimitState) -> bytes:
    """Return one member of `RateLimit`: `t` is the effective window, on a refusal the same as `Retry-After`."""
    limit, _, remaining, reset_after, retry_after = state
    window = seconds_up(retry_after or reset_after)
    return b"%b;r=%d;t=%d" % (_quoted(limit.name), min(remaining, _LARGEST), window)


@lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    return quote(name).encode()


def state_template(limits: Sequence[Limit]) -> bytes:
    """Return a format for the `RateLimit` of `limits`: remaining and window for each."""
    return b", ".join(_quoted(limit.name).replace(b"%", b"%%") + b";r=%d;t=%d" for limit in limits)


def passed_headers(policy: bytes, template: bytes, flat: Sequence[int]) -> Headers:
    """Return the fields for a response where every limit passed, from the program's own numbers.

    The same as `limit_headers` gives, for less work: this is what almost every response goes through. `flat` has for
    each limit its status, remaining, reset and retry times (µs).
    """
    numbers: list[int] = []
    for remaining, reset_after in zip(flat[1::4], flat[2::4], strict=True):
        numbers += (remaining, -(-reset_after // 1_000_000) or 1)
    return [(b"ratelimit-policy", policy), (b"ratelimit", template % tuple(numbers))]


def limit_headers(policy: bytes, states: Sequence[LimitState], *, legacy: bool) -> Headers:
    """Return the fields for a response; on a refusal, only the violated limits are named."""
    violated = [state for state in states if not state.allowed]
    fields: Headers = [
        (b"ratelimit-policy", policy),
        (b"ratelimit", b", ".join([state_member(state) for state in violated or states])),
    ]
    if violated:
        wait = max(seconds_up(state.retry_after) for state in violated)
        fields.append((b"retry-after", b"%d" % wait))
    if legacy:
        tightest = most_restrictive(states)
        fields += [
            (b"x-ratelimit-limit", b"%d" % tightest.limit.amount),
            (b"x-ratelimit-remaining", b"%d" % tightest.remaining),
            (b"x-ratelimit-reset", b"%d" % seconds_up(tightest.retry_after or tightest.reset_after)),
        ]
    return fields


def merge(headers: Headers, fields: Headers) -> None:
    """Add `fields` to a response; the list fields are joined with what another guard has put there.

    A guard further out stands in front, as its limits do.
    """
    if _OURS.isdisjoint([name for name, _ in headers]):
        headers += fields
        return
    for name, value in fields:
        place = next((place for place, (other, _) in enumerate(headers) if other == name), None)
        if place is None:
            headers.append((name, value))
        elif name in _LISTS:
            headers[place] = (name, value + b", " + headers[place][1])


_LISTS = frozenset((b"ratelimit", b"ratelimit-policy"))
_OURS = _LISTS | {b"retry-after", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}


def concurrency_headers(name: str, amount: int, remaining: int) -> Headers:
    """Return the fields of a limit on how many requests run at once; it has no window (draft-11 §2.1.2, `qu`)."""
    policy = b'%b;q=%d;qu="concurrent-requests"' % (_quoted(name), min(amount, _LARGEST))
    return [(b"ratelimit-policy", policy), (b"ratelimit", b"%b;r=%d" % (_quoted(name), min(remaining, _LARGEST)))]
