"""One small app in each framework whose route functions are `@cached` and `@invalidates`, behind a cache.

Law: the apps know nothing of tests; `ran` notes which functions have run, and every answer has a number of its own.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, ClassVar

from fastapi import Depends, FastAPI
from litestar import Controller, Litestar
from litestar import get as litestar_get
from litestar import post as litestar_post
from litestar.params import FromPath
from litestar.response import Stream
from pydantic import BaseModel
from quart import Quart
from quart.views import MethodView
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route

from asgi_redis_guard import RedisManager, ResponseCacheMiddleware, cached, invalidates
from asgi_redis_guard.core.asgi import ASGIApp

ran: list[str] = []

kept = cached(300, tags=("items", "item:{number}"))
written = invalidates("item:{number}")


class Item(BaseModel):
    """What FastAPI and Litestar make a response of."""

    number: int
    made: int
    secret: str = "none"


def note(name: str) -> int:
    """Note that a function has run; return how many have."""
    ran.append(name)
    return len(ran)


async def chunks() -> AsyncIterator[bytes]:
    """A body in two parts."""
    yield b"one, "
    yield b"two"


def around(app: Any, redis: RedisManager) -> ASGIApp:
    """Put one cache in front of all."""
    return ResponseCacheMiddleware(app, redis=redis)


def starlette(redis: RedisManager) -> ASGIApp:
    @kept
    async def item(request: Request) -> JSONResponse:
        return JSONResponse({"number": request.path_params["number"], "made": note("item")})

    @kept
    def plain(request: Request) -> JSONResponse:
        return JSONResponse({"number": request.path_params["number"], "made": note("plain")})

    class View(HTTPEndpoint):
        @kept
        async def get(self, request: Request) -> JSONResponse:
            return JSONResponse({"number": request.path_params["number"], "made": note("view")})

        @written
        async def post(self, request: Request) -> JSONResponse:
            return JSONResponse({"made": note("view post")})

    @kept
    async def stream(request: Request) -> StreamingResponse:
        note("stream")
        return StreamingResponse(chunks())

    @written
    async def write(request: Request) -> JSONResponse:
        return JSONResponse({"made": note("write")})

    @written
    def write_plain(request: Request) -> JSONResponse:
        return JSONResponse({"made": note("write plain")})

    app = Starlette(
        routes=[
            Route("/items/{number:int}", item),
            Mount("/plain", routes=[Route("/{number:int}", plain)]),
            Route("/view/{number:int}", View),
            Route("/stream/{number:int}", stream),
            Route("/write/{number:int}", write, methods=["POST"]),
            Route("/write-plain/{number:int}", write_plain, methods=["POST"]),
        ]
    )
    return around(app, redis)


def fastapi_app() -> FastAPI:
    """The app without its cache, for what it says of itself."""
    app, inner = FastAPI(), FastAPI()

    def doubled(number: int) -> int:
        return number * 2

    async def opened() -> AsyncIterator[str]:
        yield "open"

    @app.get("/items/{number}", response_model=Item, response_model_exclude={"secret"})
    @kept
    async def item(number: int, double: Annotated[int, Depends(doubled)], words: str = "x") -> Any:
        """An item."""
        return Item(number=double // 2, made=note("item"), secret=words)

    @inner.get("/{number}")
    @kept
    def plain(number: int, state: Annotated[str, Depends(opened)]) -> dict[str, int]:
        return {"number": number, "made": note("plain")}

    class View:
        """FastAPI has no views of its own; this is how people write them."""

        async def get(self, number: int) -> Item:
            return Item(number=number, made=note("view"))

        async def post(self, number: int) -> None:
            note("view post")

    view = View()
    app.add_api_route("/view/{number}", kept(view.get), methods=["GET"])
    app.add_api_route("/view/{number}", written(view.post), methods=["POST"], status_code=204)

    @app.get("/stream/{number}")
    @kept
    async def stream(number: int) -> StreamingResponse:
        note("stream")
        return StreamingResponse(chunks())

    @app.post("/write/{number}")
    @written
    async def write(number: int) -> dict[str, int]:
        return {"made": note("write")}

    @app.post("/write-plain/{number}")
    @written
    def write_plain(number: int) -> dict[str, int]:
        return {"made": note("write plain")}

    app.mount("/plain", inner)
    return app


def fastapi(redis: RedisManager) -> ASGIApp:
    return around(fastapi_app(), redis)


def quart(redis: RedisManager) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/items/<int:number>")
    @kept
    async def item(number: int) -> dict[str, int]:
        return {"number": number, "made": note("item")}

    @app.get("/plain/<int:number>")
    @kept
    def plain(number: int) -> tuple[dict[str, int], int, dict[str, str]]:
        return {"number": number, "made": note("plain")}, 200, {"x-own": "1"}

    class View(MethodView):
        decorators: ClassVar[list[Any]] = []

        @kept
        async def get(self, number: int) -> dict[str, int]:
            return {"number": number, "made": note("view")}

        @written
        async def post(self, number: int) -> dict[str, int]:
            return {"made": note("view post")}

    app.add_url_rule("/view/<int:number>", view_func=View.as_view("view"))

    @app.get("/stream/<int:number>")
    @kept
    async def stream(number: int) -> AsyncIterator[bytes]:
        note("stream")
        return chunks()

    @app.post("/write/<int:number>")
    @written
    async def write(number: int) -> dict[str, int]:
        return {"made": note("write")}

    @app.post("/write-plain/<int:number>")
    @written
    def write_plain(number: int) -> dict[str, int]:
        return {"made": note("write plain")}

    return around(app, redis)


def litestar(redis: RedisManager) -> ASGIApp:
    @litestar_get("/items/{number:int}")
    @kept
    async def item(number: FromPath[int]) -> dict[str, int]:
        return {"number": number, "made": note("item")}

    @litestar_get("/plain/{number:int}", sync_to_thread=True)
    @kept
    def plain(number: FromPath[int]) -> Item:
        return Item(number=number, made=note("plain"))

    class View(Controller):
        path = "/view"

        @litestar_get("/{number:int}")
        @kept
        async def show(self, number: FromPath[int]) -> dict[str, int]:
            return {"number": number, "made": note("view")}

        @litestar_post("/{number:int}")
        @written
        async def change(self, number: FromPath[int]) -> dict[str, int]:
            return {"made": note("view post")}

    @litestar_get("/stream/{number:int}")
    @kept
    async def stream(number: FromPath[int]) -> Stream:
        note("stream")
        return Stream(chunks())

    @litestar_post("/write/{number:int}")
    @written
    async def write(number: FromPath[int]) -> dict[str, int]:
        return {"made": note("write")}

    @litestar_post("/write-plain/{number:int}", sync_to_thread=True)
    @written
    def write_plain(number: FromPath[int]) -> dict[str, int]:
        return {"made": note("write plain")}

    return around(Litestar([item, plain, View, stream, write, write_plain], logging_config=None), redis)


APPS: dict[str, Callable[[RedisManager], ASGIApp]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "quart": quart,
    "litestar": litestar,
}
