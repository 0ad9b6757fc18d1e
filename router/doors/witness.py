"""The witness's listener: one call, `POST /add-checkpoint`, over plain ASGI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from router.audit.witnesses.desk import Answer, WitnessDesk
from router.audit.witnesses.protocol import ADD_CHECKPOINT, MOST_BYTES
from router.doors.responses import respond
from router.ports import Headers, Limits

log = logging.getLogger("lockgate.witness")
BODY_TIMEOUT_S = 10.0
_UNFORESEEN = Answer(500, "internal: The witness failed in a way that nobody foresaw; nothing was cosigned.\n")


class WitnessApp:
    """`limits` bounds the calls of each client address. What is remembered is written on one thread, in the order of arrival."""

    def __init__(self, desk: WitnessDesk, limits: Limits) -> None:
        self._desk = desk
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "witness")

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        headers: Headers = [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store")]
        if answer.status in (408, 413):  # what is left of the body is not read
            headers.append((b"connection", b"close"))
        if answer.status == 405:
            headers.append((b"allow", b"POST"))
        await respond(send, answer.status, answer.body.encode(), headers)

    def close(self) -> None:
        self._thread.shutdown()

    async def _answer(self, scope: Any, receive: Callable[[], Any]) -> Answer:
        if scope["path"] != ADD_CHECKPOINT:
            return _refusal("not_found", 404, "Only /add-checkpoint is served here.")
        if scope["method"] != "POST":
            return _refusal("method_not_allowed", 405, "Checkpoints are brought by POST.")
        if await self._limits.admit(scope["client"][0] if scope.get("client") else "") is not None:
            return _refusal("rate_limited", 429, "Too many calls from this address; try again in a while.")
        try:
            body = await asyncio.wait_for(_body(receive), BODY_TIMEOUT_S)
        except TimeoutError:
            return _refusal("body_timeout", 408, "The request did not arrive in time.")
        if body is None:
            return _refusal("body_too_large", 413, f"A request has at most {MOST_BYTES} bytes.")
        return await self._asked(body)

    async def _asked(self, body: bytes) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._desk.add_checkpoint, body)
        except Exception:  # an answer is owed; without a cosignature, whatever it was
            log.exception("a call failed in a way that nobody foresaw")
            return _UNFORESEEN


async def _body(receive: Callable[[], Any]) -> bytes | None:
    """None when it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _refusal(code: str, status: int, sentence: str) -> Answer:
    return Answer(status, f"{code}: {sentence}\n")
