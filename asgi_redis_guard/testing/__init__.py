"""Test doubles for code that talks to Redis, for this package's tests and for yours.

Law: the standard library only, and nothing else of this package. Whatever a double starts has ended when its
`async with` ends.
"""

from .clock import ManualClock
from .counter import RoundTripCounter
from .proxy import FaultProxy

__all__ = ["FaultProxy", "ManualClock", "RoundTripCounter"]
