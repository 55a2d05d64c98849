"""Which limits a request falls under: those of its rule, those that the app tells for it, or the guard's own. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from ..core.exchange import Exchange
from ..core.keys import digest
from ..core.paths import PathPatterns, lean
from ..errors import ConfigurationError
from .headers import HeaderStyle
from .notation import Style, make_limits
from .plan import Plan

#: Limits as they are written, of which there may be several; None for none.
Notations = str | Sequence[str] | None
#: The app's own word on a request: limits as they are written, one text or several; None for none.
LimitsFor = Callable[[Exchange], Notations]

_RULE = re.compile(r"(?:([A-Z]+(?:\|[A-Z]+)*) +)?(/.*)")
_PLACEHOLDER = re.compile(r"\{[^/{}]*\}")


@dataclass(frozen=True, slots=True)
class _Rule:
    """`text` is what the app wrote, `GET|POST /users/{id}`; `methods` are empty for all."""

    text: str
    methods: tuple[str, ...]
    pattern: str
    limits: tuple[str, ...]


class _Table:
    """The rules for one method, and the plan of each."""

    def __init__(self, plans: Mapping[str, Plan | None]) -> None:
        self.patterns = PathPatterns(plans, option="rules", lenient=True)
        self.plans = {_place(pattern): plan for pattern, plan in plans.items()}

    def plan_of(self, pattern: str) -> Plan | None:
        """Return the plan of a pattern."""
        return self.plans.get(_place(pattern))


def _place(pattern: str) -> str:
    """What a path is said to match: the pattern, or a plain path without what sloppy routers leave out."""
    return pattern if "*" in pattern else lean(pattern)


class Rules:
    """Finds the plan for an exchange.

    `limits` are written, or one function that tells them. `rules` maps `/search/*`, `/users/{id}` or `POST /login` to
    limits that stand there instead, None for none; an exact path counts before patterns, these in their order. `paths`
    are those that `limits` are for. Raises `ConfigurationError` with all faults.
    """

    def __init__(
        self,
        limits: Sequence[str | LimitsFor],
        rules: Mapping[str, Notations],
        paths: Iterable[str],
        style: Style,
        headers: HeaderStyle,
    ) -> None:
        self._headers = headers
        self._paths = PathPatterns(paths, option="paths", lenient=True)
        self._style = replace(style, space=style.space or style.name or _space(*self._paths.patterns))
        faults = style.faults()
        self._rules = [rule for text, one in rules.items() if (rule := _rule(text, one, faults))]
        self._written, self._function = _divided(limits, faults)
        if not self._written and self._function is None and not self._rules:
            faults.append("limits (GUARD_LIMITS): none given; name at least one, such as '100/minute'")
        self._plan = lru_cache(maxsize=1024)(self._make)
        with _gathered(faults):
            self.change({})
        ConfigurationError.raise_for(list(dict.fromkeys(faults)))

    #: All requests' one plan, where there is no need to look.
    only: Plan | None = None
    _changed = False

    @property
    def plans(self) -> list[Plan]:
        """All plans that are known beforehand."""
        ruled = [plan for table in self._tables.values() for plan in table.plans.values() if plan is not None]
        return list(dict.fromkeys([*ruled, *([self._plan(self._base, None)] if self._base else [])]))

    def plan_of(self, rule: str) -> Plan | None:
        """Return the plan of a rule as it is now, by its text; `""` for the limits of no rule."""
        if rule == "":
            return self._plan(self._base, None) if self._base else None
        known = next((one for one in self._rules if one.text == rule), None)
        if known is None:
            raise ValueError(f"rule: {rule!r} given; there are {[one.text for one in self._rules]}")
        return self._tables[known.methods[0] if known.methods else ""].plan_of(known.pattern)

    def checked(self, limits: Notations, rule: str) -> tuple[str, ...]:
        """Return limits as they may stand in the place of those of a rule; raises as `plan_of` and `change` do."""
        self.plan_of(rule)
        written = _listed(limits)
        if written:
            self._plan(written, None)
        return written

    def find(self, exchange: Exchange) -> Plan | None:
        """Return the plan for an exchange, None if no limit is for it. Raises what the app's function does."""
        if self._tables:
            table = self._tables.get(exchange.method) or self._tables[""]
            for path in exchange.paths:
                if (found := table.patterns.match(path)) is not None:
                    return table.plans[found]
        pattern = None
        if self._paths:
            pattern = next((found for path in exchange.paths if (found := self._paths.match(path)) is not None), None)
            if pattern is None:
                return None
        written = self._base
        if self._function is not None and not self._changed:
            written = _listed(self._function(exchange))
        return self._plan(written, pattern) if written else None

    def change(self, changes: Mapping[str, Notations]) -> None:
        """Put limits in the place of those that were configured, by the text of their rule, `""` for those of none.

        Raises `ConfigurationError`, and changes nothing then.
        """
        faults: list[str] = []
        base = _listed(changes[""]) if "" in changes else self._written
        with _gathered(faults):
            if base:
                self._plan(base, None)
        tables = self._arranged(changes, faults)
        ConfigurationError.raise_for(list(dict.fromkeys(faults)))
        self._base, self._tables, self._changed = base, tables, "" in changes
        looks = bool(tables) or bool(self._paths) or (self._function is not None and not self._changed)
        self.only = self._plan(base, None) if base and not looks else None

    def _arranged(self, changes: Mapping[str, Notations], faults: list[str]) -> dict[str, _Table]:
        """Return a table for each method that a rule names, and one for all others."""
        plans: list[tuple[_Rule, Plan | None]] = []
        for rule in self._rules:
            written = _listed(changes[rule.text]) if rule.text in changes else rule.limits
            with _gathered(faults):
                plans.append((rule, self._plan(written, rule.pattern, rule.text) if written else None))
        methods = {"", *(method for rule in self._rules for method in rule.methods)} if self._rules else ()
        tables: dict[str, _Table] = {}
        for method in methods:
            concerned = {rule.pattern: plan for rule, plan in plans if not rule.methods or method in rule.methods}
            with _gathered(faults):
                tables[method] = _Table(concerned)
        return tables

    def _make(self, written: tuple[str, ...], pattern: str | None, rule: str | None = None) -> Plan:
        style = self._style if rule is None else replace(self._style, space=_space(self._style.space or "", rule))
        return Plan(make_limits(written, style), self._headers, pattern)


def _rule(text: str, limits: Notations, faults: list[str]) -> _Rule | None:
    match = _RULE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        faults.append(f"rules: {text!r} given; allowed are path patterns such as '/search/*' and 'POST /users/{{id}}'")
        return None
    methods = tuple(match[1].split("|")) if match[1] else ()
    if "GET" in methods:
        methods = (*methods, "HEAD")
    return _Rule(text, methods, _PLACEHOLDER.sub("*", match[2]), _listed(limits))


def _divided(limits: Sequence[str | LimitsFor], faults: list[str]) -> tuple[tuple[str, ...], LimitsFor | None]:
    """Return what is written and the function that tells instead; one of them is empty."""
    functions = [one for one in limits if callable(one)]
    if functions and len(limits) > 1:
        faults.append("limits: a function beside others given; allowed is one function alone")
    return tuple(one for one in limits if not callable(one)), functions[0] if functions else None


def _listed(limits: Notations) -> tuple[str, ...]:
    return () if limits is None else (limits,) if isinstance(limits, str) else tuple(limits)


def _space(*words: str) -> str | None:
    """What stands in the keys of limits that have no name: those of other paths must not share their counts."""
    return digest(*words).decode() if words else None


@contextmanager
def _gathered(faults: list[str]) -> Iterator[None]:
    """Add what is wrong to `faults`."""
    try:
        yield
    except ConfigurationError as error:
        faults += error.faults
