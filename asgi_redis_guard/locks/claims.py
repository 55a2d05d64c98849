"""One lock or several that are wanted together, all or none: what to ask for them, and what the replies mean. Pure.

Several are taken in one step of the server, so that two who want the same ones never hold a part each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from ..core.keys import Keys
from ..core.script import Operation, Replies
from ..core.steps import Ask, Sought
from .operations import TOPIC, Claim

#: The name of a lock: text, bytes, or several of these that are kept apart.
Name = str | bytes | tuple[str | bytes, ...]


class Claims:
    """The locks that one holder wants under one token; in the order of their keys, whatever order they are named in."""

    __slots__ = ("_busy", "_claims", "left")

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = tuple(claims)
        #: The place of the one that was found to be another's last.
        self._busy = 0
        #: Seconds until that one's time is up, at most a day where it never is.
        self.left = 0.0

    @classmethod
    def of(cls, keys: Keys, names: Sequence[Name], token: str, ttl: float, permits: int | None = None) -> Claims:
        """Claim the locks of these names for `ttl` seconds, each once; with `permits` places in semaphores."""
        parts = {name if isinstance(name, tuple) else (name,) for name in names}
        return cls(sorted([Claim.of(keys, name, token, ttl, permits) for name in parts], key=lambda claim: claim.keys))

    def under(self, token: str) -> Claims:
        """Claim the same under another token."""
        return Claims([claim.under(token) for claim in self._claims])

    @property
    def token(self) -> str:
        """What the holder is known by, to itself and Redis."""
        return self._claims[0].token

    @property
    def word(self) -> bytes:
        """What is said when that one is released which was found to be another's last."""
        return self._claims[self._busy].word

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims)

    def take(self, *, closed: bool = False, about: Any = None) -> Ask:
        """Ask for all of them; `closed` and `about` are those of the `Ask`."""
        return Ask(self._acquires(), closed=closed, about=about)

    def _acquires(self) -> list[Operation]:
        together = len(self._claims) > 1
        return [claim.acquire(all_or_none=together) for claim in self._claims]

    def sought(self) -> Sought:
        """Return what is waited for: all of them, and word from who holds the one that was found to be another's."""
        busy = self._claims[self._busy]
        ask = Ask([busy.attend(), *self._acquires()])
        return Sought(TOPIC, busy.word, ask, partial(self._worth, busy.word), self.release(), self.ttl)

    def fence(self, replies: Replies) -> int | None:
        """Read the replies to what takes them: the highest fence where all are held now, else None."""
        if replies.passed and len(self._claims) == 1:
            single: int = replies.flat[-2]
            return single
        given = list(replies)[-len(self._claims) :]
        for place, (passed, _, values) in enumerate(given):
            if not passed:
                self._busy = place
                self.left = 86_400.0 if values[1] < 0 else values[1] / 1000
                return None
        if not all(committed for _, committed, _ in given):
            return None
        fences: list[int] = [values[0] for _, _, values in given]
        return max(fences)

    def _worth(self, word: bytes, replies: Replies) -> float | None:
        """Return the seconds until it is worth asking again without `word`.

        None where all are held, or it is another of them that is not free now.
        """
        return self.left if self.fence(replies) is None and self.word == word else None

    def release(self, *, once: bool = False) -> Ask:
        """Ask to give all back; `once`: not repeated unasked."""
        return Ask([claim.release(once=once) for claim in self._claims])

    def were_wanted(self, replies: Replies) -> bool:
        """Read the replies to a release: whether others wait for the one that all stand in line for."""
        if len(self._claims) == 1:
            return bool(replies.flat[2])
        return bool(list(replies)[self._busy].values[1])

    def were_held(self, replies: Replies) -> bool:
        """Read the replies to a release: whether all were held until then."""
        if len(self._claims) == 1:
            return bool(replies.flat[1])
        return all(values[0] == 1 for _, _, values in replies)

    @property
    def ttl(self) -> float:
        """Seconds that they are held, unless they are renewed."""
        return self._claims[0].ttl / 1000

    def renew(self) -> Ask:
        """Ask to hold all of them for their whole time from now on at the least."""
        return Ask([claim.renew() for claim in self._claims])

    def extend(self, milliseconds: int, how: Literal["add", "set"]) -> Ask:
        """Ask to hold all of them for longer."""
        return Ask([claim.extend(milliseconds, how) for claim in self._claims])

    def prolonged(self, replies: Replies) -> float | None:
        """Read the replies to `extend`: seconds for which all are held from then on; None where one is held no more."""
        return min(values[0] for _, _, values in replies) / 1000 if replies.passed else None

    def peek(self) -> Ask:
        """Ask who holds them."""
        return Ask([claim.peek() for claim in self._claims])

    def __repr__(self) -> str:
        return f"<Claims of {len(self._claims)}>"
