"""A server of bundles on loopback: entity tags, long polling, and every way of behaving badly that a test asks for."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Shelf:
    """`content` is what is given; `seen` the requests' headers, `statuses` what was answered. `mode`: well, garbage, cut, error, slow, or
    large."""

    content: bytes = b""
    mode: str = "well"
    waits: bool = True
    token: str | None = None
    seen: list[dict[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    port: int = 0

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/lockgate.tar.gz"

    def put(self, content: bytes, mode: str = "well") -> None:
        with self.changed:
            self.content, self.mode = content, mode
            self.changed.notify_all()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.seen.append(headers)
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            return self._send(handler, 401, b"")
        wait = next((part[5:] for part in headers.get("prefer", "").split(";") if part.startswith("wait=")), None)
        with self.changed:
            if wait is not None and self.waits:
                self.changed.wait_for(lambda: self.etag != headers.get("if-none-match") or self.mode != "well", float(wait))
            if self.mode == "well" and headers.get("if-none-match") == self.etag:
                return self._send(handler, 304, b"")
            mode, content = self.mode, self.content
        if mode == "error":
            return self._send(handler, 500, b"")
        if mode == "slow":
            time.sleep(5)
        return self._send(handler, 200, {"garbage": b"\x00garbage" * 50, "large": b"\0" * (11 << 20)}.get(mode, content), cut=mode == "cut")

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, *, cut: bool = False) -> None:
        self.statuses.append(status)
        handler.send_response(status)
        handler.send_header("etag", self.etag)
        if status == 200:
            handler.send_header("content-type", "application/vnd.openpolicyagent.bundles" if self.waits else "application/gzip")
        handler.send_header("connection", "close")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        if status != 304:
            handler.wfile.write(body[: len(body) // 2] if cut else body)
        handler.close_connection = True  # or a server that is gone would still answer whoever knew it


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                shelf.answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that went away, which is its right."""

    server = Server(("127.0.0.1", shelf.port), Handler)
    shelf.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        with shelf.changed:
            shelf.changed.notify_all()
