"""The app in the background: after a stored response (`Answer.background`), or once more (`Control.rerun`)."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import PASS, Answer, Ask, Control, Exchange, GuardMiddleware, Pass, Responder
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Admission, Asking, RequestEdits
from tests.guards import Does, Ends, Watches, answering, asking, count, passing
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled

STALE = (200, [(b"x-cache", b"stale")], b"stale")


class App:
    """Runs until it is told to go on; keeps what it saw."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.running = asyncio.Event()
        self.scopes: list[Scope] = []
        self.received: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.received.append(await receive())
        self.running.set()
        await self.go_on.wait()
        await responding(b"fr", b"esh")(scope, receive, send)


def stale(background: Responder) -> Does:
    """A guard that answers at once and has the app run once more."""
    return answering(Answer(*STALE, background=background), name="cache")


async def test_the_client_is_answered_at_once_and_the_responder_alone_sees_the_new_response(redis: TestRedis) -> None:
    app, fill, outer = App(), Watches("fill"), Watches("outer")
    call = await Call(GuardMiddleware(app, [passing(outer), stale(fill)], redis=redis)).run()
    assert (call.status, call.body) == (200, b"stale")
    assert outer.kinds == ["refused"]
    await app.running.wait()
    assert fill.chunks == []
    app.go_on.set()
    await settled(redis)
    assert fill.chunks == [(b"fr", True), (b"esh", False)]
    assert (fill.kinds, outer.kinds, outer.chunks) == (["complete"], ["refused"], [(b"stale", False)])
    assert call.kinds == ["http.response.start", "http.response.body"]


async def test_the_app_gets_an_empty_body_and_never_hears_of_the_client(redis: TestRedis) -> None:
    app = App()
    call = Call(GuardMiddleware(app, [stale(Ends())], redis=redis), http(), GONE)
    await call.run()
    app.go_on.set()
    await settled(redis)
    assert app.received == [{"type": "http.request", "body": b"", "more_body": False}]


async def test_it_survives_the_request_s_cancellation_and_aclose_waits_for_it() -> None:
    redis, app, fill = TestRedis(), App(), Watches()
    stopping = asyncio.Event()

    async def server() -> None:
        await Call(GuardMiddleware(app, [stale(fill)], redis=redis)).app()
        stopping.set()
        await asyncio.Event().wait()

    serving = asyncio.ensure_future(server())
    await stopping.wait()
    serving.cancel()
    await app.running.wait()
    closing = asyncio.ensure_future(redis.aclose())
    await asyncio.sleep(0)
    app.go_on.set()
    await closing
    assert fill.kinds == ["complete"]


async def test_only_the_guards_behind_the_answer_run_again(redis: TestRedis) -> None:
    app = App()
    app.go_on.set()
    guards = [asking(count("before")), stale(Ends()), asking(count("behind"))]
    await Call(GuardMiddleware(app, guards, redis=redis)).run()
    await settled(redis)
    assert [await redis.value("before"), await redis.value("behind")] == [b"1", b"1"]
    assert len(app.scopes) == 1


async def test_guards_behind_know_what_the_guards_before_the_answer_found(redis: TestRedis) -> None:
    found: list[Any] = []

    def tell(exchange: Exchange) -> Admission:
        return Pass({"user": "alice"}, scope={"user": "alice"})
        yield

    def look(exchange: Exchange) -> Admission:
        found.append(exchange.facts.get("user"))
        return PASS
        yield

    app = App()
    app.go_on.set()
    guards = [
        Does(tell, name="jwt", provides=frozenset(["user"])),
        stale(Ends()),
        Does(look, name="limit", needs=frozenset(["user"])),
    ]
    await Call(GuardMiddleware(app, guards, redis=redis)).run()
    await settled(redis)
    assert found == ["alice"]
    assert app.scopes[0]["user"] == "alice"


async def test_a_refusal_behind_is_what_the_responder_sees(redis: TestRedis) -> None:
    fill = Watches()
    guards = [stale(fill), asking(count("a", stopping=True))]
    await Call(GuardMiddleware(App(), guards, redis=redis)).run()
    await settled(redis)
    assert fill.heads == [(429, None)]


async def test_an_app_that_fails_in_the_background_is_logged_and_the_responder_hears_of_it(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("in the background")

    fill = Ends()
    assert (await Call(GuardMiddleware(app, [stale(fill)], redis=redis)).run()).status == 200
    await settled(redis)
    assert fill.kinds == ["error"]
    assert "in the background" in caplog.text


async def test_a_responder_may_cancel_a_run_in_the_background(redis: TestRedis) -> None:
    class Cancels(Ends):
        control: Control

        def bind(self, control: Control) -> None:
            self.control = control

    app, fill = App(), Cancels()
    await Call(GuardMiddleware(app, [stale(fill)], redis=redis)).run()
    await app.running.wait()
    fill.control.cancel(Answer(500, []))
    await settled(redis)
    assert [(outcome.kind, outcome.status) for outcome in fill.outcomes] == [("complete", 500)]


async def test_a_rerun_is_detached_from_the_client_and_seen_by_its_own_responder(redis: TestRedis) -> None:
    class Reruns(Ends):
        def __init__(self) -> None:
            super().__init__()
            self.second = Watches()

        def bind(self, control: Control) -> None:
            control.rerun(self.second)

    app, reruns = App(), Reruns()
    call = Call(GuardMiddleware(app, [passing(reruns)], redis=redis)).start()
    await app.running.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    app.go_on.set()
    await settled(redis)
    assert (reruns.kinds, reruns.second.kinds) == (["cancelled"], ["complete"])
    assert reruns.second.chunks == [(b"fr", True), (b"esh", False)]
    assert call.sent == []
    assert len(app.scopes) == 2
    assert app.scopes[0] is not app.scopes[1]


async def test_edits_are_made_for_the_run_in_the_background_alone(redis: TestRedis) -> None:
    app, seen = App(), []

    def look(exchange: Exchange) -> Admission:
        seen.append(exchange.header(b"if-none-match"))
        return PASS
        yield

    app.go_on.set()
    edits = RequestEdits(frozenset((b"if-none-match", b"range")), ((b"if-none-match", b'"stored"'),))
    answer = Answer(*STALE, background=Ends(), edits=edits)
    scope = http(headers=[(b"host", b"test"), (b"if-none-match", b'"mine"'), (b"range", b"bytes=0-1")])
    guards = [answering(answer, name="cache"), Does(look, name="behind")]
    await Call(GuardMiddleware(app, guards, redis=redis), scope).run()
    await settled(redis)
    assert app.scopes[0]["headers"] == [(b"host", b"test"), (b"if-none-match", b'"stored"')]
    assert scope["headers"][1:] == [(b"if-none-match", b'"mine"'), (b"range", b"bytes=0-1")]
    assert seen == [b'"stored"']


async def test_it_runs_though_the_client_has_left_before_the_answer_was_sent(redis: TestRedis) -> None:
    app, fill = App(), Watches()
    app.go_on.set()
    call = Call(GuardMiddleware(app, [stale(fill)], redis=redis))
    call.fails = ConnectionResetError("gone")
    with pytest.raises(ConnectionResetError):
        await call.run()
    await settled(redis)
    assert (len(app.scopes), fill.kinds) == (1, ["complete"])


async def test_what_a_responder_performs_is_done_whatever_becomes_of_the_exchange(redis: TestRedis) -> None:
    class Performs(Ends):
        def bind(self, control: Control) -> None:
            def flow() -> Asking:
                yield Ask([count("performed")])

            control.spawn(flow())

    app, performs = App(), Performs()
    call = Call(GuardMiddleware(app, [passing(performs)], redis=redis)).start()
    await app.running.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    await settled(redis)
    assert await redis.value("performed") == b"1"


async def test_what_fails_in_what_is_performed_is_logged(redis: TestRedis, caplog: pytest.LogCaptureFixture) -> None:
    class Performs(Ends):
        def bind(self, control: Control) -> None:
            def flow() -> Asking:
                yield Ask([count("performed")])
                raise LookupError("afterwards")

            control.spawn(flow())

    app = App()
    app.go_on.set()
    assert (await Call(GuardMiddleware(app, [passing(Performs())], redis=redis)).run()).status == 200
    await settled(redis)
    assert "afterwards" in caplog.text
