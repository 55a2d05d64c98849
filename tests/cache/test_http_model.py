"""Random responses and requests: what the cache reuses, a naive model of RFC 9111 §4 allows (`model.py`)."""

from dataclasses import replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.asgi import Scope
from tests.cache.model import Asked, Control, Model, Said
from tests.cache.origin import Lab, Reply, Sent

SECONDS = st.sampled_from([0, 1, 2, 5, 10, 60])


def _controls(flags: list[str], seconds: list[str]) -> st.SearchStrategy[Control]:
    some = [st.sampled_from(flags).map(lambda name: (name, True)), st.tuples(st.sampled_from(seconds), SECONDS)]
    return st.lists(st.one_of(*reversed(some)), max_size=2).map(dict)


RESPONSES = _controls(
    ["no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate"],
    ["max-age", "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"],
)
REQUESTS = st.just({}) | _controls(["no-cache", "only-if-cached", "no-store"], ["max-age", "min-fresh", "max-stale"])

BASES: list[Control] = [
    {},
    {"max-age": 10},
    {"max-age": 60, "no-cache": True},
    {"s-maxage": 5},
    {"max-age": 2, "stale-while-revalidate": 60},
    {"max-age": 2, "stale-while-revalidate": 60, "proxy-revalidate": True},
    {"max-age": 2, "stale-if-error": 60},
]
SAID = st.builds(
    Said,
    control=st.builds(dict[str, int | bool].__or__, st.sampled_from(BASES), RESPONSES),
    status=st.sampled_from([200, 200, 200, 303, 404, 500, 503]),
    vary=st.sampled_from([(), (), (), ("foo",), ("bar",), ("foo", "bar"), ("*",)]),
    age=st.none() | SECONDS,
    date=st.none() | st.sampled_from([0, -1, -10, 5]),
    expires=st.none() | st.sampled_from([-5, 0, 3, 30]),
    etag=st.none() | st.sampled_from(['"a"', '"b"', 'W/"a"']),
    takes=st.sampled_from([0, 0, 0, 1, 3]),
)
FIELDS = st.fixed_dictionaries(
    {}, optional={"foo": st.sampled_from("12"), "bar": st.sampled_from("12"), "authorization": st.just("x")}
)
GETS = st.builds(Asked, st.sampled_from(["/a", "/a", "/a", "/b"]), FIELDS | st.just({}), REQUESTS)
CONDITIONS = st.sampled_from(["", "", "", 'if-none-match: "a"', "range: bytes=0-3", "if-modified-since: {-5}"])
STEPS = st.tuples(
    st.sampled_from([0, 0, 0.5, 1, 3, 10, 40]),
    st.sampled_from(["GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"]),
    GETS,
    SAID,
    CONDITIONS,
    st.booleans(),
)


def _written(control: Control) -> str:
    return ", ".join(name if value is True else f"{name}={value}" for name, value in control.items())


def _reply(said: Said) -> Reply:
    control, vary = _written(said.control), ", ".join(said.vary)
    lines = [f"x-number: {said.number}"] if said.number else []
    lines += [f"cache-control: {control}"] if control else []
    lines += [f"vary: {vary}"] if vary else []
    lines += [f"age: {said.age}"] if said.age is not None else []
    # Dates are written when the app has taken its time, and count from when it was asked.
    lines += [f"date: {{{said.date - said.takes:+}}}"] if said.date is not None else []
    lines += [f"expires: {{{said.expires - said.takes:+}}}"] if said.expires is not None else []
    lines += [f"etag: {said.etag}"] if said.etag is not None else []
    return Reply(" | ".join(lines), said.status, takes=said.takes)


class Play:
    """The cache and the model, side by side."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.model = Model()
        self.answers: list[Said] = []
        self.reused = 0

    async def step(
        self, after: float, method: str, asked: Asked, said: Said, condition: str, confirms: bool, number: int
    ) -> None:
        """Send a request, which the app would answer with `said`, and hold what comes back to the model."""
        lab = self.lab
        lab.clock.now += after
        now = lab.clock.now
        if method == "HEAD":  # what a HEAD tells of a stored response is in the tables
            said = replace(said, status=404)
        said = replace(said, number=number)
        self.answers.clear()
        lab.app.choose = lambda scope: self._answer(scope, said, confirms)
        lines = [f"{name}: {value}" for name, value in asked.fields.items()]
        lines += [f"cache-control: {_written(asked.control)}"] if asked.control else []
        sent = await lab.send(method, asked.path, " | ".join([*lines, condition]))
        if method in ("POST", "PUT"):
            if said.status < 400:
                self.model.written(asked.path)
            return
        self._judge(asked, sent, now)
        for answer in self.answers if method == "GET" else ():
            if answer.status != 304:
                self.model.came(asked, answer, now + answer.takes)
            elif (reused := _number(sent)) is not None and self._is_kept(asked, sent):
                self.model.confirmed(reused, asked, answer, now + answer.takes)

    def _answer(self, scope: Scope, said: Said, confirms: bool) -> Reply:
        tags = [value.decode() for name, value in scope["headers"] if name == b"if-none-match"]
        if tags and confirms:
            said = replace(said, number=0, status=304, etag=tags[0], vary=())
        self.answers.append(said)
        return _reply(said)

    def _is_kept(self, asked: Asked, sent: Sent) -> bool:
        """Whether what the app has confirmed is renewed: if not, what is stored stays as it was, or goes."""
        if sent.asked:
            return "stored" in sent.response["cache-status"]
        return "authorization" not in asked.fields and "no-store" not in asked.control

    def _judge(self, asked: Asked, sent: Sent, now: float) -> None:
        number, answer = _number(sent), self.answers[0] if sent.asked else None
        if number is None or (answer is not None and answer.number == number):
            return  # nothing was reused
        why_not = self.model.why_not(number, asked, now) if answer is None else ""
        if answer is not None and answer.status == 304:
            why_not = self.model.why_not_at_all(number, asked)
        elif answer is not None:
            assert answer.status in (500, 503)
            now += answer.takes
            why_not = self.model.why_not(number, asked, now, failed=True)
        assert not why_not, f"{why_not}: {self.model.stored[number]} for {asked} at {now}: {sent.response}"
        self.reused += 1
        event("validated" if answer is not None and answer.status == 304 else "reused" if answer is None else "instead")
        if answer is None or answer.status != 304:
            assert sent.response["age"] == str(int(self.model.stored[number].age(now)))


def _number(sent: Sent) -> int | None:
    found = sent.response.all("x-number")
    return int(found[0]) if found else None


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=2, max_size=14))
async def test_nothing_is_reused_that_may_not_be(steps: list[Any]) -> None:
    async with Lab() as lab:
        play = Play(lab)
        for number, step in enumerate(steps, 1):
            await play.step(*step, number=number)


@settings(max_examples=60)
@given(st.data())
async def test_what_says_that_it_is_fresh_is_reused(data: st.DataObject) -> None:
    """The other way round: the app is asked once where nothing speaks against it."""
    said = data.draw(
        st.builds(
            Said, control=st.just({"max-age": 60}), vary=st.sampled_from([(), ("foo",)]), takes=st.sampled_from([0, 2])
        )
    )
    asked = data.draw(st.builds(Asked, st.just("/a"), FIELDS.filter(lambda fields: "authorization" not in fields)))
    async with Lab() as lab:
        play = Play(lab)
        for number in range(1, 6):
            await play.step(data.draw(st.sampled_from([0, 1, 5, 11])), "GET", asked, said, "", False, number)
        assert play.reused == 4
