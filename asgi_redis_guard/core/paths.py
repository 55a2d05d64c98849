"""Path patterns, for exemptions and rules: literal segments, `*` for one segment, a final `*` for one or more.

They match the decoded path below `root_path`, whole segments only: `/health` never matches `/healthz`, `/static/*`
never matches `/static`. What an app makes of a path with empty, `.` or `..` segments or a backslash is not known here:
for an exemption such a path matches nothing; a rule that must not be dodged is `lenient`, and leaves out what is empty.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError

_UNCLEAR = frozenset(("", ".", ".."))


class PathPatterns:
    """A set of patterns; `match` tells which one a path falls under, the first given first.

    `lenient` patterns hold for what a sloppy router may take for the same path, with slashes doubled or at the end.
    """

    __slots__ = ("_lenient", "_literal", "_wild", "patterns")

    def __init__(self, patterns: Iterable[str] = (), *, option: str = "exempt", lenient: bool = False) -> None:
        self._lenient = lenient
        if isinstance(patterns, str):
            patterns = (patterns,)
        self.patterns = tuple(patterns)
        ConfigurationError.raise_for(
            [
                f"{option}: {pattern!r} given; a pattern starts with '/' and has '*' only as a whole segment"
                for pattern in self.patterns
                if not _well_formed(pattern)
            ]
        )
        literal = [pattern for pattern in self.patterns if "*" not in pattern]
        self._literal = {lean(pattern) if lenient else pattern for pattern in literal}
        wild = [pattern for pattern in self.patterns if "*" in pattern]
        self._wild = [(pattern, (lean(pattern) if lenient else pattern).split("/")) for pattern in wild]

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def match(self, path: str) -> str | None:
        """Return the pattern that `path` falls under, or None."""
        if self._lenient:
            path = lean(path)
        if path in self._literal:
            return path
        segments = path.split("/")
        if not self._lenient and ("\\" in path or not _UNCLEAR.isdisjoint(segments[1:])):
            return None
        for pattern, parts in self._wild:
            if _fits(parts, segments):
                return pattern
        return None

    def find(self, paths: Iterable[str]) -> str | None:
        """Return the pattern that the first of `paths` falls under that falls under any, or None."""
        for path in paths:
            if (found := self.match(path)) is not None:
                return found
        return None

    def __repr__(self) -> str:
        return f"<PathPatterns {', '.join(self.patterns)}>"


def lean(path: str) -> str:
    return "/" + "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def _well_formed(pattern: str) -> bool:
    return pattern.startswith("/") and all(part == "*" or "*" not in part for part in pattern.split("/"))


def _fits(parts: list[str], segments: list[str]) -> bool:
    if len(segments) < len(parts) or (len(segments) > len(parts) and parts[-1] != "*"):
        return False
    return all(part in ("*", segment) for part, segment in zip(parts, segments, strict=False))
