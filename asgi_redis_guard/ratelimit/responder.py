"""What becomes of a counted request: the header fields on its response, and the units that it took in truth. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..core.asgi import Headers
from ..core.exchange import Exchange
from ..core.responder import Head, Outcome, Responder
from ..core.script import Replies
from ..core.steps import Ask, Asking
from ..errors import GuardError
from .checks import MOST_UNITS, is_units
from .headers import put
from .local import LocalLimits
from .plan import Asked
from .policy import LimitState

#: Statuses whose responses count, or a function of exchange and head.
CountIf = Iterable[int] | Callable[[Exchange, Head], bool]

#: Extensions of ASGI by which a body goes out unseen.
_UNSEEN = frozenset(("http.response.pathsend", "http.response.zerocopysend"))


class Counting(Protocol):
    """What a responder needs of its guard."""

    local: LocalLimits
    expose_headers: bool
    shows: bool


class LimitResponder(Responder):
    """Puts the state of the limits on the response.

    `states` are the replies where all passed, else how the limits stood: held back by another's refusal, or decided in
    this process while Redis is away (`local`).
    """

    __slots__ = ("_asked", "_exchange", "_guard", "_local", "_states")

    def __init__(
        self, guard: Counting, exchange: Exchange, asked: Asked, states: Replies | list[LimitState], local: bool = False
    ) -> None:
        self._guard = guard
        self._exchange = exchange
        self._asked = asked
        self._states = states
        self._local = local

    def start(self, head: Head) -> None:
        """Add or join the header fields."""
        guard = self._guard
        if guard.shows:
            put(head, self.fields(), guard.expose_headers and self._exchange.has(b"origin"))

    def fields(self) -> Headers:
        """Return the header fields."""
        states, exchange = self._states, self._exchange
        if isinstance(states, Replies):
            return self._asked.passed_headers(states, exchange.now)
        return self._asked.plan.headers(states, exchange.now)

    @property
    def delay(self) -> float:
        """Seconds until the request has its turn."""
        if self._local or not self._asked.plan.delays:
            return 0
        return self._asked.plan.delay(self.states, self._asked.cost)

    @property
    def states(self) -> list[LimitState]:
        """How the limits stood after the decision."""
        return self._asked.states(self._states) if isinstance(self._states, Replies) else self._states

    def withdraw(self) -> Asking | None:
        """Give back what was counted, once for all; the fields tell of it."""
        left, flow = self.left_over(), self.settle(0)
        self._states, self._local = left, False
        return flow

    def left_over(self) -> list[LimitState]:
        """How the limits would stand had the request not been counted, which it may not have been anyway."""
        states, cost = self.states, self._asked.cost
        if not (self._local or isinstance(self._states, Replies)):
            return states
        return [one._replace(remaining=min(one.remaining + cost, one.limit.amount)) for one in states]

    def settle(self, actual: int) -> Asking | None:
        """Make `actual` units of what was counted; there is nothing to be made of what was not."""
        asked, states, exchange = self._asked, self._states, self._exchange
        if actual == asked.cost:
            return None
        if isinstance(states, Replies):
            return _ask(Ask(asked.settle(states.clock, actual)))
        settle = self._guard.local.settle
        if not self._local or settle(asked.plan, asked.hashed, asked.cost, actual, exchange.now):
            return None
        # Redis has been told of it meanwhile, at a time that nobody knows: it can be given more, but nothing back.
        return _ask(Ask(asked.settle(0, actual))) if actual > asked.cost else None


def _ask(ask: Ask) -> Asking:
    yield ask


class Charge:
    """What a request has been counted as, for the app to set right before its response ends.

    `reserved` units were counted; `settle(812)` makes 812 of them, more or fewer, `refund()` none.
    """

    def __init__(self, reserved: int) -> None:
        self.reserved = reserved
        self.actual = reserved
        self._said = self._over = False

    def settle(self, actual: int) -> None:
        """Say how many units it took. Raises `GuardError` when the response has ended, ValueError below 0."""
        _check("actual", actual)
        if self._over:
            raise GuardError("the response has ended, and its units are settled; say so before its last byte")
        self.actual, self._said = actual, True

    def add(self, units: int) -> None:
        """Take some more; the first put what was reserved aside. Raises as `settle` does."""
        _check("units", units)
        self.settle(min((self.actual if self._said else 0) + units, MOST_UNITS))

    def refund(self) -> None:
        """Take it as if the request had not been counted."""
        self.settle(0)

    def close(self) -> int:
        """Return what it has come to; from now on nothing can be said any more."""
        self._over = True
        return self.actual

    def __repr__(self) -> str:
        return f"<Charge of {self.actual}, {self.reserved} reserved>"


def _check(what: str, units: int) -> None:
    if not is_units(units):
        raise ValueError(f"{what}: {units!r} given; allowed are whole numbers from 0 to {MOST_UNITS:,}")


class SettlingResponder(LimitResponder):
    """Sets right what was counted, once the response is known: by its head, or by the app's word."""

    __slots__ = ("_count_if", "_counted", "charge")

    def __init__(
        self,
        guard: Counting,
        exchange: Exchange,
        asked: Asked,
        states: Replies | list[LimitState],
        local: bool = False,
        *,
        count_if: CountIf | None,
    ) -> None:
        super().__init__(guard, exchange, asked, states, local)
        self._count_if = count_if
        self._counted = True
        self.charge = Charge(asked.cost)

    def start(self, head: Head) -> None:
        """Tell by the head whether the request counts, and in the fields what is left then."""
        self._counted = self._count_if is None or self._counts(head)
        super().start(head)

    def fields(self) -> Headers:
        """Return the header fields; what is not counted is left over."""
        if self._counted:
            return super().fields()
        exchange = self._exchange
        return self._asked.plan.headers(self.left_over(), exchange.now)

    def _counts(self, head: Head) -> bool:
        if callable(self._count_if):
            return bool(self._count_if(self._exchange, head))
        return head.status in (self._count_if or ())

    def end(self, outcome: Outcome) -> Asking | None:
        """Settle. A request that never came to a head counts: to leave early must not be a way out."""
        actual = self.charge.close()
        return self.settle(actual if self._counted else 0)


class BytesResponder(SettlingResponder):
    """Counts the bytes of the response's body."""

    __slots__ = ()

    def body(self, chunk: bytes, more: bool) -> None:
        """Count."""
        self.charge.add(len(chunk))


def without_files(exchange: Exchange) -> dict[str, Any] | None:
    """Keep from the app the extensions by which servers send files on their own: nobody could count those."""
    extensions = exchange.scope.get("extensions") or {}
    if _UNSEEN.isdisjoint(extensions):
        return None
    return {"extensions": {name: of for name, of in extensions.items() if name not in _UNSEEN}}
