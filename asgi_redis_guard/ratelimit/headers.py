"""Rate limit headers: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11, in the syntax of
RFC 9651), `Retry-After` (RFC 9110 §10.2.3), and on request the older `X-RateLimit-*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..core.asgi import Headers
from ..core.responder import Head
from ..core.structured import quote
from .policy import Limit, LimitState, most_restrictive, seconds_up

#: RFC 9651 §3.3.1: integers have at most 15 digits.
_LARGEST = 999_999_999_999_999

#: Versions of the draft: the newest published, what is proposed for the next, the last with three fields, none.
Draft = Literal["11", "next", "06", "none"]


@dataclass(frozen=True, slots=True)
class HeaderStyle:
    """Which fields a response gets.

    `draft`: `11`; `next` (the names of its pull request 166: `a` available, `w` window); `06` (`RateLimit-Limit`,
    `-Remaining`, `-Reset`); or `none`. `legacy`: also `X-RateLimit-*`, with the reset in seconds from now (True,
    `"seconds"`) or since the epoch (`"epoch"`, by this host's clock).
    """

    draft: Draft = "11"
    legacy: bool | Literal["seconds", "epoch"] = False

    @property
    def is_default(self) -> bool:
        """True for the two fields of the newest draft alone."""
        return self.draft == "11" and not self.legacy


def policy_member(limit: Limit) -> bytes:
    """Return one member of `RateLimit-Policy`."""
    return f"{quote(limit.name)};q={min(limit.amount, _LARGEST)};w={limit.period}".encode()


def policy_field(limits: Sequence[Limit]) -> bytes:
    """Return `RateLimit-Policy`."""
    return b", ".join(policy_member(limit) for limit in limits)


def state_member(state: LimitState, form: bytes = b"%b;r=%d;t=%d") -> bytes:
    """Return one member of `RateLimit`: `t` is the effective window, on a refusal the same as `Retry-After`."""
    limit, _, remaining, reset_after, retry_after = state
    window = seconds_up(retry_after or reset_after)
    return form % (_quoted(limit.name), min(max(remaining, 0), _LARGEST), window)


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


def limit_headers(policy: bytes, states: Sequence[LimitState], style: HeaderStyle, now: float = 0.0) -> Headers:
    """Return the fields for a response; on a refusal, only the violated limits are named."""
    violated = [state for state in states if not state.allowed]
    fields = _draft_fields(policy, states, violated, style)
    if violated:
        wait = max(seconds_up(state.retry_after) for state in violated)
        fields.append((b"retry-after", b"%d" % wait))
    if style.legacy:
        tightest = most_restrictive(states)
        reset = seconds_up(tightest.retry_after or tightest.reset_after)
        fields += _three(b"x-ratelimit-", tightest, reset + (int(now) if style.legacy == "epoch" else 0))
    return fields


def _draft_fields(
    policy: bytes, states: Sequence[LimitState], violated: Sequence[LimitState], style: HeaderStyle
) -> Headers:
    if style.draft == "none":
        return []
    if style.draft == "06":
        tightest = most_restrictive(states)
        return _three(b"ratelimit-", tightest, seconds_up(tightest.retry_after or tightest.reset_after))
    form = b"%b;a=%d;w=%d" if style.draft == "next" else b"%b;r=%d;t=%d"
    members = [state_member(state, form) for state in violated or states]
    return [(b"ratelimit-policy", policy), (b"ratelimit", b", ".join(members))]


def _three(prefix: bytes, state: LimitState, reset: int) -> Headers:
    numbers = ((b"limit", state.limit.amount), (b"remaining", max(state.remaining, 0)), (b"reset", reset))
    return [(prefix + name, b"%d" % number) for name, number in numbers]


def put(head: Head, fields: Headers, exposed: bool) -> None:
    """Add `fields` to a response; where `exposed`, their names to what a browser's script of another origin may read.

    The list fields are joined with what another guard has put there: one further out stands in front, as its limits do.
    A redirect gets none, since its client goes on to somebody else, nor does what has an age: it comes from a cache.
    """
    present = [name for name, _ in head.headers]
    if (300 <= head.status < 400 and head.status != 304) or b"age" in present:
        return
    if OURS.isdisjoint(present):
        head.headers += fields
    else:
        _join(head.headers, fields)
    if exposed:
        expose(head.headers, [name for name, _ in fields])


def expose(headers: Headers, names: Sequence[bytes]) -> None:
    """Name fields in `Access-Control-Expose-Headers` (Fetch standard §3.3.3), beside those that are there."""
    place = next((place for place, (name, _) in enumerate(headers) if name == _EXPOSED), None)
    said = headers[place][1] if place is not None else b""
    known = {name.strip().lower() for name in said.split(b",")}
    more = [name for name in names if name not in known]
    if not more or b"*" in known:
        return
    value = b", ".join([said, *more] if said else more)
    if place is None:
        headers.append((_EXPOSED, value))
    else:
        headers[place] = (_EXPOSED, value)


def expose_ours(headers: Headers) -> None:
    """Expose those of our fields that are in a refusal's `headers`."""
    expose(headers, [name for name, _ in headers if name in OURS])


_EXPOSED = b"access-control-expose-headers"


def _join(headers: Headers, fields: Headers) -> None:
    for name, value in fields:
        place = next((place for place, (other, _) in enumerate(headers) if other == name), None)
        if place is None:
            headers.append((name, value))
        elif name in _LISTS:
            headers[place] = (name, value + b", " + headers[place][1])


_LISTS = frozenset((b"ratelimit", b"ratelimit-policy"))
_THREE = (b"limit", b"remaining", b"reset")
#: All fields that are ours.
OURS = _LISTS | {b"retry-after"} | {prefix + name for prefix in (b"ratelimit-", b"x-ratelimit-") for name in _THREE}


def concurrency_headers(name: str, amount: int, remaining: int) -> Headers:
    """Return the fields of a limit on how many requests run at once; it has no window (draft-11 §2.1.2, `qu`)."""
    policy = b'%b;q=%d;qu="concurrent-requests"' % (_quoted(name), min(amount, _LARGEST))
    return [(b"ratelimit-policy", policy), (b"ratelimit", b"%b;r=%d" % (_quoted(name), min(remaining, _LARGEST)))]
