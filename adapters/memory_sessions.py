"""Sessions in memory, for tests and for who wants none to outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from adapters.kept_sessions import KEPT_NS
from router.errors import StateError
from router.ports import Session, Which


class MemorySessions:
    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._spent: dict[bytes, int] = {}
        self._one = threading.Lock()
        self._open = False

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self._open = False

    def ping(self) -> None:
        if not self._open:
            raise StateError("the session store is not open")

    def find(self, digest: bytes) -> Session | None:
        self.ping()
        return self._sessions.get(digest)

    def add(self, session: Session, most: int, instead: bytes | None = None) -> Sequence[Session]:
        self.ping()
        with self._one:
            self._sessions.pop(instead or b"", None)
            self._sessions = {digest: each for digest, each in self._sessions.items() if not _forgotten(each, session.created_ns)}
            self._sessions[session.digest] = session
            own = [
                each
                for each in self._sessions.values()
                if each.subject.id == session.subject.id and each.expires_ns > 0 and each != session
            ]
            ended = sorted(own, key=lambda each: (each.created_ns, each.digest))[: max(0, len(own) + 1 - most)]
            for each in ended:
                del self._sessions[each.digest]
            return ended

    def use(self, digest: bytes, now_ns: int) -> None:
        self.ping()
        with self._one:
            found = self._sessions.get(digest)
            if found is not None:
                self._sessions[digest] = replace(found, used_ns=max(found.used_ns, now_ns))

    def ending(self, which: Which) -> Sequence[Session]:
        self.ping()
        with self._one:
            found = [replace(each, expires_ns=0) for each in self.all() if which.told and _fits(each, which)]
            self._sessions |= {each.digest: each for each in found}
            return found

    def end(self, which: Which) -> Sequence[Session]:
        self.ping()
        with self._one:
            ended = [each for each in self.all() if which.told and _fits(each, which)]
            for each in ended:
                del self._sessions[each.digest]
            return ended

    def all(self) -> Sequence[Session]:
        self.ping()
        return sorted(self._sessions.values(), key=lambda each: (each.created_ns, each.digest))

    def spent(self, mark: bytes, now_ns: int) -> bool:
        self.ping()
        with self._one:
            return self._spent.get(mark, now_ns) > now_ns

    def spend(self, mark: bytes, until_ns: int, now_ns: int) -> bool:
        self.ping()
        with self._one:
            self._spent = {each: until for each, until in self._spent.items() if until > now_ns}
            if mark in self._spent:
                return False
            self._spent[mark] = until_ns
            return True


def _forgotten(session: Session, now_ns: int) -> bool:
    return session.used_ns <= now_ns - KEPT_NS if session.expires_ns == 0 else session.expires_ns <= now_ns


def _fits(session: Session, which: Which) -> bool:
    told = {
        "digest": session.digest,
        "subject_id": session.subject.id,
        "issuer": session.issuer,
        "issuer_session": session.issuer_session,
    }
    return all(told[column] == value for column, value in which.told.items())
