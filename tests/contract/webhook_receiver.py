"""A receiver of webhooks that verifies them as the specification's own library does: `python -m tests.contract.webhook_receiver PORT`.

`/hook` takes what is signed with `SECRET`, once for each id; `/status/N` answers N; `/_arrivals` tells what came.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.needs import needs

needs("standardwebhooks", "pip install standardwebhooks")

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()
OTHER = "whsec_" + base64.b64encode(b"another one that is as long, yes").decode()


@dataclass
class Receiver:
    """`arrivals`: path, header fields and body of everything that came; `taken` the first body of each id."""

    arrivals: list[dict[str, Any]] = field(default_factory=list)
    taken: dict[str, bytes] = field(default_factory=dict)
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def hook(self, request: web.Request) -> web.Response:
        body, fields = await self._noted(request)
        try:
            Webhook(SECRET).verify(body, fields, json_parse=False)
        except WebhookVerificationError:
            return web.Response(status=401)
        self.taken.setdefault(fields["webhook-id"], body)
        return web.Response(status=200 if self.answer else 204, body=self.answer, headers=self.answer_headers)

    async def status(self, request: web.Request) -> web.Response:
        await self._noted(request)
        return web.Response(status=int(request.match_info["status"]), headers=self.answer_headers)

    async def told(self, request: web.Request) -> web.Response:
        return web.json_response(self.arrivals)

    async def _noted(self, request: web.Request) -> tuple[bytes, dict[str, str]]:
        body = await request.read()
        fields = {name.lower(): value for name, value in request.headers.items()}
        self.arrivals.append({"path": request.path_qs, "fields": fields, "body": body.decode("latin-1")})
        return body, fields

    def app(self) -> web.Application:
        made = web.Application()
        routes = [web.post("/hook/{rest:.*}", self.hook), web.post("/hook", self.hook), web.post("/status/{status}", self.status)]
        made.add_routes([*routes, web.get("/_arrivals", self.told)])
        return made


@asynccontextmanager
async def receiving(receiver: Receiver, port: int = 0, ssl: Any = None) -> AsyncIterator[Receiver]:
    runner = web.AppRunner(receiver.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl, reuse_address=True)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


async def _forever(port: int) -> None:
    async with receiving(Receiver(), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1])))
