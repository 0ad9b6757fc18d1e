"""A caller over HTTP/2 who frames requests as it likes, which libraries for callers do not let one do."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

Fields = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Told:
    """`status` is 0 where the stream was reset."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    over: bool = False


def ask(port: int, method: str, path: str, fields: Fields, body: bytes | None = None, trailers: Fields | None = None) -> Told:
    """Without a `content-length`, unless `fields` say one. `body` None: no DATA frame at all."""
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    told = Told()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        connection.initiate_connection()
        head = [(":method", method), (":scheme", "http"), (":authority", "yard"), (":path", path), *fields]
        connection.send_headers(1, head, end_stream=body is None and trailers is None)
        if body is not None:
            connection.send_data(1, body, end_stream=trailers is None)
        if trailers is not None:
            connection.send_headers(1, trailers, end_stream=True)
        wire.sendall(connection.data_to_send())
        while not told.over and (received := wire.recv(65536)):
            for event in connection.receive_data(received):
                _hear(told, event, connection)
            wire.sendall(connection.data_to_send())
    return told


def _hear(told: Told, event: Event, connection: H2Connection) -> None:
    if isinstance(event, ResponseReceived):
        told.fields = {str(name): str(value) for name, value in event.headers or ()}
        told.status = int(told.fields[":status"])
    elif isinstance(event, DataReceived):
        told.body += event.data or b""
        connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
    elif isinstance(event, (StreamEnded, StreamReset)):
        told.over = True
