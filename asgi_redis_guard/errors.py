"""Every exception the package raises; a class is added here or nowhere.

GuardError
 ├─ ConfigurationError         options that cannot work, all of them at once
 ├─ GuardProtocolError         a guard broke the protocol of `core.guard`: a bug in that guard
 ├─ SessionDataError           a session holds what cannot be kept: a type, a size
 ├─ SessionNotLoaded           a lazy session was used before the app has loaded it
 ├─ TooManySessions            a user has as many sessions as are allowed, and one more is denied
 ├─ EntryUnreadable            what stands in Redis is no cached response that can be relied on: a miss
 ├─ EntryRefused               a response cannot be written as a cache entry
 ├─ PrincipalUnknown           a verified user without a name that tells it from others
 ├─ KeysUnavailable            keys that others publish are not to be had
 ├─ BodyTooLarge               thrown into a guard that asked for the body
 ├─ WaitTimeout                thrown into a guard that waited
 ├─ ResponseAborted            a response ends in the middle on purpose; the server closes the connection
 ├─ LockError                  something is wrong with a lock
 │   ├─ LockBusy               others hold it, for longer than the caller would wait
 │   └─ LockNotOwnedError      it is not held by who would release or extend it
 │       └─ LockLost           it was held, and was lost before its holder gave it back
 ├─ IdempotencyError           a call cannot be made once and for all
 │   ├─ IdempotencyConflict    the same call is under way
 │   └─ IdempotencyMismatch    the same key stood for other arguments before
 ├─ TokenError                 a token that was presented to a token service is not accepted
 │   ├─ TokenInvalid           an access token that does not hold: its signature, its claims, its time
 │   │   └─ TokenRevoked       it held, and was revoked
 │   └─ RefreshRefused         a refresh token that gets no successor
 ├─ NoExchange                 a function with guards of its own was called where no middleware can carry them out
 └─ RedisUnavailable           no answer from Redis that can be relied on
     ├─ SessionUnreadable      a session's record cannot be decrypted or decoded; it is kept
     ├─ RedisTimeout           none within the deadline
     ├─ RedisOverloaded        too many commands in flight already
     ├─ TooFewReplicas         it is written, and fewer replicas have it than must
     └─ OperationFailed        Redis refused this one operation (OOM, WRONGTYPE, NOPERM, MISCONF …)

RouteRefused                   no error: the way out of a route function that its guards refuse
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class GuardError(Exception):
    """The base of all errors of this package."""


class GuardProtocolError(GuardError):
    """A guard or responder did what the protocol does not allow."""


class SessionDataError(GuardError):
    """What the app has put into a session cannot be kept; the text names the key and what is allowed."""


class SessionNotLoaded(GuardError):
    """A session of `Sessions(lazy=True)` was used before `await session.load()`: nothing can be said of it yet."""


class TooManySessions(GuardError):
    """The user has as many sessions as `max_sessions` allows, and `on_excess` is `deny`."""


class EntryUnreadable(GuardError, ValueError):
    """What stands in Redis is no cached response that can be relied on; it counts as a miss, and is written over."""


class EntryRefused(GuardError, ValueError):
    """A response cannot be written as a cache entry: a field that no server would send, too many tags, a huge body."""


class PrincipalUnknown(GuardError, ValueError):
    """A verified user has no name that tells it from others, so nothing can be kept for it alone."""


class KeysUnavailable(GuardError):
    """Keys that others publish are not to be had; the text names whose, and why."""


class BodyTooLarge(GuardError):
    """Thrown into a guard that asked for the body: it is longer than the limit. The app still gets all of it."""


class WaitTimeout(GuardError):
    """Thrown into a guard that waited: the deadline passed first."""


class ResponseAborted(GuardError):
    """The rest of a response that has begun must not be sent; raised so that the server closes the connection."""


class LockError(GuardError):
    """Something is wrong with a lock; the base of what locks raise beside `RedisUnavailable`."""


class LockBusy(LockError):
    """Others hold the lock, for longer than the caller would wait; `retry_after` is seconds until their time is up."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class LockNotOwnedError(LockError):
    """The lock is not held by who would release or extend it."""


class LockLost(LockNotOwnedError):
    """The lock was held and is held no more: its time was up, or Redis has lost it. Another may hold it by now."""


class IdempotencyError(GuardError):
    """A call cannot be made once and for all; the base of what idempotent functions raise."""


class IdempotencyConflict(IdempotencyError):
    """The same call is under way, for longer than the caller would wait; `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class IdempotencyMismatch(IdempotencyError):
    """The same key was given with other arguments before."""


class TokenError(GuardError):
    """A token that was presented is not accepted; the text may be told to whoever has presented it."""


class TokenInvalid(TokenError):
    """An access token does not hold: its signature, its claims, its time. RFC 6750 calls it `invalid_token`."""


class TokenRevoked(TokenInvalid):
    """An access token was revoked: by itself, or with its family, its user, or all others."""


class RefreshRefused(TokenError):
    """A refresh token gets no successor; RFC 6749 §5.2 calls it `error`.

    `reason`: `malformed` (none of this service), `unknown` (its family ended long ago), `expired`, `revoked`, `reused`
    (it had been used before, so that its family was ended now), `wrong_client`, `wrong_scope`. `why` is what was
    recorded where its family was revoked; not for whoever has presented it.
    """

    def __init__(self, reason: str, text: str, why: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.error = "invalid_scope" if reason == "wrong_scope" else "invalid_grant"
        self.why = dict(why or {})


class NoExchange(GuardError):
    """A function with guards of its own was called where no running exchange can carry them out."""


class RouteRefused(BaseException):
    """Ends the work on a request that the guards of its route refuse; the middleware around the app answers it.

    Not an `Exception`, so that no handler makes a 500 of it. Let it through: what is sent after it goes nowhere.
    """


class ConfigurationError(GuardError):
    """One or more options cannot work.

    `faults` lists all of them, one sentence each: the option, its environment variable, what was
    given (secrets masked) and what is allowed.
    """

    def __init__(self, *faults: str) -> None:
        self.faults: tuple[str, ...] = faults
        super().__init__("\n".join(faults))

    @classmethod
    def raise_for(cls, faults: Sequence[str]) -> None:
        """Raise with all `faults`, or return if there are none."""
        if faults:
            raise cls(*faults)

    @classmethod
    def refuse_both(cls, option: str, others: Iterable[str]) -> None:
        """Raise if any of `others` was given beside `option`, which stands for all of them."""
        given = ", ".join(others)
        if given:
            raise cls(f"{option}: given together with {given}; allowed is one or the other")


class RedisUnavailable(GuardError):
    """Redis gave no answer that can be relied on.

    `maybe_executed` is true if the command had left this process, so that it may have run.
    """

    def __init__(self, reason: str = "Redis is unavailable", *, maybe_executed: bool = False) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed

    @property
    def leaves_doubt(self) -> bool:
        """True if something may have been taken all the same: no answer came, or only a part of it was refused."""
        return self.maybe_executed


class RedisTimeout(RedisUnavailable):
    """Redis did not answer within the deadline."""


class RedisOverloaded(RedisUnavailable):
    """More commands are in flight than the channel's bound allows; this one was not sent."""


class TooFewReplicas(RedisUnavailable):
    """Something is written and holds, but fewer replicas have it than must: it would be lost with the primary.

    `reached` of the `wanted` ones have it. To do the same once more is right: it changes nothing but waits again.
    """

    def __init__(self, what: str, reached: int, wanted: int) -> None:
        super().__init__(f"{what}, but {reached} of {wanted} replicas have that", maybe_executed=True)
        self.reached = reached
        self.wanted = wanted


class SessionUnreadable(RedisUnavailable, ValueError):
    """A session stands in Redis, and cannot be decrypted or decoded: a key that is missing, a record of something else.

    Nothing of it is overwritten or deleted, so that the right key makes it whole again.
    """


class OperationFailed(RedisUnavailable):
    """Redis is there and refused this operation; `code` is the first word of its error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.code = reason.partition(" ")[0]

    @property
    def leaves_doubt(self) -> bool:
        """True: an operation may have written before it failed."""
        return True
