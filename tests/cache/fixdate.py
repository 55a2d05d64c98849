"""Dates as HTTP writes them (RFC 9110 §5.6.7)."""

from datetime import UTC, datetime


def fixdate(seconds: float) -> bytes:
    """Return the IMF-fixdate of the whole second that `seconds` (since the epoch) is in."""
    moment = datetime.fromtimestamp(seconds // 1, UTC)
    return f"{moment:%a, %d %b} {moment.year:04} {moment:%H:%M:%S} GMT".encode()
