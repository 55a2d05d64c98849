"""A HEAD that the app answers, and what it tells of the stored response to a GET (RFC 9111 §4.3.5). Pure."""

from __future__ import annotations

from ..core.responder import Head
from .conditional import validators
from .entry import Entry
from .fields import lines
from .plan import Plan, Refusal
from .recording import Recording


class Freshening(Recording):
    """Freshens what is stored where the answer to a HEAD agrees with it, and drops it where it does not."""

    def start(self, head: Head) -> None:
        """Compare the head with what is stored; that of somebody's own answer says nothing of what all get.

        Its body, which is none, is never stored.
        """
        entry = self._found.entry
        is_for_all = not self._cache.variants.has_credentials(self._exchange)
        if entry is not None and head.status == 200 and self._ruling is None and is_for_all:
            self._received_at = self._deposit.host_time()
            if self._agrees(head, entry):
                self._freshen(head, entry)
            else:
                self._ruling = Refusal("validator")
                self._deposit.refuse(self._ruling, head.status)
        self._cache.telling.forwarded(head.headers, self._miss.reason, stored=isinstance(self._ruling, Plan))

    def _agrees(self, head: Head, entry: Entry) -> bool:
        """Tell whether the validators that the head has are the stored ones, and its length that of the stored body."""
        sizes = lines(head.headers, b"content-length")
        return not {*sizes} - {b"%d" % len(entry.body)} and not {*validators(head.headers)} - {
            *validators(entry.headers)
        }

    def body(self, chunk: bytes, more: bool) -> None:
        """There is none."""

    def rescue(self, error: Exception) -> None:
        """Whoever asks for the head alone can be told that the app fails."""
