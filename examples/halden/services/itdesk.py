"""Halden's IT service desk: `python -m examples.halden.services.itdesk --port 9103`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.halden.services import texts
from examples.halden.services.common import Answer, Asked, Operation, RefusedError, application, by_path, json_body, needs, run
from examples.halden.services.itdesk_book import Desk

_ACCOUNT = re.compile(r"\b[a-z]\.[a-z]{2,}\b")
_DEVICE = re.compile(r"\b(?:LT|PH|TB|BD)-?(\d{3,6})\b", re.IGNORECASE)
_SYSTEM = re.compile(
    r"\b(?:[a-z]+-)+[a-z0-9]*\d[a-z0-9]*\b|\b(?:jenkins|sap|salesforce|windows|linux|postgres|kubernetes|firewall|intune)\b", re.IGNORECASE
)
_TICKETS = ("request_software", "request_hardware", "vpn_problem", "printer_problem", "grant_shared_access", "report_phishing")
_MOST_EVENTS = 100


class Answers:
    """Free text to operations. Whoever asks is meant unless an account such as `a.keller` is named."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.by_intent: dict[str, Operation] = {
            "reset_password": lambda asked: desk.reset_password(_account(asked)),
            "unlock_account": lambda asked: desk.unlock(_account(asked)),
            "ticket_status": self.ticket_status,
            "grant_admin_access": self.grant_admin,
            "report_lost_device": self.lost_device,
            **dict.fromkeys(_TICKETS, self.open_ticket),
        }

    def open_ticket(self, asked: Asked) -> Answer:
        return self._desk.open_ticket(asked.intent, asked.subject, text=asked.text[:200])

    def ticket_status(self, asked: Asked) -> Answer:
        number = texts.reference("INC", asked.text)
        if number is None:
            return {**needs("the ticket number, such as INC-1001"), "open": sorted(self._desk.tickets)}
        return self._desk.ticket(number)

    def grant_admin(self, asked: Asked) -> Answer:
        system = _SYSTEM.search(asked.text)
        return self._desk.grant_admin(_account(asked), system[0].lower()) if system else needs("the system, such as db-prod-2")

    def lost_device(self, asked: Asked) -> Answer:
        device = _DEVICE.search(asked.text)
        return self._desk.block_device(device[0].upper()) if device else self.open_ticket(asked)


def _account(asked: Asked) -> str:
    named = _ACCOUNT.search(asked.text)
    return named[0] if named else asked.subject


async def _ticket_events(desk: Desk, wanted: int, pause: float) -> AsyncIterator[str]:
    tickets = list(desk.tickets.values())
    for position in range(wanted):
        ticket = tickets[position % len(tickets)]
        yield f"id: {position + 1}\nevent: ticket\ndata: {json.dumps(ticket)}\n\n"
        await asyncio.sleep(pause)


async def chat(socket: WebSocket) -> None:
    """Greets, then answers text with text and echoes bytes."""
    await socket.accept()
    await socket.send_text("itdesk: hello, how can we help?")
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await socket.send_text(f"itdesk: you said {message['text']}")
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return  # the caller vanished while we were answering


def _bounded(request: Request, name: str, default: float, most: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        raise RefusedError(422, f"{name} must be a number") from None
    if not 0 <= value <= most:
        raise RefusedError(422, f"{name} must be from 0 to {most:g}")
    return value


def build() -> Starlette:
    """Halden's IT service desk, with fresh state."""
    desk = Desk()

    async def events(request: Request) -> Response:
        wanted, pause = _bounded(request, "count", 5, _MOST_EVENTS), _bounded(request, "interval", 0.2, 5)
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_ticket_events(desk, int(wanted), pause), media_type="text/event-stream", headers=headers)

    async def grant_admin(request: Request) -> Response:
        body = await json_body(request)
        if not body.get("account") or not body.get("system"):
            raise RefusedError(422, "a grant needs account and system")
        return JSONResponse(desk.grant_admin(str(body["account"]), str(body["system"])), 201)

    routes = [
        Route("/tickets/{number}", by_path(desk.ticket)),
        Route("/admin-grants", grant_admin, methods=["POST"]),
        Route("/events", events),
        WebSocketRoute("/chat", chat),
    ]
    return application("itdesk", routes, Answers(desk).by_intent, desk.tally)


if __name__ == "__main__":
    run(build, 9103)
