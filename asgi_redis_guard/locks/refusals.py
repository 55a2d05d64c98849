"""The answers of a lock on a route: held by others, no key, lost, away. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.problem import problem, retry_field, unavailable
from ..core.steps import Answer


def busy(status: int, left: float) -> Answer:
    """Others hold it, for `left` seconds more unless they give it back before that or renew it."""
    return problem(
        status, "locked", "This is being worked on; retry after the time given.", headers=[retry_field(left)]
    )


def waited(left: float) -> Answer:
    """Others have held it for longer than a request is kept waiting."""
    detail = "What this request waited for is still being worked on; retry after the time given."
    return problem(503, "lock_timeout", detail, headers=[retry_field(left)])


def keyless(untold: Iterable[str]) -> Answer:
    """The request does not tell what is to be locked: these places of the key are not filled, or not in one way."""
    detail = f"The request does not tell, or not clearly, what it is about; needed: {', '.join(untold)}."
    return problem(400, "lock_key_missing", detail)


def too_large(limit: int) -> Answer:
    """What is to be locked stands in the body, which is longer than what is read for that."""
    detail = f"The body is longer than {limit} bytes, the most that this route reads."
    return problem(413, "body_too_large", detail, members={"limit": limit})


def lost() -> Answer:
    """It was held and is held no more: what the handler has done by then, it may have done beside another."""
    detail = "The lock of this request was lost while it was being worked on."
    return problem(503, "lock_lost", detail, headers=[retry_field(1)])


def away() -> Answer:
    """Redis is away, and without it nobody knows who holds what."""
    return unavailable("Locks cannot be taken now.")
