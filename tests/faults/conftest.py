"""Faults are no excuse for leaving something behind."""

from tests.redis.conftest import nothing_is_left_running

__all__ = ["nothing_is_left_running"]
