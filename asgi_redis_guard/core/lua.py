"""Lua out of the files of a package, put together where one brings in another.

Pure. A line `-- @include name.lua` stands for the whole of that file, which must lie in the same package. It is put in
as text: it sees the locals around that line, and those that it declares live on after it. Its first comments say what
it takes and what it sets.
"""

from __future__ import annotations

import re
from importlib.resources import files

_INCLUDE = re.compile(r"^[ \t]*-- @include\b(.*)$", re.MULTILINE)
_FILE = re.compile(r"[a-z][a-z0-9_]*\.lua")


def read_lua(package: str, file: str) -> str:
    """Return the Lua in `file` of `package`, with all that it includes.

    Raises ValueError, which names the file, for an include that does not exist, is circular or lies elsewhere.
    """
    return _read(package, (file,))


def includes_of(source: str) -> list[str]:
    """Return what the files that `source` includes by itself are called, in their order."""
    return [match[1].strip() for match in _INCLUDE.finditer(source)]


def _read(package: str, way: tuple[str, ...]) -> str:
    """Read the last file of `way`, each of which is included by the one before it."""
    *outer, file = way
    if outer:
        _check(package, outer, file)
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: _read(package, (*way, match[1].strip())).rstrip("\n"), text)


def _check(package: str, outer: list[str], file: str) -> None:
    if not _FILE.fullmatch(file):
        raise ValueError(f"{package}: {outer[-1]} includes {file!r}; allowed are names of Lua files beside it")
    if file in outer:
        raise ValueError(f"{package}: the includes are circular: {' > '.join((*outer, file))}")
    if not files(package).joinpath(file).is_file():
        raise ValueError(f"{package}: {outer[-1]} includes {file}, which does not exist")
