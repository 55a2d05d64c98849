"""Reporting: one `Decision` event for each guard of an exchange."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.admissions import Admissions
from ..core.guard import Guard
from ..observability.events import Decision, Hook, emit


def report(hooks: Sequence[Hook], guards: Sequence[Guard], admissions: Admissions) -> None:
    """Emit what every guard decided."""
    exchange, answer = admissions.exchange, admissions.answer
    for place, guard in enumerate(guards):
        if answer is None or place < admissions.answered_by:
            passed = admissions.passed(place)
            outcome, reason, status = "passed", passed.reason if passed else "", None
        elif place == admissions.answered_by:
            outcome, reason, status = "refused" if answer.status >= 400 else "answered", answer.reason, answer.status
        else:
            outcome, reason, status = "undecided", "", None
        event = Decision(
            guard=guard.name,
            kind=guard.kind,
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            status=status,
            degraded=place in admissions.degraded,
            scope=exchange.scope["type"],
            method=exchange.method,
            path=exchange.path,
        )
        emit(hooks, event)
