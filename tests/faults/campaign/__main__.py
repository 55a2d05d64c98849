"""`python -m tests.faults.campaign` runs the whole campaign and prints its table; words after it choose cells."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    only = ["-k", " and ".join(sys.argv[1:])] if sys.argv[1:] else []
    sys.exit(pytest.main(["-q", "-m", "campaign", *only, str(Path(__file__).parent)]))
