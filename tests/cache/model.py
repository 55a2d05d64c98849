"""What a shared cache may do with what it has seen, by RFC 9111 §4 read naively: a list of responses, no more.

It says nothing of how a cache is to work; only whether a response that was reused was allowed to be.
"""

from dataclasses import dataclass, field, replace
from math import floor

#: Directives of a response, or of a request: True, or seconds.
Control = dict[str, int | bool]


@dataclass(frozen=True)
class Said:
    """What the app has answered, told apart by `number`. `vary`: names; `date`, `expires`: seconds from then."""

    number: int = 0
    control: Control = field(default_factory=dict)
    status: int = 200
    vary: tuple[str, ...] = ()
    age: int | None = None
    date: int | None = None
    expires: int | None = None
    etag: str | None = None
    takes: int = 0


@dataclass(frozen=True)
class Asked:
    """What a client has asked."""

    path: str
    fields: dict[str, str]
    control: Control = field(default_factory=dict)


@dataclass
class Stored:
    """A response that came: `said` of the last time that the app has told of it, which was at `received`.

    `date` and `expires` are times, in whole seconds as fields tell them.
    """

    asked: Asked
    said: Said
    received: float
    date: float | None
    expires: float | None
    ended: bool = False

    def age(self, now: float) -> float:
        """§4.2.3."""
        apparent = 0.0 if self.date is None else max(0.0, self.received - self.date)
        return max(apparent, (self.said.age or 0) + self.said.takes) + now - self.received

    def lifetime(self) -> float:
        """§4.2.1."""
        for name in ("s-maxage", "max-age"):
            if name in self.said.control:
                return float(self.said.control[name])
        if self.expires is None:
            return 0.0
        return max(0.0, self.expires - (self.received if self.date is None else self.date))

    def may_be_stale(self) -> bool:
        """§4.2.4."""
        return not {"must-revalidate", "proxy-revalidate", "no-cache"} & self.said.control.keys()


class Model:
    """Everything that came from the app."""

    def __init__(self) -> None:
        self.stored: dict[int, Stored] = {}

    def came(self, asked: Asked, said: Said, now: float) -> None:
        """A response to a GET."""
        self.stored[said.number] = Stored(asked, said, now, _time(said, said.date, now), _time(said, said.expires, now))

    def confirmed(self, number: int, asked: Asked, said: Said, now: float) -> None:
        """A 304 about that response (§4.3.4): what it does not have stays, but Date and Age."""
        one = self.stored[number]
        control = said.control or one.said.control
        one.said = replace(one.said, control=control, age=said.age, takes=said.takes)
        one.received, one.asked, one.date = now, asked, _time(said, said.date, now)
        if said.expires is not None:
            one.expires = _time(said, said.expires, now)

    def written(self, path: str) -> None:
        """§4.4."""
        for one in self.stored.values():
            one.ended = one.ended or one.asked.path == path

    def why_not_at_all(self, number: int, asked: Asked) -> str:
        """Return why a response must not be the answer although the app has confirmed it."""
        one = self.stored[number]
        control = one.said.control
        if one.ended:
            return "it was invalidated"
        if one.asked.path != asked.path:
            return "it is of another target"
        if any(one.asked.fields.get(name) != asked.fields.get(name) for name in one.said.vary):
            return "it is another variant"
        if {"no-store", "private"} & control.keys() or "no-store" in one.asked.control or "*" in one.said.vary:
            return "it must not be stored"
        if "authorization" in one.asked.fields and not {"public", "must-revalidate", "s-maxage"} & control.keys():
            return "it was for somebody"
        return ""

    def why_not(self, number: int, asked: Asked, now: float, *, failed: bool = False) -> str:
        """Return why a response must not be the answer, empty where it may. `failed`: the app was asked in vain."""
        one = self.stored[number]
        control, age, lifetime = one.said.control, one.age(now), one.lifetime()
        wants = asked.control
        if why_not := self.why_not_at_all(number, asked):
            return why_not
        if "no-cache" in control or ("no-cache" in wants and not failed):
            return "it must be validated"
        if lifetime > age and failed:
            return ""
        if age > wants.get("max-age", age) and not failed:
            return "it is too old for the client"
        if lifetime - age < wants.get("min-fresh", lifetime - age) and not failed:
            return "it is not fresh enough for the client"
        if lifetime > age:
            return ""
        if not one.may_be_stale():
            return "it must not be used stale"
        if age < lifetime + control.get("stale-if-error" if failed else "stale-while-revalidate", 0):
            return ""
        if "max-stale" in wants and "s-maxage" not in control and age - lifetime <= wants["max-stale"]:
            return ""
        return "it is stale"


def _time(said: Said, offset: int | None, received: float) -> float | None:
    """Return the time that a field tells which the app has written when it was asked."""
    return None if offset is None else floor(received - said.takes + offset)
