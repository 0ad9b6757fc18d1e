"""A server that speaks OpenAI's chat protocol on loopback, well or badly; also `python -m tests.contract.llm_server PORT [ANSWER]`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

MODEL = "small-1b@2026-11"


@dataclass
class LlmServer:
    """`content` is what the model writes, `answered` how often it began to answer. The rest is how the server misbehaves."""

    content: str | None = '{"choice": "A"}'
    model: str | None = MODEL
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: bytes | None = None
    delay_s: float = 0.0
    endless: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 120, "completion_tokens": 8, "total_tokens": 128})
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    answered: int = 0
    arrived: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    sent_headers: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["method"] == "GET":  # the list of models, or for a test what was asked
            told = (
                list(zip(self.sent_headers, self.asked, strict=True)) if scope["path"] == "/_arrivals" else {"object": "list", "data": []}
            )
            await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": json.dumps(told).encode()})
            return
        asked = json.loads(body)
        self.asked.append(asked)
        self.arrived.put_nowait(None)
        self.sent_headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await asyncio.sleep(self.delay_s)
        self.answered += 1
        headers = [(b"content-type", b"application/json"), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._answer(asked) if self.raw is None else self.raw, "more_body": self.endless})
        if self.endless:
            await self._go_on(receive, send)

    async def _go_on(self, receive: Any, send: Any) -> None:
        """Until the caller is gone, which is seen only where the loop has a turn: sending to nobody takes none."""
        gone = asyncio.create_task(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b" " * 65_536, "more_body": True})
            await asyncio.sleep(0)

    def _answer(self, asked: dict[str, Any]) -> bytes:
        message = {"role": "assistant", "content": self.content, **self.more}
        answer: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": self.model, "usage": self.usage}
        answer["choices"] = [{"index": 0, "finish_reason": self.finish, "message": message}]
        return json.dumps({key: value for key, value in answer.items() if value is not None}).encode()


@asynccontextmanager
async def serving(server: LlmServer, port: int = 0) -> AsyncIterator[LlmServer]:
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # else asyncio leaves small answers waiting for each other
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        running = uvicorn.Server(uvicorn.Config(server, lifespan="off", log_level="error", timeout_graceful_shutdown=1))
        listener.listen()  # callers may come before the server is up
        task = asyncio.create_task(running.serve([listener]))
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            yield server
        finally:
            running.should_exit = True
            await task


async def _forever(port: int, content: str = "It is so.") -> None:
    async with serving(LlmServer(content=content), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1]), *sys.argv[2:]))
