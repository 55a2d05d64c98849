"""Many tasks in two processes against one limit: as many get through as it says, never one more and never one less."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ratelimit.worker import ALGORITHMS
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
TASKS, REQUESTS = 32, 4


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start workers that end with the test."""
    with ExitStack() as ends:

        def start(*args: object) -> "subprocess.Popen[str]":
            words = [sys.executable, "-m", "tests.ratelimit.worker", *map(str, args)]
            process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            ends.callback(process.wait)
            ends.callback(process.kill)
            return process

        yield start


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
def test_64_tasks_in_two_processes_get_exactly_what_the_limit_allows(
    start: Callable[..., "subprocess.Popen[str]"], shared_servers: Callable[[str], Server], kind: str
) -> None:
    server = shared_servers(kind)
    server.command("FLUSHALL")
    workers = [start(server.url, own, TASKS, REQUESTS) for own in (0, 1)]
    told = [json.loads(worker.communicate(timeout=50)[0]) for worker in workers]
    for algorithm in ALGORITHMS:
        statuses = [status for answers in told for status in answers[algorithm]]
        assert {*statuses} == {200, 429}
        assert (len(statuses), statuses.count(200)) == (2 * TASKS * REQUESTS, 90)
