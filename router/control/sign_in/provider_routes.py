"""Signing in at an OpenID Connect provider: to it, back from it, and what it says when somebody signs out elsewhere."""

from __future__ import annotations

from functools import partial

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from router.control.guarded import Services, guarded_router
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.control.sign_in.browser import FLOW as FLOW_COOKIE
from router.control.sign_in.browser import (
    OIDC,
    SIGN_IN,
    drop_session,
    flow_of,
    form_fields,
    safe_next,
    session_secret,
    set_flow,
    with_next,
)
from router.control.sign_in.pages import refusal, told_on_a_page
from router.control.sign_in.parts import SignIn
from router.control.sign_in.routes import PUBLIC, sign_in_of, signed_in
from router.errors import IdentityError, LockgateError, RefusedError
from router.identity.oidc.client import OidcClient
from router.identity.oidc.flow import Flow
from router.identity.sessions import SignedIn

router = guarded_router()
OWN = ("same-origin", "none")
AGAIN = ("login_required", "interaction_required", "consent_required", "account_selection_required")  # Core §3.1.2.6


@router.get(OIDC, **PUBLIC)
@told_on_a_page
async def leave(services: Services, request: Request) -> Response:
    """To the provider; from the sign-in page, or where another site led here to it first: nobody gets a session without wanting one."""
    if request.headers.get("sec-fetch-site", "none") not in OWN:
        return RedirectResponse(with_next(SIGN_IN, safe_next(request.query_params.get("next"))), 303)
    return await _to_provider(services, request, again=False)


@router.get(f"{OIDC}/again", **PUBLIC)
@told_on_a_page
async def ask_again(services: Services, request: Request) -> Response:
    """To the provider, which is to show nothing: who is signed in there comes back at once. Who has no session here signs in."""
    sign_in, _ = _client(services)
    secret = session_secret(request.headers.raw, sign_in.secure)
    try:
        await sign_in.sessions.verify(secret or b"")
    except IdentityError:
        return RedirectResponse(with_next(SIGN_IN, safe_next(request.query_params.get("next"))), 303)
    return await _to_provider(services, request, again=True)


@router.get(f"{OIDC}/callback", **PUBLIC)
async def come_back(services: Services, request: Request) -> Response:
    """Back from the provider, with a code or without."""
    sign_in, wanted = services.sign_in, None
    try:
        sign_in, client = _client(services)
        secret, wanted = flow_of(request, sign_in.secure)
        flow = client.resumed(secret, request.query_params.get("state", ""))
        if flow.again and request.query_params.get("error") in AGAIN:
            answer: Response = RedirectResponse(with_next(SIGN_IN, wanted), 303)
        else:
            who = await client.finish(dict(request.query_params), flow)
            answer = await signed_in(services, request, who, wanted, await _longest(sign_in, request, flow, who))
    except LockgateError as error:
        answer = refusal(error)
        await services.acts.refused(None, Permission.PUBLIC, error.code)
    if sign_in is not None:
        drop_session(answer, sign_in.secure, FLOW_COOKIE)
    return answer


@router.post(f"{OIDC}/logout", **PUBLIC)
async def back_channel(services: Services, request: Request) -> Response:
    """The provider says that somebody signed out (OpenID Connect Back-Channel Logout 1.0 §2.5)."""
    sign_in, client = _client(services)
    try:
        which, mark, until_ns = await client.ended_by((await form_fields(request)).get("logout_token", ""))
    except IdentityError as error:
        # What the provider is to be told is 400, whatever is wrong with the token.
        raise RefusedError(str(error), error.code, 400 if error.status < 500 else error.status) from error
    # The mark comes last: a crash before it has the provider's repeat end and record once more, by the same names. Once it is spent, who
    # replays the token ends no session that began since.
    if not await sign_in.sessions.spent(mark):
        await sign_in.sessions.end_on_record([which], partial(_told, services))
        await sign_in.sessions.spend(mark, until_ns)
    return Response(status_code=200)


async def _told(services: ControlServices, ended: list[str]) -> None:
    await services.record("sessions_ended", {"sessions": ended, "by_provider": True})


async def _to_provider(services: ControlServices, request: Request, *, again: bool) -> Response:
    sign_in, client = _client(services)
    flow = client.begin(again=again)
    answer = RedirectResponse(await client.authorization_url(flow), 303)
    set_flow(answer, flow.secret, safe_next(request.query_params.get("next")), sign_in.secure)
    return answer


async def _longest(sign_in: SignIn, request: Request, flow: Flow, who: SignedIn) -> int | None:
    """A session that was confirmed lasts no longer than it would have: its longest time begins when somebody signs in."""
    before = session_secret(request.headers.raw, sign_in.secure)
    if not flow.again or before is None:
        return None
    try:
        session = await sign_in.sessions.verify(before)
    except IdentityError:
        return None
    return session.expires_ns if (session.issuer, session.subject.id) == (who.issuer, who.subject.id) else None


def _client(services: ControlServices) -> tuple[SignIn, OidcClient]:
    sign_in = sign_in_of(services)
    if sign_in.oidc is None:
        raise RefusedError("No sign-in provider is configured here.", "sign_in_off", 404)
    return sign_in, sign_in.oidc
