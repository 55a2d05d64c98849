"""Where the keys that a guard verifies with come from, where they are not its own: of others, or of a token service.

Pure: what it takes to have them is for the engine to do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ..core.exchange import Exchange
from ..core.steps import Wait, Waitable
from ..errors import WaitTimeout
from .verify import ClaimRules, VerifiedToken

_Found = TypeVar("_Found")


class ExchangeVerifier(Protocol):
    """Verifies the tokens of exchanges."""

    @property
    def rules(self) -> ClaimRules: ...

    @property
    def algorithms(self) -> tuple[str, ...]: ...

    def verify(self, token: bytes, exchange: Exchange, *, final: bool = False) -> VerifiedToken:
        """Return the verified token; raises `TokenRefused`, `KeysAway`, and unless it is `final` `KeysWanted`."""


class KeySource(Protocol):
    """What `JWTAuth(keys=…)` takes: `JWKSKeys`, or a `TokenService`."""

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers whose tokens are accepted; empty for those that the guard names."""

    def verifier(self, rules: ClaimRules, *, max_size: int, cache_size: int) -> ExchangeVerifier: ...


class KeysAway(Exception):
    """The issuer's keys cannot be had now, so that nothing can be said of its tokens; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the keys cannot be had")
        self.retry_after = retry_after


class KeysWanted(Exception):
    """Keys are being fetched, and the token is to be looked at again then: wait for `flight`, so many seconds.

    `joined`: the fetch was under way already, so that it may not know what the token's issuer knows.
    """

    def __init__(self, flight: Waitable, deadline: float, joined: bool) -> None:
        super().__init__("keys are being fetched")
        self.flight = flight
        self.deadline = deadline
        self.joined = joined


def when_fetched(
    found: _Found | KeysWanted, again: Callable[[bool], _Found | KeysWanted]
) -> Generator[Wait, Any, _Found]:
    """Wait for keys and look `again`, for the last time if true is given to it; return what is found in the end.

    It is waited for twice where the first fetch had begun before the request came.
    """
    final = False
    while isinstance(found, KeysWanted):
        final = final or not found.joined
        with suppress(WaitTimeout):
            yield Wait(found.flight, found.deadline)
        found, final = again(final), True
    return found
