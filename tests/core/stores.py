"""A store for guards that are driven without an engine: it carries rounds out as the program does."""

from typing import Any

from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.rounds import Round
from asgi_redis_guard.core.script import OperationKind

STEP = OperationKind.parse("-- name: test.step\n-- args: place, number, stopping\n-- returns: echo\n-- @check\n")

#: The server's time, which ends every reply.
CLOCK = 1_700_000_000_000_000


class Store:
    """Carries rounds out as the program does: checks up to the first stop, then commits what stands before it."""

    def __init__(self) -> None:
        self.rounds = 0
        self.effects: list[tuple[Any, ...]] = []

    def __call__(self, wanted: Round) -> list[Any]:
        self.rounds += 1
        raw: list[Any] = []
        stopped = False
        for place, batch in zip(wanted.shape, wanted.batches, strict=True):
            skipped = stopped
            for at in range(len(place.kinds)):
                *which, stopping = batch.args[3 * at : 3 * at + 3]
                raw += [3, 0] if skipped else [0 if stopping else 1, (*which,)]
                stopped = stopped or (stopping and not skipped)
                if not skipped and not stopped:
                    self.effects.append((*which,))
        return [*raw, CLOCK]


def drive(admissions: Admissions, store: Store | None = None) -> Store:
    """Do what guards ask until they have decided."""
    store = store or Store()
    step = admissions.advance()
    while step is not None:
        if isinstance(step, Round):
            admissions.replied(store(step))
        else:
            admissions.resumed(step)
        step = admissions.advance()
    return store


class Replies(Store):
    """A store where every count passes."""

    def __call__(self, wanted: Round) -> list[int]:
        self.rounds += 1
        return [*[1, 0] * sum(len(place.kinds) for place in wanted.shape), CLOCK]


def round_of(admissions: Admissions) -> Round:
    """Advance to a round."""
    step = admissions.advance()
    assert isinstance(step, Round)
    return step
