"""An agent, by the A2A library's own server: `python -m tests.contract.agent_server PORT`.

What it is told says how it behaves; `/_arrivals` tells what came.
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

needs("a2a", "pip install 'lockgate[a2a]'")

from a2a.helpers.proto_helpers import new_message, new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, TaskState
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

logging.getLogger("a2a").setLevel(logging.CRITICAL)  # it tells each failing task at length
LONG = 200_000


@dataclass
class Agent(AgentExecutor):
    """`arrivals`: parts, metadata, id and header fields of each message; `cancelled` the ids of tasks that were. `failing`: how many
    POSTs are answered with `status`. `elsewhere`: the card names another host."""

    arrivals: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    failing: int = 0
    status: int = 503
    elsewhere: bool = False
    legacy: bool = False
    url: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __hash__(self) -> int:
        return id(self)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message is not None
        told = json_format.MessageToDict(message)
        self.arrivals.append({"fields": dict(context.call_context.state.get("headers", {})), **told})
        self.arrived.set()
        said = context.get_user_input()
        answer = [Part(text="x" * LONG)] if said == "long" else list(message.parts)
        if said == "at once":
            await event_queue.enqueue_event(new_message(answer))
            return
        task = new_task_from_user_message(message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        await asyncio.sleep(60 if said == "slow" else 0.1)
        await self._end(said, updater, answer)

    async def _end(self, said: str, updater: TaskUpdater, answer: list[Part]) -> None:
        secret = updater.new_agent_message([Part(text="secret words about anna")])
        if said == "fail":
            await updater.failed(secret)
        elif said == "reject":
            await updater.reject(secret)
        elif said == "ask":
            await updater.update_status(TaskState.TASK_STATE_INPUT_REQUIRED, secret)
        else:
            await updater.add_artifact(answer)
            await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.cancelled.append(str(context.task_id))
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()

    def card(self) -> AgentCard:
        url = "http://elsewhere.example/a2a" if self.elsewhere else f"{self.url}/a2a"
        version = "0.3" if self.legacy else "1.0"
        return AgentCard(
            name="echo",
            description="Says it again.",
            version="1",
            supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)],
            capabilities=AgentCapabilities(streaming=True),
            default_input_modes=["text/plain"],
            default_output_modes=["text/plain"],
            skills=[AgentSkill(id="echo", name="echo", description="Says it again.", tags=["echo"])],
        )

    def app(self) -> Any:
        card = self.card()
        handler = DefaultRequestHandlerV2(self, InMemoryTaskStore(), card)

        async def told(_: Request) -> JSONResponse:
            return JSONResponse(self.arrivals)

        rpc = create_jsonrpc_routes(handler, "/a2a", enable_v0_3_compat=self.legacy)
        return _Failing(self, Starlette(routes=[*rpc, *create_agent_card_routes(card), Route("/_arrivals", told)]))


class _Failing:
    def __init__(self, agent: Agent, app: Any) -> None:
        self.agent, self.app = agent, app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self.agent.failing:
            self.agent.failing -= 1
            await send({"type": "http.response.start", "status": self.agent.status, "headers": [(b"retry-after", b"0")]})
            await send({"type": "http.response.body", "body": b"secret words about anna"})
            return
        await self.app(scope, receive, send)


@asynccontextmanager
async def serving(agent: Agent, port: int = 0, url: str | None = None) -> AsyncIterator[Agent]:
    """`url` is what its card names, where that is not where it listens."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        agent.url = url or f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = uvicorn.Server(uvicorn.Config(agent.app(), log_level="critical", timeout_graceful_shutdown=1))
        task = asyncio.create_task(running.serve([listener]))
        try:
            yield agent
        finally:
            running.should_exit = True
            await task


async def _forever(port: int) -> None:
    async with serving(Agent(), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1])))
