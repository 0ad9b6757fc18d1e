"""One's own sessions: which there are, and ending them. Nobody else's are in sight here, whatever one may do."""

from __future__ import annotations

from collections.abc import Sequence

from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.models import EndedSessions, OwnSession, OwnSessions
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.control.sign_in.routes import sign_in_of
from router.control.times import EPOCH, moment
from router.errors import RefusedError
from router.ports import Session, Which

router = guarded_router()


@router.get("/v1/identity/sessions", **needs(Permission.SELF))
async def own(services: Services, caller: Caller) -> OwnSessions:
    """Your sessions, newest first."""
    return OwnSessions(sessions=[_shown(each, caller) for each in reversed(await own_sessions(services, caller))])


@router.delete("/v1/identity/sessions/{session_id}", status_code=204, **needs(Permission.SELF))
async def end(session_id: Identifier, services: Services, caller: Caller) -> None:
    """Ends one of your sessions at once, on every node."""
    found = [each for each in await own_sessions(services, caller) if each.id == session_id]
    if not found:
        raise RefusedError("You have no such session.", "not_found", 404)
    await _ended(services, caller, found)


@router.delete("/v1/identity/sessions", **needs(Permission.SELF))
async def end_others(services: Services, caller: Caller) -> EndedSessions:
    """Ends all of your sessions but this one."""
    others = [each for each in await own_sessions(services, caller) if each.id != caller.session]
    return EndedSessions(ended=await _ended(services, caller, others))


async def own_sessions(services: ControlServices, caller: Principal) -> Sequence[Session]:
    """Oldest first. Raises RefusedError for who has none: a key may be in anybody's name."""
    sessions = sign_in_of(services).sessions
    here = next((each for each in await sessions.all() if each.id == caller.session), None)
    if here is None:
        raise RefusedError("Only who signed in with a browser has sessions.", "session_needed", 409)
    return await sessions.of(here)


async def _ended(services: ControlServices, caller: Principal, which: Sequence[Session]) -> list[str]:
    """Recorded after the act, as with others' sessions: a ledger that is down must not keep a stolen one alive."""

    async def record(ids: list[str]) -> None:
        await services.record("sessions_ended", {"sessions": ids, "by_key": caller.key_id, "own": True})

    if not which:
        return []
    return await sign_in_of(services).sessions.end_on_record([Which(digest=each.digest) for each in which], record)


def _shown(session: Session, caller: Principal) -> OwnSession:
    created, used, expires = (moment(at) or EPOCH for at in (session.created_ns, session.used_ns, session.expires_ns))
    return OwnSession(
        id=session.id,
        current=session.id == caller.session,
        network=session.network,
        browser=session.browser,
        methods=list(session.methods),
        created=created,
        used=used,
        expires=expires,
    )
