"""A session that turns up on another device: told, recorded once, or ended, as its option says."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.authentication import AuthCredentials, SimpleUser

from asgi_redis_guard import DeviceBinding, GuardMiddleware, RedisManager, SecurityEvent, SecurityEvents, Sessions
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.sessions.binding import FIELD
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, Response, get, handshake
from tests.redis.tools import PATIENCE
from tests.sessions.agents import ANDROID, CHROME, EDGE, FIREFOX, NEWER, SAFARI

Act = Callable[[dict[str, Any]], object]


class Site:
    """An app behind a session and its binding, and a browser that keeps the cookie."""

    def __init__(self, redis: RedisManager, **options: Any) -> None:
        self.heard: list[SecurityEvent] = []
        self.events = SecurityEvents(redis, hooks=[self.heard.append])
        self.inner = App()
        guards = (Sessions(), DeviceBinding(**({"events": self.events} | options)))
        self.stack = GuardMiddleware(self._app, guards, redis=redis)
        self.act: Act | None = None
        self.replacement: dict[str, Any] | None = None
        self.cookie = ""

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.found = {name: value for name, value in scope["session"].items() if name != FIELD}
        self.changed = scope["device_changed"]
        self.user = scope["user"]
        self.scopes = scope["auth"].scopes
        if self.replacement is not None:
            scope["session"] = dict(self.replacement)
        await self.plain(scope, receive, send)

    async def plain(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app without a look at what was found."""
        if self.act is not None:
            self.act(scope["session"])
        await self.inner(scope, receive, send)

    async def visit(self, agent: str = CHROME, act: Act | None = None, **more: Any) -> Response:
        """Send one request from a browser; what the response sets is kept for the next."""
        self.act = act
        headers = {"user-agent": agent} | ({"cookie": self.cookie} if self.cookie else {})
        response = await get(self.stack, headers=headers | more.pop("headers", {}), **more)
        for field in response.all("set-cookie"):
            self.cookie = field.partition(";")[0]
        return response

    async def log_in(self, agent: str = CHROME, user: str = "ann") -> None:
        """Make a session for the user."""
        await self.visit(agent, lambda session: session.update(user_id=user))


async def test_the_same_device_is_told_so_also_after_an_update(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    assert (await site.visit()).all("set-cookie") == []
    await site.visit(NEWER)
    assert (site.found, site.changed, site.heard) == ({"user_id": "ann"}, (), [])


async def test_another_device_is_told_to_the_app_and_recorded_once(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    for _ in range(3):
        await site.visit(FIREFOX)
        assert (site.found, site.changed) == ({"user_id": "ann"}, ("browser", "platform"))
    await site.visit()
    assert site.changed == ()
    await site.visit(ANDROID)
    assert site.changed == ("platform",)
    await site.visit(FIREFOX)
    recorded = await site.events.query("ann")
    assert recorded == site.heard[::-1]
    assert [(event.kind, event.details["changed"]) for event in recorded] == [
        ("new_device", ["platform"]),
        ("new_device", ["browser", "platform"]),
    ]
    details = recorded[1].details
    assert (details["address"], details["agent"]) == ("203.0.113.7", FIREFOX)
    assert details["session"] not in site.cookie


async def test_signals_that_are_not_bound_are_told_and_no_more(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    await site.visit(client=("198.51.100.1", 1), headers={"accept-language": "fr"})
    assert (site.found, site.changed, site.heard) == ({"user_id": "ann"}, ("language", "network"), [])


async def test_by_policy_a_session_on_another_device_ends_there_and_everywhere(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    stolen = site.cookie
    response = await site.visit(FIREFOX)
    assert (site.found, site.changed) == ({}, ("browser", "platform"))
    assert "Max-Age=0" in response["set-cookie"]
    site.cookie = stolen
    await site.visit()
    assert site.found == {}
    assert [(event.kind, event.details["changed"]) for event in await site.events.query("ann")] == [
        ("revoked", ["browser", "platform"])
    ]


async def test_nobody_is_logged_in_by_a_session_that_was_ended(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    await site.visit()
    assert (site.user.identity, site.scopes) == ("ann", ["authenticated"])
    await site.visit(FIREFOX)
    assert (site.user.is_authenticated, site.scopes) == (False, [])


async def test_whom_a_token_has_told_stays_who_it_is(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    known = SimpleUser("bob")
    await site.log_in()
    await site.visit(FIREFOX, user=known, auth=AuthCredentials(["read"]))
    assert (site.found, site.user, site.scopes) == ({}, known, ["read"])


async def test_a_handshake_from_another_device_ends_the_session_too(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    headers = {"cookie": site.cookie, "user-agent": FIREFOX, "origin": "http://x.test", "host": "x.test"}
    await handshake(site.stack, headers=headers)
    assert (site.found, site.user.is_authenticated) == ({}, False)
    await site.visit()
    assert site.found == {}


async def test_what_is_bound_can_be_chosen(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke", bound="network")
    await site.log_in()
    await site.visit(FIREFOX)
    assert site.found == {"user_id": "ann"}
    await site.visit(client=("198.51.100.1", 1))
    assert site.found == {}


async def test_who_logs_in_where_a_session_was_ended_gets_one_of_this_device(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    await site.log_in(FIREFOX)
    await site.visit(FIREFOX)
    assert (site.found, site.changed) == ({"user_id": "ann"}, ())


async def test_a_login_binds_the_session_anew(redis: RedisManager) -> None:
    site = Site(redis)
    await site.visit(SAFARI, lambda session: session.update(cart=[1]))
    await site.log_in(FIREFOX)
    assert site.changed == ("browser", "platform")
    await site.visit(FIREFOX)
    assert (site.found, site.changed, site.heard) == ({"cart": [1], "user_id": "ann"}, (), [])
    await site.log_in(EDGE, "bob")
    await site.visit(EDGE)
    assert site.changed == ()


async def test_a_session_from_before_is_bound_to_where_it_is_seen_first(redis: RedisManager) -> None:
    site = Site(redis)
    bound, site.stack = site.stack, GuardMiddleware(site.plain, [Sessions()], redis=redis)
    await site.log_in()
    site.stack = bound
    await site.visit(SAFARI)
    assert (site.found, site.changed) == ({"user_id": "ann"}, ())
    await site.visit(FIREFOX)
    assert site.changed == ("browser", "platform")


async def test_an_app_does_not_take_the_binding_off_by_writing_over_the_session(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    await site.visit(act=lambda session: session.pop(FIELD))
    await site.visit(FIREFOX)
    assert site.changed == ("browser", "platform")


async def test_what_an_app_puts_into_the_scope_instead_is_bound_too(redis: RedisManager) -> None:
    site = Site(redis)
    site.replacement = {"user_id": "ann", "color": "blue"}
    await site.visit()
    site.replacement = None
    await site.visit(FIREFOX)
    assert (site.found, site.changed) == ({"user_id": "ann", "color": "blue"}, ("browser", "platform"))


async def test_nobody_s_session_stays_nothing(redis: RedisManager) -> None:
    site = Site(redis)
    assert (await site.visit()).all("set-cookie") == []
    assert await redis.execute("DBSIZE") == 0
    assert site.changed == ()


async def test_a_session_that_the_app_has_emptied_holds_nothing_of_ours(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    await site.visit(act=lambda session: session.pop("user_id"))
    await site.visit(FIREFOX)
    assert (site.found, site.changed) == ({}, ())


async def test_a_thief_cannot_flood_the_log(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    for number in range(20):
        await site.visit(f"agent-{number}/1")
        assert "browser" in site.changed
    assert len(await site.events.query("ann")) == len(site.heard) == 8


async def test_without_a_log_a_change_is_told_all_the_same(redis: RedisManager) -> None:
    site = Site(redis, events=None)
    await site.log_in()
    await site.visit(FIREFOX)
    assert site.changed == ("browser", "platform")


async def test_a_log_that_takes_nothing_lets_the_change_be_told_and_hooks_hear_of_it(redis: RedisManager) -> None:
    site = Site(redis, on_change="revoke")
    await site.log_in()
    await redis.execute("SET", site.events.operation("ann", "login", {}).keys[0], "x")
    await site.visit(FIREFOX)
    assert (site.found, site.changed) == ({}, ("browser", "platform"))
    assert [(event.kind, event.id) for event in site.heard] == [("revoked", "")]


async def test_a_change_that_could_not_be_recorded_is_the_next_time(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    (stream,) = site.events.operation("ann", "login", {}).keys
    await redis.execute("SET", stream, "x")
    await site.visit(FIREFOX)
    await redis.execute("DEL", stream)
    await site.visit(FIREFOX)
    assert [bool(event.id) for event in site.heard] == [False, True]


async def test_a_handshake_is_compared_too(redis: RedisManager) -> None:
    site = Site(redis)
    await site.log_in()
    headers = {"cookie": site.cookie, "user-agent": FIREFOX, "origin": "http://x.test", "host": "x.test"}
    assert (await handshake(site.stack, headers=headers)).status == 101
    assert site.changed == ("browser", "platform")
    assert len(site.heard) == 1


async def test_comparing_costs_no_round_trip_and_a_change_one(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        site = Site(manager)
        await site.log_in()
        await site.visit(FIREFOX)  # the scripts are loaded now
        seen = []
        for agent in (CHROME, FIREFOX, EDGE, EDGE):
            counter.reset()
            await site.visit(agent)
            seen.append(counter.round_trips)
        assert seen == [1, 1, 3, 1], "an event, and the note in the session that it was recorded"


async def test_without_sessions_it_is_nothing() -> None:
    async with RedisManager("memory://") as manager:
        app: ASGIApp = App()
        response = await get(GuardMiddleware(app, [DeviceBinding()], redis=manager))
        assert response.status == 200


@pytest.mark.parametrize(
    ("option", "value"), [("on_change", "kill"), ("bound", ()), ("bound", ("ears",)), ("key", "short")]
)
def test_options_that_cannot_work_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}: "):
        DeviceBinding(**{option: value})


def test_it_says_what_it_does() -> None:
    assert repr(DeviceBinding()) == "<DeviceBinding devices: observe browser, platform>"
