"""Four processes, each with 200 requests for what is not there: the app makes it once for all of them."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import MakeServer

ROOT = Path(__file__).parent.parent.parent
PROCESSES, REQUESTS = 4, 200


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
def test_800_at_once_in_four_processes_run_the_handler_once(kind: str, make_server: MakeServer) -> None:
    server = make_server(kind)
    with ExitStack() as ends:
        workers = []
        for own in range(PROCESSES):
            words = [sys.executable, "-m", "tests.cache.herd_worker", server.url, own, PROCESSES, REQUESTS]
            worker = subprocess.Popen([*map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            ends.callback(worker.wait)
            ends.callback(worker.kill)
            workers.append(worker)
        told = [json.loads(worker.communicate(timeout=50)[0]) for worker in workers]
    assert told == [[["made 1"], REQUESTS, True]] * PROCESSES
    assert server.command("GET", "runs") == b"1"
    calls = server.command("INFO", "commandstats")
    # Each request looks once, and of those who wait one in each process looks again: nobody asks again and again.
    assert calls["cmdstat_evalsha"]["calls"] <= PROCESSES * (REQUESTS + 4)
    looks = 2 * calls["cmdstat_evalsha"]["calls"]  # each program asks for the lives of a mark and of a tag
    assert calls["cmdstat_pttl"]["calls"] <= looks + 2 * PROCESSES
