"""The rooms of a small office, as a service that has every request decided by Lockgate before it does anything.

uvicorn --factory examples.rooms.app:from_environment --port 9002
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from lockgate.asgi import DecisionMiddleware, HeldRequest, Reporter, Rule, decision_of, requires_decision
from lockgate.client import AsyncClient, Decision, Subject


class Message(BaseModel):
    message: str


class Desk:
    """What there is to book, and what waits for a person."""

    def __init__(self) -> None:
        self.rooms = ["Alder", "Birch", "Cedar"]
        self.bookings = {"12": "Alder", "13": "Birch"}
        self.held: list[HeldRequest] = []


async def settle(desk: Desk, client: AsyncClient) -> None:
    """What a job runs every few seconds: does what people have approved, once, says so, and forgets what they have not."""
    for request in list(desk.held):
        review = await client.review(request.decision)
        if review.waiting:
            continue
        if review.released and request.method == "DELETE":
            desk.bookings.pop(request.path.removeprefix("/bookings/"), None)
            await client.report(request.decision, source="rooms", kind="com.example.booking.cancelled")
        desk.held.remove(request)


def caller(connection: HTTPConnection) -> Subject | None:
    """Whom the proxy in front has authenticated: it sets these, and takes them away from everybody else."""
    name = connection.headers.get("x-user")
    roles = connection.headers.get("x-roles", "").split()
    return Subject(name, roles=tuple(roles)) if name else None


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]


def make_app(client: AsyncClient, reporter: Reporter | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(title="Rooms", lifespan=lifespan)
    app.state.desk, app.state.lockgate = Desk(), client
    app.add_middleware(
        DecisionMiddleware,
        client=client,
        subject=caller,
        rules=[Rule("/healthz", decide=False), Rule("/assistant", decide=False)],
        held=app.state.desk.held.append,  # a real service keeps it on disk
        held_at="/held",
        reporter=reporter,
    )

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/rooms")
    async def rooms(desk: TheDesk) -> list[str]:
        return desk.rooms

    @app.get("/bookings/{number}")
    async def booking(number: str, desk: TheDesk) -> str:
        if number not in desk.bookings:
            raise HTTPException(404)
        return desk.bookings[number]

    @app.delete("/bookings/{number}")
    @requires_decision(intent="cancel_booking")  # the middleware's decision, held to what this endpoint does
    async def cancel(number: str, desk: TheDesk) -> str:
        return desk.bookings.pop(number, "nothing")

    @app.post("/ask")
    async def ask(request: Request) -> dict[str, str | None]:
        """Plain words; what they mean has been decided."""
        decision = decision_of(request)
        return {"intent": decision.intent if decision is not None else None}

    @app.post("/assistant")
    @requires_decision(
        intent={"find_room", "book_room"},
        min_confidence=0.8,
        text=lambda request, asked: asked.message,  # only this part of the body is a request
        subject=caller,
    )
    def assistant(asked: Message, decision: Decision, desk: TheDesk) -> dict[str, str]:
        return {"intent": str(decision.intent), "room": desk.rooms[0]}

    return app


def from_environment() -> FastAPI:
    client = AsyncClient(
        os.environ["LOCKGATE_URL"],
        api_key=os.environ["LOCKGATE_KEY"],
        control_url=os.environ["LOCKGATE_CONTROL_URL"],
        control_key=os.environ["LOCKGATE_CONTROL_KEY"],
    )
    return make_app(client, Reporter(client, "rooms"))
