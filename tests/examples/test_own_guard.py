"""`examples/own_guard.py`."""

from asgi_redis_guard.testing import RoundTripCounter
from tests.examples.conftest import Load, Serve, stack_of
from tests.pace import Pace
from tests.servers import Server


async def test_the_switch_closes_and_opens_the_service(load: Load, serve: Serve, valkey: Server) -> None:
    app = load("own_guard").app
    async with serve(app) as visitor:
        opened = await visitor.get("/")
        assert (opened.status_code, opened.text) == (200, "open")

        valkey.command("SET", "guard:maintenance", "Back at noon", "EX", 600)
        closed = await visitor.get("/")
        assert (closed.status_code, closed.json()["detail"]) == (503, "Back at noon")
        assert 540 <= int(closed.headers["retry-after"]) <= 600

        valkey.command("DEL", "guard:maintenance")
        assert (await visitor.get("/")).status_code == 200
    assert stack_of(app.middleware_stack) == "<GuardMiddleware [maintenance + ratelimit]"


async def test_what_maintenance_stops_is_counted_by_no_limit(load: Load, serve: Serve, valkey: Server) -> None:
    async with serve(load("own_guard").app) as visitor:
        valkey.command("SET", "guard:maintenance", "Closed until further notice")
        refused = [await visitor.get("/") for _ in range(20)]
        assert {(response.status_code, response.headers["retry-after"]) for response in refused} == {(503, "1")}
        valkey.command("DEL", "guard:maintenance")
        pace = Pace(burst=10, every=6)
        while pace.lets_through((await visitor.get("/")).status_code):
            pass


async def test_both_guards_share_one_round_trip(load: Load, serve: Serve, redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, serve(load("own_guard", counter.url).app) as visitor:
        await visitor.get("/")
        counter.reset()
        assert (await visitor.get("/")).status_code == 200
        assert (counter.round_trips, counter.commands) == (1, [b"EVALSHA"])


async def test_without_redis_the_service_is_open(load: Load, serve: Serve, fresh_server: Server) -> None:
    async with serve(load("own_guard", fresh_server.url).app) as visitor:
        assert (await visitor.get("/")).status_code == 200
        fresh_server.kill()
        assert (await visitor.get("/")).status_code == 200
