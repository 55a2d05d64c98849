"""`examples/starlette_app.py`."""

from tests.examples.conftest import Load, Serve, stack_of


async def test_starlette_walks_the_story_on_one_stack(load: Load, serve: Serve) -> None:
    app = load("starlette_app").app
    async with serve(app) as visitor:
        await visitor.walk()
    assert stack_of(app.middleware_stack) == "<JWTAuthMiddleware [jwt + ratelimit]"
