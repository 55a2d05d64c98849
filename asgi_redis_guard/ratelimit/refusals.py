"""The answers of a rate limit: beyond a limit, banned, denied. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from ..core.asgi import Headers
from ..core.problem import problem
from ..core.steps import Answer
from .policy import LimitState, seconds_up

#: The group of all limits' operations: a request is counted by all or by none.
GROUP = "limits"

#: The problem types that the draft registers.
_TYPES = "https://iana.org/assignments/http-problem-types#"
_QUOTA_EXCEEDED = f"{_TYPES}quota-exceeded"
_ABNORMAL = f"{_TYPES}abnormal-usage-detected"


def beyond(states: Sequence[LimitState], fields: Headers) -> Answer:
    """The request does not fit; `states` say which limits it violates."""
    return problem(
        429,
        "rate_limited",
        "The request exceeds a rate limit; retry after the time given.",
        type=_QUOTA_EXCEEDED,
        headers=fields,
        members={"violated-policies": [state.limit.name for state in states if not state.allowed]},
    )


def too_many(name: str, fields: Headers) -> Answer:
    """As many requests as the limit called `name` allows are running."""
    return problem(
        429,
        "rate_limited",
        "Too many requests are running at once; retry when one of them has ended.",
        type=_QUOTA_EXCEEDED,
        headers=[*fields, (b"retry-after", b"1")],
        members={"violated-policies": [name]},
    )


def banned(wait: int) -> Answer:
    """Whoever asks has broken the limits too often; it may come back in `wait` µs."""
    return problem(
        429,
        "banned",
        "The limits were exceeded too often; retry after the time given.",
        type=_ABNORMAL,
        headers=[(b"retry-after", b"%d" % seconds_up(wait))],
    )


def denied() -> Answer:
    """Whoever asks is on the list of those who are not let in."""
    return problem(403, "denied", "Requests from here are not accepted.")


def for_group(answer: Answer) -> Answer:
    """Return an answer that holds back the limits in front, as if it had come from Redis; the app may share one."""
    holding = copy(answer)
    holding.group = GROUP
    return holding
