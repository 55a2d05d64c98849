"""One small app in each framework with decorated route functions, behind one limit for all.

Law: the apps know nothing of tests; `ran` notes which functions have run.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from litestar import Litestar
from litestar import get as litestar_get
from litestar.params import FromPath
from litestar.response import Stream
from pydantic import BaseModel
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_redis_guard import RateLimitMiddleware, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.ratelimit.decorator import rate_limit

ran: list[str] = []

limited = rate_limit("2/hour")


class Item(BaseModel):
    """What FastAPI makes a response of."""

    number: int
    words: str = "none"


async def chunks() -> AsyncIterator[bytes]:
    """A body in two parts."""
    yield b"one, "
    yield b"two"


async def timed(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Middleware of the kind that runs the app in a task group."""
    response = await call_next(request)
    response.headers["x-timed"] = "1"
    return response


def around(app: ASGIApp, redis: RedisManager) -> ASGIApp:
    """Put one limit in front of all."""
    return RateLimitMiddleware(app, "100/hour", name="all", redis=redis)


def starlette(redis: RedisManager, *, inside: bool = False) -> ASGIApp:
    @limited
    async def item(request: Request) -> JSONResponse:
        ran.append("item")
        return JSONResponse({"number": request.path_params["number"]})

    @limited
    def plain(request: Request) -> JSONResponse:
        ran.append("plain")
        return JSONResponse({"number": request.path_params["number"]})

    @rate_limit("2/hour", name="upper")
    @limited
    async def twice(request: Request) -> JSONResponse:
        return JSONResponse({})

    @limited
    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(chunks())

    async def free(request: Request) -> JSONResponse:
        return JSONResponse({})

    @limited
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    @limited
    async def word(socket: WebSocket) -> None:
        await socket.send_text(await socket.receive_text())

    async def words(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await word(socket)

    app = Starlette(
        routes=[
            Route("/items/{number:int}", item),
            Mount("/plain", routes=[Route("/{number:int}", plain)]),
            Route("/twice", twice),
            Route("/stream", stream),
            Route("/free", free),
            WebSocketRoute("/socket", socket),
            WebSocketRoute("/words", words),
        ]
    )
    if inside:
        app.add_middleware(BaseHTTPMiddleware, dispatch=timed)
        app.add_middleware(BaseHTTPMiddleware, dispatch=timed)
    return around(app, redis)


def starlette_in_task_groups(redis: RedisManager) -> ASGIApp:
    return starlette(redis, inside=True)


def fastapi(redis: RedisManager) -> ASGIApp:
    app = FastAPI()

    def doubled(number: int) -> int:
        return number * 2

    async def opened() -> AsyncIterator[str]:
        yield "open"
        ran.append("closed")

    @app.get("/items/{number}", response_model=Item, response_model_exclude={"words"})
    @limited
    async def item(number: int, double: Annotated[int, Depends(doubled)], words: str = "x") -> Any:
        ran.append("item")
        return Item(number=double // 2, words=words)

    @app.get("/plain/{number}")
    @limited
    def plain(number: int, state: Annotated[str, Depends(opened)]) -> dict[str, int]:
        ran.append("plain")
        return {"number": number}

    @app.get("/twice")
    @rate_limit("2/hour", name="upper")
    @limited
    async def twice() -> dict[str, str]:
        return {}

    @app.get("/stream")
    @limited
    async def stream() -> StreamingResponse:
        return StreamingResponse(chunks())

    @app.get("/free")
    async def free() -> dict[str, str]:
        return {}

    return around(app, redis)


def quart(redis: RedisManager) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/items/<int:number>")
    @limited
    async def item(number: int) -> dict[str, int]:
        ran.append("item")
        return {"number": number}

    @app.get("/plain/<int:number>")
    @limited
    def plain(number: int) -> dict[str, int]:
        ran.append("plain")
        return {"number": number}

    @app.get("/twice")
    @rate_limit("2/hour", name="upper")
    @limited
    async def twice() -> dict[str, str]:
        return {}

    @app.get("/stream")
    @limited
    async def stream() -> AsyncIterator[bytes]:
        return chunks()

    @app.get("/free")
    async def free() -> dict[str, str]:
        return {}

    return around(app, redis)  # type: ignore[arg-type]


def litestar(redis: RedisManager, to_thread: bool | None = None) -> ASGIApp:
    @litestar_get("/items/{number:int}")
    @limited
    async def item(number: FromPath[int]) -> dict[str, int]:
        ran.append("item")
        return {"number": number}

    @litestar_get("/plain/{number:int}", sync_to_thread=to_thread)
    @limited
    def plain(number: FromPath[int]) -> Item:
        ran.append("plain")
        return Item(number=number)

    @litestar_get("/twice")
    @rate_limit("2/hour", name="upper")
    @limited
    async def twice() -> dict[str, str]:
        return {}

    @litestar_get("/stream")
    @limited
    async def stream() -> Stream:
        return Stream(chunks())

    @litestar_get("/free")
    async def free() -> dict[str, str]:
        return {}

    app: Any = Litestar([item, plain, twice, stream, free], logging_config=None)
    return around(app, redis)


APPS: dict[str, Callable[[RedisManager], ASGIApp]] = {
    "starlette": starlette,
    "starlette, in task groups": starlette_in_task_groups,
    "fastapi": fastapi,
    "quart": quart,
    "litestar": litestar,
}
