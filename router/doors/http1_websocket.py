"""uvicorn's WebSocket protocol with the same defences: nothing is taken of a caller before its handshake is answered, and nothing that a
caller did keeps a stop from the others."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from router.doors.unread import Patient

MOST_MESSAGE = 16 << 20  # a message is passed on whole, so all of it is in memory, whatever a body may have that streams


class GuardedWebSocket(Patient, WebSocketsSansIOProtocol):
    def data_received(self, data: bytes) -> None:
        """Who speaks on before the handshake is answered is no client (RFC 6455 §4.1): the library would take it for frames, and fail."""
        if self.handshake_initiated and not self.handshake_complete:
            self.disconnected = True
            self.transport.abort()
        else:
            super().data_received(data)

    async def send(self, message: Any) -> None:
        """Who speaks on when a caller was told that this is the end (of too long a message, or without a pong) hears that it is gone, as
        with any other end. uvicorn takes it for a mistake of the application."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def handle_ping(self) -> None:
        """Who does not read is not answered: all that he asks would wait here."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """A message in many parts is kept in one: of small ones, and of empty ones without end, each would take more than what is in it."""
        parts = cast(list[Any], self.frames)
        if not isinstance(parts[0], bytearray):
            parts[0] = bytearray(parts[0])
        parts[0] += event.data
        if event.fin:
            parts[0] = bytes(parts[0])
            self.send_receive_event_to_app()

    def eof_received(self) -> None:
        """Without a closing frame. Nothing more can come of who ended it so; what is written may still be read."""
        self.disconnected = True
        if not self.handshake_complete:
            self.transport.abort()
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1005})  # as of a connection that is lost
        super().eof_received()

    def keepalive_timeout(self) -> None:
        """Who neither answers a ping nor reads is told nothing: it would have to be read, and whoever writes here would wait as long."""
        if self.unread():
            self.transport.abort()
        else:
            super().keepalive_timeout()

    def shutdown(self) -> None:
        """uvicorn tells one connection after the other, and none behind one that raises. What was ended already has no more to say."""
        if self.conn.state is State.OPEN:
            super().shutdown()
            return
        self.stop_keepalive()
        self.send_500_response()
        self.disconnected = True  # for who is still to answer the handshake
        self.transport.close()

    def send_500_response(self) -> None:
        if not self.conn.eof_sent:
            super().send_500_response()
