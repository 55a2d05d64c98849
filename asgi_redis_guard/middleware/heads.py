"""The commonest way of a response out: responders that edit its head and nothing else.

Nothing but arithmetic on the way: a message costs no coroutine of its own. Whatever is uncommon (a replaced response, a
responder that asks Redis or fails) is handed to a `Delivery`, which begins anew with the same message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Literal

from ..core.asgi import Message, Scope, Send
from ..core.responder import Head, Responder
from .delivery import Delivery
from .trips import RoundTrips


class HeadSend:
    """The `send` of an HTTP exchange whose responders have a `start` alone."""

    __slots__ = ("_delivery", "_kind", "_responders", "_scope", "_send", "_spent", "_trips")

    def __init__(
        self,
        scope: Scope,
        responders: Sequence[Responder],
        trips: RoundTrips,
        send: Send,
        kind: Literal["complete", "refused"] = "complete",
        spent: float = 0.0,
    ) -> None:
        self._scope = scope
        self._responders = responders
        self._trips = trips
        self._send = send
        self._kind: Literal["complete", "refused"] = kind
        self._spent = spent
        self._delivery: Delivery | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        if self._delivery is not None:
            return self._delivery.send(message)
        if message["type"] != "http.response.start":
            return self._send(message)
        head = Head(message["status"], list(message.get("headers") or ()), None, self._scope)
        head.answered = self._kind == "refused"
        if self._edit(head):
            return self._send({**message, "status": head.status, "headers": head.headers})
        self._delivery = Delivery(self._scope, self._responders, self._trips, self._send, self._kind)
        self._delivery.spent = self._spent
        return self._delivery.send(message)

    def _edit(self, head: Head) -> bool:
        """Let every responder edit the head, inside first; false if it takes more than that."""
        try:
            for responder in self._responders[::-1]:
                if responder.start(head) is not None:
                    return False
        except Exception:
            return False
        return head.replaced is None
