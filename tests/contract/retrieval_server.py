"""A retrieval service over three texts: `python -m tests.contract.retrieval_server PORT`. `/_arrivals` tells what came."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TEXTS = {
    "travel": "Second class is paid on trains under four hours.",
    "meals": "Meals are paid up to 40 euros a day.",
    "hotels": "Hotels are paid up to 150 euros a night.",
}


@dataclass
class Retrieval:
    """`arrivals`: questions with their header fields. `said`, where set, is answered instead of what was found."""

    arrivals: list[dict[str, Any]] = field(default_factory=list)
    said: bytes | None = None
    kind: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/search"

    async def search(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.arrivals.append({"asked": asked, "fields": {name.lower(): value for name, value in request.headers.items()}})
        await asyncio.sleep(self.delay_s)
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers, body=b"secret words about anna")
        if self.said is not None:
            return web.Response(body=self.said, headers={"content-type": self.kind, **self.headers})
        passages = [{"text": text, "source": {"id": name, "title": name.title()}, "score": 0.5} for name, text in TEXTS.items()]
        found = passages[: asked["most"]]
        return web.json_response({"answer": f"{asked['question']}: yes", "cites": [0], "passages": found, "took_ms": 3})

    async def told(self, _: web.Request) -> web.Response:
        return web.json_response(self.arrivals)


@asynccontextmanager
async def serving(retrieval: Retrieval, port: int = 0) -> AsyncIterator[Retrieval]:
    app = web.Application()
    app.add_routes([web.post("/v1/search", retrieval.search), web.get("/_arrivals", retrieval.told)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        retrieval.port = runner.addresses[0][1]
        yield retrieval
    finally:
        await runner.cleanup()


async def _forever(port: int) -> None:
    async with serving(Retrieval(), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1])))
