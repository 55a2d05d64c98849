"""`examples/user_import.py`: one import of each user at a time, and a store that refuses older fences."""

import asyncio

import pytest

from asgi_redis_guard import LockBusy
from tests.drive import http_scope
from tests.examples.conftest import Load, Serve
from tests.middleware.calls import Call, settled


async def test_one_import_of_a_user_at_a_time_with_progress(load: Load, serve: Serve) -> None:
    module = load("user_import")
    async with serve(module.app) as visitor:
        ann, bob = await visitor.log_in("ann"), await visitor.log_in("bob")
        fields = [(b"authorization", ann["authorization"].encode())]
        first = Call(module.app, http_scope("/import", fields, method="POST", query_string=b"rows=1000")).start()
        assert (await first.sees("http.response.body"))["body"] == b"1 of 1000\n"
        refused = await visitor.post("/import", headers=ann)
        assert (refused.status_code, 0 < int(refused.headers["retry-after"]) <= 30) == (409, True)
        other = await visitor.post("/import?rows=3", headers=bob)
        assert (other.status_code, other.text) == (200, "1 of 3\n2 of 3\n3 of 3\n")
        first.feed({"type": "http.disconnect"})
        await asyncio.wait([first.task])
        await settled(module.redis)
        again = await visitor.post("/import?rows=2", headers=ann)
        assert (again.status_code, again.text) == (200, "1 of 2\n2 of 2\n")
        assert module.store.rows["bob"] == [0, 1, 2]
        assert module.store.rows["ann"][-2:] == [0, 1]
        await settled(module.redis)


async def test_a_store_refuses_who_has_lost_the_lock_and_does_not_know(load: Load, serve: Serve) -> None:
    module = load("user_import")
    async with serve(module.app) as visitor:
        ann = await visitor.log_in("ann")
        await visitor.post("/import?rows=1", headers=ann)
        old = module.store.fences["ann"]
        await settled(module.redis)
        await visitor.post("/import?rows=1", headers=ann)
        assert module.store.fences["ann"] > old
        with pytest.raises(module.StaleFence):
            module.store.write("ann", 99, old)
        assert 99 not in module.store.rows["ann"]
        await settled(module.redis)


async def test_a_job_runs_in_one_process_at_a_time(load: Load, serve: Serve) -> None:
    module = load("user_import")
    async with serve(module.app):
        module.store.rows["ann"] = [1, 2]
        async with module.redis.lock("nightly-cleanup", wait=0):
            with pytest.raises(LockBusy):
                await module.clean_up()
        assert (await module.clean_up(), module.store.rows) == (2, {})
