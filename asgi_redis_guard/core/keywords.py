"""Options that were given by keyword, as an object that holds all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

Options = TypeVar("Options")


def options_of(kind: type[Options], given: Mapping[str, Any], what: str) -> Options:
    """Return a `kind`, a dataclass, of the options that were given for `what`; TypeError for one that there is not."""
    known = [option.name for option in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{what} has no option {name!r}{hint}")
    return kind(**given)
