"""A clock set by hand."""


class ManualClock:
    """A clock that moves only when told: call it for the time in seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def __repr__(self) -> str:
        return f"<ManualClock {self._now}>"

    def advance(self, seconds: float) -> None:
        """Move forward; `set` is for a clock that jumps back."""
        if seconds < 0:
            raise ValueError(f"a clock does not advance by {seconds}")
        self._now += seconds

    def set(self, now: float) -> None:
        """Jump to a time, forward or back."""
        self._now = now
