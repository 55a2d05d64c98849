"""Named warnings about how an app is set up: each is told once, in one line that names where to read on."""

from __future__ import annotations

import logging


class Warnings:
    """Tells each warning of one logger once."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: set[tuple[str, str]] = set()

    def tell(self, name: str, sentence: str) -> None:
        """Log `[name] sentence`; the same one again is not."""
        if (name, sentence) not in self._told:
            self._told.add((name, sentence))
            self._logger.warning('[%s] %s; see README, "Warnings"', name, sentence)
