"""Figures of a run: speed, recovery, the longest wait, log lines, memory.

Law: reads, and never changes what it measures.
"""

from __future__ import annotations

import gc
import logging
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign.load import Load, Sample

#: The part of the speed before a fault that counts as full speed on a machine that others use too.
FULL = 0.7


def speed(samples: Sequence[Sample], begin: float, end: float) -> float:
    """Return how many requests were served each second."""
    place = bisect_left(samples, begin, key=lambda sample: sample.ended)
    served = 0
    for sample in samples[place:]:
        if sample.ended > end:
            break
        served += sample.served
    return served / (end - begin)


def settled(samples: Sequence[Sample], begin: float, end: float, before: float) -> float:
    """Return what full speed is now that all is well: less than before where others use the machine, and no fault is.

    Where more than 1 % were not served, or less than a third of what was, it is what it was before.
    """
    seen = samples[bisect_left(samples, begin, key=lambda sample: sample.ended) :]
    now = speed(samples, begin, end)
    is_well = sum(sample.served for sample in seen) > 0.99 * len(seen) and now > before / 3
    return min(before, now) if is_well else before


def recovery(samples: Sequence[Sample], back: float, now: float, before: float) -> float | None:
    """Return the seconds from `back` to the first second of full speed, or None if there was none until `now`."""
    step = 0.05
    begin = back
    while begin + 1.0 <= now:
        if speed(samples, begin, begin + 1.0) >= FULL * before:
            return begin - back
        begin += step
    return None


def longest(load: Load) -> float:
    """Return the longest wait of any request, without what the loop itself was late."""
    return max(sample.took for sample in load.samples)


class Lines(logging.Handler):
    """Counts what the package logs at INFO and above."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Lines:
        logging.getLogger("asgi_redis_guard").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("asgi_redis_guard").removeHandler(self)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
