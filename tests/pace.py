"""What gets through a limit that gives a unit back every few seconds, on a machine that may be slow."""

import time


class Pace:
    """Counts what a limit that nobody has used yet lets through: `burst`, and one more each `every` seconds.

    No less than the burst, and no more than the time that has passed allows for, however long that was.
    """

    def __init__(self, *, burst: int, every: float) -> None:
        self.burst, self.every = burst, every
        self.began = time.monotonic()
        self.passed = 0

    def passes(self, count: int = 1) -> None:
        """Note that so many have got through."""
        self.passed += count
        assert self.passed <= self.burst + (time.monotonic() - self.began) // self.every

    def refuses(self) -> None:
        """Note that one has not."""
        assert self.passed >= self.burst

    def lets_through(self, status: int, *, passed: int = 200) -> bool:
        """Note a response, and tell whether it has got through, as `passed` says, and not been refused."""
        if status == 429:
            self.refuses()
            return False
        assert status == passed
        self.passes()
        return True
