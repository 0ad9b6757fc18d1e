"""A server on this machine that says what a test wrote down, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer that is made from the question."""

    to: Callable[[Any], bytes]


Say = bytes | Reply | Callable[[socket.socket], None]

DECISION: dict[str, Any] = {
    "version": 1,
    "id": "019ab9d0-1111-7000-8000-000000000001",
    "decided_at_ns": 1,
    "request": {"id": "r", "door": "decide", "method": "POST", "host": "", "path": "/"},
    "subject": {"id": "anna", "type": "user", "roles": [], "groups": [], "tenant": None, "authenticated_by": "delegated"},
    "signals": {},
    "classification": {
        "status": "classified",
        "intent": "pay",
        "confidence": 0.9,
        "threshold": 0.5,
        "candidates": [{"intent": "pay", "confidence": 0.9, "raw": 1.0}],
        "tier": "static",
        "reason": "",
    },
    "risk": {"level": "low", "score": 0.1, "contributions": {}},
    "admission": {},
    "verdict": {"effect": "allow", "reasons": [{"code": "rbac.granted", "message": "granted"}], "obligations": []},
    "route": {"name": "plain", "destination": "service", "why": "intent"},
    "outcome": None,
    "problem": None,
    "trace_id": None,
}


def http(status: int, body: Any = None, **fields: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    names = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\n{names}\r\n".encode() + data


def told(**changes: Any) -> bytes:
    return http(200, {**DECISION, **changes})


def ended(result: str, status: int, reason: str, effect: str, **more: Any) -> bytes:
    verdict = {"effect": effect, "reasons": [{"code": reason, "message": "not so"}], "obligations": []}
    problem = {"type": f"urn:lockgate:problem:{reason}", "status": status, "code": reason, "title": "No", "detail": "Not so."}
    return told(outcome={"result": result, "status": status, "reason": reason, **more}, verdict=verdict, problem=problem)


class Peer:
    """`says` is used up from the front; its last entry stays. `asked` are (head, body)."""

    def __init__(self, *says: Say) -> None:
        self._says = list(says)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.asked: list[tuple[str, bytes]] = []
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def questions(self) -> list[Any]:
        return [json.loads(body) for _, body in self.asked]

    def fields(self, place: int = 0) -> Mapping[str, str]:
        lines = self.asked[place][0].split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}

    def wait(self) -> None:
        """Until the test is over."""
        self._over.wait(20)

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._speak, args=(connection,), daemon=True).start()

    def _speak(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while (request := _read(connection)) is not None:
                self.asked.append(request)
                say = self._says[0] if len(self._says) == 1 else self._says.pop(0)
                if isinstance(say, Reply):
                    say = say.to(json.loads(request[1]))
                if callable(say):
                    say(connection)
                    break
                connection.sendall(say)
        connection.close()


def _read(connection: socket.socket) -> tuple[str, bytes] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = next((int(line.partition(":")[2]) for line in text.lower().split("\r\n") if line.startswith("content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return text, body


def hang(connection: socket.socket) -> None:
    """Hears and says nothing until the other side leaves."""
    connection.recv(1)


def drop(connection: socket.socket) -> None:
    """Hears, and closes without a word."""


def dribble(connection: socket.socket) -> None:
    """An answer that is never idle and never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    connection.settimeout(0.02)
    for _ in range(500):
        connection.sendall(b" ")
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


@contextmanager
def peer(*says: Say) -> Iterator[Peer]:
    made = Peer(*says)
    try:
        yield made
    finally:
        made.close()


def nobody() -> str:
    """The URL of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
