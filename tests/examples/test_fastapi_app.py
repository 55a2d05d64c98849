"""`examples/fastapi_app.py`."""

from tests.examples.conftest import Load, Serve, stack_of


async def test_fastapi_walks_the_story_on_one_stack(load: Load, serve: Serve) -> None:
    app = load("fastapi_app").app
    async with serve(app) as visitor:
        await visitor.walk()
    assert stack_of(app.middleware_stack) == "<JWTAuthMiddleware [jwt + ratelimit]"


async def test_fastapi_keeps_tokens_without_the_scope_out(load: Load, serve: Serve) -> None:
    async with serve(load("fastapi_app").app) as visitor:
        alice, admin = await visitor.log_in("alice"), await visitor.log_in("admin")
        assert (await visitor.get("/reports", headers=alice)).status_code == 403
        await visitor.post("/logout", headers=alice)
        assert (await visitor.get("/reports", headers=admin)).json() == {"revoked": 1}
