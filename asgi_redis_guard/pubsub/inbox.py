"""The bounded queue of one subscriber: messages in order, and gaps where some are missing.

Pure. Only messages count against the bound; gaps are never dropped, and merge where nothing lies between them, so that
they stay few.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

from .messages import Gap, GapReason, Message

Overflow = Literal["drop_oldest", "drop_newest", "disconnect"]


class Inbox:
    """Holds at most `maxsize` messages; `overflow` says what happens to the next one."""

    __slots__ = ("_items", "_messages", "cut", "maxsize", "overflow")

    def __init__(self, maxsize: int, overflow: Overflow) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize is {maxsize}; allowed is 1 and above")
        if overflow not in get_args(Overflow):
            raise ValueError(f"overflow is {overflow!r}; allowed are {', '.join(get_args(Overflow))}")
        self.maxsize = maxsize
        self.overflow: Overflow = overflow
        self.cut = False
        self._items: deque[Message | Gap] = deque()
        self._messages = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, message: Message) -> Gap | None:
        """Queue `message`, or apply the policy; return what was lost by it.

        `disconnect` sets `cut`: nothing may be put any more, and the gap is the last thing to take.
        """
        if self._messages >= self.maxsize and self.overflow != "drop_oldest":
            self.cut = self.overflow == "disconnect"
            gap = Gap("overflow", None if self.cut else 1)
            self.note(gap)
            return gap
        lost = self._drop_oldest() if self._messages >= self.maxsize else None
        self._items.append(message)
        self._messages += 1
        return lost

    def note(self, gap: Gap) -> None:
        """Put `gap` behind everything queued; it merges with gaps that are the last there."""
        gaps = [gap]
        while self._items and isinstance(last := self._items[-1], Gap):
            gaps.insert(0, last)
            self._items.pop()
        self._items.extend(_merged(gaps))

    def take(self) -> Message | Gap:
        """Take the next event; raises `IndexError` if there is none."""
        item = self._items.popleft()
        if not isinstance(item, Gap):
            self._messages -= 1
        return item

    def clear(self) -> None:
        """Forget everything queued."""
        self._items.clear()
        self._messages = 0

    def _drop_oldest(self) -> Gap:
        """Make room: a gap takes the place of the first message and merges with the gaps around it."""
        gaps = self._leading_gaps()
        self._items.popleft()
        self._messages -= 1
        gap = Gap("overflow", 1)
        self._items.extendleft(reversed(_merged([*gaps, gap, *self._leading_gaps()])))
        return gap

    def _leading_gaps(self) -> list[Gap]:
        gaps = []
        while self._items and isinstance(first := self._items[0], Gap):
            gaps.append(first)
            self._items.popleft()
        return gaps


def _merged(gaps: list[Gap]) -> list[Gap]:
    """One gap for each reason, in the order of their first; losses add up."""
    merged: dict[GapReason, Gap] = {}
    for gap in gaps:
        before = merged.get(gap.reason)
        if before is not None and before.lost is not None and gap.lost is not None:
            merged[gap.reason] = Gap(gap.reason, before.lost + gap.lost)
        else:
            merged[gap.reason] = Gap(gap.reason, None) if before is not None else gap
    return list(merged.values())
