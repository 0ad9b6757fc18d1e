"""One request over HTTP/2, by a client that reads its answer also while it sends."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

TIMEOUT_S = 20.0
STREAM = 1


def post(port: int, path: str, size: int, fields: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body of the answer to `size` bytes."""
    connection = H2Connection(H2Configuration(client_side=True))
    status, body, left = 0, b"", size
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        connection.initiate_connection()
        pseudo = {":method": "POST", ":path": path, ":scheme": "http", ":authority": "test.example"}
        connection.send_headers(STREAM, [*pseudo.items(), *fields.items()])
        while True:
            while left and (room := min(left, connection.local_flow_control_window(STREAM), connection.max_outbound_frame_size)):
                left -= room
                connection.send_data(STREAM, b"x" * room, end_stream=not left)
            sock.sendall(connection.data_to_send())
            received = sock.recv(65536)
            if not received:
                return status, body
            for event in connection.receive_data(received):
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded | StreamReset):
                    return status, body
