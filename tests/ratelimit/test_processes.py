"""Many tasks in two processes against one limit: as many get through as it says, never one more and never one less.

What is said of periods goes by the server's own clock, so that no machine is too slow for it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.models import most_in_any_window
from tests.ratelimit.window_worker import AMOUNT, PERIODS
from tests.ratelimit.worker import ALGORITHMS
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
TASKS, REQUESTS = 32, 4

#: The most in any period, in parts of the amount.
MOST = {"log": 1}


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start workers that end with the test."""
    with ExitStack() as ends:

        def start(module: str, *args: object) -> "subprocess.Popen[str]":
            words = [sys.executable, "-m", f"tests.ratelimit.{module}", *map(str, args)]
            process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            ends.callback(process.wait)
            ends.callback(process.kill)
            return process

        yield start


Told = Callable[..., list[Any]]


@pytest.fixture(params=["valkey9", "redis62"])
def told(
    request: pytest.FixtureRequest,
    start: Callable[..., "subprocess.Popen[str]"],
    shared_servers: Callable[[str], Server],
) -> Told:
    """Let two workers run side by side on an empty server; what each of them prints."""
    server = shared_servers(request.param)
    server.command("FLUSHALL")

    def told(module: str, *args: object) -> list[Any]:
        workers = [start(module, server.url, own, *args) for own in (0, 1)]
        return [json.loads(worker.communicate(timeout=50)[0]) for worker in workers]

    return told


def test_64_tasks_in_two_processes_get_exactly_what_the_limit_allows(told: Told) -> None:
    answers_of_both = told("worker", TASKS, REQUESTS)
    for algorithm in ALGORITHMS:
        statuses = [status for answers in answers_of_both for status in answers[algorithm]]
        assert {*statuses} == {200, 429}
        assert (len(statuses), statuses.count(200)) == (2 * TASKS * REQUESTS, 90)


def test_no_period_of_the_servers_clock_has_more_than_is_stated_of_an_algorithm(told: Told) -> None:
    answers = told("window_worker", TASKS, 2)
    for algorithm, seconds in PERIODS.items():
        admitted = sorted((entry for worker in answers for entry in worker[algorithm]), key=lambda entry: entry[0])
        worst = most_in_any_window([time for time, _ in admitted], seconds * 1_000_000)
        assert AMOUNT <= worst <= MOST.get(algorithm, 2) * AMOUNT, algorithm
    for left in fixed_windows([entry for worker in answers for entry in worker["fixed"]]):
        assert left == [*range(AMOUNT - len(left), AMOUNT)]  # each unit was given once, from the first on


def fixed_windows(admitted: list[tuple[int, int]]) -> list[list[int]]:
    """What was left after each request, sorted, for each window; none is shorter than a period, but for the server's
    milliseconds.
    """
    admitted = sorted(admitted, key=lambda entry: (entry[0], -entry[1]))
    starts = [place for place, (_, left) in enumerate(admitted) if left == AMOUNT - 1]
    assert starts[0] == 0
    assert all(admitted[two][0] - admitted[one][0] >= 1_000_000 - 2000 for one, two in pairwise(starts))
    return [sorted(left for _, left in admitted[one:two]) for one, two in pairwise([*starts, len(admitted)])]
