"""Cases for a shared HTTP cache: a name and steps, each a request and what is expected of it (`origin.py` plays them).

Whatever a case is about, every step is held to what is always so (`_always`).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytest

from asgi_redis_guard.core.asgi import Headers
from asgi_redis_guard.core.structured import parse_list
from tests.cache.origin import Lab, Reply
from tests.drive import Response

#: What becomes of a request: answered from what is stored (fresh, or stale), by the app, or from what is stored after
#: the app was asked (`valid`: it has said 304, `instead`: it has failed). `unstored` is by the app, and not kept;
#: `gone` is a 504.
End = Literal["hit", "stale", "miss", "unstored", "valid", "instead", "gone"]


@dataclass(frozen=True)
class Step:
    """A request and what is expected of it.

    `after`: seconds that pass before it. `says`: what the app answers from here on. `has`: fields of the response;
    `lacks`: names that it has not. `app`: fields that the app gets of it, `spares`: names that it does not get.
    `status`, `body` (that of the answer with this number, or itself), `told` (parts of our member of Cache-Status).
    `behind`: requests that reach the app behind the answer.
    """

    to: End
    fields: str = ""
    after: float = 0.0
    method: str = "GET"
    path: str = "/"
    says: Reply | str | None = None
    status: int | None = None
    body: int | bytes | None = None
    has: str = ""
    lacks: str = ""
    app: str = ""
    spares: str = ""
    told: str = ""
    behind: int = 0
    scope: dict[str, Any] = field(default_factory=dict)


class Case(NamedTuple):
    """A name and steps."""

    name: str
    steps: tuple[Step, ...]
    options: dict[str, Any] = {}


def case(name: str, *steps: Step, **options: Any) -> Case:
    """Return a case."""
    return Case(name, steps, options)


def reuse(
    name: str,
    fields: str,
    to: End,
    status: int = 200,
    *,
    first: str = "",
    second: str = "",
    after: float = 3,
    takes: float = 0.0,
    has: str = "",
    lacks: str = "",
    told: str = "",
    **options: Any,
) -> Case:
    """Return a case of two requests, the second `after` seconds: what becomes of it after the first one's answer."""
    says = Reply(fields, status, takes=takes)
    begin = Step("unstored" if to == "unstored" else "miss", first, says=says, status=status)
    then = Step(to, second, after, has=has, lacks=lacks, told=told)
    return Case(name, (begin, then), options)


class Stage(Lab):
    """The app behind the cache, and a client that takes steps."""

    async def play(self, step: Step) -> Response:
        """Take a step, and hold it to what is expected."""
        self.clock.now += step.after
        if step.says is not None:
            self.app.reply = step.says if isinstance(step.says, Reply) else Reply(step.says)
        response, asked, behind = await self.send(step.method, step.path, step.fields, **step.scope)
        told = _always(response, step.method, self.app.bodies)
        assert _END[step.to](asked, told, response), f"{step}: {told} {response} after {asked} requests to the app"
        assert behind == step.behind, f"{step}: {behind} requests behind the answer"
        assert step.status is None or response.status == step.status, f"{step}: {response}"
        if step.body is not None and step.method != "HEAD":
            assert response.body == (b"this is answer %d" % step.body if isinstance(step.body, int) else step.body), (
                step
            )
        self._compare(step, response.headers, step.has, step.lacks)
        if step.app or step.spares:
            self._compare(step, self.app.scopes[-1]["headers"], step.app, step.spares)
        assert not [key async for key in self.redis.client.scan_iter("*rf:*")], f"{step}: a fill was not given back"
        for part in step.told.split():
            assert part in told.split("; "), f"{step}: {told}"
        return response

    def _compare(self, step: Step, headers: Headers, has: str, lacks: str) -> None:
        for name, value in self.clock.fields(has):
            found = [other for key, other in headers if key == name]
            assert value in found, f"{step}: {name!r} is {found}"
        present = {name for name, _ in headers} & {name.encode() for name in lacks.split()}
        assert not present, f"{step}: {present}"


def table(*cases: Case) -> pytest.MarkDecorator:
    """Run a test for each case, `given`, named after it."""
    names = [one.name for one in cases]
    assert len(set(names)) == len(names), "a name is there twice"
    return pytest.mark.parametrize("given", cases, ids=names)


async def play(given: Case) -> None:
    """Run a case."""
    async with Stage(**given.options) as lab:
        for step in given.steps:
            await lab.play(step)


def _always(response: Response, method: str, bodies: list[bytes]) -> str:
    """Hold a response to what is always so; return what our cache says of it.

    Cache-Status is a list whose last member is ours, a hit or forwarded; Age is a number, there on each hit; a body is
    one that the app has sent, or the part of it that Content-Range tells.
    """
    field_ = ", ".join(response.all("cache-status"))
    members = parse_list([field_.encode()])
    assert members, field_
    name, said = members[-1]
    assert str(getattr(name, "text", name)) == "guard", field_
    assert ("hit" in said) + ("fwd" in said) == ("not-cached" not in field_), field_
    assert "stored" not in said or "fwd" in said, field_
    ages = response.all("age")
    if "hit" in said and response.status != 416:
        assert len(ages) == 1, ages
        assert ages[0].isdigit(), ages
    for once in ("content-length", "content-range", "date"):
        assert len(response.all(once)) <= 1, response.headers
    if method == "HEAD" or response.status in (204, 304):
        assert response.body == b""
    elif response.status == 206 and "hit" in said:
        _is_part(response, bodies)
    elif response.status != 416 and "not-cached" not in field_:
        assert response.body in bodies, f"a body that nobody has sent: {response.body!r}"
    return field_.rpartition("guard")[2].removeprefix("; ")


def _is_part(response: Response, bodies: list[bytes]) -> None:
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response["content-range"])
    assert found, response.headers
    first, last, length = map(int, found.groups())
    assert any(body[first : last + 1] == response.body for body in bodies if len(body) == length), response


def _is_hit(told: str) -> bool:
    return "hit" in told.split("; ")


def _ttl(told: str) -> int:
    found = re.search(r"ttl=(-?\d+)", told)
    assert found, told
    return int(found[1])


_END = {
    "hit": lambda asked, told, response: asked == 0 and _is_hit(told) and _ttl(told) >= 0,
    "stale": lambda asked, told, response: _is_hit(told) and _ttl(told) < 0,
    "miss": lambda asked, told, response: asked == 1 and "fwd=" in told and "fwd-status" not in told,
    "unstored": lambda asked, told, response: asked == 1 and "fwd=" in told and "stored" not in told.split("; "),
    "valid": lambda asked, told, response: asked == 1 and "fwd-status=304" in told.split("; "),
    "instead": lambda asked, told, response: asked == 1 and "fwd=stale" in told.split("; ") and _ttl(told) < 0,
    "gone": lambda asked, told, response: asked == 0 and response.status == 504,
}
