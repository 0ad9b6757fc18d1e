"""A service that is killed: notes the key of what it took, on disk before it answers, and fails now and then.

Run as `python -m tests.faults.delivery_target PORT FILE SEED`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main(port: int, file: str, seed: int) -> None:
    chance = random.Random(seed)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            time.sleep(chance.random() * 0.05)
            status = 503 if chance.random() < 0.2 else 200
            if status == 200:
                os.write(log, f"{self.headers['idempotency-key']}\n".encode())
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
