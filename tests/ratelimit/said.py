"""What responses say of limits, and requests one after the other."""

from typing import Any

from tests.drive import Response, get
from tests.ratelimit.structured import parse_list


async def statuses(app: Any, *paths: str, **options: Any) -> list[int]:
    """Send a request to each path, one after the other."""
    return [(await get(app, path, **options)).status for path in paths]


async def times(app: Any, count: int, path: str = "/", **options: Any) -> list[int]:
    """Send so many requests to one path."""
    return await statuses(app, *[path] * count, **options)


def left(response: Response) -> dict[str, int]:
    """What the response says is left, by limit."""
    return {name: state["r"] for name, state in parse_list(response["ratelimit"])}
