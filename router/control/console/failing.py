"""What went wrong, for who asked with a browser: the same status, code and sentence as in the problem document, on a page."""

from __future__ import annotations

import orjson
from fastapi import Request, Response

from router.control.console.html import page
from router.control.failures import Handler

PAGES, HTML = "/console/", "text/html"


def in_pages(handler: Handler) -> Handler:
    async def shown(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        if not request.url.path.startswith(PAGES) or HTML not in request.headers.get("accept", ""):
            return answer
        told = orjson.loads(bytes(answer.body))
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name in ("www-authenticate", "retry-after", "cache-control", "location")
        }
        return page(request, "problem.html", status=answer.status_code, headers=kept, problem=told)

    return shown
