"""uvicorn's WebSocket protocol with the same defences: nothing is taken of a caller before its handshake is answered, and nothing that a
caller did keeps a stop from the others."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
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
