"""What a browser sends and is sent: the session's cookie, the token against forged requests, and where to go next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, unquote

from fastapi import Request, Response

from router.control.form import field
from router.errors import IdentityError, RefusedError
from router.identity.oidc.flow import GOOD_S
from router.identity.sessions import csrf_fits

NAME, FLOW = "lockgate_session", "lockgate_sign_in"
HEADER, FIELD = "x-lockgate-csrf", "csrf"
CONSOLE = "/console/"
SIGN_IN, SIGN_OUT = "/console/sign-in", "/console/sign-out"
OIDC = f"{SIGN_IN}/oidc"
# One path of the console with its query: no host, no second slash that would begin one, no backslash that browsers read as a slash.
NEXT = re.compile(r"/console/(?:[A-Za-z0-9._~!$&'()*+,;=:@%-]+/)*[A-Za-z0-9._~!$&'()*+,;=:@%-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
MOST_NEXT = 2048
URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


def cookie_name(secure: bool, name: str = NAME) -> str:
    """With the prefix a browser takes the cookie only from this very host, over TLS."""
    return f"__Host-{name}" if secure else name


def session_secret(headers: Iterable[tuple[bytes, bytes]], secure: bool, name: str = NAME) -> bytes | None:
    """Raises IdentityError where two different ones were sent: somebody else may have set one of them."""
    wanted, found = cookie_name(secure, name).encode(), None
    for header, value in headers:
        if header != b"cookie":
            continue
        for part in value.split(b";"):
            each, _, told = part.strip(b" \t").partition(b"=")
            if each == wanted:
                if found is not None and found != told:
                    raise IdentityError("More than one session was sent.", "two_credentials", 400)
                found = told
    return found


def set_session(response: Response, secret: str, secure: bool, lasting: float) -> None:
    """Lax and not Strict: who follows a link in a mail to a held request is signed in. What changes something asks for more than it."""
    response.set_cookie(cookie_name(secure), secret, max_age=int(lasting), path="/", secure=secure, httponly=True, samesite="lax")


def drop_session(response: Response, secure: bool, name: str = NAME) -> None:
    response.delete_cookie(cookie_name(secure, name), path="/", secure=secure, httponly=True, samesite="lax")


def set_flow(response: Response, secret: str, wanted: str, secure: bool) -> None:
    """Lax: the provider's answer comes by a link of the provider's page."""
    told = f"{secret}.{quote(wanted, safe='')}"
    response.set_cookie(cookie_name(secure, FLOW), told, max_age=GOOD_S, path="/", secure=secure, httponly=True, samesite="lax")


def flow_of(request: Request, secure: bool) -> tuple[str | None, str]:
    """The secret of the sign-in that this browser began, and where it wanted to go."""
    told = (session_secret(request.headers.raw, secure, FLOW) or b"").decode("latin-1")
    secret, _, wanted = told.partition(".")
    return secret or None, safe_next(unquote(wanted))


async def check_csrf(request: Request, secret: bytes) -> None:
    """Raises RefusedError `csrf_missing`. A header field cannot be set by another site's form, and its scripts are not let."""
    told = request.headers.get(HEADER)
    if told is None:
        told = (await form_fields(request)).get(FIELD, "")
    if not csrf_fits(secret, told):
        raise RefusedError("The page is too old, or another site sent this; load it again and repeat.", "csrf_missing", 403)


async def form_fields(request: Request) -> Mapping[str, str]:
    """Of a form as browsers send it; empty for anything else. Of a form with files only the token. The route bounds the body's length."""
    kind = request.headers.get("content-type", "")
    base = kind.partition(";")[0].strip().lower()
    if base == MULTIPART:
        return {FIELD: field(kind, await request.body(), FIELD)}
    if base != URLENCODED:
        return {}
    try:
        return dict(parse_qsl((await request.body()).decode("ascii"), keep_blank_values=True, max_num_fields=200, errors="strict"))
    except ValueError:
        raise RefusedError("The form cannot be read.", "request_invalid", 422) from None


def safe_next(told: str | None) -> str:
    """Where to go after signing in: a page of the console, whatever was asked for."""
    if told is None or len(told) > MOST_NEXT or NEXT.fullmatch(told) is None:
        return CONSOLE
    return CONSOLE if told.startswith(SIGN_IN) or "/../" in f"{told}/" or "%2f" in told.lower().partition("?")[0] else told


def sign_in_for(request: Request, *, again: bool = False) -> str:
    """Where somebody is sent who asked for a page: without a session to sign in, with one that is to be confirmed to the provider."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return with_next(f"{OIDC}/again" if again else SIGN_IN, safe_next(asked))


def with_next(path: str, wanted: str) -> str:
    return path if wanted == CONSOLE else f"{path}?next={quote(wanted, safe='/')}"


def asks_for_page(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return request.method in ("GET", "HEAD") and request.url.path.startswith(CONSOLE) and "text/html" in accepted
