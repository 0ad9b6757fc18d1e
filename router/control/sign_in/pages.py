"""The few pages that somebody sees who is not signed in. They need nothing of the console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from router.control.permissions import Permission
from router.errors import LockgateError, RefusedError

FOLDER = Path(__file__).parent / "templates"
NOTHING: Mapping[str, Any] = {"command": "", "action": "", "fields": {}, "button": "", "link": "", "code": "", "forward": ""}


def page(title: str, *sentences: str, status: int = 200, **more: Any) -> HTMLResponse:
    """`more`: command, action with fields and button, or link and button; code of a refusal; forward, where the browser goes by itself."""
    told = {**NOTHING, **more, "title": title, "sentences": sentences}
    return HTMLResponse(_template().render(told), status)


def refusal(error: LockgateError) -> HTMLResponse:
    """One sentence, its code, and the way back."""
    status = error.status if isinstance(error, RefusedError) else 503
    sentence = str(error) if isinstance(error, RefusedError) else "Lockgate cannot look after sessions at the moment; try again later."
    return page("You are not signed in", sentence, status=status, code=error.code, link="/console/sign-in", button="Sign in")


Page = Callable[..., Awaitable[Response]]


def told_on_a_page(handler: Page) -> Page:
    """For who came with a browser: what was refused, as a page, and counted. The handler takes `services` by that name."""

    @wraps(handler)
    async def wrapped(*arguments: Any, **named: Any) -> Response:
        try:
            return await handler(*arguments, **named)
        except LockgateError as error:
            await named["services"].acts.refused(None, Permission.PUBLIC, error.code)
            return refusal(error)

    return wrapped


@lru_cache(maxsize=1)
def style() -> bytes:
    return (FOLDER / "style.css").read_bytes()


@lru_cache(maxsize=1)
def _template() -> Template:
    # The texts come from addresses and from other servers: every one of them is escaped.
    made = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    return made.get_template("page.html")
