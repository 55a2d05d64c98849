"""`by_hand` with the RateLimit headers that ours and the other peers send; `limits` reads them by further commands."""

import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response

from .by_hand import Claims, authenticate, lifespan, limiter, logout, rates

app = FastAPI(lifespan=lifespan)
app.post("/logout")(logout)


async def limited(response: Response, claims: Annotated[dict[str, Any], Depends(authenticate)]) -> None:
    for rate in rates:
        allowed = await limiter.hit(rate, "items", claims["sub"])
        stats = await limiter.get_window_stats(rate, "items", claims["sub"])
        reset = max(0, round(stats.reset_time - time.time()))
        headers = {"RateLimit": f'"{rate}";r={stats.remaining};t={reset}'}
        if not allowed:
            raise HTTPException(429, headers={**headers, "Retry-After": str(reset)})
        response.headers.append("RateLimit", headers["RateLimit"])


@app.get("/items/{id}", dependencies=[Depends(limited)])
async def item(id: int, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"]}
