"""What went wrong, for who asked with a browser: the same status, code and sentence as in the problem document, on a page."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import orjson
from fastapi import Request, Response

from router.control.console.forms import MOST_COMMENT
from router.control.console.html import page
from router.control.failures import Handler
from router.control.guard import MAX_BODY
from router.control.sign_in.browser import form_fields, safe_next
from router.errors import RefusedError

PAGES, HTML = "/console/", "text/html"
ORDER = re.compile(r"^(/console/(?:reviews|policy/rollouts)/[^/]+)/(?!modify$).+$")  # a page that answered one is not to be asked for


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
        unsent = await _unsent(request) if answer.status_code == 401 or told["code"] == "csrf_missing" else None
        back = _back(request) if unsent is not None else ""
        return page(request, "problem.html", status=answer.status_code, headers=kept, problem=told, unsent=unsent, back=back)

    return shown


async def _unsent(request: Request) -> str | None:
    """What somebody wrote into a form whose session had ended, to be shown to them and kept nowhere; None where no form was sent. That it
    came from a page of ours was found out before."""
    length = request.headers.get("content-length", "")
    if request.method != "POST" or not length.isdigit() or int(length) > MAX_BODY:
        return None
    try:
        return (await form_fields(request)).get("comment", "").replace("\r\n", "\n").strip()[:MOST_COMMENT]
    except RefusedError:
        return ""


def _back(request: Request) -> str:
    """The page that had the form; signing in comes before it, and leads to it. Empty where it is not known."""
    try:
        told = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # it says what it likes
        return ""
    path = ORDER.sub(r"\1", told.path)
    if told.netloc.lower() != request.headers.get("host", "").lower() or not path.startswith(PAGES):
        return ""
    return safe_next(f"{path}?{told.query}" if told.query and path == told.path else path)
