"""Programs that a test tells another Python to run, with the URL of a server, and that say `well` at their end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def ends_well(source: str, redis_url: str) -> None:
    """Run it, with warnings as errors; it must say that it is well, and nothing else."""
    run = subprocess.run(
        [sys.executable, "-Werror", "-c", source, redis_url],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=50,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("well\n", "", 0)
