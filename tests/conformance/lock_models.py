"""A lock and a semaphore in plain Python: what their operations say, and what they leave in Redis. Times are in µs.

Keys are gone as the server has it: alive up to and including their last millisecond, and deleted by whoever looks at
them after that, so that a clock that is set back brings nothing back.
"""

from asgi_redis_guard.locks.operations import Claim
from tests.conformance.clockwork import PASSED, STOPPED, Said

MARK, WAITERS = 9_000_000_000_000_000, ""  # no token is empty


class Fences:
    """The last fence that was given, as long as it is remembered."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.ends = 0  # ms

    def next(self, now: int, memory: int) -> int:
        if self.last is not None and now // 1000 > self.ends:
            self.last = None
        self.last = max(now, (self.last or 0) + 1)
        self.ends = now // 1000 + memory
        return self.last


class LockModel:
    """One lock."""

    def __init__(self) -> None:
        self.fences = Fences()
        self.holder = ""
        self.fence = self.ends = self.said = 0
        self.waited = False

    def look(self, now: int) -> None:
        """Notice that its time is up."""
        if now // 1000 > self.ends:
            self.lose()

    def lose(self) -> None:
        self.holder = ""

    @property
    def holders(self) -> list[str]:
        return [self.holder] if self.holder else []

    def left(self, now: int) -> int:
        return self.ends - now // 1000

    def acquire(self, now: int, claim: Claim) -> Said:
        self.look(now)
        if self.holder and self.holder != claim.token:
            return Said(STOPPED, (0, self.left(now)))
        if not self.holder:
            self.holder, self.waited = claim.token, False
            self.fence = self.fences.next(now, claim.memory)
        self.ends = now // 1000 + claim.ttl
        return Said(PASSED, (self.fence, 0))

    def attend(self, now: int, claim: Claim) -> Said:
        self.look(now)
        self.waited |= self.holder != claim.token
        return Said(PASSED)

    def renew(self, now: int, claim: Claim, milliseconds: int, how: str) -> Said:
        self.look(now)
        if self.holder != claim.token:
            return Said(STOPPED, (0,))
        left = prolonged(self.left(now), milliseconds, how)
        self.ends = now // 1000 + left
        return Said(PASSED, (left,))

    def release(self, now: int, claim: Claim) -> Said:
        self.look(now)
        if self.holder != claim.token:
            return Said(PASSED, (0, 0))
        self.said += self.waited
        self.lose()
        return Said(PASSED, (1, int(self.waited)))

    def peek(self, now: int, claim: Claim) -> Said:
        self.look(now)
        if not self.holder:
            return Said(PASSED, (0, 0, 0))
        return Said(PASSED, (1 if self.holder == claim.token else 2, self.left(now), self.fence))

    def content(self) -> object:
        """What is in its key, if there is one."""
        return f"{'w' if self.waited else '-'}{self.fence:016}{self.holder}".encode() if self.holder else None


class SemaphoreModel:
    """One semaphore."""

    def __init__(self) -> None:
        self.fences = Fences()
        self.places: dict[str, int] = {}  # and the mark of waiters
        self.ends = self.said = 0

    def look(self, now: int) -> None:
        """Notice that the time of its key is up."""
        if now // 1000 > self.ends:
            self.lose()

    def lose(self) -> None:
        self.places, self.ends = {}, 0

    @property
    def holders(self) -> list[str]:
        return [name for name in self.places if name != WAITERS]

    def live(self, now: int) -> list[int]:
        self.look(now)
        return sorted(ends for name, ends in self.places.items() if ends > now and name != WAITERS)

    def acquire(self, now: int, claim: Claim) -> Said:
        live = self.live(now)
        if self.places.get(claim.token, 0) <= now and len(live) >= claim.permits[0]:
            return Said(STOPPED, (0, -(-(live[0] - now) // 1000)))
        number = self.fences.next(now, claim.memory)
        self.places = {name: ends for name, ends in self.places.items() if ends > now}
        self.places[claim.token] = now + claim.ttl * 1000
        self.ends = max(self.ends, now // 1000 + claim.ttl)
        return Said(PASSED, (number, 0))

    def attend(self, now: int, claim: Claim) -> Said:
        self.look(now)
        if self.places and self.places.get(claim.token, 0) <= now:
            self.places[WAITERS] = MARK
        return Said(PASSED)

    def renew(self, now: int, claim: Claim, milliseconds: int, how: str) -> Said:
        self.look(now)
        left = -(-(self.places.get(claim.token, 0) - now) // 1000)
        if left <= 0:
            return Said(STOPPED, (0,))
        left = prolonged(left, milliseconds, how)
        self.places[claim.token] = now + left * 1000
        self.ends = max(self.ends, now // 1000 + left)
        return Said(PASSED, (left,))

    def release(self, now: int, claim: Claim) -> Said:
        self.look(now)
        ends = self.places.pop(claim.token, None)
        if ends is None:
            return Said(PASSED, (0, 0))
        waited = self.places.pop(WAITERS, None) is not None
        self.said += waited
        if not self.places:
            self.lose()
        return Said(PASSED, (1 if ends > now else 0, int(waited)))

    def peek(self, now: int, claim: Claim) -> Said:
        held = len(self.live(now))
        return Said(PASSED, (held, max(0, -(-(self.places.get(claim.token, 0) - now) // 1000))))

    def content(self) -> object:
        """Who is in its key, if there is one."""
        return {name.encode(): ends for name, ends in self.places.items()} or None


def prolonged(left: int, milliseconds: int, how: str) -> int:
    """What is left after a renewal."""
    return {"add": left + milliseconds, "set": milliseconds, "least": max(left, milliseconds)}[how]
