"""Pages whose answer takes a moment: their frame is sent at once, so that the browser has style and scripts, and paints, while the ledger
is asked. What is refused within that moment has its status; what fails later is told where the answer would have stood, under a 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from router.control import failures
from router.control.console.failing import in_pages
from router.control.console.html import MAIN, rendered
from router.errors import LockgateError

SOON_S = 0.002
PAGE = "text/html"


async def framed(request: Request, answer: Coroutine[Any, Any, Response], template: str, *, here: str, **shown: Any) -> Response:
    """`answer` is the whole page, made of `template`; `shown` is what its frame needs of that."""
    if PAGE not in request.headers.get("accept", ""):
        return await answer
    frame = rendered(request, template, here=here, frame=True, **shown)  # before: who asks the ledger is busy with this interpreter, too
    asked = asyncio.create_task(answer)
    try:
        done, _ = await asyncio.wait((asked,), timeout=SOON_S)
        if done:
            return asked.result()
    except BaseException:
        asked.cancel()
        raise
    return StreamingResponse(_sent(request, frame, asked), media_type=f"{PAGE}; charset=utf-8")


async def _sent(request: Request, frame: str, asked: asyncio.Task[Response]) -> AsyncIterator[bytes]:
    try:
        yield frame.encode()
        text = bytes((await _told(request, asked)).body).decode()
        yield text[text.index(MAIN) :].encode()
    finally:
        asked.cancel()  # who left does not wait for it any more


async def _told(request: Request, asked: Awaitable[Response]) -> Response:
    try:
        return await asked
    except LockgateError as error:
        return await in_pages(failures.ours)(request, error)
    except Exception as error:  # noqa: BLE001  # as the server itself would have it, had nothing been sent yet
        return await in_pages(failures.unforeseen)(request, error)
