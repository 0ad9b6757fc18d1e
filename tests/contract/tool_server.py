"""A server of tools from the MCP library itself: `python -m tests.contract.tool_server PORT`.

What is asked says how `answer` behaves; `/_arrivals` tells what came.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.needs import needs

needs("mcp", "pip install 'lockgate[mcp]'")

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

LONG = 200_000
logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it tells each failing tool at length


class Said(BaseModel):
    said: str
    times: int


@dataclass
class Tools:
    """`arrivals`: arguments, `_meta` and header fields of each call. `status`: what every POST is answered with, unless 0;
    `failing` and `failing_calls`: how many POSTs, and how many that call a tool, are answered with 503."""

    arrivals: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    failing: int = 0
    failing_calls: int = 0
    retry_after: str = ""
    url: str = ""
    without: bool = False

    def server(self) -> MCPServer[Any]:
        made = MCPServer("tools", log_level="CRITICAL")
        if not self.without:
            made.add_tool(self.answer, name="answer", description="Answers a question.")
        made.add_tool(self.plain, name="plain", description="Answers in words.", structured_output=False)

        @made.custom_route("/_arrivals", methods=["GET"])
        async def told(_: Request) -> JSONResponse:
            return JSONResponse(self.arrivals)

        return made

    async def answer(self, question: str, context: Context, times: int = 1) -> Said:
        self._note(question, times, context)
        if question == "slow":
            await asyncio.sleep(60)
        if question == "fail":
            raise ToolError("secret words about anna")
        return Said(said="x" * LONG if question == "long" else f"{question}!", times=times)

    async def plain(self, question: str, context: Context) -> str:
        self._note(question, 1, context)
        return f"{question}!"

    def _note(self, question: str, times: int, context: Context) -> None:
        request = context.request_context
        meta = dict(request.meta or {})
        self.arrivals.append({"arguments": {"question": question, "times": times}, "meta": meta, "fields": dict(context.headers or {})})


class _Refusing:
    """Before the server's own application."""

    def __init__(self, tools: Tools, app: Any) -> None:
        self.tools, self.app = tools, app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = self._status(scope) if scope["type"] == "http" and scope["method"] == "POST" else 0
        if status:
            headers = [(b"retry-after", self.tools.retry_after.encode())] if self.tools.retry_after else []
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"secret words about anna"})
            return
        await self.app(scope, receive, send)

    def _status(self, scope: Any) -> int:
        calls = dict(scope["headers"]).get(b"mcp-method") == b"tools/call"
        if calls and self.tools.failing_calls:
            self.tools.failing_calls -= 1
            return 503
        if self.tools.failing:
            self.tools.failing -= 1
            return 503
        return self.tools.status


@asynccontextmanager
async def serving(tools: Tools, port: int = 0, **more: Any) -> AsyncIterator[Tools]:
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        app = _Refusing(tools, tools.server().streamable_http_app(**more))
        running = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        task = asyncio.create_task(running.serve([listener]))
        tools.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        try:
            yield tools
        finally:
            running.should_exit = True
            await task


async def _forever(port: int) -> None:
    async with serving(Tools(), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1])))
