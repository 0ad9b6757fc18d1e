"""Sessions as the control API uses them: begun when somebody signs in, checked with every request, ended.

What the browser holds are 256 random bits; only their SHA-256 is stored, for the reason that API keys give. The token against forged
requests is made from the same bits, so it needs no place of its own and ends with the session.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from router.acting import acting_claims, actors
from router.decision import Subject
from router.errors import IdentityError
from router.identity.break_glass import is_break_glass
from router.identity.seen import Seen
from router.ports import Clock, Session, Sessions, Which

SECOND = 1_000_000_000
FORM = re.compile(rb"[A-Za-z0-9_-]{43}")
NOTED_S = 30.0  # how much later a use may be than the last one that was written down


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds; `most` sessions of one person. `recheck`: how long what a provider said is believed."""

    idle: float = 1800.0
    absolute: float = 43_200.0
    most: int = 5
    recheck: float = 3600.0


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What somebody proved. `authenticated_ns` None is now."""

    subject: Subject
    authenticated_ns: int | None = None
    issuer: str = ""
    issuer_session: str = ""
    methods: tuple[str, ...] = ()


NOT_SEEN = Seen("", "")


class SessionService:
    def __init__(self, store: Sessions, clock: Clock, limits: SessionLimits) -> None:
        self._store = store
        self._clock = clock
        self.limits = limits

    async def begin(
        self, who: SignedIn, instead: bytes | None = None, at_most_until_ns: int | None = None, seen: Seen = NOT_SEEN
    ) -> tuple[Session, str, Sequence[Session]]:
        """The session, what the browser is to hold, and the sessions of the same person that ended because there were too many. `instead`
        is what the browser held before: signing in, or in again with other rights, never goes on under the same bits."""
        secret, now = secrets.token_urlsafe(32), self._clock.now_ns()
        subject = replace(who.subject, claims=acting_claims(actors(who.subject)), authenticated_by="session")
        authenticated = now if who.authenticated_ns is None else who.authenticated_ns
        until = now + int(self.limits.absolute * SECOND)
        if at_most_until_ns is not None:
            until = min(until, at_most_until_ns)
        times = (now, now, until, now, authenticated)
        named = (who.issuer, who.issuer_session, who.methods)
        session = Session(_digest(secret.encode()), subject, *times, *named, seen.network, seen.browser)
        ended = await asyncio.to_thread(self._store.add, session, self.limits.most, None if instead is None else _digest(instead))
        return session, secret, ended

    async def verify(self, secret: bytes) -> Session:
        """Raises IdentityError `session_unknown` (never was, or ended), `session_expired`; StateError."""
        if FORM.fullmatch(secret) is None:
            raise IdentityError("The session is not known; sign in again.", "session_unknown")
        digest, now = _digest(secret), self._clock.now_ns()
        session = await asyncio.to_thread(self._store.find, digest)
        if session is None or session.expires_ns == 0:
            raise IdentityError("The session is not known; sign in again.", "session_unknown")
        if now >= session.expires_ns or now - session.used_ns >= self.limits.idle * SECOND:
            await asyncio.to_thread(self._store.end, Which(digest=digest))
            raise IdentityError("The session has expired; sign in again.", "session_expired")
        if now - session.used_ns >= min(NOTED_S, self.limits.idle / 10) * SECOND:
            await asyncio.to_thread(self._store.use, digest, now)
        return session

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def age_s(self, session: Session) -> int:
        """How long ago they proved who they are, in whole minutes of 60 seconds."""
        return max(0, (self._clock.now_ns() - session.authenticated_ns) // (60 * SECOND)) * 60

    def stale(self, session: Session) -> bool:
        """Whether a provider is to be asked again who this is and what they may do."""
        return bool(session.issuer) and self._clock.now_ns() - session.checked_ns >= self.limits.recheck * SECOND

    async def end(self, which: Which) -> Sequence[Session]:
        return await asyncio.to_thread(self._store.end, which)

    def held(self, secret: bytes) -> Which:
        """The one that the browser holds."""
        return Which(digest=_digest(secret))

    async def end_on_record(self, whose: Sequence[Which], record: Callable[[list[str]], Awaitable[None]]) -> list[str]:
        """As `end_recorded`, by their names, which it gives."""
        named = list[str]()

        async def by_name(ended: Sequence[Session]) -> None:
            named.extend(each.id for each in ended)
            await record(named)

        await self.end_recorded(whose, by_name)
        return named

    async def end_recorded(self, whose: Sequence[Which], record: Callable[[Sequence[Session]], Awaitable[None]]) -> None:
        """Ends those that fit, has it recorded, and only then forgets them: where Lockgate is lost in between, or the ledger is down, they
        have ended all the same, and who ends them again names them. Raises what `record` raises."""
        ended = [each for which in whose for each in await asyncio.to_thread(self._store.ending, which)]
        await record(ended)
        for each in ended:
            await self.end(Which(digest=each.digest))

    async def unrecorded(self) -> Sequence[Session]:
        """Those that have ended, and that nobody has recorded so far."""
        return [each for each in await asyncio.to_thread(self._store.all) if each.expires_ns == 0]

    async def named(self, session_id: str) -> Which | None:
        """By the name that people know it by; also one that has ended and is not on record yet."""
        every = await asyncio.to_thread(self._store.all)
        return next((Which(digest=each.digest) for each in every if each.id == session_id), None)

    async def of(self, session: Session) -> Sequence[Session]:
        """All that are the same person's, this one among them: by the issuer's word, for two of them may call two people the same."""
        return [each for each in await self.all() if (each.issuer, each.subject.id) == (session.issuer, session.subject.id)]

    async def all(self) -> Sequence[Session]:
        """Those that are good, oldest first."""
        now, idle = self._clock.now_ns(), self.limits.idle * SECOND
        found = await asyncio.to_thread(self._store.all)
        return [each for each in found if now < each.expires_ns and now - each.used_ns < idle]

    async def broken(self) -> int:
        """How many break-glass sessions are open."""
        return sum(map(is_break_glass, await self.all()))

    async def spent(self, mark: bytes) -> bool:
        return await asyncio.to_thread(self._store.spent, mark, self._clock.now_ns())

    async def spend(self, mark: bytes, until_ns: int) -> bool:
        return await asyncio.to_thread(self._store.spend, mark, until_ns, self._clock.now_ns())

    def close(self) -> None:
        self._store.close()


def csrf_token(secret: bytes) -> str:
    return urlsafe_b64encode(hmac_digest(secret, b"lockgate csrf 1", "sha256")).rstrip(b"=").decode()


def csrf_fits(secret: bytes, told: str) -> bool:
    return compare_digest(csrf_token(secret).encode(), told.encode("utf-8", "replace"))


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()
