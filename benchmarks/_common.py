"""What every benchmark shares: arguments, the header with machine and versions, alternating rounds, tables of ratios.

Owns no process and no socket (`_servers.py` does). Both sides of a claim are always measured in one run, in turns, and
compared by the medians of their rounds: a figure of one side alone says more about the machine than about the code.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("asgi-redis-guard", "redis", "hiredis", "PyJWT", "limits", "fastapi", "starlette", "uvicorn", "uvloop")


def arguments(description: str | None, *, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """A parser with the two options that every benchmark takes; a file adds its own."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"turns of every side (default {rounds})")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"length of a turn (default {seconds:g})")
    return parser


def stop_cleanly_on_sigterm() -> None:
    """Make SIGTERM unwind the context managers, so that no child outlives an interrupted benchmark."""

    def leave(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source" if package == "asgi-redis-guard" else "absent"


def header(title: str, server: str = "", extra: Sequence[str] = ()) -> None:
    """Print what the figures depend on: the machine, its load, the Python and the versions compared."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"# {title}")
    print(f"machine   {_cpu_name()}, {os.cpu_count()} CPUs{load}, {platform.system()} {platform.release()}")
    print(f"python    {platform.python_implementation()} {platform.python_version()}")
    if server:
        print(f"server    {server}")
    print("versions  " + ", ".join(f"{name} {_version(name)}" for name in (*PACKAGES, *extra)))
    print(flush=True)


class Rounds:
    """Figures of several sides, measured in turns; every reading is kept by side and by unit."""

    def __init__(self) -> None:
        self.readings: dict[str, dict[str, list[float]]] = {}

    def add(self, side: str, figures: Mapping[str, float]) -> None:
        """Keep the figures of one turn of one side."""
        units = self.readings.setdefault(side, {})
        for unit, value in figures.items():
            units.setdefault(unit, []).append(value)

    def median(self, side: str, unit: str) -> float:
        """The median over the rounds of one side's figure."""
        return median(self.readings[side][unit])

    def ratio(self, unit: str, side: str, base: str) -> float:
        """The median over the rounds of `side` / `base`, each pair from one round: a busy minute cancels out."""
        pairs = zip(self.readings[side][unit], self.readings[base][unit], strict=True)
        return median(ours / other for ours, other in pairs)

    def spread(self, side: str, unit: str) -> float:
        """Half of the range of the readings, as a share of their median."""
        values = self.readings[side][unit]
        return (max(values) - min(values)) / 2 / median(values)


async def alternate_async(
    sides: Mapping[str, Callable[[], Awaitable[Mapping[str, float]]]], rounds: int, *, warm_up: bool = True
) -> Rounds:
    """Run each side once a round, in an order shuffled anew each time (a fixed seed), after an unmeasured turn."""
    result, order, names = Rounds(), random.Random(1), list(sides)
    for number in range(-1 if warm_up else 0, rounds):
        order.shuffle(names)
        for name in names:
            figures = await sides[name]()
            if number >= 0:
                result.add(name, figures)
    result.readings = {name: result.readings[name] for name in sides}
    return result


def alternate(sides: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, *, warm_up: bool = True) -> Rounds:
    """`alternate_async` for sides that are ordinary functions."""

    def wrapped(side: Callable[[], Mapping[str, float]]) -> Callable[[], Awaitable[Mapping[str, float]]]:
        async def turn() -> Mapping[str, float]:
            return side()

        return turn

    return asyncio.run(alternate_async({name: wrapped(side) for name, side in sides.items()}, rounds, warm_up=warm_up))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns; the first column is left-aligned, figures are right-aligned."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for number, row in enumerate(cells):
        aligned = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        print("  ".join((row[0].ljust(widths[0]), *aligned[1:])))
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def verdict(claim: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print whether a budget is met, and return it."""
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    bound = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    print(f"{'met   ' if met else 'MISSED'}  {claim}: {value:.2f} (budget {bound})", flush=True)
    return met


def finish(verdicts: Sequence[bool]) -> None:
    """Leave with status 1 if a budget was missed."""
    sys.exit(0 if all(verdicts) else 1)
