"""HTTP as a caller speaks it: whole requests, and bytes as they are for callers that do not keep the rules."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 20.0
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fields(self) -> Mapping[str, str]:
        return dict(self.headers)

    @property
    def decision(self) -> str:
        return self.fields["x-lockgate-decision-id"]

    @property
    def code(self) -> str:
        """The problem's code. Every refusal is one well-formed RFC 9457 document, without anything of our insides."""
        assert self.fields["content-type"] == PROBLEM, self
        found = self.json
        assert found["status"] == self.status
        assert found["type"] == f"urn:lockgate:problem:{found['code']}"
        assert found["title"]
        assert b"Traceback" not in self.body
        assert b'File \\"' not in self.body
        return str(found["code"])


def ask(port: int, method: str, path: str, key: str | None = None, body: Any = None, **fields: str) -> Answer:
    """`body`: bytes as they are, text as text/plain, anything else as JSON. Underscores in the names of `fields` are hyphens."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    if isinstance(body, str):
        headers.setdefault("content-type", "text/plain")
        body = body.encode()
    elif body is not None and not isinstance(body, bytes):
        headers.setdefault("content-type", "application/json")
        body = json.dumps(body).encode()
    with closing_connection(port) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while it was sent; the answer is there all the same
            connection.request(method, path, body, headers)
        return read(connection.getresponse())


@contextlib.contextmanager
def closing_connection(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def read(answer: http.client.HTTPResponse) -> Answer:
    return Answer(answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read())


@contextlib.contextmanager
def opened(port: int) -> Iterator[socket.socket]:
    """A connection for bytes that `http.client` would not send."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        yield connection


def said(connection: socket.socket) -> Answer:
    """One answer from a raw connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return read(answer)


def raw(port: int, data: bytes) -> Answer:
    with opened(port) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return said(connection)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection within the time-out."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True
