"""The generators of one exchange's guards: started, given what came back, closed. Pure.

Guards that ask once at most have none (`OneRoundGuard`); what is here is for those that wait, or ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import GuardProtocolError
from .exchange import Exchange
from .guard import Guard
from .steps import Admission, Answer, Ask, Body, Pass, Wait


class Flows:
    """Those that are not through yet, by the places of their guards."""

    __slots__ = ("_guards", "_running")

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = guards
        self._running: dict[int, Admission] = {}

    def start(self, index: int, exchange: Exchange) -> Any:
        """Start the guard at `index`; return its first step, or its verdict."""
        return self.adopt(index, self._guards[index].admit(exchange))

    def has(self, index: int) -> bool:
        """Tell whether the guard at `index` has a generator that is not through."""
        return index in self._running

    def adopt(self, index: int, flow: Admission) -> Any:
        """Start a generator of the guard at `index`; return its first step, or its verdict."""
        guard = self._guards[index]
        try:
            step = next(flow)
        except StopIteration as stop:
            return checked_verdict(guard, stop.value)
        except TypeError:
            if hasattr(flow, "send"):
                raise
            raise GuardProtocolError(f"{guard!r} admits with {flow!r}; allowed is a generator") from None
        self._running[index] = flow
        return _checked_step(guard, step)

    def resume(self, index: int, value: Any) -> Any:
        """Give the guard at `index` what came back, or throw an error in; return its next step, or its verdict."""
        flow, guard = self._running.get(index), self._guards[index]
        if flow is None:
            raise GuardProtocolError(f"{guard!r} was asked to go on after it had decided")
        try:
            return _checked_step(guard, flow.throw(value) if isinstance(value, Exception) else flow.send(value))
        except StopIteration as stop:
            del self._running[index]
            return checked_verdict(guard, stop.value)

    def close(self, index: int) -> Pass | Answer | None:
        """Let the guard at `index` go no further; return the verdict that it may have when it is told.

        What it has taken in a round before is its responder's to give back, as ever.
        """
        flow = self._running.pop(index, None)
        if flow is None:
            return None
        try:
            step = flow.throw(GeneratorExit())
        except GeneratorExit:
            return None
        except StopIteration as stop:
            return checked_verdict(self._guards[index], stop.value)
        flow.close()
        raise GuardProtocolError(f"{self._guards[index]!r} yielded {step!r} when it was to end; allowed is a verdict")


def _checked_step(guard: Guard, step: Any) -> Any:
    if step.__class__ is Ask or step.__class__ is Wait or step.__class__ is Body:
        return step
    raise GuardProtocolError(f"{guard!r} yielded {step!r}; allowed are Ask, Wait and Body")


def checked_verdict(guard: Guard, value: Any) -> Pass | Answer:
    """Return a verdict; raises `GuardProtocolError` for what is none."""
    if value.__class__ is Pass or value.__class__ is Answer:
        verdict: Pass | Answer = value
        return verdict
    raise GuardProtocolError(f"{guard!r} returned {value!r}; allowed are Pass and Answer")
