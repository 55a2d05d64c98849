"""What clients are told by `Idempotency`: refusals as problem documents, and responses that are replayed. Pure."""

from __future__ import annotations

from ..core.problem import problem, retry_field, unavailable
from ..core.steps import Answer
from .record import Recorded

#: The field of a response that was recorded before, and of one that was not kept.
REPLAYED = (b"idempotent-replayed", b"true")
NOT_STORED = (b"idempotent-stored", b"false")


def missing(header: str) -> Answer:
    """The request has no key, and needs one."""
    return problem(400, "idempotency_key_missing", f"The request needs a key of its own in the {header} field.")


def malformed(header: str) -> Answer:
    """What stands there is no key."""
    detail = f"The {header} field must stand there once and be a string of 1 to 255 visible ASCII characters."
    return problem(400, "idempotency_key_malformed", detail)


def too_large(limit: int) -> Answer:
    """The request's body is longer than can be told from another's."""
    detail = f"The body of a request with an idempotency key may have {limit} bytes at most."
    return problem(413, "body_too_large", detail, members={"limit": limit})


def in_progress(left: float) -> Answer:
    """The same request is under way, for `left` seconds at most unless it is renewed."""
    detail = "A request with the same idempotency key is under way; retry after the time given."
    return problem(409, "idempotency_in_progress", detail, headers=[retry_field(left)])


def reused() -> Answer:
    """The key stood for another request before."""
    return problem(
        422, "idempotency_key_reused", "The idempotency key was used for a request with another method, target or body."
    )


def not_kept(status: bytes) -> Answer:
    """The request was carried out before, and what it was answered is not known any more, but for its status."""
    detail = "The request with this idempotency key was carried out before, and its response was not kept."
    known = {"original-status": int(status)} if len(status) == 3 and status.isdigit() else {}
    return problem(409, "idempotency_response_not_kept", detail, headers=[NOT_STORED], members=known)


def lost() -> Answer:
    """The request is not this process's any more: another may have begun it meanwhile."""
    detail = "The request was interrupted; retry it with the same idempotency key."
    return problem(503, "idempotency_lost", detail, headers=[retry_field(1)])


def unsure() -> Answer:
    """Redis is away: nobody knows whether the request was carried out before, or can record that it was."""
    return unavailable("Whether the request was carried out cannot be recorded now; retry it with the same key.")


def unreadable() -> Answer:
    """What stands in Redis is no record of ours: to run the request might be to run it again."""
    detail = "The record of this request cannot be read."
    return problem(503, "idempotency_record_unreadable", detail, headers=[retry_field(1)])


def replay(recorded: Recorded) -> Answer:
    """The response that was recorded."""
    return Answer(recorded.status, [*recorded.headers, REPLAYED], recorded.body, reason="replayed")
