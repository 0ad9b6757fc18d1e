"""The service behind this workspace: meeting rooms, in memory. `python service.py` serves it on 127.0.0.1:9001.

It stands for your own service. Lockgate tells it who asks (x-lockgate-subject) and for what (x-lockgate-intent).
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ROOMS = {"blue": 4, "green": 8, "large": 20}
bookings = {"4711": {"room": "blue", "at": "tomorrow 10:00"}, "20": {"room": "large", "at": "friday 14:00"}}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    status, answer = respond(scope["method"], scope["path"], dict(scope["headers"]), await body_of(receive))
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def respond(method: str, path: str, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, object]:
    booking = path.removeprefix("/bookings/")
    if path == "/healthz":
        return 200, {"ok": True}
    if (method, path) == ("GET", "/rooms"):
        return 200, {"rooms": ROOMS}
    if (method, path) == ("POST", "/ask"):
        intent = headers.get(b"x-lockgate-intent", b"").decode()
        return 200, {
            "intent": intent,
            "subject": headers.get(b"x-lockgate-subject", b"").decode(),
            "you_said": body.decode(errors="replace"),
        }
    if path.startswith("/bookings/") and booking in bookings:
        return 200, bookings.pop(booking) if method == "DELETE" else bookings[booking]
    return 404, {"error": "not found"}


async def body_of(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("ROOMS_PORT", "9001")), log_level="warning")
