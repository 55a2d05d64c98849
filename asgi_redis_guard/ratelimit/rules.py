"""Which limits a request falls under: those of its rule, those that the app tells for it, or the guard's own. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from ..core.checks import plain_faults
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
#: What stands for one segment of a path, and for one or more.
_ONE, _MORE = "{}", "*"
_PLACEHOLDER = re.compile(r"\{[^/{}]*\}")


@dataclass(frozen=True, slots=True)
class _Rule:
    """`text` is what the app wrote, `GET|POST /users/{id}`; `methods` are empty for all."""

    text: str
    methods: tuple[str, ...]
    pattern: str
    limits: tuple[str, ...]


class _Table:
    """The rules for one method: exact paths, and patterns in their order, each with its plan."""

    def __init__(self, plans: Mapping[str, Plan | None]) -> None:
        wild = {pattern for pattern in plans if not {_ONE, _MORE}.isdisjoint(pattern.split("/"))}
        self._exact = {pattern: plan for pattern, plan in plans.items() if pattern not in wild}
        self._wild = [(pattern.split("/"), plan) for pattern, plan in plans.items() if pattern in wild]

    def find(self, path: str, otherwise: Plan | None) -> Plan | None:
        """Return the plan of the rule that a path falls under, `otherwise` if there is no such rule."""
        path = lean(path)
        if path in self._exact:
            return self._exact[path]
        segments = path.split("/")
        return next((plan for parts, plan in self._wild if _fits(parts, segments)), otherwise)


def _fits(parts: list[str], segments: list[str]) -> bool:
    if len(segments) < len(parts) or (len(segments) > len(parts) and parts[-1] != _MORE):
        return False
    return all(part in (_ONE, _MORE, segment) for part, segment in zip(parts, segments, strict=False))


class Rules:
    """Finds the plan for an exchange.

    `limits` are written, or one function that tells them. `rules` maps `/search/*`, `/users/{id}` or `POST /login` to
    limits that stand there instead, None for none: a placeholder is one segment, a final `*` one or more, as is
    `{name:path}`. An exact path counts before patterns, these in their order; of two rules for the same path the one
    that names the method. `paths` are those that `limits` are for. Raises `ConfigurationError` with all faults.
    """

    #: All requests' one plan, where there is no need to look.
    only: Plan | None = None
    _changed = False

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
        faults = style.faults()
        self._rules = _read(rules, faults)
        self._written, self._function = _divided(limits, faults)
        told = ("function",) if self._function is not None else ()
        self._style = replace(style, space=style.space or style.name or _space(*told, *self._paths.patterns))
        if not self._written and self._function is None and not self._rules:
            faults.append("limits (GUARD_LIMITS): none given; name at least one, such as '100/minute'")
        self._plan = lru_cache(maxsize=1024)(self._make)
        with _gathered(faults):
            self.change({})
        ConfigurationError.raise_for(list(dict.fromkeys(faults)))

    @property
    def plans(self) -> list[Plan]:
        """All plans that are known beforehand."""
        ruled = [plan for plan in self._ruled.values() if plan is not None]
        return list(dict.fromkeys([*ruled, *([self._plan(self._base, None)] if self._base else [])]))

    def plan_of(self, rule: str, limits: Notations = None) -> Plan | None:
        """Return the plan of a rule as it is now, by its text; `""` for the limits of no rule, or those given."""
        if rule == "":
            written = self._base if limits is None else _listed(limits)
            return self._plan(written, None) if written else None
        if rule not in self._ruled:
            raise ValueError(f"rule: {rule!r} given; there are {[one.text for one in self._rules]}")
        return self._ruled[rule]

    def checked(self, limits: Notations, rule: str) -> tuple[str, ...]:
        """Return limits as they may stand in the place of those of a rule; raises as `plan_of` and `change` do."""
        self.plan_of(rule)
        written = _listed(limits)
        if written:
            self._plan(written, None)
        return written

    @property
    def claims(self) -> set[bytes]:
        """The names in the keys of all limits; what a function will tell stands under one that is no limit's."""
        told = {b"%b.*" % (self._style.space or "").encode()} if self._function is not None else set()
        return told | {limit.key_name for plan in self.plans for limit in plan.limits}

    def find(self, exchange: Exchange) -> Plan | None:
        """Return the plan for an exchange, None if no limit is for it. Raises what the app's function does."""
        if self.only is not None:
            return self.only
        if self._tables:
            # Some routers do not mind the case of a method, and servers pass it on as it came.
            table = self._tables.get(exchange.method.upper()) or self._tables[""]
            for path in exchange.paths:
                if (plan := table.find(path, _NO_RULE)) is not _NO_RULE:
                    return plan
        pattern = None
        if self._paths:
            pattern = self._paths.find(exchange.paths)
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
        plans = self._planned(changes, faults)
        ConfigurationError.raise_for(list(dict.fromkeys(faults)))
        tables = self._arranged(plans)
        self._ruled = {rule.text: plan for rule, plan in plans}
        self._base, self._tables, self._changed = base, tables, "" in changes
        looks = bool(tables) or bool(self._paths) or (self._function is not None and not self._changed)
        self.only = self._plan(base, None) if base and not looks else None

    def _planned(self, changes: Mapping[str, Notations], faults: list[str]) -> list[tuple[_Rule, Plan | None]]:
        """Return the rules, each with its plan."""
        plans: list[tuple[_Rule, Plan | None]] = []
        for rule in self._rules:
            written = _listed(changes[rule.text]) if rule.text in changes else rule.limits
            with _gathered(faults):
                plans.append((rule, self._plan(written, rule.pattern, rule.text) if written else None))
        return plans

    def _arranged(self, plans: Sequence[tuple[_Rule, Plan | None]]) -> dict[str, _Table]:
        """Return a table for each method that a rule names, and one for all others."""
        methods = {"", *(method for rule in self._rules for method in rule.methods)} if self._rules else ()
        tables: dict[str, _Table] = {}
        for method in methods:
            chosen: dict[str, tuple[_Rule, Plan | None]] = {}
            for rule, plan in plans:
                former = chosen.get(rule.pattern)
                if rule.methods and method not in rule.methods:
                    continue
                if former is None or (rule.methods and not former[0].methods):
                    chosen[rule.pattern] = rule, plan
            tables[method] = _Table({pattern: plan for pattern, (_, plan) in chosen.items()})
        return tables

    def _make(self, written: tuple[str, ...], pattern: str | None, rule: str | None = None) -> Plan:
        style = self._style if rule is None else replace(self._style, space=_space(self._style.space or "", rule))
        return Plan(make_limits(written, style), self._headers, pattern)


#: Stands for "no rule", which is not the same as a rule of no limits.
_NO_RULE = Plan((), HeaderStyle())


def _read(rules: Mapping[str, Notations], faults: list[str]) -> list[_Rule]:
    """Read what the rules are for; two for the same requests are a fault."""
    known: dict[tuple[frozenset[str], str], str] = {}
    found = [rule for text, limits in rules.items() if (rule := _rule(text, limits, faults))]
    for rule in found:
        former = known.setdefault((frozenset(rule.methods), rule.pattern), rule.text)
        if former != rule.text:
            faults.append(f"rules: {rule.text!r} given; {former!r} stands for the same requests")
    return found


def _rule(text: str, limits: Notations, faults: list[str]) -> _Rule | None:
    match = _RULE.fullmatch(text) if isinstance(text, str) else None
    pattern = _PLACEHOLDER.sub(_segments, match[2]) if match is not None else ""
    if match is not None and "<" in match[2]:
        faults.append(f"rules: {text!r} given; what varies is written in braces, as in '/users/{{id}}'")
        return None
    if match is None or any("*" in part and part != _MORE for part in pattern.split("/")):
        faults.append(f"rules: {text!r} given; allowed are path patterns such as '/search/*' and 'POST /users/{{id}}'")
        return None
    methods = tuple(match[1].split("|")) if match[1] else ()
    if "GET" in methods:
        methods = (*methods, "HEAD")
    return _Rule(text, methods, lean(pattern), _listed(limits))


def _segments(placeholder: re.Match[str]) -> str:
    return _MORE if placeholder[0].endswith(":path}") else _ONE


def _divided(limits: Sequence[str | LimitsFor], faults: list[str]) -> tuple[tuple[str, ...], LimitsFor | None]:
    """Return what is written and the function that tells instead; one of them is empty."""
    functions = [one for one in limits if callable(one)]
    if functions and len(limits) > 1:
        faults.append("limits: a function beside others given; allowed is one function alone")
    faults += plain_faults("limits", functions)
    faults += [
        f"limits: {one!r} given; allowed are texts such as '100/minute', one after the other, or a function"
        for one in limits
        if not isinstance(one, str) and not callable(one)
    ]
    return tuple(one for one in limits if isinstance(one, str)), functions[0] if functions else None


def _listed(limits: Notations) -> tuple[str, ...]:
    if limits is None:
        return ()
    one = isinstance(limits, str) or not isinstance(limits, Iterable)  # what is neither is told when it is read
    return (limits,) if one else tuple(limits)  # type: ignore[return-value]


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
