"""Prints the table of the campaign at the end of a run that had any of it."""

import pytest

from tests.faults.campaign.report import ROWS, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("fault campaign")
        terminalreporter.write_line(table(ROWS))
