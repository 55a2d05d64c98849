"""`MessageLimit`: counts what comes in over a WebSocket, by messages or by bytes. Pure.

The handshake is a request like others, for a `RateLimit`; this one lets it pass, and looks at each message after it.
"""

from __future__ import annotations

import inspect
from copy import copy
from typing import Any, Literal, Unpack

from ..core.asgi import Message
from ..core.checks import choice_faults
from ..core.exchange import Exchange
from ..core.responder import Close, Control, Responder
from ..core.steps import PASS, Answer, Ask, Pass, Wait
from ..errors import ConfigurationError, RedisUnavailable
from .denials import Denial
from .guard import RateLimit
from .options import OnBreach, RateLimitOptions, signature_with
from .plan import Plan
from .responder import LimitResponder
from .rules import LimitsFor

#: Seconds; nobody hears that a client has left while its message waits.
_LONGEST_DELAY = 60

#: RFC 6455 §7.4.1, policy violation.
_BREACH = Close(1008, "rate limited")
_AWAY = Close(1013, "try again later")


class MessageLimit(RateLimit):
    """Limit the messages that come in over WebSockets: `MessageLimit("60/minute", key="user")`.

    `unit`: `messages`, or `bytes` of their payload. `on_breach`: `close` with 1008, `drop` the message, or `delay` it,
    and with it all that the client sends behind it, until it fits; where that takes longer than a minute, the socket is
    closed. One that is bigger than the whole limit never fits: it is dropped, or the socket closed. Each message is one
    round trip. While Redis is away `closed` closes with 1013.
    Limits and other options are those of `RateLimit`, but for `settle`, `count_if`, `cost` and those of headers.
    """

    kind = "messages"
    __signature__ = signature_with(
        inspect.Parameter("unit", inspect.Parameter.KEYWORD_ONLY, default="messages"),
        inspect.Parameter("on_breach", inspect.Parameter.KEYWORD_ONLY, default="close"),
    )

    def __init__(
        self,
        *limits: str | LimitsFor,
        unit: Literal["messages", "bytes"] = "messages",
        on_breach: OnBreach = "close",
        **options: Unpack[RateLimitOptions],
    ) -> None:
        faults = choice_faults("unit", unit, ("messages", "bytes"))
        faults += choice_faults("on_breach", on_breach, ("close", "drop", "delay"))
        taken = [name for name in ("cost", "settle", "count_if") if name in options]
        faults += [f"{name}: given; a MessageLimit counts messages, or their bytes" for name in taken]
        ConfigurationError.raise_for(faults)
        options.setdefault("name", "messages")
        super().__init__(*limits, **options)
        self.unit = unit
        self.on_breach: OnBreach = on_breach
        self.eager = True  # messages are refused where the engine sees no answer

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Let the handshake pass, where it tells whose messages are to be counted."""
        if not exchange.is_websocket:
            return PASS
        found = self.whose(exchange)
        return Pass(responder=MessageResponder(self, exchange, *found)) if isinstance(found, tuple) else found

    def refusal(self, exchange: Exchange, plan: Plan, denial: Denial) -> Answer:
        """Return how long a message has to wait, in place of a response."""
        return _Breach(plan, denial.wait)


class _Breach(Answer):
    """What refuses a message: it would fit the limits of `plan` in `wait` µs."""

    __slots__ = ("plan", "wait")

    def __init__(self, plan: Plan, wait: int) -> None:
        super().__init__(429, [], reason="rate_limited")
        self.plan = plan
        self.wait = wait


class MessageResponder(Responder):
    """Counts the messages of one socket."""

    __slots__ = ("_control", "_exchange", "_guard", "_identity", "_plan")

    def __init__(self, guard: MessageLimit, exchange: Exchange, plan: Plan, identity: tuple[str | bytes, ...]) -> None:
        self._guard = guard
        self._exchange = exchange
        self._plan = plan
        self._identity = identity
        self._control: Control | None = None

    def bind(self, control: Control) -> None:
        """Take what tells the time."""
        self._control = control

    def receive(self, message: Message) -> Any:
        """Let a message through, drop it, have it wait, or close the socket."""
        guard = self._guard
        cost = _size(message) if guard.unit == "bytes" else 1
        while True:
            verdict = yield from self._decide(cost)
            if isinstance(verdict, Pass):
                responder = verdict.responder
                if isinstance(responder, LimitResponder) and (delay := responder.delay) and not guard.options.shadow:
                    yield Wait(None, delay)
                return message
            if not isinstance(verdict, _Breach):  # closed while Redis is away
                return _AWAY
            if guard.on_breach == "drop":
                return None
            too_long = verdict.wait > _LONGEST_DELAY * 1_000_000
            if guard.on_breach == "close" or too_long or any(cost > one.most for one in verdict.plan.limits):
                return _BREACH
            yield Wait(None, verdict.wait / 1_000_000)

    def _decide(self, cost: int) -> Any:
        """Ask about one message, as the guard asks about requests."""
        guard, exchange = self._guard, self._at_present()
        # Limits may be changed while the socket is open, for many hours perhaps.
        plan = guard.rules.find(exchange) if guard.options.changeable else self._plan
        if plan is None:
            return PASS
        step = guard.count(exchange, plan, self._identity, cost)
        if not isinstance(step, Ask):
            return step
        try:
            replies = yield step
        except RedisUnavailable as error:
            return guard.without_redis(exchange, step, error)
        return guard.decide(exchange, replies)

    def _at_present(self) -> Exchange:
        """The exchange of the handshake, as of now."""
        exchange = copy(self._exchange)
        if self._control is not None:
            exchange.now = self._control.clock()
        return exchange


def _size(message: Message) -> int:
    """The bytes of a message's payload; one that is empty counts as one, or there could be any number of them."""
    data = message.get("bytes")
    return max(1, len(data) if data is not None else len((message.get("text") or "").encode("utf-8", "surrogatepass")))
