"""Before a server that speaks as STS does: notes what it is asked, and fails when it is told to."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.contract.aws_server import ACCOUNT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/lockgate"
NO = b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>not hush-2</Message></Error></ErrorResponse>"


@dataclass
class Sts:
    """`tokens` as they came; `fails` is the status of every answer while it is set."""

    behind: str
    port: int = 0
    tokens: list[str] = field(default_factory=list)
    fails: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def sts(behind: str) -> Iterator[Sts]:
    made = Sts(behind)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.tokens.append(parse_qs(body.decode())["WebIdentityToken"][0])
            status, content = (made.fails, NO) if made.fails else self._asked(body)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _asked(self, body: bytes) -> tuple[int, bytes]:
            headers = {"content-type": self.headers["content-type"], "accept": self.headers["accept"], "host": "sts.amazonaws.com"}
            with urllib.request.urlopen(urllib.request.Request(f"{made.behind}/", body, headers), timeout=20) as answer:
                return answer.status, answer.read()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
