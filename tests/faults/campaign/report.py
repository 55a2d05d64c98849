"""The table of the campaign: fault, requests, errors by kind, longest wait, time to recover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.faults.campaign.cell import Row

#: The rows of this run of pytest, in the order in which they came.
ROWS: list[Row] = []

_HEAD = (
    "topology",
    "fault",
    "requests",
    "before/s",
    "longest",
    "recovery",
    "RSS",
    "log",
    "errors",
    "lost with the data",
)


def table(rows: Iterable[Row]) -> str:
    """Return it as text."""
    cells = [_HEAD, *(tuple(_cells(row)) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(_HEAD))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Row) -> Iterator[str]:
    yield from (row.world, row.fault, str(row.requests), f"{row.speed:.0f}", f"{row.longest:.2f} s")
    yield "never" if row.recovery is None else f"{row.recovery:.2f} s"
    yield from (f"{row.growth / (1 << 20):+.1f} MB", f"{row.lines} lines", _counts(row.errors), _counts(row.lost))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in counts.items()) or "none"
