"""Refusals of a route: what is to be answered, and how one is told from the other errors an app ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..core.steps import Answer
from ..errors import RouteRefused
from .ending import Standing


class Refusal(NamedTuple):
    """What a route's guards have answered, None where nobody is left to answer; `standing` give back what they took.

    `begin_at`: as in `Around`, for the background run that the answer may ask for.
    """

    answer: Answer | None
    standing: Sequence[Standing] = ()
    begin_at: Mapping[Any, int] = MappingProxyType({})


def is_the_refusal(error: BaseException) -> bool:
    """Tell whether an app ended for nothing but its refusal.

    Task groups put it into a group, together with what others made of it: Starlette's `BaseHTTPMiddleware` complains
    that no response was returned.
    """
    leaves = list(_leaves(error))
    refused = [leaf for leaf in leaves if isinstance(leaf, RouteRefused)]
    return bool(refused) and all(isinstance(leaf, RouteRefused | Exception) for leaf in leaves)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the errors in a group, or the one that there is; task groups put even a single one into a group."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
