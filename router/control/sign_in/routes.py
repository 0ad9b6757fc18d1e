"""Signing in and out with a browser, and the sessions that come of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from router.acting import actors
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.models import EndedSessions, Identity, SessionsView, SessionView
from router.control.parameters import Identifier
from router.control.permissions import ROLES, Permission
from router.control.services import ControlServices
from router.control.sign_in.browser import (
    OIDC,
    SIGN_IN,
    SIGN_OUT,
    drop_session,
    form_fields,
    safe_next,
    session_secret,
    set_session,
    with_next,
)
from router.control.sign_in.pages import page, style, told_on_a_page
from router.control.sign_in.parts import SignIn
from router.control.times import moment
from router.decision import Subject
from router.errors import IdentityError, LockgateError, RefusedError
from router.identity.break_glass import METHOD, BreakGlass, Broken
from router.identity.break_glass import PATH as BREAK_GLASS
from router.identity.local_links import PATH as LOCAL
from router.identity.local_links import LocalLinks, spent
from router.identity.seen import seen
from router.identity.sessions import SignedIn
from router.ports import Session, Which

router = guarded_router()
PUBLIC = {**needs(Permission.PUBLIC), "include_in_schema": False}
log = logging.getLogger("lockgate.control")
GLASS = Subject("break-glass", "user", ("admin",), authenticated_by="session")
ADMIN = Subject("local", "user", ("admin",), authenticated_by="session")


@router.get(SIGN_IN, **PUBLIC)
async def choose(services: Services, request: Request) -> Response:
    """How one can sign in here."""
    sign_in = services.sign_in
    if sign_in is not None and sign_in.oidc is not None:
        link = with_next(OIDC, safe_next(request.query_params.get("next")))
        host = urlsplit(sign_in.oidc.provider.issuer).netloc
        return page("Sign in", "You sign in where your organisation keeps its accounts.", link=link, button=f"Go on to {host}")
    if sign_in is not None and sign_in.local is not None:
        sentence = "On the machine that Lockgate runs on, print a link that signs you in:"
        return page("Sign in", sentence, command="lockgate console link")
    return page("Sign in", "Nobody can sign in with a browser here; an administrator can set 'control.sign_in' in the configuration.")


@router.get(f"{SIGN_IN}/style.css", **PUBLIC)
async def stylesheet() -> Response:
    return Response(style(), media_type="text/css")


@router.get(LOCAL, **PUBLIC)
@told_on_a_page
async def offer(services: Services, request: Request) -> Response:
    """A page with a button. Whoever fetches the link before its owner does, such as a preview in a chat, does not use it up."""
    token = request.query_params.get("token", "")
    _links(services).check(token)
    sentence = "The link that you followed makes this browser an administrator of this Lockgate. It works once."
    return page("Sign in", sentence, action=LOCAL, fields={"token": token}, button="Sign in as local administrator")


@router.post(LOCAL, **PUBLIC)
@told_on_a_page
async def take(services: Services, request: Request) -> Response:
    """Spends the link's token and begins a session."""
    mark, until_ns = _links(services).check((await form_fields(request)).get("token", ""))
    if not await sign_in_of(services).sessions.spend(mark, until_ns):
        raise spent()
    return await signed_in(services, request, SignedIn(ADMIN, methods=("local",)), None)


async def signed_in(
    services: ControlServices, request: Request, who: SignedIn, wanted: str | None, at_most_until_ns: int | None = None
) -> Response:
    """A session of its own for this sign-in, whatever the browser held before; recorded before the browser gets it."""
    sign_in = sign_in_of(services)
    before = session_secret(request.headers.raw, sign_in.secure)
    where = seen(request.client.host if request.client is not None else "", request.headers.get("user-agent", ""))
    session, secret, ended = await sign_in.sessions.begin(who, before, at_most_until_ns, where)
    try:
        who_is = {"session": session.id, "by": await services.acts.person(session.subject.id)}
        acting = {"acting": [await services.acts.person(each) for each in actors(session.subject)]} if session.subject.claims else {}
        told = {"roles": sorted(session.subject.roles), "methods": list(session.methods), "ended": len(ended), **acting}
        await services.record("signed_in", {**who_is, **told})
    except BaseException:
        await sign_in.sessions.end(Which(digest=session.digest))
        raise
    answer = RedirectResponse(safe_next(wanted), 303)
    set_session(answer, secret, sign_in.secure, sign_in.sessions.limits.absolute)
    return answer


@router.post(SIGN_OUT, **needs(Permission.SELF), include_in_schema=False)
@told_on_a_page
async def sign_out(services: Services, caller: Caller, request: Request) -> Response:
    """Ends this session; with the field `everywhere` all of the same person. They have ended, whatever becomes of Lockgate or the ledger;
    what is not on record then is recorded later (`router.processes.ended_sessions`)."""
    sign_in = sign_in_of(services)
    everywhere = bool((await form_fields(request)).get("everywhere"))
    secret = session_secret(request.headers.raw, sign_in.secure)
    whose = [Which(subject=caller.subject.id)] if everywhere else [] if secret is None else [sign_in.sessions.held(secret)]
    ended = list[Session]()

    async def record(sessions: Sequence[Session]) -> None:
        ended.extend(sessions)
        await services.record("signed_out", {"sessions": [each.id for each in sessions], "by_key": caller.key_id})

    await sign_in.sessions.end_recorded(whose, record)
    answer = await _signed_out(sign_in, at_provider=any(each.issuer for each in ended))
    drop_session(answer, sign_in.secure)
    return answer


async def _signed_out(sign_in: SignIn, *, at_provider: bool) -> Response:
    """The browser goes on to the provider by itself: a form may lead to no other site, and so no redirect that follows one may."""
    try:
        forward = await sign_in.oidc.logout_url() if sign_in.oidc is not None and at_provider else None
    except IdentityError:
        forward = None  # here it is done, whatever the provider does
    told = "Close the browser's window if others use this machine."
    return page("You are signed out", told, link=SIGN_IN, button="Sign in again", forward=forward or "")


@router.get("/v1/identity", **needs(Permission.SELF))
async def identity(caller: Caller) -> Identity:
    """Who is calling, and what they may do."""
    subject = caller.subject
    return Identity(
        subject=subject.id,
        tenant=subject.tenant,
        roles=sorted(set(subject.roles) & ROLES.keys()),
        permissions=sorted(caller.permissions),
        session=caller.session or None,
        csrf=caller.csrf or None,
    )


@router.get("/v1/sessions", **needs(Permission.SESSIONS_READ))
async def sessions(services: Services) -> SessionsView:
    """Everybody who is signed in with a browser, oldest session first."""
    return SessionsView(sessions=[_shown(each) for each in await sign_in_of(services).sessions.all()])


@router.delete("/v1/sessions/{session_id}", status_code=204, **needs(Permission.SESSIONS_WRITE))
async def end(session_id: Identifier, services: Services, caller: Caller) -> None:
    """Ends one session at once."""
    which = await sign_in_of(services).sessions.named(session_id)
    if which is None:
        raise RefusedError("There is no such session.", "not_found", 404)
    await _ended(services, caller, which)


@router.delete("/v1/sessions", **needs(Permission.SESSIONS_WRITE))
async def end_all_of(subject: Annotated[str, Query(min_length=1, max_length=320)], services: Services, caller: Caller) -> EndedSessions:
    """Ends every session of one person at once."""
    return EndedSessions(ended=await _ended(services, caller, Which(subject=subject)))


async def _ended(services: ControlServices, caller: Principal, which: Which) -> list[str]:
    """Recorded after the act, as with keys: a ledger that is down must not keep a stolen session alive."""

    async def record(ids: list[str]) -> None:
        await services.record("sessions_ended", {"sessions": ids, "by_key": caller.key_id})

    return await sign_in_of(services).sessions.end_on_record([which], record)


def sign_in_of(services: ControlServices) -> SignIn:
    if services.sign_in is None:
        raise RefusedError("Nobody signs in with a browser here.", "sign_in_off", 404)
    return services.sign_in


def _links(services: ControlServices) -> LocalLinks:
    local = sign_in_of(services).local
    if local is None:
        raise RefusedError("Nobody signs in by a link of this machine's here.", "sign_in_off", 404)
    return local


def _shown(session: Session) -> SessionView:
    subject = session.subject
    times: dict[str, Any] = {
        name: moment(at) for name, at in (("created", session.created_ns), ("used", session.used_ns), ("expires", session.expires_ns))
    }
    who: dict[str, Any] = {"subject": subject.id, "tenant": subject.tenant, "roles": list(subject.roles)}
    return SessionView(id=session.id, issuer=session.issuer or None, **who, **times)


@router.get(BREAK_GLASS, **PUBLIC)
@told_on_a_page
async def offer_break_glass(services: Services, request: Request) -> Response:
    """As with the link of this machine, only the button uses it up."""
    token = request.query_params.get("token", "")
    broken = _break_glass(services).check(token)
    sentence = f"This makes the browser an administrator for {broken.minutes} minutes, under the incident {broken.case}."
    loud = "It is recorded, and alarms whoever listens, for as long as it lasts."
    return page("Break glass", sentence, loud, action=BREAK_GLASS, fields={"token": token}, button="Break the glass")


@router.post(BREAK_GLASS, **PUBLIC)
@told_on_a_page
async def break_glass(services: Services, request: Request) -> Response:
    """An administrator's session that no policy of the control API and no provider is asked about."""
    sign_in = sign_in_of(services)
    broken = _break_glass(services).check((await form_fields(request)).get("token", ""))
    if not await sign_in.sessions.spend(broken.mark, broken.until_ns):
        raise spent()
    log.critical("break-glass: an administrator's session begins for %d minutes, incident %s", broken.minutes, broken.case)
    longest = sign_in.sessions.now_ns() + broken.minutes * 60 * 1_000_000_000
    told = await _alarm(services, broken, longest)
    await services.record("break_glass", {"case": broken.case, "minutes": broken.minutes, **told})
    sign_in.open_glass[0] += 1
    return await signed_in(services, request, SignedIn(GLASS, methods=(METHOD,)), None, longest)


async def _alarm(services: ControlServices, broken: Broken, until_ns: int) -> dict[str, Any]:
    """As the record has it. Before the record: a crash between the two alarms about a session that did not come to be, and never the other
    way round. A channel's store that is down keeps nobody out."""
    try:
        return {"notified": list(await services.alarm(broken.mark.hex(), broken.case, until_ns))}
    except LockgateError as error:
        log.error("break-glass: nobody can be told over the channels of held requests: %s", error)
        return {"notified": [], "notice_failed": error.code}


def _break_glass(services: ControlServices) -> BreakGlass:
    found = sign_in_of(services).break_glass
    if found is None:
        raise RefusedError("There is no break-glass here.", "sign_in_off", 404)
    return found
